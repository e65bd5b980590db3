"""Fields beside the text of a job file, for what is set most often; the text stays the one truth."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any, cast

import ipywidgets

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.fields import KeyPath
from apsis_nb.jobfiles.edit import edit_yaml
from apsis_nb.jobfiles.yaml12 import YamlErrors, parse_yaml
from apsis_nb.widgets.shown import wrong

#: The kinds of schedules that have fields: their keys, and what each begins with; None: the server's zone.
SCHEDULES: dict[str, dict[str, str | None]] = {
    "daily": {"daytime": "07:00:00", "calendar": "all", "tz": None},
    "interval": {"interval": "1h"},
    "cron": {"cron": "0 7 * * 1-5", "tz": None},
}
#: The kinds of programs that have a field: the key that says what they do, and what it begins with.
PROGRAMS: dict[str, tuple[str, Any]] = {
    "shell": ("command", "echo hello"),
    "argv": ("argv", ["echo", "hello"]),
    "python": ("call", "module:function"),
    "notebook": ("path", "report.ipynb"),
    "sql": ("query", "SELECT 1 AS one"),
}
_HINTS = {
    "daytime": "07:00:00, 19:00:00",
    "calendar": "all, Mon-Fri, a name",
    "interval": "10m, 1h30m",
    "cron": "*/5 8-18 * * 1-5",
    "tz": "Europe/Berlin",
}


class JobFields:
    """What a job is for, when it runs and what it runs, as fields: a change edits the text, line by line.

    Args:
        tz: tells the zone of schedules that are new.
        edited: is called with the text after a change.

    Attributes:
        description, when, what, does: the fields: `when` and `what` are the kinds of schedule and program.
        of_schedule: the fields of the schedule, by key.
        ui: the whole, as one widget.
    """

    def __init__(self, tz: Callable[[], str], edited: Callable[[str], None]) -> None:
        self._tz, self._edited = tz, edited
        self._text = ""
        self._is_reading = False
        at_the_end = {"continuous_update": False}  # a line that is half typed is no line yet
        self.description = ipywidgets.Text(description="what for", **_look(), **at_the_end)
        self.when = ipywidgets.Dropdown(description="runs", **_look())
        self.of_schedule = {
            key: ipywidgets.Text(description=key, placeholder=hint, **_look(), **at_the_end)
            for key, hint in _HINTS.items()
        }
        self.what = ipywidgets.Dropdown(description="program", **_look())
        self.does = ipywidgets.Textarea(rows=4, **_look(), **at_the_end)
        self._said = ipywidgets.HTML()
        self.ui = ipywidgets.VBox(
            [self.description, self.when, *self.of_schedule.values(), self.what, self.does, self._said]
        )
        self.description.observe(self._describe, names="value")
        self.when.observe(self._change_schedule, names="value")
        for key, widget in self.of_schedule.items():
            widget.observe(lambda change, key=key: self._change_key(key, change["new"]), names="value")
        self.what.observe(self._change_program, names="value")
        self.does.observe(self._change_does, names="value")

    def read(self, text: str) -> None:
        """Show what a text says; where it is no YAML, nothing can be changed by fields."""
        self._text = text
        self._is_reading = True
        try:
            self._show(_job_of(text))
        finally:
            self._is_reading = False

    def _show(self, job: Mapping[str, Any] | None) -> None:
        self._said.value = "" if job is not None else "<i>The fields wait for the text to be right.</i>"
        job = job or {}
        for widget in (self.description, self.when, self.what, self.does):
            widget.disabled = not job
        metadata = job.get("metadata")
        self.description.value = (
            str(metadata.get("description") or "") if isinstance(metadata, Mapping) else ""
        )
        schedule, path = _schedule_of(job)
        kind = str(schedule.get("type", ""))
        several = "" if path is not None or not job.get("schedule") else "as the text says"
        kinds = ["", *SCHEDULES, *([several or kind] if (several or kind) not in ("", *SCHEDULES) else [])]
        self.when.options = [(name or "only when asked", name) for name in kinds]
        self.when.value = several or kind
        self.when.disabled = self.when.disabled or bool(several)
        for key, widget in self.of_schedule.items():
            shown = _shown(schedule.get(key, ""))
            widget.value = shown or ""
            widget.disabled = not job or shown is None
            widget.layout.display = "" if key in SCHEDULES.get(kind, {}) else "none"
        kind, does = _program_of(job)
        self.what.options = [(name or "none", name) for name in dict.fromkeys([*PROGRAMS, kind])]
        self.what.value = kind
        self.does.description = PROGRAMS[kind][0] if kind in PROGRAMS else ""
        self.does.value = does
        self.does.layout.display = "" if kind in PROGRAMS else "none"

    # ---- What one changes ----

    def _describe(self, change: Any) -> None:
        self._edit(lambda text: edit_yaml(text, ("metadata", "description"), change["new"] or None))

    def _change_schedule(self, change: Any) -> None:
        self._edit(lambda text: with_schedule(text, change["new"], self._tz()))

    def _change_key(self, key: str, value: str) -> None:
        _, path = _schedule_of(_job_of(self._text) or {})
        if path is not None:
            values = (
                [word.strip() for word in value.split(",")] if key == "daytime" and "," in value else value
            )
            self._edit(lambda text: edit_yaml(text, (*path, key), values or None))

    def _change_program(self, change: Any) -> None:
        self._edit(lambda text: with_program(text, change["new"]))

    def _change_does(self, change: Any) -> None:
        self._edit(lambda text: with_does(text, change["new"]))

    def _edit(self, how: Callable[[str], str]) -> None:
        """Change the text; where that cannot be, say why, and show what it says."""
        if self._is_reading:
            return
        try:
            text = how(self._text)
        except (ApsisError, ValueError) as error:
            self.read(self._text)
            self._said.value = wrong(str(error))
            return
        self.read(text)
        self._edited(text)


def with_schedule(text: str, kind: str, tz: str) -> str:
    """The text with another kind of schedule; what both kinds have stays, and so do all other lines.

    Args:
        text: of a job file.
        kind: of `SCHEDULES`; empty: none.
        tz: a zone, if it has none yet.
    """
    if not kind:
        return edit_yaml(text, ("schedule",), None)
    if kind not in SCHEDULES:
        return text
    wanted = {key: value or tz for key, value in SCHEDULES[kind].items()}
    old, path = _schedule_of(_job_of(text) or {})
    if path is None:
        return edit_yaml(text, ("schedule",), {"type": kind, **wanted})
    text = edit_yaml(text, (*path, "type"), kind)
    for key in _HINTS:
        if key in old and key not in wanted:
            text = edit_yaml(text, (*path, key), None)
        elif key in wanted and key not in old:
            text = edit_yaml(text, (*path, key), wanted[key])
    return text


def with_program(text: str, kind: str) -> str:
    """The text with another kind of program; the words of a command stay.

    Args:
        text: of a job file.
        kind: of `PROGRAMS`.
    """
    if kind not in PROGRAMS:
        return text
    job = _job_of(text) or {}
    before, does = _program_of(job)
    key, value = PROGRAMS[kind]
    if {kind, before} == {"shell", "argv"} and does:
        value = shlex.split(does) if kind == "argv" else does
    if not isinstance(job.get("program"), Mapping):
        return edit_yaml(text, ("program",), {"type": kind, key: value})
    text = edit_yaml(text, ("program", "type"), kind)
    if before in PROGRAMS:
        text = edit_yaml(text, ("program", PROGRAMS[before][0]), None)
    return edit_yaml(text, ("program", key), value)


def with_does(text: str, does: str) -> str:
    """The text with another command, function, notebook or query.

    Raises:
        ValueError: it is no list of words.
    """
    job = _job_of(text) or {}
    kind, _ = _program_of(job)
    if kind not in PROGRAMS:
        return text
    value: Any = does
    if kind == "argv":
        try:
            value = shlex.split(does)
        except ValueError as error:
            raise ValueError(f"these are no words of a command: {error}") from None
    path = ("program", PROGRAMS[kind][0]) if isinstance(job["program"], Mapping) else ("program",)
    return edit_yaml(text, path, value)


def _look() -> dict[str, Any]:
    """Of a field; each has a layout of its own, for not all are seen."""
    return {"layout": ipywidgets.Layout(width="300px"), "style": {"description_width": "80px"}}


def _job_of(text: str) -> Mapping[str, Any] | None:
    """What a text says; None: it is no mapping in YAML."""
    try:
        found = parse_yaml(text).value
    except YamlErrors:
        return None
    return found if isinstance(found, Mapping) else None


def _schedule_of(job: Mapping[str, Any]) -> tuple[Mapping[str, Any], KeyPath | None]:
    """The schedule that fields can show, and where it stands; None: there is none, or several."""
    found, path = job.get("schedule"), cast(KeyPath, ("schedule",))
    if isinstance(found, list) and len(found) == 1:
        found, path = found[0], ("schedule", 0)
    return (found, path) if isinstance(found, Mapping) and "type" in found else ({}, None)


def _program_of(job: Mapping[str, Any]) -> tuple[str, str]:
    """The kind of a program, and what it does, as a text; empty: neither is there."""
    match job.get("program"):
        case str(command):
            return "shell", command
        case list(words):
            return "argv", shlex.join(map(str, words))
        case {"type": str(kind), **facts}:
            does = facts.get(PROGRAMS[kind][0]) if kind in PROGRAMS else None
            return kind, shlex.join(map(str, does)) if isinstance(does, list) else str(does or "")
        case _:
            return "", ""


def _shown(value: Any) -> str | None:
    """A value as the text of a field; None: it is more than that."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return None if isinstance(value, Mapping | list) else str(value)
