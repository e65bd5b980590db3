"""The layout of the timeline: where each bar goes, and what it says."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from bokeh.embed import file_html
from bokeh.resources import INLINE
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb import frames
from apsis_nb.core.states import State
from apsis_nb.views import palette
from apsis_nb.views.ahead import nothing_expected
from apsis_nb.views.timeline import CUT_EACH_S, Timeline, timeline_figure
from apsis_nb.views.timeline_layout import HATCHES, LEAST_PX, MOST_LANES, bars, epoch_ms, lanes
from apsis_nb.views.timeline_rows import Row, plain_rows, rows_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = 1000.0  # milliseconds, as the layout has them


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def run(run_id="r1", job="a", state="success", due=600.0, started=590.0, ended=300.0, late=False, **more):
    """A row of the timeline's frame; times are seconds before now, None: not yet."""
    at = {"scheduled_at": due, "started_at": started, "finished_at": ended}
    times = {name: pd.NaT if s is None else pd.Timestamp(ago(s)) for name, s in at.items()}
    return {
        "run_id": run_id,
        "job_id": job,
        "state": state,
        "late": late,
        "late_s": 10.0,
        "runs": 1,
        **times,
        **more,
    }


def frame_of(*runs):
    frame = pd.DataFrame(list(runs), columns=[c.name for c in frames.TIMELINE])
    for name in ("scheduled_at", "started_at", "finished_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def layout(*runs, jobs=None, px=SECOND, expected=None):
    frame = frame_of(*runs)
    rows = plain_rows(jobs or sorted(set(frame["job_id"])))
    return bars(frame, rows=rows, now=NOW, ms_per_px=px, expected=expected)


def expected_of(*runs):
    frame = pd.DataFrame(runs, columns=["job_id", "scheduled_at"])
    frame["scheduled_at"] = pd.to_datetime(frame["scheduled_at"], utc=True)
    return frame


def test_a_run_is_thin_until_it_starts_and_solid_until_it_ends():
    made = layout(run(due=600, started=500, ended=300))

    assert (made["waits"]["left"], made["waits"]["right"]) == (epoch_ms(ago(600)), epoch_ms(ago(500)))
    assert (made["bars"]["left"], made["bars"]["right"]) == (epoch_ms(ago(500)), epoch_ms(ago(300)))
    thin = made["waits"]["bottom"] - made["waits"]["top"]
    solid = made["bars"]["bottom"] - made["bars"]["top"]
    assert 0 < thin < solid < 1


def test_what_runs_reaches_to_now():
    made = layout(run(state="running", ended=None))

    assert made["bars"]["right"] == epoch_ms(NOW)


def test_what_waits_is_thin_up_to_now():
    made = layout(run(state="waiting", started=None, ended=None))

    assert made["waits"]["right"] == epoch_ms(NOW)
    assert len(made["bars"]["left"]) == 0


def test_what_has_only_begun_to_wait_is_seen():
    made = layout(run(state="waiting", due=0.2, started=None, ended=None))

    assert made["waits"]["right"] - made["waits"]["left"] == LEAST_PX * SECOND


def test_a_late_run_is_outlined_and_keeps_the_colour_of_its_state():
    made = layout(run(late=True), run("r2", job="b"))

    assert made["bars"]["edge"] == [palette.LATE, palette.LOOKS[State.SUCCESS].colour]
    assert made["bars"]["colour"] == [palette.LOOKS[State.SUCCESS].colour] * 2


def test_a_failure_is_hatched():
    made = layout(run(state="failure"), run("r2", job="b"))
    hatch = palette.LOOKS[State.FAILURE].hatch

    assert made[hatch]["left"].tolist() == made["bars"]["left"][:1].tolist()
    assert sum(len(made[other]["left"]) for other in HATCHES if other != hatch) == 0


@pytest.mark.parametrize(
    ("state", "marker"), [("skipped", "x"), ("error", "triangle"), ("scheduled", "circle")]
)
def test_what_never_started_is_a_mark_at_its_time(state, marker):
    marks = layout(run(state=state, started=None, ended=500))["marks"]

    assert marks["marker"] == [marker]
    assert marks["x"] == epoch_ms(ago(600))
    assert marks["y"] == 0.5


def test_rows_are_in_the_order_of_the_jobs():
    made = layout(run("r1", job="b"), run("r2", job="a"), run("r3", job="c"), jobs=["c", "a"])

    rows = dict(zip(made["bars"]["run_id"], made["bars"]["top"] // 1, strict=True))
    assert rows == {"r3": 0, "r2": 1}


def test_no_bar_is_too_narrow_to_be_seen():
    made = layout(run(started=590, ended=589.999), px=60 * SECOND)

    assert made["bars"]["right"] - made["bars"]["left"] >= 2 * 60 * SECOND


def test_a_merged_bar_says_how_many_and_the_worst():
    bars = layout(run(state="failure", runs=1234))["bars"]

    assert bars["runs"] == 1234
    assert list(State)[int(bars["state"][0])] is State.FAILURE


def test_runs_that_overlap_share_the_row():
    made = layout(
        run("r1", started=500, ended=100), run("r2", started=400, ended=50), run("r3", started=40, ended=30)
    )
    height = dict(zip(made["bars"]["run_id"], made["bars"]["bottom"] - made["bars"]["top"], strict=True))
    top = dict(zip(made["bars"]["run_id"], made["bars"]["top"], strict=True))

    assert top["r1"] < top["r2"]
    assert height["r3"] > 1.5 * height["r1"]


def test_ad_hoc_commands_share_the_last_row():
    frame = frame_of(run("r1", job="adhoc-1a2b"), run("r2", job="zoo/keeper"), run("r3", job="adhoc-ff00"))
    rows = rows_of(frame)

    assert rows == ["zoo/keeper", "ad hoc"]
    made = bars(frame, rows=plain_rows(rows), now=NOW, ms_per_px=SECOND)["bars"]
    assert dict(zip(made["run_id"], made["top"] // 1, strict=True)) == {"r1": 1, "r2": 0, "r3": 1}
    assert "adhoc-1a2b" in made["job_id"]


INTERVALS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), max_size=40)


@given(INTERVALS)
def test_two_bars_of_a_lane_never_overlap_while_there_are_lanes(intervals):
    left = [float(a) for a, _ in intervals]
    right = [float(a + n) for a, n in intervals]
    lane, count = lanes(left, right)

    for n in range(len(left)):
        assert 0 <= lane[n] < count[n] <= MOST_LANES
        for m in range(n):
            overlap = left[n] < right[m] and left[m] < right[n]
            if overlap:
                assert count[n] == count[m]
                assert lane[n] != lane[m] or lane[n] == MOST_LANES - 1


@given(INTERVALS)
def test_a_bar_that_meets_no_other_has_its_row_alone(intervals):
    left = [float(a) for a, _ in intervals]
    right = [float(a + n) for a, n in intervals]
    _, count = lanes(left, right)

    for n in range(len(left)):
        if not any(m != n and left[n] < right[m] and left[m] < right[n] for m in range(len(left))):
            assert count[n] == 1


def test_expected_runs_are_ghosts_as_wide_as_runs_of_the_job_usually_are():
    made = layout(run(started=590, ended=290), expected=expected_of(("a", NOW + timedelta(seconds=900))))
    ghosts = made["ghosts"]

    assert ghosts["left"] == epoch_ms(NOW) + 900 * SECOND
    assert ghosts["right"] - ghosts["left"] == 300 * SECOND
    assert ghosts["runs"] == 1
    assert ghosts["state"] == -1


def test_ghosts_too_near_to_be_told_apart_are_one():
    soon = [("a", NOW + timedelta(seconds=s)) for s in (10, 11, 12, 500)]
    ghosts = layout(run(started=590, ended=589), expected=expected_of(*soon))["ghosts"]

    assert ghosts["runs"].tolist() == [3, 1]


def test_a_busy_job_is_a_strip_to_the_end_of_the_window():
    end = NOW + timedelta(hours=1)
    busy = expected_of(("a", NOW)).assign(until_at=pd.Timestamp(end))
    ghosts = layout(run(), expected=busy)["ghosts"]

    assert ghosts["right"] == epoch_ms(end)
    assert ghosts["runs"] > 1


def test_what_was_due_and_not_run_is_a_ghost_as_wide_as_runs_of_the_job_usually_are():
    made = layout(run(started=590, ended=290), run("r2", state="skipped", due=100, started=None, ended=90))
    missing = made["missing"]

    assert missing["run_id"] == ["r2"]
    assert missing["left"] == epoch_ms(ago(100))
    assert missing["right"] - missing["left"] == 300 * SECOND


def test_the_jobs_of_a_folded_group_share_a_row_and_a_job_may_stand_in_several():
    frame = frame_of(run("r1", job="a"), run("r2", job="b"))
    rows = [Row("both", ("a", "b"), "both", is_open=False), Row("empty", (), "empty"), Row("a", ("a",))]
    soon = expected_of(("a", NOW + timedelta(seconds=60)))
    made = bars(frame, rows=rows, now=NOW, ms_per_px=SECOND, expected=soon)

    placed = sorted(zip(made["bars"]["run_id"], made["bars"]["top"] // 1, strict=True))
    assert placed == [("r1", 0), ("r1", 2), ("r2", 0)]
    assert sorted(made["ghosts"]["top"] // 1) == [0, 2]


def test_nothing_is_drawn_of_nothing():
    made = layout(expected=nothing_expected(), jobs=["a"])

    assert all(len(column) == 0 for columns in made.values() for column in columns.values())


def test_runs_as_the_client_gives_them_can_be_drawn():
    frame = frame_of(run()).drop(columns="runs")

    assert len(bars(frame, rows=plain_rows(["a"]), now=NOW, ms_per_px=SECOND)["bars"]["left"]) == 1


@pytest.mark.parametrize("dark", [False, True])
def test_a_figure_is_a_page_that_needs_nothing_else(dark):
    figure = timeline_figure(
        frame_of(run(), run("r2", job="<b>b</b>")), start=ago(3600), stop=NOW, now=NOW, dark=dark, width=800
    )
    page = file_html(figure, INLINE)

    assert "<b>b</b>" not in page
    assert "cdn.bokeh.org" not in page.split("</script>")[-1]


def test_the_figure_grows_with_its_rows():
    few = timeline_figure(frame_of(run()), start=ago(3600), stop=NOW, now=NOW)
    many = timeline_figure(
        frame_of(*(run(f"r{n}", job=f"job-{n}") for n in range(30))), start=ago(3600), stop=NOW, now=NOW
    )

    assert many.height > few.height + 20 * 20


def test_what_has_ended_is_sent_once_and_what_runs_each_time():
    picture = Timeline(start=ago(3600), stop=NOW)
    done, alive = run(), run("r2", job="b", state="running", ended=None)
    picture.draw(frame_of(done, alive), now=NOW)
    source = {kind: picture.figure.select_one({"name": kind}).data_source for kind in ("bars", "fresh")}
    assert source["bars"].data["run_id"] == ["r1"]
    assert source["fresh"].data["run_id"] == ["r2"]

    sent: list[str] = []
    for kind in source:
        source[kind].on_change("data", lambda attr, old, new, kind=kind: sent.append(kind))
    picture.draw(frame_of(done, alive), now=NOW + timedelta(seconds=1))
    assert sent == ["fresh"]


def test_a_run_that_ends_stays_fresh_until_all_bars_are_sent_anew():
    picture = Timeline(start=ago(3600), stop=NOW)
    picture.draw(frame_of(run()), now=NOW)
    source = picture.figure.select_one({"name": "fresh"}).data_source

    picture.draw(frame_of(run(), run("r2", job="a", started=5, ended=-1)), now=NOW + timedelta(seconds=2))
    assert source.data["run_id"] == ["r2"]
    picture.draw(
        frame_of(run(), run("r2", job="a", started=5, ended=-1)), now=NOW + timedelta(seconds=CUT_EACH_S + 9)
    )
    assert source.data["run_id"] == []


def test_moving_the_window_from_here_is_not_told_as_the_readers_move():
    picture, told = Timeline(start=ago(3600), stop=NOW), []
    picture.on_window(lambda: told.append(picture.window))

    picture.look_at(ago(7200), ago(3600))
    assert told == []
    picture.figure.x_range.start = epoch_ms(ago(9000))
    assert told == [(ago(9000), ago(3600))]
