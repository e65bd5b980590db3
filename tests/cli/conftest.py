"""One server for all tests of the command line, and the command line as a shell runs it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.client.serving import Served, environment, served

COMMAND = str(Path(sys.executable).with_name("apsis-nb"))


@dataclass(frozen=True)
class Shell:
    """Runs `apsis-nb` in a folder and an environment."""

    folder: Path
    env: Mapping[str, str]

    def __call__(self, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *words],
            cwd=self.folder,
            env={**self.env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

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
