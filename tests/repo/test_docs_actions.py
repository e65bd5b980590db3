"""The page about actions is true: its jobs and settings are good, and all keys and names are in it."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apsis_nb.config import Notify, load_config
from apsis_nb.core.actions import MESSAGE_NAMES, METHODS
from apsis_nb.core.checks import Checks
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.engine import messages
from apsis_nb.engine.notices import DELAYS_S, TRIES
from apsis_nb.engine.senders import COMMAND_S
from apsis_nb.jobfiles import load_text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/actions.md").read_text()
NOW = datetime(2026, 3, 27, tzinfo=UTC)
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
OTHERS = {
    "sales/report": {"program": "true"},
    "ops/tell": {"program": "true", "params": ["text"]},
}


def config(tmp_path: Path, text: str):
    file = tmp_path / "apsis.yaml"
    file.write_text(text)
    return load_config(file, env={})


@pytest.fixture
def settings(tmp_path: Path):
    (text,) = re.findall(r"^```config\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return config(tmp_path, text)


@pytest.mark.parametrize("text", EXAMPLES)
def test_each_example_is_a_job_without_fault(text: str, settings):
    file = load_text(text, "team/example", source="/jobs/team")
    assert [str(error) for error in file.errors] == []
    assert isinstance(file.job, Job)
    jobs = {job_id: job_from_dict(job_id, data) for job_id, data in OTHERS.items()}

    found = Checks({**jobs, "team/example": file.job}, NOW, settings.names).of(file.job)

    assert [str(fault) for fault in found if fault.level == "error"] == []


def test_the_configuration_is_right(settings):
    assert settings.names == ({"ops", "chat", "night"}, {"hooks", "hook_token", "chat_hook"})
    assert settings.notify.group_window == Notify().group_window == 60
    assert settings.heartbeat.every == 60
    assert len(settings.action) == 1


def test_every_name_variable_and_method_is_told():
    source = (ROOT / "apsis_nb/engine/messages.py").read_text()
    variables = set(re.findall(r'"(APSIS_[A-Z_]+)"', source))
    told = PAGE + (ROOT / "docs/programs.md").read_text()

    assert len(variables) > 10
    assert [name for name in sorted(variables) if f"`{name}`" not in told] == []
    assert [name for name in (*MESSAGE_NAMES, *METHODS) if f"`{name}`" not in PAGE] == []


def test_the_figures_are_right():
    assert (TRIES, DELAYS_S, COMMAND_S) == (5, (1, 10, 60, 600), 60)
    assert "five times, after 1 and 10 seconds, 1 and 10 minutes" in PAGE
    assert "It has a minute" in PAGE
    assert messages.LAST_LINES == 20
    assert "last 20 lines" in PAGE
