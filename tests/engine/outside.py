"""People and systems outside, for tests: a mail server and a web server, real ones, in threads."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.engine.serving import free_port

PATIENCE_S = 30.0


@dataclass
class Heard:
    """What came in, and a way to wait for it."""

    items: list[Any] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, item: Any) -> None:
        with self.changed:
            self.items.append(item)
            self.changed.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        """The first things, once there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.items) >= count, PATIENCE_S), (
                f"only {len(self.items)} of {count} came"
            )
            return list(self.items)


class Mailbox(Heard):
    """A mail server; the items are the messages that came."""

    def __init__(self) -> None:
        super().__init__()
        self._port = free_port()

    @property
    def url(self) -> str:
        """The address of somebody here, for apprise."""
        people = "from=apsis@example.org&to=ops@example.org"
        return f"mailto://127.0.0.1:{self._port}?{people}&mode=insecure&format=text"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.add(message_from_bytes(envelope.content))
        return "250 Message accepted for delivery"

    @contextmanager
    def open(self) -> Iterator["Mailbox"]:
        controller = Controller(self, hostname="127.0.0.1", port=self._port)
        controller.start()
        try:
            yield self
        finally:
            controller.stop()


def subject(mail: Message) -> str:
    from email.header import decode_header, make_header

    return str(make_header(decode_header(mail["Subject"])))


def text(mail: Message) -> str:
    """The plain text of a mail."""
    parts = [part for part in mail.walk() if part.get_content_type() == "text/plain"]
    payload = parts[0].get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n")


@dataclass
class Call:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Hook(Heard):
    """A web server that answers with these statuses, one after the other, then with 200.

    Args:
        before: called before it answers, after the request is heard.
    """

    def __init__(self, statuses: Sequence[int] = (), before: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._statuses, self._before = list(statuses), before
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/hook"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = hook._statuses.pop(0) if hook._statuses else 200
                hook.add(Call(self.command, self.path, headers, body))
                hook._before()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    @contextmanager
    def open(self) -> Iterator["Hook"]:
        server = _Server(("127.0.0.1", self._port), self._handler())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who called may have been killed
