"""The studio for job files, and the magics, against a real server; the browser is tests/browser's."""

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from apsis_nb.core.errors import JobErrors
from apsis_nb.core.jobs import job_from_dict
from apsis_nb.widgets import JobStudio
from apsis_nb.widgets.words import WORDS
from tests.widgets.test_run_form import until

GOOD = "schedule: {type: interval, interval: 1h}\nprogram: {type: no-op}\n"


def told(studio: JobStudio) -> None:
    """Wait until the server has said what it thinks of the text."""
    until(lambda: "checking" not in studio._said.value)


def test_a_text_is_checked_as_it_changes_and_kept_only_when_it_is_good(client):
    studio = JobStudio(client, "studio/new")
    told(studio)
    assert "not saved" in studio._said.value
    studio.editor.value = "shedule: {type: interval, interval: 1h}\nprogram: {type: no-op}\n"
    told(studio)
    (fault,) = studio.editor.faults
    assert (fault["line"], fault["col"], fault["level"]) == (1, 1, "error")
    assert "did you mean 'schedule'" in fault["message"]
    assert "did you mean" in studio._faults.value
    assert studio.save_button.disabled
    studio.editor.value = GOOD
    told(studio)
    assert studio.editor.faults == []
    assert "every hour" in studio._does.value
    assert studio._does.value.count("<tr>") == 10
    assert "studio/new" not in client.jobs
    studio.save_button.click()
    assert "saved" in studio._said.value
    assert client.jobs["studio/new"].facts["schedule"][0]["interval"]
    studio.run_button.click()
    assert studio.wait(30).state == "success"

    studio.editor.value = GOOD.replace("1h", "2h")
    told(studio)
    assert "on disk" not in studio._said.value
    assert ">+schedule: {type: interval, interval: 2h}<" in studio._differs.value
    studio.reload_button.click()  # nothing is lost without a question
    assert studio._question.layout.display == ""
    assert "2h" in studio.editor.value
    studio._yes.click()
    told(studio)
    assert studio.editor.value == GOOD


def test_who_saves_over_what_another_wrote_is_told(client):
    client.write_yaml("studio/both", GOOD)
    first, second = JobStudio(client, "studio/both"), JobStudio(client, "studio/both")
    first.editor.value, second.editor.value = GOOD.replace("1h", "3h"), GOOD.replace("1h", "4h")
    first.save_button.click()
    second.save_button.click()
    assert "Reload shows" in second._said.value
    assert "3h" in client.yaml("studio/both")[0]


def test_templates_fill_the_text_and_are_good_jobs(client):
    names = [template["name"] for template in client.templates()]
    assert len(names) >= 8
    studio = JobStudio(client, "studio/of")
    for name in names:
        studio.template.value = name
        told(studio)
        assert all(f["level"] == "warning" for f in studio.editor.faults), (name, studio.editor.faults)


@pytest.mark.parametrize("path", [path for path in WORDS if not path.endswith(":")])
def test_the_words_are_those_that_a_job_may_have(path: str):
    for name, _ in WORDS[path]:
        kinds = [k for k, _ in WORDS.get(f"{path}.type:", [("", "")])]
        refusals = []
        for kind in kinds:
            said: object = {name: None} | ({"type": kind} if kind and name != "type" else {})
            for key in reversed(path.split(".") if path else []):
                said = {key: said}
            try:
                job_from_dict("x", said if isinstance(said, dict) else {})
            except JobErrors as errors:
                refusals.append(str(errors))
            else:
                refusals.append("")
        assert any(f"unknown key '{name}'" not in refusal for refusal in refusals), (path, name)


def test_magics_ask_and_write(client, tmp_path: Path):
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "apsis_nb")
    shell.user_ns["client"] = client
    shell.user_ns["wanted"] = "success"
    shell.run_cell_magic("apsis_sql", "--out found", "SELECT count(*) AS n FROM runs WHERE state = $wanted")
    assert list(shell.user_ns["found"].columns) == ["n"]
    with_display: list[str] = []
    shell.display_pub.publish = lambda data, **more: with_display.append(data.get("text/html", ""))
    shell.run_cell_magic("apsis_job", "studio/magic", GOOD)
    assert "studio/magic" not in client.jobs
    shell.run_cell_magic("apsis_job", "studio/magic --save", GOOD)
    assert "studio/magic" in client.jobs
    shell.run_cell_magic("apsis_job", "studio/magic --save", GOOD.replace("no-op", "no-opp"))
    assert "no-op" in with_display[-1]
    assert "not saved" in with_display[-1]
    shell.run_cell_magic("apsis_sql", "", "SELECT $nothing")
    assert "no variable nothing" in with_display[-1]
    InteractiveShell.clear_instance()
