"""What is kept of what a program writes: what it prints, together or apart, and files that it leaves."""

import os
import sys
import time
from datetime import UTC, datetime

import pytest

from apsis_nb.core.programs import KeptFile, Output, Process, Stop

from .serving import a_run, asynchronous, serving, shell

APART = Output(split=True)


def outputs(server, run_id: int) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in server.programs.outputs(run_id)}


# --- what it prints


@asynchronous
async def test_standard_output_and_error_may_be_kept_apart(root):
    async with serving(root) as server:
        command = "echo a; echo b >&2; echo c >> /dev/stdout; echo d >> /dev/stderr; printf e"
        await server.run(a_run(1, shell(command, output=APART)))
        assert list(outputs(server, 1).items()) == [("stdout", b"a\nc\ne"), ("stderr", b"b\nd\n")]
        await server.run(a_run(2, shell(f"{command}; exit 3")))
        assert outputs(server, 2) == {"output": b"a\nb\nc\nd\ne"}
        await server.run(a_run(3, shell("true", output=APART)))
        assert outputs(server, 3) == {"stdout": b"", "stderr": b""}
        server.programs.forget(1)
        server.programs.forget(2)
        await server.run(a_run(4, shell("echo a", output=APART)))
        assert outputs(server, 4) == {"stdout": b"a\n", "stderr": b""}


@asynchronous
async def test_a_program_may_have_a_bound_of_its_own_for_what_it_prints(root):
    noisy = "yes 1>&2 & yes"
    own = Output(split=True, max_size_b=100_000)
    async with serving(root, max_output_b=10**9) as server:
        finished = await server.run(a_run(1, shell(noisy, output=own, stop=Stop(grace_period_s=0.1))))
        assert finished.message == "killed by SIGTERM (output larger than 100 kB)"


@asynchronous
async def test_bytes_are_kept_as_they_are(root):
    code = "import os; os.write(1, bytes(range(256)) * 3 + b'\\r\\n\\0no newline')"
    async with serving(root) as server:
        await server.run(a_run(1, Process(argv=(sys.executable, "-I", "-S", "-c", code))))
        assert outputs(server, 1) == {"output": bytes(range(256)) * 3 + b"\r\n\0no newline"}


# --- files that it leaves


@asynchronous
async def test_files_are_kept_under_their_names(root):
    folder = root.parent / "jobs"
    (folder / "old").mkdir(parents=True)
    (folder / "old" / "a.csv").write_text("old")
    command = (
        "mkdir -p x/y; echo 1 > a.csv; echo 2 > x/a.csv; echo 3 > x/y/b.csv; echo 4 > $APSIS_OUTPUT_DIR/c.csv"
    )
    wanted = (KeptFile(path="**/*.csv"), KeptFile(path="nothing*"), KeptFile(path=f"{folder}/a.csv"))
    async with serving(root) as server:
        program = shell(command, outputs=wanted)
        finished = await server.run(a_run(1, program, cwd=str(folder)))
        assert (finished.outcome, finished.message) == ("success", None)
        kept = outputs(server, 1)
        assert list(kept) == ["output", "a-2.csv", "a-3.csv", "a-4.csv", "a.csv", "b.csv", "c.csv"]
        assert [kept[f"a{n}.csv"] for n in ("", "-2", "-3", "-4")] == [b"1\n", b"old", b"2\n", b"1\n"]
        assert (kept["b.csv"], kept["c.csv"]) == (b"3\n", b"4\n")
        assert (folder / "a.csv").read_text() == "1\n"


@asynchronous
async def test_with_a_name_the_newest_file_is_kept(root):
    command = "echo 1 > b; echo 2 > a; touch -d 2020-01-01 a"
    wanted = (KeptFile(path="[ab]", name="report"), KeptFile(path="b", name="output"))
    async with serving(root) as server:
        await server.run(a_run(1, shell(command, outputs=wanted), cwd=str(root.parent)))
        assert outputs(server, 1) == {"output": b"", "output-2": b"1\n", "report": b"1\n"}


@pytest.mark.parametrize(
    ("command", "keys", "said"),
    [
        ("true", {}, "required output 'r.csv' is not there"),
        ("true", {"name": "report"}, "required output 'report' is not there"),
        ("echo 12 > r.csv", {"min_bytes": 4}, "required output 'r.csv' has 3 bytes, fewer than 4"),
        ("mkdir r.csv", {}, "required output 'r.csv' is not there"),
        ("mkfifo r.csv", {}, "required output 'r.csv' is not there"),
        ("ln -s nowhere r.csv", {}, "required output 'r.csv' cannot be read: No such file or directory"),
        (
            "echo 1 > r.csv; touch -d 2020-01-01 r.csv",
            {"newer_than": "start"},
            "required output 'r.csv' was there before the run, and is as it was",
        ),
        ("echo 123 > r.csv", {"min_bytes": 4, "newer_than": "start"}, None),
        ("echo 123 > $APSIS_OUTPUT_DIR/r.csv", {"path": "$APSIS_OUTPUT_DIR/r.csv", "min_bytes": 4}, None),
        ("exit 3", {}, "exit code 3"),
    ],
)
def test_without_a_required_file_there_is_no_success(root, command, keys, said):
    @asynchronous
    async def run(root):
        wanted = KeptFile(**({"path": "r.csv", "required": True} | keys))
        async with serving(root) as server:
            finished = await server.run(a_run(1, shell(command, outputs=(wanted,)), cwd=str(root.parent)))
            if said is None:
                assert (finished.outcome, finished.message) == ("success", None)
                assert "r.csv" in outputs(server, 1)
            else:
                message = said if "exit" in command else f"exit code 0, but {said}"
                assert (finished.outcome, finished.message) == ("failure", message)

    run(root)


@asynchronous
async def test_all_that_is_lacking_is_said_and_what_is_not_required_may_lack(root):
    wanted = (
        KeptFile(path="a", required=True),
        KeptFile(path="b"),
        KeptFile(path="c", min_bytes=1),
        KeptFile(path="d*", required=True),
    )
    async with serving(root) as server:
        finished = await server.run(a_run(1, shell("touch c", outputs=wanted), cwd=str(root.parent)))
        said = "exit code 0, but required output 'a' is not there; required output 'd*' is not there"
        assert (finished.outcome, finished.message, finished.return_code) == ("failure", said, 0)
        assert outputs(server, 1) == {"output": b""}


@asynchronous
async def test_a_file_of_before_the_run_is_not_of_it_even_by_a_moment(root):
    folder = root.parent
    async with serving(root) as server:
        for n in range(5):
            (folder / "old").write_text("1")
            before = time.time_ns() - 20_000_000  # further back than a tick of the file system's clock
            os.utime(folder / "old", ns=(before, before))
            wanted = (KeptFile(path="old", newer_than="start"), KeptFile(path="new", newer_than="start"))
            await server.run(a_run(n, shell("echo 1 > new", outputs=wanted), cwd=str(folder)))
            assert outputs(server, n).keys() == {"output", "new"}


@asynchronous
async def test_too_many_files_are_too_many(root):
    command = "mkdir m; cd m; seq 1100 | xargs touch"
    async with serving(root) as server:
        program = shell(command, outputs=(KeptFile(path="m/*"),))
        finished = await server.run(a_run(1, program, cwd=str(root.parent)))
        assert finished.outcome == "success"
        assert len(outputs(server, 1)) == 1001
        assert "more than 1000 files are too many" in server.programs.ended(1).detail["outputs_error"]


@asynchronous
async def test_files_are_kept_when_the_last_process_has_ended(root):
    late = "(trap '' TERM; while :; do date +%s%N > late; done) & sleep 0.1"
    async with serving(root) as server:
        program = shell(late, outputs=(KeptFile(path="late", required=True),))
        finished = await server.run(a_run(1, program, cwd=str(root.parent)))
        assert finished.outcome in ("success", "failure")  # it may be ended between the two halves of a write
        there = (root.parent / "late").read_bytes()
        assert outputs(server, 1)["late"] == there
        if there:
            written = datetime.fromtimestamp(int(there) / 1e9, UTC)
            assert written <= finished.at
