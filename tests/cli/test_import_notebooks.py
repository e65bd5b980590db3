"""Notebooks, and the definitions of jupyter-scheduler, become jobs; nothing is overwritten."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from apsis_nb.core.jobs import Job
from apsis_nb.core.programs import Notebook, Process
from apsis_nb.core.schedules import CronSchedule
from apsis_nb.jobfiles import load_folder
from tests.cli.conftest import Shell

PARAMETERS = """\
# What a run may change.
date = "2026-01-31"  # The day.
rows: int = 1000
share = -0.5  # Of all.
full = True
name = "a 'b' $HOME"  # #1
tables = ["a", "b"]
limit = None
other = date
print(rows)
"""


def notebook(parameters: str = PARAMETERS, tags: tuple[str, ...] = ("parameters",)) -> str:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["Some words.\n", "## The sales \n", "More."]},
        {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": parameters.splitlines(True)},
        {"cell_type": "code", "metadata": {}, "source": "after = 1"},
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def imported(shell: Shell, *words: str, **env: str) -> tuple[dict[str, Any], dict[str, Job]]:
    """The report by source, and the jobs that there are then."""
    told = shell("import", *words, "--format", "json", **env)
    assert told.returncode == 0, told.stderr
    (shell.folder / "jobs").mkdir(exist_ok=True)
    folder = load_folder(shell.folder / "jobs")
    assert [str(error) for error in folder.errors] == []
    rows = json.loads(told.stdout)
    return {row.get("notebook") or row["definition"]: row for row in rows}, dict(folder.jobs)


def run_by(job: Job) -> Notebook:
    """What the program of a job runs."""
    assert isinstance(job.program, Process)
    assert isinstance(job.program.task, Notebook)
    return job.program.task


def test_each_notebook_of_a_folder_becomes_a_job(alone: Shell):
    books = alone.folder / "books"
    for name in ("sales/by day.ipynb", "plain.ipynb", ".ipynb_checkpoints/plain.ipynb"):
        (books / name).parent.mkdir(parents=True, exist_ok=True)
        (books / name).write_text(notebook(tags=("parameters",) if "day" in name else ()))
    (books / "broken.ipynb").write_text("{}")
    (books / "odd.ipynb").write_text(notebook("%matplotlib inline"))
    told, jobs = imported(alone, "notebooks", "books", "--cron", "0 6 * * 1-5")

    assert {source: row["what"] for source, row in told.items()} == {
        "sales/by day.ipynb": "job", "plain.ipynb": "job", "broken.ipynb": "left", "odd.ipynb": "job",
    }  # fmt: skip
    assert told["broken.ipynb"]["notes"] == ["it is no notebook of Jupyter's format 4"]
    assert told["odd.ipynb"]["notes"] == ["its parameters cell is no Python: no param is taken from it"]
    assert [note.split()[0] for note in told["sales/by day.ipynb"]["notes"]] == ["tables", "limit", "other"]
    assert set(jobs) == {"notebooks/sales/by-day", "notebooks/plain", "notebooks/odd"}
    job = jobs["notebooks/sales/by-day"]
    assert [(p.name, p.type, p.default, p.description) for p in job.params] == [
        ("date", "date", "2026-01-31", "The day."),
        ("rows", "int", "1000", None),
        ("share", "float", "-0.5", "Of all."),
        ("full", "bool", "true", None),
        ("name", "str", "a 'b' $HOME", "1"),
    ]
    assert job.description == "The sales"
    (schedule,) = job.schedules
    assert isinstance(schedule, CronSchedule)
    assert (schedule.cron, schedule.enabled, str(schedule.tz)) == ("0 6 * * 1-5", False, "Europe/London")
    task = run_by(job)
    assert task.path == f"{books}/sales/by day.ipynb"
    assert task.parameters == {"date": "{{ date }}"}  # a day to the job, and a text to the notebook

    again, _ = imported(alone, "notebooks", "books")
    assert {row["what"] for source, row in again.items() if source != "broken.ipynb"} == {"there already"}
    one, jobs = imported(alone, "notebooks", "books/plain.ipynb", "--path", "team/one", "--dry-run")
    assert one["plain.ipynb"]["what"] == "there already"
    assert alone("import", "notebooks", "books", "--cron", "x").stderr.startswith("apsis-nb: --cron: ")
    assert "there is no such file or folder" in alone("import", "notebooks", "none").stderr


def scheduler(data: Path, **definitions: dict[str, Any]) -> Path:
    """The data of a Jupyter with these definitions, whose notebooks are there."""
    columns = {
        "job_definition_id": "VARCHAR(36) NOT NULL", "name": "VARCHAR(256)", "schedule": "VARCHAR(256)",
        "timezone": "VARCHAR(36)", "active": "BOOLEAN", "create_time": "INTEGER", "url": "VARCHAR(256)",
        "runtime_environment_name": "VARCHAR(256) NOT NULL", "input_filename": "VARCHAR(256) NOT NULL",
        "output_formats": "VARCHAR(512)", "tags": "VARCHAR(1024)", "parameters": "VARCHAR(1024)",
        "email_notifications": "VARCHAR(1024)", "timeout_seconds": "INTEGER", "max_retries": "INTEGER",
        "min_retry_interval_millis": "INTEGER",
    }  # fmt: skip
    data.mkdir()
    with sqlite3.connect(data / "scheduler.sqlite") as database:
        database.execute(
            f"CREATE TABLE job_definitions ({', '.join(f'{n} {t}' for n, t in columns.items())})"
        )
        for n, (key, facts) in enumerate(definitions.items()):
            row = {
                "job_definition_id": key, "name": key, "input_filename": "in.ipynb", "active": True,
                "runtime_environment_name": "", "create_time": n, "output_formats": '["ipynb"]', **facts,
            }  # fmt: skip
            marks = ", ".join(f":{name}" for name in row)
            database.execute(f"INSERT INTO job_definitions ({', '.join(row)}) VALUES ({marks})", row)
            if key != "lost":
                (data / f"scheduler_staging_area/{key}").mkdir(parents=True)
                (data / f"scheduler_staging_area/{key}/in.ipynb").write_text(notebook())
    database.close()
    return data


def test_each_definition_of_jupyter_scheduler_becomes_a_job(alone: Shell):
    data = scheduler(
        alone.folder / "data",
        nightly={
            "name": "Sales: by night", "schedule": "30 2 * * *", "timezone": "America/New_York",
            "parameters": '{"rows": 7, "region": "emea", "list": [1]}', "tags": '["a", "b"]',
            "max_retries": 2, "min_retry_interval_millis": 1500, "output_formats": '["ipynb", "html", "pdf"]',
            "email_notifications": '{"on_failure": ["a@example.org"]}', "runtime_environment_name": "py311",
        },
        paused={"schedule": "0 1 * * *", "active": False},
        once={},
        wrong={"schedule": "61 * * * *"},
        lost={"schedule": "0 1 * * *"},
    )  # fmt: skip
    env = {"JUPYTER_DATA_DIR": str(data)}
    dry, jobs = imported(alone, "jupyter-scheduler", "--dry-run", **env)
    assert jobs == {}
    told, jobs = imported(alone, "jupyter-scheduler", "--enabled", **env)
    assert told == dry

    assert {source: row["what"] for source, row in told.items()} == {
        "Sales: by night": "job", "paused": "job", "once": "job", "wrong": "left", "lost": "left",
    }  # fmt: skip
    assert told["lost"]["notes"][0].startswith("its notebook cannot be read: ")
    said = "\n".join(told["Sales: by night"]["notes"])
    for words in (
        "parameter list can be no arg",
        "pdf was made of it",
        "mails were sent",
        "environment py311",
    ):
        assert words in said
    assert "it has no schedule" in told["once"]["notes"]
    job = jobs["jupyter/Sales-by-night"]
    params = {p.name: (p.type, p.default) for p in job.params}
    assert (params["rows"], params["region"], params["date"][0]) == (("int", "7"), ("str", "emea"), "date")
    assert job.labels == ("a", "b")
    (schedule,) = job.schedules
    assert isinstance(schedule, CronSchedule)
    assert (schedule.cron, str(schedule.tz), schedule.enabled) == ("30 2 * * *", "America/New_York", True)
    assert [s.enabled for s in jobs["jupyter/paused"].schedules] == [False]
    beside = alone.folder / "jobs/jupyter"
    assert (beside / "Sales-by-night.ipynb").read_text() == notebook()
    assert run_by(job).path == "Sales-by-night.ipynb"

    again, _ = imported(alone, "jupyter-scheduler", str(data / "scheduler.sqlite"))
    assert {row["what"] for row in again.values()} == {"there already", "left"}
    (alone.folder / "no.db").write_text("nothing")
    for file, words in (
        ("no.db", "is no database of jupyter-scheduler"),
        ("none.db", "there is no such file"),
    ):
        refused = alone("import", "jupyter-scheduler", file)
        assert (refused.returncode, words in refused.stderr) == (1, True)
