"""Routers of the interface, which cost little when the server starts."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fastapi import APIRouter, Depends
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from pydantic import BaseModel

from apsis_nb.server.asking import only_text
from apsis_nb.server.problems import COMMON, problems

API_PREFIX = "/api/v1"
#: Where an operation of the description has the name of its form, until that is put in.
FORM = "x-form"


def operation_id(route: APIRoute) -> str:
    """A name for a route that stays, as clients are generated from it: `get_runs_run_id_log`."""
    method = min(route.methods or {"get"}).lower()
    path = route.path.removeprefix("/api/v1")
    return re.sub(r"\W+", "_", f"{method}{re.sub(r':path', '', path)}").strip("_")


class Router(APIRouter):
    """Routes of the interface, whole by themselves: an app takes them as they are.

    What an app includes, FastAPI makes once more. And `response_model` only names the form of an answer:
    FastAPI would make a validator of each at once, which takes longer than the rest of the application, and
    which nobody uses, as routes give answers that are ready to be sent.

    Args:
        tags: what its routes are about.
        dependencies: what each of them needs, beside what all do.
    """

    forms: ClassVar[dict[str, type[BaseModel]]] = {}  #: by name, of all routers

    def __init__(self, *, tags: Sequence[str], dependencies: Sequence[Dependency] = ()) -> None:
        super().__init__(
            prefix=API_PREFIX,
            tags=list(tags),
            dependencies=[Depends(only_text), *dependencies],
            responses=problems(*COMMON),
            generate_unique_id_function=operation_id,
        )

    def add_api_route(
        self, path: str, endpoint: Callable[..., Any], *, response_model: Any = None, **more: Any
    ) -> None:
        """Add a route. Its form is a model of `answers`, whose name no other has."""
        if isinstance(response_model, type) and issubclass(response_model, BaseModel):
            name = response_model.__name__
            assert self.forms.setdefault(name, response_model) is response_model, name
            more["openapi_extra"] = {**(more.get("openapi_extra") or {}), FORM: name}
        super().add_api_route(path, endpoint, response_model=None, **more)
