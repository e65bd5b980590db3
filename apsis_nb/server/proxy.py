"""The proxy to the dashboards process: one address and one log-in, although pages are made elsewhere."""

import asyncio
import contextlib
import gzip
import logging
import re
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import httpx2
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Origin, Subprotocol

from apsis_nb.server.tokens import DASHBOARDS_S, Gatekeeper

log = logging.getLogger(__name__)

PREFIX = "/dash"

#: What the process is asked as. It compares a websocket's Origin with its Host; whether the browser's own are
#: right has been checked before, by the guard.
_HOST = "localhost"
_ORIGIN = Origin(f"http://{_HOST}")

#: Headers that belong to one connection, that only we may say, or that are our own log-in.
_NOT_PASSED_ON = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "host", "origin", "authorization", "cookie", "x-apsis-session"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"),
    }
)

_CACHE_BYTES = 64 << 20  #: of compressed scripts and styles, in memory
_FOREVER = "private, max-age=31536000, immutable"
_AN_HOUR = "private, max-age=3600"
#: Addresses whose content never changes: they carry a digest, or the version of a bundle.
_VERSIONED = re.compile(r"[?&]v=[0-9a-f]{16,}|@[\^~]?\d+\.\d+")

_STARTING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>apsis_nb: starting</title></head>
<body style="font-family: system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh">
<p role="status">The dashboards are starting. This page comes back by itself.</p></body></html>
"""


class DashboardsProxy:
    """ASGI application for everything below `PREFIX`: passes requests and websockets on to the process."""

    def __init__(self, socket: Path, gate: Gatekeeper) -> None:
        """
        Args:
            socket: where the process listens, once it does.
            gate: signs who asks.
        """
        self._socket, self._gate = socket, gate
        self._http = httpx2.AsyncClient(
            # Nobody is to be verified, and loading the certificates of the system takes a tenth of a second.
            transport=httpx2.AsyncHTTPTransport(uds=str(socket), verify=False),
            base_url=f"http://{_HOST}",
            timeout=httpx2.Timeout(60.0, connect=5.0),
        )
        #: Scripts and styles are the same for everybody: compressed body and headers by address.
        self._kept: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._kept_bytes = 0

    async def close(self) -> None:
        """Close the connections to the process."""
        await self._http.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._connect(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except httpx2.TransportError as error:
            if not isinstance(error, httpx2.ConnectError):
                log.warning("the dashboards process does not answer %s: %r", request.url.path, error)
            response = HTMLResponse(_STARTING, 503, {"Retry-After": "1", "Cache-Control": "no-store"})
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        address = _address(request)
        is_static = request.method == "GET" and request.url.path.startswith(f"{PREFIX}/static/")
        if is_static and "gzip" in request.headers.get("accept-encoding", ""):
            return await self._static(request, address)
        body = request.stream() if request.method not in {"GET", "HEAD"} else None
        asked = self._http.build_request(
            request.method, address, headers=self._headers(request), content=body
        )
        answer = await self._http.send(asked, stream=True)
        response = StreamingResponse(_body(answer), answer.status_code)
        headers = [
            (name, value) for name, value in answer.headers.multi_items() if name not in _NOT_PASSED_ON
        ]
        if is_static:
            headers = [(name, value) for name, value in headers if name != "cache-control"]
            headers.append(("cache-control", _lifetime(address)))
        response.raw_headers = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        return response

    async def _static(self, request: Request, address: str) -> Response:
        """A script, style or font: compressed once, then from memory."""
        kept = self._kept.get(address)
        if kept is None:
            answer = await self._http.get(address)
            headers = {
                name: answer.headers[name] for name in ("content-type", "etag") if name in answer.headers
            }
            if answer.status_code != 200:
                return Response(answer.content, answer.status_code, headers)
            kept = await asyncio.to_thread(gzip.compress, answer.content, 6), headers
            if address not in self._kept and self._kept_bytes + len(kept[0]) <= _CACHE_BYTES:
                self._kept[address] = kept
                self._kept_bytes += len(kept[0])
        body, headers = kept
        headers = headers | {"cache-control": _lifetime(address), "vary": "Accept-Encoding"}
        if "etag" in headers and headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers | {"content-encoding": "gzip"})

    async def _connect(self, browser: WebSocket) -> None:
        """Join a websocket of a browser to one of the process."""
        try:
            process = await unix_connect(
                str(self._socket),
                f"ws://{_HOST}{_address(browser)}",
                origin=_ORIGIN,
                subprotocols=[Subprotocol(p) for p in browser.scope["subprotocols"]] or None,
                additional_headers=[
                    (name, value)
                    for name, value in self._headers(browser)
                    if name != "host" and not name.startswith("sec-websocket-")
                ],
                user_agent_header=None,
                compression=None,  # it does not leave the machine
                max_size=None,
                ping_interval=None,  # the browser's side is watched; this side ends with it
                proxy=None,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            log.warning("the dashboards process takes no websocket: %s", error)
            await browser.close(1013)
            return
        # At any moment the browser may have closed it, or have left.
        with contextlib.suppress(OSError, RuntimeError, WebSocketDisconnect):
            try:
                await browser.accept(process.subprotocol)
                await _until_one_ends(_from_browser(browser, process), _to_browser(process, browser))
            finally:
                await process.close()
            await browser.close(1001)

    def _headers(self, browser: HTTPConnection) -> list[tuple[str, str]]:
        """The browser's headers, and what only we can say: who it is, and what it calls us."""
        headers = [(name, value) for name, value in browser.headers.items() if name not in _NOT_PASSED_ON]
        if cookies := self._other_cookies(browser.headers.get("cookie", "")):
            headers.append(("cookie", cookies))
        now, caller = time.time(), browser.state.caller
        return [
            *headers,
            ("host", _HOST),
            ("x-apsis-session", self._gate.sign(caller, "dashboards", now=now, lasts_s=DASHBOARDS_S)),
            ("x-forwarded-for", browser.client.host if browser.client else ""),
            ("x-forwarded-host", browser.headers.get("host", "")),
            ("x-forwarded-prefix", ""),
            ("x-forwarded-proto", "https" if browser.url.scheme in {"https", "wss"} else "http"),
        ]

    def _other_cookies(self, header: str) -> str:
        """The cookies but our log-in."""
        pairs = (pair.strip() for pair in header.split(";"))
        return "; ".join(p for p in pairs if p and p.partition("=")[0] != self._gate.cookie)


def _address(browser: HTTPConnection) -> str:
    """Path and query, as the browser wrote them."""
    raw: bytes = browser.scope.get("raw_path") or browser.scope["path"].encode()
    query: bytes = browser.scope["query_string"]
    return (raw.partition(b"?")[0] + (b"?" + query if query else b"")).decode("latin-1")


def _lifetime(address: str) -> str:
    return _FOREVER if _VERSIONED.search(address) else _AN_HOUR


async def _body(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


async def _until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of them until the first ends; then the others are ended too."""
    tasks = [asyncio.create_task(w) for w in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception) and not isinstance(error, ConnectionClosed | WebSocketDisconnect):
                log.warning("a websocket to the dashboards broke: %r", error)


async def _from_browser(browser: WebSocket, process: ClientConnection) -> None:
    while (message := await browser.receive())["type"] == "websocket.receive":
        text = message.get("text")
        await process.send(message["bytes"] if text is None else text)


async def _to_browser(process: ClientConnection, browser: WebSocket) -> None:
    async for data in process:
        if isinstance(data, str):
            await browser.send_text(data)
        else:
            await browser.send_bytes(data)
