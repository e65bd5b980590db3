"""One server's address and token: requests, their errors, the stream of events."""

import json
import os
import re
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from apsis_nb._version import HEADER, __version__, too_far_apart
from apsis_nb.client.errors import (
    BadRequest,
    ClientError,
    Closed,
    NoSuch,
    NotAuthorized,
    RequestRefused,
    ServerDown,
    WrongVersion,
)
from apsis_nb.config import DEFAULT_BIND, UNIX, find_servers, full_url
from apsis_nb.core.times import format_iso, format_time, parse_duration, parse_when, zone

if TYPE_CHECKING:
    import ssl
    from zoneinfo import ZoneInfo

    import httpx2
    import pyarrow as pa

#: An instant. `core.times.parse_when` reads text (`now`, `+10m`, `2026-01-31`, ISO 8601), if need be in the
#: zone of the server. Where a past is asked for (`since`), `7d` or a timedelta goes back from now.
When = str | datetime | date | timedelta


#: Characters; addresses that are much longer cannot be sent.
_LONG = 20_000


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """What a server told in its stream of events."""

    type: str  #: run, log, output, job, late, server; hello, resync; `disconnected` is the client's own
    facts: Mapping[str, Any]
    id: str = ""


class Connection:
    """What the client, its jobs and runs ask the server through. Safe to use from several threads.

    Args:
        url, token, http: as of `Client`.
    """

    def __init__(self, url: str | None, token: str | None, http: "httpx2.Client | None") -> None:
        url = url or os.environ.get("APSIS_NB_URL") or (str(http.base_url) if http else None)
        token = token or os.environ.get("APSIS_NB_TOKEN")
        if url is None or token is None:
            url, token = find_server(url, token)
        self.url = full_url(url)
        #: A server at a unix socket has no name of its own; it answers to this one.
        self._base = "http://localhost" if self.url.startswith(UNIX) else self.url
        self._token = token
        self._http = http or _http_of(self.url, _cert_of(self.url))
        if http is None:
            # A client that is dropped, as notebooks do, leaves no open socket.
            weakref.finalize(self, self._http.close)

    def close(self) -> None:
        """Close it; the server goes on."""
        self._http.close()

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, so that paths mean the same to it."""
        if self.url.startswith(UNIX):
            return True
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1", "testserver"}

    @cached_property
    def zone(self) -> "ZoneInfo":
        """The server's time zone, in which a time without one is read."""
        return zone(self.json("GET", "/version")["tz"])

    def _address(self, path: str) -> str:
        return f"{self._base}/api/v1{path}"

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", **more}

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        may_last: bool = False,
    ) -> dict[str, Any]:
        """The JSON object of an answer."""
        response = self.send(
            method, path, params=params, body=body, accept="application/json", may_last=may_last
        )
        facts: dict[str, Any] = response.json()
        return facts

    def arrow(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        each: "Callable[[pa.RecordBatch], pa.RecordBatch] | None" = None,
    ) -> "pa.Table":
        """The Arrow table of an answer; what has come is unpacked while the rest is on its way.

        Args:
            each: what is to be done with each part of the table then.

        Raises:
            ServerDown, NotAuthorized, NoSuch, RequestRefused, BadRequest.
        """
        from apsis_nb import wire

        with self._stream(method, path, params=params, body=body, accept=wire.ARROW) as response:
            pieces = response.iter_bytes()
            table = wire.read_arrow(pieces, each)
            for _ in pieces:  # the end of the answer: without it the connection would be closed, not kept
                pass
            return table

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        accept: str = "*/*",
        may_last: bool = False,
    ) -> "httpx2.Response":
        """Send a request; None among `params` is left out; `body` is sent as JSON, `content` as it is.

        An answer is waited for for two minutes, or, if it `may_last`, for as long as it takes.

        Raises:
            ServerDown, WrongVersion, NotAuthorized, NoSuch, RequestRefused, BadRequest.
        """
        import httpx2

        given = _given(params)
        with self._asking(path, given):
            response = self._http.request(
                method,
                self._address(path),
                params=given,
                json=body,
                content=content,
                headers=self._headers({"Accept": accept, **headers}),
                timeout=httpx2.Timeout(None, connect=5.0) if may_last else httpx2.USE_CLIENT_DEFAULT,
            )
        self._close_late(response)
        self._check(response)
        return response

    def _check(self, response: "httpx2.Response") -> None:
        """Raise what an answer tells of, also one that is still to be read."""
        version = response.headers.get(HEADER)
        if version is not None and (why := too_far_apart(__version__, version)):
            raise WrongVersion(f"{self.url}: {why}")
        if response.is_error or response.is_redirect:
            response.read()
            raise _error_of(response, self.url)

    def lines(self, method: str, path: str, *, body: Any = None) -> Generator[dict[str, Any], None, None]:
        """The JSON objects of an answer that comes line by line, as they come.

        Raises:
            ServerDown, WrongVersion, NotAuthorized, NoSuch, RequestRefused, BadRequest.
        """
        with self._stream(method, path, body=body) as response:
            for line in response.iter_lines():
                yield json.loads(line)

    @contextmanager
    def _stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        accept: str = "*/*",
    ) -> "Iterator[httpx2.Response]":
        """The answer to a request, of which the body is still to come; otherwise as `send`."""
        given = _given(params)
        with (
            self._asking(path, given),
            self._http.stream(
                method,
                self._address(path),
                params=given,
                json=body,
                headers=self._headers({"Accept": accept}),
            ) as response,
        ):
            self._check(response)
            yield response
        self._close_late(response)

    @contextmanager
    def _asking(self, path: str, given: Mapping[str, Any]) -> Iterator[None]:
        """Say in our words why a request did not come to its end."""
        import httpx2

        try:
            yield
        except UnicodeEncodeError:
            raise BadRequest(
                "what is asked holds half of a character, which no text can: leave it out"
            ) from None
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            is_long = len(path) + sum(len(str(value)) for value in given.values()) > _LONG
            if is_long and isinstance(error, httpx2.InvalidURL):
                raise BadRequest("what is asked is longer than an address can be") from None
            raise self._down(error) from None
        except RuntimeError:
            if not self._http.is_closed:
                raise
            raise Closed(f"the client of {self.url} was closed: make another one") from None

    def _close_late(self, response: "httpx2.Response") -> None:
        """Close what was being connected while another thread closed the client, which did not see it."""
        stream = response.extensions.get("network_stream")
        if self._http.is_closed and stream is not None:
            stream.close()

    def _down(self, error: Exception) -> ServerDown:
        """What it means that a request did not come to its end."""
        import httpx2

        match error:
            case httpx2.TimeoutException():
                return ServerDown(f"the server at {self.url} did not answer in time")
            case httpx2.InvalidURL() | httpx2.UnsupportedProtocol():
                return ServerDown(
                    f"{self.url} is not the address of a server: give http://HOST:PORT or unix:PATH"
                )
            case _:
                return ServerDown(_down_text(self.url, str(error)))

    def moment(self, when: When) -> datetime:
        """An instant of the past, aware, UTC; `7d` or a timedelta goes back from now.

        Raises:
            BadRequest: it is no time.
        """
        if isinstance(when, timedelta):
            return _now() - when
        if isinstance(when, str) and not when.isdecimal():  # 20260131 is a day
            try:
                back_s = parse_duration(when)
            except ValueError:
                return self.instant(when)
            return _now() - timedelta(seconds=abs(back_s))
        return self.instant(when)

    def instant(self, when: When) -> datetime:
        """An instant; a duration goes forward from now."""
        if isinstance(when, timedelta):
            return _now() + when
        if isinstance(when, datetime) and when.tzinfo is not None:
            return when.astimezone(UTC)
        text = when if isinstance(when, str) else format_iso(when)
        try:
            return parse_when(text, _now(), self.zone)
        except ValueError as error:
            raise BadRequest(str(error)) from None

    def text_of(self, when: When | None) -> str | None:
        """As `instant`, in the form of a request."""
        return None if when is None else format_time(self.instant(when))

    def past_text_of(self, when: When | None) -> str | None:
        """As `moment`, in the form of a request."""
        return None if when is None else format_time(self.moment(when))

    def events(
        self, types: Iterable[str] = (), *, reconnect: bool = True
    ) -> Generator[ServerEvent, None, None]:
        """What happens, as it happens; goes on where it was after a break of the connection.

        Args:
            types: run, log, output, job, late, server; none: all.
            reconnect: after a break, tell (`disconnected`: `error`, `retry_in_s`) and try again, for ever.

        Yields:
            The events in their order. `hello` begins each connection; `resync` says that some were lost.

        Raises:
            ServerDown: there never was a connection; or, without `reconnect`, it broke.
        """
        import httpx2

        last_id, delay_s, was_connected = "", 0.5, False
        params = {"types": ",".join(types)} if types else {}
        # The server sends a heartbeat every 15 s: silence for longer is a dead connection.
        timeout = httpx2.Timeout(45.0, connect=5.0)
        while True:
            headers = self._headers({"Accept": "text/event-stream", "Cache-Control": "no-store"})
            if last_id:
                headers["Last-Event-ID"] = last_id
            try:
                with self._http.stream(
                    "GET", self._address("/events"), params=params, headers=headers, timeout=timeout
                ) as response:
                    self._check(response)
                    was_connected, delay_s = True, 0.5
                    for sent in httpx2.EventSource(response, max_event_size=None):
                        last_id = sent.id or last_id
                        yield ServerEvent(sent.event, json.loads(sent.data), sent.id)
                error = "the server closed the connection"
            except httpx2.TransportError as broken:
                error = str(broken) or type(broken).__name__
            if not (reconnect and was_connected):
                raise ServerDown(_down_text(self.url, error))
            yield ServerEvent("disconnected", {"error": error, "retry_in_s": delay_s})
            time.sleep(delay_s)
            delay_s = min(delay_s * 2, 8.0)


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parameters of a request without those that are None."""
    return {name: value for name, value in (params or {}).items() if value is not None}


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (`7d` and `+10m` are counted from now)


def find_server(url: str | None = None, token: str | None = None) -> tuple[str, str]:
    """Address and token of the user's server on this machine, where they are not given.

    Raises:
        ServerDown: no address is given, and there is not exactly one server to be found.
        NotAuthorized: no token is given, and no server of the user has the address.
    """
    servers = find_servers()
    if url is not None:
        wanted = full_url(url)
        for server in servers:
            if server.url == wanted:
                return wanted, token or server.token
        raise NotAuthorized(f"no token for {wanted}: set APSIS_NB_TOKEN, or give token=...")
    if not servers:
        raise ServerDown(_down_text(f"http://{DEFAULT_BIND}", ""))
    if len(servers) > 1:
        which = ", ".join(s.url for s in servers)
        raise ServerDown(f"several servers run here ({which}): set APSIS_NB_URL, or give url=...")
    return servers[0].url, token or servers[0].token


def _cert_of(url: str) -> str | None:
    """The file of the certificate by which a server is known that no authority vouches for, if there is one.

    `APSIS_NB_CERT` names it; a server of the user on this machine has left word of its own.
    """
    if not url.startswith("https:"):
        return None
    own = (server.cert for server in find_servers() if server.url == url)
    return os.environ.get("APSIS_NB_CERT") or next(own, None)


def _trusting(cert: str, *, is_here: bool) -> "ssl.SSLContext":
    """What trusts this certificate alone.

    Raises:
        ServerDown: the file is no certificate.
    """
    import ssl

    try:
        context = ssl.create_default_context(cafile=cert)
    except OSError as error:  # also what is in it
        raise ServerDown(f"{cert}: is no certificate in PEM form: {error.strerror or error}") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be its own authority
    # It is known by itself, and may be made out for the name that others know this machine by.
    context.check_hostname = not is_here
    return context


def _http_of(url: str, cert: str | None) -> "httpx2.Client":
    import httpx2

    timeout = httpx2.Timeout(120.0, connect=5.0)
    if url.startswith(UNIX):
        to_socket = httpx2.HTTPTransport(uds=url.removeprefix(UNIX), verify=False)
        return httpx2.Client(timeout=timeout, transport=to_socket, trust_env=False)
    parts = urlsplit(url)
    is_here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    return httpx2.Client(
        timeout=timeout,
        # Reading the certificates of all authorities takes longer than a request over plain HTTP.
        verify=_trusting(cert, is_here=is_here) if cert else parts.scheme == "https",
        trust_env=not is_here,  # a proxy never leads to this machine
    )


def quoted(text: str) -> str:
    """Text as a part of a path; slashes stay."""
    return quote(text, safe="/")


def _down_text(url: str, error: str) -> str:
    words = re.sub(r"\[Errno -?\d+\] ", "", error)
    why = f" ({words})" if words else ""
    return (
        f"no server answers at {url}{why}: start one with `apsis-nb serve JOBS` in a terminal, "
        "or with `ap.local(...)` in a notebook"
    )


def _error_of(response: "httpx2.Response", url: str) -> ClientError:
    """The error that an answer tells of."""
    try:
        problem = response.json()
        detail = str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        detail = f"{url} answered {response.status_code} {response.reason_phrase}; is it an apsis_nb server?"
    match response.status_code:
        case 401:
            return NotAuthorized(
                f"the server at {url} does not accept the token: set APSIS_NB_TOKEN, or give token=..."
            )
        case 403:
            return NotAuthorized(detail, status=403)
        case 404:
            return NoSuch(detail)
        case 409 | 412:
            return RequestRefused(detail)
        case status:
            return BadRequest(detail, status=status)
