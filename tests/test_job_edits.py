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
        (("schedule", "tz"), "UTC", ["  tz: Europe/Berlin    # where they sit"], ["  tz: UTC"]),
        (("schedule", "daytime"), ["06:00:00"], ['  daytime: "09:00:00"'], ['  daytime: ["06:00:00"]']),
        (("schedule", "enabled"), False, [], ["  enabled: false"]),
        (("schedule", "tz"), None, ["  tz: Europe/Berlin    # where they sit"], []),
        (("params",), ["date", "region"], ["params: [date]   # of the data"], ["params: [date, region]"]),
        (
            ("metadata", "labels"),
            [],
            ["  labels:", "    - daily", "    - sales"],
            ["  labels: []"],
        ),
        (("late",), {"start": "5m"}, [], ["late:", '  start: "5m"']),
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
    ("text", "path"),
    [
        ("a: {b: 1}\n", ("a", "b")),
        ("a: [1]\n", ("a", 0)),
        ("a: 1\n", ("b", "c")),
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
