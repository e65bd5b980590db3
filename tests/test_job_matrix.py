"""What becomes of every odd job file that the reference tells of, and of files that were damaged at random.

The reference dies of some (a whole load is lost), takes others for something else, tells of some too late.
Here each is a job, or errors with a place, and never harms another file.
"""

import copy
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apsis_nb.jobfiles import check_folder, load_folder, load_text
from apsis_nb.wire import job_facts, to_json

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
DAILY = "schedule: {type: daily, tz: UTC, daytime: '09:00:00'%s}\n"
MANY = 5000 if os.environ.get("CI") == "true" else 150


def found(tmp_path: Path, text: str) -> list[str]:
    """What the check says of a file, beside a good one that must stay good."""
    (tmp_path / "good.yaml").write_text("params: [x]\nprogram: echo {{ x }}\n")
    (tmp_path / "odd.yaml").write_text(text)
    folder = load_folder(tmp_path)
    assert "good" in folder.jobs
    return [str(e).removeprefix(f"{tmp_path}/odd.yaml:") for e in check_folder(folder, NOW)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the whole load is lost there
        ("", "1:1: the file is empty"),
        ("- program: x\n", "1:1: job odd must be a mapping, not a list"),
        ("just words\n", "1:1: job odd must be a mapping, not the text 'just words'"),
        ("program: [\n", "2:1: YAML: "),
        ("program:\n\tx: 1\n", "2:1: YAML: "),
        ("program: x\n---\nprogram: y\n", "2:1: a second document"),
        (
            "program: x\nschedule: {type: daily, tz: UTC, daytime: []}\n",
            "2:34: schedule.daytime: must have one",
        ),
        ("program: x\n" + DAILY % ", calendar: none", "2:1: warning: schedule: it gives no time in the next"),
        (
            "program: x\nschedule: {type: daily-interval, tz: UTC, start: '10:00:00', stop: '10:00:00',"
            " interval: 1h}\n",
            "2:1: warning: schedule: it gives no time in the next",
        ),
        # errors there, too
        ("program: x\nprogram: y\n", "2:1: duplicate key 'program'"),
        ("program: x\nprograms: y\n", "2:1: unknown key 'programs': did you mean 'program'?"),
        ("params: [x]\n", "1:1: job odd: missing key 'program'"),
        ("program: 3\n", "1:1: program: a program must be a mapping, not 3"),
        (
            "program: x\nschedule: {type: daily, tz: Nowhere, daytime: '09:00:00'}\n",
            "2:25: schedule.tz: unknown",
        ),
        ("program: x\n" + DAILY % ", calendar: Nowhere", "2:55: schedule.calendar: no such calendar"),
        ("program: x\nschedule: {type: interval, interval: 0}\n", "2:28: schedule.interval: must be"),
        (
            "program: x\nschedule: {type: interval, interval: 60, phase: 60}\n",
            "2:42: schedule.phase: must be",
        ),
        (
            "program: x\nschedule: {type: daily-interval, tz: UTC, start: '10:00:00', stop: '11:00:00',"
            " interval: 86400}\n",
            "2:80: schedule.interval: must be less than a day",
        ),
        ("program: x\n" + DAILY % ", args: null", "2:55: schedule.args: must be a mapping, not nothing"),
        # taken for true there
        ("program: x\n" + DAILY % ", enabled: 'false'", "2:55: schedule.enabled: "),
        ("program: x\n" + DAILY % ", enabled: no", "2:55: schedule.enabled: "),
        # a list of letters there
        ("program: {type: argv, argv: echo}\n", "1:23: program.argv: must be a list of args"),
        # only an error of the run there
        ("program: {type: shell, command: x, stop: {signal: SIGNONE}}\n", "1:43: program.stop.signal: "),
        (
            "program: {type: shell, command: x, timeout: {duration: 1, signal: 99}}\n",
            "1:59: program.timeout.sig",
        ),
        # useless words there
        (
            "program: x\ncondition: {type: dependency, job_id: good, exist: false}\n",
            "2:45: condition.exist: must be true, a state or a list",
        ),
        (
            "program: x\ncondition: {type: const, value: true, enabled: 1}\n",
            "2:39: condition.enabled: must be",
        ),
        (
            "program: x\ncondition: {type: max_running, args: {a: 1}}\n",
            "2:39: job odd has no param 'a'",
        ),
        # poison there
        (
            "program: x\naction: {type: schedule, job_id: good, args: {x: 1}}\n",
            "2:1: action: a schedule action: missing key 'if'",
        ),
        (
            "program: x\naction: {type: schedule, job_id: good, args: {x: 1}, if: null}\n",
            "2:54: action.if: must say when",
        ),
        # never seen there
        (
            "program: x\nsuccessors: good\n" + DAILY % "",
            "2:1: successors: no value for param x of job good: give it under 'args'",
        ),
        (
            "params: [x]\nprogram: x\ncondition: {type: dependency, job_id: good, args: {y: 1}}\n"
            "schedule: {type: interval, interval: 1h, args: {x: 1}}\n",
            "3:52: job good has no param 'y'",
        ),
        ("program: echo {{ y }}\n", "1:1: program: name 'y' is not defined: is it a param?"),
    ],
)
def test_each_odd_file_is_told_at_its_place(tmp_path: Path, text: str, said: str):
    told = found(tmp_path, text)
    assert len(told) == 1, told
    assert told[0].startswith(said)


@pytest.mark.parametrize(
    "text",
    [
        "program: x\n" + DAILY % ", args: {nothing: 1}",  # an arg that is no param is dropped
        "program: echo hello\n",  # a command and a list of args, as versions 0.x had them
        "program: [echo, hello]\n",
        "params: [schedule_time]\nprogram: x\n" + DAILY % "",  # fails its own check there
        "program: x\ncondition: {type: dependency, job_id: nowhere, enabled: false}\n",
    ],
)
def test_what_means_something_is_a_job(tmp_path: Path, text: str):
    assert found(tmp_path, text) == []


REFERENCE = """\
params: [date, label]

schedule:
  - type: daily
    args: {label: morning}
    tz: America/New_York
    calendar: Mon-Fri
    daytime: ["09:30:00", "16:00:00"]
    date_shift: 0
  - start:
      type: daily-interval
      tz: America/New_York
      calendar: Mon-Fri
      start: 09:30:00
      stop: {daytime: "16:00:00", date_shift: 0}
      interval: 1 hour
      args: {label: hourly}
      enabled: false
    stop: {type: duration, duration: 30 min}

program:
  type: procstar-shell
  group_id: default
  command: |
    echo '{{ get_calendar("Mon-Fri").shift(date, -1) }}' {{ label }}
    sleep 1
  timeout: {duration: "{{ 60 * 5 }}", signal: SIGTERM}
  stop: {signal: TERM, grace_period: 10}

condition:
  - type: max_running
    count: "1"
    enabled: "{{ label == 'hourly' }}"
  - type: dependency
    job_id: odd-input
    args: {date: "{{ date }}"}
    states: [success, failure]

action:
  - type: schedule
    job_id: odd-report
    args: {text: "{{ date }} is bad"}
    if: {states: [failure, error]}

successors:
  - odd-after

metadata:
  description: |
    A job with **everything** that the reference documents.
  labels: [test, daily]
  owner: {team: research, since: 2019-04-01}
"""


def test_a_job_file_with_all_that_the_reference_documents_loads_unchanged(tmp_path: Path):
    (tmp_path / "odd-input.yaml").write_text(
        "params: [date]\nprogram: {type: no-op, duration: '{{ 2 }}'}\n"
        "schedule: {type: daily, tz: America/New_York, daytime: ['08:00:00'], calendar: Mon-Fri}\n"
    )
    (tmp_path / "odd-report.yaml").write_text("params: [text]\nprogram: {type: procstar, argv: [echo, x]}\n")
    (tmp_path / "odd-after.yaml").write_text("program: {type: no-op}\n")
    assert found(tmp_path, REFERENCE) == []
    assert to_json(job_facts(load_folder(tmp_path).jobs["odd"]))


# -- damage

FILES = [
    REFERENCE,
    *(
        path.read_text()
        for path in sorted((Path(__file__).parents[1] / "apsis_nb/demo/jobs").rglob("*.yaml"))
    ),
]
TREES: list[Any] = [yaml.safe_load(text) for text in FILES]


@st.composite
def damaged_texts(draw: st.DrawFn) -> str:
    """A real file with some letters cut out, doubled or replaced."""
    text = draw(st.sampled_from(FILES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(
            st.text(alphabet="ab1{}[]:,-&*!|>'\"#%@ \n\té\0", max_size=4) | st.just(text[start:stop] * 2)
        )
        text = text[:start] + new + text[stop:]
    return text


@st.composite
def damaged_trees(draw: st.DrawFn) -> Any:
    """What a real file holds, with one value replaced by another one of these files, or something else."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    spots = list(_spots(tree))
    donor = [parent[key] for other in TREES for parent, key in _spots(other)]
    for _ in range(draw(st.integers(1, 2))):
        parent, key = draw(st.sampled_from(spots))
        if isinstance(parent, dict) or key < len(parent):
            parent[key] = draw(
                st.sampled_from(donor)
                | st.none()
                | st.integers(-3, 99999)
                | st.booleans()
                | st.text(max_size=5)
            )
    return tree


def _spots(tree: Any) -> Any:
    """Each (mapping or list, key or position) in a tree."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _spots(value)


def is_a_job_or_located_errors(text: str) -> None:
    file = load_text(text, "odd", file="odd.yaml")
    assert (file.job is None) == bool(file.errors)
    lines = text.count("\n") + 2
    for error in file.errors:
        assert 1 <= error.line <= lines
        assert error.col >= 1
        assert error.message
        assert "Traceback" not in error.message
    if file.job is not None:
        assert to_json(job_facts(file.job))


@settings(max_examples=MANY)
@given(damaged_texts())
def test_a_damaged_file_is_a_job_or_located_errors(text: str):
    is_a_job_or_located_errors(text)


@settings(max_examples=MANY)
@given(damaged_trees())
def test_a_damaged_tree_is_a_job_or_located_errors(tree: Any):
    is_a_job_or_located_errors(yaml.safe_dump(tree, allow_unicode=True))
