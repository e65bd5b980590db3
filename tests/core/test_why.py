"""Why something has not run: one test a cause, and the way through dependencies to the root."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apsis_nb.core.conditions import Dependency
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.pauses import Pause
from apsis_nb.core.preview import Coming
from apsis_nb.core.runs import Instance
from apsis_nb.core.states import State
from apsis_nb.core.times import zone
from apsis_nb.core.why import Asked, Facts, RunFacts, causes, day_of, find_due, find_next, last_line, needed

#: A Friday.
NOW = datetime(2026, 3, 27, 10, tzinfo=UTC)
TZ = zone("Europe/London")
HOUR = timedelta(hours=1)
DAILY = {"type": "daily", "tz": "UTC", "calendar": "Mon-Fri", "daytime": "09:00:00"}


def job(schedule: Any = (), **more: Any) -> Job:
    return job_from_dict(
        "report", {"program": "true", "params": ["date"], "schedule": schedule or None, **more}
    )


def asked(date: str | None = "2026-03-27") -> Asked:
    return Asked("report", (("date", date),) if date else ())


def facts_of(made: Job, what: Asked, **more: Any) -> Facts:
    """What a server knows that has done all that was due up to now."""
    due = find_due(made, what, NOW, TZ)
    known: dict[str, Any] = {"known_since": NOW - 99 * HOUR, "changed_at": NOW - 99 * HOUR, "clock": NOW}
    return Facts(job=made, due=due, next=None if due else find_next(made, NOW), **known | more)


def run(state: State, run_id: int = 7, *, job_id: str = "report", **more: Any) -> RunFacts:
    inst = Instance.of(job_id, {"date": "2026-03-27"})
    known: dict[str, Any] = {"scheduled_at": NOW - HOUR, "started_at": NOW - HOUR, "finished_at": NOW}
    return RunFacts(run_id=run_id, inst=inst, state=state, **known | more)


def said(facts: Facts, what: Asked | None = None) -> list[tuple[str, str]]:
    what = what or asked()
    assert needed(what, facts) == []
    return [(c.kind, c.text) for c in causes(what, {what: facts}, NOW, TZ)]


# -- without a job


def test_there_is_no_such_job():
    assert said(Facts(near="reports")) == [("job", "there is no job 'report': did you mean 'reports'?")]
    gone = Facts(removed_at=NOW - HOUR)
    assert said(gone) == [("job", "there is no job report: its file is gone since 2026-03-27 09:00:00 GMT")]


def test_its_file_is_broken():
    facts = Facts(fault="jobs/report.yaml:1:1: unknown key 'progam'", fault_since=NOW - HOUR)
    assert said(facts) == [
        (
            "file",
            "the file of report is broken since 2026-03-27 09:00:00 GMT: "
            "jobs/report.yaml:1:1: unknown key 'progam'",
        )
    ]


def test_a_job_that_goes_on_with_a_broken_file_says_so_too():
    facts = facts_of(job(), asked(), fault="jobs/report.yaml:1:1: unknown key 'progam'")
    assert [kind for kind, _ in said(facts)] == ["schedule", "file"]
    assert "goes on as it was" in said(facts)[1][1]


# -- never due


def test_the_day_is_not_in_the_calendar():
    what = asked("2026-03-28")
    assert said(facts_of(job(DAILY), what), what) == [
        (
            "calendar",
            "2026-03-28, a Saturday, is no day of the calendar Mon-Fri of report; "
            "the next is report(date=2026-03-30) at 2026-03-30 10:00:00 BST, in 2d23h",
        )
    ]


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ((), "report has no schedule: it runs when somebody asks for it"),
        ({**DAILY, "enabled": False}, "the schedule of report is disabled"),
    ],
)
def test_it_has_no_schedule_or_none_that_counts(schedule: Any, text: str):
    assert said(facts_of(job(schedule), asked())) == [("schedule", text)]


def test_no_schedule_makes_these_args():
    made = job([{**DAILY, "args": {"region": "emea"}}], params=["date", "region"])
    what = Asked("report", (("date", "2026-03-27"), ("region", "apac")))
    ((kind, text),) = said(facts_of(made, what), what)
    assert kind == "schedule"
    assert text.startswith(
        "no schedule makes report(date=2026-03-27, region=apac) near 2026-03-27: Mon-Fri at"
    )
    assert "; the next is report(date=2026-03-30, region=emea) at" in text


def test_it_cannot_have_these_args():
    what = Asked("report", (("day", "2026-03-27"),))
    assert said(facts_of(job(DAILY), what), what) == [("job", "report has no param day: it has date")]
    typed = job(DAILY, params={"date": "date"})
    assert said(facts_of(typed, asked("soon")), asked("soon"))[0][0] == "job"


def test_no_time_is_to_come():
    past = job({"type": "explicit", "times": ["2020-01-01T00:00:00Z"], "args": {"date": "a"}})
    ((kind, text),) = said(facts_of(past, asked()))
    assert (kind, text.endswith("; no time is to come")) == ("schedule", True)


def test_a_job_that_runs_after_another_leads_to_that_one():
    facts = facts_of(job(), asked(), callers=("load",))
    inner = Asked("load", asked().args)
    assert needed(asked(), facts) == [inner]
    known = {asked(): facts, inner: Facts(run=run(State.FAILURE, job_id="load", message="exit code 3"))}
    assert [(c.kind, c.depth, c.text) for c in causes(asked(), known, NOW, TZ)] == [
        ("schedule", 0, "report has no schedule: it runs after load"),
        ("failed", 1, "r7 load(date=2026-03-27) ended in failure at 2026-03-27 10:00:00 GMT: exit code 3"),
    ]


# -- due, and no run


def test_it_is_not_due_yet():
    what = asked("2026-03-30")
    assert said(facts_of(job(DAILY), what), what) == [
        ("due", "report(date=2026-03-30) is not due yet: its time is 2026-03-30 10:00:00 BST, in 2d23h")
    ]


def test_it_is_not_due_yet_and_paused_by_somebody():
    what = asked("2026-03-30")
    pause = Pause(scope="path", target="a", at=NOW - HOUR, until=NOW + 99 * HOUR, by="ann", reason="moving")
    told = said(facts_of(job(DAILY), what, pause=pause), what)
    assert [kind for kind, _ in told] == ["due", "paused"]
    assert told[1][1] == (
        "then it will be skipped: paused with all of a/ by ann: moving "
        "(since 2026-03-27 09:00:00 GMT until 2026-03-31 14:00:00 BST)"
    )


@pytest.mark.parametrize(
    ("more", "kind", "text"),
    [
        ({"known_since": NOW}, "job", "the server knows the job only since 2026-03-27 10:00:00 GMT"),
        (
            {"down": (NOW - 2 * HOUR, NOW)},
            "down",
            "the server was down from 2026-03-27 08:00:00 GMT to 2026-03-27 10:00:00 GMT",
        ),
        (
            {"pause": Pause(scope="all", at=NOW - 2 * HOUR, by="ann")},
            "paused",
            "paused with all jobs by ann (since 2026-03-27 08:00:00 GMT)",
        ),
        ({"changed_at": NOW}, "schedule", "as its file says since 2026-03-27 10:00:00 GMT"),
        ({"clock": NOW - 2 * HOUR}, "due", "the server has come to 2026-03-27 08:00:00 GMT"),
        ({}, "unknown", "no run of it is kept"),
    ],
)
def test_it_was_due_and_there_is_no_run(more: dict[str, Any], kind: str, text: str):
    ((told, words),) = said(facts_of(job(DAILY), asked(), **more))
    assert (told, text in words) == (kind, True), words
    assert words.startswith("report(date=2026-03-27) was due at 2026-03-27 09:00:00 GMT")


# -- a run


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            run(State.SCHEDULED, scheduled_at=NOW + HOUR, by="ann"),
            [("due", "is not due yet: it is scheduled for 2026-03-27 11:00:00 GMT, in 1h, as ann asked")],
        ),
        (run(State.RUNNING), [("running", "is running, since 2026-03-27 09:00:00 GMT")]),
        (run(State.SUCCESS), [("ran", "ended in success at 2026-03-27 10:00:00 GMT")]),
        (
            run(State.ERROR, message="no such program"),
            [("failed", "ended in error at 2026-03-27 10:00:00 GMT: no")],
        ),
        (run(State.SKIPPED, skip_reason="skipped by ann"), [("skipped", "was skipped: skipped by ann")]),
        (run(State.SKIPPED, skip_reason="busy: 1 of"), [("skipped", "was skipped: busy: 1 of")]),
        (run(State.SKIPPED, skip_reason="paused by ann: x"), [("paused", "was skipped: paused by ann: x")]),
        (
            run(State.SKIPPED, skip_reason="misfire: the server was down or busy at its time"),
            [
                ("skipped", "was skipped: misfire"),
                ("down", "the server was down from 2026-03-27 08:00:00 GMT"),
            ],
        ),
        (
            run(State.WAITING, held="1 of 1 of a() running", is_limit=True, holders=("r3 a() is running",)),
            [("limit", "1 of 1 of a() running"), ("limit", "r3 a() is running")],
        ),
        (run(State.WAITING, held="waiting for the file x"), [("waiting", ": waiting for the file x")]),
        (run(State.WAITING), [("waiting", "nobody has looked at its conditions yet")]),
    ],
)
def test_what_a_run_does_is_told(made: RunFacts, told: list[tuple[str, str]]):
    found = said(Facts(job=job(DAILY), run=made, down=(NOW - 2 * HOUR, NOW)))
    assert [kind for kind, _ in found] == [kind for kind, _ in told]
    assert all(text in words for (_, text), (_, words) in zip(told, found, strict=True)), found


def waits_for(*job_ids: str) -> dict[str, Any]:
    date = {"date": "2026-03-27"}
    found = [Dependency(job_id=j, args=date, inst=Instance.of(j, date)) for j in job_ids]
    return {"waits_for": tuple(found), "held": f"waiting for {found[0]}"}


def test_the_way_goes_through_dependencies_to_the_root_and_its_last_words():
    a, b, c = (Asked(job_id, asked().args) for job_id in "abc")
    known = {
        a: Facts(run=run(State.WAITING, 3, job_id="a", **waits_for("b", "c"))),
        b: Facts(run=run(State.WAITING, 2, job_id="b", **waits_for("c"))),
        c: Facts(run=run(State.FAILURE, 1, job_id="c", message="exit code 1", output="disk full")),
    }
    assert needed(a, known[a]) == [b, c]

    found = causes(a, known, NOW, TZ)
    assert [(x.depth, x.kind, x.run_id) for x in found] == [
        (0, "waiting", 3),
        (0, "waiting", 3),
        (1, "waiting", 2),
        (2, "failed", 1),
        (1, "failed", 1),
    ]
    assert found[0].text == "r3 a(date=2026-03-27): waiting for b(date=2026-03-27) to end in success"
    assert found[1].text == "r3 a(date=2026-03-27): waiting for c(date=2026-03-27) to end in success"
    assert (found[3].output, found[3].args) == ("disk full", {"date": "2026-03-27"})


def test_what_waits_for_itself_is_a_loop_that_ends():
    a, b = (Asked(job_id, asked().args) for job_id in "ab")
    known = {
        a: Facts(run=run(State.WAITING, 3, job_id="a", **waits_for("b"))),
        b: Facts(run=run(State.WAITING, 2, job_id="b", **waits_for("a"))),
    }
    assert causes(a, known, NOW, TZ)[-1].text == "a(date=2026-03-27) waits for itself: a loop"


# -- finding


def test_the_last_time_that_came_due_is_meant_else_the_first_to_come():
    made = job({"type": "interval", "interval": "3h"}, params=[])
    found = find_due(made, Asked("report"), NOW, TZ)
    assert found == Coming(NOW - HOUR, NOW - HOUR, ())
    later = (NOW + 4 * HOUR, NOW + 9 * HOUR)
    assert find_due(made, Asked("report", (), later), NOW, TZ) == Coming(NOW + 5 * HOUR, NOW + 5 * HOUR, ())
    yearly = job({"type": "cron", "cron": "0 0 1 1 *", "tz": "UTC"}, params=[])
    found = find_due(yearly, Asked("report"), NOW, TZ)
    assert found is not None
    assert found.at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_time_among_the_args_is_looked_for_where_it_is_also_of_a_job_that_runs_each_second():
    made = job({"type": "interval", "interval": 1}, params=["time"])
    what = Asked("report", (("time", "2026-03-20T08:00:07+00:00"),))
    found = find_due(made, what, NOW, TZ)
    assert found is not None
    assert found.at == datetime(2026, 3, 20, 8, 0, 7, tzinfo=UTC)
    assert str(day_of(what, TZ)) == "2026-03-20"


def test_the_last_line_is_the_last_that_says_something():
    assert last_line(b"one\n\x1b[31mtwo\x1b[0m\x07\r\n\n  \n") == "two"
    assert last_line(b"\n") is None
    assert last_line(b"x" * 400) == "x" * 299 + "…"
