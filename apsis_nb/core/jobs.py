"""A job: what a job file says, checked, and how a run is made from it."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from signal import Signals
from types import MappingProxyType
from typing import Any, NamedTuple

from .actions import Action, action_from_dict, successor_from
from .calendars import get_calendar
from .conditions import Condition, Dependency, MaxRunning, ParamsOf, condition_from_dict
from .errors import BindError, JobError, JobErrors
from .fields import (
    Fields,
    KeyPath,
    article,
    choose,
    noun,
    read_bool,
    read_name,
    read_text,
    read_text_map,
    suggestion,
    within,
)
from .programs import NoOp, Process, Program, Stop, Timeout
from .runs import Instance, Origin, Run, RunId
from .schedules import Schedule, explain, schedule_from_dict, schedule_to_dict, times_between
from .templates import check, expand, names_in, namespace
from .times import (
    format_daytime,
    format_duration,
    format_time,
    parse_date,
    parse_daytime,
    parse_duration,
    parse_time,
)

# -- params


def _int_text(text: str) -> str:
    return str(int(text))


def _float_text(text: str) -> str:
    if not math.isfinite(float(text)):
        raise ValueError
    return text.strip()


def _bool_text(text: str) -> str:
    return {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}[
        text.lower()
    ]


#: The types of a param: what they are called in messages, and the canonical text of a value.
PARAM_TYPES: dict[str, tuple[str, Callable[[str], str]]] = {
    "str": ("text", str),
    "int": ("a whole number", _int_text),
    "float": ("a number", _float_text),
    "bool": ("true or false", _bool_text),
    "date": ("a date such as 2026-01-31", lambda text: parse_date(text).isoformat()),
    "daytime": ("a daytime such as 09:30:00", lambda text: format_daytime(parse_daytime(text))),
    "time": ("a time such as 2026-01-31T09:00:00Z", lambda text: format_time(parse_time(text))),
    "duration": ("a duration such as 90s or 1h30m", lambda text: format_duration(parse_duration(text))),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A name that each run of the job has a value for."""

    name: str
    type: str = "str"  #: of `PARAM_TYPES`
    default: str | None = None  #: None: an arg must be given
    choices: tuple[str, ...] = ()  #: none: anything of its type
    description: str | None = None

    def value(self, given: Any) -> str:
        """The canonical text of an arg.

        Raises:
            ValueError: it is not of the param's type, or none of its choices.
        """
        words, read = PARAM_TYPES[self.type]
        try:
            text = read(str(given))
        except (ValueError, KeyError, OverflowError):
            raise ValueError(f"'{given}' is not {words}") from None
        if self.choices and text not in self.choices:
            raise ValueError(f"'{text}' is none of {', '.join(self.choices)}")
        return text


# -- the job

#: Start budget of a job that names none.
LATE_START_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A template of runs."""

    job_id: str
    program: Program
    params: tuple[Param, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    conditions: tuple[Condition, ...] = ()
    actions: tuple[Action, ...] = ()
    labels: tuple[str, ...] = ()
    description: str | None = None  #: Markdown
    metadata: Mapping[str, Any] = field(default_factory=dict)  #: what else the file has there, as JSON values
    late_start_s: float = LATE_START_S  #: budget: a run of a schedule that starts later than this is late
    ad_hoc: bool = False
    source: str | None = None  #: folder of its file: where relative paths start

    def args_for(self, derived: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
        """The args of a run of a schedule: what it derives and, winning, gives; only those with a param."""
        return {
            p.name: str(given[p.name] if p.name in given else derived[p.name])
            for p in self.params
            if p.name in given or p.name in derived
        }


def bind_args(job: Job, given: Mapping[str, Any]) -> dict[str, str]:
    """The args of a run, in the order of the job's params, with defaults and in canonical form.

    Args:
        job: the job.
        given: a value for each param that has no default.

    Raises:
        BindError: an arg is missing, extra, or not what its param allows.
    """
    names = [p.name for p in job.params]
    faults = []
    if missing := [p.name for p in job.params if p.default is None and p.name not in given]:
        faults.append(f"missing args ({', '.join(missing)}) for job {job.job_id}")
    if extra := [str(name) for name in given if name not in names]:
        faults.append(f"extra args ({', '.join(sorted(extra))}) for job {job.job_id}")
    if faults:
        raise BindError("; ".join(faults))
    args = {}
    for param in job.params:
        try:
            args[param.name] = param.value(given.get(param.name, param.default))
        except ValueError as error:
            raise BindError(f"arg {param.name} of job {job.job_id}: {error}") from None
    return args


def bind_run(
    job: Job,
    *,
    run_id: RunId,
    args: Mapping[str, Any],
    origin: Origin,
    scheduled_at: datetime,
    now: datetime,
    params_of: ParamsOf,
    nominal_at: datetime | None = None,
    stop_at: datetime | None = None,
    labels: Iterable[str] = (),
    by: str | None = None,
    rerun_of: RunId | None = None,
    attempt: int = 1,
) -> Run:
    """A scheduled run of the job: args checked, every template expanded.

    Args:
        job: the job.
        run_id: the run's.
        args: as `bind_args` takes them.
        origin: what makes it.
        scheduled_at: when it is due; aware, as all times.
        now: when it is made.
        params_of: the names of another job's params, None where there is no such job.
        nominal_at: what the schedule says; None unless a schedule makes it.
        stop_at: when it is stopped.
        labels: beside those of the job.
        by: who asked for it.
        rerun_of: the run that it runs again.
        attempt: counted from 1.

    Raises:
        BindError: the args do not fit, or a template fails.
    """
    bound_args = bind_args(job, args)
    inst = Instance.of(job.job_id, bound_args)
    names = namespace(run_id=f"r{run_id}", job_id=job.job_id, args=bound_args, get_calendar=get_calendar)
    expanded = partial(expand, namespace=names)
    conditions = [condition.bind(expanded, inst, params_of) for condition in job.conditions]
    return Run(
        run_id=run_id,
        inst=inst,
        program=job.program.bind(expanded),
        origin=origin,
        scheduled_at=scheduled_at,
        nominal_at=nominal_at,
        stop_at=stop_at,
        state_at=now,
        conditions=tuple(c for c in conditions if c.enabled),
        actions=job.actions,
        labels=tuple(dict.fromkeys((*job.labels, *labels))),
        late_start_s=job.late_start_s,
        attempt=attempt,
        rerun_of=rerun_of,
        by=by,
        cwd=job.source,
    )


# -- from the job file

_LATER = (
    "retry",
    "jitter",
    "notify",
    "env_file",
    "user",
    "host",
    "python",
    "outputs",
    "group",
    "limits",
    "heartbeat",
)
_HINTS = {
    "labels": "write it under 'metadata'",
    "description": "write it under 'metadata'",
    "command": "write it under 'program', or 'program: \"COMMAND\"'",
    "type": "write it under 'program' or 'schedule'",
}

#: A schedule that has no time within this has no trial.
_TRIAL_SPAN = timedelta(days=1900)
_SHELL = Process().shell
_CENTURY_S = 100 * 365.25 * 86400
#: Stands for "never" where Apsis's job files have null.
_NEVER_S = 10 * 365 * 86400.0


def job_from_dict(job_id: str, data: Any, *, source: str | None = None) -> Job:
    """The job that a job file tells.

    Args:
        job_id: the file's path in the folder of jobs, without its suffix.
        data: what the file holds.
        source: folder of the file.

    Raises:
        JobErrors: everything that is wrong, and what would be right.
    """
    try:
        return _job_from(job_id, Fields(data, (), f"job {job_id}"), source)
    except JobErrors as error:
        raise JobErrors(job_id, error.errors) from None


def _job_from(job_id: str, fields: Fields, source: str | None) -> Job:
    params = fields.get_at("params", _params_from, ())
    program = fields.get_at("program", program_from_dict)
    env = fields.get("env", _read_templates, {})
    cwd = fields.get("cwd", _read_template, None)
    shell = fields.get("shell", read_name, None)
    schedules = fields.read_list("schedule", schedule_from_dict, null=True)
    conditions = fields.read_list("condition", condition_from_dict)
    actions = fields.read_list("action", action_from_dict)
    successors = fields.read_list("successors", successor_from, null=True)
    metadata = fields.get_at("metadata", _metadata_from, _Metadata())
    late_start_s = fields.get_at("late", _late_from, LATE_START_S)
    ad_hoc = fields.get("ad_hoc", read_bool, False)
    said = fields.get("job_id", read_text, job_id)
    if said not in {job_id, None}:
        fields.fail(
            f"'{said}' is not the job's id '{job_id}', which comes from the file's path: leave it out",
            "job_id",
        )
    fields.done(later=_LATER, hints=_HINTS)
    if isinstance(program, Process):
        program = replace(
            program,
            env={**env, **program.env},
            cwd=program.cwd or cwd,
            shell=shell if shell and program.shell == _SHELL else program.shell,
        )
    return Job(
        job_id=job_id,
        program=program,
        params=params,
        schedules=schedules,
        conditions=conditions,
        actions=actions + successors,
        labels=metadata.labels,
        description=metadata.description,
        metadata=dict(metadata.rest),
        late_start_s=late_start_s,
        ad_hoc=ad_hoc,
        source=source,
    )


def job_to_dict(job: Job) -> dict[str, Any]:
    """The job as JSON values, in the form of the job file, with `explain`: what its parts mean, in English.

    Without `explain`, `job_from_dict` reads it back.
    """
    metadata: dict[str, Any] = {"labels": list(job.labels)}
    if job.description is not None:
        metadata["description"] = job.description
    return {
        "job_id": job.job_id,
        "params": {p.name: _param_to_dict(p) for p in job.params},
        "program": job.program.to_dict(),
        "schedule": [schedule_to_dict(s) for s in job.schedules],
        "condition": [c.to_dict() for c in job.conditions],
        "action": [a.to_dict() for a in job.actions],
        "metadata": {**job.metadata, **metadata},
        "late": {"start": job.late_start_s},
        "ad_hoc": job.ad_hoc,
        "explain": {
            "schedule": [explain(s) for s in job.schedules],
            "condition": [str(c) for c in job.conditions],
            "action": [str(a) for a in job.actions],
        },
    }


# -- programs

_PROGRAM_TYPES = ("no-op", "shell", "argv", "program", "procstar", "procstar-shell")
_PROGRAM_LATER = (
    "python",
    "notebook",
    "sql",
    "dask",
    "stats",
    "archive",
    "backup",
    "doctor",
    "procstar-ecs",
)
_PROCESS_LATER = ("user", "sudo_user", "host", "env_file", "pty", "output", "python", "split", "resources")


def program_from_dict(data: Any, path: KeyPath = ()) -> Program:
    """The program that a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`; or a text, a command for the shell; or a list, the args of a program.
        path: where it stands in the job file, for errors.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    try:
        if isinstance(data, str):
            return Process(command=_read_command(data))
        if isinstance(data, list | tuple):
            return Process(argv=_read_argv(data))
    except (ValueError, BindError) as error:
        raise JobError(path, str(error)) from None
    kind = choose(data, path, "program", _PROGRAM_TYPES, later=_PROGRAM_LATER)
    fields = Fields(data, path, f"{article(kind)} program")
    fields.get("type", str)
    if kind == "no-op":
        duration_s = fields.get("duration", _read_pause, 0.0)
        success = fields.get("success", read_bool, True)
        fields.done()
        return NoOp(duration_s=duration_s, success=success)
    command: str | None = None
    argv: tuple[str, ...] = ()
    shell = _SHELL
    if kind in {"shell", "procstar-shell"}:
        command = fields.get("command", _read_command)
        shell = fields.get("shell", read_name, _SHELL)
    else:
        argv = fields.get("argv", _read_argv)
    env = fields.get("env", _read_templates, {})
    cwd = fields.get("cwd", _read_template, None)
    stop = fields.get_at("stop", _stop_from, Stop())
    timeout = fields.get_at("timeout", _timeout_from, None)
    if kind.startswith("procstar"):
        fields.get("group_id", _read_group, "default")
    if "resources" in data and not data["resources"]:
        fields.get("resources", dict)
    fields.done(later=_PROCESS_LATER)
    return Process(command=command, argv=argv, shell=shell, env=env, cwd=cwd, stop=stop, timeout=timeout)


def _stop_from(data: Any, path: KeyPath) -> Stop:
    fields = Fields(data, path, "'stop'")
    signal = fields.get("signal", _read_signal, Stop().signal)
    grace_period_s = fields.get("grace_period", _read_grace_period, Stop().grace_period_s)
    fields.done()
    return Stop(signal=signal, grace_period_s=grace_period_s)


def _timeout_from(data: Any, path: KeyPath) -> Timeout | None:
    if data is None:
        return None
    if not isinstance(data, Mapping):
        return Timeout(duration_s=_read_length(data))
    fields = Fields(data, path, "'timeout'")
    duration_s = fields.get("duration", _read_length)
    signal = fields.get("signal", _read_signal, "SIGTERM")
    fields.done()
    return Timeout(duration_s=duration_s, signal=signal)


def _read_command(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a command, not {noun(value)}")
    return _read_template(value)


def _read_argv(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of args, not {noun(value)}; for a command line use 'type: shell'")
    if not value:
        raise ValueError("must name a program, not be empty")
    return tuple(_read_template(item) for item in value)


def _read_template(value: Any) -> str:
    text = read_text(value)
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    check(text)
    return text


def _read_templates(value: Any) -> dict[str, str]:
    return {name: _read_template(text) for name, text in read_text_map(value).items()}


def _read_seconds(value: Any) -> float:
    if isinstance(value, str) and "{" in value:
        raise ValueError(f"templates are not supported here yet, so '{value}' is no duration")
    return parse_duration(value)


_read_pause = within(lambda value: 0.0 if value is None else _read_seconds(value), least=0, most=_CENTURY_S)
_read_length = within(_read_seconds, above=0, most=_CENTURY_S)
_read_grace_period = within(
    lambda value: _NEVER_S if value is None else _read_seconds(value), least=0, most=_CENTURY_S
)


def _read_signal(value: Any) -> str:
    """The full name of a signal: SIGTERM."""
    names = [s.name for s in Signals]
    if isinstance(value, int) and not isinstance(value, bool):
        if value in list(Signals):
            return Signals(value).name
    elif isinstance(value, str):
        name = value if value.startswith("SIG") else f"SIG{value}"
        if name in names:
            return name
        raise ValueError(f"'{value}' is no signal{suggestion(name, names)}")
    raise ValueError(f"must be the name of a signal such as SIGTERM, not {noun(value)}")


def _read_group(value: Any) -> str:
    group = read_text(value)
    if group not in {"default", "local"}:
        raise ValueError(f"'{group}' is not mapped to a host: only 'default' is, to this machine")
    return group


# -- the other parts


def _params_from(data: Any, path: KeyPath) -> tuple[Param, ...]:
    """One name, a list of names, or a mapping of names to what is known of them."""
    if data is None:
        return ()
    if not isinstance(data, Mapping):
        names = data if isinstance(data, list | tuple | set | frozenset) else [data]
        return tuple(Param(name=name) for name in dict.fromkeys(read_text(name) for name in names))
    fields = Fields(data, path, "'params'")
    params = [fields.get_at(str(name), partial(_param_from, str(name))) for name in data]
    fields.done()
    return tuple(params)


def _param_from(name: str, data: Any, path: KeyPath) -> Param:
    if data is None:
        return Param(name=name)
    if isinstance(data, str):
        data = {"type": data}
    fields = Fields(data, path, f"param '{name}'")
    kind = fields.get("type", _read_param_type, "str")
    default = fields.get("default", _text_or_none, None)
    choices = fields.get("choices", _read_texts, ())
    description = fields.get("description", _text_or_none, None)
    if fields.errors:
        fields.done()
    param = Param(name=name, type=kind, description=description)
    values = [fields.read(_reader(param.value), c, (*path, "choices", n)) for n, c in enumerate(choices)]
    param = replace(param, choices=tuple(v for v in values if v is not None))
    if default is not None:
        param = replace(param, default=fields.read(_reader(param.value), default, (*path, "default")))
    fields.done()
    return param


def _param_to_dict(param: Param) -> dict[str, Any]:
    jso: dict[str, Any] = {"type": param.type}
    if param.default is not None:
        jso["default"] = param.default
    if param.choices:
        jso["choices"] = list(param.choices)
    if param.description is not None:
        jso["description"] = param.description
    return jso


class _Metadata(NamedTuple):
    labels: tuple[str, ...] = ()
    description: str | None = None
    rest: Mapping[str, Any] = MappingProxyType({})


def _metadata_from(data: Any, path: KeyPath) -> _Metadata:
    fields = Fields(data, path, "'metadata'")
    labels = fields.get("labels", _read_texts, ())
    description = fields.get("description", _text_or_none, None)
    rest = {str(key): _plain(value) for key, value in data.items() if key not in {"labels", "description"}}
    if fields.errors:
        fields.stop()
    return _Metadata(tuple(dict.fromkeys(labels)), description, rest)


def _late_from(data: Any, path: KeyPath) -> float:
    fields = Fields(data, path, "'late'")
    start_s = fields.get("start", within(parse_duration, least=0, most=_CENTURY_S), LATE_START_S)
    fields.done(later=("finish", "finish_by"))
    return start_s


def _reader(read: Callable[[Any], str]) -> Callable[[Any, KeyPath], str]:
    return lambda value, path: read(value)


def _read_param_type(value: Any) -> str:
    if not isinstance(value, str) or value not in PARAM_TYPES:
        hint = suggestion(str(value), PARAM_TYPES) or f": one of {', '.join(PARAM_TYPES)}"
        raise ValueError(f"unknown param type '{value}'{hint}")
    return value


def _read_texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (
        tuple(read_text(item) for item in value) if isinstance(value, list | tuple) else (read_text(value),)
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else read_text(value)


def _plain(value: Any) -> Any:
    """A value of YAML as one of JSON."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case date() | time():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


# -- jobs together


def faults_of(job: Job, jobs: Mapping[str, Job], now: datetime) -> list[JobError]:
    """What is wrong with a job that only shows when a run of it is made, or beside the other jobs.

    The names of other jobs are looked at, and the next run of each of its schedules is made on trial. Without
    schedules, the names in its program are looked at.

    Args:
        job: the job.
        jobs: all jobs, by id.
        now: aware.
    """

    def params_of(job_id: str) -> tuple[str, ...] | None:
        return tuple(p.name for p in jobs[job_id].params) if job_id in jobs else None

    faults = []
    for n, action in enumerate(job.actions):
        if action.job_id not in jobs:
            faults.append(JobError(("action", n, "job_id"), _no_such_job(action.job_id, jobs)))
    for n, condition in enumerate(job.conditions):
        faults += _condition_faults(job, condition, ("condition", n), jobs)
    if faults:
        return faults
    if not job.schedules:
        known = namespace(run_id=None, job_id="", args={}, get_calendar=get_calendar).keys()
        for name in sorted(_names_in(job.program) - known - {p.name for p in job.params}):
            hint = suggestion(name, [p.name for p in job.params])
            faults.append(JobError(("program",), f"name '{name}' is not defined{hint or ': is it a param?'}"))
    for n, schedule in enumerate(job.schedules):
        occurrence = next(times_between(schedule, now, now + _TRIAL_SPAN), None)
        if occurrence is None:
            continue
        try:
            bind_run(
                job,
                run_id=0,
                args=job.args_for(occurrence.args, schedule.args),
                origin=Origin.SCHEDULE,
                scheduled_at=occurrence.at,
                now=now,
                params_of=params_of,
            )
        except BindError as error:
            faults.append(JobError(("schedule", n), str(error)))
    return faults


def _names_in(program: Program) -> set[str]:
    names: set[str] = set()

    def look(text: str) -> str:
        names.update(names_in(text))
        return text

    program.bind(look)
    return names


def _condition_faults(
    job: Job, condition: Condition, path: KeyPath, jobs: Mapping[str, Job]
) -> list[JobError]:
    if not isinstance(condition, Dependency | MaxRunning) or condition.job_id is None:
        return []
    job_id = condition.job_id
    if "{" in job_id:  # known only when it is bound
        return []
    if job_id not in jobs:
        return [JobError((*path, "job_id"), _no_such_job(job_id, jobs))]
    if isinstance(condition, MaxRunning):
        return []
    ours, theirs = ({p.name for p in j.params} for j in (job, jobs[job_id]))
    missing = sorted(theirs - ours - set(condition.args))
    extra = [name for name in condition.args if name not in theirs]
    return [
        JobError(path, f"no value for param {name} of job {job_id}: give it under 'args'") for name in missing
    ] + [
        JobError((*path, "args", name), f"job {job_id} has no param '{name}'{suggestion(name, theirs)}")
        for name in extra
    ]


def _no_such_job(job_id: str, jobs: Mapping[str, Job]) -> str:
    close = difflib.get_close_matches(job_id, jobs, n=1)
    return f"there is no job '{job_id}'" + (f": did you mean '{close[0]}'?" if close else "")
