"""What is kept of forgotten runs' directories: nothing that another run could see."""

import json
import os
import signal

from apsis_nb.core.programs import Process

from .serving import a_run, asynchronous, serving, shell, until

LOOK = 'ls -A "$TMPDIR" "$APSIS_OUTPUT_DIR" "$APSIS_RUN_DIR"'


def spares(root):
    return list(root.glob(".spare*"))


def inode(root, run_id):
    return (root / f"r{run_id}").stat().st_ino


async def forget(server, run_id):
    """Have a run's directory removed, and wait for it."""
    server.programs.forget(run_id)
    await until(lambda: not list(server.root.glob(".gone*")))


@asynchronous
async def test_a_directory_is_used_again_and_looks_new(root):
    async with serving(root) as server:
        await server.run(a_run(1, shell(LOOK)))
        new, first = server.output(1), inode(root, 1)
        await forget(server, 1)
        assert len(spares(root)) == 1
        await server.run(a_run(2, shell(LOOK)))
        assert inode(root, 2) == first
        assert server.output(2) == new.replace("/r1", "/r2")
        assert not spares(root)
        assert server.programs.ended(2).outcome == "success"


@asynchronous
async def test_a_directory_that_its_program_changed_is_not_used_again(root):
    async with serving(root) as server:
        changes = (
            "echo secret > $TMPDIR/file",
            "echo 1 > $APSIS_OUTPUT_DIR/more",
            "mkdir $TMPDIR/folder",
            "chmod 777 $TMPDIR",
            "rmdir $TMPDIR",
            "rmdir $TMPDIR; ln -s /tmp $TMPDIR",
            "rm $APSIS_OUTPUT_DIR/output",
            "touch $APSIS_RUN_DIR/mine",
        )
        for run_id, change in enumerate(changes, 1):
            await server.run(a_run(run_id, shell(change)))
            await forget(server, run_id)
            assert not spares(root), change
        assert sorted(path.name for path in root.iterdir()) == [".spawner.log"]


@asynchronous
async def test_what_was_meant_for_one_run_does_not_reach_the_next(root):
    async with serving(root) as server:
        run = a_run(1, shell("sleep 600"))
        await server.start(run)
        claimed = (root / "r1" / "record.jsonl").read_text().splitlines()[0]
        supervisor = json.loads(claimed)["claimed"]["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        for _ in range(3):
            server.programs.stop(run)
        os.kill(supervisor, signal.SIGCONT)
        await server.finished(1)
        await forget(server, 1)
        finished = await server.run(a_run(2, shell("sleep 0.1")))
        assert (finished.outcome, finished.message) == ("success", None)


@asynchronous
async def test_a_spare_that_went_away_is_no_loss(root):
    async with serving(root) as server:
        await server.run(a_run(1, shell("true")))
        await forget(server, 1)
        [spare] = spares(root)
        spare.rename(root / "elsewhere")
        finished = await server.run(a_run(2, shell(LOOK)))
        assert finished.outcome == "success"
        assert (root / "r2" / "record.jsonl").exists()


@asynchronous
async def test_no_more_are_kept_than_are_of_use(root):
    async with serving(root) as server:
        for run_id in range(1, 101):
            server.programs.start(a_run(run_id, Process(argv=("/bin/true",))))
        for run_id in range(1, 101):
            await server.finished(run_id)
        for run_id in range(1, 101):
            server.programs.forget(run_id)
        await until(lambda: not list(root.glob("r*")) and not list(root.glob(".gone*")))
        assert len(spares(root)) == 64
    async with serving(root):
        await until(lambda: not spares(root))
