"""The one door: every HTTP request and every websocket passes here, and only known callers get on."""

import logging
import re
import secrets
import socket
import time
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apsis_nb.config import Config
from apsis_nb.server.problems import problem_response
from apsis_nb.server.tokens import BROWSER_S, Caller, Gatekeeper

log = logging.getLogger(__name__)

API = "/api/"
#: At the root, for that is where it is looked for; but no page for people.
METRICS = "/metrics"
#: What needs no log-in.
OPEN = frozenset({"/login"})
BODY_BYTES = 1 << 20  #: most that a request may bring
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Unsafe methods only because the question is long: they change nothing.
QUESTIONS = frozenset({"/api/v1/sql", "/api/v1/jobs/check", "/api/v1/jobs/preview"})


class Guard:
    """ASGI middleware that checks Host, Origin and caller, and puts the security headers on every answer.

    A route finds the caller in `request.state.caller`.
    """

    def __init__(self, app: ASGIApp, gate: Gatekeeper, config: Config) -> None:
        self.app, self._gate = app, gate
        public = urlsplit(config.public_url or "")
        self._public_origin = f"{public.scheme}://{public.netloc}".lower() if config.public_url else None
        self._hosts = _hosts(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = _Answer(scope, send, headers)
        try:
            response = self._refusal(scope, headers) or self._entry(scope, headers)
            if response is None:
                await self.app(scope, receive, answer.send)
            elif scope["type"] == "websocket":
                await _reject(scope, response, send)
            else:
                await response(scope, receive, answer.send)
        except ClientDisconnect:
            log.debug("the client left: %s", _said(scope))
        except Exception:
            # The app answers 500 and raises; here is where it ends, so that the log tells it once.
            log.exception("request %s failed: %s", answer.request_id, _said(scope))
            if not answer.started:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1011})
                else:
                    await problem_response(500, "the server failed to answer")(scope, receive, answer.send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that does not come to us, or comes from somebody else's page."""
        host = headers.get("host", "")
        name = _host_name(host)
        # A page of another site can have its name point to this machine; its requests then carry that name.
        if name not in self._hosts and name != (scope.get("server") or ("",))[0]:
            log.warning("refused: Host %r is none of this server's: %s", host, _said(scope))
            return problem_response(
                403, f"{host!r} is no name of this server; config `allowed_hosts` adds names"
            )
        origin = headers.get("origin")
        if origin is not None and (scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS):
            own = origin.partition("://")[2].lower() == host.lower() or origin.lower() == self._public_origin
            if not own:
                log.warning("refused: Origin %r is not %r: %s", origin, host, _said(scope))
                return problem_response(403, f"a page of {origin!r} may not ask {host!r}")
        # One that does not say how much it brings is cut off by the app.
        size = headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,15}", size) or int(size) > BODY_BYTES:
            return problem_response(413, f"the request is too large: at most {BODY_BYTES} bytes")
        return None

    def _entry(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to one who may not come in, or who just logged in; None for a caller who may."""
        path, now = scope["path"], time.time()
        is_page = scope["type"] == "http" and not path.startswith(API) and path != METRICS
        if is_page and scope["method"] == "GET" and path not in OPEN:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            token = next((value for name, value in query if name == "token"), None)
            if token is not None:
                clean = _target(path, [(name, value) for name, value in query if name != "token"])
                if self._gate.is_token(token):
                    return log_in(self._gate, scope, clean, public_url=self._public_origin, now=now)
                return _to_login(clean, failed=True)

        caller, by_cookie = self._caller(headers, now)
        if caller is None:
            if path in OPEN and is_page:
                return None
            if is_page and scope["method"] in {"GET", "HEAD"}:
                return _to_login(_target(path, parse_qsl(scope["query_string"].decode("latin-1"))))
            status = 403 if scope["type"] == "websocket" else 401
            response = problem_response(
                status, "who are you? send the server's token as `Authorization: Bearer TOKEN`"
            )
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            # A browser sends the cookie whoever made the page, but it says whose page it is.
            if by_cookie and "origin" not in headers:
                return problem_response(
                    403, "a browser must say the Origin of a request that changes something"
                )
            if caller.role == "read" and path not in QUESTIONS:
                return problem_response(403, f"{caller.user} may only read")
        scope.setdefault("state", {})["caller"] = caller
        return None

    def _caller(self, headers: Headers, now: float) -> tuple[Caller | None, bool]:
        """Who it is, and whether only a cookie says so."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":  # another scheme is for a proxy in front of us
            return self._gate.bearer(shown.strip(), now=now), False
        # Python's own parser gives up at a cookie that it does not like; those of other ports come here too.
        signed = cookie_parser(headers.get("cookie", "")).get(self._gate.cookie, "")
        return self._gate.session(signed, "browser", now=now), True


class _Answer:
    """Passes an answer on with the headers that each must have, and logs requests that change something."""

    def __init__(self, scope: Scope, send: Send, headers: Headers) -> None:
        self._scope, self._send, self._host = scope, send, headers.get("host", "")
        self.request_id = secrets.token_hex(6)
        self.started = False

    async def send(self, message: Message) -> None:
        self.started = True
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            if self._scope["path"].startswith(API):
                headers.setdefault("Referrer-Policy", "no-referrer")
                headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'self'")
                headers.setdefault("Cache-Control", "no-store")
            else:
                # Under `no-referrer` a browser would send `Origin: null` with the forms of a page.
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Content-Security-Policy", page_policy(self._host))
            if self._scope["method"] not in SAFE_METHODS and self._scope["path"] not in QUESTIONS:
                caller = self._scope.get("state", {}).get("caller")
                log.info(
                    "%s: %s %s", caller.user if caller else "nobody", _said(self._scope), message["status"]
                )
        await self._send(message)


def log_in(gate: Gatekeeper, scope: Scope, target: str, *, public_url: str | None, now: float) -> Response:
    """Send a browser that showed the token to `target`, with a session of its own in a cookie.

    Args:
        public_url: how people reach the server, if not by its own address.
        now: seconds since 1970.
    """
    host = Headers(scope=scope).get("host", "")
    response = RedirectResponse(target, 303)
    response.set_cookie(
        gate.cookie,
        gate.sign(gate.owner, "browser", now=now, lasts_s=BROWSER_S),
        max_age=int(BROWSER_S),
        httponly=True,
        samesite="strict",
        secure=scope["scheme"] == "https" or (public_url or "").lower().startswith(f"https://{host}".lower()),
    )
    return response


def page_policy(host: str) -> str:
    """The Content-Security-Policy of a page: nothing from any other host, nor to one.

    Panel's pages need inline code, `eval`, and `data:` and `blob:` addresses, also to connect to.
    """
    return (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
        f"connect-src 'self' ws://{host} wss://{host} data: blob:; "
        "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'"
    )


def _hosts(config: Config) -> frozenset[str]:
    """The names, lower case, under which the server may be asked."""
    names: set[str | None] = {"localhost", "127.0.0.1", "::1", config.host.lower()}
    if not config.is_loopback:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    if config.public_url:
        names.add(urlsplit(config.public_url).hostname)
    names |= {host.lower() for host in config.allowed_hosts}
    return frozenset(name for name in names if name)


def _host_name(host: str) -> str | None:
    """The name in a Host header, lower case, without the port; None if it is no such header."""
    match = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d+)?", host.lower())
    return match and (match[1] or match[2].rstrip("."))


def _target(path: str, query: Iterable[tuple[str, str]]) -> str:
    """The path and query of a page of ours. One slash is in front: `//evil.example` were another host."""
    text = urlencode(list(query))
    return "/" + quote(path.lstrip("/\\")) + (f"?{text}" if text else "")


def _to_login(target: str, *, failed: bool = False) -> Response:
    query = {"next": target} | ({"failed": "1"} if failed else {})
    return RedirectResponse(f"/login?{urlencode(query)}", 303)


def _said(scope: Scope) -> str:
    """The request in the log: never its query, which may hold a token."""
    method = scope.get("method", "websocket")
    return f"{method} {quote(scope['path'])}"


async def _reject(scope: Scope, response: Response, send: Send) -> None:
    """Refuse a websocket before it is one."""
    if "websocket.http.response" in scope.get("extensions", {}):
        headers = [(b"content-type", b"application/problem+json")]
        await send({"type": "websocket.http.response.start", "status": 403, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": bytes(response.body)})
    else:
        await send({"type": "websocket.close", "code": 4403})
