"""YAML 1.2, to values that know the line and column they stand at."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, NoReturn

import yaml

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.fields import KeyPath
from apsis_nb.core.times import format_iso

MAX_BYTES = 4_000_000
_MAX_DEPTH = 50
_MAX_VALUES = 100_000

# Without libyaml the same events come, more slowly.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class YamlFault:
    """One thing that is wrong with a YAML text, at a line and column from 1."""

    line: int
    col: int
    message: str


class YamlErrors(ApsisError):
    """A text is no YAML, or no such YAML as a job file may be."""

    def __init__(self, faults: list[YamlFault]) -> None:
        super().__init__("; ".join(f"{f.line}:{f.col}: {f.message}" for f in faults))
        self.faults = faults


class Timestamp(datetime):
    """A time of YAML; as text it is ISO 8601, with a T."""

    def __str__(self) -> str:
        return format_iso(self)


@dataclass(slots=True)
class Spot:
    """A value of a YAML text, where it stands, and those within it."""

    value: Any = None
    line: int = 1
    col: int = 1
    parts: dict[str | int, "Spot"] = field(
        default_factory=dict
    )  #: by key or position; each where its key stands
    size: int = 1  #: how many values, aliases followed

    def find(self, path: KeyPath) -> "Spot":
        """The place that a path leads to; where it ends early, the last one."""
        spot = self
        for part in path:
            if part not in spot.parts:
                break
            spot = spot.parts[part]
        return spot


def parse_yaml(text: bytes | str) -> Spot:
    """The one document of a YAML 1.2 text, with the place of each key.

    Raises:
        YamlErrors: the syntax is wrong, a key stands twice, or there is not exactly one document.
    """
    if len(text) > MAX_BYTES:
        raise YamlErrors([YamlFault(1, 1, f"the file is larger than {MAX_BYTES // 1_000_000} MB")])
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise YamlErrors([YamlFault(line, 1, "the file is not UTF-8")]) from None
    faults: list[YamlFault] = []
    try:
        spot = _Document(yaml.parse(decoded.removeprefix("\ufeff"), Loader=_LOADER), faults).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        faults.append(YamlFault(line, col, f"YAML: {error.problem or error.context}"))
    except (yaml.YAMLError, UnicodeEncodeError):  # a control character, or half of a surrogate pair
        line, col = _place_of_bad_character(decoded)
        faults.append(YamlFault(line, col, "YAML: a character that is not allowed"))
    if faults:
        raise YamlErrors(faults)
    return spot


def _place_of_bad_character(text: str) -> tuple[int, int]:
    bad = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    before = text[: bad.start()] if bad else ""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class _Document:
    """Builds values from the events of a parser: nothing recurses in C, and no tag makes an object."""

    def __init__(self, events: Iterator[Any], faults: list[YamlFault]) -> None:
        self._events, self._faults = events, faults
        self._anchors: dict[str, Spot] = {}

    def read(self) -> Spot:
        """The value of the one document."""
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            self._stop(1, 1, "the file is empty")
        spot = self._value(next(self._events), 0)
        next(self._events)  # the end of the document
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._stop(after.start_mark.line + 1, 1, "a second document: a file holds one job")
        return spot

    def _value(self, event: Any, depth: int) -> Spot:
        mark = event.start_mark
        line, col = mark.line + 1, mark.column + 1
        if type(event) is yaml.ScalarEvent and event.anchor is None:  # most are: no detour
            return Spot(self._scalar(event, line, col), line, col)
        if isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(str(event.anchor))
            if known is None:  # what is not complete yet has no name: nothing can hold itself
                self._stop(line, col, f"the alias *{event.anchor} names nothing that is complete before it")
            return Spot(known.value, line, col, known.parts, known.size)
        if depth > _MAX_DEPTH:
            self._stop(line, col, f"nested more than {_MAX_DEPTH} deep")
        if isinstance(event, yaml.MappingStartEvent):
            spot = self._mapping(event, line, col, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            spot = self._sequence(event, line, col, depth)
        else:
            spot = Spot(self._scalar(event, line, col), line, col)
        if spot.size > _MAX_VALUES:
            self._stop(line, col, f"more than {_MAX_VALUES} values, aliases followed")
        if event.anchor is not None:
            self._anchors[event.anchor] = spot
        return spot

    def _mapping(self, start: Any, line: int, col: int, depth: int) -> Spot:
        self._know_tag(start, ("map", "set"), line, col)
        spot = Spot({}, line, col)
        merged: list[Spot] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            spot_of_key = self._value(event, depth + 1)
            key, at = spot_of_key.value, (spot_of_key.line, spot_of_key.col)
            is_merge = key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]
            value = self._value(next(self._events), depth + 1)
            spot.size += value.size
            if is_merge:
                merged += self._to_merge(value)
            elif isinstance(key, dict | list):
                what = "mapping" if isinstance(key, dict) else "list"
                self._fault(*at, f'a {what} cannot be a key: a template must be quoted, "{{{{ x }}}}"')
            elif str(key) in spot.parts:
                first = spot.parts[str(key)].line
                self._fault(*at, f"duplicate key '{key}': it stands in line {first} too")
            else:
                spot.value[key] = value.value
                spot.parts[str(key)] = Spot(value.value, *at, value.parts, value.size)
        for other in merged:  # what the mapping has itself wins, then what comes first
            for key, item in other.value.items():
                if str(key) not in spot.parts:
                    spot.value[key] = item
                    spot.parts[str(key)] = other.parts[str(key)]
        return spot

    def _to_merge(self, spot: Spot) -> list[Spot]:
        others = list(spot.parts.values()) if isinstance(spot.value, list) else [spot]
        for other in others:
            if not isinstance(other.value, dict):
                self._fault(other.line, other.col, "only a mapping can be merged with <<")
        return [other for other in others if isinstance(other.value, dict)]

    def _sequence(self, start: Any, line: int, col: int, depth: int) -> Spot:
        self._know_tag(start, ("seq",), line, col)
        spot = Spot([], line, col)
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = self._value(event, depth + 1)
            spot.parts[len(spot.value)] = item
            spot.value.append(item.value)
            spot.size += item.size
        return spot

    def _scalar(self, event: Any, line: int, col: int) -> Any:
        text: str = event.value
        read: Callable[[str], Any] = str
        if event.tag is None:
            if event.implicit[0]:
                read = _reader_of(text)
        elif event.tag.removeprefix(_TAG) in {"null", "int", "float", "bool", "timestamp"}:
            read = _reader_of(text)
        else:
            self._know_tag(event, ("str",), line, col)
        if read is str:
            return text
        try:
            return read(text)
        except (ValueError, OverflowError):
            self._fault(line, col, f"'{text[:40]}' is no {_WORDS[read]}: quote it if it is text")
            return text

    def _know_tag(self, event: Any, kinds: tuple[str, ...], line: int, col: int) -> None:
        if event.tag is not None and event.tag not in {"!", *(_TAG + kind for kind in kinds)}:
            self._fault(line, col, f"the tag {event.tag} is not allowed here")

    def _fault(self, line: int, col: int, message: str) -> None:
        self._faults.append(YamlFault(line, col, message))

    def _stop(self, line: int, col: int, message: str) -> NoReturn:
        raise YamlErrors([*self._faults, YamlFault(line, col, message)])


# -- scalars

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d?-\d\d?)(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?"
    r"(?:[ \t]*(?:(Z)|([-+])(\d\d?)(?::?(\d\d))?))?",
    re.ASCII,
)
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|\d[\d_]*)", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|[-+]?\d[\d_]*[eE][-+]?\d+|[-+]?\.\d[\d_]*(?:[eE][-+]?\d+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)


def _null(text: str) -> None:
    return None


def _bool(text: str) -> bool:
    return text.lower() == "true"


def _int(text: str) -> int:
    digits, sign = text.lstrip("+-").replace("_", ""), -1 if text[0] == "-" else 1
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
    return sign * int(digits if base == 10 else digits[2:], base)


def _float(text: str) -> float:
    return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


def _time(text: str) -> Timestamp:
    match = _TIME.fullmatch(text)
    assert match, "that is how it was chosen"
    day, hour, minute, second, fraction, zulu, sign, hours, minutes = match.groups()
    tz = UTC if zulu else None
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        tz = timezone(-offset if sign == "-" else offset)
    year, month, number = (int(part) for part in day.split("-"))
    us = int((fraction or "").ljust(6, "0")[:6])
    return Timestamp(year, month, number, int(hour), int(minute), int(second), us, tz)


#: Which plain scalars are more than text, by their first character.
_SCALARS: tuple[tuple[str, re.Pattern[str], Callable[[str], Any]], ...] = (
    ("~nN", re.compile(r"~|null|Null|NULL"), _null),
    ("tTfF", re.compile(r"true|True|TRUE|false|False|FALSE"), _bool),
    ("-+0123456789", _INT, _int),
    ("-+.0123456789", _FLOAT, _float),
    ("0123456789", _DATE, date.fromisoformat),
    ("0123456789", _TIME, _time),
)
_WORDS: dict[Any, str] = {_int: "whole number", _float: "number", date.fromisoformat: "date", _time: "time"}


def _by_first() -> dict[str, list[tuple[re.Pattern[str], Callable[[str], Any]]]]:
    table: dict[str, list[tuple[re.Pattern[str], Callable[[str], Any]]]] = {}
    for firsts, pattern, read in _SCALARS:
        for first in firsts:
            table.setdefault(first, []).append((pattern, read))
    return table


_BY_FIRST = _by_first()


def _reader_of(text: str) -> Callable[[str], Any]:
    """What reads a plain scalar."""
    if not text:
        return _null
    for pattern, read in _BY_FIRST.get(text[0], ()):
        if pattern.fullmatch(text):
            return read
    return str
