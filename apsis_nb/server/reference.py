"""The description of the interface as a page to read, which needs no script and no other host."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2

from apsis_nb.config import UNIX

_TEXT = (files("apsis_nb.server") / "reference.html").read_text(encoding="utf-8")
_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer of a route."""

    status: str
    description: str
    media_type: str
    example: str  #: empty: none is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route, as a reader wants it."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[tuple[str, str, str], ...]  #: name, where it stands or its default, what it is
    members: tuple[tuple[str, str], ...]  #: of the body: name, what it is
    command: str  #: that asks it
    answers: tuple[Told, ...]


def page(document: Mapping[str, Any], url: str) -> str:
    """The page, HTML.

    Args:
        document: OpenAPI.
        url: of the server, for the commands.
    """
    return _PAGE.render(info=document["info"], parts=parts(document, url), url=url)


def parts(document: Mapping[str, Any], url: str) -> list[tuple[str, str, list[Route]]]:
    """Name, description and routes of each heading."""
    routes: dict[str, list[Route]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for tag in operation["tags"]:
                routes[tag].append(_route(document, url, method, path, operation))
    return [(tag["name"], tag["description"], routes[tag["name"]]) for tag in document["tags"]]


def example(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    """A value of a form, made of the examples that its parts have."""
    if "$ref" in schema:
        return example(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "example" in schema:
        return schema["example"]
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], document)
    if "properties" in schema:
        return {name: example(form, document) for name, form in schema["properties"].items()}
    if schema.get("type") == "array":
        return [example(schema["items"], document)]
    return {} if schema.get("type") == "object" else ""


def _route(
    document: Mapping[str, Any], url: str, method: str, path: str, operation: Mapping[str, Any]
) -> Route:
    body = operation.get("requestBody", {}).get("content", {})
    return Route(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        parameters=tuple(
            (p["name"], _place(p), _words(p.get("schema", {}), p.get("description", "")))
            for p in operation.get("parameters", [])
        ),
        members=tuple(_members(body, document)),
        command=_command(document, url, method, path, body),
        answers=tuple(_told(document, status, told) for status, told in operation["responses"].items()),
    )


def _members(body: Mapping[str, Any], document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The members of a body in JSON: name, what it is."""
    schema = body.get("application/json", {}).get("schema", {})
    for choice in [schema, *schema.get("anyOf", [])]:
        if "$ref" in choice:
            form = document["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
            return [
                (name, _words(member, member.get("description", "")))
                for name, member in form["properties"].items()
            ]
    return []


def _command(document: Mapping[str, Any], url: str, method: str, path: str, body: Mapping[str, Any]) -> str:
    parts = ["curl", '-H "Authorization: Bearer $APSIS_NB_TOKEN"']
    if method != "get":
        parts.insert(1, f"-X {method.upper()}")
    for media_type, content in body.items():
        value = content.get("example", example(content["schema"], document))
        text = value if isinstance(value, str) else json.dumps(_without_nulls(value))
        parts += [f"-H 'Content-Type: {media_type}'", f"--data-binary '{text.rstrip()}'"]
    if url.startswith(UNIX):
        parts.insert(1, f"--unix-socket '{url.removeprefix(UNIX)}'")
        url = "http://localhost"
    return " ".join([*parts, f"'{url}{path}'"])


def _without_nulls(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _told(document: Mapping[str, Any], status: str, told: Mapping[str, Any]) -> Told:
    contents: Mapping[str, Any] = told.get("content", {})
    media_type = next(iter(contents), "")
    content = contents.get(media_type, {})
    is_json = media_type == "application/json"
    value = example(content["schema"], document) if is_json else content.get("example")
    return Told(
        status=status,
        description=told["description"],
        media_type=", ".join(contents),
        example="" if value is None else json.dumps(value, indent=2, ensure_ascii=False),
    )


def _place(parameter: Mapping[str, Any]) -> str:
    where: str = {"path": "in the path", "query": "", "header": "a header"}[parameter["in"]]
    default = parameter.get("schema", {}).get("default")
    return where if default is None else f"{where or 'unless given:'} {json.dumps(default)}"


def _words(schema: Mapping[str, Any], description: str) -> str:
    """What a value is, and what it may be."""
    forms = [schema, *schema.get("anyOf", [])]
    kinds = " or ".join(dict.fromkeys(f["type"] for f in forms if f.get("type", "null") != "null"))
    choices: list[str] = next((f["enum"] for f in forms if "enum" in f), [])
    bounds = [
        f"{word} {f[key]}"
        for f in forms
        for key, word in (("minimum", "at least"), ("maximum", "at most"))
        if key in f
    ]
    named = f"one of {', '.join(choices)}" if choices else ""
    told = ", ".join(part for part in (kinds, *bounds, named) if part)
    return "; ".join(part for part in (told, description) if part)
