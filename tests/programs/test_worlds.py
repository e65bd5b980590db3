"""What a program may have beside its command: variables from a file, a terminal, bounds; what it tells."""

import sys

import pytest

from apsis_nb.core.programs import Process, Resources, Stop, Timeout

from .serving import a_run, asynchronous, serving, shell


def python(code: str, **keys) -> Process:
    return Process(argv=(sys.executable, "-I", "-S", "-c", code), **keys)


# --- variables from a file

LINES = """\
# of the data base
export HOST=db.example.org
PORT = 5432   # the usual
NAME='a # b'
WORDS="one\\ttwo \\"three\\""
EMPTY=
NOTHING=# only a comment
FILE_A=file
FILE_B=file
URL=http://x/#frag
"""


@asynchronous
async def test_an_env_file_is_read_when_the_run_starts(root):
    folder = root.parent
    (folder / "db.env").write_text(LINES)
    command = 'printf "%s|" "$HOST" "$PORT" "$NAME" "$WORDS" "$EMPTY" "$NOTHING" "$FILE_A" "$FILE_B" "$URL"'
    async with serving(root, env={"FILE_A": "config", "PORT": "1"}) as server:
        program = shell(command, env={"FILE_B": "job"}, env_file="db.env")
        finished = await server.run(a_run(1, program, cwd=str(folder)))
        assert finished.outcome == "success"
        told = 'db.example.org|5432|a # b|one\ttwo "three"|||file|job|http://x/#frag|'
        assert server.output(1) == told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "env file: No such file or directory: '{}'"),
        ("A=1\nwords\n", "env file: line 2 of '{}' is not NAME=VALUE"),
        ("A B=1\n", "env file: line 1 of '{}' is not NAME=VALUE"),
        ("=1\n", "env file: line 1 of '{}' is not NAME=VALUE"),
        ("A='1\n", "env file: the quotes in line 1 of '{}' do not end"),
    ],
)
def test_an_env_file_that_cannot_be_used_is_an_error_that_says_why(root, text, said):
    file = root.parent / "a.env"
    if text is not None:
        file.write_text(text)

    @asynchronous
    async def run(root):
        async with serving(root) as server:
            for n, bounds in enumerate((Resources(), Resources(cpu_time_s=60.0))):
                program = shell("true", env_file="a.env", resources=bounds)
                finished = await server.run(a_run(n, program, cwd=str(root.parent)))
                assert finished.outcome == "error"
                assert finished.message == f"cannot start: {said.format(file)}"

    run(root)


# --- a terminal


@asynchronous
async def test_a_program_may_have_a_terminal(root):
    code = "import os, sys; print(sys.stdin.isatty(), os.get_terminal_size().columns); os.write(2, b'err')"
    async with serving(root) as server:
        finished = await server.run(a_run(1, python(code, pty=True)))
        assert (finished.outcome, server.output(1)) == ("success", "True 120\nerr")
        await server.run(a_run(2, python(code.replace("os.get_terminal_size().columns", "0"))))
        assert server.output(2) == "errFalse 0\n"  # a file gets what is printed at the end


@asynchronous
async def test_all_that_is_written_to_a_terminal_is_kept_and_its_program_is_stopped(root):
    long = "x = 'line of text\\n' * 40000\nimport sys\nsys.stdout.write(x)\nprint('done', end='')"
    async with serving(root) as server:
        assert (await server.run(a_run(1, python(long, pty=True)))).outcome == "success"
        whole, _ = server.programs.read_output(1, limit=1 << 24)
        assert whole == b"line of text\n" * 40000 + b"done"
        run = a_run(2, shell("echo begun; sleep 600", pty=True))
        await server.start(run)
        await server.output_with(2, "begun")
        server.programs.stop(run)
        assert (await server.finished(2)).message == "stopped by SIGTERM"
        noisy = shell("while :; do echo 1234567; done", pty=True, stop=Stop(grace_period_s=0.1))
    async with serving(root, max_output_b=100_000) as server:
        finished = await server.run(a_run(3, noisy))
        assert finished.message == "killed by SIGTERM (output larger than 100 kB)"
        missing = await server.run(a_run(4, Process(argv=("no-such-program",), pty=True)))
        assert missing.message == "cannot start: No such file or directory: 'no-such-program'"


# --- bounds


@asynchronous
async def test_a_program_that_wants_more_memory_than_it_may_have_does_not_get_it(root):
    grab = python("x = bytearray(400_000_000); print('got it')", resources=Resources(memory_b=200_000_000))
    async with serving(root) as server:
        finished = await server.run(a_run(1, grab))
        assert (finished.outcome, finished.return_code) == ("failure", 1)
        assert "MemoryError" in server.output(1)
        roomy = python("x = bytearray(400_000_000); print('got it')", resources=Resources(memory_b=10**9))
        assert (await server.run(a_run(2, roomy))).outcome == "success"


@asynchronous
async def test_a_program_that_uses_up_its_processor_time_is_a_failure_that_says_so(root):
    burn = "while True: pass"
    async with serving(root) as server:
        finished = await server.run(a_run(1, python(burn, resources=Resources(cpu_time_s=1.0))))
        assert finished.outcome == "failure"
        assert finished.message == "killed by SIGXCPU (used more than 1 s of processor time)"
        ended = server.programs.ended(1)
        # The limit counts by ticks of the kernel's clock, the use does not.
        assert 0.5 < ended.cpu_s < 3
        assert ended.detail == {
            "signal": "SIGXCPU",
            "core_dumped": ended.detail["core_dumped"],
            "why": "used more than 1 s of processor time",
        }


# --- what a program used, and what it says of itself


@asynchronous
async def test_what_a_program_wrote_and_how_it_ended_is_kept(root):
    code = (
        "import os, signal\n"
        "with open(os.environ['TMPDIR'] + '/x', 'wb') as file:\n"
        "    file.write(b'x' * 300_000)\n"
        "    file.flush()\n"
        "    os.fsync(file.fileno())\n"
        "signal.pause()"
    )
    program = python(code, timeout=Timeout(duration_s=0.7))
    async with serving(root) as server:
        await server.run(a_run(1, program))
        ended = server.programs.ended(1)
        assert ended.write_b >= 0  # a file system in memory writes nothing
        assert ended.read_b >= 0
        assert ended.detail == {
            "signal": "SIGTERM",
            "core_dumped": False,
            "signals_sent": ["SIGTERM"],
            "why": "timeout after 0.7 s",
        }
        await server.run(a_run(2, shell("exit 3")))
        assert server.programs.ended(2).detail is None


@pytest.mark.parametrize(
    ("command", "meta", "error"),
    [
        ('echo \'{"rows": 3, "of": [1.5, null]}\' > $APSIS_META_FILE', {"rows": 3, "of": [1.5, None]}, None),
        ("echo 7 > $APSIS_META_FILE; exit 1", 7, None),
        ("true", None, None),
        ("> $APSIS_META_FILE", None, None),
        ("echo rows > $APSIS_META_FILE", None, "it is no JSON"),
        ("echo NaN > $APSIS_META_FILE", None, "it is no JSON"),
        ("head -c 65537 /dev/zero > $APSIS_META_FILE", None, "it is larger than 64 kB"),
        ("mkfifo $APSIS_META_FILE", None, "it is no file of its own"),
        ("mkdir $APSIS_META_FILE", None, "Is a directory"),
        ("ln -s /etc/passwd $APSIS_META_FILE", None, "Too many levels of symbolic links"),
    ],
)
def test_a_program_may_say_something_of_itself(root, command, meta, error):
    @asynchronous
    async def run(root):
        async with serving(root) as server:
            await server.run(a_run(1, shell(command)))
            ended = server.programs.ended(1)
            assert ended.meta == meta
            assert (ended.detail or {}).get("meta_error") == error

    run(root)
