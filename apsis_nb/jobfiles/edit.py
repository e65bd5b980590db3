"""Changes one key of a YAML text and leaves every other line as it is."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.fields import KeyPath

from .yaml12 import YamlErrors, parse_yaml


class CannotEdit(ApsisError):
    """The key cannot be changed by itself."""


def edit_yaml(text: str, path: KeyPath, value: Any) -> str:
    """The text with the value of one key changed, added, or taken away.

    Comments, order and form of all other lines stay.

    Args:
        text: YAML: a mapping.
        path: keys from its top; all but the last must be there, as mappings written over several lines.
        value: what JSON can hold; None takes the key away.

    Raises:
        YamlErrors: the text is no YAML.
        CannotEdit: the path leads through something else than such mappings.
    """
    before = parse_yaml(text).value
    root = yaml.compose(text.removeprefix("\ufeff"), Loader=yaml.SafeLoader)
    node: Any = root
    if not path:
        raise CannotEdit("name the key that is to be changed")
    for key in path[:-1]:
        found = _entry(node, key)
        if found is None:
            raise CannotEdit(f"'{'.'.join(map(str, path))}': there is no '{key}'")
        node = found[1]
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
        raise CannotEdit(f"'{'.'.join(map(str, path))}' does not stand in a line of its own")
    lines = text.split("\n")
    indent = node.start_mark.column
    found = _entry(node, path[-1])
    new = [] if value is None else _lines(str(path[-1]), value, indent)
    if found is None:
        at = _end(node.value[-1], lines)
        lines[at:at] = new
    else:
        first = found[0].start_mark.line
        lines[first : _end(found, lines)] = new
    changed = "\n".join(lines)
    _prove(changed, before, path, value)
    return changed


def _entry(node: Any, key: str | int) -> tuple[Any, Any] | None:
    if not isinstance(node, yaml.MappingNode):
        raise CannotEdit(f"'{key}' does not stand in a mapping")
    return next((entry for entry in node.value if str(entry[0].value) == str(key)), None)


def _end(entry: tuple[Any, Any], lines: list[str]) -> int:
    """The line after those of an entry, without the blank lines and comments that follow it."""
    key, value = entry
    first: int = key.start_mark.line
    end: int = value.end_mark.line
    is_block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    if value.end_mark.column and not is_block:  # the end of a block is where the next thing begins
        end += 1
    while end > first + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return max(end, first + 1)


def _lines(key: str, value: Any, indent: int) -> list[str]:
    """The lines of an entry, in the plainest form that YAML 1.2 and 1.1 read alike."""
    if isinstance(value, str) and "\n" in value and value == value.rstrip("\n") + "\n" and value.strip():
        body = value.rstrip("\n").split("\n")
        if not body[0].startswith((" ", "\t")) and all(line.isprintable() for line in body):
            return [
                " " * indent + f"{_scalar(key)}: |",
                *(" " * (indent + 2) + line if line else "" for line in body),
            ]
    if isinstance(value, Mapping) and value:
        inner = [line for name, item in value.items() for line in _lines(str(name), item, indent + 2)]
        return [" " * indent + f"{_scalar(key)}:", *inner]
    return [" " * indent + f"{_scalar(key)}: {_flow(value)}"]


def _flow(value: Any) -> str:
    match value:
        case str():
            return _scalar(value)
        case Mapping():
            return "{" + ", ".join(f"{_scalar(str(k))}: {_flow(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_flow(item) for item in value) + "]"
        case _:
            return json.dumps(value)


def _scalar(text: str) -> str:
    """Plain if it can only be text, else quoted."""
    plain = text.replace("_", "").replace("-", "").replace("/", "").replace(" ", "")
    is_word = plain.isascii() and plain.isalnum() and text[0].isalpha() and text == text.strip()
    if is_word and parse_yaml(text).value == text and yaml.safe_load(text) == text:
        return text
    return json.dumps(text, ensure_ascii=True)


def _prove(changed: str, before: Any, path: KeyPath, value: Any) -> None:
    """That the text now says what it said, but for the one key.

    Raises:
        CannotEdit: it does not: the key is part of something, such as an alias, that cannot be cut out.
    """
    wanted = _with(before, path, value)
    try:
        is_right = parse_yaml(changed).value == wanted if wanted else not _says(changed)
    except YamlErrors:
        is_right = False
    if not is_right:
        raise CannotEdit(f"'{'.'.join(map(str, path))}' cannot be changed by itself")


def _says(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _with(data: Any, path: KeyPath, value: Any) -> Any:
    key, *rest = path
    whole = {str(k): v for k, v in data.items()}
    names = {str(k): k for k in data}
    if rest:
        whole[str(key)] = _with(whole[str(key)], tuple(rest), value)
    elif value is None:
        whole.pop(str(key), None)
    else:
        whole[str(key)] = value
    return {names.get(name, name): item for name, item in whole.items()}
