"""The runs that schedules make, before any of it happens."""

from datetime import UTC, date, datetime

import pandas as pd
import pytest

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.jobs import job_from_dict
from apsis_nb.simulation import expected

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
