"""Templates of a job file: sandboxed Jinja, and the names that it may use (dates, times, calendars).

The values of templates (`Date`, `Time`, `Daytime`, `TimeZone`) are classes of their own: `date + 1`
is the next day and `time - 3600` an hour before, which the standard library's do not offer.
"""

import functools
import shlex
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from jinja2 import Template, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from .errors import BindError
from .times import format_iso

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class DayCalendar(Protocol):
    """What a template needs of a calendar; `core.calendars` has the real ones."""

    @property
    def name(self) -> str: ...
    def __contains__(self, day: date, /) -> bool: ...
    def before(self, day: date) -> date: ...
    def after(self, day: date) -> date: ...
    def shift(self, day: date, count: int) -> date: ...


@functools.total_ordering
class Date:
    """A day: `Date("2026-01-31")`, `Date(2026, 1, 31)`.

    `+ 1` is the next day; the difference of two is in days. `format(day, "%Y%m%d")` writes it otherwise.
    """

    __slots__ = ("_day",)

    def __init__(self, *parts: Any) -> None:
        match parts:
            case (Date() as other,):
                self._day: date = other._day
            case (datetime(),):
                raise ValueError("a time is no date: use to_local(time, zone).date")
            case (date() as day,):
                self._day = day
            case (str() | int() as text,):
                self._day = date.fromisoformat(str(text))
            case _:
                self._day = date(*parts)

    @property
    def year(self) -> int:
        return self._day.year

    @property
    def month(self) -> int:
        return self._day.month

    @property
    def day(self) -> int:
        return self._day.day

    @property
    def weekday(self) -> str:
        """`Mon` to `Sun`."""
        return _WEEKDAYS[self._day.weekday()]

    @property
    def ordinal(self) -> int:
        """Which day of its year it is; the first is 1."""
        return self._day.timetuple().tm_yday

    def __add__(self, days: int) -> "Date":
        return Date(self._day + timedelta(days=days))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Date):
            return (self._day - other._day).days
        return self + -other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Date) and self._day == other._day

    def __lt__(self, other: "Date") -> bool:
        return self._day < other._day

    def __hash__(self) -> int:
        return hash(self._day)

    def __str__(self) -> str:
        return format_iso(self._day)

    def __format__(self, spec: str) -> str:
        return format(self._day, spec)


@functools.total_ordering
class Daytime:
    """A time of day: `Daytime("09:30:00")`, `Daytime(9, 30)`. `+ 60` is a minute later, past midnight too."""

    __slots__ = ("_time",)

    def __init__(self, *parts: Any) -> None:
        match parts:
            case (Daytime() as other,):
                self._time: time = other._time
            case (time() as daytime,):
                self._time = daytime
            case (str() as text,):
                self._time = time.fromisoformat(text if text[1:2] != ":" else f"0{text}")
            case _:
                self._time = time(*parts)
        if self._time.tzinfo is not None:
            raise ValueError(f"a daytime has no zone: '{format_iso(self._time)}'")

    @property
    def hour(self) -> int:
        return self._time.hour

    @property
    def minute(self) -> int:
        return self._time.minute

    @property
    def second(self) -> float:
        """Seconds of the minute, with the fraction."""
        return self._time.second + self._time.microsecond / 1_000_000

    def __add__(self, seconds: float) -> "Daytime":
        moved = datetime.combine(date(2000, 1, 1), self._time) + timedelta(seconds=seconds)
        return Daytime(moved.time())

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Daytime):
            days = [datetime.combine(date(2000, 1, 1), d._time) for d in (self, other)]
            return (days[0] - days[1]).total_seconds()
        return self + -other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Daytime) and self._time == other._time

    def __lt__(self, other: "Daytime") -> bool:
        return self._time < other._time

    def __hash__(self) -> int:
        return hash(self._time)

    def __str__(self) -> str:
        return format_iso(self._time)

    def __format__(self, spec: str) -> str:
        return format(self._time, spec) if spec else str(self)


@functools.total_ordering
class Time:
    """An instant: `Time("2026-01-31T09:00:00Z")`.

    `+ 60` is a minute later; the difference of two is in seconds. `format(time, "%H:%M")` writes it in UTC,
    `format(time, "%H:%M@Europe/London")` in a zone.
    """

    __slots__ = ("_at",)

    def __init__(self, *parts: Any) -> None:
        match parts:
            case (Time() as other,):
                at = other._at
            case (datetime() as at,):
                pass
            case (str() as text,):
                at = datetime.fromisoformat(text)
            case (*numbers, zone):
                self._at: datetime = from_local((Date(*numbers[:3]), Daytime(*numbers[3:])), zone)._at
                return
            case _:
                raise ValueError("a time is made from text such as '2026-01-31T09:00:00Z'")
        if at.tzinfo is None:
            raise ValueError(f"'{format_iso(at)}' has no time zone")
        self._at = at.astimezone(UTC)

    def __add__(self, seconds: float) -> "Time":
        return Time(self._at + timedelta(seconds=seconds))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Time):
            return (self._at - other._at).total_seconds()
        return self + -other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Time) and self._at == other._at

    def __lt__(self, other: "Time") -> bool:
        return self._at < other._at

    def __hash__(self) -> int:
        return hash(self._at)

    def __str__(self) -> str:
        return format_iso(self._at)

    def __format__(self, spec: str) -> str:
        pattern, _, zone = spec.partition("@")
        at = self._at.astimezone(_zone(zone)) if zone else self._at
        return format(at, pattern) if pattern else str(self)


class TimeZone:
    """A time zone, by its IANA name."""

    __slots__ = ("zone",)

    def __init__(self, name: Any) -> None:
        self.zone = _zone(name)

    def __str__(self) -> str:
        return str(self.zone)


class LocalTime(NamedTuple):
    """What the clocks of a zone show."""

    date: Date
    daytime: Daytime

    def __str__(self) -> str:
        return f"{self.date}T{self.daytime}"


def to_local(at: Any, zone: Any) -> LocalTime:
    """What the clocks of `zone` show at a time: `to_local(time, "Asia/Tokyo").date`."""
    local = Time(at)._at.astimezone(_zone(zone))
    return LocalTime(Date(local.date()), Daytime(local.time()))


def from_local(local: Any, zone: Any) -> Time:
    """The time at which the clocks of `zone` show `(date, daytime)`; the first one where they show it twice.

    Raises:
        ValueError: the clocks skip it.
    """
    day, daytime = Date(local[0]), Daytime(local[1])
    tz = _zone(zone)
    shown = datetime.combine(day._day, daytime._time, tz)
    at = shown.astimezone(UTC)
    if at.astimezone(tz) != shown:
        raise ValueError(f"{day} {daytime} does not exist in {tz}: the clocks skip it")
    return Time(at)


class _Calendar:
    """A calendar that takes dates as templates have them: text or `Date`."""

    __slots__ = ("_calendar",)

    def __init__(self, calendar: DayCalendar) -> None:
        self._calendar = calendar

    @property
    def name(self) -> str:
        return self._calendar.name

    def __contains__(self, day: Any) -> bool:
        return Date(day)._day in self._calendar

    def before(self, day: Any) -> Date:
        """The latest day of the calendar that is not after `day`."""
        return Date(self._calendar.before(Date(day)._day))

    def after(self, day: Any) -> Date:
        """The earliest day of the calendar that is not before `day`."""
        return Date(self._calendar.after(Date(day)._day))

    def shift(self, day: Any, count: int) -> Date:
        """The `count`-th day of the calendar after `day`; before it if `count` is negative."""
        return Date(self._calendar.shift(Date(day)._day, count))

    def __str__(self) -> str:
        return self.name


class _NoSuchName(Undefined):
    """Touching a name or attribute that is not there is an error, also under `default` and `is defined`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._undefined_hint is None and self._undefined_obj is missing:
            raise UndefinedError(f"name '{self._undefined_name}' is not defined")
        raise UndefinedError(self._undefined_message)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=_NoSuchName)
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    # The same run must come out of the same job and args.
    del environment.filters["random"], environment.globals["lipsum"]
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=8192)
def _compiled(text: str) -> Template:
    return _ENVIRONMENT.from_string(text)


def check(text: str) -> None:
    """Whether `text` can be a template.

    Raises:
        BindError: its syntax is wrong.
    """
    if "{" in text:
        try:
            _compiled(text)
        except TemplateSyntaxError as error:
            raise BindError(f"template: {error.message}") from None


def names_in(text: str) -> set[str]:
    """The names that a template may ask for, in whatever branch."""
    return find_undeclared_variables(_ENVIRONMENT.parse(text)) - set(_ENVIRONMENT.globals)


#: What gives a value another name, or another form, further on.
_RENAMING: tuple[type[nodes.Node], ...] = (
    nodes.Assign,
    nodes.AssignBlock,
    nodes.For,
    nodes.Macro,
    nodes.With,
    nodes.FilterBlock,
)


def unquoted_names(text: str, names: Iterable[str]) -> set[str]:
    """Those of some names whose values a template may write into a shell command as they are, not by `quote`.

    What stands between quotes of the shell is not safe there, `quote` or not. In doubt a name is one of them.
    """
    tree = _ENVIRONMENT.parse(text)
    given = set(names)
    if any(tree.find(kind) for kind in _RENAMING):
        return given & {n.name for n in tree.find_all(nodes.Name)}
    found: set[str] = set()
    before = ""
    for output in tree.find_all(nodes.Output):
        for part in output.nodes:
            if isinstance(part, nodes.TemplateData):
                before += part.data
            else:
                found |= _names_below(part) if _is_in_quotes(before) else _bare_names(part)
    return given & found


def _bare_names(expression: nodes.Node) -> set[str]:
    """The names of an expression but those that `quote` makes harmless."""
    match expression:
        case nodes.Filter(name="quote"):
            return set()
        case nodes.Concat() | nodes.Add() | nodes.CondExpr():
            return set().union(*(_bare_names(part) for part in expression.iter_child_nodes()))
        case _:
            return _names_below(expression)


def _names_below(node: nodes.Node) -> set[str]:
    own = {node.name} if isinstance(node, nodes.Name) else set()
    return own | {name.name for name in node.find_all(nodes.Name)}


def _is_in_quotes(text: str) -> bool:
    """Whether a shell that has read `text` waits for the end of a quoted part."""
    quote, is_escaped = "", False
    for character in text:
        if is_escaped:
            is_escaped = False
        elif character == "\\" and quote != "'":
            is_escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
    return bool(quote) or is_escaped


def expand(text: str, namespace: Mapping[str, Any]) -> str:
    """The text that a template gives; one newline at its end is dropped.

    Args:
        text: the template; text without ``{`` stands for itself.
        namespace: the names that it may use.

    Raises:
        BindError: a name is not defined, or the template fails.
    """
    if "{" not in text:
        return text.removesuffix("\n")
    check(text)
    try:
        return _compiled(text).render(namespace)
    except UndefinedError as error:
        raise BindError(str(error)) from None
    except Exception as error:  # whatever the expression of a job file runs into
        raise BindError(f"template: {str(error) or type(error).__name__}") from None


_VALUES = {
    "Date": Date,
    "Time": Time,
    "Daytime": Daytime,
    "TimeZone": TimeZone,
    "to_local": to_local,
    "from_local": from_local,
    "format": format,
}
#: The names that every template may use, beside the args.
TEMPLATE_NAMES = frozenset({*_VALUES, "get_calendar", "run_id", "job_id"})


def namespace(
    *,
    run_id: str | None,
    job_id: str,
    args: Mapping[str, str],
    get_calendar: Callable[[str], DayCalendar],
    functions: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """The names that the templates of one run may use; its args hide any other name.

    Args:
        run_id: as people write it, `r123`.
        job_id: the job's.
        args: the run's.
        get_calendar: a calendar by its name.
        functions: further ones; they hide none of the others.
    """
    return {
        **functions,
        **_VALUES,
        "get_calendar": lambda name: _Calendar(get_calendar(name)),
        "run_id": run_id,
        "job_id": job_id,
        **args,
    }


@lru_cache(maxsize=256)
def _zone_of(name: str) -> ZoneInfo:
    return ZoneInfo("UTC" if name == "utc" else name)


def _zone(zone: Any) -> tzinfo:
    if isinstance(zone, TimeZone):
        return zone.zone
    try:
        return _zone_of(str(zone))
    except (KeyError, ValueError, OSError):  # a name that is a folder of zones is an OSError
        raise ValueError(f"unknown time zone '{zone}'") from None
