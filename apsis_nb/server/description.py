"""The description of the interface (OpenAPI), as it is served, shown at `/docs` and told in docs/api.md."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from apsis_nb.server.problems import ProblemDocument
from apsis_nb.server.routing import FORM, Router

ABOUT = """\
Requests show the server's token as `Authorization: Bearer TOKEN`; `apsis-nb token` prints it. Times are ISO
8601 in UTC; in a request `now`, `+10m`, `2026-01-31` and `09:00` will do as well. Durations are in seconds.
Whatever goes wrong is told as `application/problem+json`, with a `detail` that says what would be right.
"""

TAGS = [
    {"name": "jobs", "description": "The folder of job files, and when its jobs run."},
    {"name": "runs", "description": "Finding runs, making them, moving them, and reading what they wrote."},
    {"name": "backfills", "description": "What is run for times of long ago, as one."},
    {"name": "pauses", "description": "Schedules that are held back."},
    {"name": "history", "description": "Questions about all runs that ever were."},
    {"name": "why", "description": "Why something has not run, or not well."},
    {"name": "tokens", "description": "Who else may ask, and what."},
    {"name": "server", "description": "The server itself, and the stream of what happens."},
]


def describe(app: FastAPI) -> None:
    """Have the app's description told whole: the token, the problems, and a summary of each route."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=ABOUT,
        routes=app.routes,
        tags=TAGS,
    )
    parts = document["components"]
    _put_forms_in(document)
    parts["schemas"]["Problem"] = ProblemDocument.model_json_schema()
    # FastAPI's own form of what is wrong, of which there is none.
    for unused in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(unused, None)
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            said = operation.get("description", "")
            operation["summary"] = re.split(r"[.:](?:\s|$)", said, maxsplit=1)[0]
    return document


def _put_forms_in(document: dict[str, Any]) -> None:
    """Have each operation refer to the form that it names, and the forms described."""
    used: list[type[BaseModel]] = []
    for operations in document["paths"].values():
        for operation in operations.values():
            name = operation.pop(FORM, None)
            if name is None:
                continue
            good = next(answer for status, answer in operation["responses"].items() if status[0] == "2")
            schema = {"$ref": f"#/components/schemas/{name}"}
            good.setdefault("content", {}).setdefault("application/json", {})["schema"] = schema
            used.append(Router.forms[name])
    _, described = models_json_schema(
        [(model, "serialization") for model in used], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] |= described["$defs"]
