"""Programs as job files tell them, and as the store keeps those of runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast, get_args

from apsis_nb.core.errors import BindError, JobError
from apsis_nb.core.fields import (
    Fields,
    KeyPath,
    article,
    choose,
    noun,
    read_bool,
    read_name,
    read_text_map,
    within,
)
from apsis_nb.core.times import parse_duration

from .amounts import read_gigabytes, read_grace_period, read_length, read_pause, read_signal, read_size
from .classes import ClassOf, is_import_path, read_keys
from .hosts import ECS_HOST, HOSTS_OF_ITS_OWN, LOCAL, Hosts, host_of
from .kinds import (
    SHELL,
    Custom,
    Ecs,
    Internal,
    InternalType,
    NoOp,
    Notebook,
    Process,
    Program,
    PythonCall,
    Resources,
    SqlQuery,
    Stop,
    Timeout,
)
from .outputs import Output, kept_file_reader, output_from
from .texts import (
    argv,
    command,
    function_reader,
    name_reader,
    named_values,
    not_empty,
    or_nothing,
    or_template,
    read_program_text,
    read_template,
    texts,
    values,
)

_INTERNAL_TYPES = get_args(InternalType)
PROGRAM_TYPES = (
    *("no-op", "shell", "argv", "program", "python", "notebook", "sql"),
    *_INTERNAL_TYPES,
    *("procstar", "procstar-shell", "procstar-ecs"),
)
_LATER = ("dask",)
#: How old runs must be for the archive, seconds: at most a century.
_READ_AGE = within(parse_duration, least=0, most=100 * 365.25 * 86400)
_SHELLS = ("shell", "procstar-shell")
_PROCSTARS = ("procstar", "procstar-shell")
#: Keys that every program with a process may have, so that no class can.
COMMON_KEYS = frozenset(
    {"type", "env", "env_file", "cwd", "host", "user", "pty", "stop", "timeout", "resources"}
    | {"output", "outputs", "split"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a server has that job files may name."""

    hosts: Hosts = field(default_factory=dict)  #: which name stands for which machine
    class_of: ClassOf | None = None  #: finds classes by import path; None: none may be named


NO_SITE = Site()


def program_from_dict(
    data: Any, path: KeyPath = (), *, site: Site = NO_SITE, is_bound: bool = False
) -> Program:
    """The program that a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`; or a text, a command for the shell; or a list, the args of a program.
        path: where it stands in the job file, for errors.
        site: what it may name.
        is_bound: it is that of a run: what looks like a template in it is text that came out of one, and
            what it names was there when the run was made.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    text = read_program_text if is_bound else read_template
    try:
        if isinstance(data, str):
            return Process(command=command(text)(data))
        if isinstance(data, list | tuple):
            return Process(argv=argv(text)(data))
    except (ValueError, BindError) as error:
        raise JobError(path, str(error)) from None
    if isinstance(data, Mapping) and is_import_path(data.get("type")):
        kind = str(data["type"])
    else:
        kind = choose(data, path, "program", PROGRAM_TYPES, later=_LATER)
    fields = Fields(data, path, f"{article(kind)} program")
    fields.get("type", str)
    if kind in _INTERNAL_TYPES:
        program = Internal(type=cast(InternalType, kind))
        if kind == "backup":
            to, keep = fields.get("to", or_nothing(_read_folder), None), fields.get("keep", _read_keep, None)
            program = replace(program, to=to, keep=keep)
        if kind == "archive":
            older_than_s = fields.get("older_than", or_nothing(_READ_AGE), None)
            program = replace(program, older_than_s=older_than_s)
        fields.done()
        return program
    if kind == "no-op":
        duration_s = fields.get("duration", or_template(read_pause), 0.0)
        success = fields.get("success", lambda value: None if value is None else read_bool(value), True)
        fields.done()
        return NoOp(duration_s=duration_s, success=success)
    return _process_from(kind, fields, text, Site(hosts=None) if is_bound else site, is_bound=is_bound)


def _read_folder(value: Any) -> str:
    folder = read_program_text(value)
    if not folder.startswith("/"):
        raise ValueError("must be an absolute path, such as /backups")
    return folder


def _read_keep(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"must be how many backups, from 1 on, not {noun(value)}")
    return value


def _process_from(
    kind: str, fields: Fields, text: Callable[[Any], str], site: Site, *, is_bound: bool
) -> Process:
    given = set(fields.names)
    process = Process(
        env=fields.get("env", texts(text), {}),
        env_file=fields.get("env_file", name_reader(text), None),
        cwd=fields.get("cwd", text, None),
        pty=fields.get("pty", read_bool, False),
        stop=fields.get_at("stop", _stop_from, Stop()),
        timeout=fields.get_at("timeout", _timeout_from, None),
        output=_output_of(fields),
        outputs=fields.read_list("outputs", kept_file_reader(text), null=True),
    )
    read_host = host_reader(text, site.hosts)
    if kind in _PROCSTARS:
        process = replace(
            process,
            host=fields.get("group_id", read_host, None),
            user=fields.get("sudo_user", name_reader(text), None),
            resources=fields.get_at("resources", _procstar_resources_from, Resources()),
        )
    elif kind == "procstar-ecs":
        process = replace(
            process, ecs=_ecs_from(fields, text, site.hosts), user=fields.get("user", name_reader(text), None)
        )
    else:
        process = replace(
            process,
            host=fields.get("host", read_host, None),
            user=fields.get("user", name_reader(text), None),
            resources=fields.get_at("resources", _resources_from, Resources()),
        )
    if is_import_path(kind):
        process = replace(process, task=_custom_from(kind, fields, text, site.class_of, is_bound=is_bound))
    elif kind == "procstar-ecs" and len(given & {"command", "argv"}) != 1:
        fields.fail(
            f"{fields.what}: give either 'command' or 'argv'{', not both' if 'argv' in given else ''}"
        )
        fields.ignore("command", "argv")
    elif kind == "python":
        process = replace(process, task=_call_from(fields, text, is_bound=is_bound))
    elif kind == "notebook":
        process = replace(process, task=_notebook_from(fields, text, is_bound=is_bound))
    elif kind == "sql":
        query = fields.get("query", not_empty(text))
        process = replace(process, task=SqlQuery(query=query, types=_types_from(fields, is_bound=is_bound)))
    elif kind in _SHELLS or (kind == "procstar-ecs" and "command" in given):
        process = replace(process, command=fields.get("command", command(text)))
        process = replace(process, shell=fields.get("shell", read_name, SHELL))
    else:
        process = replace(process, argv=fields.get("argv", argv(text)))
    if process.pty and process.output.split:
        fields.fail("a terminal has one output: leave out either 'pty' or 'split'", "pty")
    fields.done()
    return process


def _output_of(fields: Fields) -> Output:
    output = fields.get_at("output", output_from, Output())
    is_split = fields.get("split", read_bool, False)  # the most usual of it, for short
    return replace(output, split=True) if is_split and not fields.errors else output


def _custom_from(
    kind: str, fields: Fields, text: Callable[[Any], str], class_of: ClassOf | None, *, is_bound: bool
) -> Custom:
    read = values(text)
    if is_bound:
        return Custom(type=kind, keys={name: fields.get(name, read) for name in fields.names})
    return Custom(type=kind, keys=read_keys(kind, fields, read, class_of, "program"))


def _call_from(fields: Fields, text: Callable[[Any], str], *, is_bound: bool) -> PythonCall:
    return PythonCall(
        call=fields.get("call", function_reader(text)),
        args=fields.get("args", named_values(text), {}),
        python=fields.get("python", name_reader(text), None),
        types=_types_from(fields, is_bound=is_bound),
    )


def _notebook_from(fields: Fields, text: Callable[[Any], str], *, is_bound: bool) -> Notebook:
    return Notebook(
        path=fields.get("path", not_empty(text)),
        parameters=fields.get("parameters", named_values(text), {}),
        kernel=fields.get("kernel", name_reader(text), None),
        cell_timeout_s=fields.get("cell_timeout", or_nothing(read_length), None),
        python=fields.get("python", name_reader(text), None),
        types=_types_from(fields, is_bound=is_bound),
    )


def _types_from(fields: Fields, *, is_bound: bool) -> dict[str, str]:
    """Of the args of a run; a job file has them under `params`."""
    return fields.get("types", read_text_map, {}) if is_bound else {}


def _ecs_from(fields: Fields, text: Callable[[Any], str], hosts: Hosts) -> Ecs:
    try:
        host_of(ECS_HOST, hosts)
    except ValueError as error:
        fields.fail(str(error), "type")
    return Ecs(
        mem_gb=fields.get("mem_gb", or_template(read_gigabytes), None),
        vcpu=fields.get("vcpu", or_template(read_gigabytes), None),
        disk_gb=fields.get("disk_gb", or_template(read_gigabytes), None),
        role=fields.get("role", name_reader(text), None),
        task_definition=fields.get("task_definition", name_reader(text), None),
    )


def host_reader(text: Callable[[Any], str], hosts: Hosts) -> Callable[[Any], str]:
    """A reader of the name of a machine, which must be mapped unless it is a template."""

    def read(value: Any) -> str:
        name = not_empty(text)(value)
        if "{" not in name:
            host_of(name, hosts)
        return LOCAL if name in HOSTS_OF_ITS_OWN else name

    return read


def _resources_from(data: Any, path: KeyPath) -> Resources:
    fields = Fields(data, path, "'resources'")
    memory_b = fields.get("memory", or_nothing(read_size), None)
    cpu_time_s = fields.get("cpu_time", or_nothing(read_length), None)
    fields.done()
    return Resources(memory_b=memory_b, cpu_time_s=cpu_time_s)


def _procstar_resources_from(data: Any, path: KeyPath) -> Resources:
    """As Apsis has it; nothing is no bound."""
    fields = Fields({} if data is None else data, path, "'resources'")
    memory_gb = fields.get("mem_max_gb", or_nothing(read_gigabytes), None)
    fields.done()
    return Resources(memory_b=None if memory_gb is None else int(memory_gb * 1e9))


def _stop_from(data: Any, path: KeyPath) -> Stop:
    fields = Fields(data, path, "'stop'")
    signal = fields.get("signal", or_template(read_signal), Stop().signal)
    grace_period_s = fields.get("grace_period", or_template(read_grace_period), Stop().grace_period_s)
    fields.done()
    return Stop(signal=signal, grace_period_s=grace_period_s)


def _timeout_from(data: Any, path: KeyPath) -> Timeout | None:
    if data is None:
        return None
    if not isinstance(data, Mapping):
        return Timeout(duration_s=or_template(read_length)(data))
    fields = Fields(data, path, "'timeout'")
    duration_s = fields.get("duration", or_template(read_length))
    signal = fields.get("signal", or_template(read_signal), "SIGTERM")
    fields.done()
    return Timeout(duration_s=duration_s, signal=signal)
