"""The runs that schedules make, before any of it happens."""

from datetime import UTC, date, datetime

import pandas as pd
import pytest

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.jobs import job_from_dict
from apsis_nb.simulation import expected, simulate

DAILY = {"type": "daily", "tz": "America/New_York", "daytime": "09:00:00", "args": {"region": "eu"}}


def job(job_id, *schedules, params=()):
    return job_from_dict(job_id, {"params": list(params), "program": "x", "schedule": list(schedules)})


def test_a_row_a_run_by_time():
    hourly = {
        "start": {"type": "interval", "interval": "12h"},
        "stop": {"type": "duration", "duration": "15m"},
    }
    off = {"type": "interval", "interval": "1s", "enabled": False}
    jobs = [job("b", hourly, off), job("a", DAILY, params=["date", "region"]), job("c")]
    frame = expected(jobs, "2026-12-01", "2026-12-02T12:00:00Z")
    assert frame[["job_id", "args"]].to_numpy().tolist() == [
        ["b", {}],
        ["b", {}],
        ["a", {"date": "2026-12-01", "region": "eu"}],
        ["b", {}],
    ]
    assert [t.strftime("%d %H:%M") for t in frame["scheduled_at"]] == [
        "01 00:00",
        "01 12:00",
        "01 14:00",
        "02 00:00",
    ]
    assert (frame["nominal_at"] == frame["scheduled_at"]).all()
    assert frame["stop_at"].isna().tolist() == [False, False, True, False]
    assert frame["stop_at"][0] == pd.Timestamp("2026-12-01T00:15:00Z")


def test_defaults_of_params_are_among_the_args():
    data = {
        "params": {"date": "date", "region": {"default": "emea"}, "rows": {"type": "int", "default": "010"}},
        "program": "true",
        "schedule": {"type": "daily", "tz": "UTC", "daytime": "09:00:00"},
    }
    (args,) = expected([job_from_dict("a", data)], "2026-03-27", "2026-03-28").args
    assert args == {"date": "2026-03-27", "region": "emea", "rows": "10"}


def test_its_columns_have_the_same_types_with_and_without_rows():
    some = expected([job("a", DAILY)], "2026-12-01", "2026-12-03")
    none = expected([], "2026-12-01", "2026-12-03")
    assert len(some) == 2
    assert len(none) == 0
    assert some.dtypes.equals(none.dtypes)
    assert str(some.dtypes["scheduled_at"]) == "datetime64[us, UTC]"
    assert list(some.columns) == ["job_id", "args", "nominal_at", "scheduled_at", "stop_at"]


@pytest.mark.parametrize(
    "start",
    [
        "2026-12-01",
        "2026-12-01T00:00:00",
        "2026-12-01T01:00:00+01:00",
        date(2026, 12, 1),
        datetime(2026, 12, 1, tzinfo=UTC),
        pd.Timestamp("2026-12-01"),
    ],
)
def test_bounds_are_text_dates_or_times(start):
    frame = expected([job("a", {"type": "interval", "interval": "1h"})], start, "2026-12-01T03:00:00Z")
    assert frame["scheduled_at"].dt.hour.tolist() == [0, 1, 2]


@pytest.mark.parametrize("start", ["now", "+1h", "2026-13-01", "soon"])
def test_a_bound_that_is_no_time_is_refused(start):
    with pytest.raises(ValueError, match="is no"):
        expected([], start, "2026-12-01")


def test_jobs_come_from_a_folder_or_a_file(tmp_path):
    (tmp_path / "a.yaml").write_text("program: x\nschedule: {type: interval, interval: 1d}\n")
    assert len(expected(tmp_path, "2026-12-01", "2026-12-08")) == 7
    assert len(expected(str(tmp_path / "a.yaml"), "2026-12-01", "2026-12-08")) == 7
    with pytest.raises(ApsisError, match=r"there is no job folder or file .*nowhere"):
        expected(tmp_path / "nowhere", "2026-12-01", "2026-12-08")


def test_a_broken_file_is_warned_of(tmp_path):
    (tmp_path / "a.yaml").write_text("program: x\nschedule: {type: interval, interval: 1d}\n")
    (tmp_path / "b.yaml").write_text("progam: x\n")
    with pytest.warns(UserWarning, match="missing key 'program'|unknown key 'progam'"):
        frame = expected(tmp_path, "2026-12-01", "2026-12-08")
    assert set(frame["job_id"]) == {"a"}
    with pytest.warns(UserWarning, match="missing key 'program'|unknown key 'progam'"):
        assert len(expected(tmp_path / "b.yaml", "2026-12-01", "2026-12-08")) == 0


# -- moved through the scheduler

HOURLY = {"type": "interval", "interval": "1h"}


def story(frame):
    """Job, state, scheduled, started and finished as day and time, and why."""
    shown = frame[["scheduled_at", "started_at", "finished_at"]].apply(lambda c: c.dt.strftime("%H:%M"))
    columns = [frame["job_id"], frame["state"].astype("str"), shown, frame["why"]]
    return [tuple(None if pd.isna(v) else v for v in row) for row in pd.concat(columns, axis=1).to_numpy()]


def test_a_limit_makes_runs_wait_for_their_turn():
    slow = job_from_dict(
        "slow", {"program": "x", "schedule": HOURLY, "condition": {"type": "max_running", "count": 1}}
    )
    frame = simulate([slow], "2026-12-01", "2026-12-01T04:00:00Z", durations={"slow": 5400})
    assert story(frame) == [
        ("slow", "success", "00:00", "00:00", "01:30", None),
        ("slow", "success", "01:00", "01:30", "03:00", None),
        ("slow", "running", "02:00", "03:00", None, None),
        ("slow", "waiting", "03:00", None, None, "1 of 1 of slow() running"),
    ]
    assert frame["late"].tolist() == [False, True, True, True]
    assert frame["run_id"].is_unique


def test_dependencies_actions_time_outs_and_stop_times_take_part():
    first = job("first", {**DAILY, "tz": "UTC"}, params=["date"])
    then = job_from_dict(
        "then",
        {
            "params": ["date"],
            "program": {"type": "shell", "command": "x", "timeout": 30},
            "schedule": {**DAILY, "tz": "UTC"},
            "condition": {"type": "dependency", "job_id": "first"},
            "action": {"type": "schedule", "job_id": "alarm", "if": {"states": "failure"}},
        },
    )
    alarm = job_from_dict("alarm", {"program": {"type": "no-op", "duration": 1}})
    stopped = job(
        "stopped",
        {"start": {**DAILY, "tz": "UTC"}, "stop": {"type": "duration", "duration": "20s"}},
    )
    lost = job_from_dict(
        "lost", {"program": "x", "schedule": HOURLY, "condition": {"type": "dependency", "job_id": "alone"}}
    )
    alone = job("alone")
    frame = simulate(
        [first, then, alarm, stopped, lost, alone], "2026-12-01T08:30:00Z", "2026-12-01T09:30:00Z", 60
    )
    ends = {row[0]: row[1:] for row in story(frame)}
    assert ends["first"] == ("success", "09:00", "09:00", "09:01", None)
    assert ends["then"] == (
        "failure", "09:00", "09:01", "09:01", "killed by SIGTERM (timeout after 30 s)"
    )  # fmt: skip
    assert ends["alarm"][0] == "success"
    assert ends["stopped"][0] == "failure"
    assert ends["lost"][0] == "waiting"
    assert "alone" in ends["lost"][4]
    assert frame.set_index("job_id")["origin"]["alarm"] == "action"


def test_the_end_of_the_time_is_not_part_of_it():
    frame = simulate([job("a", HOURLY)], "2026-12-01", "2026-12-02")
    assert len(frame) == 24
    assert set(frame["state"]) == {"success"}
    none = simulate([], "2026-12-01", "2026-12-02")
    assert none.dtypes.equals(frame.dtypes)


def test_the_simulated_runs_of_schedules_are_the_expected_ones():
    jobs = [job("a", {**HOURLY, "jitter": "10m"}), job("b", DAILY, params=["date"])]
    columns = ["job_id", "args", "nominal_at", "scheduled_at"]
    moved = simulate(jobs, "2026-12-01", "2026-12-08").sort_values(["scheduled_at", "job_id"])
    assert moved[columns].to_numpy().tolist() == (
        expected(jobs, "2026-12-01", "2026-12-08")[columns].to_numpy().tolist()
    )
