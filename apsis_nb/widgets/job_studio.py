"""A studio for job files in a cell: a text with marks, what it would do, and how it differs from the file."""

import difflib
import html
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import ipywidgets

from apsis_nb.client import Client, ClientError, NoSuch, Run
from apsis_nb.core.times import format_local
from apsis_nb.widgets.editor import YamlEditor
from apsis_nb.widgets.job_fields import JobFields
from apsis_nb.widgets.run_form import RunForm
from apsis_nb.widgets.shown import MOST_BYTES, Shown, box, cut, wrong

#: What a new job begins with.
FIRST = """\
metadata:
  description: "What it does, and for whom."

schedule:
  type: daily
  tz: UTC
  calendar: Mon-Fri
  daytime: "07:00:00"

program:
  type: shell
  command: echo hello
"""
_ROW = ipywidgets.Layout(flex_flow="row wrap", width="100%")


class JobStudio(Shown):
    """Write a job file, see what it would do, and save it.

    While one types, the server checks the text: faults are marked in it, and below stand what the schedules
    mean, the next ten runs, and how the text differs from the file. Fields beside it change single lines, and
    leave all others and the comments. Nothing is kept before Save.

    Args:
        client: as `ap.local` or `ap.connect` gives it.
        job_id: a job that is there, or the id of a new one.
        text: what to begin with; by default the job's file, or for a new one a small job.

    Attributes:
        job_id: the widget of the id.
        editor: the widget of the text: `editor.value`.
        fields: those beside the text: `fields.when.value`.
        save_button, reload_button, run_button, template: the other widgets.
        faults: what is wrong with the text, as the server said last.
        form: the `RunForm` of Run once; None at first.
        ui: the whole, as one widget.
    """

    def __init__(self, client: Client, job_id: str = "", *, text: str | None = None) -> None:
        super().__init__()
        self._client = client
        self._tag: str | None = None  # of the text that is on disk, None: there is none
        self._disk = ""
        self._asked = 0
        self._lock = threading.Lock()
        self.faults: list[dict[str, Any]] = []
        self.form: RunForm | None = None
        self.job_id = ipywidgets.Text(
            value=job_id,
            description="job",
            placeholder="team/report",
            continuous_update=False,
            layout=ipywidgets.Layout(width="320px"),
            style={"description_width": "30px"},
        )
        self.template = ipywidgets.Dropdown(
            options=[("begin with …", "")], layout=ipywidgets.Layout(width="440px"), tooltip="A template"
        )
        self.editor = YamlEditor(layout=ipywidgets.Layout(flex="1 1 480px", min_width="0"))
        self.fields = JobFields(lambda: client.zone.key, self._write)
        self.save_button = ipywidgets.Button(description="Save", button_style="primary", disabled=True)
        self.reload_button = ipywidgets.Button(description="Reload", tooltip="Take the text that is on disk")
        self.run_button = ipywidgets.Button(description="Run once", tooltip="Run the job as it is on disk")
        self._yes = ipywidgets.Button(description="Give my changes up", button_style="danger")
        self._no = ipywidgets.Button(description="Keep them")
        self._question = ipywidgets.HBox([self._yes, self._no])
        self._question.layout.display = "none"
        self._said = ipywidgets.HTML()
        self._faults = ipywidgets.HTML()
        self._does = ipywidgets.HTML()
        self._differs = ipywidgets.HTML()
        self._run = ipywidgets.VBox([])
        self.ui = ipywidgets.VBox(
            [
                ipywidgets.HBox([self.job_id, self.template]),
                ipywidgets.HBox([self.fields.ui, self.editor], layout=_ROW),
                self._faults,
                ipywidgets.HBox([self.save_button, self.reload_button, self.run_button, self._said]),
                self._question,
                ipywidgets.HBox([self._does, self._differs], layout=_ROW),
                self._run,
            ]
        )
        self._templates: dict[str, str] = {}  # their texts, by name
        self._begin_with_templates()
        self._take(job_id, text)
        self.fields.read(self.editor.value)
        self.editor.observe(self._changed, names="value")
        self.editor.on_save(self._save)
        self.job_id.observe(self._renamed, names="value")
        self.template.observe(self._from_template, names="value")
        self.save_button.on_click(self._save)
        self.reload_button.on_click(self._reload)
        self.run_button.on_click(self._run_once)
        self._yes.on_click(self._give_up)
        self._no.on_click(lambda button: self._ask(False))
        self._check()

    @property
    def is_changed(self) -> bool:
        """Whether the text is not the one on disk."""
        return self._tag is None or self.editor.value != self._disk

    def __repr__(self) -> str:
        return f"<a studio for {self.job_id.value or 'a new job'}: it shows in a notebook>"

    def still(self) -> str:
        """How it is now, as HTML that needs nothing but itself: as many of its parts as fit."""
        parts = [
            f"<b>{html.escape(self.job_id.value or 'a new job')}</b> {self._said.value}"
            f"<pre style='margin:.3em 0'>{cut(self.editor.value, 20_000)}</pre>",
            self._faults.value,
            "" if self.form is None else self.form.still(),
            self._does.value,
            self._differs.value,
        ]
        shown, room = "", MOST_BYTES - 1_000
        for part in parts:
            if len((shown + part).encode()) < room:
                shown += part
        return shown

    # ---- The text ----

    def _begin_with_templates(self) -> None:
        try:
            found = self._client.templates(self.job_id.value.strip() or "team/report")
        except ClientError as error:
            self._say(str(error), is_bad=True)
            return
        self._templates = {t["name"]: t["yaml"] for t in found}
        self.template.options = [
            ("begin with …", ""),
            *((f"{t['name']}: {t['description']}"[:80], t["name"]) for t in found),
        ]

    def _take(self, job_id: str, text: str | None) -> None:
        """Take up the file of a job; of one that has none, a first text."""
        self._tag, self._disk = None, ""
        if job_id:
            try:
                self._disk, self._tag = self._client.yaml(job_id)
            except NoSuch:
                pass
            except ClientError as error:
                self._say(str(error), is_bad=True)
        self.editor.value = text if text is not None else self._disk if self._tag else FIRST
        self.run_button.disabled = self._tag is None

    def _renamed(self, change: Any) -> None:
        """Another id: its file, unless a text would be lost for it."""
        keeps = self.is_changed and self.editor.value not in (FIRST, *self._templates.values())
        self._take(change["new"].strip(), self.editor.value if keeps else None)
        self._check()

    def _from_template(self, change: Any) -> None:
        if change["new"] in self._templates:
            self.editor.value = self._templates[change["new"]]

    def _write(self, text: str) -> None:
        """Take the text that the fields made."""
        self.editor.value = text

    def _changed(self, change: Any = None) -> None:
        self.fields.read(self.editor.value)
        self._check()

    # ---- What the server says of it ----

    def _check(self) -> None:
        """Have the text checked, in a thread; an answer that a later text overtook is dropped."""
        with self._lock:
            self._asked += 1
            asked = self._asked
        self._say("checking …")
        args = (asked, self.job_id.value.strip(), self.editor.value)
        threading.Thread(target=self._ask_server, args=args, name="studio", daemon=True).start()

    def _ask_server(self, asked: int, job_id: str, text: str) -> None:
        try:
            told = self._client.check(job_id or "new", text)
        except ClientError as error:
            told, failed = None, str(error)
        with self._lock:
            if asked != self._asked:
                return
            if told is None:
                self._say(failed, is_bad=True)
            else:
                self._show(job_id, text, told)
        self.keep()

    def _show(self, job_id: str, text: str, told: Mapping[str, Any]) -> None:
        self.faults = told["errors"]
        self.editor.faults = [
            {name: fault.get(name) for name in ("line", "col", "message", "level")} for fault in self.faults
        ]
        self._faults.value = faults_html(self.faults)
        self._does.value = does_html(told["job"], told["next"], self._client)
        self._differs.value = difference_html(self._disk, text) if self._tag else ""
        changed = self.is_changed
        self.save_button.disabled = not (told["ok"] and job_id and changed)
        if not job_id:
            self._say("give the job an id")
        elif not told["ok"]:
            self._say("what is wrong is marked", is_bad=True)
        else:
            self._say("not saved" if changed else "as on disk")

    # ---- What one does ----

    def _save(self, button: Any = None) -> None:
        job_id, text = self.job_id.value.strip(), self.editor.value
        if not job_id or not self.is_changed:
            return
        try:
            self._tag = self._client.write_yaml(job_id, text, tag=self._tag)
        except ClientError as error:
            self._say(
                f"{error}" if self._tag is None else f"{error}. Reload shows what is on disk", is_bad=True
            )
            return
        self._disk = text
        self.run_button.disabled = False
        self.save_button.disabled = True
        self._differs.value = ""
        self._say("saved")
        self.keep()

    def _reload(self, button: Any = None) -> None:
        """Take the text on disk; where one has changed it, only after a question."""
        if self.is_changed and self.editor.value != FIRST:
            self._ask(True)
        else:
            self._give_up()

    def _ask(self, asks: bool) -> None:
        self._question.layout.display = "" if asks else "none"

    def _give_up(self, button: Any = None) -> None:
        self._ask(False)
        self._take(self.job_id.value.strip(), None)
        self._check()

    def _run_once(self, button: Any = None) -> None:
        """Show the form of the job as it is on disk; one without params runs at once."""
        try:
            form = RunForm(self._client, self.job_id.value.strip(), inside=self)
        except ClientError as error:
            self._say(str(error), is_bad=True)
            return
        if self.is_changed:
            self._say("this runs the job as it was saved last")
        self._run.children = (form.ui,)
        self.form = form
        self.keep()
        if not form.fields:
            form.button.click()

    def wait(self, timeout: float | None = None) -> Run | None:
        """Wait until the run that was asked for last has ended; None: none was."""
        return None if self.form is None else self.form.wait(timeout)

    def _say(self, text: str, *, is_bad: bool = False) -> None:
        self._said.value = wrong(text) if is_bad else f"<span style='opacity:.8'>{html.escape(text)}</span>"


def faults_html(faults: list[dict[str, Any]]) -> str:
    """What is wrong, a line each, with its place."""
    items = []
    for fault in faults:
        place = ":".join(str(fault[name]) for name in ("line", "col") if fault.get(name))
        colour = "#b45309" if fault.get("level") == "warning" else "#c0392b"
        items.append(
            f"<li style='color:{colour}'><code>{html.escape(place or '-')}</code> "
            f"{html.escape(fault['message'])}</li>"
        )
    return f"<ul style='margin:.3em 0;padding-left:1.2em'>{''.join(items)}</ul>" if items else ""


def does_html(job: Mapping[str, Any] | None, coming: list[dict[str, Any]], client: Client) -> str:
    """What a job means, and when it will run."""
    if job is None:
        return box("What it does", "<i>The text is no job yet.</i>")
    words = job["explain"]["schedule"]
    said = "".join(f"<li>{html.escape(text)}</li>" for text in words)
    rows = "".join(
        f"<tr><td style='text-align:left;padding-right:1.2em'>{html.escape(_local(run['at'], client))}</td>"
        f"<td style='text-align:left'>{html.escape(_args_text(run['args']))}</td></tr>"
        for run in coming
    )
    times = f"<table style='margin:.4em 0'>{rows}</table>" if rows else "<p><i>No run is to come.</i></p>"
    return box(
        "When it runs",
        f"<ul style='margin:.2em 0;padding-left:1.2em'>{said}</ul>{times}"
        if said
        else "Only when somebody asks.",
    )


def _args_text(args: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in args.items())


def _local(at: str, client: Client) -> str:
    return format_local(datetime.fromisoformat(at), client.zone, with_zone=True)


def difference_html(old: str, new: str) -> str:
    """How a text differs from the one on disk."""
    lines = list(
        difflib.unified_diff(old.splitlines(), new.splitlines(), "on disk", "here", n=2, lineterm="")
    )
    if not lines:
        return ""
    colours = {"+": "rgba(22,163,74,.18)", "-": "rgba(220,38,38,.18)"}
    shown = "".join(
        f"<div style='background:{colours.get(line[:1], 'none')}'>{html.escape(line) or ' '}</div>"
        for line in lines[2:]
    )
    return box("Not saved", f"<pre style='margin:0;line-height:1.4'>{shown}</pre>")
