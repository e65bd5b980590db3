"""A form that runs a job: a field for each param, checked as one types, and the run as a live card."""

import html
from collections.abc import Mapping
from datetime import date
from typing import Any

import ipywidgets

from apsis_nb.client import Client, ClientError, Run
from apsis_nb.core.params import PARAM_TYPES, Param
from apsis_nb.core.times import format_iso
from apsis_nb.widgets.run_card import RunCard
from apsis_nb.widgets.shown import wrong

_WIDE = ipywidgets.Layout(width="340px")
_NAMES = {"description_width": "110px"}


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

    def check(self) -> str:
        """What is wrong with it; empty: nothing."""
        if self.text is None:
            return "" if self.param.default is not None else f"{PARAM_TYPES[self.param.type][0]} is needed"
        try:
            self.param.value(self.text)
        except ValueError as error:
            return str(error)
        return ""


class RunForm:
    """A form for one job, in a cell.

    Args:
        client: as `ap.local` or `ap.connect` gives it.
        job_id: the job.

    Attributes:
        fields: the fields by param: `form.fields["date"].widget` is the widget.
        label: the widget of the label.
        button: the Run button.
        run: the run that was asked for last; None at first.
        card: its `RunCard`; None at first.
        ui: the whole, as one widget.

    Raises:
        NoSuch: there is no such job.
    """

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        facts = client.jobs[job_id].facts
        self.job_id: str = facts["job_id"]
        self.run: Run | None = None
        today = client.moment("0s").astimezone(client.zone).date()
        self.fields = {name: Field(_param_of(name, told), today) for name, told in facts["params"].items()}
        self.label = ipywidgets.Text(
            description="label", placeholder="to find the run again", layout=_WIDE, style=_NAMES
        )
        self.button = ipywidgets.Button(description="Run", button_style="primary")
        self._message = ipywidgets.HTML()
        self.card: RunCard | None = None
        self._place = ipywidgets.VBox([])
        about = facts["metadata"].get("description", "")
        head = f"<b style='font-size:1.1em'>{html.escape(self.job_id)}</b>"
        head += f"<div style='opacity:.8'>{html.escape(about)}</div>" if about else ""
        self.ui = ipywidgets.VBox(
            [
                ipywidgets.HTML(head),
                *(field.row for field in self.fields.values()),
                self.label,
                ipywidgets.HBox([self.button, self._message]),
                self._place,
            ]
        )
        for field in self.fields.values():
            field.widget.observe(self._check, names="value")
        self.button.on_click(self._ask)
        self._check()

    @property
    def args(self) -> dict[str, str]:
        """What the fields say; empty ones, whose default holds, are left out."""
        return {name: field.text for name, field in self.fields.items() if field.text is not None}

    def wait(self, timeout: float | None = None) -> Run | None:
        """Wait until the run that was asked for last has ended; see `Run.wait`."""
        return None if self.run is None else self.run.wait(timeout)

    def __repr__(self) -> str:
        return f"<a form for {self.job_id}({', '.join(self.fields)}): it shows in a notebook>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.ui._repr_mimebundle_(**options)

    def _check(self, change: Any = None) -> None:
        """Say beside each field what is wrong with it."""
        faults = 0
        for field in self.fields.values():
            words = field.check()
            field.error.value = wrong(words) if words else ""
            faults += bool(words)
        self.button.disabled = faults > 0

    def _ask(self, button: Any = None) -> None:
        """Ask for the run."""
        self._message.value = ""
        try:
            self.run = self._client.schedule(
                self.job_id, args=self.args, label=self.label.value.strip() or ()
            )
        except ClientError as error:
            self._message.value = wrong(str(error))
            return
        self._show(RunCard(self._client, self.run))

    def _show(self, card: RunCard) -> None:
        """Show the run that was asked for last, and no earlier one."""
        if self.card is not None:
            self.card.close()
        self.card = card
        self._place.children = (card.ui,)


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
