"""The form for a new run: of a job, with fields for its params, or of a command. A dialog of every page."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import panel as pn
import param

from apsis_nb.client import NoSuch, NotAuthorized, literal
from apsis_nb.core.errors import ApsisError, JobErrors
from apsis_nb.core.params import params_from

from .board import PAGE_CSS, Piece
from .catalogue import Known
from .finder import jobs_with
from .markup import LOADING

if TYPE_CHECKING:
    from .page import Page

_HERE = Path(__file__).parent
_CSS = (_HERE / "adhoc.css").read_text(encoding="utf-8")

#: Makes the answer to a message; called in a thread.
Ask = Callable[[Mapping[str, Any]], dict[str, Any]]

MOST_JOBS = 50  #: that the choice of a job shows


class AdHoc(Piece):
    """The form. It asks with messages, and is told by what it shows:

    `{action: "jobs", words}` → `jobs`; `{action: "job", id}` → `job`; `{action: "plan", ...form}` → `plan`;
    `{action: "run", ...form}` → `made`. A form is what `request_of` reads; its `n` comes back.
    """

    standing = param.Boolean(default=False, doc="Whether it is a page of its own, not a dialog.")
    role = param.String(doc="What the reader may do: read, run, write, admin.")
    user = param.String(doc="Who the reader is.")
    waiting = param.String(default=LOADING, doc="What stands there until it is known who the reader is.")
    wish = param.Dict(default={}, doc="What is filled in at first: `job`, and `args`.")
    jobs = param.Dict(default={}, doc="The jobs that have some words: `words`, `items`, `count`, `error`.")
    job = param.Dict(default={}, doc="Facts of the chosen job: `id`, `params`, `description`, or `error`.")
    plan = param.Dict(default={}, doc="What would run: `n`, `plan`; or what is wrong: `faults`, `error`.")
    made = param.Dict(default={}, doc="What was made: `n` and `run_id`; or `error`.")

    _bundle = _HERE / "adhoc.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS, _CSS]

    def __init__(self, page: "Page", **params: Any) -> None:
        super().__init__(**params)
        self._page = page

    def _handle_msg(self, data: Any) -> None:
        #: By action, the name of the answer and who gives it.
        asked: dict[str, tuple[str, Ask]] = {
            "jobs": ("jobs", self._jobs),
            "job": ("job", self._job),
            "plan": ("plan", self._plan),
            "run": ("made", self._run),
        }
        action = str(data.get("action")) if isinstance(data, dict) else ""
        if action in asked:
            pn.state.execute(partial(self._answer, *asked[action], data))

    async def _answer(self, name: str, ask: Ask, data: Mapping[str, Any]) -> None:
        try:
            told = await asyncio.to_thread(ask, data)
        except ApsisError as error:
            told = {"error": _words(error)}
        told |= {key: data[key] for key in ("n", "words", "id") if key in data}
        self._page.later(lambda: self.param.update(**{name: told}))

    def _jobs(self, data: Mapping[str, Any]) -> dict[str, Any]:
        known = self._page.catalogue.look()
        found = jobs_with(known, str(data.get("words", "")))
        return {"items": found[:MOST_JOBS], "count": len(found)}

    def _job(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return job_told(self._page.catalogue.look(), str(data.get("id", "")))

    def _plan(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if faults := faults_of(self._page.catalogue.look(), data):
            return {"faults": faults}
        return {"plan": self._page.client.plan_run(request_of(data))}

    def _run(self, data: Mapping[str, Any]) -> dict[str, Any]:
        run = self._page.client.request_runs(request_of(data))[0]
        return {"run_id": run.run_id}


def _words(error: Exception) -> str:
    if isinstance(error, NotAuthorized) and error.status == 401:
        return "Your session has ended: log in again."
    return str(error)


def job_told(known: Known, job_id: str) -> dict[str, Any]:
    """What the form needs to know of a job.

    Raises:
        NoSuch: there is no such job, or its file is broken.
    """
    facts = known.jobs.get(job_id)
    if facts is None:
        faults = "; ".join(str(error["message"]) for error in known.broken.get(job_id, ()))
        raise NoSuch(
            f"{job_id} cannot be used, its file is broken: {faults}"
            if faults
            else f"there is no job {job_id}"
        )
    return {
        "params": [{"name": name, **said} for name, said in facts["params"].items()],
        "description": str(facts["metadata"].get("description") or ""),
        "labels": facts["metadata"]["labels"],
    }


def faults_of(known: Known, form: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the args of a form, by param; all at once, where the server names the first."""
    facts = known.jobs.get(str(form.get("job")))
    if form.get("kind") != "job" or facts is None:
        return {}
    given: Mapping[str, Any] = form.get("args") or {}
    faults = {}
    try:
        params = params_from(facts["params"])
    except JobErrors:  # another version of the server has types that are new to us: it will tell
        return {}
    for known_param in params:
        text = given.get(known_param.name)
        if text is None or text == "":
            if known_param.default is None and known_param.type != "str":
                faults[known_param.name] = "needed"
        else:
            try:
                known_param.value(text)
            except ValueError as error:
                faults[known_param.name] = str(error)
    return faults


def request_of(form: Mapping[str, Any]) -> dict[str, Any]:
    """The request for runs that a form makes.

    Args:
        form: `kind`: job, command or nothing; `job`, `args` (empty: the default), `command`; `labels`: with
            commas between; `at` and `stop_at`: times, empty for now and never; `test`.
    """
    wanted: dict[str, Any] = {
        "at": form.get("at") or None,
        "stop_at": form.get("stop_at") or None,
        "labels": [label for part in str(form.get("labels") or "").split(",") if (label := part.strip())],
        "test": bool(form.get("test")),
    }
    if form.get("kind") == "job":
        args = {str(k): str(v) for k, v in (form.get("args") or {}).items()}
        return wanted | {"job_id": str(form.get("job") or ""), "args": args}
    if form.get("kind") == "command":
        program = {"type": "shell", "command": literal(str(form.get("command") or ""))}
        return wanted | {"job": {"program": program}}
    return wanted | {"job": {"program": {"type": "no-op"}}}


def adhoc_form(page: "Page") -> AdHoc:
    """The form as a page of its own; the address fills it in: `job`, `arg.NAME`."""
    said = page.said
    args = {name.removeprefix("arg."): text for name, text in said.items() if name.startswith("arg.")}
    page.adhoc.param.update(
        standing=True, sizing_mode="stretch_width", wish={"job": said.get("job", ""), "args": args}
    )
    return page.adhoc
