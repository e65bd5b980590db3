"""What docs/schedules.md says of schedules is so: its examples, and the rows of its tables."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apsis_nb.core.calendars import get_calendar
from apsis_nb.core.jobs import job_from_dict
from apsis_nb.core.schedules import schedule_from_dict, times_between
from apsis_nb.core.states import State
from apsis_nb.core.times import format_time
from apsis_nb.jobfiles import check_folder, load_folder
from apsis_nb.jobfiles.yaml12 import parse_yaml
from apsis_nb.simulation import expected
from tests.core.world import World, after
from tests.repo.schedules_page import PAGE, rows

NOW = datetime(2026, 3, 27, tzinfo=UTC)
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```\n\n```times\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = dict(re.findall(r"^```cal\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_has_examples_and_a_file():
    assert PAGE.count("```yaml") == len(EXAMPLES) > 5
    assert list(FILES) == ["_calendars/office.cal"]
    assert f"from {format_time(NOW)} on, a {NOW:%A}" in PAGE


@pytest.mark.parametrize(("text", "told"), EXAMPLES)
def test_each_example_runs_when_the_page_says(text: str, told: str, tmp_path: Path):
    for name, lines in FILES.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(lines)
    (tmp_path / "example.yaml").write_text(text)
    folder = load_folder(tmp_path)
    found = check_folder(folder, NOW)

    assert [str(e) for e in found if e.level == "error"] == []
    lines = []
    for row in expected(folder.jobs.values(), NOW, NOW + timedelta(days=40)).itertuples():
        args = [f"{name}={value}" for name, value in row.args.items()]
        lines.append("  ".join(filter(None, [format_time(row.scheduled_at), " ".join(args)])))
    assert lines[: len(told.splitlines())] == told.splitlines()
    if "office" in text:
        assert len(lines) == len(told.splitlines())
        assert [e.message for e in found] == [
            "schedule.calendar: the calendar 'Mon-Fri - office' ends on 2026-04-09: no times after that day"
        ]


def test_each_calendar_that_is_named_is_there(tmp_path: Path):
    names = [name.strip("`") for row in rows("| name | its days |") for name in re.split("`, `", row[0])]
    (tmp_path / "_calendars").mkdir()
    for name, lines in FILES.items():
        (tmp_path / name).write_text(lines)
    files = load_folder(tmp_path).settings.calendars

    assert len(names) > 12
    assert [get_calendar(name, files).name for name in names if name != "all"] == [
        n for n in names if n != "all"
    ]


@pytest.mark.parametrize("row", rows("| `dst` | at 02:30"))
def test_the_table_of_clock_changes_is_so(row: list[str]):
    said, *cells = row
    dst = {} if said == "absent" else {"dst": parse_yaml(said).value}
    nights = (
        ("02:30:00", datetime(2023, 3, 12, 5, tzinfo=UTC)),
        ("01:30:00", datetime(2023, 11, 5, 4, tzinfo=UTC)),
    )

    for cell, (daytime, start) in zip(cells, nights, strict=True):
        data = {"type": "daily", "tz": "America/New_York", "daytime": daytime, **dst}
        found = times_between(schedule_from_dict(data), start, start + timedelta(hours=23))
        assert (" and ".join(o.at.strftime("%H:%M") for o in found) or "left out") == cell


@pytest.mark.parametrize("row", rows("| `misfire` | args | run |"))
def test_the_table_of_missed_times_is_so(row: list[str]):
    said, args, run, why = row
    misfire = {} if said == "absent" else {"misfire": parse_yaml(said).value}
    schedule = {"type": "interval", "interval": "1h", "phase": "30m", **misfire}
    params = ["time"] if args == "differ" else []
    world = World(jobs=[job_from_dict("a", {"program": "true", "params": params, "schedule": schedule})])
    world.run(after(600)).settle()
    world.now = after(600 + 3 * 86400)
    world.boot()
    world.run(world.now + timedelta(seconds=30)).settle()

    runs = world.of_job("a")
    ran = [r.state is State.SUCCESS for r in runs]
    assert len(runs) == 72
    assert ran == [False] * (72 - int(run)) + [True] * int(run)
    reasons = {str(r.skip_reason).split("; ")[1] for r in runs if r.state is State.SKIPPED}
    assert reasons == set(filter(None, why.split(", and ")))
