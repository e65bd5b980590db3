"""What the jobs of a folder have in common: `.apsis.yaml` at its top, and its calendar files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from apsis_nb.core.actions import ACTION_TYPES
from apsis_nb.core.calendars import Calendar
from apsis_nb.core.conditions import CONDITION_TYPES
from apsis_nb.core.errors import ApsisError, JobError, JobErrors
from apsis_nb.core.fields import Fields, KeyPath, read_name, read_text_map, suggestion
from apsis_nb.core.jobs import job_from_dict
from apsis_nb.core.programs import NO_SITE, PROGRAM_TYPES, ClassOf, Hosts, Site, is_import_path
from apsis_nb.core.schedules import SCHEDULE_TYPES
from apsis_nb.core.templates import TEMPLATE_NAMES

from .calendars import load_calendars
from .code import class_keys, import_from
from .faults import FileError, file_error
from .yaml12 import MAX_BYTES, Spot, YamlErrors, parse_yaml

SETTINGS = ".apsis.yaml"
#: Folder of the calendar files, unless the settings name another.
CALENDARS = "_calendars"

Functions = Mapping[str, Callable[..., Any]]

#: What an alias may stand for.
_TYPES = frozenset({*PROGRAM_TYPES, *SCHEDULE_TYPES, *CONDITION_TYPES, *ACTION_TYPES})
#: Keys of a job file whose items have a type.
_TYPED = ("program", "schedule", "condition", "action")
#: Keys of which a job may have a part of its own, and the rest from the defaults.
_MERGED = ("env", "metadata", "late")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the jobs of a folder have in common."""

    aliases: Mapping[str, str] = field(default_factory=dict)  #: names of types that job files may use
    functions: Functions = field(default_factory=dict)  #: that templates may call, by name
    defaults: Mapping[str, Any] = field(default_factory=dict)  #: of the keys of a job file
    calendars: Mapping[str, Calendar] = field(default_factory=dict)  #: those of files, by name
    hosts: Hosts = field(default_factory=dict)  #: of the server
    class_of: ClassOf | None = field(default=None, compare=False)  #: finds classes by import path
    errors: tuple[FileError, ...] = field(default=(), compare=False)
    is_broken: bool = False  #: the settings themselves are wrong, so that no job of the folder can be trusted

    @property
    def site(self) -> Site:
        """What programs and conditions may name."""
        return Site(hosts=self.hosts, class_of=self.class_of)

    def with_late_start(self, late_start_s: float) -> "Settings":
        """The same, with a start budget for jobs that say none, nor do these settings."""
        late = {"start": late_start_s, **self.defaults.get("late", {})}
        return replace(self, defaults={**self.defaults, "late": late})

    def completed(self, data: Any) -> Any:
        """What a job file holds, with the defaults, and aliases replaced by what they stand for."""
        if not isinstance(data, Mapping) or not (self.defaults or self.aliases):
            return data
        whole = {**self.defaults, **data}
        for key in _MERGED:
            own, default = data.get(key), self.defaults.get(key)
            if isinstance(own, Mapping) and isinstance(default, Mapping):
                whole[key] = {**default, **own}
        for key in _TYPED:
            if key in whole:
                whole[key] = self._without_aliases(whole[key])
        return whole

    def _without_aliases(self, data: Any) -> Any:
        if isinstance(data, list):
            return [self._without_aliases(item) for item in data]
        if not isinstance(data, Mapping):
            return data
        kind = data.get("type")
        if isinstance(kind, str) and kind in self.aliases:
            return {**data, "type": self.aliases[kind]}
        if isinstance(data.get("start"), Mapping):  # a schedule with a time to stop
            return {**data, "start": self._without_aliases(data["start"])}
        return data


def load_settings(root: Path, functions: Functions | None = None, hosts: Hosts = NO_SITE.hosts) -> Settings:
    """The settings of a folder of jobs; without the file, those that there are by themselves.

    Args:
        root: the folder.
        functions: further functions for templates, by name; those of the file win.
        hosts: of the server; None: jobs may name any.
    """
    site = Site(hosts=hosts, class_of=partial(class_keys, root=root))
    file, spot = root / SETTINGS, Spot({})
    errors: list[FileError] = []
    said = _Said()
    try:
        if file.exists():
            with file.open("rb") as opened:
                text = opened.read(MAX_BYTES + 1)
            spot = parse_yaml(text) if _says_something(text) else spot
        said = _settings_from(spot.value, root, site)
    except OSError as error:
        errors = [FileError(str(file), 1, 1, (), f"cannot be read: {error.strerror or error}", SETTINGS)]
    except YamlErrors as error:
        errors = [FileError(str(file), f.line, f.col, (), f.message, SETTINGS) for f in error.faults]
    except JobErrors as error:
        errors = [file_error(fault, spot, str(file), SETTINGS) for fault in error.errors]
    calendars, calendar_errors = load_calendars(root / said.calendars, root)
    return Settings(
        aliases=said.aliases,
        functions={**(functions or {}), **said.functions},
        defaults=said.defaults,
        calendars=calendars,
        hosts=hosts,
        class_of=site.class_of,
        errors=(*errors, *calendar_errors),
        is_broken=bool(errors),
    )


def _says_something(text: bytes) -> bool:
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in text.splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What the file itself says."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    functions: Functions = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    calendars: str = CALENDARS


def _settings_from(data: Any, root: Path, site: Site) -> _Said:
    fields = Fields(data, (), f"'{SETTINGS}'")
    aliases = fields.get_at("aliases", partial(_aliases_from, site=site), {})
    functions = fields.get_at(
        "template_functions", lambda value, path: _functions_from(value, path, root), {}
    )
    defaults = fields.get_at("defaults", partial(_defaults_from, site=site), {})
    calendars = fields.get("calendars", lambda value: _read_folder(value, root), CALENDARS)
    fields.done()
    return _Said(aliases=aliases, functions=functions, defaults=defaults, calendars=calendars)


def _read_folder(value: Any, root: Path) -> str:
    name = read_name(value)
    if not (root / name).is_dir():
        raise ValueError(f"there is no folder '{name}'")
    return name


def _aliases_from(data: Any, path: KeyPath, site: Site) -> dict[str, str]:
    aliases = read_text_map(data)
    errors = []
    for name, kind in aliases.items():
        if is_import_path(kind) and site.class_of is not None and name not in _TYPES:
            try:
                site.class_of(kind)
            except ApsisError as error:
                errors.append(JobError((*path, name), str(error)))
        elif kind not in _TYPES:
            errors.append(JobError((*path, name), f"there is no type '{kind}'{suggestion(kind, _TYPES)}"))
        elif name in _TYPES:
            errors.append(JobError((*path, name), f"'{name}' is a type already: choose another name"))
    if errors:
        raise JobErrors("'aliases'", errors)
    return aliases


def _functions_from(data: Any, path: KeyPath, root: Path) -> Functions:
    functions, errors = {}, []
    for name, target in read_text_map(data).items():
        try:
            functions[name] = import_function(name, target, root)
        except ApsisError as error:
            errors.append(JobError((*path, name), str(error)))
    if errors:
        raise JobErrors("'template_functions'", errors)
    return functions


def import_functions(targets: Mapping[str, str], root: Path) -> Functions:
    """The functions for templates that a server's configuration names.

    Args:
        targets: `module:function` by name.
        root: a folder in which their modules may lie.

    Raises:
        ApsisError: one cannot be used.
    """
    functions = {}
    for name, target in targets.items():
        try:
            functions[name] = import_function(name, target, root)
        except ApsisError as error:
            raise ApsisError(f"template_functions.{name}: {error}") from None
    return functions


def import_function(name: str, target: str, root: Path | None = None) -> Callable[..., Any]:
    """A function for templates.

    Args:
        name: by which templates call it.
        target: `module:function`, or `package.module.function`.
        root: a folder in which its module may lie.

    Raises:
        ApsisError: the name cannot be used, or there is no such function.
    """
    if not name.isidentifier() or name in TEMPLATE_NAMES:
        hint = "templates have it already" if name in TEMPLATE_NAMES else "write letters, digits and _"
        raise ApsisError(f"'{name}' is no name for a function: {hint}")
    module_name, colon, function_name = target.partition(":")
    if not colon:
        module_name, _, function_name = target.rpartition(".")
    if not (module_name and function_name):
        raise ApsisError(f"'{target}' names no function: write module:function")
    module = import_from(module_name, root)
    function = getattr(module, function_name, None)
    if not callable(function):
        near = suggestion(function_name, vars(module))
        raise ApsisError(f"'{module_name}' has no function '{function_name}'{near}")
    return function  # type: ignore[no-any-return]


def _defaults_from(data: Any, path: KeyPath, site: Site) -> Mapping[str, Any]:
    fields = Fields(data, path, "'defaults'")
    for key in ("job_id", "ad_hoc"):
        if key in data:
            fields.fail(f"'{key}' is each job's own", key)
    if fields.errors:
        fields.stop()
    try:
        job_from_dict("defaults", {"program": {"type": "no-op"}, **data}, site=site)
    except JobErrors as error:
        found = [JobError((*path, *fault.path), fault.message) for fault in error.errors]
        raise JobErrors("'defaults'", found) from None
    return {str(key): value for key, value in data.items()}
