"""Each test has a folder of run directories of its own, and must leave no process behind."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.serving import is_alive, processes, until


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder of run directories; in the end nothing may run that has to do with it."""
    root = tmp_path / "runs"
    yield root
    try:
        asyncio.run(until(lambda: not any(is_alive(pid) for pid in processes(root))))
    finally:
        for pid in processes(root):  # so that a test that fails does not burden the others
            os.kill(pid, signal.SIGKILL)
    assert all(log.read_text() == "" for log in root.glob(".spawner.log"))  # a traceback of ours
