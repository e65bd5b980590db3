"""What `make test` leans on: the search for a newer Python, and that CI skips nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.newest_python import newest

ROOT = Path(__file__).parents[2]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_python_that_does_not_run_is_passed_over(tmp_path):
    script(tmp_path / "bin/python3.14", "exit 127")
    script(tmp_path / "pyenv/versions/3.12.4/bin/python3", "echo /real/3.12")
    script(tmp_path / "pyenv/versions/3.13.0/bin/python3", "echo /real/3.13")

    assert newest((3, 11), str(tmp_path / "bin"), tmp_path / "pyenv") == "/real/3.13"


def test_only_a_newer_python_counts(tmp_path):
    script(tmp_path / "python3.13", "echo /real/3.13")

    assert newest((3, 12), str(tmp_path), tmp_path / "none") == "/real/3.13"
    assert newest((3, 13), str(tmp_path), tmp_path / "none") is None


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed, 1 xfailed"), ("", "1 skipped, 1 xfailed")])
def test_a_skip_is_a_failure_under_ci_and_an_expected_failure_is_not(tmp_path, ci, outcome):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from tests.conftest import needs\n"
        "def test_with_a_tool():\n"
        "    needs('no-such-tool')\n"
        "@pytest.mark.xfail\n"
        "def test_known_to_fail():\n"
        "    raise AssertionError\n"
    )
    pytest_here = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", os.devnull, str(tmp_path)]
    environment = os.environ | {"CI": ci, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        pytest_here, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert outcome in done.stdout
    assert "no-such-tool is not installed" in done.stdout or not ci


def test_make_says_what_it_can_do():
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    targets = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"demo", "test", "check", "bench", "serve"} <= targets
