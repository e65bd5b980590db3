"""What a shell completes: commands, and the ids that the server has; without one, quickly nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Shell
from tests.client.serving import Served


def completed(shell: Shell, *words: str) -> list[str]:
    """What bash is offered for the last of some words."""
    ended = shell(
        _APSIS_NB_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(["apsis-nb", *words]),
        COMP_CWORD=str(len(words)),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.split()


def test_commands_jobs_and_runs_are_completed(shell: Shell, server: Served):
    with server.client() as client:
        run = client.schedule("greet/hello").wait()
    assert completed(shell, "sched") == ["schedule"]
    assert completed(shell, "job", "greet/") == ["greet/again", "greet/hello"]
    assert completed(shell, "schedule", "--url", server.url, "dai") == ["daily/report"]
    assert run.run_id in completed(shell, "output", "r")
    assert completed(shell, "why", run.run_id) == [run.run_id]
    assert completed(shell, "runs", "--job", "fa") == ["fails"]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1", "nonsense"])
def test_without_a_server_no_ids_are_offered_and_nothing_is_said(alone: Shell, url: str):
    named = ["--url", url] if url else []
    assert completed(alone, "job", *named, "gr") == []
    assert completed(alone, "run", *named, "r") == []


def test_bash_takes_the_script(shell: Shell, server: Served):
    script = shell.good("completion", "bash")
    words = "COMP_WORDS=(apsis-nb job dai) COMP_CWORD=2"
    asked = f'{script}\n{words}\n_apsis_nb_completion apsis-nb\necho "${{COMPREPLY[@]}}"'
    env = {**server.env, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"}
    told = subprocess.run(["bash", "-c", asked], env=env, capture_output=True, text=True, timeout=60)
    assert (told.stdout, told.stderr) == ("daily/report\n", "")


@pytest.mark.parametrize(("name", "says"), [("zsh", "compdef"), ("fish", "complete --command apsis-nb")])
def test_zsh_and_fish_have_scripts_and_are_answered(shell: Shell, name: str, says: str):
    assert says in shell.good("completion", name)
    told = shell(
        _APSIS_NB_COMPLETE=f"complete_{name}",
        _TYPER_COMPLETE_ARGS="apsis-nb job dai",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert told.returncode == 0
    assert "daily/report" in told.stdout
