"""What Panel would keep from a page. When the first test fails, Panel is mended and `panel_fixes` may go."""

import asyncio
from types import SimpleNamespace

import pytest
from bokeh.document import Document
from panel.io import document as panel_document

from apsis_nb.views import panel_fixes


class Socket:
    """One that is written to, and tells later that it has been."""


class Connection:
    _socket = Socket()
    protocol = SimpleNamespace(create=lambda kind, events: events[0])


async def sent_when_the_second_comes_as_the_first_is_done():
    loop, sent, doc, begun = asyncio.get_running_loop(), [], Document(), asyncio.Event()

    def write(conn, events=None, msg=None):
        written = loop.create_future()
        sent.append((msg, written))
        begun.set()
        return [written]

    panel_document.extra_socket_handlers[Socket] = write
    try:
        conn = Connection()
        panel_document.schedule_write_events(doc, [conn], ["first"])
        await begun.wait()
        await asyncio.sleep(0)  # now it waits for the socket
        sent[0][1].set_result(None)
        panel_document.schedule_write_events(doc, [conn], ["second"])
        for _ in range(20):
            await asyncio.sleep(0)
        for _, written in sent[1:]:
            written.set_result(None)
        return [message for message, _ in sent]
    finally:
        del panel_document.extra_socket_handlers[Socket]
        panel_document._WRITE_MSGS.pop(doc, None)


@pytest.mark.parametrize(
    ("dispatch", "sent"),
    [
        (panel_fixes._dispatch_msgs, ["first"]),
        (panel_fixes._dispatch_all, ["first", "second"]),
    ],
    ids=["Panel", "mended"],
)
def test_what_comes_as_the_last_message_is_sent_is_sent_too(monkeypatch, dispatch, sent):
    monkeypatch.setattr(panel_document, "_dispatch_msgs", dispatch)
    assert asyncio.run(sent_when_the_second_comes_as_the_first_is_done()) == sent
