"""Real programs: how they start, what they see, how they end, what is left of them."""

import json
import os
import shutil
import signal
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apsis_nb.core.events import ProgramFinished, ProgramStarted, SignalFailed
from apsis_nb.core.programs import Process, Stop, Timeout
from apsis_nb.core.runs import Instance
from apsis_nb.core.states import State

from .serving import DUE, a_run, asynchronous, is_alive, processes, serving, shell, until

WAIT = "read line < go"  # a program that waits: for a line in the named pipe `go` of its folder


def go(folder: Path) -> None:
    """Let the programs that `WAIT` go on."""
    with open(folder / "go", "w") as pipe:
        pipe.write("\n")


# --- How a run ends


@asynchronous
async def test_a_program_starts_and_ends_well(root):
    began = datetime.now(UTC)
    async with serving(root) as server:
        finished = await server.run(a_run(7, shell("echo hello")))
        [started] = server.events(ProgramStarted, 7)
    assert server.told == [started, finished]
    assert began - timedelta(seconds=1) < started.at <= finished.at <= datetime.now(UTC)
    assert started.run_state["pid"] > 1
    assert (finished.outcome, finished.message, finished.return_code) == ("success", None, 0)
    assert 0 < finished.elapsed_s < 30
    assert server.output(7) == "hello\n"


@pytest.mark.parametrize(
    ("command", "message", "return_code"),
    [
        ("exit 3", "exit code 3", 3),
        ("exit 255", "exit code 255", 255),
        ("kill -KILL $$", "killed by SIGKILL", -9),
        ("kill -SEGV $$", "killed by SIGSEGV", -11),
        ("kill -40 $$", "killed by signal 40", -40),
    ],
)
def test_a_program_that_ends_badly_is_a_failure(root, command, message, return_code):
    @asynchronous
    async def run(root):
        async with serving(root) as server:
            finished = await server.run(a_run(1, shell(command)))
        assert (finished.outcome, finished.message, finished.return_code) == ("failure", message, return_code)

    run(root)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (Process(argv=("no-such-program",)), "cannot start: No such file or directory: 'no-such-program'"),
        (Process(argv=("/no/such", "x")), "cannot start: No such file or directory: '/no/such'"),
        (Process(argv=("/etc/passwd",)), "cannot start: Permission denied: '/etc/passwd'"),
        (Process(argv=("/tmp",)), "cannot start: Permission denied: '/tmp'"),
        (shell("true", shell="/bin/nosh"), "cannot start: No such file or directory: '/bin/nosh'"),
        (
            shell("true", cwd="/no/dir"),
            "cannot start: working directory: No such file or directory: '/no/dir'",
        ),
        (shell("echo a\0b"), "cannot start: embedded null byte: '/bin/bash'"),
        (shell("true", env={"A=B": "c"}), "cannot start: illegal environment variable name: '/bin/bash'"),
        (shell("true", stop=Stop(signal="SIGNOPE")), "cannot start: unknown signal 'SIGNOPE'"),
        (shell("x" * 140_000), "cannot start: Argument list too long: '/bin/bash'"),
    ],
)
def test_a_program_that_cannot_be_started_is_an_error_that_says_why(root, program, message):
    @asynchronous
    async def run(root):
        async with serving(root) as server:
            finished = await server.run(a_run(1, program))
        assert server.told == [finished]  # it never started
        assert finished.outcome == "error"
        assert finished.message.startswith(message)
        assert (finished.return_code, finished.elapsed_s) == (None, None)

    run(root)


@asynchronous
async def test_a_run_folder_that_cannot_be_written_is_an_error_of_the_run(root):
    async with serving(root) as server:
        shutil.rmtree(root)
        finished = await server.run(a_run(1, shell("true")))
    assert finished.outcome == "error"
    assert finished.message == "cannot start: No such file or directory: run directory 'r1'"


# --- What it says


@asynchronous
async def test_output_can_be_read_while_it_grows(root):
    async with serving(root) as server:
        os.mkfifo(root / "go")
        command = f"echo one; echo two >&2; {WAIT}; echo three"
        await server.start(a_run(1, shell(command, cwd=str(root))))
        assert await server.output_with(1, "two") == "one\ntwo\n"
        assert server.programs.read_output(1) == (b"one\ntwo\n", 8)
        assert server.programs.read_output(1, offset=4) == (b"two\n", 8)
        assert server.programs.read_output(1, offset=2, limit=3) == (b"e\nt", 8)
        assert server.programs.read_output(1, offset=8) == (b"", 8)
        assert server.programs.outputs(1) == [("output", root / "r1" / "out" / "output")]
        go(root)
        await server.finished(1)
        assert server.programs.read_output(1, offset=8) == (b"three\n", 14)


@asynchronous
async def test_what_a_program_puts_into_its_output_folder_is_an_output(root):
    async with serving(root) as server:
        there = 'cd "$APSIS_OUTPUT_DIR"; echo 1 > b.csv; echo 2 > a.csv; '
        await server.run(a_run(1, shell(there + "mkdir d; ln -s /etc/passwd link; mkfifo p")))
        assert [name for name, _ in server.programs.outputs(1)] == ["output", "a.csv", "b.csv"]
        assert server.programs.read_output(1, "a.csv") == (b"2\n", 2)
        for name in ("link", "d", "p", "nope", "", "..", "../record.jsonl", "a\0b"):
            with pytest.raises(KeyError):
                server.programs.read_output(1, name)


@asynchronous
async def test_a_program_that_writes_too_much_is_stopped(root):
    async with serving(root, max_output_b=1_000_000) as server:
        finished = await server.run(a_run(1, shell("echo begin; yes")))
        assert finished.outcome == "failure"
        assert finished.message == "killed by SIGTERM (output larger than 1 MB)"
        stubborn = shell("trap '' TERM; yes", stop=Stop(grace_period_s=3600))
        finished = await server.run(a_run(2, stubborn))
        assert finished.message == "killed by SIGKILL (output larger than 1 MB)"


# --- What it sees


@asynchronous
async def test_a_program_sees_a_log_in_and_its_run_and_nothing_of_the_server(root):
    os.environ["SECRET_OF_THE_SERVER"] = "x"
    dump = "import json, os; print(json.dumps(dict(os.environ))); print(os.getcwd())"
    run = a_run(
        12,
        Process(
            argv=(sys.executable, "-c", dump), env={"MINE": "1", "BOTH": "program", "APSIS_JOB_ID": "no"}
        ),
        inst=Instance.of("team/report", {"date": "2026-01-31", "the-kind": 'a "b"'}),
        labels=("x", "ü"),
        nominal_at=DUE,
        scheduled_at=DUE + timedelta(seconds=1.5),
        attempt=2,
        cwd=str(root),
    )
    try:
        async with serving(
            root, url="http://127.0.0.1:5577", env={"CONFIG": "c", "BOTH": "config"}
        ) as server:
            await server.run(run)
            env_json, cwd = server.output(12).splitlines()
    finally:
        del os.environ["SECRET_OF_THE_SERVER"]
    env = json.loads(env_json)
    assert cwd == str(root)
    log_in = {name: env.pop(name) for name in ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG")}
    assert log_in["HOME"].startswith("/")
    assert log_in["USER"] == log_in["LOGNAME"] != ""
    assert log_in["PATH"].endswith("/usr/local/bin:/usr/bin:/bin")
    env.pop("LC_CTYPE", None)  # Python sets it in itself
    assert env == {
        "CONFIG": "c",
        "MINE": "1",
        "BOTH": "program",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(root / "r12" / "tmp"),
        "APSIS_RUN_ID": "r12",
        "APSIS_JOB_ID": "team/report",
        "APSIS_ARG_DATE": "2026-01-31",
        "APSIS_ARG_THE_KIND": 'a "b"',
        "APSIS_ARGS": '{"date":"2026-01-31","the-kind":"a \\"b\\""}',
        "APSIS_LABELS": '["x", "ü"]',
        "APSIS_NOMINAL_TIME": "2026-01-31T09:00:00Z",
        "APSIS_SCHEDULED_TIME": "2026-01-31T09:00:01.5Z",
        "APSIS_ATTEMPT": "2",
        "APSIS_RUN_DIR": str(root / "r12"),
        "APSIS_OUTPUT_DIR": str(root / "r12" / "out"),
        "APSIS_META_FILE": str(root / "r12" / "tmp" / "meta.json"),
        "APSIS_URL": "http://127.0.0.1:5577",
    }


@asynchronous
async def test_a_run_that_no_schedule_made_has_no_nominal_time_and_settings_may_be_changed(root):
    async with serving(root, env={"PYTHONUNBUFFERED": ""}) as server:
        await server.run(a_run(1, shell("env; pwd", env={"TMPDIR": "/var/tmp"})))
    lines = server.output(1).splitlines()
    assert "PYTHONUNBUFFERED=" in lines
    assert "TMPDIR=/var/tmp" in lines
    assert not [line for line in lines if line.startswith(("APSIS_NOMINAL_TIME", "APSIS_URL"))]
    assert lines[-1] == next(line for line in lines if line.startswith("HOME=")).removeprefix("HOME=")


@asynchronous
async def test_relative_folders_start_from_that_of_the_run(root):
    async with serving(root) as server:
        (root / "sub").mkdir()
        await server.run(a_run(1, shell("pwd", cwd="sub"), cwd=str(root)))
        await server.run(a_run(2, Process(argv=("./tool",), cwd="sub"), cwd=str(root)))
    assert server.output(1) == f"{root / 'sub'}\n"
    assert server.events(ProgramFinished, 2)[0].message == "cannot start: No such file or directory: './tool'"


@asynchronous
async def test_a_program_starts_with_a_clean_slate(root):
    """No signal ignored or blocked, no open file but the standard ones, a session of its own, no input."""
    code = """if True:
        import os
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
        print(status["SigIgn"], status["SigBlk"], status["Umask"])
        print(sorted(os.listdir("/proc/self/fd"))[:-1], os.getsid(0) == os.getpgid(0) == os.getpid())
        print(repr(open(0).read()))
    """
    async with serving(root) as server:
        await server.run(a_run(1, Process(argv=("/bin/cat", "/proc/self/status"))))
        await server.run(a_run(2, Process(argv=(sys.executable, "-I", "-S", "-c", code))))
    status = dict(line.split(":\t", 1) for line in server.output(1).splitlines())
    of_libc = (
        0b11 << 31
    )  # 32 and 33 are no program's: the C library leaves them ignored, and sets them as it needs
    assert int(status["SigIgn"], 16) & ~of_libc == int(status["SigBlk"], 16) == 0
    assert status["Umask"] == "0022"
    _, second, third = server.output(2).splitlines()
    assert second == "['0', '1', '2'] True"
    assert third == "''"


@asynchronous
async def test_only_what_is_the_programs_in_a_run_directory_belongs_to_it(root):
    async with serving(root) as server:
        os.mkfifo(root / "go")
        await server.start(a_run(1, shell(WAIT, cwd=str(root))))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (root, *(root / "r1").iterdir())}
        go(root)
        await server.finished(1)
    assert modes == {"runs": 0o711, "record.jsonl": 0o600, "control": 0o600, "out": 0o700, "tmp": 0o700}


@asynchronous
async def test_an_environment_too_long_for_a_message_arrives(root):
    env = {f"V{i}": "x" * 60_000 for i in range(5)}
    async with serving(root) as server:
        await server.run(a_run(1, shell("echo ${#V0} ${#V4}", env=env)))
        assert server.output(1) == "60000 60000\n"
        assert not list(root.glob(".spec*"))


# --- How it is stopped and signalled

STUBBORN = """
trap '' TERM
setsid bash -c "trap '' TERM; echo far \\$\\$; while :; do sleep 1; done" &
(trap '' TERM; while :; do sleep 1; done) & echo near $!
echo main $$
while :; do sleep 1; done
"""


async def pids_of(server, run_id, *names):
    """The process ids that a program wrote, by the name that it wrote before each."""
    for name in names:
        await server.output_with(run_id, name + " ")
    await until(lambda: server.output(run_id).count("\n") >= len(names))
    return {line.split()[0]: int(line.split()[1]) for line in server.output(run_id).splitlines()}


@asynchronous
async def test_a_stopped_program_that_will_not_go_is_killed_with_all_that_it_started(root):
    async with serving(root) as server:
        run = a_run(1, shell(STUBBORN, stop=Stop(grace_period_s=0.3)))
        await server.start(run)
        pids = await pids_of(server, 1, "far", "near", "main")
        assert all(is_alive(pid) for pid in pids.values())
        assert os.getsid(pids["far"]) != os.getsid(pids["main"])
        server.programs.stop(run)
        finished = await server.finished(1)
        assert not any(is_alive(pid) for pid in pids.values())
    assert (finished.outcome, finished.message, finished.return_code) == ("failure", "stopped by SIGKILL", -9)
    assert 0.3 <= finished.elapsed_s < 20


@pytest.mark.parametrize(
    ("command", "stop", "outcome", "message", "return_code"),
    [
        ("sleep 600", Stop(), "failure", "stopped by SIGTERM", -15),
        ("sleep 600", Stop(signal="USR1"), "failure", "stopped by SIGUSR1", -10),
        (
            "trap 'exit 0' TERM; echo up; sleep 600 & wait",
            Stop(),
            "success",
            "exit code 0 (stopped by SIGTERM)",
            0,
        ),
        (
            "trap 'exit 4' TERM; echo up; sleep 600 & wait",
            Stop(),
            "failure",
            "exit code 4 (stopped by SIGTERM)",
            4,
        ),
        (
            "trap 'kill -HUP $$' TERM; echo up; sleep 600 & wait",
            Stop(),
            "failure",
            "killed by SIGHUP (stopped by SIGTERM)",
            -1,
        ),
    ],
)
def test_a_stopped_run_says_so(root, command, stop, outcome, message, return_code):
    @asynchronous
    async def run(root):
        async with serving(root) as server:
            run = a_run(1, shell(command, stop=stop))
            await server.start(run)
            if "up" in command:
                await server.output_with(1, "up")
            server.programs.stop(run)
            server.programs.stop(run)  # once more does no harm
            finished = await server.finished(1)
        assert (finished.outcome, finished.message, finished.return_code) == (outcome, message, return_code)

    run(root)


@asynchronous
async def test_the_children_of_a_stopped_shell_have_the_grace_period_too(root):
    child = "trap 'sleep 0.2; echo cleaned; exit' TERM; echo up; while :; do sleep 0.01; done"
    async with serving(root) as server:
        run = a_run(1, shell(f'bash -c "{child}"; echo never'))
        await server.start(run)
        await server.output_with(1, "up")
        server.programs.stop(run)
        await server.finished(1)
    assert server.output(1).endswith("cleaned\n")


@asynchronous
async def test_a_stop_that_comes_before_the_start_is_not_lost(root):
    async with serving(root) as server:
        run = a_run(1, shell("sleep 600"))
        server.programs.start(run)
        server.programs.stop(run)
        assert (await server.finished(1)).message == "stopped by SIGTERM"


@asynchronous
async def test_a_program_that_takes_too_long_is_a_failure(root):
    async with serving(root) as server:
        slow = shell("sleep 600", timeout=Timeout(duration_s=0.2))
        polite = shell(
            "trap 'exit 0' INT; sleep 600 & wait", timeout=Timeout(duration_s=0.2, signal="SIGINT")
        )
        deaf = shell(
            "trap '' TERM; sleep 600", stop=Stop(grace_period_s=0.2), timeout=Timeout(duration_s=0.2)
        )
        for run_id, program in enumerate((slow, polite, deaf), 1):
            server.programs.start(a_run(run_id, program))
        ends = [await server.finished(run_id) for run_id in (1, 2, 3)]
    assert [(end.outcome, end.message, end.return_code) for end in ends] == [
        ("failure", "killed by SIGTERM (timeout after 0.2 s)", -15),
        ("failure", "exit code 0 (timeout after 0.2 s)", 0),
        ("failure", "killed by SIGKILL (timeout after 0.2 s)", -9),
    ]
    assert ends[0].elapsed_s >= 0.2
    assert ends[2].elapsed_s >= 0.4


#: Ignores SIGTERM, and so does the daemon that it starts, an orphan of another session. Both close all files.
HIDDEN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
names = {"main": os.getpid()}
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.write(writing, str(os.getpid()).encode())
        os.closerange(0, 64)
        while True:
            signal.pause()
    os._exit(0)
os.wait()
names["daemon"] = int(os.read(reading, 100))
with open("pids", "w") as file:
    file.writelines(f"{name} {pid}\\n" for name, pid in names.items())
os.rename("pids", "ready")
os.closerange(0, 64)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("asks", ["stop", "timeout", "a later server"])
def test_what_hides_from_its_run_is_ended_with_it(root, asks):
    @asynchronous
    async def run(root):
        folder = root.parent
        timeout = Timeout(duration_s=2) if asks == "timeout" else None
        argv = (sys.executable, "-I", "-S", "-c", HIDDEN)
        program = Process(argv=argv, stop=Stop(grace_period_s=0.2), timeout=timeout)
        run = a_run(1, program, cwd=str(folder))
        async with serving(root) as server:
            started = await server.start(run)
            await until(lambda: (folder / "ready").exists())
            pids = [int(line.split()[1]) for line in (folder / "ready").read_text().splitlines()]
            assert [is_alive(pid) for pid in pids] == [True, True]
            if asks == "stop":
                server.programs.stop(run)
            finished = None if asks == "a later server" else await server.finished(1)
        if finished is None:
            async with serving(root) as server:
                found = run.moved(State.RUNNING, started.at, run_state=started.run_state)
                server.programs.resume(found)
                server.programs.stop(found)
                finished = await server.finished(1)
        assert [is_alive(pid) for pid in pids] == [False, False]
        said = "killed by SIGKILL (timeout after 2 s)" if asks == "timeout" else "stopped by SIGKILL"
        assert (finished.outcome, finished.message, finished.return_code) == ("failure", said, -9)

    run(root)


@asynchronous
async def test_a_program_that_is_in_time_is_not_harmed_by_its_timeout(root):
    async with serving(root) as server:
        finished = await server.run(a_run(1, shell("true", timeout=Timeout(duration_s=60))))
    assert (finished.outcome, finished.message) == ("success", None)


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "sigusr1", str(int(signal.SIGUSR1))])
def test_a_program_can_be_signalled_by_name_and_number(root, name):
    @asynchronous
    async def run(root):
        async with serving(root) as server:
            await server.start(a_run(1, shell("trap 'echo got it; exit 5' USR1; echo up; sleep 600 & wait")))
            await server.output_with(1, "up")
            server.programs.signal(1, name)
            assert (await server.finished(1)).message == "exit code 5"
            assert server.output(1) == "up\ngot it\n"

    run(root)


@asynchronous
async def test_a_signal_that_cannot_be_sent_is_told(root):
    async with serving(root) as server:
        run = a_run(1, shell("sleep 600"))
        await server.start(run)
        server.programs.signal(1, "SIGNOPE")
        assert server.told[1:] == []  # never from within the call
        failed = await server.told_of(SignalFailed, 1)
        assert failed.message == "unknown signal 'SIGNOPE': a name such as SIGTERM or USR1, or a number"
        server.programs.signal(1, "99")
        await until(lambda: len(server.events(SignalFailed, 1)) == 2)
        server.programs.stop(run)
        await server.finished(1)
        server.programs.signal(1, "USR1")
        await until(lambda: len(server.events(SignalFailed, 1)) == 3)
        assert server.told[-1].message == "its program does not run"


# --- What is left


@asynchronous
async def test_a_run_ends_with_its_main_process_and_leaves_nothing_behind(root):
    daemon = "setsid bash -c 'echo daemon $$; exec sleep 600' & sleep 600 & echo child $!"
    async with serving(root) as server:
        command = f'({daemon}); until grep -q daemon "$APSIS_OUTPUT_DIR/output"; do sleep 0.01; done'
        finished = await server.run(a_run(1, shell(command)))
        pids = await pids_of(server, 1, "daemon", "child")
        assert not any(is_alive(pid) for pid in pids.values())
    assert finished.outcome == "success"


@asynchronous
async def test_a_long_runs_orphans_do_not_stay_as_zombies(root):
    async with serving(root) as server:
        os.mkfifo(root / "go")
        started = await server.start(a_run(1, shell(f"(true & echo orphan $!) ; {WAIT}", cwd=str(root))))
        orphan = (await pids_of(server, 1, "orphan"))["orphan"]
        await until(lambda: not os.path.exists(f"/proc/{orphan}"))
        assert is_alive(started.run_state["pid"])
        go(root)
        await server.finished(1)


@asynchronous
async def test_what_a_program_used_is_kept_until_it_is_forgotten(root):
    async with serving(root) as server:
        burn = "import time\nwhile time.process_time() < 0.1: pass"
        await server.run(a_run(1, Process(argv=(sys.executable, "-I", "-S", "-c", burn))))
        ended = server.programs.ended(1)
        assert ended.outcome == "success"
        assert 0.1 <= ended.cpu_s < 5
        assert 1e6 < ended.max_rss_b < 1e9
        server.programs.forget(1)
        assert server.programs.ended(1) is None
        assert server.programs.outputs(1) == []
        with pytest.raises(KeyError):
            server.programs.read_output(1)
        await until(lambda: not list(root.glob("r1")) and not list(root.glob(".gone*")))


@asynchronous
async def test_two_hundred_quick_runs_all_end_and_leave_nothing(root):
    async with serving(root) as server:
        before = len(os.listdir("/proc/self/fd"))
        for run_id in range(1, 201):
            server.programs.start(a_run(run_id, Process(argv=("/bin/sh", "-c", f"exit {run_id % 3}"))))
        ends = [await server.finished(run_id) for run_id in range(1, 201)]
        codes = [run_id % 3 for run_id in range(1, 201)]
        assert [(end.return_code, end.message) for end in ends] == [
            (code, f"exit code {code}" if code else None) for code in codes
        ]
        assert len(server.told) == 400
        for run_id in range(1, 201):
            assert server.events(ProgramStarted, run_id)
            server.programs.forget(run_id)
        await until(lambda: not list(root.glob("r*")) and not list(root.glob(".gone*")))
        await until(lambda: len(processes(root)) == 1)  # the spawner
        assert len(os.listdir("/proc/self/fd")) == before


@asynchronous
async def test_a_spawner_that_dies_is_replaced_and_costs_no_run(root):
    async with serving(root) as server:
        os.mkfifo(root / "go")
        [spawner] = processes(root)
        await server.start(a_run(1, shell(f"{WAIT}; exit 6", cwd=str(root))))
        os.kill(spawner, signal.SIGSTOP)
        for run_id in range(2, 6):
            server.programs.start(a_run(run_id, shell(f"echo x >> {root}/ran; exit 7")))
        os.kill(spawner, signal.SIGKILL)
        ends = [await server.finished(run_id) for run_id in range(2, 6)]
        assert [end.return_code for end in ends] == [7, 7, 7, 7]
        assert (root / "ran").read_text() == "x\n" * 4
        go(root)
        assert (await server.finished(1)).return_code == 6
        assert spawner not in processes(root)


@asynchronous
async def test_a_server_that_closes_leaves_its_programs_alone(root):
    async with serving(root) as server:
        os.mkfifo(root / "go")
        started = await server.start(a_run(1, shell(f"{WAIT}; echo done", cwd=str(root))))
    assert is_alive(started.run_state["pid"])
    go(root)
    await until(lambda: not processes(root))
    assert (root / "r1" / "out" / "output").read_text() == "done\n"


@asynchronous
async def test_a_start_does_not_wait(root):
    """Hundreds of starts while the spawner stands still: they queue, and all are done in the end."""
    async with serving(root) as server:
        [spawner] = processes(root)
        os.kill(spawner, signal.SIGSTOP)
        for run_id in range(1, 601):
            env = {"PAD": "x" * 2000}
            server.programs.start(a_run(run_id, Process(argv=("/no/such",), env=env)))
        os.kill(spawner, signal.SIGCONT)
        ends = [await server.finished(run_id) for run_id in range(1, 601)]
        assert {end.outcome for end in ends} == {"error"}
