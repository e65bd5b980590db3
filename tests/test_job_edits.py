"""Changing one key of a job file: nothing else of the text moves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.jobfiles.edit import CannotEdit, edit_yaml
from apsis_nb.jobfiles.yaml12 import parse_yaml

FILE = """\
# The report of the morning.
params: [date]   # of the data

schedule:
  # at nine
  type: daily
  tz: Europe/Berlin    # where they sit
  daytime: "09:00:00"

program: |
  set -e
  # not a comment of YAML
  python report.py

metadata:
  labels:
    - daily
    - sales
  description: Old words.
# The end.
"""


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines of each text between those that both begin with and those that both end with."""
    a, b = before.split("\n"), after.split("\n")
    while a and b and a[0] == b[0]:
        del a[0], b[0]
    while a and b and a[-1] == b[-1]:
        del a[-1], b[-1]
    return a, b


@pytest.mark.parametrize(
    ("path", "value", "removed", "added"),
    [
        (
            ("schedule", "tz"),
            "UTC",
            ["  tz: Europe/Berlin    # where they sit"],
            ["  tz: UTC    # where they sit"],
        ),
        (("schedule", "daytime"), ["06:00:00"], ['  daytime: "09:00:00"'], ['  daytime: ["06:00:00"]']),
        (("schedule", "enabled"), False, [], ["  enabled: false"]),
        (("schedule", "tz"), None, ["  tz: Europe/Berlin    # where they sit"], []),
        (
            ("params",),
            ["date", "region"],
            ["params: [date]   # of the data"],
            ["params: [date, region]   # of the data"],
        ),
        (
            ("metadata", "labels"),
            [],
            ["  labels:", "    - daily", "    - sales"],
            ["  labels: []"],
        ),
        (("late",), {"start": "5m"}, [], ["late:", '  start: "5m"']),
        (("late", "start"), "5m", [], ["late:", '  start: "5m"']),
        (("late", "start"), None, [], []),
        (("metadata", "labels", 1), "sales team", ["    - sales"], ["    - sales team"]),
        (("metadata", "description"), None, ["  description: Old words."], []),
        (
            ("program",),
            "echo a\necho b\n",
            ["  set -e", "  # not a comment of YAML", "  python report.py"],
            ["  echo a", "  echo b"],
        ),
    ],
)
def test_only_the_lines_of_the_key_change(path, value, removed, added):
    assert changed_lines(FILE, edit_yaml(FILE, path, value)) == (removed, added)


@pytest.mark.parametrize(
    ("text", "path", "value", "after"),
    [
        ("a: {b: 1} # x\n", ("a", "b"), 5, "a: {b: 5} # x\n"),
        ("a: {b: 1} # x\n", ("a", "c"), {"d": [1]}, "a: {b: 1, c: {d: [1]}} # x\n"),
        ("a: {} # x\n", ("a", "c"), 5, "a: {c: 5} # x\n"),
        ("a: {b: 1, c: 2} # x\n", ("a", "b"), None, "a: {c: 2} # x\n"),
        ("a: {b: 1, c: 2} # x\n", ("a", "c"), None, "a: {b: 1} # x\n"),
        ("a: {b: 1} # x\n", ("a", "b"), None, "a: {} # x\n"),
        ("a: {\n  b: 1, # one\n  c: 2  # two\n}\n", ("a", "c"), 5, "a: {\n  b: 1, # one\n  c: 5  # two\n}\n"),
        ("a: [1, 2]\n", ("a", 1), 5, "a: [1, 5]\n"),
        ("a: # nothing\nb: 1\n", ("a",), 5, "a: 5 # nothing\nb: 1\n"),
        ("a:\n- b: 1 # one\n  c: 2\n- d: 3\n", ("a", 0, "b"), 5, "a:\n- b: 5 # one\n  c: 2\n- d: 3\n"),
        ("a:\n- b: 1\n  c: 2\n- d: 3\n", ("a", "0", "e"), 5, "a:\n- b: 1\n  c: 2\n  e: 5\n- d: 3\n"),
        ("a: 'b' # x\n", ("a",), {"c": 5}, "a:\n  c: 5\n"),
        ("\ufeffa: 1 # x\n", ("a",), 5, "\ufeffa: 5 # x\n"),
        ("a: 1 # x\r\nb: 2\r\n", ("a",), 5, "a: 5 # x\r\nb: 2\r\n"),
    ],
)
def test_a_value_changes_where_it_stands(text, path, value, after):
    assert edit_yaml(text, path, value) == after


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a: [1]\n", ("a", 1)),
        ("a: [1]\n", ("a", "b")),
        ("a: 1\n", ("a", "b")),
        ("a: 1\n", ()),
        ("a:\n- - 1\n", ("a", 0)),
        ("a: &x {b: 1}\nc: *x\n", ("a",)),
        ("[1]\n", ("a",)),
    ],
)
def test_what_does_not_stand_by_itself_is_left_alone(text, path):
    with pytest.raises(CannotEdit):
        edit_yaml(text, path, 5)


words = st.text(alphabet="abcxyz 019:#-{}'\"&*!|>%@é\n", max_size=8)
scalars = st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["a", "b", "program", "no", "3"])
comments = st.lists(st.sampled_from(["", "# note", "   # far"]), max_size=2)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A file of several keys, with comments between them, and what it holds."""
    lines, held = list(draw(comments)), {}
    for key in draw(st.lists(keys, min_size=1, max_size=4, unique=True)):
        held[key] = draw(values)
        lines += [f'"{key}": {json.dumps(held[key])}', *draw(comments)]
    return "\n".join(lines) + "\n", held


@st.composite
def nested_texts(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A file with a mapping in it, in braces or in lines, with comments behind values."""
    held = draw(st.dictionaries(keys, values, min_size=1, max_size=4))
    behind = draw(st.sampled_from(["", " # behind"]))
    if draw(st.booleans()):
        return f"# head\nm: {json.dumps(held)}{behind}\nrest: 1\n", held
    lines = [f'  "{key}": {json.dumps(value)}{behind}' for key, value in held.items()]
    return "\n".join(["# head", "m:", *lines, "rest: 1"]) + "\n", held


@given(nested_texts(), keys, st.none() | values)
def test_a_changed_text_of_nested_keys_says_the_new_value_and_all_else_as_before(made, key, value):
    text, held = made
    try:
        after = edit_yaml(text, ("m", key), value)
    except CannotEdit:
        assert value is None  # the last key of several lines: nothing would be left to be a mapping
        assert list(held) == [key]
        return
    wanted = {k: v for k, v in held.items() if k != key} | ({} if value is None else {key: value})
    said = parse_yaml(after).value
    assert (said["m"] and {str(k): v for k, v in said["m"].items()}) == wanted
    assert after.startswith("# head\n")
    assert after.endswith("\nrest: 1\n")


@given(texts(), keys, st.none() | values)
def test_a_changed_text_says_the_new_value_and_all_else_as_before(made, key, value):
    text, held = made
    after = edit_yaml(text, (key,), value)
    wanted = {k: v for k, v in held.items() if k != key} | ({} if value is None else {key: value})
    if wanted:
        assert {str(k): v for k, v in parse_yaml(after).value.items()} == wanted
    removed, _ = changed_lines(text, after)
    assert all(line.startswith(f'"{key}"') for line in removed)
    kept = [line for line in text.split("\n") if not line.startswith(f'"{key}":')]
    rest = iter(after.split("\n"))
    assert all(line in rest for line in kept)
