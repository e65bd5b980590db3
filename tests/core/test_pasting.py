"""What of a run's args becomes code, so that who may only run jobs does not choose it."""

import pytest

from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.pasting import pasted

PARAMS = {
    "x": "str",
    "y": "str",
    "day": "date",
    "n": "int",
    "kind": {"choices": ["a", "b"]},
}


def job(program: object) -> Job:
    return job_from_dict("a", {"params": PARAMS, "program": program})


def shell(command: str) -> Job:
    return job({"type": "shell", "command": command})


@pytest.mark.parametrize(
    "command",
    [
        "echo {{ x }}",
        "echo '{{ x }}'",
        'echo "{{ x }}"',
        "echo '{{ x | quote }}'",
        'echo "{{ x | quote }}"',
        "echo \\{{ x | quote }}",
        "echo `{{ x | quote }}`",
        "echo {{ x | quote | upper }}",
        "echo {{ (x | quote)[1:] }}",
        "echo {{ x ~ (y | quote) }}",
        "echo {{ x | default('a') }}",
        "{% set z = x %}echo {{ z }}",
        "{% for z in [x] %}echo {{ z }}; {% endfor %}",
        "{% filter upper %}{{ x }}{% endfilter %}",
        "{% if n == '1' %}echo {{ x }}{% endif %}",
        "echo {{ '%s' % x }}",
        "echo {{ x if n else kind }}",
    ],
)
def test_text_that_is_pasted_into_a_shell_command_is_found(command: str) -> None:
    found = pasted(shell(command), ["x"])
    assert found is not None
    assert (found.param, found.place) == ("x", "its shell command")
    assert '{{ x | quote }}, outside of any quotes, or "$APSIS_ARG_X"' in found.remedy


@pytest.mark.parametrize(
    "command",
    [
        "echo $APSIS_ARG_X",
        "echo {{ x | quote }}",
        "echo {{ x|quote }}.csv 'a b' {{ x | quote }}",
        "echo {{ (x | quote) ~ '.csv' }}",
        "{% if x == 'a' %}echo yes{% endif %}",
        "echo {{ y }}",
        "echo it\\'s {{ x | quote }}",
        "true",
    ],
)
def test_text_that_is_quoted_or_only_looked_at_is_not(command: str) -> None:
    assert pasted(shell(command), ["x"]) is None


def test_what_is_no_free_text_is_no_command() -> None:
    command = "echo {{ day }} {{ n }} {{ kind }}"
    assert pasted(shell(command), ["day", "n", "kind"]) is None


@pytest.mark.parametrize(
    ("program", "place"),
    [
        ({"type": "argv", "argv": ["/bin/bash", "-c", "echo {{ x }}"]}, "its shell command"),
        ({"type": "argv", "argv": ["sudo", "bash", "-c", "echo {{ x }}"]}, "its shell command"),
        ({"type": "argv", "argv": ["ssh", "host", "echo", "{{ x }}"]}, "its shell command"),
        ({"type": "argv", "argv": ["{{ x }}", "a"]}, "the name of its program"),
        ({"type": "sql", "query": "SELECT '{{ x }}'"}, "its query"),
        ({"type": "sql", "query": "SELECT {{ x | quote }}"}, "its query"),
        ({"type": "python", "call": "m:{{ x }}"}, "the name of its function"),
        ({"type": "python", "call": "m:f", "python": "{{ x }}"}, "the name of its interpreter"),
        ({"type": "argv", "argv": ["true"], "user": "{{ x }}"}, "the name of its account"),
        ({"type": "argv", "argv": ["true"], "env_file": "{{ x }}"}, "the name of its env_file"),
    ],
)
def test_other_places_of_code_are_found(program: object, place: str) -> None:
    found = pasted(job(program), ["x"])
    assert found is not None
    assert found.place == place
    assert pasted(job(program), ["y"]) is None


@pytest.mark.parametrize(
    "program",
    [
        {"type": "argv", "argv": ["echo", "{{ x }}"]},
        {"type": "sql", "query": "SELECT $x"},
        {"type": "python", "call": "m:f", "args": {"a": "{{ x }}"}},
        {"type": "no-op"},
    ],
)
def test_an_argument_is_no_code(program: object) -> None:
    assert pasted(job(program), ["x"]) is None
