"""The job folder of a server: edits are taken up, broken ones harm nobody, every text is kept."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from apsis_nb.config import load_config
from apsis_nb.core.errors import ApsisError, NotFound, Refused
from apsis_nb.core.events import RunRequested
from apsis_nb.engine import Engine
from apsis_nb.engine.job_folder import EditRefused

GOOD = "# mine\nprogram: {type: no-op}\n"


class World:
    """A folder of jobs and its server."""

    def __init__(self, folder: Path) -> None:
        self.jobs, self.state_dir = folder / "jobs", folder / "state"
        self.jobs.mkdir()

    def write(self, job_id: str, text: str) -> Path:
        file = self.jobs / f"{job_id}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def run(self, check: Callable[[Engine], Awaitable[Any]], **settings: str) -> None:
        """Start an engine, let `check` use it, stop it."""

        async def main() -> None:
            given = {"jobs": str(self.jobs), "state_dir": str(self.state_dir), **settings}
            engine = Engine(load_config(None, given))
            await engine.start()
            try:
                await asyncio.wait_for(check(engine), 60)
            finally:
                await engine.stop()

        asyncio.run(main())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def heard(engine: Engine, wanted: tuple[str, str], act: Callable[[], object]) -> None:
    """Do something and wait until the engine tells of (job id, change)."""
    told = asyncio.Event()

    def listen(kind: str, facts: dict[str, Any]) -> None:
        if kind == "job" and (facts["job_id"], facts["change"]) == wanted:
            told.set()

    unlisten = engine.listen(listen)
    try:
        act()
        await told.wait()
    finally:
        unlisten()


def versions(engine: Engine, job_id: str) -> list[tuple[int, str | None, str | None]]:
    return [(v["version"], v["by"], v["yaml"]) for v in engine.store.job_versions(job_id)]


def test_a_watched_folder_takes_up_edits_and_keeps_what_works(world: World):
    file = world.write("a", GOOD)
    other = "program: {type: no-op, duration: 1}\n"

    async def check(engine: Engine) -> None:
        await heard(engine, ("b", "added"), lambda: world.write("b", GOOD))
        await heard(engine, ("a", "changed"), lambda: world.write("a", other))
        await heard(engine, ("a", "broken"), lambda: world.write("a", "progam: x\n"))
        assert engine.jobs["a"].program.duration_s == 1
        assert "unknown key 'progam'" in str(engine.folder.errors[0])
        assert len(await engine.ask(RunRequested(job_id="a"))) == 1
        await heard(engine, ("a", "changed"), lambda: world.write("a", GOOD))
        assert engine.folder.errors == []
        await heard(engine, ("a", "removed"), file.unlink)
        assert set(engine.jobs) == {"b"}
        await engine.reload()  # comes after what the last change still has to do
        assert versions(engine, "a") == [(1, None, GOOD), (2, None, other), (3, None, GOOD), (4, None, None)]

    world.run(check, watch="true")


def test_every_text_is_kept_also_what_changed_while_no_server_ran(world: World):
    world.write("a", GOOD)

    async def first(engine: Engine) -> None:
        assert versions(engine, "a") == [(1, None, GOOD)]
        world.write("a", "progam: x\n")
        assert (await engine.reload(by="ann"))["applied"] is False
        assert versions(engine, "a") == [(1, None, GOOD)]
        world.write("a", GOOD + "# more\n")
        await engine.reload(by="ann")

    async def second(engine: Engine) -> None:
        assert versions(engine, "a") == [(1, None, GOOD), (2, "ann", GOOD + "# more\n"), (3, None, None)]
        assert engine.store.sql("SELECT count(*) FROM jobs").to_pylist() == [{"count_star()": 0}]

    world.run(first)
    (world.jobs / "a.yaml").unlink()
    world.run(second)


def test_a_file_is_written_only_over_what_was_read_and_only_if_it_is_good(world: World):
    world.write("team/a", GOOD)

    async def check(engine: Engine) -> None:
        folder = engine.job_folder
        text, tag = folder.read("team/a")
        assert text == GOOD
        new = await folder.write("team/a", "program: 'true'\n", tag=tag, by="ann")
        assert folder.read("team/a") == ("program: 'true'\n", new)
        assert versions(engine, "team/a")[-1] == (2, "ann", "program: 'true'\n")
        with pytest.raises(EditRefused, match="written by somebody else since") as stale:
            await folder.write("team/a", GOOD, tag=tag, by="bob")
        assert stale.value.is_stale
        with pytest.raises(EditRefused, match="is there already"):
            await folder.write("team/a", GOOD, tag=None, by="bob")
        with pytest.raises(EditRefused, match="1:1: unknown key 'progam'") as wrong:
            await folder.write("team/a", "progam: x\n", tag=new, by="bob")
        assert [error.line for error in wrong.value.errors] == [1]
        with pytest.raises(EditRefused, match="there is no job 'nowhere'"):
            await folder.write("team/a", "program: x\nsuccessors: nowhere\n", tag=new, by="bob")
        assert folder.read("team/a") == ("program: 'true'\n", new)
        await folder.write("other/deep/b", GOOD, tag=None, by="bob")
        assert {"team/a", "other/deep/b"} == set(engine.jobs)
        assert [p.name for p in (world.jobs / "other/deep").iterdir()] == ["b.yaml"]
        with pytest.raises(NotFound):
            folder.read("nowhere")

    world.run(check)


@pytest.mark.parametrize("job_id", ["../a", "/etc/a", "a//b", "a/./b", ".hidden", "", "a\nb", "out/a"])
def test_no_file_outside_of_the_folder_is_written(world: World, tmp_path: Path, job_id: str):
    (world.jobs / "out").symlink_to(tmp_path)

    async def check(engine: Engine) -> None:
        with pytest.raises(Refused):
            await engine.job_folder.write(job_id, GOOD, tag=None, by="ann")

    world.run(check)
    assert not list(tmp_path.glob("*.yaml"))


def test_with_broken_settings_nothing_starts_and_nothing_is_taken_up(world: World):
    world.write("a", GOOD)

    async def check(engine: Engine) -> None:
        (world.jobs / ".apsis.yaml").write_text("defualts: {}\n")
        told = await engine.reload(force=True)
        assert (told["applied"], set(engine.jobs)) == (False, {"a"})
        assert told["errors"][0]["file"].endswith("/.apsis.yaml")

    world.run(check)
    with pytest.raises(ApsisError, match="unknown key 'defualts'"):
        world.run(check)


def test_templates_call_the_functions_of_the_configuration(world: World):
    world.write("a", "program: [echo, \"{{ base('/x/y') }}\"]\n")

    async def check(engine: Engine) -> None:
        (run,) = await engine.ask(RunRequested(job_id="a"))
        assert run.program.argv == ("echo", "y")

    config = world.jobs.parent / "apsis.yaml"
    config.write_text(
        f"jobs: {world.jobs}\nstate_dir: {world.state_dir}\ntemplate_functions: {{base: os.path:basename}}\n"
    )

    async def main() -> None:
        engine = Engine(load_config(config))
        await engine.start()
        try:
            await check(engine)
        finally:
            await engine.stop()

    asyncio.run(main())


def test_a_preview_tells_what_an_edit_adds_and_removes_and_runs_again(world: World):
    schedule = "schedule: {{type: interval, interval: {}}}\n"
    world.write("a", GOOD + schedule.format("1d"))

    async def check(engine: Engine) -> None:
        old = engine.jobs["a"]
        new = engine.job_folder.job_of("a", GOOD + schedule.format("12h"))
        told = await asyncio.to_thread(engine.preview, old, new)
        assert (len(told["added"]), told["removed"]) == (7, [])
        told = await asyncio.to_thread(engine.preview, new, old)
        assert (told["added"], len(told["removed"])) == ([], 7)
        told = await asyncio.to_thread(engine.preview, None, new)
        assert len(told["added"]) == 14
        often = engine.job_folder.job_of("a", GOOD + schedule.format("1s"))
        told = await asyncio.to_thread(engine.preview, old, often)
        assert len(told["added"]) == 1000
        assert told["until"] < engine.started_at + timedelta(hours=1)
        world.write("a", GOOD + schedule.format("12h"))
        dry = await engine.reload(dry_run=True)
        assert {job_id: len(p["added"]) for job_id, p in dry["previews"].items()} == {"a": 7}

    world.run(check)


@pytest.mark.parametrize(
    ("job_id", "may_be"),
    [
        ("👩‍👩‍👧‍👦 family", True),
        ("دفتر/تقرير", True),
        ("in\u202egnp", False),
        ("a\u200bb", False),
        ("a\nb", False),
    ],
)
def test_a_file_may_be_named_by_joined_emoji_but_not_like_another_one(
    world: World, job_id: str, may_be: bool
):
    async def check(engine: Engine) -> None:
        if may_be:
            assert engine.job_folder.file_of(job_id) == world.jobs / f"{job_id}.yaml"
        else:
            with pytest.raises(Refused, match="can be no job's id"):
                engine.job_folder.file_of(job_id)

    world.run(check)
