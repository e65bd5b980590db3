"""After a crash: what became of the programs is found out, and told truly; none is started twice."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from apsis_nb.core.events import ProgramFinished, ProgramStarted
from apsis_nb.core.programs import Stop
from apsis_nb.core.states import State
from apsis_nb.programs.rundir import RunDir
from apsis_nb.programs.supervisor import FORMAT

from .serving import DUE, PATIENCE_S, Serving, a_run, asynchronous, is_alive, processes, serving, shell, until

TOP = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def server_to_kill(root, *commands):
    """A server in another process that runs these commands as runs 1, 2 ...; killed in the end."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.programs.server_to_kill",
        str(root),
        *commands,
        cwd=TOP,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.communicate()


async def says(server, *lines):
    """Wait until a server in another process has said all of these."""
    left = set(lines)
    async with asyncio.timeout(PATIENCE_S):
        while left:
            left.discard((await server.stdout.readline()).decode().strip())


async def kill(server):
    """SIGKILL to a server, and to its spawner: all that may die in a crash but the supervisors."""
    server.kill()
    await server.wait()


def record(root, run_id):
    """What a supervisor has written down."""
    facts = {}
    for line in (root / f"r{run_id}" / "record.jsonl").read_text().splitlines():
        facts |= json.loads(line)
    return facts


def rewrite(root, run_id, **claimed):
    """Change the claim of a run, in place."""
    path = root / f"r{run_id}" / "record.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["claimed"] |= claimed
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def go(root):
    with open(root / "go", "w") as pipe:
        pipe.write("\n")


# --- The five cases


@asynchronous
async def test_a_run_without_a_directory_never_started_and_is_started(root):
    async with serving(root) as server:
        server.programs.resume(a_run(1, shell("echo ran")))
        finished = await server.finished(1)
    assert [type(event) for event in server.told] == [ProgramStarted, ProgramFinished]
    assert finished.outcome == "success"
    assert server.output(1) == "ran\n"


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_a_program_that_runs_is_found_again(root, state):
    @asynchronous
    async def run(root):
        root.mkdir()
        os.mkfifo(root / "go")
        command = f"echo begin >> {root}/ran; read line < {root}/go; exit 5"
        async with server_to_kill(root, command) as killed:
            await says(killed, "ProgramStarted 1")
            await kill(killed)
        async with serving(root) as server:
            server.programs.resume(a_run(1, shell(command), state, started_at=DUE))
            if state is State.STARTING:
                started = await server.told_of(ProgramStarted, 1)
                assert started.run_state["pid"] == record(root, 1)["started"]["pid"]
            go(root)
            finished = await server.finished(1)
        assert len(server.events(ProgramStarted, 1)) == (state is State.STARTING)
        assert (finished.outcome, finished.message, finished.return_code) == ("failure", "exit code 5", 5)
        assert (root / "ran").read_text() == "begin\n"

    run(root)


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_a_program_that_ended_meanwhile_has_its_true_end(root, state):
    @asynchronous
    async def run(root):
        async with server_to_kill(root, "exit 0", "exit 9", "kill -9 $$", "sleep 0.3; exit 4") as killed:
            await says(killed, *(f"ProgramStarted {run_id}" for run_id in (1, 2, 3, 4)))
            await kill(killed)
        await until(lambda: not processes(root))
        async with serving(root) as server:
            for run_id in (1, 2, 3, 4):
                server.programs.resume(a_run(run_id, shell("never"), state, started_at=DUE))
            assert server.told == []  # nothing from within a call
            ends = [await server.finished(run_id) for run_id in (1, 2, 3, 4)]
        assert [end.return_code for end in ends] == [0, 9, -9, 4]
        assert ends[3].elapsed_s >= 0.3
        for run_id, end in enumerate(ends, 1):
            assert end.at.timestamp() == pytest.approx(record(root, run_id)["ended"]["at"], abs=1e-5)
            assert len(server.events(ProgramStarted, run_id)) == (state is State.STARTING)
            assert server.told[-1 if run_id == 4 else server.told.index(end)] == end

    run(root)


@asynchronous
async def test_a_run_whose_supervisor_was_lost_is_an_error_and_nothing_of_it_is_left(root):
    daemon = "setsid bash -c 'echo far $$; exec sleep 600' & echo near $$; env -i sleep 600; true"
    async with server_to_kill(root, daemon) as killed:
        await says(killed, "ProgramStarted 1")
        output = root / "r1" / "out" / "output"
        await until(lambda: output.read_text().count("\n") == 2)
        await kill(killed)
    supervisor = record(root, 1)["claimed"]["pid"]
    await until(lambda: len(processes(root)) == 3)  # supervisor, shell, daemon; `env -i` left no mark
    pids = {int(line.split()[1]) for line in output.read_text().splitlines()}
    session = {int(name) for name in os.listdir("/proc") if name.isdecimal() and session_of(name) in pids}
    assert len(session) == 3
    os.kill(supervisor, signal.SIGKILL)
    await until(lambda: not is_alive(supervisor))
    assert all(is_alive(pid) for pid in session)
    async with serving(root) as server:
        server.programs.resume(a_run(1, shell("never"), State.RUNNING))
        finished = await server.finished(1)
        assert not any(is_alive(pid) for pid in session)
    assert server.told == [finished]
    assert (finished.outcome, finished.message, finished.return_code) == ("error", "supervisor lost", None)


def session_of(pid):
    try:
        return os.getsid(int(pid))
    except OSError:
        return None


@asynchronous
async def test_a_supervisor_that_is_lost_while_the_server_runs_is_noticed(root):
    async with serving(root) as server:
        started = await server.start(a_run(1, shell("exec sleep 600")))
        os.kill(record(root, 1)["claimed"]["pid"], signal.SIGKILL)
        finished = await server.finished(1)
    assert (finished.outcome, finished.message) == ("error", "supervisor lost")
    assert not is_alive(started.run_state["pid"])


@asynchronous
async def test_a_run_that_an_old_spawner_claims_first_is_found_and_not_started_twice(root):
    command = f"echo ran >> {root}/ran; read line < {root}/go; exit 5"
    async with serving(root) as old:
        os.mkfifo(root / "go")
        [old_spawner] = processes(root)
        async with serving(root) as server:
            [spawner] = processes(root) - {old_spawner}
            os.kill(spawner, signal.SIGSTOP)
            server.programs.resume(
                a_run(1, shell(command))
            )  # no directory yet: asks its spawner, which sleeps
            await old.start(a_run(1, shell(command)))  # what stood in the old spawner's queue
            os.kill(spawner, signal.SIGCONT)
            await server.told_of(ProgramStarted, 1)
            go(root)
            finished = await server.finished(1)
    assert finished.return_code == 5
    assert (root / "ran").read_text() == "ran\n"


@asynchronous
async def test_an_old_spawner_that_comes_late_does_not_start_a_run_again_even_when_it_is_forgotten(root):
    command = f"echo ran >> {root}/ran"
    async with serving(root) as old:
        [old_spawner] = processes(root)
        os.kill(old_spawner, signal.SIGSTOP)
        old.programs.start(a_run(1, shell(command)))
        async with serving(root) as server:
            server.programs.resume(a_run(1, shell(command)))
            await server.finished(1)
            server.programs.forget(1)
            await until(lambda: os.listdir(root / "r1") == ["record.jsonl"])
            os.kill(old_spawner, signal.SIGCONT)
            await old.programs.close()  # the spawner leaves when it has done what stood in its queue
            await until(lambda: len(processes(root)) == 1)
    assert (root / "ran").read_text() == "ran\n"
    async with serving(root) as next_server:
        assert next_server.programs.leftovers() == [1]
        next_server.programs.forget(1)
        await until(lambda: not (root / "r1").exists())


# --- What else a crash leaves


@asynchronous
async def test_a_run_of_an_earlier_boot_is_lost_and_no_process_is_touched(root):
    async with serving(root) as server:
        started = await server.start(a_run(1, shell("exec sleep 600")))
        pid = started.run_state["pid"]
    rewrite(root, 1, boot_id="another")
    async with serving(root) as server:
        server.programs.resume(a_run(1, shell("never"), State.RUNNING))
        finished = await server.finished(1)
        assert (finished.outcome, finished.message) == (
            "error",
            "supervisor lost: the machine was started anew",
        )
        assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


@asynchronous
async def test_a_run_whose_record_did_not_survive_a_loss_of_power_is_lost(root):
    for run_id, text in ((1, ""), (2, "\0" * 60), (3, '{"claimed": {"for'), (4, "[]\n{}\n")):
        (root / f"r{run_id}").mkdir(parents=True)
        (root / f"r{run_id}" / "record.jsonl").write_text(text)
    (root / "r5").mkdir()
    async with serving(root) as server:
        for run_id in (1, 2, 3, 4, 5):
            server.programs.resume(a_run(run_id, shell("never"), State.RUNNING))
            finished = await server.finished(run_id)
            assert (finished.outcome, finished.message) == (
                "error",
                "supervisor lost: the machine was started anew",
            )


def test_a_run_that_is_claimed_while_one_looks_is_never_taken_for_lost(tmp_path):
    claimed = json.dumps({"claimed": {"format": 1, "pid": 1, "boot_id": "x"}}) + "\n"
    for run_id in range(500):
        (tmp_path / f".new-{run_id}").mkdir()
        (tmp_path / f".new-{run_id}" / "record.jsonl").write_text(claimed)

    def claim():
        for run_id in range(500):
            (tmp_path / f".new-{run_id}").rename(tmp_path / f"r{run_id}")

    claiming = threading.Thread(target=claim)
    claiming.start()
    for run_id in range(500):
        there = RunDir(tmp_path, run_id)
        while (record := there.record()) is None:
            pass
        assert record.claimed is not None
    claiming.join()


@asynchronous
async def test_a_directory_of_a_later_release_is_not_guessed_at(root):
    async with serving(root) as server:
        await server.run(a_run(1, shell("true")))
        rewrite(root, 1, format=FORMAT + 1)
        server.told.clear()
        server.programs.resume(a_run(1, shell("never"), State.RUNNING))
        finished = await server.finished(1)
        assert finished.outcome == "error"
        assert finished.message == (
            f"unknown outcome: its run directory has format {FORMAT + 1}, this release reads up to {FORMAT}"
        )


@asynchronous
async def test_a_running_run_whose_directory_is_gone_is_not_started_again(root):
    async with serving(root) as server:
        server.programs.resume(a_run(1, shell(f"echo ran > {root}/ran"), State.RUNNING))
        finished = await server.finished(1)
    assert (finished.outcome, finished.message) == ("error", "supervisor lost: its run directory is gone")
    assert not (root / "ran").exists()


@asynchronous
async def test_a_grace_period_goes_on_while_there_is_no_server(root):
    async with server_to_kill(
        root, "trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done"
    ) as killed:
        await says(killed, "ProgramStarted 1")
        await until(lambda: (root / "r1" / "out" / "output").read_text() == "up\n")
        killed.stdin.write(b"stop 1\n")
        await killed.stdin.drain()
        await until(lambda: "asked" in (root / "r1" / "out" / "output").read_text())
        await kill(killed)
    await until(lambda: not processes(root))  # killed after the grace period
    async with serving(root) as server:
        server.programs.resume(a_run(1, shell("never"), State.STOPPING, started_at=DUE))
        assert (await server.finished(1)).message == "stopped by SIGKILL"


@asynchronous
async def test_a_stop_that_the_last_server_saved_but_did_not_send_is_sent(root):
    async with server_to_kill(root, "exec sleep 600") as killed:
        await says(killed, "ProgramStarted 1")
        await kill(killed)
    async with serving(root) as server:
        server.programs.resume(a_run(1, shell("exec sleep 600"), State.STOPPING, started_at=DUE))
        assert (await server.finished(1)).message == "stopped by SIGTERM"


@asynchronous
async def test_a_program_found_again_can_be_stopped_signalled_and_read(root):
    command = "trap 'echo usr1' USR1; trap '' TERM; echo up; while :; do sleep 0.05; done"
    async with server_to_kill(root, command) as killed:
        await says(killed, "ProgramStarted 1")
        await until(lambda: (root / "r1" / "out" / "output").read_text() == "up\n")
        await kill(killed)
    async with serving(root) as server:
        run = a_run(1, shell(command, stop=Stop(grace_period_s=0.5)), State.RUNNING, started_at=DUE)
        server.programs.resume(run)
        server.programs.signal(1, "USR1")
        await server.output_with(1, "usr1")
        server.programs.stop(run)
        assert (await server.finished(1)).message == "stopped by SIGKILL"


@asynchronous
async def test_killing_the_server_while_it_starts_programs_loses_none_and_starts_none_twice(root):
    commands = [f"echo {i} >> {root}/ran; exit {i}" for i in range(1, 41)]
    async with server_to_kill(root, *commands) as killed:
        await says(killed, "ProgramFinished 3")
        await kill(killed)
    async with serving(root) as server:
        for run_id, command in enumerate(commands, 1):
            server.programs.resume(a_run(run_id, shell(command)))
        ends = [await server.finished(run_id) for run_id in range(1, 41)]
    assert [end.return_code for end in ends] == list(range(1, 41))
    assert sorted(int(line) for line in (root / "ran").read_text().split()) == list(range(1, 41))


@asynchronous
async def test_what_a_server_that_died_in_its_sleep_had_asked_for_is_done(root):
    commands = [f"echo {i} >> {root}/ran" for i in range(1, 41)]
    async with server_to_kill(root, *commands) as killed:
        await says(killed, "ProgramStarted 1")
        killed.send_signal(signal.SIGSTOP)  # it reads no more of what it is told
        await until(lambda: len(list(root.glob("r*"))) > 10)
        await kill(killed)
    # All of them first: while one process makes the next, a list of all that there are may have neither.
    ran = root / "ran"
    await until(lambda: ran.exists() and ran.read_text().count("\n") >= len(commands))
    await until(lambda: not processes(root))
    assert sorted(int(line) for line in ran.read_text().split()) == list(range(1, 41))


@asynchronous
async def test_what_a_crash_left_half_made_is_removed(root):
    for name in (".gone-r1-5-0", ".new-r2-4194305-17"):  # no process has an id as high
        (root / name / "out").mkdir(parents=True)
    (root / f".new-r3-{os.getpid()}-17").mkdir()  # its maker may be at it
    (root / ".spec-5-0").write_text("{}")
    async with serving(root):
        await until(lambda: len(os.listdir(root)) == 2)
    assert sorted(os.listdir(root)) == [f".new-r3-{os.getpid()}-17", ".spawner.log"]


@asynchronous
async def test_finished_runs_that_were_never_forgotten_are_told(root):
    async with serving(root) as server:
        await server.run(a_run(1, shell("true")))
        await server.run(a_run(2, shell("true")))
        started = await server.start(a_run(3, shell("exec sleep 600")))
        assert server.programs.leftovers() == [1, 2]
        await until(lambda: len(processes(root)) == 3)
    async with serving(root) as server:
        server.programs.resume(a_run(2, shell("never"), State.RUNNING))
        assert server.programs.leftovers() == [1]  # 2 was resumed, 3 runs
        os.kill(started.run_state["pid"], signal.SIGKILL)
        await until(lambda: server.programs.leftovers() == [1, 3])


def test_no_spawner_can_be_opened_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").touch()

    async def run():
        server = Serving(tmp_path / "file" / "runs")
        with pytest.raises(NotADirectoryError):
            await server.programs.open()

    asyncio.run(run())
