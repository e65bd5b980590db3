"""The parts of a job's page: what they say, and that nothing in them is taken for HTML."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from apsis_nb.views import job_parts, trend
from apsis_nb.views.job_parts import Told
from tests.views.test_jobs_table import fault, known, pause

EVIL = "<script>x</script>"
CRON = {"type": "cron", "cron": "0 9 * * *", "tz": "America/New_York"}
EVERY = {"type": "interval", "interval": 3600}
FACTS = known(
    odd={
        "params": {"p": {"type": "choice", "choices": [EVIL, "b"], "default": "b", "description": EVIL}},
        "metadata": {"labels": [EVIL], "description": EVIL},
        "schedule": {"type": "interval", "interval": 3600},
        "condition": {"type": "dependency", "job_id": "other"},
        "program": {"type": "shell", "command": EVIL},
        "late": {"start": "5m", "finish": "2h"},
        "retry": {"count": 3, "delay": "1m"},
    }
).jobs["odd"]
VERSIONS = [
    {"version": 1, "ts": "2026-11-27T20:00:00Z", "by": EVIL, "yaml": "a: 1\n"},
    {"version": 2, "ts": "2026-11-28T20:00:00Z", "by": "ann", "yaml": f"a: {EVIL}\n"},
    {"version": 3, "ts": "2026-11-29T20:00:00Z", "by": None, "yaml": None},
]
COMING = [{"scheduled_at": "2026-11-30T20:00:00Z", "args": {"p": EVIL}}]
BACKFILL = {
    "backfill_id": "r7", "asked_at": "2026-11-27T20:00:00Z", "by": EVIL, "instances": 4, "left": 1,
    "running": 1, "success": 2, "failed": 0, "skipped": 0,
}  # fmt: skip
TOLD = Told(
    facts=FACTS,
    errors=[fault(EVIL)],
    pause=pause("job", "odd") | {"by": EVIL, "reason": EVIL},
    next=COMING,
    versions=VERSIONS,
    backfills=[BACKFILL],
)


def test_nothing_that_a_job_says_is_taken_for_html():
    parts = [
        job_parts.head_html(EVIL, TOLD, None, [], "admin"),
        job_parts.absent_html(EVIL, TOLD),
        job_parts.absent_html(EVIL, Told(None)),
        job_parts.side_html(TOLD, "", ""),
        job_parts.backfills_html(TOLD.backfills),
        job_parts.versions_html(VERSIONS, 2),
        job_parts.plan_html({"instances": [{"args": {"p": EVIL}, "nominal_at": None}], "done": 0}),
    ]
    for html in parts:
        assert "<script>" not in html
        assert "&lt;script&gt;" in html


def test_the_rules_are_told_in_words():
    html = job_parts.rules_html(FACTS)
    assert "other() to end in success" in html
    assert "it starts over 5 m 00 s after it was due or it has not finished 2 h 00 m after" in html
    assert "3 times, after 1 m 00 s" in html


@pytest.mark.parametrize(("role", "disabled"), [("read", 3), ("run", 1), ("write", 0), ("", 0)])
def test_a_button_that_the_role_does_not_allow_says_so(role, disabled):
    html = job_parts.head_html("odd", TOLD, None, [], role)
    assert html.count("and you have read" if role == "read" else "and you have run") == disabled


def test_a_version_tells_what_it_changed():
    html = job_parts.versions_html(VERSIONS, 2)
    assert "<del>-a: 1</del>" in html
    assert "Put this text into the editor" in html
    assert "removed" in html


def test_how_far_a_backfill_is():
    html = job_parts.backfills_html([BACKFILL])
    assert "2 of 4" in html
    assert "1 running, 1 left" in html
    assert "backfill-stop" in html
    ended = BACKFILL | {"left": 0, "running": 0, "failed": 2}
    assert "backfill-resume" in job_parts.backfills_html([ended])


def test_a_trend_has_its_table():
    frame = pd.DataFrame(
        {
            "period": pd.to_datetime([datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2)], utc=True),
            "runs": [3, 4], "p50_s": [60.0, 61.0], "p95_s": [120.0, 125.0], "max_s": [130.0, 200.0],
        }
    )  # fmt: skip
    html = trend.table_html("Duration", frame)
    assert html.index("2026-11-02") < html.index("2026-11-01")
    assert "2 m 05 s" in html
    assert trend.table_html("Duration", frame.iloc[:0]) == ""


@pytest.mark.parametrize(
    ("schedules", "zone"),
    [
        ([CRON, EVERY], "America/New_York"),
        ([{"start": CRON, "stop": {"type": "duration", "duration": 60}}], "America/New_York"),
        ([CRON, CRON | {"tz": "Asia/Tokyo"}], ""),
        ([EVERY], ""),
        ([], ""),
    ],
)
def test_a_job_has_a_zone_of_its_own_if_all_its_schedules_have_the_same(schedules, zone):
    facts = known(a={"program": {"type": "no-op"}, "schedule": schedules}).jobs["a"]

    assert job_parts.own_zone(facts) == zone
    assert job_parts.own_zone(None) == ""
