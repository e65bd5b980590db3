"""What is said of an event of a run: the words of messages, the body of calls, the variables of commands."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from apsis_nb.core.actions import LATE, MESSAGE_NAMES, MISSED, RECOVERED, NotifyAction
from apsis_nb.core.calendars import get_calendar
from apsis_nb.core.errors import BindError
from apsis_nb.core.jobs import Job
from apsis_nb.core.params import arg_variable
from apsis_nb.core.states import FINISHED, State
from apsis_nb.core.templates import expand, namespace
from apsis_nb.core.times import format_duration

#: So many lines at the end of an output, and at most so many bytes of it.
LAST_LINES, LAST_BYTES = 20, 8192
#: So many of the events that share a message have a line of their own.
GATHERED_LINES = 30
AGAIN = "This may be a repeat after a restart of the server."

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_FINISHED = frozenset(state.value for state in FINISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An event of a run, and all that may be said of it."""

    event: str
    text: str | None  #: what happened
    facts: Mapping[str, Any]  #: of the run, as the interface tells them
    output: str  #: its last lines
    link: str  #: to the run
    again: bool  #: it may have been told before
    job: Job | None = None  #: whose templates these are

    @property
    def instance(self) -> str:
        """The job with its args."""
        args = ", ".join(f"{name}={value}" for name, value in self.facts["args"].items())
        return f"{self.facts['job_id']}({args})" if args else str(self.facts["job_id"])

    @property
    def headline(self) -> str:
        """In a few words."""
        return f"{self.event}: {self.instance}"

    @property
    def sentence(self) -> str:
        """What happened, in one line."""
        run = f"{self.facts['run_id']} of {self.instance}"
        match self.event:
            case "late":
                return f"{run} is {self.text or LATE}"
            case "missed":
                what = "was missed"
            case "recovered":
                what = "succeeded again"
            case event if event in _FINISHED:
                what = f"ended in {event}" if event != State.SKIPPED.value else "was skipped"
            case event:
                what = f"is {event}"
        return f"{run} {what}: {self.text}" if self.text else f"{run} {what}"

    def names(self) -> dict[str, Any]:
        """What templates may use. Args win over all else, and what is not known is empty."""
        facts = self.facts
        known = {name: facts.get(name) for name in MESSAGE_NAMES} | {
            "event": self.event,
            "text": self.text,
            "output": self.output,
            "link": self.link,
            "again": self.again,
        }
        functions = namespace(
            run_id=facts["run_id"],
            job_id=facts["job_id"],
            args={},
            get_calendar=partial(get_calendar, files=self.job.calendars if self.job else {}),
            functions=self.job.functions if self.job else {},
        )
        given = {name: "" if value is None else value for name, value in known.items()}
        return {**functions, **given, **facts["args"]}


def last_lines(data: bytes, *, is_whole: bool) -> str:
    """The last lines of an output, as text without colours.

    Args:
        data: its last bytes.
        is_whole: it begins with them; else the first line lacks its beginning.
    """
    text = _ESCAPES.sub("", data.decode("utf-8", "replace"))
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]  # as a terminal leaves it
    if not is_whole:
        lines = lines[1:] or lines
    return "\n".join(_CONTROL.sub("", line) for line in lines[-LAST_LINES - 1 :]).strip("\n")


# -- messages


def message(story: Story, action: NotifyAction) -> tuple[str, str]:
    """Title and body. A template that fails keeps nobody from being told."""
    title, fault = _expanded(action.title, story, story.headline)
    body, also = _expanded(action.body, story, _body(story))
    faults = [f"\n\n({text})" for text in (fault, also) if text]
    again = f"\n\n{AGAIN}" if story.again and action.body is not None else ""
    return " ".join(title.split()), body + again + "".join(faults)


def _body(story: Story) -> str:
    facts = story.facts
    times = [f"due {facts['scheduled_at']}"]
    if facts["started_at"]:
        times.append(f"started {facts['started_at']}")
    if facts["elapsed_s"] is not None:
        times.append(f"took {format_duration(round(facts['elapsed_s'], 1))}")
    if facts["attempt"] > 1:
        times.append(f"attempt {facts['attempt']}")
    if facts["by"]:
        times.append(f"asked for by {facts['by']}")
    parts = [f"{story.sentence}\n{', '.join(times)}", story.link]
    if story.again:
        parts.append(AGAIN)
    if story.output:
        parts.append(f"The end of its output:\n{story.output}")
    return "\n\n".join(parts)


def gathered(stories: Sequence[Story], *, is_more: bool) -> tuple[str, str]:
    """One message for several events.

    Args:
        stories: the events, the oldest first.
        is_more: a message went to the same people a moment ago.
    """
    counts = Counter(story.event for story in stories)
    kinds = ", ".join(f"{n} {event}" for event, n in counts.most_common())
    title = f"{len(stories)} {'more' if is_more else 'events'}: {kinds}"
    lines = [f"{story.sentence}\n{story.link}" for story in stories[:GATHERED_LINES]]
    if left := stories[GATHERED_LINES:]:
        jobs = Counter(str(story.facts["job_id"]) for story in left)
        named = ", ".join(f"{job_id} ({n})" for job_id, n in jobs.most_common(GATHERED_LINES))
        lines.append(f"and {len(left)} more: {named}")
    if any(story.again for story in stories):
        lines.append(AGAIN)
    return title, "\n\n".join(lines)


def weight(events: Sequence[str]) -> str:
    """How much a message matters, in apprise's words: that of the worst event."""
    weights = {"failure": "failure", "error": "failure", LATE: "warning", MISSED: "warning"}
    weights |= {"success": "success", RECOVERED: "success"}
    order = ("failure", "warning", "success", "info")
    return min((weights.get(event, "info") for event in events), key=order.index)


# -- calls and commands


def payload(story: Story, template: str | None) -> tuple[bytes, str]:
    """The body of a call, and its media type.

    Raises:
        BindError: the template fails.
    """
    if template is not None:
        text = expand(template, story.names())
        return text.encode("utf-8", "replace"), _media_type(text)
    run = {name: value for name, value in story.facts.items() if name != "program"}
    told = {
        "event": story.event,
        "text": story.text,
        "again": story.again,
        "link": story.link,
        "run": run,
        "output": story.output,
    }
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return body.encode("utf-8", "replace"), "application/json"


def _media_type(text: str) -> str:
    try:
        json.loads(text)
    except ValueError:
        return "text/plain; charset=utf-8"
    return "application/json"


def variables(story: Story, url: str) -> dict[str, str]:
    """The environment that tells a command of the event."""
    facts = story.facts
    told = {arg_variable(name): str(value) for name, value in facts["args"].items()} | {
        "APSIS_EVENT": story.event,
        "APSIS_EVENT_TEXT": story.text or "",
        "APSIS_EVENT_AGAIN": "1" if story.again else "",
        "APSIS_RUN_ID": facts["run_id"],
        "APSIS_JOB_ID": facts["job_id"],
        "APSIS_ARGS": json.dumps(facts["args"], separators=(",", ":"), ensure_ascii=False, sort_keys=True),
        "APSIS_LABELS": json.dumps(facts["labels"], ensure_ascii=False),
        "APSIS_STATE": facts["state"],
        "APSIS_SCHEDULED_TIME": facts["scheduled_at"],
        "APSIS_NOMINAL_TIME": facts["nominal_at"] or "",
        "APSIS_ATTEMPT": str(facts["attempt"]),
        "APSIS_RETURN_CODE": "" if facts["return_code"] is None else str(facts["return_code"]),
        "APSIS_LINK": story.link,
        "APSIS_URL": url,
    }
    return {name: value.replace("\0", "") for name, value in told.items()}


def _expanded(template: str | None, story: Story, default: str) -> tuple[str, str | None]:
    """What a template gives; the default, and why, where there is none or it fails."""
    if template is None:
        return default, None
    try:
        return expand(template, story.names()), None
    except BindError as error:
        return default, f"The template of this message fails: {error}"
