"""One validated `Config`, from file, environment and command line; and how a user's servers are found.

Later sources win: defaults, file, environment (`APSIS_NB_SQL__MAX_TIME` sets `sql.max_time`), then `--set`.
"""

import contextlib
import difflib
import hashlib
import ipaddress
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)

from apsis_nb._version import __version__
from apsis_nb.core.actions import Action, Names, action_from_dict, unknown_names
from apsis_nb.core.errors import ApsisError, JobError
from apsis_nb.core.fields import Fields
from apsis_nb.core.private import REFERENCE, is_name
from apsis_nb.core.programs import read_size
from apsis_nb.core.retention import Keep
from apsis_nb.core.times import format_duration, parse_duration, zone

DEFAULT_BIND = "127.0.0.1:5577"
#: How an address begins that is the path of a unix socket.
UNIX = "unix:"
#: Linux takes no longer path for a unix socket, the closing NUL included.
LONGEST_SOCKET_PATH = 108

_ENV_PREFIX = "APSIS_NB_"
#: Variables with our prefix that are not settings of the server.
_ENV_OTHERS = frozenset({"APSIS_NB_URL", "APSIS_NB_TOKEN", "APSIS_NB_CERT", "APSIS_NB_DEBUG"})


class ConfigError(ApsisError):
    """The configuration is wrong: a line for each thing that is, with file and line if it has them."""


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _zone_name(name: str) -> str:
    return zone(name).key


def _split(value: object) -> object:
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value


def _absolute(value: object) -> object:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) else value


def _address(value: str) -> str:
    if value.startswith(UNIX):
        return UNIX + _socket_path(value.removeprefix(UNIX))
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):(\d{1,5})", value)
    if match is None or int(match[2]) > 65535:
        raise ValueError(
            f"not an address: {value!r}; give HOST:PORT, for example {DEFAULT_BIND}, or unix:PATH"
        )
    return value


def _socket_path(text: str) -> str:
    if not text or "\0" in text or text.endswith("/"):
        raise ValueError(f"not an address: {UNIX + text!r}; give unix:PATH, the path of a socket to make")
    path = str(Path(text).expanduser().absolute())
    if len(os.fsencode(path)) >= LONGEST_SOCKET_PATH:
        most = LONGEST_SOCKET_PATH - 1
        raise ValueError(f"{path} is too long for a socket: the system takes {most} bytes; give another")
    return path


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", value):
        raise ValueError(f"not a web address: {value!r}; give for example https://jobs.example.org/apsis")
    return value.rstrip("/")


def _memory(value: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)? ?([KMGT]i?)?B", value):
        raise ValueError(f"not an amount of memory: {value!r}; give for example 1GB or 500MB")
    return value


def _size_or_off(value: object) -> object:
    return None if value is None or value == "off" else read_size(value)


def _host(value: object) -> object:
    if value != "local":
        raise ValueError(f"not a host: {value!r}; programs run only on this machine for now: give local")
    return value


def _own_hosts(hosts: dict[str, str]) -> dict[str, str]:
    return {name: host for name, host in hosts.items() if name not in ("default", "local")}


def _accounts(folders: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {folder.strip("/"): names for folder, names in folders.items()}


def _server_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(f"not a name: {value!r}; use letters, digits, '.', '_' and '-'")
    return value


def _address_of_somebody(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if "://" not in text and not REFERENCE.fullmatch(text):
        raise ValueError("not an address: give for example mailto://..., env:NAME or file:PATH")
    return value


def _web_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not re.match(r"https?://[^/]", text) and not REFERENCE.fullmatch(text):
        raise ValueError("not a web address: give for example https://..., env:NAME or file:PATH")
    return value


def _actions(value: object) -> tuple[Action, ...]:
    """One action or a list of them, in the form of a job file."""
    fields = Fields({"action": value}, (), "the configuration")
    actions = fields.read_list("action", action_from_dict)
    if fields.errors:
        raise _ActionFaults(fields.errors)
    return actions


class _ActionFaults(ValueError):
    """What is wrong with the actions, each with its place."""

    def __init__(self, errors: list[JobError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


def _shown(value: SecretStr) -> str:
    """Where it is kept, if it is kept elsewhere."""
    text = value.get_secret_value()
    return text if REFERENCE.fullmatch(text) else HIDDEN


#: What is shown in the place of a secret.
HIDDEN = "***"
#: A text that is shown to nobody, or where it is kept.
Secret = Annotated[SecretStr, PlainSerializer(_shown, when_used="json")]
Address = Annotated[Secret, AfterValidator(_address_of_somebody)]
#: Seconds; from text such as `30s` or `1h30m`.
Duration = Annotated[
    float, BeforeValidator(_duration), Field(ge=0), PlainSerializer(format_duration, when_used="json")
]
#: Absolute.
FullPath = Annotated[Path, BeforeValidator(_absolute)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Tls(_Section):
    """Serve HTTPS with this certificate and key, both PEM files."""

    cert: FullPath
    key: FullPath


class Sql(_Section):
    """Bounds of the queries that clients send."""

    max_time: Duration = 30.0  #: seconds; a longer query is stopped
    max_rows: Annotated[int, Field(gt=0)] | None = None  #: None: no bound
    heavy: Annotated[int, Field(gt=0)] = 2  #: how many run at once; others wait


class Rotate(_Section):
    """When a new file of the log is begun."""

    #: bytes; a file that would grow beyond is moved aside. None: never, somebody else sees to it
    size: Annotated[int | None, BeforeValidator(_size_or_off)] = 100_000_000
    keep: Annotated[int, Field(gt=0)] = 5  #: how many that were moved aside stay


class Log(_Section):
    """The server's own log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: FullPath | None = None  #: None: standard error
    rotate: Rotate = Rotate()  #: of a file
    format: Literal["text", "json"] = "text"  #: json: an object a line


class Late(_Section):
    """Budgets of jobs that set none themselves."""

    start: Duration = 60.0  #: seconds after its scheduled time within which a run has to start


class Waiting(_Section):
    """Patience with runs whose jobs set none themselves."""

    max_time: Annotated[Duration, Field(gt=0)] | None = None  #: seconds a run may wait; None: for ever


class Limits(_Section):
    """What the server takes on at once."""

    running: Annotated[int, Field(gt=0)] | None = None  #: runs; others wait, and say so. None: any number


class Notify(_Section):
    """Whom to tell, by name: each further key is one, and its value an address as apprise has them."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Address] = Field(init=False)

    group_window: Duration = 60.0  #: seconds after a message in which further ones are gathered into one

    @property
    def addresses(self) -> dict[str, Address]:
        """The addresses by name: `mailto://...`, or where one is kept, `env:NAME` or `file:PATH`."""
        return self.__pydantic_extra__ or {}

    @model_validator(mode="after")
    def _names(self) -> "Notify":
        for name in self.addresses:
            if not is_name(name):
                raise ValueError(f"not a name: {name!r}; use letters, digits, '.', '_' and '-'")
        return self


class KeptOutputs(_Section):
    """What of the outputs of each job's runs is kept, by jobs that say nothing themselves; None: no bound."""

    age: Annotated[Duration, Field(gt=0)] | None = None  #: seconds since the run finished
    bytes: Annotated[int, BeforeValidator(read_size)] | None = None  #: of the newest runs, on the disk
    count: Annotated[int, Field(gt=0)] | None = None  #: of the newest runs

    @property
    def keep(self) -> Keep:
        """The same, for the core."""
        return Keep(age_s=self.age, size_b=self.bytes, count=self.count)


class Retention(_Section):
    """What is given up in the end."""

    outputs: KeptOutputs = KeptOutputs()


class Archive(_Section):
    """What the archive takes unless it is told."""

    #: seconds since a month ended, from which on its runs may go there
    older_than: Annotated[Duration, Field(le=100 * 365.25 * 86400)] = 365 * 86400.0


class Heartbeat(_Section):
    """An outside monitor, which tells people when it hears nothing any more."""

    url: Annotated[Secret, AfterValidator(_web_secret)]  #: asked with GET while the server does its work
    every: Annotated[Duration, Field(ge=1)] = 60.0  #: seconds


class Cost(_Section):
    """Prices, in whatever currency, with which `history.cost` counts unless it is told others."""

    cpu_hour: Annotated[float, Field(ge=0)] = 0.0  #: of an hour of processor time
    gb_hour: Annotated[float, Field(ge=0)] = 0.0  #: of a gigabyte (10^9 bytes) of memory for an hour


class StoreSettings(_Section):
    """Resources of the run store."""

    memory_limit: Annotated[str, AfterValidator(_memory)] = "1GB"
    threads: Annotated[int, Field(gt=0)] | None = None  #: None: one less than the machine has cores


class Config(_Section):
    """The settings of a server; made by `load_config`. Durations are seconds, paths absolute."""

    jobs: FullPath = Field(default_factory=lambda: Path("jobs").absolute())  #: folder of job files
    name: Annotated[str, AfterValidator(_server_name)] = ""  #: of this server; by default from the jobs path
    state_dir: FullPath = Path()  #: by default XDG_STATE_HOME/apsis_nb/NAME
    #: HOST:PORT, where port 0 takes a free one; or unix:PATH
    bind: Annotated[str, AfterValidator(_address)] = DEFAULT_BIND
    tz: Annotated[str, AfterValidator(_zone_name)] = "UTC"  #: by default the system's
    env: dict[str, str] = {}  #: for every program
    #: which machine job files mean by a name, as in `host: NAME`; `default` and `local` are this one
    hosts: Annotated[
        dict[str, Annotated[Literal["local"], BeforeValidator(_host)]], AfterValidator(_own_hosts)
    ] = {}
    #: which accounts jobs below a folder may name as `user`; `/` is for all others. Nothing: any account
    accounts: Annotated[
        dict[str, Annotated[tuple[str, ...], BeforeValidator(_split)]], AfterValidator(_accounts)
    ] = {}
    drain: bool = False  #: when told to stop, wait for the programs that run
    observe: bool = False  #: start no program; what would start is recorded as skipped
    watch: bool = False  #: take up a change of a job file when it is saved, without a reload
    template_functions: dict[str, str] = {}  #: what templates may call: module:function by name
    dashboards: Literal["process", "off"] = "process"
    public_url: Annotated[str, AfterValidator(_web_address)] | None = None  #: how people reach the server
    tls: Tls | None = None
    insecure: bool = False  #: allows an address that others can reach without TLS
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()  #: further Host headers to accept
    sql: Sql = Sql()
    log: Log = Log()
    late: Late = Late()
    waiting: Waiting = Waiting()
    limits: Limits = Limits()
    store: StoreSettings = StoreSettings()
    retention: Retention = Retention()
    archive: Archive = Archive()
    cost: Cost = Cost()
    notify: Notify = Notify()
    secrets: dict[str, Secret] = {}  #: for webhooks, by name; or where one is kept: env:NAME, file:PATH
    #: what follows the runs of all jobs
    action: Annotated[
        tuple[Action, ...],
        PlainValidator(_actions),
        PlainSerializer(lambda actions: [action.to_dict() for action in actions], when_used="json"),
    ] = ()
    heartbeat: Heartbeat | None = None

    @model_validator(mode="after")
    def _safe_address(self) -> "Config":
        if self.socket is not None and self.tls is not None:
            raise ValueError(
                f"bind: {self.bind} takes no tls: nothing that is said there leaves this machine"
            )
        if not (self.is_loopback or self.tls or self.insecure):
            raise ValueError(
                f"bind: {self.bind} can be reached from other machines: give tls.cert and tls.key, "
                "or set insecure to true if something in front of the server does TLS"
            )
        return self

    @property
    def names(self) -> Names:
        """The names that actions may use."""
        return Names(frozenset(self.notify.addresses), frozenset(self.secrets))

    @property
    def socket(self) -> Path | None:
        """The unix socket to bind; None: there is a host and a port."""
        return Path(self.bind.removeprefix(UNIX)) if self.bind.startswith(UNIX) else None

    @property
    def host(self) -> str:
        """The host to bind, without the brackets of IPv6; of a unix socket, what it is asked as."""
        return "localhost" if self.socket else self.bind.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind; 0: any that is free, or a unix socket, which has none."""
        return 0 if self.socket else int(self.bind.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def base_url(self) -> str:
        """Where a client on this machine reaches the server, without a slash at the end."""
        if self.socket:
            return self.bind
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        scheme = "https" if self.tls else "http"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    @property
    def link_url(self) -> str:
        """What links for people begin with: `public_url` if there is one. A browser opens no unix socket."""
        return self.public_url or self.base_url

    def with_port(self, port: int) -> "Config":
        """The same, bound to the port that the system gave for port 0."""
        if self.socket:
            return self
        return self.model_copy(update={"bind": f"{self.bind.rpartition(':')[0]}:{port}"})


def load_config(
    file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    env: Mapping[str, str] = os.environ,
) -> Config:
    """The configuration of a server.

    Args:
        file: YAML; relative paths in it start from its folder. None: no file.
        overrides: values by dotted key (`{"sql.max_time": "10s"}`), as `--set` gives them.
        env: the environment; `APSIS_NB_<KEY>`, with `__` for a dot, sets a key.

    Raises:
        ConfigError: a key is unknown or a value is wrong; all that is wrong at once.
    """
    return _settings(file, overrides, env).config(env)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting as it is in effect."""

    key: str  #: dotted
    value: Any  #: as JSON has it, durations as `30s`; secrets are hidden, but for where they are kept
    source: str  #: `default`, FILE:LINE, the variable of the environment, or `--set KEY`


def list_settings(
    file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    env: Mapping[str, str] = os.environ,
) -> list[Setting]:
    """All settings that `load_config` would give for the same arguments, and where each was said.

    Raises:
        ConfigError: as `load_config` does.
    """
    settings = _settings(file, overrides, env)
    config = settings.config(env)
    return [
        Setting(key=".".join(path), value=_without_secret(path, value), source=settings.source(path))
        for path, value in _leaves(config.model_dump(mode="json"))
    ]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values below a value, each with its place; lists are one value."""
    if not (isinstance(value, dict) and value):
        yield path, value
        return
    for key, below in value.items():
        yield from _leaves(below, (*path, key))


def _without_secret(path: tuple[str, ...], value: Any) -> Any:
    """Programs are often given a password in their environment."""
    return HIDDEN if path[0] == "env" and len(path) > 1 and _IS_SECRET.search(path[1]) else value


#: Names of variables whose values are shown to nobody.
_IS_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|DSN|URL", re.IGNORECASE)


def _settings(file: Path | None, overrides: Mapping[str, str] | None, env: Mapping[str, str]) -> "_Settings":
    settings = _Settings()
    if file is not None:
        settings.add_file(file)
    for name in names_in_environment(env):
        settings.add(name.removeprefix(_ENV_PREFIX).lower().split("__"), env[name], name)
    for key, value in (overrides or {}).items():
        settings.add(key.split("."), value, f"--set {key}")
    return settings


def names_in_environment(env: Mapping[str, str]) -> list[str]:
    """The variables that are settings of a server."""
    return sorted(name for name in env if name.startswith(_ENV_PREFIX) and name not in _ENV_OTHERS)


class _Settings:
    """Values by key path, each with where it was said."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.said: dict[tuple[str, ...], str] = {}
        self.folders: dict[tuple[str, ...], Path] = {}

    def add(self, path: list[str], value: str, where: str) -> None:
        """Set one value. Below `env`, `hosts` and `accounts` a key is one name, whatever is in it."""
        if path[0] in ("env", "hosts", "accounts") and len(path) > 1:
            path = [path[0], ".".join(path[1:])]
        target = self.values
        for key in path[:-1]:
            below = target.setdefault(key, {})
            if not isinstance(below, dict):
                below = target[key] = {}
            target = below
        target[path[-1]] = value
        self.said[tuple(path)] = where
        self.folders.pop(tuple(path), None)

    def source(self, path: tuple[str, ...]) -> str:
        """Where the value at `path` was said; `default` if it was not."""
        value: Any = self.values
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return "default"  # also where a file has `key:` with nothing after it
            value = value[key]
        return self.said.get(path, "default")

    def add_file(self, file: Path) -> None:
        try:
            node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: is not UTF-8 text") from None
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            raise ConfigError(f"{file}{line}: {error.problem}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{file}: {error}") from None
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{file}:1: should be a mapping of settings, as in `bind: {DEFAULT_BIND}`")
        self.values = self._plain(node, (), file)

    def _plain(self, node: yaml.Node, path: tuple[str, ...], file: Path) -> Any:
        """The node as text, lists and mappings; pydantic makes numbers and booleans of text where wanted."""
        self.said[path] = f"{file}:{node.start_mark.line + 1}"
        self.folders[path] = file.absolute().parent
        match node:
            case yaml.ScalarNode():
                if path[0] == "action" and node.style is None and node.value in ("true", "false"):
                    return node.value == "true"  # actions are read as in a job file
                return None if node.tag == "tag:yaml.org,2002:null" else node.value
            case yaml.SequenceNode():
                return [self._plain(n, (*path, str(i)), file) for i, n in enumerate(node.value)]
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in values:
                raise ConfigError(f"{file}:{key_node.start_mark.line + 1}: {key} is given twice")
            value = self._plain(value_node, (*path, key), file)
            if value is not None:  # `key:` with nothing after it leaves the default
                values[key] = value
        return values

    def config(self, env: Mapping[str, str]) -> Config:
        values = self.values
        for path, folder in self.folders.items():
            self._start_from(path, folder)
        values.setdefault("tz", system_zone(env))
        if isinstance(values.get("state_dir"), str) and "name" not in values:
            values["name"] = (
                re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "", Path(values["state_dir"]).name) or "apsis"
            )
        values.setdefault("name", name_of(Path(str(values.get("jobs", "jobs")))))
        values.setdefault("state_dir", str(state_home(env) / "apsis_nb" / str(values["name"])))
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            raise ConfigError("\n".join(self._explain(error))) from None
        if faults := list(_unknown_names(config)):
            raise ConfigError("\n".join(map(self._explain_action, faults)))
        return config

    def _start_from(self, path: tuple[str, ...], folder: Path) -> None:
        """A relative path in a file starts from the file's folder."""
        scheme = _SCHEMES.get(path[0]) if path else None
        if path not in _PATH_KEYS and not scheme:
            return
        target: Any = self.values
        for key in path[:-1]:
            target = target.get(key)
            if not isinstance(target, dict):
                return
        value = target.get(path[-1])
        if scheme:
            if isinstance(value, str) and value.startswith(scheme):
                target[path[-1]] = f"{scheme}{folder / Path(value.removeprefix(scheme)).expanduser()}"
        elif isinstance(value, str):
            target[path[-1]] = str(folder / Path(value).expanduser())

    def _explain(self, error: ValidationError) -> Iterator[str]:
        for fault in error.errors(include_url=False):
            path = tuple(str(p) for p in fault["loc"])
            key = ".".join(path)
            said = next((self.said[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.said), None)
            where = f"{said}: " if said else ""
            wrong = fault.get("ctx", {}).get("error")
            if isinstance(wrong, _ActionFaults):
                yield from (self._explain_action(error) for error in wrong.errors)
                continue
            if fault["type"] == "extra_forbidden":
                yield f"{where}unknown key {path[-1]!r}{_suggestion(path)}"
            elif fault["type"] == "missing":
                yield f"{where}{key}: is missing"
            else:
                text = fault["msg"].removeprefix("Value error, ")
                text = text[:1].lower() + text[1:] if text.startswith("Input ") else text
                yield f"{where}{key}: {text}" if key else f"{where}{text}"

    def _explain_action(self, error: JobError) -> str:
        path = tuple(str(part) for part in error.path)
        if ("action", "type") in self.said:  # one action, and no list
            path = tuple(part for part in path if part != "0")
        ways = (path[:n] for n in range(len(path), 0, -1))
        said = next((self.said[way] for way in ways if way in self.said), None)
        return f"{said}: {error}" if said else str(error)


def _unknown_names(config: Config) -> Iterator[JobError]:
    """Names in the actions of the configuration that it has not itself."""
    for n, action in enumerate(config.action):
        for key, text in unknown_names(action, config.names):
            yield JobError(("action", n, key), text)


#: Keys whose value is a path.
_PATH_KEYS = {("jobs",), ("state_dir",), ("tls", "cert"), ("tls", "key"), ("log", "file")}
#: The same, dotted.
PATH_KEYS = frozenset(".".join(path) for path in _PATH_KEYS)
#: Here a value is a path if it begins so: it may be kept in a file, and a server may listen on a socket.
_SCHEMES = {"notify": "file:", "secrets": "file:", "heartbeat": "file:", "bind": UNIX}
_SECTIONS: dict[str, type[_Section]] = {
    "tls": Tls,
    "sql": Sql,
    "log": Log,
    "rotate": Rotate,  # below log
    "late": Late,
    "waiting": Waiting,
    "limits": Limits,
    "store": StoreSettings,
    "heartbeat": Heartbeat,
    "retention": Retention,
    "archive": Archive,
    "cost": Cost,
    "outputs": KeptOutputs,  # below retention
}


def _suggestion(path: tuple[str, ...]) -> str:
    section = Config if len(path) == 1 else _SECTIONS.get(path[-2])
    if section is None:
        return ""
    near = difflib.get_close_matches(path[-1], section.model_fields, n=1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f"; known are {', '.join(section.model_fields)}"


def name_of(jobs: Path) -> str:
    """The name of the server of a job folder that is given none: always the same, another for each folder."""
    full = jobs.expanduser().resolve()
    stem = re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "", full.name) or "jobs"
    return f"{stem}-{hashlib.sha256(os.fsencode(full)).hexdigest()[:8]}"


def state_home(env: Mapping[str, str] = os.environ) -> Path:
    """The folder below which servers keep their state, as the XDG rules name it."""
    return _xdg(env, "XDG_STATE_HOME") or _home(env) / ".local" / "state"


def system_zone(env: Mapping[str, str] = os.environ) -> str:
    """The name of this machine's time zone; `UTC` where it cannot be told."""
    link = Path("/etc/localtime")
    names = [env.get("TZ", "").removeprefix(":")]
    with contextlib.suppress(OSError):
        names.append(Path("/etc/timezone").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        names.append(str(link.readlink()).rpartition("zoneinfo/")[2])
    for name in names:
        with contextlib.suppress(ValueError):
            if name:
                return zone(name).key
    return "UTC"


def full_url(url: str) -> str:
    """The address of a server as itself says it: no slash at the end, and the full path of a socket."""
    if url.startswith(UNIX):
        return UNIX + str(Path(url.removeprefix(UNIX)).expanduser().absolute())
    return url.rstrip("/")


# ---- Servers that run, found by what they leave in the user's runtime folder ----


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """What a server tells about itself to other programs of the same user."""

    url: str
    token: str
    pid: int
    state_dir: str
    version: str
    host: str  #: name of the machine: a home folder may be shared by several
    pid_since: str  #: when the process began, so that another with its pid is not taken for it
    cert: str | None = None  #: the file of its certificate, if it serves HTTPS


def runtime_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where runtime files lie; only its owner may read it."""
    return (_xdg(env, "XDG_RUNTIME_DIR") or _home(env) / ".local" / "share") / "apsis_nb" / "runtime"


def write_runtime(
    url: str,
    token: str,
    state_dir: Path,
    env: Mapping[str, str] = os.environ,
    *,
    cert: Path | None = None,
) -> list[Path]:
    """Tell the user's other programs that this process serves at `url`, if with HTTPS by this certificate.

    Returns:
        The files, readable by their owner alone; the server removes them when it ends.
    """
    pid = os.getpid()
    server = RunningServer(
        url=url,
        token=token,
        pid=pid,
        state_dir=str(state_dir.absolute()),
        version=__version__,
        host=socket.gethostname(),
        pid_since=_pid_since(pid) or "",
        cert=None if cert is None else str(cert),
    )
    # The runtime folder may be emptied when the user logs out; a server that goes on is found by its state.
    files = [state_dir / "server.json", runtime_dir(env) / f"{pid}.json"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(
            dir=file.parent, prefix=".", suffix=".new"
        )  # made with mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(server), out)
        Path(temporary).replace(file)
    return files


def find_servers(env: Mapping[str, str] = os.environ) -> list[RunningServer]:
    """The user's servers that live on this machine, newest first; what dead ones left is removed."""
    found: dict[int, tuple[float, RunningServer]] = {}
    folders = (state_home(env) / "apsis_nb").glob("*/server.json")
    for file in (*folders, *runtime_dir(env).glob("*.json")):
        server = _read_runtime(file)
        if server is not None:
            with contextlib.suppress(FileNotFoundError):
                found[server.pid] = (file.stat().st_mtime, server)
    return [server for _, server in sorted(found.values(), key=lambda f: f[0], reverse=True)]


def server_of(state_dir: Path) -> RunningServer | None:
    """The server that lives on this machine with this state, if there is one."""
    return _read_runtime(state_dir / "server.json")


def _read_runtime(file: Path) -> RunningServer | None:
    """The server that `file` tells of, if it lives; else the file is removed."""
    try:
        server = RunningServer(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # just removed, or of another version
    if server.host != socket.gethostname():
        return None
    if _pid_since(server.pid) != server.pid_since:
        file.unlink(missing_ok=True)
        return None
    return server


def _pid_since(pid: int) -> str | None:
    """When process `pid` began, in the kernel's own terms; None if there is none, or only its corpse."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _xdg(env: Mapping[str, str], variable: str) -> Path | None:
    """The folder that an XDG variable names; its rules say to ignore a relative one."""
    value = env.get(variable, "")
    return Path(value) if value.startswith("/") else None


def _home(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) if env.get("HOME") else Path.home()
