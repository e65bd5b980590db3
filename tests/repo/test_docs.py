"""The documentation is true: its jobs are good and run when it says, and every key and type is in it."""

import pkgutil
import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from apsis_nb import core
from apsis_nb.config import load_config
from apsis_nb.core import doctor as doctor_rules
from apsis_nb.core import why as why_words
from apsis_nb.core.conditions import CustomCondition, Dependency, End
from apsis_nb.core.jobs import Job, bind_run
from apsis_nb.core.runs import Origin
from apsis_nb.core.schedules import Misfire, Schedule
from apsis_nb.core.states import State
from apsis_nb.core.times import format_time
from apsis_nb.engine.checkers import Answered, Checker
from apsis_nb.jobfiles import Settings, check_folder, load_folder, load_text
from apsis_nb.jobfiles.settings import load_settings
from apsis_nb.simulation import expected

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ALL_PAGES = "\n".join(page.read_text() for page in sorted(DOCS.glob("*.md")))
PAGE, PROGRAMS, CONDITIONS = (
    (DOCS / name).read_text() for name in ("jobs.md", "programs.md", "conditions.md")
)
NOW = datetime(2026, 3, 27, tzinfo=UTC)
EXAMPLE = re.compile(r"^```yaml\n(.*?)^```(?:\n\n```times\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
#: The pages of whose examples each is a whole job file.
FOUND = [
    (found, f"{name} line {page.count(chr(10), 0, found.start()) + 1}")
    for name in ("jobs.md", "programs.md", "conditions.md", "runs.md", "store.md")
    for page in [(DOCS / name).read_text()]
    for found in EXAMPLE.finditer(page)
]
EXAMPLES = [(found[1], found[2]) for found, _ in FOUND]
LINES = [line for _, line in FOUND]


def blocks(page: str, kind: str) -> list[str]:
    """The blocks of a kind on a page."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


#: An arg for each param of the examples that has no default.
ARGS = {"date": "2026-03-27", "sched_date": "2026-03-27", "time": "2026-03-27T00:15:00+00:00"} | {
    "region": "emea",
    "who": "ann",
    "mode": "full",
    "day": "2026-03-27",
}


@cache
def settings() -> Settings:
    """What the pages say of classes and hosts, for their examples."""
    (config,) = blocks(PROGRAMS, "config")
    module = next(text for text in blocks(PROGRAMS, "python") if "class " in text)
    (condition,) = blocks(CONDITIONS, "python")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reports.py").write_text(module)
        (folder / "deliveries.py").write_text(condition)
        (folder / "apsis.cfg").write_text(config)
        found = load_settings(folder, hosts=load_config(folder / "apsis.cfg", env={}).hosts)
        assert found.class_of is not None
        assert found.class_of("reports.Report").required == ("day",)  # from now on it is imported
        assert found.class_of("deliveries.Delivered").optional == ("files",)
    return found


def job_of(text: str) -> Job:
    file = load_text(text, "team/example", source="/jobs/team", settings=settings())
    assert [str(error) for error in file.errors] == []
    assert file.job is not None
    return file.job


@pytest.mark.parametrize("text", [text for text, _ in EXAMPLES], ids=LINES)
def test_each_example_is_a_job_whose_runs_can_be_made(text: str):
    job = job_of(text)
    named = {c.job_id: tuple(c.args) for c in job.conditions if isinstance(c, Dependency)}
    params_of = named | {job.job_id: tuple(p.name for p in job.params)}
    args = {p.name: ARGS[p.name] for p in job.params if p.default is None}

    run = bind_run(
        job,
        run_id=1,
        args=args,
        origin=Origin.MANUAL,
        scheduled_at=NOW,
        now=NOW,
        params_of=params_of.get,
    )

    assert "{{" not in str(run.program)
    assert "{{" not in str([c.to_dict() for c in run.conditions])


def test_the_class_of_a_condition_on_the_page_does_what_it_says(tmp_path: Path):
    job = job_of(next(text for text in blocks(CONDITIONS, "yaml") if "deliveries" in text))
    run = bind_run(
        job,
        run_id=1,
        args={"date": "2026-03-27"},
        origin=Origin.MANUAL,
        scheduled_at=NOW,
        now=NOW,
        params_of=lambda _: None,
    )
    (condition,) = run.conditions
    assert isinstance(condition, CustomCondition)
    assert condition.keys == {"folder": "/data/in/2026-03-27/prices", "files": 3}
    folder = tmp_path / "day" / "prices"
    checker = Checker(run, replace(condition, keys={"folder": str(folder), "files": 2}), tmp_path)

    assert checker.ask().end == End(State.SKIPPED, "nobody delivers on that day")
    folder.mkdir(parents=True)
    (folder / "a.csv").touch()
    assert checker.ask() == Answered(text="1 of 2 files are there", again_s=10)
    (folder / "b.csv").touch()
    assert checker.ask().holds


@pytest.mark.parametrize(
    ("text", "times"),
    [example for example in EXAMPLES if example[1]],
    ids=[line for line, (_, times) in zip(LINES, EXAMPLES, strict=True) if times],
)
def test_each_example_runs_when_the_page_says(text: str, times: str):
    told = times.splitlines()
    coming = expected([job_of(text)], NOW, NOW + timedelta(days=31))

    lines = []
    for row in coming.itertuples():
        args = [f"{name}={value}" for name, value in row.args.items()]
        stop = [] if str(row.stop_at) == "NaT" else [f"stop={format_time(row.stop_at)}"]
        lines.append("  ".join(filter(None, [format_time(row.scheduled_at), " ".join(args + stop)])))
    assert lines[: len(told)] == told


def test_the_settings_on_the_page_are_right(tmp_path: Path):
    (example,) = blocks(PAGE, "settings")
    (tmp_path / ".apsis.yaml").write_text(example)
    (tmp_path / "a.yaml").write_text("program: {type: batch, command: 'echo {{ basename(job_id) }}'}\n")
    folder = load_folder(tmp_path)

    assert [str(error) for error in check_folder(folder, NOW)] == []
    assert folder.jobs["a"].labels == ("research",)


def test_the_times_are_counted_from_when_the_page_says():
    assert f"from {format_time(NOW)} on, a {NOW:%A}" in PAGE


def test_each_kind_of_schedule_shows_its_times():
    shown = {type(s) for text, times in EXAMPLES if times for s in job_of(text).schedules}

    assert shown == set(get_args(Schedule))


def test_every_key_of_a_job_file_is_told():
    read = re.compile(r"\b(?:\w*fields|both)\.(?:get|get_at|read_list)\(\s*\"(\w+)\"")
    folders = (ROOT / "apsis_nb/core", ROOT / "apsis_nb/jobfiles")
    sources = [file.read_text() for folder in folders for file in folder.rglob("*.py")]
    keys = {key for source in sources for key in read.findall(source)}
    keys -= {"inst", "matching", "in"}  # of stored runs only

    assert len(keys) > 40
    assert [key for key in sorted(keys) if not is_told(key)] == []


def test_every_type_state_and_policy_is_told():
    modules = [import_module(m.name) for m in pkgutil.walk_packages(core.__path__, "apsis_nb.core.")]
    types = [
        word for m in modules for name, words in vars(m).items() if name.endswith("_TYPES") for word in words
    ]

    assert {"daily", "duration", "no-op", "schedule", "str"} <= set(types)
    names = {*types, *(state.value for state in State), *get_args(Misfire)}
    assert [name for name in sorted(names) if not is_told(name)] == []


def test_every_kind_of_cause_and_of_finding_is_told():
    page = (DOCS / "troubleshooting.md").read_text()
    why, doctor = page.split("## Is the server well?")

    assert re.findall(r"^\| `([^`]+)` \|", why, re.MULTILINE) == list(get_args(why_words.Kind))
    assert set(re.findall(r"^\| `([^`]+)` \|", doctor, re.MULTILINE)) == set(get_args(doctor_rules.Kind))
    bounds = (doctor_rules.STUCK.days, doctor_rules.LATE_SHARE, doctor_rules.CALENDAR_ENDS.days)
    assert (*bounds, doctor_rules.RUNS_PER_CORE) == (1, 0.2, 90, 16)


def is_told(name: str) -> bool:
    """Whether the documentation has it as code: alone, or as a key or a type of an example."""
    return bool(re.search(rf"`{name}`|`{name}: |[\s{{]{name}: |type: {name}\b", ALL_PAGES))


def test_every_variable_of_the_environment_is_told():
    source = (ROOT / "apsis_nb/programs/environment.py").read_text()
    variables = set(re.findall(r'"(APSIS_[A-Z_]+)"', source))

    assert len(variables) > 8
    assert [name for name in sorted(variables) if f"`{name}`" not in PROGRAMS] == []


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_each_link_leads_somewhere(page: str):
    text = (DOCS / page).read_text()
    headings = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }

    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, heading = target.partition("#")
        assert not file or (DOCS / file).exists(), target
        assert file or heading in headings, target
