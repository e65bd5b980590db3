"""Programs that are code, each run in a process of its own: classes, calls of functions, queries."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from apsis_nb.core.events import ProgramStarted
from apsis_nb.core.programs import Custom, Process, PythonCall, SqlQuery, Timeout
from apsis_nb.core.runs import Instance
from apsis_nb.core.states import State
from apsis_nb.programs import Programs
from apsis_nb.programs.pythons import find_python
from apsis_nb.programs.runner import RESULT, TABLE

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


# --- functions

FUNCTIONS = """\
import datetime
import os
import sys


def types(date, n, ratio, on, at, since, wait, kind, extra=None):
    return [repr(v) for v in (date, n, ratio, on, at, since, wait, kind, extra)]


def where():
    import beside, top
    first = os.environ["PATH"].split(":")[0]
    return [sys.version_info[:2], os.environ.get("VIRTUAL_ENV"), first, os.getcwd()]


def anything(**given):
    return given


def raises(n):
    raise KeyError(n)


class Deep:
    @staticmethod
    def method(n):
        return n + 1
"""

ARGS = {
    "date": ("2026-01-31", "date", "datetime.date(2026, 1, 31)"),
    "n": ("7", "int", "7"),
    "ratio": ("0.5", "float", "0.5"),
    "on": ("true", "bool", "True"),
    "at": ("09:30:00", "time", "datetime.time(9, 30)"),
    "since": (
        "2026-01-31T09:00:00Z",
        "datetime",
        "datetime.datetime(2026, 1, 31, 9, 0, tzinfo=datetime.timezone.utc)",
    ),
    "wait": ("1h30m", "duration", "datetime.timedelta(seconds=5400)"),
    "kind": ("short", None, "'short'"),
    "unused": ("x", None, None),
}


def functions(root: Path) -> Path:
    """A folder of jobs, and in it one that has the functions."""
    folder = root.parent / "jobs" / "team"
    folder.mkdir(parents=True)
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "beside.py").write_text("")
    (folder.parent / "top.py").write_text("")
    return folder


def call(name: str, /, **facts) -> Process:
    return Process(task=PythonCall(call=f"functions:{name}", **facts))


@asynchronous
async def test_a_function_is_called_with_the_args_that_it_takes_as_values_of_their_types(root):
    folder = functions(root)
    inst = Instance.of("team/job", {name: text for name, (text, _, _) in ARGS.items()})
    types = {name: kind for name, (_, kind, _) in ARGS.items() if kind}
    async with serving(root, folder=folder.parent) as server:
        program = call("types", args={"extra": [1, "a"]}, types=types)
        finished = await server.run(a_run(1, program, inst=inst, cwd=str(folder)))
        assert finished.message is None
        values = [value for _, _, value in ARGS.values() if value is not None]
        assert result(server.programs, 1) == [*values, "[1, 'a']"]
        await server.run(a_run(2, call("anything", args={"n": 8}), inst=inst, cwd=str(folder)))
        assert result(server.programs, 2) == dict(inst.args) | {"n": 8}
        await server.run(a_run(3, call("Deep.method", types=types), inst=inst, cwd=str(folder)))
        assert result(server.programs, 3) == 8


@asynchronous
async def test_what_a_function_lacks_or_raises_is_the_message_of_its_run(root):
    folder = functions(root)
    async with serving(root, folder=folder.parent) as server:
        said = []
        programs = [
            call("raises", args={"n": 3}),
            call("raises"),
            call("nothing"),
            call("raises", args={"m": 1}),
        ]
        programs.append(Process(task=PythonCall(call="nowhere.f")))
        for n, program in enumerate(programs):
            finished = await server.run(a_run(n, program, cwd=str(folder)))
            assert finished.outcome == "failure"
            said.append(finished.message)
        assert said == [
            "KeyError: 3",
            "TypeError: raises() missing 1 required positional argument: 'n'",
            "AttributeError: module 'functions' has no attribute 'nothing'",
            "TypeError: raises() got an unexpected keyword argument 'm'",
            "ModuleNotFoundError: No module named 'nowhere'",
        ]


def pythons() -> list[str]:
    """This interpreter and, if the machine has them, the oldest that will do and the newest."""
    places = [*os.environ["PATH"].split(":"), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    others = [
        f"{place}/python3.{minor}" for minor in range(8, 30) for place in places if "shims" not in place
    ]
    found = [path for path in others if os.access(path, os.X_OK)]
    return list(dict.fromkeys([sys.executable, *found[:1], *found[-1:]]))


def make_environment(base: str, folder: Path) -> list[int]:
    """An environment of its own for an interpreter, whose version it gives."""
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    asked = [base, "-c", "import sys; print(*sys.version_info[:2])"]
    return [int(part) for part in subprocess.check_output(asked, text=True).split()]


@asynchronous
async def test_a_function_runs_in_the_environment_that_the_job_names(root):
    folder = functions(root)
    async with serving(root, folder=folder.parent) as server:
        for n, base in enumerate(pythons()):
            version = make_environment(base, folder / f"env{n}")
            for m, name in enumerate((f"env{n}", f"./env{n}/bin/python", str(folder / f"env{n}"))):
                finished = await server.run(a_run(10 * n + m, call("where", python=name), cwd=str(folder)))
                assert finished.message is None
                assert result(server.programs, 10 * n + m) == [
                    version,
                    str(folder / f"env{n}"),
                    str(folder / f"env{n}" / "bin"),
                    str(folder),
                ]
        await server.run(a_run(100, call("where"), cwd=str(folder)))
        assert result(server.programs, 100)[0] == list(sys.version_info[:2])


@asynchronous
async def test_a_python_that_there_is_not_is_an_error_that_says_so(root):
    folder = functions(root)
    (folder / "empty").mkdir()
    async with serving(root) as server:
        said = []
        for n, name in enumerate(("no-such-env", "./nowhere", "empty")):
            finished = await server.run(a_run(n, call("where", python=name), cwd=str(folder)))
            assert finished.outcome == "error"
            said.append(finished.message)
    assert said[0].startswith("cannot start: python: 'no-such-env' is no interpreter, and no environment")
    assert said[1] == f"cannot start: python: there is no '{folder}/nowhere'"
    assert said[2] == "cannot start: python: 'empty' is the folder of no environment: it has no bin/python"


def test_environments_of_conda_are_found_by_name(tmp_path):
    for name in ("miniforge3", "miniforge3/envs/fit", "elsewhere/own", "more/late"):
        for part in ("conda-meta", "bin"):
            (tmp_path / name / part).mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch(mode=0o755)
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"{tmp_path}/elsewhere/own\n{tmp_path}/gone\n")
    env = {"PATH": "/usr/bin:/bin", "CONDA_ENVS_PATH": f"{tmp_path}/more"}
    homes = {"fit": "miniforge3/envs/fit", "own": "elsewhere/own", "late": "more/late", "base": "miniforge3"}
    for name, folder in homes.items():
        found = find_python(name, "/", str(tmp_path), env)
        where = str(tmp_path / folder)
        assert (found.executable, found.folder) == (f"{where}/bin/python", f"{where}/bin")
        assert found.variables == {"CONDA_PREFIX": where, "CONDA_DEFAULT_ENV": folder.split("/")[-1]}
    assert find_python("~/elsewhere/own", "/", str(tmp_path), env).folder == f"{tmp_path}/elsewhere/own/bin"
    assert find_python("python3", "/", str(tmp_path), env).executable == "/usr/bin/python3"
    with pytest.raises(ValueError, match="'fti' is no interpreter, and no environment; those of conda are "):
        find_python("fti", "/", str(tmp_path), env)


# --- queries


def query(text: str, **types: str) -> Process:
    return Process(task=SqlQuery(query=text, types=types))


@asynchronous
async def test_the_answer_of_a_query_is_kept_and_its_head_is_printed(root):
    folder = root.parent
    (folder / "orders.csv").write_text(
        "day,n\n" + "".join(f"2026-01-{1 + n % 2:02},{n}\n" for n in range(50))
    )
    inst = Instance.of("team/job", {"date": "2026-01-02", "least": "3", "unused": "x"})
    text = (
        "SET threads = 1;\nSELECT day, n FROM 'orders.csv' WHERE day = $date AND n >= $least AND ';' = ';'\n"
        "ORDER BY n; -- that is; all\n"
    )
    async with serving(root) as server:
        program = query(text, date="date", least="int")
        finished = await server.run(a_run(1, program, inst=inst, cwd=str(folder)))
        assert (finished.outcome, finished.message) == ("success", None)
        file = dict(server.programs.outputs(1))[TABLE]
        rows = pyarrow.parquet.read_table(file).to_pylist()
        assert [row["n"] for row in rows] == list(range(3, 50, 2))
        lines = server.output(1).splitlines()
        assert lines[-1] == "24 rows, the first 20 are shown"
        assert "2026-01-02" in lines[5]
        assert len(lines) < 30
        assert not (folder / ".tmp").exists()


@asynchronous
async def test_a_query_may_write_files_itself_and_then_has_no_answer(root):
    text = "CREATE TABLE t AS SELECT 1 AS a; COPY t TO 'made.csv'"
    async with serving(root) as server:
        finished = await server.run(a_run(1, query(text), cwd=str(root.parent)))
        assert finished.message is None
        assert (root.parent / "made.csv").read_text() == "a\n1\n"
        assert [name for name, _ in server.programs.outputs(1)] == ["output"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELEC 1", 'ParserException: Parser Error: syntax error at or near "SELEC"'),
        ("FROM 'nowhere.csv'", 'IOException: IO Error: No files found that match the pattern "nowhere.csv"'),
        ("SELECT $day", "ValueError: the query has $day, which is no param of the job"),
    ],
)
def test_a_query_that_fails_says_why(root, text, said):
    @asynchronous
    async def run(root):
        async with serving(root) as server:
            finished = await server.run(a_run(1, query(text), cwd=str(root.parent)))
            assert (finished.outcome, finished.message) == ("failure", said)

    run(root)
