"""Checks the answers that the tests get against the description of the interface."""

import re
from typing import Any

import httpx2
from jsonschema import Draft202012Validator, FormatChecker


def described(url: str, headers: dict[str, str]) -> dict[str, Any]:
    """The description that a server gives of itself."""
    answer = httpx2.get(f"{url}/api/v1/openapi.json", headers=headers, trust_env=False)
    document: dict[str, Any] = answer.raise_for_status().json()
    return document


class Checker:
    """An event hook of a client: each answer must be one that the description has.

    Args:
        url: of the server.
        headers: with its token.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._document = described(url, headers)
        # Those that say most first: /runs/r1/log is not the run `r1/log`.
        paths = sorted(self._document["paths"], key=lambda path: -len(re.sub(r"\{\w+\}", "", path)))
        self._paths = [(_pattern(path), path) for path in paths]

    def __call__(self, response: httpx2.Response) -> None:
        request = response.request
        operation = self._operation(request)
        if operation is None:
            return
        said = f"{request.method} {request.url.path}"
        told = operation["responses"].get(str(response.status_code))
        assert told is not None, f"the description of {said} says nothing of {response.status_code}"
        if response.status_code == 304:
            return
        media_type = response.headers["content-type"].partition(";")[0]
        assert media_type in told["content"], f"the description of {said} says nothing of {media_type}"
        if media_type not in {"application/json", "application/problem+json"}:
            return
        response.read()
        schema = told["content"][media_type]["schema"] | {"components": self._document["components"]}
        fault = next(
            Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(response.json()), None
        )
        assert fault is None, f"the answer to {said} is not as described: {fault.json_path}: {fault.message}"

    def _operation(self, request: httpx2.Request) -> dict[str, Any] | None:
        """What the description has of a request; None: it is of an address or a method that there is not."""
        for pattern, path in self._paths:
            operation = self._document["paths"][path].get(request.method.lower())
            if operation is not None and pattern.fullmatch(request.url.path):
                found: dict[str, Any] = operation
                return found
        return None


def _pattern(path: str) -> re.Pattern[str]:
    """What the addresses of a path look like: the last parameter may hold slashes, as ids of jobs do."""
    ends = ".+" if path.endswith("}") else ""
    begin = re.sub(r"\{\w+\}$", "", path)
    return re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{\w+\}", begin)) + ends)
