"""What the page about running a server names is there, and moves are as short as it says."""

import re
from pathlib import Path

import pytest

from apsis_nb.cli.app import app
from apsis_nb.config import load_config

DOCS = Path(__file__).parents[2] / "docs"
PAGE, MOVING = (DOCS / "operations.md").read_text(), (DOCS / "moving.md").read_text()


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    return [line for line in block.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("text", blocks(PAGE, "config"))
def test_each_configuration_on_the_page_is_right(tmp_path: Path, text: str):
    (tmp_path / "apsis.yaml").write_text(text)
    load_config(tmp_path / "apsis.yaml", env={})


@pytest.mark.parametrize("page", [PAGE, MOVING], ids=["operations", "moving"])
def test_each_command_on_the_page_is_one(page: str):
    names = {command.name for command in app.registered_commands}
    below = {
        f"{group.name} {command.name or command.callback.__name__}"  # type: ignore[union-attr]
        for group in app.registered_groups
        for command in group.typer_instance.registered_commands  # type: ignore[union-attr]
    }
    lines = [line for block in blocks(page, "sh") for line in commands(block)]
    used = [line.split() for line in lines if line.startswith("apsis-nb ")]

    assert used
    assert [w for w in used if w[1] not in names and " ".join(w[1:3]) not in below] == []


@pytest.mark.parametrize(
    ("title", "most"), [("From cron", 6), ("From a laptop to a server", 8)], ids=["cron", "laptop"]
)
def test_a_move_takes_no_more_commands_than_the_page_says(title: str, most: int):
    section = MOVING.split(f"## {title}\n")[1].split("\n## ")[0]
    assert 0 < len(commands(blocks(section, "sh")[0])) <= most


def test_what_the_unit_says_is_explained():
    source = (DOCS.parent / "apsis_nb/cli/service.py").read_text()
    told = re.findall(r"^\| `(\w+=\w+|\w+=\w+-\w+)` \|", PAGE, re.MULTILINE)
    assert len(told) >= 5
    assert [setting for setting in told if setting not in source] == []
