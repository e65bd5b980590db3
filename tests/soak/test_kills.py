"""A few kills under load; `make soak` has hundreds."""

import time
from pathlib import Path

import pytest

from tests.soak.kills import kill_again_and_again


@pytest.mark.slow
@pytest.mark.alone
def test_kills_under_load_lose_nothing_and_start_nothing_twice(tmp_path: Path):
    faults, told = kill_again_and_again(tmp_path, kills=10, seed=int(time.time()))

    print(told)
    assert faults == []
