"""Programs: on which machine they run, what they take of Apsis's cloud, and classes of one's own."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given

from apsis_nb.core.errors import ApsisError, BindError, JobErrors
from apsis_nb.core.jobs import Job, bind_run, job_from_dict, job_to_dict
from apsis_nb.core.programs import (
    ClassKeys,
    Custom,
    Ecs,
    Hosts,
    Internal,
    KeptFile,
    NoOp,
    Output,
    Process,
    PythonCall,
    Resources,
    Site,
    SqlQuery,
    Stop,
    program_from_dict,
)
from apsis_nb.core.runs import Origin, Run
from tests.strategies import programs

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


def class_of(import_path: str) -> ClassKeys:
    """The only class that there is here."""
    if import_path != "lib.Report":
        raise ApsisError(f"there is no '{import_path}'")
    return ClassKeys(required=("day",), optional=("rows", "of"))


def site(**hosts: str) -> Site:
    return Site(hosts=hosts, class_of=class_of)


def job(program: Any, hosts: Hosts = None, **keys: Any) -> Job:
    return job_from_dict("a", {"program": program, **keys}, site=Site(hosts=hosts or {}, class_of=class_of))


def faults(program: Any, hosts: Hosts = None, **keys: Any) -> list[str]:
    with pytest.raises(JobErrors) as caught:
        job(program, hosts, **keys)
    return [str(error) for error in caught.value.errors]


def run_of(job: Job, **args: str) -> Run:
    return bind_run(
        job,
        run_id=7,
        args=args,
        origin=Origin.MANUAL,
        scheduled_at=NOW,
        now=NOW,
        params_of=lambda _: None,
    )


def read_back(program: Any) -> Any:
    return program_from_dict(json.loads(json.dumps(program.to_dict())), is_bound=True)


@given(programs())
def test_the_program_of_a_run_is_read_back_as_it_was(program):
    assert read_back(program) == program


# -- where a program runs


@pytest.mark.parametrize(
    ("program", "host"),
    [
        ({"type": "shell", "command": "a"}, None),
        ({"type": "shell", "command": "a", "host": "default"}, "local"),
        ({"type": "argv", "argv": ["a"], "host": "west"}, "west"),
        ({"type": "procstar", "argv": ["a"], "group_id": "local"}, "local"),
        ({"type": "procstar-shell", "command": "a", "group_id": "west"}, "west"),
    ],
)
def test_a_program_runs_where_its_host_is_mapped_to(program, host):
    made = job(program, {"west": "local"})
    assert isinstance(made.program, Process)
    assert made.program.host == host
    assert run_of(made).host == "local"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            {"type": "procstar", "argv": ["a"], "group_id": "west"},
            "program.group_id: 'west' is not mapped under 'hosts' in the server's configuration: did you",
        ),
        (
            {"type": "shell", "command": "a", "host": "moon"},
            "program.host: 'moon' is not mapped under 'hosts' in the server's configuration: "
            "'hosts: {moon: local}' there runs it on this machine",
        ),
        ({"type": "shell", "command": "a", "host": ""}, "program.host: must not be empty"),
        ({"type": "shell", "command": "a", "host": ["b"]}, "program.host: must be text, not a list"),
        ({"type": "shell", "command": "a", "host": "{{ x }"}, "program.host: template: "),
        ({"type": "shell", "command": "a", "group_id": "b"}, "program.group_id: unknown key 'group_id'"),
        ({"type": "procstar", "argv": ["a"], "host": "b"}, "program.host: unknown key 'host'"),
    ],
)
def test_a_name_that_is_not_mapped_is_an_error_of_the_job(program, said):
    assert faults(program, {"west1": "local"})[0].startswith(said)


def test_the_host_of_a_job_is_that_of_its_program_unless_it_has_its_own():
    assert job("a", {"west": "local"}, host="west").program == Process(command="a", host="west")
    own = {"type": "procstar", "argv": ["a"], "group_id": "default"}
    assert job(own, {"west": "local"}, host="west").program == Process(argv=("a",), host="local")
    assert faults("a", host="west")[0].startswith("host: 'west' is not mapped under 'hosts'")


def test_the_account_and_env_file_of_a_job_are_those_of_its_program_unless_it_has_its_own():
    top = {"user": "ann", "env_file": "a.env"}
    assert job("a", **top).program == Process(command="a", user="ann", env_file="a.env")
    own = {"type": "shell", "command": "a", "user": "{{ who }}", "env_file": None}
    made = job(own, params=["who"], **top)
    assert run_of(made, who="bob").program == Process(command="a", user="bob", env_file="a.env")
    ecs = {"type": "procstar-ecs", "command": "a"}
    made = job(ecs, {"aws-ecs": "local"}, **top)
    assert program_from_dict(made.program.to_dict(), site=site(**{"aws-ecs": "local"})) == made.program


def test_a_host_may_be_a_template_and_is_looked_up_when_the_run_is_made():
    templated = {"type": "procstar", "argv": ["a"], "group_id": "{{ where }}"}
    made = job(templated, {"west": "local"}, params=["where"])
    assert run_of(made, where="west").program == Process(argv=("a",), host="west")
    assert run_of(made, where="default").host == "local"
    with pytest.raises(BindError, match=r"^host: 'wset' is not mapped .*: did you mean 'west'"):
        run_of(made, where="wset")


def test_any_host_will_do_where_nothing_is_started():
    data = {"program": {"type": "procstar", "argv": ["a"], "group_id": "moon"}}
    made = job_from_dict("a", data, site=Site(hosts=None))
    assert run_of(made).host == "moon"


# -- what is kept of what a program writes


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"split": True}, {"output": Output(split=True)}),
        (
            {"output": {"split": True, "max_size": "2MB"}},
            {"output": Output(split=True, max_size_b=2_000_000)},
        ),
        ({"split": True, "output": {"max_size": 9}}, {"output": Output(split=True, max_size_b=9)}),
        ({"outputs": "a*.csv"}, {"outputs": (KeptFile(path="a*.csv"),)}),
        (
            {"outputs": ["a", {"path": "b", "name": "c", "required": True, "min_bytes": "1kB"}]},
            {"outputs": (KeptFile(path="a"), KeptFile(path="b", name="c", required=True, min_bytes=1000))},
        ),
        (
            {"outputs": {"path": "a", "newer_than": "start", "min_bytes": 0}},
            {"outputs": (KeptFile(path="a", newer_than="start"),)},
        ),
    ],
)
def test_what_is_kept_is_read(keys, facts):
    program = program_from_dict({"type": "shell", "command": "a", **keys})
    assert program == Process(command="a", **facts)
    assert program_from_dict(program.to_dict()) == program


def test_outputs_of_a_job_are_kept_beside_those_of_its_program():
    own = {"type": "shell", "command": "a", "outputs": "{{ day }}.csv"}
    made = job(own, params=["day"], outputs=[{"path": "log", "required": True, "name": "{{ day }}.log"}])
    assert run_of(made, day="mon").program == Process(
        command="a",
        outputs=(KeptFile(path="log", required=True, name="mon.log"), KeptFile(path="mon.csv")),
    )
    told = job_to_dict(made)
    del told["explain"]
    assert job_from_dict("a", told) == made


# -- as Apsis has them


@pytest.mark.parametrize(
    ("data", "program"),
    [
        (
            {"type": "procstar", "argv": ["a"], "sudo_user": "ann", "resources": {"mem_max_gb": 1.5}},
            Process(argv=("a",), user="ann", resources=Resources(memory_b=1_500_000_000)),
        ),
        ({"type": "procstar", "argv": ["a"], "sudo_user": None, "resources": None}, Process(argv=("a",))),
        (
            {"type": "shell", "command": "a", "resources": {"memory": "2 GB", "cpu_time": "1h"}},
            Process(command="a", resources=Resources(memory_b=2 * 10**9, cpu_time_s=3600)),
        ),
        (
            {"type": "procstar-ecs", "command": "a", "mem_gb": 4, "vcpu": "0.5", "role": "reader"},
            Process(command="a", ecs=Ecs(mem_gb=4, vcpu=0.5, role="reader")),
        ),
        (
            {
                "type": "procstar-ecs",
                "argv": ["a", 1],
                "disk_gb": "{{ 20 }}",
                "task_definition": "jobs:3",
                "stop": {"signal": "INT"},
            },
            Process(
                argv=("a", "1"),
                ecs=Ecs(disk_gb="{{ 20 }}", task_definition="jobs:3"),
                stop=Stop(signal="SIGINT"),
            ),
        ),
    ],
)
def test_a_program_of_apsis_is_read(data, program):
    here = site(**{"aws-ecs": "local"})
    assert program_from_dict(data, site=here) == program
    assert program_from_dict(program.to_dict(), site=here) == program


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "program: a procstar-ecs program: give either 'command' or 'argv'"),
        (
            {"command": "a", "argv": ["b"]},
            "program: a procstar-ecs program: give either 'command' or 'argv', not both",
        ),
        ({"command": "a", "group_id": "b"}, "program.group_id: unknown key 'group_id'"),
        (
            {"command": "a", "sudo_user": "b"},
            "program.sudo_user: unknown key 'sudo_user': did you mean 'user'?",
        ),
        ({"command": "a", "resources": {}}, "program.resources: unknown key 'resources'"),
        ({"command": "a", "mem_gb": 0}, "program.mem_gb: must be more than 0, not 0"),
        ({"command": "a", "vcpu": "two"}, "program.vcpu: must be a number, not the text 'two'"),
        ({"command": "a", "mem_gb": 1e10}, "program.mem_gb: 10000000000.0 is too much"),
        ({"command": "a", "disk_gb": True}, "program.disk_gb: must be a number, not True"),
        ({"command": "a", "role": ["b"]}, "program.role: must be text, not a list"),
    ],
)
def test_what_is_wrong_with_a_program_for_the_cloud_is_said(keys, said):
    assert faults({"type": "procstar-ecs", **keys}, {"aws-ecs": "local"}) == [said]


def test_a_program_for_the_cloud_runs_only_where_its_host_is_mapped():
    program = {"type": "procstar-ecs", "command": "a", "mem_gb": "{{ n }}"}
    (said,) = faults(program, params=["n"])
    assert said.startswith(
        "program.type: 'aws-ecs' is not mapped under 'hosts' in the server's configuration"
    )
    made = job(program, {"aws-ecs": "local"}, params=["n"], host="default")
    assert run_of(made, n="2").program == Process(command="a", ecs=Ecs(mem_gb=2.0))
    with pytest.raises(BindError, match="mem_gb: must be a number, not the text 'lots'"):
        run_of(made, n="lots")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"resources": {"mem_max_gb": -1}}, "program.resources.mem_max_gb: must be more than 0, not -1"),
        ({"resources": {"mem": 1}}, "program.resources.mem: unknown key 'mem'"),
        ({"resources": 4}, "program.resources: 'resources' must be a mapping, not 4"),
        ({"sudo_user": ""}, "program.sudo_user: must not be empty"),
        ({"user": "ann"}, "program.user: unknown key 'user': did you mean 'sudo_user'?"),
    ],
)
def test_what_is_wrong_with_a_program_of_procstar_is_said(keys, said):
    assert faults({"type": "procstar", "argv": ["a"], **keys}) == [said]


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (
            {"memory": "2 gigs"},
            "program.resources.memory: must be a size such as 2GB or 500MB, not the text '2 gigs'",
        ),
        ({"memory": 0}, "program.resources.memory: must be a size from 1 B on, not 0"),
        ({"memory": True}, "program.resources.memory: must be a size from 1 B on, not True"),
        ({"cpu_time": "soon"}, "program.resources.cpu_time: 'soon' is no duration"),
    ],
)
def test_what_is_wrong_with_resources_is_said(resources, said):
    assert faults({"type": "shell", "command": "a", "resources": resources})[0].startswith(said)


# -- classes


def test_a_class_of_one_s_own_takes_the_keys_of_its_constructor():
    program = {"type": "lib.Report", "day": "{{ date }}", "of": ["{{ date }}", {"n": 3}], "timeout": "1m"}
    made = job(program, params=["date"], env={"A": "1"})
    run = run_of(made, date="2026-01-31")
    assert isinstance(run.program, Process)
    assert run.program.task == Custom(
        type="lib.Report", keys={"day": "2026-01-31", "of": ["2026-01-31", {"n": 3}]}
    )
    assert (run.program.env, run.program.timeout.duration_s) == ({"A": "1"}, 60)
    assert read_back(run.program) == run.program
    told = job_to_dict(made)
    del told["explain"]
    assert job_from_dict("a", told, site=site()) == made


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "program: a lib.Report program: missing key 'day'"),
        ({"dya": "x"}, "program.dya: unknown key 'dya': did you mean 'day'?"),
        ({"day": "x", "row": 1}, "program.row: unknown key 'row': did you mean 'rows'?"),
        ({"day": ["{{ x }"]}, "program.day: template: unexpected '}'"),
        ({"day": "x", "stop": 3}, "program.stop: 'stop' must be a mapping, not 3"),
        ({"type": "lib.Nothing"}, "program.type: there is no 'lib.Nothing'"),
    ],
)
def test_what_is_wrong_with_the_keys_of_a_class_is_said(keys, said):
    assert faults({"type": "lib.Report", **keys}) == [said]


def test_a_class_that_takes_anything_is_given_anything():
    here = Site(class_of=lambda _: ClassKeys(takes_any=True))
    keys = {"a": 1.5, "b": None, "c": date(2026, 1, 31), "d": float("inf"), "e": [True]}
    program = program_from_dict({"type": "lib.Any", "cwd": "x", **keys}, site=here)
    kept = {"a": 1.5, "b": None, "c": "2026-01-31", "d": "inf", "e": [True]}
    assert program == Process(task=Custom(type="lib.Any", keys=kept), cwd="x")


# -- functions and queries


@pytest.mark.parametrize(
    ("data", "task"),
    [
        ({"type": "python", "call": "lib.reports:make"}, PythonCall(call="lib.reports:make")),
        ({"type": "python", "call": "lib.make"}, PythonCall(call="lib.make")),
        (
            {"type": "python", "call": "lib:{{ x }}", "args": {"n": 3, "of": ["{{ x }}"]}, "python": "fit"},
            PythonCall(call="lib:{{ x }}", args={"n": 3, "of": ["{{ x }}"]}, python="fit"),
        ),
        ({"type": "sql", "query": "FROM 'a.csv'"}, SqlQuery(query="FROM 'a.csv'")),
    ],
)
def test_a_function_or_a_query_is_read(data, task):
    assert program_from_dict(data) == Process(task=task)
    assert program_from_dict(Process(task=task).to_dict()) == Process(task=task)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ({"type": "python"}, "program: a python program: missing key 'call'"),
        (
            {"type": "python", "call": "make"},
            "program.call: must name a function as module:function, not the",
        ),
        (
            {"type": "python", "call": "a b:c"},
            "program.call: must name a function as module:function, not the",
        ),
        ({"type": "python", "call": ["a:b"]}, "program.call: must be text, not a list"),
        ({"type": "python", "call": "a:b", "args": [1]}, "program.args: must be a mapping, not a list"),
        (
            {"type": "python", "call": "a:b", "args": {"a b": 1}},
            "program.args: 'a b' can be no name of an arg",
        ),
        (
            {"type": "python", "call": "a:b", "args": {"a": "{{ x }"}},
            "program.args: template: unexpected '}'",
        ),
        ({"type": "python", "call": "a:b", "python": ""}, "program.python: must not be empty"),
        ({"type": "python", "call": "a:b", "types": {}}, "program.types: unknown key 'types'"),
        ({"type": "sql", "query": " "}, "program.query: must not be empty"),
        ({"type": "sql", "query": "FROM a", "python": "x"}, "program.python: unknown key 'python'"),
        ({"type": "shell", "command": "a", "python": "x"}, "program.python: unknown key 'python'"),
    ],
)
def test_what_is_wrong_with_a_function_or_a_query_is_said(program, said):
    (fault,) = faults(program)
    assert fault.startswith(said)


def test_a_function_or_query_of_a_run_knows_the_types_of_its_args():
    params = {"date": "date", "n": "int", "name": "str", "kind": {"choices": ["a", "b"], "type": "choice"}}
    args = {"date": "2026-01-31", "n": "3", "name": "x", "kind": "a"}
    program = {
        "type": "python",
        "call": "lib:f",
        "args": {"day": "{{ date }}", "rows": 3},
        "python": "{{ name }}",
    }
    run = run_of(job(program, params=params), **args)
    types = {"date": "date", "n": "int"}
    call = PythonCall(call="lib:f", args={"day": "2026-01-31", "rows": 3}, python="x", types=types)
    assert run.program == Process(task=call)
    assert read_back(run.program) == run.program
    run = run_of(job({"type": "sql", "query": "SELECT '{{ name }}', $n"}, params=params), **args)
    assert run.program == Process(task=SqlQuery(query="SELECT 'x', $n", types=types))


def test_the_python_of_a_job_is_that_of_its_functions_unless_they_have_their_own():
    call = {"type": "python", "call": "a:b"}
    assert job(call, python="fit").program == Process(task=PythonCall(call="a:b", python="fit"))
    own = job({**call, "python": "own"}, python="fit")
    assert own.program == Process(task=PythonCall(call="a:b", python="own"))
    assert job("a", python="fit").program == Process(command="a")


def test_a_backup_may_say_where_it_goes_and_how_many_are_kept():
    told = {"type": "backup", "to": "/backups", "keep": 3}
    assert job(told).program == Internal(type="backup", to="/backups", keep=3)
    assert job({"type": "backup", "keep": None}).program == Internal(type="backup")


def test_an_archive_may_say_how_old_its_runs_are():
    told = {"type": "archive", "older_than": "2 days"}
    assert job(told).program == Internal(type="archive", older_than_s=172_800)
    assert job({"type": "archive", "older_than": None}).program == Internal(type="archive")
    (fault,) = faults({"type": "archive", "older_than": "-1d"})
    assert "must be 0 or more, not -1d" in fault


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"to": "backups"}, "must be an absolute path, such as /backups"),
        ({"keep": 0}, "must be how many backups, from 1 on, not 0"),
        ({"keep": True}, "must be how many backups, from 1 on, not "),
        ({"too": "/b"}, "unknown key 'too'"),
    ],
)
def test_what_is_wrong_with_a_backup_is_said(keys, said):
    (fault,) = faults({"type": "backup", **keys})
    assert said in fault


def test_only_files_may_name_classes():
    with pytest.raises(JobErrors, match=r"'lib\.Report' is code of the server, which only the files"):
        job_from_dict("a", {"program": {"type": "lib.Report", "day": "x"}})


def test_runs_of_earlier_releases_are_read_as_they_were():
    old = {"type": "argv", "argv": ["a"], "stop": {"signal": "SIGINT", "grace_period": 5.0}}
    assert program_from_dict(old, is_bound=True) == Process(
        argv=("a",), stop=Stop(signal="SIGINT", grace_period_s=5.0)
    )
    assert program_from_dict({"type": "no-op", "duration": 1.0, "success": None}, is_bound=True) == NoOp(
        duration_s=1.0, success=None
    )
