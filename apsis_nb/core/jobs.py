"""A job: what a job file says, checked, and how a run is made from it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from .actions import Action, action_from_dict, successor_from
from .calendars import Calendar, get_calendar
from .conditions import Condition, ParamsOf, condition_from_dict
from .errors import BindError, JobErrors
from .fields import (
    Fields,
    KeyPath,
    read_bool,
    read_name,
    read_text,
    read_text_or_none,
    read_texts,
    within,
)
from .params import Param, param_to_dict, params_from
from .programs import (
    NO_SITE,
    SHELL,
    Hosts,
    Process,
    Program,
    Site,
    host_of,
    host_reader,
    name_reader,
    program_from_dict,
    read_template,
    read_templates,
)
from .runs import Instance, Origin, Run, RunId
from .schedules import Schedule, explain, schedule_from_dict, schedule_to_dict
from .templates import expand, namespace
from .times import parse_duration

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
    #: Those of files, by name, for its templates. Its schedules hold theirs.
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict, repr=False)  #: for templates
    calendars: Mapping[str, Calendar] = field(default_factory=dict, compare=False, repr=False)
    hosts: Hosts = field(default_factory=dict, compare=False, repr=False)  #: for the host of its program

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
        BindError: the args do not fit, a template fails, or the program's host is none.
    """
    bound_args = bind_args(job, args)
    inst = Instance.of(job.job_id, bound_args)
    names = namespace(
        run_id=f"r{run_id}",
        job_id=job.job_id,
        args=bound_args,
        get_calendar=partial(get_calendar, files=job.calendars),
        functions=job.functions,
    )
    expanded = partial(expand, namespace=names)
    conditions = [condition.bind(expanded, inst, params_of) for condition in job.conditions]
    program = job.program.bind(expanded)
    return Run(
        run_id=run_id,
        inst=inst,
        program=program,
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
        host=_host_of(program, job.hosts),
        by=by,
        cwd=job.source,
    )


def _host_of(program: Program, hosts: Hosts) -> str:
    try:
        return host_of(program.host_name if isinstance(program, Process) else None, hosts)
    except ValueError as error:
        raise BindError(f"host: {error}") from None


# -- from the job file

_LATER = (
    "retry",
    "jitter",
    "notify",
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

_CENTURY_S = 100 * 365.25 * 86400


def job_from_dict(
    job_id: str,
    data: Any,
    *,
    source: str | None = None,
    calendars: Mapping[str, Calendar] | None = None,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    site: Site = NO_SITE,
) -> Job:
    """The job that a job file tells.

    Args:
        job_id: the file's path in the folder of jobs, without its suffix.
        data: what the file holds.
        source: folder of the file.
        calendars: those of files, by name.
        functions: that its templates may call, by name.
        site: what its program may name.

    Raises:
        JobErrors: everything that is wrong, and what would be right.
    """
    try:
        job = _job_from(job_id, Fields(data, (), f"job {job_id}"), source, calendars or {}, site)
    except JobErrors as error:
        raise JobErrors(job_id, error.errors) from None
    return replace(job, functions=functions) if functions else job


def _job_from(
    job_id: str, fields: Fields, source: str | None, calendars: Mapping[str, Calendar], site: Site
) -> Job:
    params = fields.get_at("params", params_from, ())
    program = fields.get_at("program", partial(program_from_dict, site=site))
    env = fields.get("env", read_templates, {})
    cwd = fields.get("cwd", read_template, None)
    shell = fields.get("shell", read_name, None)
    host = fields.get("host", host_reader(read_template, site.hosts), None)
    user = fields.get("user", name_reader(read_template), None)
    env_file = fields.get("env_file", name_reader(read_template), None)
    schedules = fields.read_list("schedule", partial(schedule_from_dict, calendars=calendars), null=True)
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
            host=program.host or (host if program.ecs is None else None),
            user=program.user or user,
            env_file=program.env_file or env_file,
            shell=shell if shell and program.shell == SHELL else program.shell,
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
        calendars=calendars,
        hosts=site.hosts,
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
        "params": {p.name: param_to_dict(p) for p in job.params},
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


# -- the other parts


class _Metadata(NamedTuple):
    labels: tuple[str, ...] = ()
    description: str | None = None
    rest: Mapping[str, Any] = MappingProxyType({})


def _metadata_from(data: Any, path: KeyPath) -> _Metadata:
    fields = Fields(data, path, "'metadata'")
    labels = fields.get("labels", read_texts, ())
    description = fields.get("description", read_text_or_none, None)
    rest = {str(key): _plain(value) for key, value in data.items() if key not in {"labels", "description"}}
    if fields.errors:
        fields.stop()
    return _Metadata(tuple(dict.fromkeys(labels)), description, rest)


def _late_from(data: Any, path: KeyPath) -> float:
    fields = Fields(data, path, "'late'")
    start_s = fields.get("start", within(parse_duration, least=0, most=_CENTURY_S), LATE_START_S)
    fields.done(later=("finish", "finish_by"))
    return start_s


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
