"""One server for all tests of the command line, and the command line as a shell runs it, but quicker."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.client.serving import Served, environment, served

COMMAND = str(Path(sys.executable).with_name("apsis-nb"))
WARM = Path(__file__).with_name("warm.py")
WITHIN_S = 60.0


class Warm:
    """A process that runs commands one after the other; it is started when the first one is."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def run(
        self, words: Sequence[str], folder: Path, env: Mapping[str, str], stdin: str
    ) -> subprocess.CompletedProcess[str]:
        with self._lock, tempfile.TemporaryDirectory() as name:
            files = {stream: Path(name) / stream for stream in ("stdin", "stdout", "stderr")}
            for file in files.values():
                file.touch()
            files["stdin"].write_text(stdin)
            asked = {"words": words, "folder": folder, "env": dict(env), **files}
            if self._process is None:
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
                self._process = subprocess.Popen(
                    [sys.executable, str(WARM)], env=environment(folder), text=True, **pipes
                )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            too_long = threading.Timer(WITHIN_S, self._process.kill)
            too_long.start()
            self._process.stdin.write(json.dumps(asked, default=str) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            too_long.cancel()
            assert answer, f"apsis-nb {' '.join(words)} took too long"
            return subprocess.CompletedProcess(
                words, int(answer), files["stdout"].read_text(), files["stderr"].read_text()
            )

    def end(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=WITHIN_S)


_warm = Warm()


@pytest.fixture(scope="session", autouse=True)
def warm() -> Iterator[Warm]:
    yield _warm
    _warm.end()


@dataclass(frozen=True)
class Shell:
    """Runs `apsis-nb` in a folder and an environment."""

    folder: Path
    env: Mapping[str, str]

    def __call__(self, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return _warm.run(words, self.folder, {**self.env, **env}, stdin)

    def good(self, *words: str, **given: str) -> str:
        """What a command prints that succeeds."""
        ended = self(*words, **given)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def shell(server: Served, tmp_path: Path) -> Shell:
    """A shell of the account whose server runs."""
    return Shell(tmp_path, server.env)


@pytest.fixture
def alone(tmp_path: Path) -> Shell:
    """A shell of an account that has no server."""
    return Shell(tmp_path, environment(tmp_path))
