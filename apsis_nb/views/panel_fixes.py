"""Two faults of Panel by which a page is not told of a change; both were seen in Panel 1.9.4.

What is done about them is in one place, to be taken away with them.
"""

from typing import Any

import panel as pn
from bokeh.document import Document
from panel.io import document as _panel

#: None: another Panel, which may do it in another way.
_dispatch_msgs: Any = getattr(_panel, "_dispatch_msgs", None)


def connect(doc: Document) -> None:
    """Send changes to the browser from when it has the document.

    Panel takes a page for connected once the browser has drawn all of it, and what changes until then for
    part of the document that is yet to be sent. But the browser has the document much earlier, and would
    never hear of those changes.
    """
    if is_connected(doc):
        pn.state._connected[doc] = True


def is_connected(doc: Document) -> bool:
    """Whether a browser is there that is told of changes."""
    session = getattr(doc.session_context, "session", None)
    return session is not None and session.connection_count > 0


async def _dispatch_all(doc: Any) -> None:
    """Send what waits for the socket, also what came while the last of it was sent.

    For that Panel starts another task, which finds that the one before has just ended and taken its mark
    away, and leaves what it should send: until something else has to be sent.
    """
    await _dispatch_msgs(doc)
    if doc in _panel._WRITE_MSGS and doc not in _panel._WRITE_BLOCK:
        _panel._WRITE_BLOCK[doc] = True
        await _dispatch_all(doc)


def mend() -> None:
    """Have Panel send what waits for a socket."""
    if _dispatch_msgs is not None:
        _panel._dispatch_msgs = _dispatch_all
