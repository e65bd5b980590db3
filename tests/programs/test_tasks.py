"""Programs that are code, run in a process of their own: classes of somebody's own."""

import json
import os
from pathlib import Path

from apsis_nb.core.events import ProgramStarted
from apsis_nb.core.programs import Custom, Process, Timeout
from apsis_nb.core.states import State
from apsis_nb.programs import Programs
from apsis_nb.programs.runner import RESULT

from .serving import a_run, asynchronous, serving

MODULE = """\
import os
import sys
from dataclasses import dataclass

from apsis_nb.program import Program


@dataclass
class Report(Program):
    day: str
    rows: int = 2

    def run(self, run):
        print(f"{run.run_id} of {run.job_id} reports {self.day}")
        assert sys.stdin.read() == ""
        return {"day": self.day, "rows": self.rows, "due": run.scheduled_at.isoformat(), "args": run.args}


class Quiet(Program):
    def run(self, run):
        (run.output_dir / "note.txt").write_text("done")


class Bad(Program):
    def __init__(self, how):
        self.how = how

    def run(self, run):
        if self.how == "exit":
            sys.exit(7)
        if self.how == "result":
            return {1, 2}
        raise ValueError("no such day\\nas this")


class Slow(Program):
    def run(self, run):
        print("begun", flush=True)
        os.read(os.open("go", os.O_RDONLY), 1)
        return "went on"
"""


def jobs(root: Path) -> Path:
    """A folder with the module of the classes."""
    folder = root.parent / "jobs"
    folder.mkdir(exist_ok=True)
    (folder / "reports.py").write_text(MODULE)
    return folder


def task(name: str, /, **keys) -> Process:
    return Process(task=Custom(type=f"reports.{name}", keys=keys))


def result(programs: Programs, run_id: int):
    return json.loads(programs.read_output(run_id, RESULT)[0])


@asynchronous
async def test_an_object_of_the_class_is_run_and_what_it_returns_is_kept(root):
    async with serving(root, folder=jobs(root)) as server:
        finished = await server.run(a_run(7, task("Report", day="2026-01-31", rows=5)))
        assert (finished.outcome, finished.message) == ("success", None)
        assert server.output(7) == "r7 of team/job reports 2026-01-31\n"
        kept = result(server.programs, 7)
        assert kept == {"day": "2026-01-31", "rows": 5, "due": "2026-01-31T09:00:00+00:00", "args": {}}


@asynchronous
async def test_what_returns_nothing_has_no_result_and_may_leave_files(root):
    async with serving(root, folder=jobs(root)) as server:
        finished = await server.run(a_run(1, task("Quiet")))
        assert finished.outcome == "success"
        assert [name for name, _ in server.programs.outputs(1)] == ["output", "note.txt"]


@asynchronous
async def test_an_exception_is_a_failure_that_says_what_and_where(root):
    async with serving(root, folder=jobs(root)) as server:
        finished = await server.run(a_run(1, task("Bad", how="raise")))
        assert (finished.outcome, finished.return_code) == ("failure", 1)
        assert finished.message == "ValueError: no such day"
        lines = server.output(1).splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[1].endswith('reports.py", line 33, in run')
        assert lines[-2:] == ["ValueError: no such day", "as this"]


@asynchronous
async def test_whatever_else_ends_it_badly_is_said(root):
    async with serving(root, folder=jobs(root)) as server:
        exits = await server.run(a_run(1, task("Bad", how="exit")))
        assert (exits.outcome, exits.message) == ("failure", "exit code 7")
        unkept = await server.run(a_run(2, task("Bad", how="result")))
        assert unkept.message == "TypeError: Object of type set is not JSON serializable"
        wrong = await server.run(a_run(3, task("Bad", who="me")))
        assert "unexpected keyword argument 'who'" in wrong.message
        assert server.output(3) == f"{wrong.message}\n"
        missing = await server.run(a_run(4, Process(task=Custom(type="nowhere.Bad"))))
        assert missing.message == "ModuleNotFoundError: No module named 'nowhere'"


@asynchronous
async def test_it_outlives_the_server_and_keeps_its_result(root):
    folder = jobs(root)
    os.mkfifo(folder / "go")
    run = a_run(1, task("Slow"), cwd=str(folder))
    async with serving(root, folder=folder) as server:
        started = await server.start(run)
        await server.output_with(1, "begun")
    async with serving(root, folder=folder) as server:
        found = run.moved(State.RUNNING, started.at, run_state=started.run_state)
        server.programs.resume(found)
        (folder / "go").write_text("\n")
        finished = await server.finished(1)
        assert finished.outcome == "success"
        assert result(server.programs, 1) == "went on"


@asynchronous
async def test_it_is_stopped_and_timed_out_like_any_program(root):
    folder = jobs(root)
    os.mkfifo(folder / "go")
    async with serving(root, folder=folder) as server:
        run = a_run(1, task("Slow"), cwd=str(folder))
        await server.start(run)
        await server.output_with(1, "begun")
        server.programs.stop(run)
        assert (await server.finished(1)).message == "stopped by SIGTERM"
        slow = Process(task=Custom(type="reports.Slow"), timeout=Timeout(duration_s=0.5))
        finished = await server.run(a_run(2, slow, cwd=str(folder)))
        assert finished.message == "killed by SIGTERM (timeout after 0.5 s)"
        assert len(server.events(ProgramStarted, 2)) == 1
