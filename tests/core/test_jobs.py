"""Jobs: what a job file may say, what is wrong with it in words, and the runs that are made from it."""

import contextlib
import json
import math
import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.actions import ScheduleAction, When
from apsis_nb.core.checks import Checks
from apsis_nb.core.conditions import (
    Const,
    CustomCondition,
    Dependency,
    FileExists,
    MaxRunning,
    SkipDuplicate,
    SqlIsTrue,
)
from apsis_nb.core.errors import BindError, JobError, JobErrors
from apsis_nb.core.jobs import (
    Job,
    bind_args,
    bind_run,
    job_from_dict,
    job_to_dict,
)
from apsis_nb.core.params import Param
from apsis_nb.core.programs import ClassKeys, NoOp, Process, Site, Stop, Timeout, program_from_dict
from apsis_nb.core.retention import FOREVER, Keep
from apsis_nb.core.runs import Origin, Retry
from apsis_nb.core.schedules import schedule_from_dict, times_between
from apsis_nb.core.states import State
from tests.strategies import FILES, job_mappings, params, schedules, yaml_values

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)

NO_OP = {"type": "no-op"}


def job(job_id: str = "a", /, **keys: Any) -> Job:
    return job_from_dict(job_id, {"program": NO_OP, **keys})


def faults(**keys: Any) -> list[str]:
    with pytest.raises(JobErrors) as caught:
        job(**keys)
    return [str(error) for error in caught.value.errors]


def run_of(job: Job, **args: str):
    return bind_run(
        job,
        run_id=7,
        args=args,
        origin=Origin.MANUAL,
        scheduled_at=NOW,
        now=NOW,
        params_of={"a": ("date",), "b": ("date", "region")}.get,
    )


# -- laws


@given(job_mappings() | yaml_values())
def test_any_value_is_a_job_or_says_what_is_wrong(data):
    errors = []
    try:
        made = job_from_dict("a", data)
    except JobErrors as caught:
        errors = caught.errors
    else:
        assert json.dumps(job_to_dict(made))
        return
    assert errors
    assert all(error.message for error in errors)


@given(yaml_values() | job_mappings())
def test_any_value_is_a_program_or_says_what_is_wrong(data):
    with contextlib.suppress(JobError, JobErrors):
        made = program_from_dict(data, ("program",))
        assert program_from_dict(made.to_dict()) == made


@given(
    st.lists(schedules(), max_size=3),
    st.lists(params(), unique_by=lambda p: p.name, max_size=3),
    st.lists(st.text(min_size=1), unique=True, max_size=2),
    st.none() | st.text(),
)
def test_a_job_survives_its_dict(its_schedules, its_params, labels, description):
    made = Job(
        job_id="team/a",
        program=Process(command="echo {{ x }}", env={"A": "1"}, cwd="sub", timeout=Timeout(duration_s=5)),
        params=tuple(its_params),
        schedules=tuple(its_schedules),
        conditions=(
            MaxRunning(count=2),
            MaxRunning(count="{{ x }}", job_id="b", args={"date": "{{ x }}"}),
            MaxRunning(group="{{ x }}"),
            Dependency(job_id="b", args={"date": "{{ x }}"}),
            Dependency(job_id="b", exist=frozenset({State.SUCCESS, State.RUNNING})),
            SkipDuplicate(check_states=frozenset({State.RUNNING}), target_state=State.ERROR),
            FileExists(path="in/{{ x }}.csv", min_bytes=1, poll_s=5),
            SqlIsTrue(query="SELECT true", poll_s=60, enabled="{{ x }}"),
            CustomCondition(type="lib.Ready", keys={"x": ["{{ x }}", 1]}, enabled="{{ x }}"),
            Const(value=True),
        ),
        actions=(
            ScheduleAction(job_id="b", args={"date": "{{ x }}"}, when=When.of(State.FAILURE)),
            ScheduleAction(job_id="c", when=When.of(State.SUCCESS, State.SKIPPED, "late")),
        ),
        labels=tuple(labels),
        description=description,
        metadata={"owner": "me"},
        late_start_s=300,
        max_wait_s=60,
        retry=Retry(count=3, delay_s=5, backoff=2, max_delay_s=60, states=frozenset({State.ERROR})),
        late_finish_s=7200.0,
        late_finish_by=time(7, 30),
    )
    told = job_to_dict(made)
    assert len(told.pop("explain")["schedule"]) == len(its_schedules)
    site = Site(class_of=lambda _: ClassKeys(of="condition", takes_any=True))
    assert job_from_dict("team/a", json.loads(json.dumps(told)), calendars=FILES, site=site) == made


# -- params and args


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ("date", ["date"]),
        (["b", "a", "b"], ["b", "a"]),
        ({"a": None, "b": None}, ["a", "b"]),
        ([1, "a b"], ["1", "a b"]),
        (None, []),
        ([], []),
    ],
)
def test_params_are_named_in_several_forms(params, names):
    assert [p.name for p in job(params=params).params] == names


def test_params_may_have_types_defaults_choices_and_words():
    made = job(
        params={
            "date": "date",
            "n": {"type": "int", "default": 3, "choices": [1, 2, "3"]},
            "region": {"choices": ["eu", "us"], "description": "where"},
        }
    )
    assert made.params == (
        Param(name="date", type="date"),
        Param(name="n", type="int", default="3", choices=("1", "2", "3")),
        Param(name="region", choices=("eu", "us"), description="where"),
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"a": {"type": "dat"}}, "params.a.type: unknown param type 'dat': did you mean 'date'?"),
        (
            {"a": {"type": 3}},
            "params.a.type: unknown param type '3':"
            " one of str, int, float, bool, date, time, datetime, choice, duration",
        ),
        ({"a": {"typ": "int"}}, "params.a.typ: unknown key 'typ': did you mean 'type'?"),
        ({"a": {"type": "int", "default": "x"}}, "params.a.default: 'x' is not a whole number"),
        ({"a": {"default": "x", "choices": ["y"]}}, "params.a.default: 'x' is none of y"),
        ({"a": {"type": "int", "choices": [1, "y"]}}, "params.a.choices.1: 'y' is not a whole number"),
        ({"a": "choice"}, "params.a: a param of type 'choice' needs 'choices', for example [small, large]"),
        ({"a": {"choices": [[]]}}, "params.a.choices: must be text, not a list"),
        ({"a": [1]}, "params.a: param 'a' must be a mapping, not a list"),
        ([["a"]], "params: must be text, not a list"),
    ],
)
def test_what_is_wrong_with_params_is_said(params, said):
    assert faults(params=params) == [said]


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("str", 1.5, "1.5"),
        ("str", None, "None"),
        ("int", " 007 ", "7"),
        ("int", "1_000", "1000"),
        ("float", "1e3", "1e3"),
        ("bool", "Yes", "true"),
        ("bool", False, "false"),
        ("date", "20260131", "2026-01-31"),
        ("date", date(2026, 1, 31), "2026-01-31"),
        ("daytime", "9:30:00", "09:30:00"),
        ("time", "9:30:00", "09:30:00"),
        ("datetime", "2026-01-31T10:00:00+01:00", "2026-01-31T09:00:00Z"),
        ("duration", "90m", "1h30m"),
    ],
)
def test_an_arg_takes_the_one_form_of_its_type(kind, given, value):
    assert bind_args(job(params={"x": kind}), {"x": given}) == {"x": value}


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("int", "1.5", "a whole number"),
        ("float", "nan", "a number"),
        ("float", "x", "a number"),
        ("bool", "maybe", "true or false"),
        ("date", "2026-02-30", "a date such as 2026-01-31"),
        ("daytime", "25:00:00", "a daytime such as 09:30:00"),
        ("time", "09:00", "a daytime such as 09:30:00"),
        ("datetime", "09:00", "a time such as 2026-01-31T09:00:00Z"),
        ("duration", "soon", "a duration such as 90s or 1h30m"),
    ],
)
def test_an_arg_of_another_type_is_refused(kind, given, words):
    with pytest.raises(BindError, match=f"^arg x of job a: '{given}' is not {words}$"):
        bind_args(job(params={"x": kind}), {"x": given})


def test_args_must_be_those_of_the_params():
    two = job(params=["x", "y"])
    with pytest.raises(BindError, match=r"^missing args \(x, y\) for job a$"):
        bind_args(two, {})
    with pytest.raises(BindError, match=r"^extra args \(a, z\) for job a$"):
        bind_args(two, {"x": 1, "z": 2, "a": 3, "y": 4})
    with pytest.raises(BindError, match=r"^missing args \(y\) for job a; extra args \(z\) for job a$"):
        bind_args(two, {"x": 1, "z": 2})


def test_an_arg_that_is_not_given_takes_its_default_and_no_other_than_the_choices():
    made = job(params={"x": {"default": "p", "choices": ["p", "q"]}})
    assert bind_args(made, {}) == {"x": "p"}
    assert bind_args(made, {"x": "q"}) == {"x": "q"}
    with pytest.raises(BindError, match="'r' is none of p, q"):
        bind_args(made, {"x": "r"})


def test_a_schedule_s_own_args_win_over_what_it_derives():
    made = job(params=["date", "region"])
    derived = {"date": "2026-01-31", "time": "x"}
    assert made.args_for(derived, {"region": "eu", "other": 1}) == {"date": "2026-01-31", "region": "eu"}
    assert made.args_for(derived, {"date": 1}) == {"date": "1"}


# -- programs


@pytest.mark.parametrize(
    ("data", "program"),
    [
        ("echo hi", Process(command="echo hi")),
        (["echo", 1], Process(argv=("echo", "1"))),
        ({"type": "shell", "command": "a | b"}, Process(command="a | b")),
        ({"type": "shell", "command": "a", "shell": "/bin/sh"}, Process(command="a", shell="/bin/sh")),
        ({"type": "argv", "argv": ["a", True]}, Process(argv=("a", "True"))),
        ({"type": "program", "argv": ["a"]}, Process(argv=("a",))),
        ({"type": "procstar", "argv": ["a"], "group_id": "default"}, Process(argv=("a",), host="local")),
        ({"type": "procstar-shell", "command": "a", "resources": {}}, Process(command="a")),
        (
            {"type": "shell", "command": "a", "env": {"N": 1}, "cwd": "x"},
            Process(command="a", env={"N": "1"}, cwd="x"),
        ),
        (
            {"type": "shell", "command": "a", "stop": {"signal": "INT", "grace_period": "5s"}},
            Process(command="a", stop=Stop(signal="SIGINT", grace_period_s=5)),
        ),
        (
            {"type": "shell", "command": "a", "stop": {"signal": "9"}},
            Process(command="a", stop=Stop(signal="SIGKILL")),
        ),
        (
            {"type": "shell", "command": "a", "stop": {"signal": 9}},
            Process(command="a", stop=Stop(signal="SIGKILL")),
        ),
        (
            {"type": "shell", "command": "a", "timeout": {"duration": "1h", "signal": "SIGUSR1"}},
            Process(command="a", timeout=Timeout(duration_s=3600, signal="SIGUSR1")),
        ),
        (
            {"type": "shell", "command": "a", "timeout": 90},
            Process(command="a", timeout=Timeout(duration_s=90)),
        ),
        ({"type": "shell", "command": "a", "timeout": None}, Process(command="a")),
        ({"type": "no-op"}, NoOp()),
        ({"type": "no-op", "duration": None}, NoOp()),
        ({"type": "no-op", "duration": "1m", "success": False}, NoOp(duration_s=60, success=False)),
    ],
)
def test_a_program_is_read(data, program):
    assert program_from_dict(data) == program
    assert program_from_dict(program.to_dict()) == program


def test_a_grace_period_of_null_is_longer_than_any_program():
    program = program_from_dict({"type": "shell", "command": "a", "stop": {"grace_period": None}})
    assert isinstance(program, Process)
    assert math.isfinite(program.stop.grace_period_s)
    assert program.stop.grace_period_s > 1e8


def shell(**keys: Any) -> dict[str, Any]:
    return {"type": "shell", "command": "a", **keys}


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "program: a program must be a mapping, not nothing"),
        ("  ", "program: must be a command, not the text '  '"),
        ([], "program: must name a program, not be empty"),
        ({"command": "a"}, "program: a program: missing key 'type':"),
        ({"type": "shel"}, "program.type: unknown program type 'shel': did you mean 'shell'?"),
        ({"type": "lib.MyOwn"}, "program.type: 'lib.MyOwn' is code of the server, which only"),
        ({"type": "lib/MyOwn"}, "program.type: unknown program type 'lib/MyOwn': one of no-op, shell,"),
        ({"type": "dask"}, "program.type: program type 'dask' is not supported yet"),
        ({"type": "notebook"}, "program: a notebook program: missing key 'path'"),
        ({"type": "shell"}, "program: a shell program: missing key 'command'"),
        (
            {"type": "argv", "argv": "echo"},
            "program.argv: must be a list of args, not the text 'echo'; for a command",
        ),
        ({"type": "argv", "argv": [["a"]]}, "program.argv: must be text, not a list"),
        ({"type": "argv", "argv": ["a\0b"]}, "program.argv: must not hold a NUL character"),
        (shell(comand="b"), "program.comand: unknown key 'comand': did you mean 'command'?"),
        (shell(command="{{ x }"), "program.command: template: unexpected '}'"),
        (shell(env={"A": "{{ }}"}), "program.env: template: "),
        (shell(env=["A"]), "program.env: must be a mapping, not a list"),
        (shell(pty="yes"), "program.pty: must be true or false, not the text 'yes'"),
        (shell(env_file=""), "program.env_file: must not be empty"),
        (shell(user=[]), "program.user: must be text, not a list"),
        (shell(split="yes"), "program.split: must be true or false, not the text 'yes'"),
        (shell(output="x"), "program.output: 'output' must be a mapping, not the text 'x'"),
        (shell(output={"max_size": "big"}), "program.output.max_size: must be a size such as 2GB or 500MB"),
        (shell(pty=True, split=True), "program.pty: a terminal has one output: leave out either 'pty' or"),
        (shell(outputs={"name": "x"}), "program.outputs: an output: missing key 'path'"),
        (shell(outputs=[{"path": ""}]), "program.outputs.0.path: must not be empty"),
        (
            shell(outputs={"path": "a", "name": "a/b"}),
            "program.outputs.name: 'a/b' can be no name of an output",
        ),
        (shell(outputs={"path": "a", "min_bytes": -1}), "program.outputs.min_bytes: must be a size"),
        (shell(outputs={"path": "a", "newer_than": "now"}), "program.outputs.newer_than: must be 'start'"),
        (
            shell(outputs={"path": "a", "requird": 1}),
            "program.outputs.requird: unknown key 'requird': did you",
        ),
        (shell(group_id="default"), "program.group_id: unknown key 'group_id'"),
        (
            shell(stop={"signal": "SIGTREM"}),
            "program.stop.signal: 'SIGTREM' is no signal: did you mean 'SIGTERM'?",
        ),
        (
            shell(stop={"signal": 99}),
            "program.stop.signal: must be the name of a signal such as SIGTERM, not 99",
        ),
        (
            shell(stop={"signal": True}),
            "program.stop.signal: must be the name of a signal such as SIGTERM, not True",
        ),
        (shell(stop={"grace_period": -1}), "program.stop.grace_period: must be 0 or more, not -1"),
        (shell(stop="SIGTERM"), "program.stop: 'stop' must be a mapping, not the text 'SIGTERM'"),
        (shell(timeout={"duration": 0}), "program.timeout.duration: must be more than 0, not 0"),
        (
            shell(timeout={"durtion": 1}),
            "program.timeout.durtion: unknown key 'durtion': did you mean 'duration'?",
        ),
        (shell(timeout={"duration": "{{ x }"}), "program.timeout.duration: template: unexpected '}'"),
        ({"type": "no-op", "success": "no"}, "program.success: must be true or false, not the text 'no'"),
    ],
)
def test_what_is_wrong_with_a_program_is_said(program, said):
    assert faults(program=program)[0].startswith(said)


def test_durations_and_signals_may_be_templates():
    program = shell(
        stop={"signal": "{{ sig }}", "grace_period": "{{ n }} min"},
        timeout={"duration": "{{ n|int * 60 }}", "signal": "SIG{{ sig }}"},
    )
    run = run_of(job(params=["n", "sig"], program=program), n="2", sig="INT")
    assert run.program == Process(
        command="a",
        stop=Stop(signal="SIGINT", grace_period_s=120.0),
        timeout=Timeout(duration_s=120.0, signal="SIGINT"),
    )
    pause = job(params=["n"], program={"type": "no-op", "duration": "{{ n }}s"})
    assert run_of(pause, n="1.5").program == NoOp(duration_s=1.5)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (shell(timeout="{{ n }}"), "timeout.duration: 'soon' is no duration"),
        (shell(stop={"signal": "{{ n }}"}), "stop.signal: 'soon' is no signal"),
        ({"type": "no-op", "duration": "-{{ 1 }}"}, "duration: must be 0 or more"),
    ],
)
def test_a_template_that_gives_no_duration_or_signal_is_said(program, said):
    with pytest.raises(BindError, match=said):
        run_of(job(params=["n"], program=program), n="soon")


def test_the_program_of_a_run_holds_no_templates_any_more():
    run = run_of(job(params=["x"], program="echo {{ x }}"), x="{% oops {{")
    told = json.loads(json.dumps(run.program.to_dict()))
    assert program_from_dict(told, is_bound=True) == Process(command="echo {% oops {{")


def test_a_no_op_without_success_ends_in_error():
    assert job(program={"type": "no-op", "success": None}).program == NoOp(success=None)


def test_all_that_is_wrong_with_a_condition_is_said_at_once():
    wrong = {"type": "dependency", "job": "b", "args": [1], "states": ["success", "running"], "enabled": 1}
    assert faults(condition=[wrong, {"type": "max_running", "count": 0}, {"type": "const"}]) == [
        "condition.0.enabled: must be true, false or a quoted template, not 1",
        "condition.0.states.1: the text 'running' is no state in which a run ends:"
        " one of success, failure, error, skipped",
        "condition.0.args: must be a mapping, not a list",
        "condition.0.job: unknown key 'job': did you mean 'job_id'?",
        "condition.1.count: must be a whole number above 0, or a template, not 0",
        "condition.2: a const condition: missing key 'value'",
    ]


def test_env_cwd_and_shell_of_the_job_are_those_of_its_program_unless_it_has_its_own():
    own = {"type": "shell", "command": "a", "env": {"A": 1}, "cwd": "own", "shell": "/bin/dash"}
    keys = {"env": {"A": 0, "B": 2}, "cwd": "folder", "shell": "/bin/sh"}
    assert job(program=own, **keys).program == Process(
        command="a", env={"A": "1", "B": "2"}, cwd="own", shell="/bin/dash"
    )
    assert job(program="a", **keys).program == Process(
        command="a", env={"A": "0", "B": "2"}, cwd="folder", shell="/bin/sh"
    )
    assert job(**keys).program == NoOp()


# -- the other keys


def test_schedule_condition_and_action_are_one_or_a_list():
    schedule = {"type": "interval", "interval": 60}
    condition = {"type": "max_running", "count": 2}
    action = {"type": "schedule", "job_id": "b", "if": {"states": "failure"}}
    one = job(schedule=schedule, condition=condition, action=action)
    assert one == job(schedule=[schedule], condition=[condition], action=[action])
    assert one.schedules == (schedule_from_dict(schedule),)
    assert one.conditions == (MaxRunning(count=2),)
    assert one.actions == (ScheduleAction(job_id="b", when=When.of(State.FAILURE)),)
    assert job(schedule=None) == job(schedule=[]) == job()


def test_successors_are_actions_on_success():
    success = When.of(State.SUCCESS)
    b, c = (
        ScheduleAction(job_id="b", when=success),
        ScheduleAction(job_id="c", args={"x": "1"}, when=success),
    )
    assert job(successors="b").actions == (b,)
    assert job(successors=["b", {"job_id": "c", "args": {"x": 1}}]).actions == (b, c)
    first = {"type": "schedule", "job_id": "z", "if": {"states": ["error", "failure"]}}
    assert [a.job_id for a in job(action=first, successors="b").actions] == ["z", "b"]


def test_metadata_is_kept():
    made = job(
        metadata={"labels": ["x", "y", "x"], "description": "*hi*", "owner": {"since": date(2026, 1, 1)}}
    )
    assert made.labels == ("x", "y")
    assert made.description == "*hi*"
    assert made.metadata == {"owner": {"since": "2026-01-01"}}
    assert job(metadata={"labels": "x"}).labels == ("x",)
    assert job(metadata={"labels": None}).labels == ()
    other = job(metadata={"n": [math.inf, None, 1, True, time(9)]}).metadata
    assert other == {"n": ["inf", None, 1, True, "09:00:00"]}


def test_the_late_budget_is_a_minute_unless_told():
    assert job().late_start_s == 60
    assert job(late={"start": "5m"}).late_start_s == 300
    assert job(late={}).late_start_s == 60


def test_a_run_of_a_schedule_has_a_time_by_which_it_should_finish():
    tokyo = {"type": "daily", "tz": "Asia/Tokyo", "daytime": "09:00:00"}
    hourly = {"type": "interval", "interval": "1h"}
    at = datetime(2026, 1, 31, tzinfo=UTC)  # 09:00 in Tokyo

    def finish(late, schedule=tokyo):
        made = job(late=late, schedule=schedule)
        found = made.late_finish_at(made.schedules[0], at)
        return found and found - at

    assert finish({}) is None
    assert finish({"finish": "2h"}) == timedelta(hours=2)
    assert finish({"finish_by": "10:30:00"}) == timedelta(hours=1.5)
    assert finish({"finish_by": "09:00:00"}) == timedelta(days=1)  # the next one
    assert finish({"finish_by": "10:30:00"}, hourly) == timedelta(hours=10.5)  # in UTC
    assert finish({"finish_by": "10:30:00", "finish": "1h"}) == timedelta(hours=1)  # whichever is first


def test_a_job_may_say_its_own_id():
    assert job(job_id="a", ad_hoc=True).ad_hoc
    assert faults(job_id="b") == [
        "job_id: 'b' is not the job's id 'a', which comes from the file's path: leave it out"
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"progam": 1}, "progam: unknown key 'progam': did you mean 'program'?"),
        ({"schedules": []}, "schedules: unknown key 'schedules': did you mean 'schedule'?"),
        ({"conditions": []}, "conditions: unknown key 'conditions': did you mean 'condition'?"),
        ({"actions": []}, "actions: unknown key 'actions': did you mean 'action'?"),
        ({"labels": ["x"]}, "labels: unknown key 'labels': write it under 'metadata'"),
        (
            {"command": "x"},
            "command: unknown key 'command': write it under 'program', or 'program: \"COMMAND\"'",
        ),
        ({"retry": -1}, "retry.count: must be how many more attempts there are, 0 to 1000, not -1"),
        ({"retry": {"delay": 5}}, "retry: 'retry': missing key 'count'"),
        ({"retry": {"count": 1, "backoff": 0}}, "retry.backoff: must be a factor for each further delay"),
        ({"retry": {"count": 1, "states": "skipped"}}, "retry.states: only after 'failure' and 'error'"),
        ({"waiting": 5}, "waiting: 'waiting' must be a mapping, not 5"),
        ({"waiting": {"max_time": 0}}, "waiting.max_time: must be more than 0, not 0"),
        ({"zzz": 3}, "zzz: unknown key 'zzz'"),
        ({3: 3}, "3: unknown key '3'"),
        ({"metadata": None}, "metadata: 'metadata' must be a mapping, not nothing"),
        ({"metadata": {"labels": [[1]]}}, "metadata.labels: must be text, not a list"),
        ({"late": {"finish": "0s"}}, "late.finish: must be more than 0, not 0s"),
        ({"late": {"finish_by": "7:30"}}, "late.finish_by: '7:30' is no daytime: write the seconds too"),
        ({"late": {"end": "1h"}}, "late.end: unknown key 'end'"),
        ({"late": {"start": "soon"}}, "late.start: 'soon' is no duration:"),
        ({"ad_hoc": "yes"}, "ad_hoc: must be true or false, not the text 'yes'"),
        ({"shell": ""}, "shell: must not be empty"),
        ({"shell": 3}, "shell: must be text, not 3"),
        ({"condition": None}, "condition: "),
        ({"condition": [{"type": "max_runing"}]}, "condition.0.type: unknown condition type"),
        (
            {"condition": {"type": "skip_duplicate", "target_state": "success"}},
            "condition.target_state: a run that was not run cannot end in 'success': write",
        ),
        ({"action": None}, "action: an action must be a mapping, not nothing"),
        ({"action": {"type": "email"}}, "action.type: unknown action type 'email': one of schedule,"),
        ({"action": {"type": "schedule", "job_id": "b"}}, "action: a schedule action: missing key 'if'"),
        (
            {"action": {"type": "schedule", "job_id": "b", "if": None}},
            "action.if: must say when, for example 'if: {states: [success]}'",
        ),
        (
            {"action": {"type": "schedule", "job_id": "b", "if": {}}},
            "action.if: must name states, or 'late', 'missed' or 'recovered', for example",
        ),
        (
            {"action": {"type": "schedule", "job_id": "b", "if": {"states": ["sucess"]}}},
            "action.if.states.0: the text 'sucess' is no state: did you mean 'success'?",
        ),
        (
            {"action": {"type": "schedule", "job_id": "b", "if": {"states": [3]}}},
            "action.if.states.0: 3 is no state: one of scheduled,",
        ),
        (
            {"action": {"type": "schedule", "job_id": "b", "if": {"states": "success", "late": "yes"}}},
            "action.if.late: must be true or false, not the text 'yes'",
        ),
        (
            {"action": {"type": "schedule", "job_id": "b", "if": {"late": False}}},
            "action.if: must name states, or",
        ),
        (
            {"action": {"type": "schedule", "job_id": "b", "if": {"failed": True}}},
            "action.if.failed: unknown key 'failed'",
        ),
        ({"successors": {"args": {}}}, "successors: a successor: missing key 'job_id'"),
        ({"successors": [{"job_id": "b", "args": {"x": "{{ }"}}]}, "successors.0.args: template:"),
        ({"successors": [3]}, "successors.0: a successor must be a mapping, not 3"),
    ],
)
def test_what_is_wrong_with_a_job_is_said(keys, said):
    with pytest.raises(JobErrors) as caught:
        job_from_dict("a", {"program": NO_OP, **keys})
    assert str(caught.value.errors[0]).startswith(said)
    assert len(caught.value.errors) == 1


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(JobErrors) as caught:
        job_from_dict("a", {"progam": "x", "schedule": [{"type": "daily"}, {}], "condition": [3], "late": 1})
    paths = [error.path for error in caught.value.errors]
    assert Counter(paths) == Counter(
        [("schedule", 0), ("schedule", 0), ("schedule", 1), ("condition", 0), ("late",), ("progam",)]
    )
    assert caught.value.job_id == "a"


def test_what_is_no_mapping_is_no_job():
    for data in (None, [], "echo", 3):
        with pytest.raises(JobErrors, match=r"^a: job a must be a mapping, not "):
            job_from_dict("a", data)


# -- runs


def test_a_run_has_every_template_expanded():
    made = job_from_dict(
        "a",
        {
            "params": ["date"],
            "program": {
                "type": "shell",
                "command": "report {{ date | quote }} {{ run_id }}",
                "env": {"DAY": "{{ format(Date(date), '%d') }}"},
                "cwd": "{{ date }}",
            },
            "condition": [
                {"type": "max_running"},
                {"type": "dependency", "job_id": "b", "args": {"region": "{{ job_id }}"}},
                {"type": "const", "value": False, "enabled": "{{ date == '2026-01-01' }}"},
            ],
            "action": {
                "type": "schedule",
                "job_id": "b",
                "args": {"x": "{{ date }}"},
                "if": {"states": "error"},
            },
            "metadata": {"labels": ["x"]},
            "late": {"start": 90},
        },
        source="/jobs",
    )
    run = bind_run(
        made,
        run_id=7,
        args={"date": "2026-01-31"},
        origin=Origin.SCHEDULE,
        scheduled_at=NOW,
        nominal_at=NOW,
        now=NOW,
        params_of={"b": ("date", "region")}.get,
        labels=["y", "x"],
        by="me",
        attempt=2,
        rerun_of=5,
    )
    assert run.program == Process(command="report 2026-01-31 r7", env={"DAY": "31"}, cwd="2026-01-31")
    assert run.args == {"date": "2026-01-31"}
    assert [str(c) for c in run.conditions] == [
        "fewer than 1 of a(date=2026-01-31) running",
        "b(date=2026-01-31, region=a) to end in success",
    ]
    assert run.actions == made.actions
    assert (run.labels, run.by, run.attempt, run.rerun_of) == (("x", "y"), "me", 2, 5)
    assert (run.state, run.state_at, run.scheduled_at, run.nominal_at) == (State.SCHEDULED, NOW, NOW, NOW)
    assert (run.late_start_s, run.cwd) == (90, "/jobs")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"program": "{{ x }}"}, "^name 'x' is not defined$"),
        ({"condition": {"type": "dependency", "job_id": "b"}}, "no value for param region of job b"),
        ({"condition": {"type": "dependency", "job_id": "zz"}}, "there is no job zz"),
        ({"condition": {"type": "max_running", "count": "{{ date }}"}}, "is not a whole number"),
    ],
)
def test_a_run_that_cannot_be_bound_says_why(keys, said):
    with pytest.raises(BindError, match=said):
        run_of(job(params="date", **keys), date="2026-01-31")


def test_a_condition_that_is_not_enabled_need_not_make_sense():
    gone = {"type": "dependency", "job_id": "gone", "enabled": "{{ date > '2030' }}"}
    run = run_of(job(params="date", condition=[gone, {"type": "const", "value": True}]), date="2026-01-31")
    assert [str(c) for c in run.conditions] == ["always"]


def test_an_action_sees_the_args_of_its_run_and_nothing_else():
    (action,) = job(successors={"job_id": "b", "args": {"day": "{{ date }}!"}}).actions
    assert action.expanded({"date": "2026-01-31"}) == {"day": "2026-01-31!"}
    with pytest.raises(BindError, match="name 'date' is not defined"):
        action.expanded({})
    (other,) = job(successors={"job_id": "b", "args": {"day": "{{ Date('2026-01-01') }}"}}).actions
    with pytest.raises(BindError, match="name 'Date' is not defined"):
        other.expanded({})


# -- jobs beside each other


def told(made: Job, *others: Job) -> list[str]:
    return [str(fault) for fault in Checks({j.job_id: j for j in (made, *others)}, NOW).of(made)]


HOURLY = {"type": "interval", "interval": "1h"}


def test_a_good_job_has_no_faults():
    scheduled = job("a", params=["date"], program="echo {{ date }}", schedule=HOURLY, successors="b")
    assert told(scheduled, job("b", params=["date"])) == []
    assert told(job("a", condition={"type": "dependency", "job_id": "{{ job_id }}"})) == []
    assert told(job("a", condition={"type": "max_running", "job_id": "b"}), job("b")) == []
    assert told(job("a", params="x", program="{% set y = 1 %}{{ x }}{{ y }}{{ Date }}{{ run_id }}")) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"successors": "bb"}, "action.0.job_id: there is no job 'bb': did you mean 'b'?"),
        ({"condition": {"type": "dependency", "job_id": "zzz"}}, "condition.0.job_id: there is no job 'zzz'"),
        (
            {"condition": {"type": "max_running", "job_id": "zzz"}},
            "condition.0.job_id: there is no job 'zzz'",
        ),
        (
            {"condition": [{"type": "const", "value": True}, {"type": "dependency", "job_id": "b"}]},
            "condition.1: no value for param region of job b: give it under 'args'",
        ),
        (
            {"condition": {"type": "dependency", "job_id": "b", "args": {"region": 1, "regoin": 2}}},
            "condition.0.args.regoin: job b has no param 'regoin': did you mean 'region'?",
        ),
        ({"schedule": [HOURLY], "params": "x"}, "schedule.0: missing args (x) for job a"),
        ({"schedule": HOURLY, "program": "{{ y }}"}, "schedule.0: name 'y' is not defined"),
        (
            {"schedule": {**HOURLY, "enabled": False}, "program": "{{ y }}"},
            "schedule.0: name 'y' is not defined",
        ),
        (
            {"params": "date", "program": "{{ dat }}"},
            "program: name 'dat' is not defined: did you mean 'date'?",
        ),
        ({"program": "{{ region }}"}, "program: name 'region' is not defined: is it a param?"),
    ],
)
def test_what_only_shows_beside_other_jobs_is_said(keys, said):
    assert told(job("a", **keys), job("b", params="region")) == [said]


def test_a_trial_run_may_depend_on_another_job():
    made = job(
        "a", schedule=HOURLY, condition={"type": "dependency", "job_id": "b", "args": {"region": "eu"}}
    )
    assert (
        told(made, job("b", params="region"), job("c", successors={"job_id": "b", "args": {"region": "eu"}}))
        == []
    )


def test_the_args_of_a_schedule_make_a_run():
    made = job("a", params=["date", "region"], schedule={**HOURLY, "args": {"region": "eu"}})
    (schedule,) = made.schedules
    occurrence = next(times_between(schedule, NOW, NOW.replace(day=1, month=2)))
    assert run_of(made, **made.args_for(occurrence.args, schedule.args)).args == {
        "date": "2026-01-31",
        "region": "eu",
    }


def test_a_job_says_how_long_its_outputs_are_kept():
    kept = job_from_dict(
        "a", {"program": "x", "retention": {"outputs": {"age": "90d", "bytes": "10GB", "count": 1000}}}
    )
    assert kept.keep == Keep(age_s=90 * 86400, size_b=10**10, count=1000)
    assert job_to_dict(kept)["retention"] == {"outputs": {"age": 7776000, "bytes": 10**10, "count": 1000}}
    for said in ({"outputs": None}, {"outputs": {}}, {"outputs": {"age": None}}):
        always = job_from_dict("a", {"program": "x", "retention": said})
        assert always.keep == FOREVER
        assert job_to_dict(always)["retention"] == {"outputs": {}}
    for said in (None, {}):
        assert job_from_dict("a", {"program": "x", "retention": said}).keep is None


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"output": {}}, "unknown key 'output': did you mean 'outputs'?"),
        ({"outputs": "90d"}, "must be a mapping such as {age: 90d, bytes: 10GB}, not the text '90d'"),
        ({"outputs": {"age": 0}}, "must be more than 0, not 0"),
        ({"outputs": {"bytes": "lots"}}, "must be a size such as 2GB or 500MB, not the text 'lots'"),
        ({"outputs": {"count": 0}}, "must be how many runs, from 1 on, not 0"),
        ({"outputs": {"days": 3}}, "unknown key 'days'"),
    ],
)
def test_what_is_wrong_with_a_retention_is_told(said: object, text: str):
    with pytest.raises(JobErrors, match=re.escape(text)):
        job_from_dict("a", {"program": "x", "retention": said})
