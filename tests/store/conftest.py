"""A store in a folder of its own, with a clock that stands still."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apsis_nb.store import Store
from tests.store.made import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.duckdb"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[Store]:
    with Store.open(path, threads=1, now=clock) as store:
        yield store
