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

    Comments, order and form of all other lines stay; so does a comment behind a value that fits in a line.

    Args:
        text: YAML: a mapping.
        path: keys from its top, and numbers where there is a list; mappings that are missing are made.
        value: what JSON can hold; None takes the key away.

    Raises:
        YamlErrors: the text is no YAML.
        CannotEdit: the path leads through something else than mappings and lists, or the key is part of
            something that cannot be cut out.
    """
    if not path:
        raise CannotEdit("name the key that is to be changed")
    before = parse_yaml(text).value
    bom, body = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    node: Any = yaml.compose(body, Loader=yaml.SafeLoader)
    for n, key in enumerate(path[:-1]):
        inner = _value(node, key)
        if inner is None:
            if value is None:
                return text
            for name in reversed(path[n + 1 :]):
                value = {str(name): value}
            path = path[: n + 1]
            break
        node = inner
    changed = bom + _changed(body, node, path[-1], value)
    _prove(changed, before, path, value)
    return changed


def yaml_of(data: Mapping[str, Any]) -> str:
    """A mapping as the text of a file that people read: an entry a line, long texts as they are.

    Args:
        data: what JSON can hold.
    """
    return "".join(f"{line}\n" for name, value in data.items() for line in _lines(name, value, 0))


def _changed(text: str, node: Any, key: str | int, value: Any) -> str:
    """The text with one entry of a mapping or list changed."""
    old = _value(node, key)
    if old is not None and value is not None and _is_inline(old) and (node.flow_style or _fits(old, value)):
        start, stop = old.start_mark.index, old.end_mark.index
        return f"{text[:start]}{' ' if start == stop else ''}{_flow(value)}{text[stop:]}"
    if not isinstance(node, yaml.MappingNode):
        raise CannotEdit(f"'{key}' is part of a list that can only be changed as a whole")
    if node.flow_style:
        return _changed_in_braces(text, node, key, value)
    if not node.value:
        raise CannotEdit(f"'{key}' does not stand in a mapping")
    lines = text.split("\n")
    new = [] if value is None else _lines(str(key), value, node.start_mark.column)
    found = _entry(node, key)
    if found is None:
        at = _end(node.value[-1], lines)
        lines[at:at] = new
    else:
        first = found[0].start_mark.line
        lines[first : _end(found, lines)] = new
    return "\n".join(lines)


def _changed_in_braces(text: str, node: Any, key: str | int, value: Any) -> str:
    """The text with an entry added to, or taken out of, a mapping that is written in braces."""
    if value is not None:
        at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        comma = ", " if node.value else ""
        return f"{text[:at]}{comma}{_scalar(str(key))}: {_flow(value)}{text[at:]}"
    for n, (name, old) in enumerate(node.value):
        if str(name.value) == str(key):
            if n + 1 < len(node.value):  # up to the next one, else from the one before
                return text[: name.start_mark.index] + text[node.value[n + 1][0].start_mark.index :]
            begin = node.value[n - 1][1].end_mark.index if n else name.start_mark.index
            return text[:begin] + text[old.end_mark.index :]
    return text


def _is_inline(node: Any) -> bool:
    """Whether a value is written behind its key, and not in lines of its own."""
    if isinstance(node, yaml.CollectionNode):
        return bool(node.flow_style)
    return node.style not in {"|", ">"}


def _fits(old: Any, value: Any) -> bool:
    """Whether a new value is best written where the old one is.

    Text of several lines is not, nor is a mapping that takes the place of something else.
    """
    if isinstance(value, str):
        return "\n" not in value
    return not isinstance(value, Mapping) or not value or isinstance(old, yaml.MappingNode)


def _value(node: Any, key: str | int) -> Any:
    """What stands under a key, or at a place of a list; None: nothing does."""
    if isinstance(node, yaml.SequenceNode):
        if not str(key).isdecimal() or int(key) >= len(node.value):
            raise CannotEdit(f"'{key}' is no place of a list of {len(node.value)}")
        return node.value[int(key)]
    found = _entry(node, key)
    return None if found is None else found[1]


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
    if isinstance(data, list):
        n = int(key)
        new = _with(data[n], tuple(rest), value) if rest else value
        return [*data[:n], new, *data[n + 1 :]]
    whole = {str(k): v for k, v in data.items()}
    names = {str(k): k for k in data}
    if rest:
        whole[str(key)] = _with(whole[str(key)], tuple(rest), value)
    elif value is None:
        whole.pop(str(key), None)
    else:
        whole[str(key)] = value
    return {names.get(name, name): item for name, item in whole.items()}
