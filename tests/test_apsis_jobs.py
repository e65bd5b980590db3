"""A folder of job files in the forms that Apsis documents loads unchanged, is good, and runs when it should.

The files are in tests/apsis_jobs. Each says in its first lines when it runs next after 2026-03-27T00:00:00Z,
as the reference has it: `# next TIME  ARG=VALUE ...`.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apsis_nb.core.states import State
from apsis_nb.core.times import format_time
from apsis_nb.jobfiles import check_folder, load_folder
from apsis_nb.simulation import expected, simulate

FOLDER = Path(__file__).parent / "apsis_jobs"
NOW = datetime(2026, 3, 27, tzinfo=UTC)
JOBS = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))
IDS = [job_id for job_id in JOBS if job_id != ".draft"]


def test_each_file_is_a_good_job():
    folder = load_folder(FOLDER, hosts={"default": "local", "aws-ecs": "local"})
    found = check_folder(folder, NOW)

    assert sorted(folder.jobs) == IDS
    assert len(IDS) >= 16
    assert [str(e) for e in found if e.level == "error"] == []
    assert sorted({e.message.split(":")[0] for e in found}) == ["schedule.calendar", "schedule.daytime"]


@pytest.mark.parametrize("job_id", IDS)
def test_it_runs_when_the_reference_says(job_id: str):
    told = re.findall(r"^# next (.*)$", (FOLDER / f"{job_id}.yaml").read_text(), re.MULTILINE)
    lines = []
    coming = expected([load_folder(FOLDER, hosts=None).jobs[job_id]], NOW, NOW + timedelta(days=40))
    for row in coming.sort_values(["scheduled_at"], kind="stable").itertuples():
        args = [f"{name}={value}" for name, value in sorted(row.args.items())]
        stop = [] if str(row.stop_at) == "NaT" else [f"stop={format_time(row.stop_at)}"]
        lines.append("  ".join(filter(None, [format_time(row.scheduled_at), " ".join(args + stop)])))

    assert lines[: len(told)] == told
    assert bool(told) is bool(lines)


def test_their_runs_do_what_the_reference_says():
    runs = simulate(FOLDER, "2026-03-27", "2026-03-27T12:00:00Z", 60.0)

    assert set(runs["state"]) == {State.SUCCESS.value}
    chain = [r for r in runs.itertuples() if r.job_id == "ops/chain"]
    assert [r.args["part"] for r in chain] == ["a", "b"]
    after = [(r.job_id, r.args.get("what")) for r in runs.itertuples() if r.origin == "action"]
    assert sorted(after, key=str) == [
        ("ops/cleanup", None),
        ("ops/cleanup", None),
        ("ops/publish", "a-2026-03-27"),
        ("ops/publish", "b-2026-03-27"),
    ]
