"""Programs of another account: on this machine, with an account that the tests make and remove."""

import asyncio
import functools
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from apsis_nb.core.programs import KeptFile, Process, PythonCall, Resources
from apsis_nb.core.runs import Instance
from tests.conftest import needs
from tests.engine.serving import Server, wait_for

from .serving import a_run, asynchronous, is_alive, serving, shell, until

NAME = f"apsis-nb-{os.getpid()}"


@pytest.fixture(scope="module", autouse=True)
def account() -> Iterator[pwd.struct_passwd]:
    """A second account of this machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can make an account")
    subprocess.run([needs("useradd"), "--create-home", "--shell", "/bin/sh", NAME], check=True)
    try:
        yield pwd.getpwnam(NAME)
    finally:
        subprocess.run([needs("userdel"), "--remove", NAME], check=True, stderr=subprocess.DEVNULL)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that other accounts may pass through; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


#: Stands for sudo where root has no need of it: takes the same words, and does the same.
SUDO = """#!/bin/bash
[[ "$1 $2 $4" == "-n -u --" ]] || exit 1
account="$3"
shift 4
exec setpriv --reuid "$account" --regid "$account" --init-groups --reset-env -- "$@"
"""


def either_way(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a coroutine a test: of a folder of run directories, and a server that runs other accounts."""

    @pytest.mark.parametrize("by", ["right", "sudo"])
    def run(root: Path, by: str) -> None:
        options = {}
        if by == "sudo":
            needs("setpriv")
            path = root.parent / "sudo"
            path.write_text(SUDO)
            path.chmod(0o755)
            options["sudo"] = (str(path), "-n")
        asyncio.run(test(root, functools.partial(serving, root, **options)))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@either_way
async def test_it_has_the_environment_of_a_log_in_of_its_account_and_nothing_of_the_server(root, serving):
    os.environ["SECRET_OF_TEST"] = "x"
    command = "import json, os; print(json.dumps([dict(os.environ), os.getuid(), os.getgroups()]))"
    try:
        async with serving(env={"TEAM": "a"}) as server:
            program = Process(argv=("/usr/bin/env", "python3", "-c", command), user=NAME)
            finished = await server.run(a_run(1, program))
            assert (finished.outcome, finished.message) == ("success", None)
            env, uid, groups = json.loads(server.output(1))
    finally:
        del os.environ["SECRET_OF_TEST"]
    entry = pwd.getpwnam(NAME)
    theirs = {name: value for name, value in env.items() if not name.startswith("APSIS_")}
    assert theirs.pop("TMPDIR") == str(root / "r1" / "tmp")
    assert theirs == {
        "HOME": f"/home/{NAME}",
        "USER": NAME,
        "LOGNAME": NAME,
        "SHELL": "/bin/sh",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "TEAM": "a",
    }
    assert (uid, groups) == (entry.pw_uid, [entry.pw_gid])


@asynchronous
async def test_its_folders_are_its_own_and_what_it_leaves_is_kept(root):
    command = (
        'cd "$APSIS_OUTPUT_DIR" && echo a > a.csv && echo b > "$TMPDIR/b" && echo c > /dev/stdout && id -un'
    )
    async with serving(root) as server:
        run = a_run(1, shell(command, user=NAME))
        assert (await server.run(run)).outcome == "success"
        uid = pwd.getpwnam(NAME).pw_uid
        facts = {name: os.stat(root / "r1" / name) for name in ("out", "tmp", ".", "record.jsonl")}
        assert [(f.st_uid, stat.S_IMODE(f.st_mode)) for f in facts.values()] == [
            (uid, 0o700),
            (uid, 0o700),
            (0, 0o711),
            (0, 0o600),
        ]
        assert server.output(1) == f"c\n{NAME}\n"
        assert server.programs.read_output(1, "a.csv")[0] == b"a\n"
        server.programs.forget(1)
        await until(lambda: not list(root.glob(".gone*")))
        assert not list(root.glob(".spare*"))  # what another account had is for nobody else


@either_way
async def test_it_starts_in_its_home_unless_told_and_may_not_go_where_its_account_may_not(root, serving):
    async with serving() as server:
        await server.run(a_run(1, shell("pwd", user=NAME)))
        assert server.output(1) == f"/home/{NAME}\n"
        closed = root.parent / "closed"
        closed.mkdir(mode=0o700)
        refused = await server.run(a_run(2, shell("pwd", user=NAME), cwd=str(closed)))
        assert refused.outcome == "error"
        assert refused.message == f"cannot start: working directory: Permission denied: '{closed}'"
        (closed / "secret.env").write_text("A=1\n")
        sneaky = shell("echo $A", user=NAME, env_file=str(closed / "secret.env"), cwd="/")
        refused = await server.run(a_run(3, sneaky))
        assert refused.message == f"cannot start: env file: Permission denied: '{closed}/secret.env'"


def test_a_server_of_root_lets_it_come_to_its_folders_and_to_nothing_else(tmp_path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    look = "id -un; cd $APSIS_RUN_DIR/../../..; ls; cat runs.duckdb token; pwd > $APSIS_OUTPUT_DIR/x"
    (jobs / "a.yaml").write_text(f"program: {{type: shell, command: '{look}'}}\nuser: {NAME}\n")
    server = Server(jobs, tmp_path / "state").start()
    try:
        (run,) = server.post("/api/v1/runs", {"job_id": "a"}).json()["runs"]
        path = f"/api/v1/runs/{run['run_id']}"
        facts = wait_for("it ends", lambda: _if_finished(server.get(path).json()))
        lines = server.get(f"{path}/outputs/output").text.splitlines()
        assert (facts["state"], facts["message"]) == ("success", None)
        assert lines[0] == NAME
        assert sum("Permission denied" in line for line in lines) == len(lines) - 1 == 3
        assert server.get(f"{path}/outputs/x").text == f"{tmp_path / 'state'}\n"
        made = {"If-None-Match": "*", "Authorization": f"Bearer {server.token}"}
        text = f"program: pwd\nuser: {NAME}\n"
        put = httpx2.put(f"{server.url}/api/v1/yaml/new/b", content=text, headers=made, trust_env=False)
        assert put.status_code == 200
        (run,) = server.post("/api/v1/runs", {"job_id": "new/b"}).json()["runs"]
        facts = wait_for("it ends", lambda: _if_finished(server.get(f"/api/v1/runs/{run['run_id']}").json()))
        assert facts["state"] == "success"
    finally:
        server.stop()


def _if_finished(facts):
    return facts if facts["finished_at"] else None


@either_way
async def test_an_account_that_there_is_not_is_an_error_in_one_sentence(root, serving):
    async with serving() as server:
        finished = await server.run(a_run(1, shell("id", user="no-such-account")))
        assert finished.outcome == "error"
        assert finished.message == "cannot start: this machine has no account 'no-such-account'"


@asynchronous
async def test_a_folder_uses_only_the_accounts_that_the_configuration_gives_it(root):
    accounts = {"team": (NAME,), "team/close": ("root",), "": ("daemon",)}
    job_ids = {
        1: "team/job",
        2: "team/close/job",
        3: "team/close",
        4: "teams/job",
        5: "adhoc-1",
        6: "team/a/b",
    }
    async with serving(root, accounts=accounts) as server:
        ended = {}
        for n, job_id in job_ids.items():
            run = a_run(n, shell("id -un", user=NAME), inst=Instance(job_id))
            ended[n] = (await server.run(run)).message
        assert [n for n in ended if ended[n] is None or "account" not in ended[n]] == [1, 6]
        assert ended[2] == (
            f"cannot start: team/close/job may not use the account {NAME}: "
            "'accounts' in the configuration says who may"
        )
        own = await server.run(a_run(7, shell("id -un", user="root"), inst=Instance("adhoc-2")))
        assert own.outcome == "success"  # the server's own


@either_way
async def test_run_folders_that_it_cannot_come_to_are_told(root, serving):
    root.parent.chmod(0o700)
    async with serving() as server:
        finished = await server.run(a_run(1, shell("id", user=NAME)))
        assert finished.message == (
            f"cannot start: {NAME} may not pass '{root.parent}' on the way to the run's folders: "
            "give the server another state_dir"
        )


@asynchronous
async def test_the_server_s_own_account_needs_nothing_special(root):
    async with serving(root) as server:
        await server.run(a_run(1, shell("id -un", user="root")))
        assert server.output(1) == "root\n"


@either_way
async def test_it_is_stopped_with_all_that_it_started(root, serving):
    command = "setsid sh -c 'trap \"\" TERM; echo $$ begun; exec 3<>$APSIS_RUN_DIR/tmp/x; sleep 600' & wait"
    async with serving() as server:
        run = a_run(1, shell(command, user=NAME, pty=False))
        await server.start(run)
        pid = int((await server.output_with(1, "begun")).split()[0])
        assert os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam(NAME).pw_uid
        server.programs.stop(run)
        assert (await server.finished(1)).message == "stopped by SIGTERM"
        assert not is_alive(pid)


@either_way
async def test_bounds_and_a_terminal_are_to_be_had_for_it_too(root, serving):
    command = "test -t 0 && test -t 1 && ulimit -v && tty < /dev/tty > /dev/null && id -un"
    program = shell(command, user=NAME, pty=True, resources=Resources(memory_b=10**9))
    async with serving() as server:
        finished = await server.run(a_run(1, program))
        assert (finished.message, server.output(1)) == (None, f"{10**9 // 1024}\n{NAME}\n")


@either_way
async def test_files_that_it_leaves_are_kept_with_its_own_rights(root, serving):
    secret = root.parent / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    command = f"rm -rf *.txt; echo a > a.txt; ln -s {secret} b.txt; mkdir c.txt"
    outputs = (KeptFile(path="*.txt"), KeptFile(path=str(secret), required=True))
    async with serving() as server:
        finished = await server.run(a_run(1, shell(command, user=NAME, outputs=outputs)))
        why = "cannot be kept: Permission denied"
        assert finished.message == f"exit code 0, but required output '{secret}' {why}"
        assert [name for name, _ in server.programs.outputs(1)] == ["output", "a.txt"]
        assert server.programs.read_output(1, "a.txt")[0] == b"a\n"
        told = server.programs.ended(1).detail["outputs_error"]
        assert told == f"'/home/{NAME}/b.txt' {why}; '{secret}' {why}"


@either_way
async def test_what_it_says_of_itself_may_lead_nowhere_else(root, serving):
    async with serving() as server:
        await server.run(a_run(1, shell("echo '{\"rows\": 3}' > $APSIS_META_FILE", user=NAME)))
        assert server.programs.ended(1).meta == {"rows": 3}
        secret = root.parent / "secret"
        secret.write_text('"x"')
        secret.chmod(0o600)
        await server.run(a_run(2, shell(f"ln -s {secret} $APSIS_META_FILE", user=NAME)))
        assert server.programs.ended(2).meta is None
        assert server.programs.ended(2).detail == {"meta_error": "Too many levels of symbolic links"}


@asynchronous
async def test_through_sudo_it_uses_folders_that_stay_the_server_s(root):
    path = root.parent / "sudo"
    path.write_text(SUDO)
    path.chmod(0o755)
    command = (
        "umask 077; echo a > $APSIS_OUTPUT_DIR/a; mkdir -m 700 $TMPDIR/b; echo b > $TMPDIR/b/b\n"
        "echo c >> /dev/stdout"
    )
    async with serving(root, sudo=(str(path), "-n")) as server:
        finished = await server.run(a_run(1, shell(command, user=NAME)))
        assert (finished.message, server.output(1)) == (None, "c\n")
        assert [os.stat(root / "r1" / name).st_uid for name in ("out", "tmp")] == [0, 0]
        for theirs in ("out/a", "tmp/b", "tmp/b/b"):
            facts = (root / "r1" / theirs).stat()
            assert facts.st_uid == pwd.getpwnam(NAME).pw_uid
            assert facts.st_mode & 0o060 == 0o060  # the most that the access list gives the server
        server.programs.forget(1)
        await until(lambda: not list(root.glob(".gone*")))


@asynchronous
async def test_what_sudo_refuses_is_an_error_with_its_words(root):
    path = root.parent / "sudo"
    path.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    path.chmod(0o755)
    async with serving(root, sudo=(str(path), "-n")) as server:
        finished = await server.run(a_run(1, shell("id", user=NAME)))
        said = f"cannot start: it may not run as {NAME}: sudo: a password is required"
        assert (finished.outcome, finished.message) == ("error", said)
    async with serving(root, sudo=("no-sudo", "-n")) as server:
        finished = await server.run(a_run(2, shell("id", user=NAME)))
        assert (
            finished.message
            == f"cannot start: it may not run as {NAME}: No such file or directory: 'no-sudo'"
        )


@either_way
async def test_a_task_and_a_signal_reach_it(root, serving):
    folder = root.parent / "modules"
    folder.mkdir(mode=0o755)
    (folder / "waits.py").write_text(
        "import time\ndef f():\n    print('up', flush=True)\n    time.sleep(600)\n"
    )
    task = PythonCall(call="waits:f", python="/usr/bin/python3")
    async with serving() as server:
        run = a_run(1, Process(task=task, user=NAME), cwd=str(folder))
        await server.start(run)
        await server.output_with(1, "up")
        server.programs.signal(1, "USR1")
        assert (await server.finished(1)).message == "killed by SIGUSR1"
        bad = Process(task=PythonCall(call="waits:g", python="/usr/bin/python3"), user=NAME)
        finished = await server.run(a_run(2, bad, cwd=str(folder)))
        assert finished.message == "AttributeError: module 'waits' has no attribute 'g'"
