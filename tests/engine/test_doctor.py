"""A server that is looked over: what a real engine finds, mends and writes to its log."""

import logging
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from apsis_nb.core.events import RunRequested
from apsis_nb.core.states import State
from apsis_nb.engine import Engine
from apsis_nb.engine.clock import utc_now
from apsis_nb.engine.doctor import examine, mend, tell
from apsis_nb.engine.mounts import network_of, network_type
from tests.engine.test_why import run_engine, until

NO_OP = "program: {type: no-op, duration: 10h}\n"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/state", "nfs4"),
        ("/srv", "nfs4"),
        ("/srvother", None),
        ("/srv/local/state", None),
        ("/home/ann with blanks/x", "fuse.sshfs"),
        ("/home/ann", None),
        ("/", None),
        ("/twice/x", None),
    ],
)
def test_a_file_system_of_the_network_is_known_by_its_mount(path: str, kind: str | None):
    mounts = """
/dev/sda1 / ext4 rw,relatime 0 0
server:/export /srv nfs4 rw,vers=4.2,addr=10.0.0.1 0 0
/dev/sdb1 /srv/local xfs rw 0 0
ann@host: /home/ann\\040with\\040blanks fuse.sshfs rw 0 0
server:/old /twice nfs rw 0 0
tmpfs /twice tmpfs rw 0 0
"""
    assert network_type(path, mounts) == kind


async def kinds(engine: Engine) -> list[tuple[str, str]]:
    """What is found; how much of the machine's disk is free is no business of a test."""
    return [(f.kind, f.subject) for f in await examine(engine) if f.kind != "disk"]


def test_a_new_server_is_well(tmp_path: Path):
    async def check(engine: Engine) -> None:
        await engine.ask(RunRequested(job_id="a"))
        assert await kinds(engine) == []
        assert network_of(tmp_path) is None

    run_engine(tmp_path, {"a": NO_OP}, check)


def test_broken_files_and_jobs_that_nothing_runs_are_found_and_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    never = NO_OP + "schedule: {type: explicit, times: ['2020-01-01T00:00:00Z']}\n"

    async def check(engine: Engine) -> None:
        assert await kinds(engine) == [("broken", "b"), ("never", "n"), ("unscheduled", "a")]
        caplog.set_level(logging.INFO, "apsis_nb.doctor")
        await tell(engine)
        told = [r.getMessage() for r in caplog.records if r.name == "apsis_nb.doctor"]
        assert [text for text in told if not text.startswith("disk")] == [
            "n: a schedule of it gives no time in the next five years; "
            "remove the schedule, or give it times to come"
        ]

    run_engine(tmp_path, {"a": NO_OP, "b": "progam: x\n", "n": never}, check)


def test_a_run_without_a_process_is_found_and_ended(tmp_path: Path):
    async def begin(engine: Engine) -> None:
        (run,) = await engine.ask(RunRequested(job_id="a"))
        await until(engine, lambda: engine.live[run.run_id].state is State.RUNNING)

    async def check(engine: Engine) -> None:
        (run_id,) = engine.live
        assert await kinds(engine) == []
        engine.programs._no_ops.close()  # as if a fault of ours had lost it
        found = await examine(engine)
        assert [(f.kind, f.subject) for f in found if f.kind != "disk"] == [("orphaned", f"r{run_id}")]
        assert await mend(engine, found) == [f"r{run_id} was ended in error, for it had no process"]
        assert run_id not in engine.live
        facts = engine.store.run(run_id)
        assert facts is not None
        assert (facts["state"], facts["message"]) == ("error", "it had no process: the doctor ended it")
        assert await mend(engine, found) == []
        assert await kinds(engine) == []

    run_engine(tmp_path, {"a": NO_OP}, begin)
    backdate(tmp_path / "state" / "runs.duckdb")
    run_engine(tmp_path, {"a": NO_OP}, check)


def backdate(store: Path) -> None:
    """Let all that happened have happened two hours before."""
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE base.run_log SET ts = ts - INTERVAL 2 HOUR")


def test_what_was_missed_is_found_until_it_was_made_up_for(tmp_path: Path):
    jobs = {"h": "params: [time]\nschedule: {type: interval, interval: 1h, misfire: none}\n" + NO_OP}

    async def nothing(engine: Engine) -> None:
        pass

    async def check(engine: Engine) -> None:
        await until(engine, lambda: len(engine.store.missed_lately(utc_now() - timedelta(days=7))) > 0)
        found = [f for f in await examine(engine) if f.kind == "missed"]
        assert [(f.level, f.subject) for f in found] == [("warning", "h")]
        assert "times were missed" in found[0].message

    run_engine(tmp_path, jobs, nothing)
    with duckdb.connect(str(tmp_path / "state" / "runs.duckdb")) as connection:
        connection.execute("INSERT INTO base.clock SELECT max(clock_at) - INTERVAL 5 HOUR FROM base.clock")
        connection.execute("DELETE FROM base.clock WHERE clock_at > (SELECT min(clock_at) FROM base.clock)")
    run_engine(tmp_path, jobs, check)
