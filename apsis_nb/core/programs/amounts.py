"""Readers of what programs are given in figures: durations, signals, sizes."""

from collections.abc import Callable
from signal import Signals
from typing import Any

from apsis_nb.core.fields import noun, suggestion, within
from apsis_nb.core.times import parse_duration

_CENTURY_S = 100 * 365.25 * 86400
#: Stands for "never" where Apsis's job files have null.
_NEVER_S = 10 * 365 * 86400.0

read_pause = within(lambda value: 0.0 if value is None else parse_duration(value), least=0, most=_CENTURY_S)
read_length = within(parse_duration, above=0, most=_CENTURY_S)
read_grace_period = within(
    lambda value: _NEVER_S if value is None else parse_duration(value), least=0, most=_CENTURY_S
)


def read_signal(value: Any) -> str:
    """The full name of a signal: SIGTERM."""
    names = [s.name for s in Signals]
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value in list(Signals):
            return Signals(value).name
    elif isinstance(value, str):
        name = value if value.startswith("SIG") else f"SIG{value}"
        if name in names:
            return name
        raise ValueError(f"'{value}' is no signal{suggestion(name, names)}")
    raise ValueError(f"must be the name of a signal such as SIGTERM, not {noun(value)}")


def number(*, above: float | None = None, most: float) -> Callable[[Any], float]:
    """A reader of a number, also one that is written as text."""

    def read(value: Any) -> float:
        try:
            found = float(value) if isinstance(value, str | int | float) and value is not True else None
        except (ValueError, OverflowError):
            found = None
        if found is None or found != found or value is False:
            raise ValueError(f"must be a number, not {noun(value)}")
        if above is not None and found <= above:
            raise ValueError(f"must be more than {above:g}, not {value}")
        if found > most:
            raise ValueError(f"{value} is too much")
        return found

    return read


#: A size of something, in gigabytes of 10**9 bytes.
read_gigabytes = number(above=0, most=1e9)

_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{letter}iB": 1024**n for n, letter in enumerate("KMGT", 1)
}


def read_size(value: Any) -> int:
    """A size in bytes: `2GB`, `500 MB`, `1GiB`, or a number of bytes."""
    text = str(value).strip()
    figures = text.rstrip("".join({letter for unit in _UNITS for letter in unit}))
    unit = text[len(figures) :] or "B"
    try:
        size_b = float(figures) * _UNITS[unit] if not isinstance(value, bool) else -1.0
    except (ValueError, KeyError):
        raise ValueError(f"must be a size such as 2GB or 500MB, not {noun(value)}") from None
    if not 1 <= size_b <= 1e18:
        raise ValueError(f"must be a size from 1 B on, not {noun(value)}")
    return int(size_b)
