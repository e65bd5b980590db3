"""A short form of `python -m tests.soak.follow`."""

import time
from pathlib import Path

import pytest

from tests.soak.follow import follow


@pytest.mark.slow
def test_who_follows_the_events_ends_with_the_states_of_the_database(tmp_path: Path):
    faults, told = follow(tmp_path, restarts=3, breaks=10, seed=int(time.time()))

    print(told)
    assert faults == []
