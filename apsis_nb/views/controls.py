"""Buttons and fields that the pages share, as HTML; a board sends the `data-action` of each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import panel as pn

from .board import STACK_CSS
from .markup import text

#: The parts of a page below each other, as high as they are: else they would be no higher than the window.
WHOLE = {"gap": "12px", "max-height": "none"}
#: The surface of a plot below a card of the kind `upper`, with which it looks like one.
SURFACE = {
    "background": "var(--ap-surface)",
    "border": "1px solid var(--ap-line)",
    "border-top": "0",
    "border-radius": "0 0 10px 10px",
    "padding": "0 4px 6px 8px",
}


def joined(*parts: Any) -> Any:
    """Parts of a page without a gap between them."""
    return pn.Column(*parts, sizing_mode="stretch_width", styles={"gap": "0"}, stylesheets=[STACK_CSS])


def button(
    action: str,
    words: str,
    *,
    value: str = "",
    pressed: bool | None = None,
    title: str = "",
    kind: str = "",
    disabled: bool = False,
) -> str:
    """A button.

    Args:
        action: what is sent when it is pressed, with `value`.
        words: HTML.
        pressed: of one among several: whether it is the chosen one.
        title: told when the pointer rests on it.
        kind: a CSS class.
    """
    told = f' data-value="{text(value)}"' if value else ""
    if kind:
        told += f' class="{kind}"'
    if pressed is not None:
        told += f' aria-pressed="{str(pressed).lower()}"'
    if title:
        told += f' title="{text(title)}"'
    return f'<button data-action="{text(action)}"{told}{" disabled" if disabled else ""}>{words}</button>'


def group(name: str, buttons: Iterable[str], *, is_small: bool = False) -> str:
    """Buttons side by side; `name` is for screen readers."""
    kind = "group small" if is_small else "group"
    return f'<span class="{kind}" role="group" aria-label="{text(name)}">{"".join(buttons)}</span>'


def choices(action: str, names: Mapping[str, str], chosen: str) -> list[str]:
    """A button for each of some things, of which one is chosen."""
    return [button(action, text(words), value=k, pressed=k == chosen) for k, words in names.items()]


def search(action: str, name: str, value: str, known: Iterable[str] = (), *, key: object = "") -> str:
    """A field that narrows as one types, with what is known to choose from.

    Args:
        key: another one when the page itself has changed the value; else what was typed stays.
    """
    options = "".join(f'<option value="{text(k)}"></option>' for k in known)
    return (
        f'<input type="search" data-action="{action}" list="known-{action}" value="{text(value)}" '
        f'data-key="{key}" placeholder="{name}" aria-label="{name}" autocomplete="off" spellcheck="false">'
        f'<datalist id="known-{action}">{options}</datalist>'
    )


def select(
    action: str, name: str, options: Sequence[tuple[str, str]], chosen: str, *, key: object = ""
) -> str:
    """A choice of one among many.

    Args:
        options: (value, words) each.
        key: another one when the page itself has chosen; else the reader's choice stays.
    """
    made = "".join(
        f'<option value="{text(k)}"{" selected" if k == chosen else ""}>{text(words)}</option>'
        for k, words in options
    )
    known = crc32("\n".join(k for k, _ in options).encode())
    return f'<select data-action="{action}" aria-label="{name}" data-key="{known}-{key}">{made}</select>'


def question(action: str, body: str) -> str:
    """What the button of an action shows before it does anything."""
    # A page that is renewed keeps a template unless its key is another one.
    return f'<template data-for="{text(action)}" data-key="{crc32(body.encode())}">{body}</template>'


def as_table(is_open: bool, which: str = "") -> str:
    """The way to the table that says what a plot shows."""
    return button("table", "as a table", value=which, pressed=is_open, kind="link")


def of_jobs(words: str) -> str:
    """In a sentence that tells of nothing: of which jobs, where the reader chose some by words."""
    return f" of a job with “{words}” in its name" if words else ""
