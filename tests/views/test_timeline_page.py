"""What the page of the timeline is renewed for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from apsis_nb.client.connection import ServerEvent
from apsis_nb.views.timeline_page import concerns

START, STOP = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def run(due: str, ended: str | None = None) -> ServerEvent:
    return ServerEvent("run", {"run_id": "r1", "scheduled_at": due, "finished_at": ended})


@pytest.mark.parametrize(
    ("event", "does"),
    [
        (run("2026-01-31T09:00:00Z"), True),
        (run("2026-01-31T09:00:00Z", "2026-01-31T09:00:01Z"), True),
        (run("2026-01-30T09:00:00Z"), True),  # it goes on, and so reaches into the window
        (run("2026-01-30T09:00:00Z", "2026-01-31T00:00:00Z"), True),
        (run("2026-01-30T09:00:00Z", "2026-01-30T23:59:59Z"), False),
        (run("2026-02-01T00:00:00Z"), False),
        (ServerEvent("late", {"run_id": "r1", "scheduled_at": "2026-01-31T09:00:00Z"}), True),
        (ServerEvent("late", {"run_id": "r1", "scheduled_at": "2026-02-01T09:00:00Z"}), False),
        (ServerEvent("log", {"run_id": "r1", "scheduled_at": "2026-01-31T09:00:00Z"}), False),
    ],
)
def test_an_event_concerns_a_window_that_its_run_reaches_into(event: ServerEvent, does: bool) -> None:
    assert concerns(event, START, STOP) == does


@pytest.mark.parametrize("window", [(None, STOP), (START, None), (None, None)])
def test_a_window_may_be_open(window: tuple[Any, Any]) -> None:
    assert concerns(run("2026-01-31T09:00:00Z"), *window)
    assert concerns(run("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"), *window) == (window[0] is None)
    assert concerns(run("2026-03-01T00:00:00Z"), *window) == (window[1] is None)
