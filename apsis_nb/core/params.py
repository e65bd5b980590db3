"""The params of a job: the names that each of its runs has a value for, and what values they may have."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .fields import Fields, KeyPath, read_text, read_text_or_none, read_texts, suggestion
from .times import (
    format_daytime,
    format_duration,
    format_iso,
    format_time,
    parse_date,
    parse_daytime,
    parse_duration,
    parse_time,
)


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
    "date": ("a date such as 2026-01-31", lambda text: format_iso(parse_date(text))),
    "time": ("a daytime such as 09:30:00", lambda text: format_daytime(parse_daytime(text))),
    "datetime": ("a time such as 2026-01-31T09:00:00Z", lambda text: format_time(parse_time(text))),
    "choice": ("one of its choices", str),
    "duration": ("a duration such as 90s or 1h30m", lambda text: format_duration(parse_duration(text))),
}
#: Other names of types.
_ALIASES = {"daytime": "time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A name that each run of the job has a value for."""

    name: str
    type: str = "str"  #: of `PARAM_TYPES`
    default: str | None = None  #: None: an arg must be given
    choices: tuple[str, ...] = ()  #: none: anything of its type
    description: str | None = None

    @property
    def variable(self) -> str:
        """The environment variable that tells a program the arg."""
        return arg_variable(self.name)

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


def arg_variable(name: str) -> str:
    """The environment variable of the arg of this name: `APSIS_ARG_` and letters, digits, `_`."""
    return "APSIS_ARG_" + re.sub("[^A-Z0-9_]", "_", name.upper())


def params_from(data: Any, path: KeyPath = ()) -> tuple[Param, ...]:
    """The params that a job file tells: one name, a list of names, or a mapping of names to what is known.

    Raises:
        ValueError, JobErrors: what is wrong, and what would be right.
    """
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
    kind = fields.get("type", _read_type, "str")
    default = fields.get("default", read_text_or_none, None)
    choices = fields.get("choices", read_texts, ())
    description = fields.get("description", read_text_or_none, None)
    if kind == "choice" and not choices and not fields.errors:
        fields.fail("a param of type 'choice' needs 'choices', for example [small, large]")
    if fields.errors:
        fields.done()
    param = Param(name=name, type=kind, description=description)
    values = [fields.read(_reader(param.value), c, (*path, "choices", n)) for n, c in enumerate(choices)]
    param = replace(param, choices=tuple(v for v in values if v is not None))
    if default is not None:
        param = replace(param, default=fields.read(_reader(param.value), default, (*path, "default")))
    fields.done()
    return param


def param_to_dict(param: Param) -> dict[str, Any]:
    """The form of the job file; `params_from` reads it back."""
    jso: dict[str, Any] = {"type": param.type}
    if param.default is not None:
        jso["default"] = param.default
    if param.choices:
        jso["choices"] = list(param.choices)
    if param.description is not None:
        jso["description"] = param.description
    return jso


def _reader(read: Callable[[Any], str]) -> Callable[[Any, KeyPath], str]:
    return lambda value, path: read(value)


def _read_type(value: Any) -> str:
    kind = _ALIASES.get(value, value) if isinstance(value, str) else value
    if not isinstance(kind, str) or kind not in PARAM_TYPES:
        hint = suggestion(str(value), PARAM_TYPES) or f": one of {', '.join(PARAM_TYPES)}"
        raise ValueError(f"unknown param type '{value}'{hint}")
    return kind
