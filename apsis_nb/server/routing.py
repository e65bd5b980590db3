"""A router whose routes name the forms of their answers, which are looked at only to describe them."""

from collections.abc import Callable
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import BaseModel

#: Where an operation of the description has the name of its form, until that is put in.
FORM = "x-form"


class Router(APIRouter):
    """As FastAPI's, but `response_model` costs nothing when the server starts.

    FastAPI makes a validator of each form at once, which takes longer than the rest of the application, and
    which nobody uses: routes give answers that are ready to be sent.
    """

    forms: ClassVar[dict[str, type[BaseModel]]] = {}  #: by name, of all routers

    def add_api_route(
        self, path: str, endpoint: Callable[..., Any], *, response_model: Any = None, **more: Any
    ) -> None:
        """Add a route. Its form is a model of `answers`, whose name no other has."""
        if isinstance(response_model, type) and issubclass(response_model, BaseModel):
            name = response_model.__name__
            assert self.forms.setdefault(name, response_model) is response_model, name
            more["openapi_extra"] = {**(more.get("openapi_extra") or {}), FORM: name}
        super().add_api_route(path, endpoint, response_model=None, **more)
