"""A form that runs a job: a field for each param, checked as one types, and the run as a live card."""

import contextlib
import html
import shlex
import threading
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import ipywidgets

from apsis_nb.client import Client, ClientError, Closed, Run
from apsis_nb.core.params import PARAM_TYPES, Param
from apsis_nb.core.times import format_iso, format_local
from apsis_nb.widgets.run_card import RunCard
from apsis_nb.widgets.shown import Shown, cut, icon, table, wrong

PAUSE_S = 0.3  #: after the last key, before the server is asked what would run

_WIDE = ipywidgets.Layout(width="340px")
_NAMES = {"description_width": "110px"}
#: The key of a program that says most of what it does.
_WHAT = ("command", "argv", "call", "path", "query")
#: What this kernel asked for last, by server and job.
_USED: dict[tuple[str, str], dict[str, str]] = {}


class Field:
    """One param: its widget, and what is wrong with its value.

    Args:
        param: what it is.
        today: what an empty date begins with.
    """

    def __init__(self, param: Param, today: date) -> None:
        self.param = param
        self.widget = _widget_of(param, today)
        self.error = ipywidgets.HTML()
        hint = (
            f"<span style='opacity:.7'>{html.escape(param.description)}</span>" if param.description else ""
        )
        self.row = ipywidgets.HBox([self.widget, ipywidgets.VBox([ipywidgets.HTML(hint), self.error])])

    @property
    def text(self) -> str | None:
        """What is in the field; None: nothing is, and the default holds."""
        value = self.widget.value
        if value is None or value == "":
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        return format_iso(value) if isinstance(value, date) else str(value)

    def put(self, text: str) -> None:
        """Fill in the text of an arg; one that the field cannot hold is left out."""
        match self.widget:
            case ipywidgets.Dropdown():
                if text in self.widget.options:
                    self.widget.value = text
            case ipywidgets.Checkbox():
                self.widget.value = text == "true"
            case ipywidgets.DatePicker():
                with contextlib.suppress(ValueError):
                    self.widget.value = date.fromisoformat(text)
            case _:
                self.widget.value = text

    def check(self) -> str:
        """What is wrong with it; empty: nothing."""
        if self.text is None:
            return "" if self.param.default is not None else f"{PARAM_TYPES[self.param.type][0]} is needed"
        try:
            self.param.value(self.text)
        except ValueError as error:
            return str(error)
        return ""


class RunForm(Shown):
    """A form for one job, in a cell.

    While one fills it in, what is wrong stands beside each field, and below, what would run.

    Args:
        client: as `ap.local` or `ap.connect` gives it.
        job_id: the job.
        last: begin with the values of the last run, and not with the defaults.
        inside: the studio that shows it, if one does.

    Attributes:
        fields: the fields by param: `form.fields["date"].widget` is the widget.
        label, at, stop_at: the other fields; `at` and `stop_at` as `09:00`, `+10m`.
        button, last_button: the Run button, and the one for the values of the last run.
        run: the run that was asked for last; None at first.
        card: its `RunCard`; None at first.
        ui: the whole, as one widget.

    Raises:
        NoSuch: there is no such job.
    """

    def __init__(
        self, client: Client, job_id: str, *, last: bool = False, inside: Shown | None = None
    ) -> None:
        super().__init__(inside)
        self._client = client
        facts = client.jobs[job_id].facts
        self.job_id: str = facts["job_id"]
        self.run: Run | None = None
        today = client.moment("0s").astimezone(client.zone).date()
        self.fields = {name: Field(_param_of(name, told), today) for name, told in facts["params"].items()}
        self.label = _text("label", "to find the run again")
        self.at = _text("at", "now; 09:00; +10m")
        self.stop_at = _text("stop at", "when it ends; +1h")
        self.button = ipywidgets.Button(description="Run", button_style="primary")
        self.last_button = ipywidgets.Button(
            description="Last values", icon=icon("history"), tooltip="Fill in what the last run had"
        )
        self._message = ipywidgets.HTML()
        self._planned = ipywidgets.HTML()
        self._asked = 0
        self._lock = threading.Lock()
        self.card: RunCard | None = None
        self._place = ipywidgets.VBox([])
        about = facts["metadata"].get("description", "")
        self._head = f"<b style='font-size:1.1em'>{html.escape(self.job_id)}</b>"
        self._head += f"<div style='opacity:.8'>{html.escape(about)}</div>" if about else ""
        buttons = [self.button, *([self.last_button] if self.fields else []), self._message]
        self.ui = ipywidgets.VBox(
            [
                ipywidgets.HTML(self._head),
                *(field.row for field in self.fields.values()),
                self.label,
                self.at,
                self.stop_at,
                ipywidgets.HBox(buttons),
                self._planned,
                self._place,
            ]
        )
        if last and self.fields:
            self._take_last()
        for widget in [*(field.widget for field in self.fields.values()), *self._others.values()]:
            widget.observe(self._check, names="value")
        self.button.on_click(self._ask)
        self.last_button.on_click(self._take_last)
        self._check()

    @property
    def args(self) -> dict[str, str]:
        """What the fields say; empty ones, whose default holds, are left out."""
        return {name: field.text for name, field in self.fields.items() if field.text is not None}

    @property
    def _others(self) -> dict[str, Any]:
        """The fields that every job has."""
        return {"label": self.label, "at": self.at, "stop at": self.stop_at}

    def wait(self, timeout: float | None = None) -> Run | None:
        """Wait until the run that was asked for last has ended; see `Run.wait`."""
        return None if self.card is None else self.card.wait(timeout)

    def still(self) -> str:
        """How it is now, as HTML that needs nothing but itself."""
        filled = [(name, field.text or field.param.default or "") for name, field in self.fields.items()]
        filled += [(name, widget.value) for name, widget in self._others.items()]
        below = self._planned.value if self.card is None else self.card.still()
        return f"{self._head}{table(filled)}{self._message.value}{below}"

    def __repr__(self) -> str:
        return f"<a form for {self.job_id}({', '.join(self.fields)}): it shows in a notebook>"

    def _check(self, change: Any = None) -> None:
        """Say beside each field what is wrong with it, and ask what would run."""
        faults = 0
        for field in self.fields.values():
            words = field.check()
            field.error.value = wrong(words) if words else ""
            faults += bool(words)
        self.button.disabled = faults > 0
        with self._lock:
            self._asked += 1
            asked = self._asked
        if faults:
            self._planned.value = ""
        else:
            later = threading.Timer(PAUSE_S, self._plan, [asked])
            later.daemon = True
            later.start()
        self.keep()

    def _plan(self, asked: int) -> None:
        """Show what would run, unless something else is in the fields by then."""
        if asked != self._asked:
            return
        try:
            wanted = {
                "job_id": self.job_id,
                "args": self.args,
                "at": self._client.connection.text_of(self.at.value.strip() or None),
                "stop_at": self._client.connection.text_of(self.stop_at.value.strip() or None),
            }
            planned = plan_html(self._client.plan_run(wanted), self._client, is_due=bool(wanted["at"]))
        except Closed:
            return
        except ClientError as error:
            planned = wrong(str(error))
        with self._lock:
            if asked == self._asked:
                self._planned.value = planned
        self.keep()

    def _take_last(self, button: Any = None) -> None:
        """Fill in what this kernel asked for last, else what the newest run has."""
        self._message.value = ""
        args = _USED.get((self._client.url, self.job_id))
        if args is None:
            try:
                runs = self._client.list_runs(job=self.job_id, limit=1)
            except ClientError as error:
                self._message.value = wrong(str(error))
                return
            if not runs:
                self._message.value = "it never ran"
                return
            args = runs[0]["args"]
        for name in args.keys() & self.fields.keys():
            self.fields[name].put(args[name])

    def _ask(self, button: Any = None) -> None:
        """Ask for the run."""
        self._message.value = ""
        try:
            self.run = self._client.schedule(
                self.job_id,
                args=self.args,
                label=self.label.value.strip() or (),
                at=self.at.value.strip() or None,
                stop_at=self.stop_at.value.strip() or None,
            )
        except ClientError as error:
            self._message.value = wrong(str(error))
            self.keep()
            return
        _USED[self._client.url, self.job_id] = self.args
        self._show(RunCard(self._client, self.run, inside=self))

    def _show(self, card: RunCard) -> None:
        """Show the run that was asked for last, and no earlier one."""
        if self.card is not None:
            self.card.close()
        self.card = card
        self._place.children = (card.ui,)
        self.keep()


def plan_html(plan: Mapping[str, Any], client: Client, *, is_due: bool = False) -> str:
    """What would run, in words.

    Args:
        plan: as `Client.plan_run` gives it.
        client: whose zone times are told in.
        is_due: a time was given; else it runs now.
    """
    program = plan["program"]
    what = next((program[key] for key in _WHAT if key in program), program.get("type", ""))
    words = shlex.join(what) if isinstance(what, list) else str(what)
    lines = [f"<code style='white-space:pre-wrap'>{cut(words.strip(), 2_000)}</code>"]
    for name in ("scheduled_at", "stop_at") if is_due else ("stop_at",):
        if plan[name]:
            at = format_local(datetime.fromisoformat(plan[name]), client.zone, with_zone=True)
            lines.append(("at " if name == "scheduled_at" else "stopped at ") + html.escape(at))
    lines += [f"waits for {cut(text, 500)}" for text in plan["condition"]]
    lines += [f"then: {cut(text, 500)}" for text in plan["action"]]
    return f"<div style='opacity:.85'>would run {'<br>'.join(lines)}</div>"


def _text(name: str, hint: str) -> Any:
    return ipywidgets.Text(description=name, placeholder=hint, layout=_WIDE, style=_NAMES)


def _param_of(name: str, told: Mapping[str, Any]) -> Param:
    return Param(
        name=name,
        type=told.get("type", "str"),
        default=told.get("default"),
        choices=tuple(told.get("choices", ())),
        description=told.get("description"),
    )


def _widget_of(param: Param, today: date) -> Any:
    """The widget that suits a param best."""
    look: dict[str, Any] = {"description": param.name, "layout": _WIDE, "style": _NAMES}
    if param.choices:
        start = param.default if param.default in param.choices else param.choices[0]
        return ipywidgets.Dropdown(options=list(param.choices), value=start, **look)
    match param.type:
        case "bool":
            return ipywidgets.Checkbox(value=param.default == "true", indent=True, **look)
        case "date":
            day = today if param.default is None else date.fromisoformat(param.default)
            return ipywidgets.DatePicker(value=day, **look)
        case _:
            return ipywidgets.Text(
                value=param.default or "",
                placeholder=PARAM_TYPES[param.type][0],
                continuous_update=True,
                **look,
            )
