"""Jobs out of notebooks: what their params are, when they run, and that they do."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest

from apsis_nb.client import BadRequest, Client, RequestRefused
from apsis_nb.client.notebooks import facts_of, job_id_of, notebooks_in, schedule_of
from tests.client.serving import Served
from tests.engine.serving import wait_for

SOURCE = """\
# what the report is about
day: date = None
rows = 1000  # how many, "about" # as it is
ratio: float = 1
is_long = False
title = 'a # b'
since = datetime.date(2026, 1, 31)
until = '2026-02-28'
names = ["a", "b"]
x, y = 1, 2
note: str
"""


def soon() -> str:
    """A time that a schedule can still meet."""
    return (datetime.now(UTC) + timedelta(seconds=5)).isoformat(timespec="seconds")


def write(path: Path, *sources: str, tagged: int | None = None) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if tagged is not None:
        cells[tagged].metadata["tags"] = ["parameters"]
    spec = {"name": "python3", "display_name": "Python", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def test_params_are_the_names_of_the_tagged_cell_with_their_types_and_comments(tmp_path: Path):
    path = write(tmp_path / "a.ipynb", "import datetime", SOURCE, tagged=1)
    facts = facts_of(path)
    assert facts.params == {
        "rows": {"type": "int", "default": 1000, "description": 'how many, "about" # as it is'},
        "ratio": {"type": "float", "default": 1.0},
        "is_long": {"type": "bool", "default": False},
        "title": {"type": "str", "default": "a # b"},
        "since": {"type": "date", "default": "2026-01-31"},
        "note": {"type": "str"},
        "day": {"type": "date"},
        "until": {"type": "date", "default": "2026-02-28"},
    }
    assert facts.texts == {"until"}  # to the notebook it is a text, and stays one
    assert [note.split()[0] for note in facts.notes] == ["names"]
    assert facts_of(write(tmp_path / "b.ipynb", SOURCE)).params == {}
    assert facts_of(write(tmp_path / "c.ipynb", "%matplotlib inline\nx = 1", tagged=0)).params == {}
    (tmp_path / "d.ipynb").write_text("{}")
    for name, words in (("d", "it is no notebook"), ("e", "there is no notebook")):
        with pytest.raises(BadRequest, match=words):
            facts_of(tmp_path / f"{name}.ipynb")


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("6:30", {"type": "daily", "daytime": "06:30:00"}),
        ("23:59:58", {"type": "daily", "daytime": "23:59:58"}),
        ("0 6 * * 1-5", {"type": "cron", "cron": "0 6 * * 1-5"}),
        ("10m", {"type": "interval", "interval": "10m"}),
    ],
)
def test_a_schedule_may_be_said_in_short(text: str, schedule: dict[str, str]):
    found = schedule_of(text)
    assert {k: v for k, v in found.items() if k != "tz"} == schedule


@pytest.mark.parametrize("text", ["24:00", "whenever", ""])
def test_what_is_no_schedule_is_told_what_would_be_one(text: str):
    with pytest.raises(BadRequest, match="such as 06:30"):
        schedule_of(text)


def test_which_notebook_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = (write(tmp_path / name, "1") for name in ("a b.ipynb", "c.ipynb"))
    assert notebooks_in(tmp_path) == [first, second]
    assert notebooks_in(str(first)) == [first]
    monkeypatch.setenv("JPY_SESSION_NAME", str(second))
    assert notebooks_in(None) == [second]
    monkeypatch.delenv("JPY_SESSION_NAME")
    with pytest.raises(BadRequest, match="which notebook"):
        notebooks_in(None)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadRequest, match="no notebook in"):
        notebooks_in(tmp_path / "none")
    assert job_id_of(first, None) == "a-b"
    assert job_id_of(second, "team") == "team/c"


@pytest.fixture
def tidy(server: Served, client: Client) -> Iterator[None]:
    """The server is shared with tests that count its jobs."""
    yield
    shutil.rmtree(server.jobs / "nb")
    client.reload()


@pytest.mark.usefixtures("tidy")
def test_a_notebook_of_20_cells_runs_from_its_schedule_and_tells_how_far_it_is(
    client: Client, tmp_path: Path
):
    go = tmp_path / "go"
    path = write(
        tmp_path / "slow.ipynb",
        "rows = 1",
        f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)",
        "print('rows', rows)",
        *("pass" for _ in range(16)),
        tagged=0,
    )
    job = client.schedule_notebook(
        path, job="nb/slow", schedule={"type": "explicit", "times": [soon()], "args": {"rows": 7}}
    )
    assert job.facts["params"]["rows"]["type"] == "int"
    with pytest.raises(RequestRefused):
        client.schedule_notebook(path, job="nb/slow")
    wait_for("the schedule starts it", lambda: client.list_runs(job="nb/slow", state=["running"]))
    run = client.run(client.list_runs(job="nb/slow")[0]["run_id"])
    assert run.facts["origin"] == "schedule"
    third = "cell 3 of 20: import pathlib"
    wait_for("the third cell runs", lambda: (run.progress or {"message": ""})["message"].startswith(third))
    assert run.progress["done"] == 2
    assert "role='progressbar' aria-valuenow='10'" in run._repr_html_()
    go.touch()
    assert run.wait(60).state == "success", run.output()
    assert "rows 7\n" in run.output()
    assert run.meta["meta"]["progress"]["done"] == 20
    assert "rows 7" in run.output("slow.html")


#: How a notebook ends badly: its second cell, and what is said of the run.
BAD_ENDS = {
    "fails": ("1 / 0", "cell 3 of 4 failed: ZeroDivisionError: division by zero"),
    "dies": ("import os; os.kill(os.getpid(), 9)", "the kernel died in cell 3 of 4 (killed by SIGKILL)"),
    "hangs": ("import time; time.sleep(600)", "cell 3 of 4 took longer than 1 s"),
}


@pytest.mark.usefixtures("tidy")
def test_whatever_ends_a_notebook_is_in_the_log_of_its_run_within_10_s(client: Client, tmp_path: Path):
    for name, (bad, _) in BAD_ENDS.items():
        begins = f"import pathlib; pathlib.Path({str(tmp_path / name)!r}).touch(); {bad}"
        path = write(tmp_path / f"{name}.ipynb", "day = ''", begins, "print('never')", tagged=0)
        client.write_yaml(
            f"nb/{name}",
            "params: [day]\n"
            f"schedule: {{type: explicit, times: ['{soon()}'], args: {{day: '2026-01-31'}}}}\n"
            f"program: {{type: notebook, path: {path}, cell_timeout: 1s}}\n",
        )
    for name, (_, said) in BAD_ENDS.items():
        found = wait_for("the schedule starts it", lambda name=name: client.list_runs(job=f"nb/{name}"))
        run = client.run(found[0]["run_id"]).wait(60)
        assert (run.state, run.facts["message"]) == ("failure", said)
        assert run.list_log()[-1]["message"] == said
        assert run.meta["meta"]["progress"]["done"] == 2
        began_at = datetime.fromtimestamp((tmp_path / name).stat().st_mtime, UTC)
        assert datetime.fromisoformat(run.facts["finished_at"]) - began_at < timedelta(seconds=10), name
        assert "day = '2026-01-31'" in run.output(f"{name}.ipynb")
        assert "never\n" not in run.output()


@pytest.mark.usefixtures("tidy")
def test_a_pinned_notebook_is_run_as_it_was_and_a_folder_gives_a_job_each(client: Client, tmp_path: Path):
    write(tmp_path / "one.ipynb", "print('first')")
    write(tmp_path / "two.ipynb", "print('two')")
    jobs = client.schedule_notebook(tmp_path, job="nb/of", pinned=True)
    assert [job.job_id for job in jobs] == ["nb/of/one", "nb/of/two"]
    write(tmp_path / "one.ipynb", "print('second')")
    run = jobs[0].schedule().wait(60)
    assert "first\n" in run.output()
    again = client.schedule_notebook(tmp_path / "one.ipynb", job="nb/of/one", replace=True)
    shutil.rmtree(tmp_path / ".pinned")
    assert "second\n" in again.schedule().wait(60).output()
