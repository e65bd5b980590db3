"""Every way into the application, for the tests that try them all."""

import re
from collections.abc import Mapping

from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

#: What stands for the parts of an address.
PARTS = {"job_id": "ops/hello"}


def templates(client: TestClient) -> list[tuple[str, str]]:
    """(method, route) of every route; `WS` for what may be a websocket."""
    found: list[tuple[str, str]] = []
    for route in iter_route_contexts(client.app.app.routes):  # type: ignore[attr-defined]
        methods = getattr(route, "methods", None)
        found += [(m, str(route.path)) for m in sorted(methods or ())]
        if not methods:  # a mounted application
            found += [(m, f"{route.path}/{{path:path}}") for m in ("GET", "WS")]
    return found


def address(route: str, parts: Mapping[str, str] = PARTS) -> str:
    """An address of a route."""
    return re.sub(r"\{(\w+)(:path)?\}", lambda m: parts.get(m[1], "1"), route)


def routes(client: TestClient) -> list[tuple[str, str]]:
    """(method, path) of every route, and of further methods below what is mounted."""
    found = [(method, address(route)) for method, route in templates(client)]
    mounted = [path for method, path in found if method == "WS"]
    return found + [(m, path) for m in ("POST", "HEAD", "DELETE", "OPTIONS") for path in mounted]
