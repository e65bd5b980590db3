"""Conditions that are classes of the user's own, in modules of the job folder, asked by a real engine."""

import asyncio
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apsis_nb.config import load_config
from apsis_nb.core.events import RunRequested, SkipRequested
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State
from apsis_nb.engine import Engine, polls
from apsis_nb.engine.why import why_run
from tests.engine.serving import Server, wait_for

MODULE = '''
import asyncio, sys, threading
from dataclasses import dataclass
from pathlib import Path

from apsis_nb.condition import Condition, End

LET_GO = threading.Event()
ASKED = threading.Semaphore(0)
MADE = []


@dataclass
class Delivered(Condition):
    """Files are in a folder."""

    folder: str
    files: int = 1
    poll_interval: float | str = "0.1s"

    def __post_init__(self):
        MADE.append(self)

    def check(self, run):
        there = len(list(Path(self.folder).glob("*")))
        return there >= self.files or f"{run.run_id} {run.args['date']}: {there} of {self.files} are there"


class Polled(Condition):
    """The same, without a thread's worth of waiting."""

    poll_interval = 0

    def __init__(self, path):
        self.path = path

    async def check(self, run):
        await asyncio.sleep(0)
        return Path(self.path).exists()


class Hangs(Condition):
    def check(self, run):
        ASKED.release()
        LET_GO.wait()
        return True


class Ends(Condition):
    def __init__(self, state):
        self.state = state

    def check(self, run):
        return End(self.state, f"no use for {run.job_id}, attempt {run.attempt}")


class Wrong(Condition):
    def __init__(self, how):
        self.how = how
        assert how != "assert", "two\\nlines"

    def check(self, run):
        match self.how:
            case "raise":
                raise KeyError("rate")
            case "exit":
                sys.exit("enough")
            case "stop":
                raise StopIteration
            case "interval":
                self.poll_interval = "often"
                return False
'''


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Path]:
    """A job folder with the module, which no other test has imported."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "deliveries_of_test.py").write_text(MODULE)
    sys.modules.pop("deliveries_of_test", None)  # a check that outlived its test may have it imported again
    yield folder
    if found := sys.modules.pop("deliveries_of_test", None):
        found.LET_GO.set()
    for thread in threading.enumerate():
        if thread.name == "apsis-nb-outside":
            thread.join(10)


def module() -> Any:
    return sys.modules["deliveries_of_test"]


def write(jobs: Path, job_id: str, condition: str, more: str = "") -> None:
    condition = condition.replace("type: ", "type: deliveries_of_test.")
    (jobs / f"{job_id}.yaml").write_text(f"condition: {condition}\nprogram: {{type: no-op}}\n{more}")


def run_engine(jobs: Path, check: Callable[[Engine], Awaitable[None]]) -> None:
    """Let `check` use an engine of these jobs."""

    async def main() -> None:
        engine = Engine(load_config(None, {"jobs": str(jobs), "state_dir": str(jobs.parent / "state")}))
        await engine.start()
        try:
            await asyncio.wait_for(check(engine), 60)
        finally:
            await engine.stop()

    asyncio.run(main())


async def ask(engine: Engine, job_id: str, **args: str) -> Run:
    (run,) = await engine.ask(RunRequested(job_id=job_id, args=args))
    return run


async def until(engine: Engine, is_so: Callable[[], bool]) -> None:
    """Wait for a commit after which `is_so`."""
    changed = asyncio.Event()
    unlisten = engine.listen(lambda kind, facts: changed.set())
    while not is_so():
        try:
            async with asyncio.timeout(40):
                await changed.wait()
        except TimeoutError:
            told = {
                run.name: (run.state.value, engine.machine.why(run_id)) for run_id, run in engine.live.items()
            }
            raise AssertionError(f"nothing was saved for 40 s; live are {told}") from None
        changed.clear()
    unlisten()


async def ended(engine: Engine, run: Run) -> dict[str, Any]:
    """The facts of a run when its end is saved."""
    is_over = asyncio.Event()

    def look(kind: str, facts: dict[str, Any]) -> None:
        if kind == "run" and facts["run_id"] == run.name and facts["finished_at"]:
            is_over.set()

    unlisten = engine.listen(look)
    facts = await asyncio.to_thread(engine.store.run, run.run_id)
    if facts is None or facts["finished_at"] is None:
        await is_over.wait()
        facts = await asyncio.to_thread(engine.store.run, run.run_id)
    unlisten()
    assert facts is not None
    return facts


def logged(engine: Engine, run: Run) -> list[str]:
    return [row["message"] or "" for row in engine.store.log(run.run_id)]


@pytest.fixture
def there() -> Iterator[Path]:
    """A folder whose path is short: what is long is cut."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_run_waits_until_its_class_says_that_it_holds_and_why_it_does_not_is_told(jobs: Path, there: Path):
    write(jobs, "load", "{type: Delivered, folder: '{{ date }}', files: 2}", "params: [date]\n")

    async def check(engine: Engine) -> None:
        assert [str(error) for error in engine.folder.errors] == []
        run = await ask(engine, "load", date=str(there))
        waits = f"waiting for deliveries_of_test.Delivered(folder={there}, files=2)"
        said = f"{waits}: {run.name} {there}: 0 of 2 are there"
        await until(engine, lambda: engine.machine.why(run.run_id) == said)
        (cause,) = await why_run(engine, run.run_id)
        assert (cause.kind, cause.text) == ("waiting", f"{run.name} load(date={there}): {said}")
        (there / "a").touch()
        (there / "b").touch()
        assert (await ended(engine, run))["state"] == "success"
        log = await asyncio.to_thread(logged, engine, run)
        assert log.index(waits) < log.index(said)
        assert len(module().MADE) == 1, "one object, however often it is asked"

    run_engine(jobs, check)


def test_what_held_a_run_holds_it_after_a_restart(jobs: Path):
    write(jobs, "load", "{type: Polled, path: '{{ path }}'}", "params: [path]\n")
    flag = jobs.parent / "{{ flag }}"
    runs: list[Run] = []

    async def before(engine: Engine) -> None:
        run = await ask(engine, "load", path=str(flag))
        assert run.state is State.WAITING
        runs.append(run)

    async def after(engine: Engine) -> None:
        assert engine.live[runs[0].run_id].conditions == runs[0].conditions
        flag.touch()
        assert (await ended(engine, runs[0]))["state"] == "success"

    run_engine(jobs, before)
    run_engine(jobs, after)


def test_a_class_that_is_gone_after_a_restart_ends_the_run_with_the_reason(jobs: Path):
    write(jobs, "load", "{type: Polled, path: /nowhere/at/all}")
    runs: list[Run] = []

    async def before(engine: Engine) -> None:
        runs.append(await ask(engine, "load"))

    async def after(engine: Engine) -> None:
        facts = await ended(engine, runs[0])
        said = "deliveries_of_test.Polled: 'deliveries_of_test' cannot be imported: ModuleNotFoundError: "
        assert (facts["state"], facts["message"].startswith(said)) == ("error", True)

    run_engine(jobs, before)
    sys.modules.pop("deliveries_of_test")
    (jobs / "deliveries_of_test.py").unlink()
    run_engine(jobs, after)


def test_a_class_may_end_the_waiting(jobs: Path):
    for state in ("skipped", "error", "success"):
        write(jobs, state, f"{{type: Ends, state: {state}}}")

    async def check(engine: Engine) -> None:
        for state in ("skipped", "error"):
            facts = await ended(engine, await ask(engine, state))
            assert (facts["state"], facts["message"]) == (state, f"no use for {state}, attempt 1")
            assert facts["skip_reason"] == (facts["message"] if state == "skipped" else None)
        facts = await ended(engine, await ask(engine, "success"))
        assert facts["state"] == "error"
        assert "may end as 'skipped' or 'error', not as 'success'" in facts["message"]

    run_engine(jobs, check)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "KeyError: 'rate'"),
        ("exit", "SystemExit: enough"),
        ("stop", "StopIteration: "),
        ("assert", "AssertionError: two lines"),
        ("nothing", "check returned nothing: it must return True, False, a text or End"),
        ("interval", "ValueError: 'often' is no duration"),
    ],
)
def test_what_a_class_does_wrong_makes_its_run_an_error_and_harms_no_other(jobs: Path, how: str, said: str):
    write(jobs, "wrong", f"{{type: Wrong, how: {how}}}")
    write(jobs, "right", "{type: Polled, path: /}")

    async def check(engine: Engine) -> None:
        facts = await ended(engine, await ask(engine, "wrong"))
        assert facts["state"] == "error"
        assert facts["message"].startswith(f"deliveries_of_test.Wrong: {said}".strip())
        assert (await ended(engine, await ask(engine, "right")))["state"] == "success"
        assert {loop["failures"] for loop in engine.health()["loops"]} == {0}

    run_engine(jobs, check)


def test_a_check_that_hangs_holds_no_other_run_and_not_the_end_of_the_server(jobs: Path):
    write(jobs, "hangs", "[{type: Hangs}, {type: Polled, path: /}]")
    write(jobs, "impatient", "{type: Hangs}", "waiting: {max_time: 1}\n")
    write(jobs, "right", "{type: Polled, path: /}")
    (jobs / "file.yaml").write_text("condition: {type: file, path: .}\nprogram: x\n")

    async def check(engine: Engine) -> None:
        hung = [await ask(engine, "hangs") for _ in range(3)]
        impatient = await ask(engine, "impatient")
        for _ in range(4):
            await asyncio.to_thread(module().ASKED.acquire, timeout=30)
        assert (await ended(engine, await ask(engine, "right")))["state"] == "success"
        facts = await ended(engine, impatient)
        assert facts["message"] == "waiting for deliveries_of_test.Hangs(): timeout after 1s"
        await engine.ask(SkipRequested(run_id=hung[0].run_id))
        assert engine.live[hung[1].run_id].state is State.WAITING
        hold.append(module().LET_GO)

    hold: list[threading.Event] = []
    run_engine(jobs, check)
    assert not hold[0].is_set(), "it hung to the end"
    hold[0].set()


def test_a_class_that_hangs_as_often_as_it_may_is_told_of_and_holds_no_other(
    jobs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(polls, "AT_ONCE", 1)
    monkeypatch.setattr(polls, "SLOW_S", 0.1)
    write(jobs, "hangs", "{type: Hangs}")
    write(jobs, "right", "{type: Polled, path: /}")

    async def check(engine: Engine) -> None:
        runs = [await ask(engine, "hangs") for _ in range(2)]
        said = "waiting for deliveries_of_test.Hangs(): no answer for more than 0.1s"
        await until(engine, lambda: [engine.machine.why(run.run_id) for run in runs] == [said, said])
        assert (await ended(engine, await ask(engine, "right")))["state"] == "success"
        module().LET_GO.set()
        assert [(await ended(engine, run))["state"] for run in runs] == ["success", "success"]

    run_engine(jobs, check)


def test_a_hung_check_goes_on_when_it_returns(jobs: Path):
    write(jobs, "hangs", "{type: Hangs}")

    async def check(engine: Engine) -> None:
        run = await ask(engine, "hangs")
        await asyncio.to_thread(module().ASKED.acquire, timeout=30)
        module().LET_GO.set()
        assert (await ended(engine, run))["state"] == "success"

    run_engine(jobs, check)


def test_a_condition_that_is_not_enabled_is_not_asked_and_others_come_in_their_order(jobs: Path):
    write(
        jobs,
        "a",
        "[{type: Wrong, how: raise, enabled: '{{ strict }}'}, {type: Ends, state: skipped}, {type: Hangs}]",
        "params: [strict]\n",
    )

    async def check(engine: Engine) -> None:
        assert (await ended(engine, await ask(engine, "a", strict="false")))["state"] == "skipped"
        assert (await ended(engine, await ask(engine, "a", strict="true")))["state"] == "error"

    run_engine(jobs, check)


def test_a_server_with_a_hung_check_stops_and_the_next_one_asks_again(jobs: Path, tmp_path: Path):
    asked = tmp_path / "asked"
    (jobs / "hangs_of_test.py").write_text(
        "import threading\nfrom pathlib import Path\nfrom apsis_nb.condition import Condition\n\n"
        "class Hangs(Condition):\n    def __init__(self, path):\n        self.path = Path(path)\n\n"
        "    def check(self, run):\n        if self.path.exists():\n            return True\n"
        "        self.path.touch()\n        threading.Event().wait()\n"
    )
    (jobs / "a.yaml").write_text(
        f"condition: {{type: hangs_of_test.Hangs, path: {asked}}}\nprogram: {{type: no-op}}\n"
    )
    server = Server(jobs, tmp_path / "served").start()
    try:
        (made,) = server.post("/api/v1/runs", {"job_id": "a"}).json()["runs"]
        wait_for("it is asked", asked.exists)
        assert server.get(f"/api/v1/runs/{made['run_id']}").json()["state"] == "waiting"
        assert server.stop() == 0
        server.start()
        wait_for("it runs", lambda: server.get(f"/api/v1/runs/{made['run_id']}").json()["state"] == "success")
        assert server.stop() == 0
    finally:
        server.kill()
