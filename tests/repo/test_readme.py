"""What the README promises: the first job is right, its commands exist, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def apsis_nb(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "apsis_nb", *args], capture_output=True, text=True, check=False
    )


def test_the_first_job_is_right_and_runs_at_nine_on_weekdays(tmp_path):
    (job,) = blocks("yaml")
    file = tmp_path / "jobs/team/report.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(job)

    checked = apsis_nb("check", str(tmp_path / "jobs"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    coming = apsis_nb("next", str(file), "-n", "3")
    assert coming.returncode == 0, coming.stderr
    assert coming.stdout.count("09:00:00") >= 3


COMMANDS = sorted(
    {line.split()[1] for block in blocks("sh") for line in block.splitlines() if line[:9] == "apsis-nb "}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_exists(command):
    asked = apsis_nb(command, "--help")

    assert asked.returncode == 0, asked.stderr


def test_each_python_example_is_python():
    examples = blocks("python")

    assert len(examples) >= 2
    for example in examples:
        compile(example, "README.md", "exec")


def test_each_file_it_names_is_there():
    linked = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    listed = re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)

    assert linked
    assert listed
    assert [name for name in [*linked, *listed] if not (ROOT / name).exists()] == []
