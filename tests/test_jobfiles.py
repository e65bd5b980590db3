"""Job files: YAML 1.2 as the reference reads it, ids, and faults to the line and column."""

import contextlib
import os
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.conditions import CustomCondition
from apsis_nb.core.errors import NotFound
from apsis_nb.core.jobs import bind_run
from apsis_nb.core.programs import Custom, NoOp, Process
from apsis_nb.core.runs import Origin
from apsis_nb.jobfiles import Folder, check_folder, load_file, load_folder, load_text
from apsis_nb.jobfiles.yaml12 import YamlErrors, parse_yaml
from tests.strategies import job_mappings

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def said(text: str | bytes) -> list[str]:
    """The faults of a text, as line:col: message."""
    return [str(error) for error in load_text(text, "a", file="a.yaml").errors]


# -- YAML


@pytest.mark.parametrize(
    ("text", "value", "as_arg"),
    [
        ("10:30:00", "10:30:00", "10:30:00"),
        ("12:30", "12:30", "12:30"),
        ("2024-01-01", date(2024, 1, 1), "2024-01-01"),
        ("2024-01-01T10:30:00Z", datetime(2024, 1, 1, 10, 30, tzinfo=UTC), "2024-01-01T10:30:00+00:00"),
        (
            "2024-01-01 10:30:00.5 +1",
            datetime.fromisoformat("2024-01-01T10:30:00.5+01:00"),
            "2024-01-01T10:30:00.5+01:00",
        ),
        (
            "2024-01-01t10:30:00-05:30",
            datetime.fromisoformat("2024-01-01T10:30:00-05:30"),
            "2024-01-01T10:30:00-05:30",
        ),
        ("2024-01-01 10:30:00", datetime(2024, 1, 1, 10, 30), "2024-01-01T10:30:00"),  # noqa: DTZ001
        ("yes", "yes", "yes"),
        ("no", "no", "no"),
        ("on", "on", "on"),
        ("off", "off", "off"),
        ("true", True, "True"),
        ("False", False, "False"),
        ("1.50", 1.5, "1.5"),
        ("1e3", 1000.0, "1000.0"),
        (".5", 0.5, "0.5"),
        ("-.inf", float("-inf"), "-inf"),
        ("010", 10, "10"),
        ("0o10", 8, "8"),
        ("0x1F", 31, "31"),
        ("0b101", 5, "5"),
        ("1_000", 1000, "1000"),
        ("-7", -7, "-7"),
        ("~", None, "None"),
        ("null", None, "None"),
        ("", None, "None"),
        ('"10"', "10", "10"),
        ("'true'", "true", "true"),
        ("nullify", "nullify", "nullify"),
        ("1.2.3", "1.2.3", "1.2.3"),
        ("0755x", "0755x", "0755x"),
        ("!!str 5", "5", "5"),
        ('!!int "5"', 5, "5"),
        ("! 5", "5", "5"),
        ("=", "=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value, as_arg):
    found = parse_yaml(f"x: {text}\n").value["x"]
    assert found == value
    assert type(found) is type(value) or isinstance(value, datetime)
    assert str(found) == as_arg


def test_nan_is_a_number():
    assert str(parse_yaml(".nan").value) == "nan"


def test_aliases_and_merges_are_followed():
    text = """
base: &base {a: 1, b: 2}
other: &other {b: 3, c: 4}
one: *base
two: {<<: *base, b: 0}
three:
  <<: [*base, *other]
  d: 5
"""
    value = parse_yaml(text).value
    assert value["one"] == {"a": 1, "b": 2}
    assert value["two"] == {"a": 1, "b": 0}
    assert value["three"] == {"a": 1, "b": 2, "c": 4, "d": 5}


def test_a_quoted_merge_sign_is_a_key_like_any_other():
    assert parse_yaml("'<<': 1").value == {"<<": 1}


def test_a_set_is_a_mapping_without_values():
    assert parse_yaml("{a, b}").value == {"a": None, "b": None}
    assert parse_yaml("!!set {a, b}").value == {"a": None, "b": None}


def test_a_byte_order_mark_is_no_text():
    assert load_text(b"\xef\xbb\xbfprogram: x\n", "a").job


@given(job_mappings())
def test_what_is_written_as_yaml_is_read_or_refused_in_words(mapping):
    text = yaml.safe_dump(mapping, allow_unicode=True)
    read = load_text(text, "a")
    assert (read.job is None) == bool(read.errors)
    assert all(e.line >= 1 and e.col >= 1 and e.message for e in read.errors)


@given(st.text(alphabet="ab{}[]:,-&*!|>'\"#%@ \n\t0~<\x00\x07\x85\ufeff\ud800é", max_size=30))
def test_any_text_is_read_or_refused_in_words(text):
    with contextlib.suppress(YamlErrors):
        assert parse_yaml(text).line >= 1


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_in_words(data):
    read = load_text(data, "a")
    assert (read.job is None) == bool(read.errors)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1: the file is empty"),
        ("# only a comment\n", "1:1: the file is empty"),
        ("program: x\n---\nprogram: y\n", "2:1: a second document: a file holds one job"),
        ("program: [x\n", "2:1: YAML: did not find expected ',' or ']'"),
        ("\tprogram: x\n", "1:1: YAML: found character that cannot start any token"),
        ('program: "a\x01"\n', "1:12: YAML: a character that is not allowed"),
        ("a: 1\nprogram: \ud800\n", "2:10: YAML: a character that is not allowed"),
        (b"a: 1\nb: '\xff'\n", "2:1: the file is not UTF-8"),
        ("[" * 200_000, "1:52: nested more than 50 deep"),
        ("program: &a [*a]\n", "1:14: the alias *a names nothing that is complete before it"),
        ("program: *x\n", "1:10: the alias *x names nothing that is complete before it"),
        ("a: 1\nb: 2\na: 3\n", "3:1: duplicate key 'a': it stands in line 1 too"),
        ("1: a\n'1': b\n", "2:1: duplicate key '1': it stands in line 1 too"),
        ("program: {{ x }}\n", '1:11: a mapping cannot be a key: a template must be quoted, "{{ x }}"'),
        ("? [a]\n: b\n", '1:3: a list cannot be a key: a template must be quoted, "{{ x }}"'),
        ("a: 2024-13-01\n", "1:4: '2024-13-01' is no date: quote it if it is text"),
        ("a: 2024-01-01T25:00:00Z\n", "1:4: '2024-01-01T25:00:00Z' is no time: quote it if it is text"),
        ("a: 0b_\n", "1:4: '0b_' is no whole number: quote it if it is text"),
        ("<<: 3\n", "1:5: only a mapping can be merged with <<"),
        ("<<: [{a: 1}, 3]\n", "1:14: only a mapping can be merged with <<"),
        ("a: !!python/object:x y\n", "1:4: the tag tag:yaml.org,2002:python/object:x is not allowed here"),
        ("a: !mine {b: 1}\n", "1:4: the tag !mine is not allowed here"),
        ("a: !!binary aGk=\n", "1:4: the tag tag:yaml.org,2002:binary is not allowed here"),
        ("a: !!omap [b: 1]\n", "1:4: the tag tag:yaml.org,2002:omap is not allowed here"),
        ("x" * 4_000_001, "1:1: the file is larger than 4 MB"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_refused_at_its_place(text, fault):
    assert said(text) == [f"a.yaml:{fault}"]


def test_aliases_cannot_blow_up():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert said("\n".join(lines)) == ["a.yaml:5:5: more than 100000 values, aliases followed"]


# -- faults of jobs


def test_faults_stand_where_the_key_stands():
    text = """\
params: [date]
progam: echo
schedule:
  - type: daily
    tz: Erope/London
    daytime: [09:00:00, "9:99"]
  - type: interval
action: &c
  type: schedule
  job_id: b
  if: {states: [sucess]}
metadata:
  labels: {}
"""
    assert said(text) == [
        "a.yaml:2:1: unknown key 'progam': did you mean 'program'?",
        "a.yaml:5:5: schedule.0.tz: unknown time zone 'Erope/London': did you mean 'Europe/London'?",
        "a.yaml:6:25: schedule.0.daytime.1: '9:99' is no daytime: write it as '09:30:00'",
        "a.yaml:7:5: schedule.1: an interval schedule: missing key 'interval'",
        "a.yaml:11:17: action.if.states.0: the text 'sucess' is no state: did you mean 'success'?",
        "a.yaml:13:3: metadata.labels: must be text, not a mapping",
    ]


def test_a_fault_knows_its_job_and_key():
    (error,) = load_text("program: x\nschedule: {type: interval, interval: 0}\n", "team/a").errors
    assert (error.job_id, error.key_path) == ("team/a", ("schedule", "interval"))
    assert (error.line, error.col) == (2, 28)


# -- folders


def test_ids_are_paths_without_the_suffix(tmp_path):
    files = ["a.yaml", "a/b.yaml", "a.b.yaml", "with space/ü.yaml", ".hidden/c.yaml", "_templates.yaml"]
    others = [".hidden.yaml", "x.yml", "x.YAML", "yaml", "x.yaml.j2", "_templates/t.yaml", ".other.yaml"]
    copies = [".ipynb_checkpoints/a-checkpoint.yaml", "a/.ipynb_checkpoints/b-checkpoint.yaml", ".git/x.yaml"]
    folder = load_folder(
        write(tmp_path, dict.fromkeys([*files, *others, *copies, "a/_templates/d.yaml"], "program: x"))
    )
    assert set(folder.jobs) == {
        "a",
        "a/b",
        "a.b",
        "with space/ü",
        ".hidden/c",
        "_templates",
        "a/_templates/d",
    }
    assert folder.errors == []


def test_a_linked_file_is_read_and_a_linked_folder_is_not(tmp_path):
    write(tmp_path, {"elsewhere/a.yaml": "program: x"})
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/linked.yaml").symlink_to(tmp_path / "elsewhere/a.yaml")
    (tmp_path / "jobs/folder").symlink_to(tmp_path / "elsewhere")
    assert set(load_folder(tmp_path / "jobs").jobs) == {"linked"}


def test_a_broken_file_harms_only_its_own_job(tmp_path):
    folder = load_folder(
        write(tmp_path, {"good.yaml": "program: x", "bad.yaml": "program: [", "b/bad.yaml": "progam: x"})
    )
    assert set(folder.jobs) == {"good"}
    assert {e.job_id for e in folder.errors} == {"bad", "b/bad"}
    assert str(folder.errors[0]).startswith(f"{tmp_path}/bad.yaml:2:1: YAML:")


def test_what_cannot_be_read_is_said(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    (tmp_path / os.fsdecode(b"latin-\xff.yaml")).write_text("program: x")
    errors = {e.job_id: e for e in load_folder(tmp_path).errors}
    assert errors["pipe"].message == "cannot be read: it is no regular file"
    assert errors["dangling"].message == "cannot be read: No such file or directory"
    assert errors["latin-?"].message == "the name of the file is not UTF-8"
    assert all(str(e).isprintable() for e in errors.values())


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(NotFound, match=r"there is no job folder .*/nowhere"):
        load_folder(tmp_path / "nowhere")


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path):
    write(tmp_path, {"same.yaml": "program: x", "new.yaml": "program: x", "gone.yaml": "program: x"})
    first = load_folder(tmp_path)
    write(tmp_path, {"new.yaml": "program: {type: no-op}", "more.yaml": "program: y"})
    (tmp_path / "gone.yaml").unlink()
    second = load_folder(tmp_path, first)
    assert second.files["same"] is first.files["same"]
    assert second.jobs["new"].program == NoOp()
    assert set(second.jobs) == {"same", "new", "more"}


def test_a_file_that_became_a_dangling_link_is_broken(tmp_path):
    write(tmp_path, {"a.yaml": "program: x"})
    first = load_folder(tmp_path)
    (tmp_path / "a.yaml").unlink()
    (tmp_path / "a.yaml").symlink_to("nowhere")
    (error,) = load_folder(tmp_path, first).errors
    assert error.message == "cannot be read: No such file or directory"


def test_a_file_that_is_of_the_same_size_but_newer_is_read_again(tmp_path):
    write(tmp_path, {"a.yaml": "program: x"})
    first = load_folder(tmp_path)
    write(tmp_path, {"a.yaml": "program: y"})
    os.utime(tmp_path / "a.yaml", ns=(0, first.files["a"].digest[0] + 1))
    assert load_folder(tmp_path, first).jobs["a"].program == Process(command="y")


def test_a_job_starts_from_the_folder_of_its_file(tmp_path, monkeypatch):
    write(tmp_path, {"jobs/team/a.yaml": "program: x"})
    monkeypatch.chdir(tmp_path)
    assert load_folder("jobs").jobs["team/a"].source == f"{tmp_path}/jobs/team"


def test_one_file_is_a_job_of_its_own_folder_unless_told(tmp_path):
    write(tmp_path, {"jobs/team/a.yaml": "program: x"})
    assert load_file(tmp_path / "jobs/team/a.yaml").job_id == "a"
    assert load_file(tmp_path / "jobs/team/a.yaml", tmp_path / "jobs").job_id == "team/a"


def test_an_empty_folder_is_one_without_jobs():
    assert (Folder().jobs, Folder().errors) == ({}, [])


# -- the check


def test_the_check_finds_what_only_shows_beside_other_jobs(tmp_path):
    write(
        tmp_path,
        {
            "a.yaml": "program: x\ncondition:\n  - type: dependency\n    job_id: bb\n",
            "b.yaml": "params: [x]\nprogram: x\nschedule:\n  type: interval\n  interval: 1h\n",
            "c.yaml": "program: [\n",
            "d.yaml": "program: x\nsuccessors: {job_id: b, args: {x: 1}}\n",
        },
    )
    folder = load_folder(tmp_path)
    found = [str(e).removeprefix(f"{tmp_path}/") for e in check_folder(folder, NOW)]
    assert found == [
        "a.yaml:4:5: condition.0.job_id: there is no job 'bb': did you mean 'b'?",
        "b.yaml:3:1: schedule: missing args (x) for job b",
        "c.yaml:2:1: YAML: did not find expected node content",
    ]
    assert [e.job_id for e in check_folder(folder, NOW, {"b"})] == ["b"]


def test_the_check_finds_the_place_in_a_text_that_is_in_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path, {"a.yaml": "\n\n\nsuccessors: zzz\nprogram: x\n"}))
    posted = load_text("program: x\nsuccessors: zzz\n", "a", file="a.yaml")
    (error,) = check_folder(Folder({"a": posted}), NOW)
    assert str(error) == "a.yaml:2:1: successors.job_id: there is no job 'zzz'"


def test_the_check_tells_the_item_of_a_list(tmp_path):
    text = """\
program: x
action:
  type: schedule
  job_id: yy
  if: {states: error}
successors:
  - a
  - job_id: zz
"""
    errors = check_folder(load_folder(write(tmp_path, {"a.yaml": text})), NOW)
    assert [(e.line, e.col, e.key_path) for e in errors] == [
        (4, 3, ("action", "job_id")),
        (8, 5, ("successors", 1, "job_id")),
    ]


def test_the_check_tells_the_place_in_a_file_as_it_was_read(tmp_path):
    folder = load_folder(write(tmp_path, {"a.yaml": "program: x\nsuccessors: zzz\n"}))
    (tmp_path / "a.yaml").unlink()
    (error,) = check_folder(folder, NOW)
    assert (error.line, error.message) == (2, "successors.job_id: there is no job 'zzz'")


# -- what the jobs of a folder have in common

SETTINGS = """\
aliases: {batch: procstar-shell, nightly: daily}
defaults:
  env: {A: "1", B: "2"}
  metadata: {labels: [team]}
  condition: {type: max_running}
template_functions:
  shout: shouting_of_test:shout
"""


def test_settings_hold_for_every_job_that_says_nothing_else(tmp_path):
    folder = load_folder(
        write(
            tmp_path,
            {
                ".apsis.yaml": SETTINGS,
                "shouting_of_test.py": "def shout(text):\n    return text.upper() + '!'\n",
                "a.yaml": "program: {type: batch, command: 'echo {{ shout(job_id) }}'}\nenv: {B: 3}\n"
                "schedule: {start: {type: nightly, tz: UTC, daytime: '09:00:00'}}\n",
                "b.yaml": "program: x\ncondition: []\nmetadata: {labels: own, owner: me}\n",
            },
        )
    )
    assert [str(e) for e in check_folder(folder, NOW)] == []
    a, b = folder.jobs["a"], folder.jobs["b"]
    assert isinstance(a.program, Process)
    assert (a.program.env, a.labels, len(a.conditions)) == ({"A": "1", "B": "3"}, ("team",), 1)
    assert (b.labels, b.metadata, b.conditions) == (("own",), {"owner": "me"}, ())
    run = bind_run(
        a, run_id=1, args={}, origin=Origin.MANUAL, scheduled_at=NOW, now=NOW, params_of=lambda _: None
    )
    assert run.program.command == "echo A!"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aliasses: {}", "1:1: unknown key 'aliasses': did you mean 'aliases'?"),
        ("- a", "1:1: '.apsis.yaml' must be a mapping, not a list"),
        ("aliases: {a: shel}", "1:11: aliases.a: there is no type 'shel': did you mean 'shell'?"),
        ("aliases: {a: nowhere.A}", "1:11: aliases.a: 'nowhere' cannot be imported: ModuleNotFoundErr"),
        ("aliases: {shell: argv}", "1:11: 'shell' is a type already: choose another name"),
        ("defaults:\n  envi: {}", "2:3: unknown key 'envi': did you mean 'env'?"),
        ("defaults:\n  job_id: a", "2:3: 'job_id' is each job's own"),
        ("defaults: {late: {start: soon}}", "1:19: defaults.late.start: 'soon' is no duration: write for"),
        (
            "template_functions:\n  f: nowhere:f",
            "2:3: template_functions.f: 'nowhere' cannot be imported: Mod",
        ),
        (
            "template_functions: {f: os.pth}",
            "1:22: template_functions.f: 'os' has no function 'pth': did you",
        ),
        ("template_functions: {f: f}", "1:22: 'f' names no function: write module:func"),
        ("template_functions: {Date: os.getcwd}", "1:22: 'Date' is no name for a function: templates have"),
        ("calendars: nowhere", "1:1: calendars: there is no folder 'nowhere'"),
        ("a: [", "2:1: YAML: "),
    ],
)
def test_what_is_wrong_with_settings_is_said_and_no_job_is_trusted(tmp_path, text, said):
    folder = load_folder(write(tmp_path, {".apsis.yaml": text, "a.yaml": "program: x"}))
    assert folder.jobs == {}
    (error,) = folder.errors
    assert str(error).startswith(f"{tmp_path}/.apsis.yaml:{said}")
    assert load_file(tmp_path / "a.yaml").errors == (error,)


REPORT = """\
from dataclasses import dataclass
from apsis_nb.program import Program

@dataclass
class Report(Program):
    day: str
    rows: int = 1

    def run(self, run):
        return None

class Half(Program):
    pass

class Odd(Report):
    def __init__(self, timeout):
        pass

class Nameless(Report):
    def __init__(self, day, /):
        pass

class Other:
    pass
"""


def test_a_program_may_be_a_class_of_a_module_in_the_folder(tmp_path):
    text = "params: [date]\nprogram: {type: reports_of_test.Report, day: '{{ date }}'}\n"
    alias = "params: [date]\nprogram: {type: report, day: x, rows: 3}\n"
    folder = load_folder(
        write(
            tmp_path,
            {
                "reports_of_test.py": REPORT,
                "a.yaml": text,
                "b.yaml": alias,
                ".apsis.yaml": "aliases: {report: reports_of_test.Report}\n",
            },
        )
    )
    assert [str(e) for e in folder.errors] == []
    task = Custom(type="reports_of_test.Report", keys={"day": "{{ date }}"})
    assert folder.jobs["a"].program == Process(task=task)
    assert folder.jobs["b"].program == Process(task=replace(task, keys={"day": "x", "rows": 3}))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("{type: nowhere.Report}", "1:11: program.type: 'nowhere' cannot be imported: ModuleNotFoundError: "),
        ("{type: faulty_of_test.A}", "1:11: program.type: 'faulty_of_test' cannot be imported: ZeroDivision"),
        (
            "{type: reports_of_test.Reprt}",
            "1:11: program.type: 'reports_of_test' has no class 'Reprt': did you",
        ),
        (
            "{type: reports_of_test.Other}",
            "1:11: program.type: 'reports_of_test.Other' is no program and no condition: write 'class Other",
        ),
        (
            "{type: reports_of_test.Half}",
            "1:11: program.type: 'reports_of_test.Half' is no program yet: it has no method 'run(self, run)'",
        ),
        (
            "{type: reports_of_test.Odd}",
            "1:11: program.type: 'Odd' takes 'timeout', which means something for",
        ),
        (
            "{type: reports_of_test.Nameless}",
            "1:11: program.type: 'Nameless' takes 'day' only by position, and",
        ),
        (
            "{type: reports_of_test.Report}",
            "1:1: program: a reports_of_test.Report program: missing key 'day'",
        ),
        ("{type: reports_of_test.Report, dya: 3}", "1:41: unknown key 'dya': did you mean 'day'?"),
    ],
)
def test_what_is_wrong_with_a_class_is_said_where_it_is_named(tmp_path, program, said):
    faulty = "1 / 0\n"
    write(
        tmp_path,
        {"reports_of_test.py": REPORT, "faulty_of_test.py": faulty, "a.yaml": f"program: {program}\n"},
    )
    (error,) = load_folder(tmp_path).errors
    assert str(error).removeprefix(f"{tmp_path}/a.yaml:").startswith(said)


READY = """\
from dataclasses import dataclass
from apsis_nb.condition import Condition
from apsis_nb.program import Program

@dataclass
class Ready(Condition):
    day: str
    count: int = 1

    def check(self, run):
        return True

class Half(Condition):
    pass

class Odd(Ready):
    def __init__(self, enabled):
        pass

class Report(Program):
    def run(self, run):
        return None
"""


def test_a_condition_may_be_a_class_of_a_module_in_the_folder(tmp_path):
    text = "params: [date]\nprogram: x\ncondition: {type: ready_of_test.Ready, day: '{{ date }}'}\n"
    alias = "program: x\ncondition: [{type: ready, day: x, count: 3, enabled: false}]\n"
    folder = load_folder(
        write(
            tmp_path,
            {
                "ready_of_test.py": READY,
                "a.yaml": text,
                "b.yaml": alias,
                ".apsis.yaml": "aliases: {ready: ready_of_test.Ready}\n",
            },
        )
    )
    assert [str(e) for e in check_folder(folder, NOW)] == []
    ready = CustomCondition(type="ready_of_test.Ready", keys={"day": "{{ date }}"})
    assert folder.jobs["a"].conditions == (ready,)
    assert folder.jobs["b"].conditions == (replace(ready, keys={"day": "x", "count": 3}, enabled=False),)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            "{type: nowhere.Ready}",
            "2:13: condition.type: 'nowhere' cannot be imported: ModuleNotFound",
        ),
        ("{type: ready_of_test.Redy}", "2:13: condition.type: 'ready_of_test' has no class 'Redy': did you"),
        (
            "{type: ready_of_test.dataclass}",
            "2:13: condition.type: 'ready_of_test' has no class 'dataclass'",
        ),
        (
            "{type: pathlib.Path}",
            "2:13: condition.type: 'pathlib.Path' is no program and no condition: write",
        ),
        (
            "{type: ready_of_test.Report}",
            "2:13: condition.type: 'ready_of_test.Report' is a program, and no condition",
        ),
        (
            "{type: ready_of_test.Half}",
            "2:13: condition.type: 'ready_of_test.Half' is no condition yet: it has no method 'check(self,",
        ),
        (
            "{type: ready_of_test.Odd, enabled: true}",
            "2:13: condition.type: 'Odd' takes 'enabled', which means something for every condition",
        ),
        (
            "{type: ready_of_test.Ready}",
            "2:1: condition: a ready_of_test.Ready condition: missing key 'day'",
        ),
        (
            "[{type: file, path: a}, {type: ready_of_test.Ready, dya: 3}]",
            "2:64: unknown key 'dya': did you mean 'day'?",
        ),
        (
            "{type: ready_of_test.Ready, day: '{{ x }'}",
            "2:40: condition.day: template: unexpected '}'",
        ),
    ],
)
def test_what_is_wrong_with_a_class_of_a_condition_is_said_where_it_is_named(tmp_path, condition, said):
    text = f"program: x\ncondition: {condition}\n"
    (error,) = load_folder(write(tmp_path, {"ready_of_test.py": READY, "a.yaml": text})).errors
    assert str(error).removeprefix(f"{tmp_path}/a.yaml:").startswith(said)


def test_a_condition_is_no_program(tmp_path):
    text = "program: {type: ready_of_test.Ready, day: x}\n"
    (error,) = load_folder(write(tmp_path, {"ready_of_test.py": READY, "a.yaml": text})).errors
    assert "program.type: 'ready_of_test.Ready' is a condition, and no program" in str(error)


def test_a_class_that_comes_to_be_mends_a_job_at_the_next_look(tmp_path):
    write(tmp_path, {"a.yaml": "program: {type: late_report_of_test.Report, day: x}\n"})
    first = load_folder(tmp_path)
    assert len(first.errors) == 1
    write(tmp_path, {"late_report_of_test.py": REPORT})
    assert load_folder(tmp_path, first).errors == []


def test_hosts_are_those_that_are_given(tmp_path):
    write(tmp_path, {"a.yaml": "program: x\nhost: west\n", ".apsis.yaml": "defaults: {env: {A: 1}}\n"})
    (error,) = load_folder(tmp_path).errors
    assert str(error).startswith(f"{tmp_path}/a.yaml:2:1: host: 'west' is not mapped under 'hosts'")
    assert load_folder(tmp_path, hosts={"west": "local"}).errors == []
    assert load_folder(tmp_path, hosts=None).errors == []
    write(tmp_path, {".apsis.yaml": "defaults: {host: west}\n"})
    (broken,) = load_folder(tmp_path).errors
    assert str(broken).startswith(f"{tmp_path}/.apsis.yaml:1:12: defaults.host: 'west' is not mapped")


def test_changed_settings_read_all_files_again(tmp_path):
    write(tmp_path, {".apsis.yaml": "defaults: {env: {A: 1}}", "a.yaml": "program: x"})
    first = load_folder(tmp_path)
    write(tmp_path, {".apsis.yaml": "defaults: {env: {A: 2}}"})
    assert load_folder(tmp_path, first).jobs["a"].program == Process(command="x", env={"A": "2"})
    (tmp_path / ".apsis.yaml").write_text("# nothing yet\n")
    assert load_folder(tmp_path, first).jobs["a"].program == Process(command="x")


def test_one_file_belongs_to_the_nearest_folder_with_settings(tmp_path, monkeypatch):
    write(tmp_path, {"jobs/.apsis.yaml": "defaults: {env: {A: 1}}", "jobs/team/a.yaml": "program: x"})
    monkeypatch.chdir(tmp_path / "jobs/team")
    file = load_file("a.yaml")
    assert (file.job_id, file.job.program) == ("team/a", Process(command="x", env={"A": "1"}))
