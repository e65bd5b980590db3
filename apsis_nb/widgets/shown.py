"""Pieces of HTML that widgets share: they fit light and dark notebooks, and need nothing but themselves."""

import html


def box(title: str, body: str) -> str:
    """A frame with a title around some HTML."""
    return (
        "<div style='border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:.5em .9em;"
        "margin:.3em .6em .3em 0;min-width:280px'>"
        f"<b>{html.escape(title)}</b><div>{body}</div></div>"
    )


def wrong(text: str) -> str:
    """A text that says what is wrong."""
    return f"<span style='color:#c0392b'>{html.escape(text)}</span>"
