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


WITH_COMMENTS = """\
# What everybody reads in the morning.
schedule:
  type: daily
  tz: Asia/Tokyo  # the office
  calendar: Mon-Fri
  daytime: "07:00:00"
# It is quick.
program: echo 'a  b' c
"""


def test_fields_change_single_lines_and_follow_the_text(client):
    studio = JobStudio(client, "studio/fields", text=WITH_COMMENTS)
    fields = studio.fields
    assert (fields.when.value, fields.what.value, fields.does.value) == ("daily", "shell", "echo 'a  b' c")
    fields.of_schedule["daytime"].value = "06:30:00, 18:30:00"
    fields.what.value = "argv"
    assert studio.editor.value == WITH_COMMENTS.replace(
        'daytime: "07:00:00"', 'daytime: ["06:30:00", "18:30:00"]'
    ).replace("program: echo 'a  b' c", "program:\n  type: argv\n  argv: [echo, a  b, c]")
    fields.when.value = "cron"
    told(studio)
    assert "type: cron\n  tz: Asia/Tokyo  # the office\n" in studio.editor.value
    assert "daytime" not in studio.editor.value
    assert studio.faults == []
    assert fields.of_schedule["calendar"].layout.display == "none"
    fields.does.value = "echo 'open"
    assert "no words of a command" in fields._said.value
    assert fields.does.value == "echo 'a  b' c"

    studio.editor.value = "schedule: ["
    assert fields.when.disabled
    studio.editor.value = "schedule: [{type: interval, interval: 1h}, {type: cron}]\nprogram: {type: no-op}\n"
    assert (fields.when.label, fields.when.disabled) == ("as the text says", True)
    assert fields.what.value == "no-op"
    studio.editor.value = (
        "schedule: [{type: interval, interval: 1h}]\nprogram: {type: sql, query: SELECT 1}\n"
    )
    fields.of_schedule["interval"].value = "90m"
    fields.description.value = "counts"
    fields.when.value = ""
    assert studio.editor.value == (
        "program: {type: sql, query: SELECT 1}\nmetadata:\n  description: counts\n"
    )
    fields.when.value = "daily"
    assert 'schedule:\n  type: daily\n  daytime: "07:00:00"\n' in studio.editor.value
    assert "tz: Europe/London" in studio.editor.value


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
