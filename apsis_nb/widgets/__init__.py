"""Widgets for notebooks; each is loaded when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apsis_nb.widgets.run_form import RunForm

__all__ = ["RunForm"]


def __getattr__(name: str) -> Any:
    if name == "RunForm":
        return import_module("apsis_nb.widgets.run_form").RunForm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
