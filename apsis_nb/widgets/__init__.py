"""Widgets for notebooks; each is loaded when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apsis_nb.widgets.adhoc_run import AdhocRun
    from apsis_nb.widgets.editor import YamlEditor
    from apsis_nb.widgets.job_studio import JobStudio
    from apsis_nb.widgets.live_runs import LiveRuns
    from apsis_nb.widgets.run_card import LogTail, RunCard
    from apsis_nb.widgets.run_form import RunForm

__all__ = ["AdhocRun", "JobStudio", "LiveRuns", "LogTail", "RunCard", "RunForm", "YamlEditor"]

_MODULE_OF = {
    "AdhocRun": "adhoc_run",
    "JobStudio": "job_studio",
    "LiveRuns": "live_runs",
    "LogTail": "run_card",
    "RunCard": "run_card",
    "RunForm": "run_form",
    "YamlEditor": "editor",
}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"apsis_nb.widgets.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
