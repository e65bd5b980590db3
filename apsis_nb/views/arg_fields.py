"""Fields of a form for the args of a run, each as its param's type wants it."""

import re
from collections.abc import Mapping
from typing import Any

from apsis_nb.core.params import PARAM_TYPES

from .markup import text

#: Before the name of an arg in a form.
PREFIX = "arg:"


def fields_html(params: Mapping[str, Mapping[str, Any]], args: Mapping[str, str]) -> str:
    """Fields for all params of a job, and for args that it does not know.

    Args:
        params: as the facts of a job tell them; empty: nothing is known, and each field takes text.
        args: what stands in the fields; for others the params' defaults do.
    """
    names = [*params, *(name for name in args if name not in params)]
    return "".join(_field(name, params.get(name, {}), args.get(name)) for name in names)


def args_of(form: Mapping[str, Any]) -> dict[str, str]:
    """The args that a form says, by name."""
    return {name.removeprefix(PREFIX): str(value) for name, value in form.items() if name.startswith(PREFIX)}


def changed(
    said: Mapping[str, str], params: Mapping[str, Mapping[str, Any]], args: Mapping[str, str]
) -> dict[str, str]:
    """What a form says that is neither so already nor a default."""
    before = {name: str(param.get("default", "")) for name, param in params.items()} | dict(args)
    return {name: value for name, value in said.items() if before.get(name, "") != value}


def _field(name: str, param: Mapping[str, Any], given: str | None) -> str:
    kind = str(param.get("type", "str"))
    value = str(param.get("default", "")) if given is None else given
    choices = [str(choice) for choice in param.get("choices", ())]
    if kind == "bool" and not choices:
        choices = ["true", "false"]
    told = f'name="{PREFIX}{text(name)}"'
    if choices and (value in choices or not value):
        options = "".join(
            f"<option{' selected' if choice == value else ''}>{text(choice)}</option>" for choice in choices
        )
        field = f"<select {told}>{options}</select>"
    elif kind == "date" and re.fullmatch(r"(\d{4}-\d{2}-\d{2})?", value):
        field = f'<input type="date" {told} value="{text(value)}">'
    else:
        mode = {"int": ' inputmode="numeric"', "float": ' inputmode="decimal"'}.get(kind, "")
        hint = "" if kind in {"str", "choice"} else PARAM_TYPES[kind][0] if kind in PARAM_TYPES else ""
        field = f'<input {told} value="{text(value)}" placeholder="{text(hint)}"{mode} autocomplete="off">'
    about = f'<span class="muted">{text(param["description"])}</span>' if param.get("description") else ""
    return f'<label class="field"><span>{text(name)} {about}</span>{field}</label>'
