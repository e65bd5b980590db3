"""A job: what a job file says, checked, and how a run is made from it."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from .actions import Action, action_from_dict, successor_from
from .calendars import Calendar, get_calendar
from .conditions import Condition, MaxRunning, ParamsOf, condition_from_dict
from .conditions.kinds import bind_enabled
from .conditions.reading import states_from
from .errors import BindError, JobError, JobErrors
from .fields import (
    Fields,
    KeyPath,
    noun,
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
    Notebook,
    Process,
    Program,
    PythonCall,
    Site,
    Task,
    host_of,
    host_reader,
    kept_file_reader,
    name_reader,
    program_from_dict,
    read_template,
    read_templates,
)
from .retention import Keep, retention_from
from .runs import Instance, Origin, Retry, Run, RunId
from .runset import Group
from .schedules import (
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    Schedule,
    explain,
    schedule_from_dict,
    schedule_to_dict,
)
from .states import State
from .templates import expand, namespace
from .times import format_daytime, format_iso, next_daytime, parse_daytime, parse_duration, zone

# -- the job

#: Start budget of a job that names none.
LATE_START_S = 60.0
_AS_JOB = Retry(count=-1)
#: Schedules on the clocks of a zone; what belongs to the others is in UTC.
_WITH_ZONE = (DailySchedule, DailyIntervalSchedule, CronSchedule)


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
    max_wait_s: float | None = None  #: its runs may wait no longer; None: as the server says
    retry: Retry | None = None
    late_finish_s: float | None = None  #: so is one that has not finished so long after its scheduled time
    late_finish_by: time | None = None  #: or by this daytime, in the zone of its schedule, else UTC
    keep: Keep | None = None  #: of the outputs of its runs; None: as the server says
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

    def late_finish_at(self, schedule: Schedule, scheduled_at: datetime) -> datetime | None:
        """After which a run of a schedule that has not finished is late; None: never."""
        ends = []
        if self.late_finish_s is not None:
            ends.append(scheduled_at + timedelta(seconds=self.late_finish_s))
        if self.late_finish_by is not None:
            tz = schedule.tz if isinstance(schedule, _WITH_ZONE) else zone("UTC")
            ends.append(next_daytime(self.late_finish_by, scheduled_at, tz))
        return min(ends, default=None)


def coming_args(job: Job, derived: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """The args that a run of a schedule will have, with the defaults of the job's params.

    Args:
        job: the job.
        derived, given: what the schedule derives from a time, and gives itself.
    """
    if not job.params:
        return {}
    args = job.args_for(derived, given)
    with suppress(BindError):  # then the run will be an error, and has its args as they are
        return bind_args(job, args)
    return args


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
    late_finish_at: datetime | None = None,
    labels: Iterable[str] = (),
    by: str | None = None,
    rerun_of: RunId | None = None,
    attempt: int = 1,
    retry: Retry | None = _AS_JOB,
    backfill_id: RunId | None = None,
    first: Iterable[Condition] = (),
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
        late_finish_at: after which it is late if it has not finished.
        labels: beside those of the job.
        by: who asked for it.
        rerun_of: the run that it runs again.
        attempt: counted from 1.
        retry: what is left of it; as the job says unless told.
        backfill_id: the backfill that it belongs to.
        first: conditions before those of the job.

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
    # What is not enabled need not even make sense.
    enabled = (c for c in (*first, *job.conditions) if bind_enabled(c.enabled, expanded))
    conditions = tuple(condition.bind(expanded, inst, params_of) for condition in enabled)
    program = job.program.bind(expanded)
    if isinstance(program, Process):
        program = program.with_types({p.name: p.type for p in job.params})
    return Run(
        run_id=run_id,
        inst=inst,
        program=program,
        origin=origin,
        scheduled_at=scheduled_at,
        nominal_at=nominal_at,
        stop_at=stop_at,
        state_at=now,
        conditions=conditions,
        groups=_groups(conditions),
        max_wait_s=job.max_wait_s,
        retry=job.retry if retry is _AS_JOB else retry,
        actions=job.actions,
        labels=tuple(dict.fromkeys((*job.labels, *labels))),
        late_start_s=job.late_start_s,
        late_finish_at=late_finish_at,
        attempt=attempt,
        rerun_of=rerun_of,
        backfill_id=backfill_id,
        host=_host_of(program, job.hosts),
        by=by,
        cwd=job.source,
    )


def _groups(conditions: Iterable[Condition]) -> tuple[str, ...]:
    """The groups in which a run takes up a place, each once."""
    pools = (condition.pool for condition in conditions if isinstance(condition, MaxRunning))
    return tuple(dict.fromkeys(pool.name for pool in pools if isinstance(pool, Group)))


def _host_of(program: Program, hosts: Hosts) -> str:
    try:
        return host_of(program.host_name if isinstance(program, Process) else None, hosts)
    except ValueError as error:
        raise BindError(f"host: {error}") from None


# -- from the job file

_LATER = (
    "jitter",
    "notify",
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
        site: what its program and its conditions may name.

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
    python = fields.get("python", name_reader(read_template), None)
    outputs = fields.read_list("outputs", kept_file_reader(read_template), null=True)
    schedules = fields.read_list("schedule", partial(schedule_from_dict, calendars=calendars), null=True)
    conditions = fields.read_list("condition", partial(condition_from_dict, site=site))
    actions = fields.read_list("action", action_from_dict)
    successors = fields.read_list("successors", successor_from, null=True)
    metadata = fields.get_at("metadata", _metadata_from, _Metadata())
    max_wait_s = fields.get_at("waiting", _waiting_from, None)
    retry = fields.get_at("retry", retry_from, None)
    late = fields.get_at("late", _late_from, _Late())
    keep = fields.get_at("retention", retention_from, None)
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
            outputs=outputs + program.outputs,
            task=_with_python(program.task, python),
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
        max_wait_s=max_wait_s,
        retry=retry,
        late_start_s=late.start_s,
        late_finish_s=late.finish_s,
        late_finish_by=late.finish_by,
        keep=keep,
        ad_hoc=ad_hoc,
        source=source,
        calendars=calendars,
        hosts=site.hosts,
    )


def _with_python(task: Task | None, python: str | None) -> Task | None:
    return replace(task, python=task.python or python) if isinstance(task, PythonCall | Notebook) else task


def job_to_dict(job: Job) -> dict[str, Any]:
    """The job as JSON values, in the form of the job file, with `explain`: what its parts mean, in English.

    Without `explain`, `job_from_dict` reads it back.
    """
    metadata: dict[str, Any] = {"labels": list(job.labels)}
    if job.description is not None:
        metadata["description"] = job.description
    more: dict[str, Any] = {}
    if job.max_wait_s is not None:
        more["waiting"] = {"max_time": job.max_wait_s}
    if job.retry is not None:
        more["retry"] = job.retry.to_dict()
    if job.keep is not None:
        more["retention"] = {"outputs": job.keep.to_dict()}
    return {
        "job_id": job.job_id,
        "params": {p.name: param_to_dict(p) for p in job.params},
        "program": job.program.to_dict(),
        "schedule": [schedule_to_dict(s) for s in job.schedules],
        "condition": [c.to_dict() for c in job.conditions],
        "action": [a.to_dict() for a in job.actions],
        "metadata": {**job.metadata, **metadata},
        "late": _late_dict(job),
        **more,
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


class _Late(NamedTuple):
    start_s: float = LATE_START_S
    finish_s: float | None = None
    finish_by: time | None = None


def _late_from(data: Any, path: KeyPath) -> _Late:
    fields = Fields(data, path, "'late'")
    start_s = fields.get("start", within(parse_duration, least=0, most=_CENTURY_S), LATE_START_S)
    finish_s = fields.get("finish", within(parse_duration, above=0, most=_CENTURY_S), None)
    finish_by = fields.get("finish_by", parse_daytime, None)
    fields.done()
    return _Late(start_s, finish_s, finish_by)


def _late_dict(job: Job) -> dict[str, Any]:
    jso: dict[str, Any] = {"start": job.late_start_s}
    if job.late_finish_s is not None:
        jso["finish"] = job.late_finish_s
    if job.late_finish_by is not None:
        jso["finish_by"] = format_daytime(job.late_finish_by)
    return jso


def _waiting_from(data: Any, path: KeyPath) -> float | None:
    fields = Fields(data, path, "'waiting'")
    max_wait_s = fields.get("max_time", within(parse_duration, above=0, most=_CENTURY_S))
    fields.done()
    return max_wait_s


#: States after which a run may be tried again.
_TRIED_AGAIN = frozenset({State.FAILURE, State.ERROR})


def retry_from(data: Any, path: KeyPath = ()) -> Retry | None:
    """How often and when a run is tried again: a mapping, or only how often.

    Raises:
        JobErrors: what is wrong with it.
    """
    if data is None:
        return None
    fields = Fields(data if isinstance(data, Mapping) else {"count": data}, path, "'retry'")
    default = Retry(count=0)
    count = fields.get("count", _read_attempts)
    delay_s = fields.get("delay", within(parse_duration, least=0, most=_CENTURY_S), default.delay_s)
    backoff = fields.get("backoff", _read_backoff, default.backoff)
    max_delay_s = fields.get(
        "max_delay", within(parse_duration, least=0, most=_CENTURY_S), default.max_delay_s
    )
    states = fields.get_at("states", _retry_states, default.states)
    fields.done()
    if count == 0:
        return None
    return Retry(count=count, delay_s=delay_s, backoff=backoff, max_delay_s=max_delay_s, states=states)


def _retry_states(data: Any, path: KeyPath) -> frozenset[State]:
    states = states_from(data, path)
    if not states <= _TRIED_AGAIN:
        raise JobError(path, "only after 'failure' and 'error' is a run tried again")
    return states


def _read_attempts(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1000:
        raise ValueError(f"must be how many more attempts there are, 0 to 1000, not {noun(value)}")
    return value


def _read_backoff(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 100:
        raise ValueError(f"must be a factor for each further delay, 1 to 100, not {noun(value)}")
    return float(value)


def _plain(value: Any) -> Any:
    """A value of YAML as one of JSON."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case date() | time():
            return format_iso(value)
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value
