"""Jobs from templates: each is right, and nothing is overwritten."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from apsis_nb.cli.new import new
from apsis_nb.jobfiles import load_folder
from tests.cli.conftest import Shell

TEMPLATES = [
    "alarm",
    "backfill",
    "cron",
    "file",
    "interval",
    "notebook",
    "pipeline",
    "python",
    "shell-daily",
    "sql",
]


def made(out: Path, template: str, *settings: str, job: str = "team/my-job") -> None:
    """As the command does, in this process."""
    new(job, template=template, set_=list(settings), out=out)


def test_all_are_listed_with_what_they_are(alone: Shell):
    rows = json.loads(alone.good("new", "--list", "--format", "json"))
    assert [row["template"] for row in rows] == TEMPLATES
    assert all(row["description"].endswith((".", "`.")) for row in rows)


def test_each_makes_jobs_that_are_good(alone: Shell):
    for template in TEMPLATES:
        made(alone.folder / "jobs", template, job=f"all/{template}")

    checked = alone("check", "jobs", "--strict")
    assert (checked.returncode, checked.stdout) == (0, "")
    assert checked.stderr == f"{len(TEMPLATES) + 2} good jobs, no errors\n"


def test_keys_have_the_values_that_are_said(alone: Shell):
    told = alone.good(
        *("new", "team/report", "--set", "schedule.tz=Asia/Tokyo", "--set", "schedule.daytime=09:30:00"),
        *("--set", "program.command=python 'my report'.py --at 12", "--set", "metadata.labels=[a, b]"),
    )
    assert told == "jobs/team/report.yaml\n"
    job = load_folder(alone.folder / "jobs").jobs["team/report"]
    assert job.labels == ("a", "b")
    assert "Asia/Tokyo" in str(job.schedules[0].tz)
    assert job.program.command == "python 'my report'.py --at 12"  # type: ignore[union-attr]
    assert "# A command on each working day" in (alone.folder / "jobs/team/report.yaml").read_text()


def test_jobs_of_a_pipeline_follow_each_other_and_have_keys_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made(tmp_path, "pipeline", "load.program.timeout=3h")
    assert [Path(line).name for line in capsys.readouterr().out.split()] == [
        "extract.yaml", "load.yaml", "report.yaml",
    ]  # fmt: skip
    jobs = load_folder(tmp_path).jobs
    assert [c.job_id for c in jobs["team/my-job/report"].conditions] == ["team/my-job/load"]  # type: ignore[union-attr]
    assert 'timeout: "3h"' in (tmp_path / "team/my-job/load.yaml").read_text()


def test_the_function_of_a_job_lies_beside_it(tmp_path: Path):
    made(tmp_path, "python")
    assert sorted(path.name for path in (tmp_path / "team").iterdir()) == ["my-job.yaml", "my_job.py"]
    assert 'call: "my_job:make"' in (tmp_path / "team/my-job.yaml").read_text()


def test_a_job_folder_has_templates_of_its_own(alone: Shell):
    folder = alone.folder / "jobs/_templates"
    (folder / "feed").mkdir(parents=True)
    (folder / "vendor.yaml.j2").write_text(
        "# The files of a vendor.\n"
        "metadata: {description: 'Of {{ vendor | title }}, by {{ name }}', labels: [{{ owner }}]}\n"
        "params: [date]\n"
        "schedule: {type: daily, tz: '{{ zone }}', calendar: all, daytime: '09:00:00'}\n"
        "program: get {{ vendor }} {% raw %}{{ date }}{% endraw %} @JOB@\n"
    )
    (folder / "feed/get.yaml.j2").write_text("{# Two steps. #}\nprogram: get {{ job }}\n")
    (folder / "feed/put.yaml.j2").write_text(
        "condition: {type: dependency, job_id: '{{ job }}/get'}\nprogram: put\n"
    )
    (folder / "shell-daily.yaml.j2").write_text("program: 'true'\n")
    (folder / "README.md").write_text("not a template\n")

    rows = {
        r["template"]: r["description"] for r in json.loads(alone.good("new", "--list", "--format", "json"))
    }
    assert sorted(rows) == sorted([*TEMPLATES, "feed", "vendor"])
    assert (rows["vendor"], rows["feed"], rows["shell-daily"]) == ("The files of a vendor.", "Two steps.", "")

    words = ("--set", "vendor=acme", "--set", "owner=ops", "--set", "program=get it")
    assert alone.good("new", "in/acme", "-t", "vendor", *words[:4]) == "jobs/in/acme.yaml\n"
    assert alone.good("new", "in/feed", "-t", "feed").split() == [
        "jobs/in/feed/get.yaml",
        "jobs/in/feed/put.yaml",
    ]
    assert alone.good("new", "plain") == "jobs/plain.yaml\n"
    jobs = load_folder(alone.folder / "jobs").jobs
    assert set(jobs) == {"in/acme", "in/feed/get", "in/feed/put", "plain"}
    assert (jobs["in/acme"].description, jobs["in/acme"].labels) == ("Of Acme, by acme", ("ops",))
    text = (alone.folder / "jobs/in/acme.yaml").read_text()
    assert "get acme {{ date }} @JOB@" in text
    assert "tz: 'Europe/London'" in text
    assert alone.good("new", "other", "-t", "vendor", *words) == "jobs/other.yaml\n"
    other = load_folder(alone.folder / "jobs").jobs["other"]
    assert other.program.command == "get it"  # type: ignore[union-attr]

    open_ = alone("new", "x", "-t", "vendor", "--set", "vendor=acme")
    assert (open_.returncode, open_.stderr) == (
        1,
        "apsis-nb: jobs/_templates/vendor.yaml.j2: it leaves owner open: --set owner=VALUE\n",
    )
    (folder / "bad.yaml.j2").write_text("a: 1\nprogram: {{ nonsense\n")
    assert alone("new", "x", "-t", "bad").stderr.startswith("apsis-nb: jobs/_templates/bad.yaml.j2:")
    (folder / "evil.yaml.j2").write_text("program: {{ ''.__class__.__mro__ }}\n")
    assert "unsafe" in alone("new", "x", "-t", "evil").stderr
    assert not (alone.folder / "jobs/x.yaml").exists()


def refused(act: Callable[[], None]) -> str:
    with pytest.raises(Exception) as error:  # noqa: PT011  (whatever kind the command line shows)
        act()
    return str(error.value)


@pytest.mark.parametrize(
    ("template", "settings", "job", "says"),
    [
        ("pipelin", (), "a", "there is no template 'pipelin': did you mean 'pipeline'?"),
        ("shell-daily", ("schedul.tz=UTC",), "a", "unknown key 'schedul': did you mean 'schedule'?"),
        ("shell-daily", ("schedule.tz=Europe/Londn",), "a", "did you mean 'Europe/London'?"),
        ("pipeline", ("program=true",), "a", "begin with the name of the job: extract, load, report"),
        ("shell-daily", (), "../a", "give its path below the job folder, as team/report"),
        ("shell-daily", (), "_a", "give its path below the job folder, as team/report"),
        ("shell-daily", ("tz",), "a", "write KEY=VALUE, for example schedule.tz=UTC"),
        ("shell-daily", ("metadata.labels.x=1",), "a", "--set metadata.labels.x: "),
    ],
)
def test_what_would_be_wrong_is_not_made(
    tmp_path: Path, template: str, settings: tuple[str, ...], job: str, says: str
):
    assert says in refused(lambda: made(tmp_path, template, *settings, job=job))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path):
    (tmp_path / "team/my-job").mkdir(parents=True)
    file = tmp_path / "team/my-job/report.yaml"
    file.write_text("program: 'true'\n")
    assert "is there already" in refused(lambda: made(tmp_path, "pipeline"))
    assert [path.name for path in file.parent.iterdir()] == ["report.yaml"]
    assert file.read_text() == "program: 'true'\n"
