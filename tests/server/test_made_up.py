"""A short form of `python -m tests.soak.requests`."""

from pathlib import Path

import pytest

from tests.server.conftest import serving
from tests.server.made_up import ask, write_no_ops


@pytest.mark.slow
def test_made_up_requests_are_answered_as_described(tmp_path: Path) -> None:
    write_no_ops(tmp_path / "jobs")
    with serving(tmp_path) as served:
        asked, faults = ask(served, cases=250, number=1)
    assert asked >= 200
    assert not faults, "\n\n".join(faults)
