"""Readers of the texts that programs are given, and of those that may be templates until a run is bound."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from apsis_nb.core.errors import BindError
from apsis_nb.core.fields import noun, read_text, read_text_map
from apsis_nb.core.templates import check

T = TypeVar("T")

#: Turns a template of a job file into the text for one run.
Expand = Callable[[str], str]


def read_program_text(value: Any) -> str:
    """Text for a program, as it is.

    Raises:
        ValueError: it is no text, or holds what no program can be given.
    """
    text = read_text(value)
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def read_template(value: Any) -> str:
    """Text for a program, which may be a template.

    Raises:
        ValueError, BindError: it is no such text, or its syntax is wrong.
    """
    text = read_program_text(value)
    check(text)
    return text


def not_empty(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """A reader of text of which there must be some."""

    def read(value: Any) -> str:
        found = text(value)
        if not found.strip():
            raise ValueError("must not be empty")
        return found

    return read


def or_nothing(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """A reader that takes null for what is not given."""
    return lambda value: None if value is None else read(value)


def name_reader(text: Callable[[Any], str]) -> Callable[[Any], str | None]:
    """A reader of the name of something, which null leaves open."""
    return or_nothing(not_empty(text))


def command(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """A reader of a command for the shell."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"must be a command, not {noun(value)}")
        return text(value)

    return read


def argv(text: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """A reader of a program with its args."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(
                f"must be a list of args, not {noun(value)}; for a command line use 'type: shell'"
            )
        if not value:
            raise ValueError("must name a program, not be empty")
        return tuple(text(item) for item in value)

    return read


def texts(text: Callable[[Any], str]) -> Callable[[Any], dict[str, str]]:
    """A reader of a mapping of names to texts."""
    return lambda value: {name: text(item) for name, item in read_text_map(value).items()}


read_templates = texts(read_template)


def values(text: Callable[[Any], str]) -> Callable[[Any], Any]:
    """A reader of any value: the texts in it, at whatever depth, are read by `text`."""

    def read(value: Any) -> Any:
        match value:
            case Mapping():
                return {str(key): read(item) for key, item in value.items()}
            case list() | tuple():
                return [read(item) for item in value]
            case None | bool() | int():
                return value
            case float() if value - value == 0:  # neither infinite nor no number
                return value
            case str():
                return text(value)
            case _:
                return text(str(value))

    return read


def named_values(text: Callable[[Any], str]) -> Callable[[Any], dict[str, Any]]:
    """A reader of a mapping of names, as Python has them, to any values."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a mapping, not {noun(value)}")
        for name in value:
            if not str(name).isidentifier():
                raise ValueError(f"'{name}' can be no name of an argument")
        return {str(name): values(text)(item) for name, item in value.items()}

    return read


def function_reader(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """A reader of the name of a Python function."""

    def read(value: Any) -> str:
        name = text(value)
        module, colon, function = name.partition(":")
        if not colon:
            module, _, function = name.rpartition(".")
        parts = [*module.split("."), *function.split(".")]
        if "{" not in name and not all(part.isidentifier() for part in parts):
            raise ValueError(f"must name a function as module:function, not {noun(value)}")
        return name

    return read


def expanded(value: Any, expand: Expand) -> Any:
    """A value with every text in it expanded."""
    match value:
        case str():
            return expand(value)
        case Mapping():
            return {key: expanded(item, expand) for key, item in value.items()}
        case list() | tuple():
            return [expanded(item, expand) for item in value]
        case _:
            return value


def or_template(read: Callable[[Any], T]) -> Callable[[Any], T | str]:
    """A reader that leaves a template for later, when it is bound."""

    def either(value: Any) -> T | str:
        return read_template(value) if isinstance(value, str) and "{" in value else read(value)

    return either


def bound(value: T | str, read: Callable[[Any], T], what: str, expand: Expand) -> T | str:
    """What a template comes to; what was no template stays.

    Raises:
        BindError: it comes to nothing that `read` takes.
    """
    if not isinstance(value, str) or "{" not in value:
        return value
    try:
        return read(expand(value))
    except ValueError as error:
        raise BindError(f"{what}: {error}") from None
