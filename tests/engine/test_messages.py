"""What messages say: the end of an output as people see it, many events in one, how much it matters."""

from typing import Any

import pytest

from apsis_nb.core.actions import NotifyAction, When
from apsis_nb.core.private import read_address
from apsis_nb.engine.messages import AGAIN, Story, gathered, last_lines, message, variables, weight


def story(event: str = "failure", text: str | None = "exit code 3", run: int = 1, **keys: Any) -> Story:
    facts: dict[str, Any] = {
        "run_id": f"r{run}", "job_id": "team/a", "args": {"date": "2026-01-31"}, "state": event, "labels": [],
        "scheduled_at": "2026-01-31T09:00:00Z", "nominal_at": None, "started_at": "2026-01-31T09:00:01Z",
        "finished_at": None, "elapsed_s": 61.25, "attempt": 1, "by": None, "return_code": 3, "late_s": None,
        "message": text,
    }  # fmt: skip
    link = f"https://jobs.example/dash/run?id=r{run}"
    made = {"event": event, "text": text, "facts": facts, "output": "", "link": link, "again": False}
    return Story(**(made | keys))


TELL = NotifyAction(to=(read_address("ops"),), when=When.of("failure"))


@pytest.mark.parametrize(
    ("event", "text", "said"),
    [
        ("failure", "exit code 3", "ended in failure: exit code 3"),
        ("success", None, "ended in success"),
        ("skipped", "by hand", "was skipped: by hand"),
        ("running", None, "is running"),
        ("late", "late: was due 09:00", "is late: was due 09:00"),
        ("missed", "misfire: the server was down", "was missed: misfire: the server was down"),
        ("recovered", None, "succeeded again"),
    ],
)
def test_what_happened_is_said_in_one_line(event: str, text: str | None, said: str):
    assert story(event, text).sentence == f"r1 of team/a(date=2026-01-31) {said}"


def test_a_message_tells_what_is_known_and_no_more():
    title, body = message(story(output="sorry", again=True), TELL)

    assert title == "failure: team/a(date=2026-01-31)"
    assert body == (
        "r1 of team/a(date=2026-01-31) ended in failure: exit code 3\n"
        "due 2026-01-31T09:00:00Z, started 2026-01-31T09:00:01Z, took 1m1.2s\n\n"
        f"https://jobs.example/dash/run?id=r1\n\n{AGAIN}\n\nThe end of its output:\nsorry"
    )


def test_many_events_are_one_message_that_stays_short():
    title, body = gathered([story(run=n) for n in range(40)] + [story("late", "late: x")], is_more=True)

    assert title == "41 more: 40 failure, 1 late"
    assert body.count("\n\n") == 30
    assert body.endswith("and 11 more: team/a (11)")


@pytest.mark.parametrize(
    ("data", "is_whole", "said"),
    [
        (b"one\ntwo\n", True, "one\ntwo"),
        (b"", True, ""),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07end\x00\x08\n", True, "red end"),
        (b"10%\r50%\r100%\nnext\r\n", True, "100%\nnext"),  # as a terminal leaves it
        (b"lf of a line\nwhole\n", False, "whole"),
        (b"one line without end", False, "one line without end"),
        (b"\xff\xfe caf\xc3\xa9\n", True, "\ufffd\ufffd caf\xe9"),
        (b"".join(b"line %d\n" % n for n in range(50)), True, "\n".join(f"line {n}" for n in range(30, 50))),
    ],
)
def test_the_end_of_an_output_is_plain_text(data: bytes, is_whole: bool, said: str):
    assert last_lines(data, is_whole=is_whole) == said


def test_a_message_weighs_as_much_as_its_worst_event():
    assert weight(["success", "late", "error"]) == "failure"
    assert weight(["success", "missed"]) == "warning"
    assert weight(["recovered"]) == "success"
    assert weight(["running"]) == "info"


def test_a_command_gets_no_value_that_an_environment_cannot_hold():
    made = story(text="a\0b")
    assert variables(made, "http://x")["APSIS_EVENT_TEXT"] == "ab"
    assert variables(made, "http://x")["APSIS_ARG_DATE"] == "2026-01-31"
