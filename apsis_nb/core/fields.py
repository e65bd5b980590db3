"""The mappings of a job file, read key by key; every fault is kept, so that one pass tells all of them."""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar, cast

from .errors import BindError, JobError, JobErrors

T = TypeVar("T")

#: Where something stands in a job file: keys and list positions from its top.
KeyPath = tuple[str | int, ...]

_REQUIRED: Any = object()


class Fields:
    """One mapping of a job file, being read.

    What a reader raises as `ValueError` or `BindError` becomes a `JobError` at the key; a `JobError` or
    `JobErrors` is taken as it is. Where a value was wrong something meaningless is returned: use the values
    only after `done`.

    Args:
        data: the mapping; keys that are no text are taken as text.
        path: where it stands.
        what: what it describes, for messages: "a schedule".

    Raises:
        JobErrors: it is no mapping.
    """

    def __init__(self, data: Any, path: KeyPath, what: str) -> None:
        self.path, self.what = path, what
        self.errors: list[JobError] = []
        if not isinstance(data, Mapping):
            self.errors.append(JobError(path, f"{what} must be a mapping, not {noun(data)}"))
            self.stop()
        self._left = {str(key): value for key, value in data.items()}
        self._known: list[str] = []
        self._missing: dict[str, JobError] = {}

    @property
    def names(self) -> list[str]:
        """The keys that are not read yet."""
        return list(self._left)

    def get(self, key: str, read: Callable[[Any], T], default: Any = _REQUIRED) -> T:
        """The value of `key`, read; `default` where it is absent. A key without default must be there."""
        if key not in self._left and default is not _REQUIRED:  # most keys of most jobs: no detour
            self._known.append(key)
            return cast(T, default)
        return self.get_at(key, lambda value, _: read(value), default)

    def get_at(self, key: str, read: Callable[[Any, KeyPath], T], default: Any = _REQUIRED) -> T:
        """As `get`, for a reader that wants to know where the value stands."""
        self._known.append(key)
        if key not in self._left:
            if default is _REQUIRED:
                self.fail(f"{self.what}: missing key '{key}'")
                self._missing[key] = self.errors[-1]
            return cast(T, default)
        path = (*self.path, key)
        return cast(T, self.read(read, self._left.pop(key), path))

    def read(self, read: Callable[[Any, KeyPath], T], value: Any, path: KeyPath) -> T | None:
        """What `read` makes of a value; None where it fails, with the fault kept."""
        try:
            return read(value, path)
        except JobErrors as error:
            self.errors += error.errors
        except JobError as error:
            self.errors.append(error)
        except (ValueError, BindError) as error:
            self.errors.append(JobError(path, str(error)))
        return None

    def read_list(self, key: str, read: Callable[[Any, KeyPath], T], *, null: bool = False) -> tuple[T, ...]:
        """One value or a list of them; what is wrong is left out. With `null`, nothing is no value."""
        self._known.append(key)
        if key not in self._left:
            return ()
        data, path = self._left.pop(key), (*self.path, key)
        if data is None and null:
            return ()
        if not isinstance(data, list | tuple):
            value = self.read(read, data, path)
            return () if value is None else (value,)
        values = [self.read(read, item, (*path, n)) for n, item in enumerate(data)]
        return tuple(v for v in values if v is not None)

    def ignore(self, *keys: str) -> None:
        """Take keys for known, whatever they say: a fault of theirs is kept already."""
        self._known += keys
        for key in keys:
            self._left.pop(key, None)

    def fail(self, message: str, *keys: str | int) -> None:
        """Keep a fault of this mapping, or of what stands under `keys` in it."""
        self.errors.append(JobError((*self.path, *keys), message))

    def done(self, *, later: Collection[str] = (), hints: Mapping[str, str] | None = None) -> None:
        """All known keys were read: whatever is left is a fault.

        Args:
            later: keys that will mean something one day.
            hints: what to say of a key that is likely written here, and wrong.

        Raises:
            JobErrors: there were faults.
        """
        for key in self._left:
            if key in later:
                text = f"'{key}' is not supported yet"
            elif hints and key in hints:
                text = f"unknown key '{key}': {hints[key]}"
            else:
                text = f"unknown key '{key}'{suggestion(key, self._known)}"
                if meant := [known for known in nearest(key, self._known) if known in self._missing]:
                    self.errors.remove(self._missing.pop(meant[0]))  # one slip is one fault
            self.fail(text, key)
        if self.errors:
            self.stop()

    def stop(self) -> None:
        """Raise the faults.

        Raises:
            JobErrors: always.
        """
        raise JobErrors(self.what, self.errors)


def choose(data: Any, path: KeyPath, what: str, kinds: Collection[str], later: Collection[str] = ()) -> str:
    """The `type` of a mapping.

    Args:
        data: the mapping.
        path: where it stands.
        what: what it describes: "schedule".
        kinds: the types that there are.
        later: types that will exist one day.

    Raises:
        JobError: it is no mapping, has no type, or one that does not exist.
    """
    if not isinstance(data, Mapping):
        raise JobError(path, f"{article(what)} must be a mapping, not {noun(data)}")
    if "type" not in data:
        raise JobError(path, f"{article(what)}: missing key 'type': one of {', '.join(kinds)}")
    kind = data["type"]
    if isinstance(kind, str) and kind in kinds:
        return kind
    if isinstance(kind, str) and kind in later:
        raise JobError((*path, "type"), f"{what} type '{kind}' is not supported yet")
    hint = suggestion(str(kind), kinds) or f": one of {', '.join(kinds)}"
    raise JobError((*path, "type"), f"unknown {what} type '{kind}'{hint}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """A question after what may have been meant by a misspelt word, or nothing."""
    close = nearest(word, known)
    return f": did you mean '{close[0]}'?" if close else ""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known word that a misspelt one may have been meant for, if there is one."""
    return difflib.get_close_matches(word, sorted(set(known)), n=1)


def noun(value: Any) -> str:
    """What kind of YAML a value is, for messages."""
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case str():
            return f"the text '{value}'"
        case _:
            return str(value)


def article(what: str) -> str:
    """`what` with its article."""
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


# -- readers of plain values; each raises ValueError


def read_text(value: Any) -> str:
    """Text; numbers, dates and truth values as their text."""
    if value is None or isinstance(value, Mapping | list | tuple):
        raise ValueError(f"must be text, not {noun(value)}")
    return str(value)


def read_text_or_none(value: Any) -> str | None:
    """Text, or nothing."""
    return None if value is None else read_text(value)


def read_texts(value: Any) -> tuple[str, ...]:
    """One text or a list of them; nothing is none."""
    items = [] if value is None else value if isinstance(value, list | tuple) else [value]
    return tuple(read_text(item) for item in items)


def read_name(value: Any) -> str:
    """Text that is not empty, and no other kind of value."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be text, not {noun(value)}" if value != "" else "must not be empty")
    return value


def read_bool(value: Any) -> bool:
    """true or false, and no text."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {noun(value)}")
    return value


def read_int(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {noun(value)}")
    return value


def read_text_map(value: Any) -> dict[str, str]:
    """A mapping of names to texts."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping, not {noun(value)}")
    for key, item in value.items():
        if isinstance(item, Mapping | list | tuple):
            raise ValueError(f"'{key}' must be text, not {noun(item)}")
    return {str(key): str(item) for key, item in value.items()}


def within(
    read: Callable[[Any], float], *, above: float | None = None, least: float | None = None, most: float
) -> Callable[[Any], float]:
    """A reader of seconds that holds them to bounds: above `above`, or from `least`, to `most`."""

    def bounded(value: Any) -> float:
        seconds = read(value)
        if above is not None and seconds <= above:
            raise ValueError(f"must be more than {above:g}, not {value}")
        if least is not None and seconds < least:
            raise ValueError(f"must be {least:g} or more, not {value}")
        if seconds > most:
            raise ValueError(f"{value} is too long")
        return seconds

    return bounded
