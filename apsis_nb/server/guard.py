"""The one door: every HTTP request and every websocket passes here, and only known callers get on."""

import logging
import re
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apsis_nb._version import HEADER as VERSION
from apsis_nb._version import __version__
from apsis_nb.config import Config
from apsis_nb.server.audit import Audit
from apsis_nb.server.callers import Caller
from apsis_nb.server.log import REQUEST
from apsis_nb.server.problems import problem_response
from apsis_nb.server.rights import right_of
from apsis_nb.server.tokens import BROWSER_S, Gatekeeper
from apsis_nb.server.turns import OneByOne

log = logging.getLogger(__name__)

API = "/api/"
#: At the root, for that is where it is looked for; but no page for people.
METRICS = "/metrics"
#: What needs no log-in.
OPEN = frozenset({"/login"})
BODY_BYTES = 1 << 20  #: most that a request may bring
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Unsafe methods only because the question is long: they change nothing.
QUESTIONS = frozenset({f"{API}v1/{path}" for path in ("sql", "jobs/check", "jobs/preview", "runs/plan")})


class Guard:
    """ASGI middleware that checks Host, Origin and caller, and puts the security headers on every answer.

    A route finds the caller in `request.state.caller`.

    Args:
        app: whom to let them on to.
        gate: knows the callers.
        config: of the server.
        audit: hears of what changes something.
        is_busy: whether there is work that comes before requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gatekeeper,
        config: Config,
        audit: Audit,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.app, self._gate, self._audit = app, gate, audit
        self._public = Public(config.public_url)
        self._hosts = _hosts(config)
        self._requests = OneByOne(is_busy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        await self._requests.begin()
        headers = Headers(scope=scope)
        answer = _Answer(scope, send, headers, self._audit)
        of_request = REQUEST.set(answer.request_id)
        try:
            response = self._refusal(scope, headers) or self._entry(scope, headers)
            if response is None:
                answer.let_in()
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
        finally:
            REQUEST.reset(of_request)

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
        if origin is not None:  # a browser names it when a page asks, not when a reader follows a link
            own = origin.partition("://")[2].lower() == host.lower() or origin.lower() == self._public.origin
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
            token = shown_token(scope)
            if token is not None:
                clean = _target(path, _query_without_token(scope))
                holder = self._gate.holder(token, now=now)
                if holder is not None:
                    scope.setdefault("state", {})["caller"] = holder  # for the logs
                    return log_in(self._gate, holder, scope, clean, public=self._public, now=now)
                return _to_login(scope, clean, failed=True)

        caller, by_cookie = self._caller(headers, now)
        if caller is None:
            if path in OPEN and is_page:
                return None
            if is_page and scope["method"] in {"GET", "HEAD"}:
                return _to_login(scope, _target(path, _query_without_token(scope)))
            status = 403 if scope["type"] == "websocket" else 401
            response = problem_response(
                status, "who are you? send the server's token as `Authorization: Bearer TOKEN`"
            )
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        # A browser sends the cookie whoever made the page, but it says whose page it is.
        is_change = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if is_change and by_cookie and "origin" not in headers:
            return problem_response(403, "a browser must say the Origin of a request that changes something")
        scope.setdefault("state", {})["caller"] = caller
        return None if path in OPEN else _no_right(caller, scope.get("method", "WS"), path)

    def _caller(self, headers: Headers, now: float) -> tuple[Caller | None, bool]:
        """Who it is, and whether only a cookie says so."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":  # another scheme is for a proxy in front of us
            return self._gate.bearer(shown.strip(), now=now), False
        # Python's own parser gives up at a cookie that it does not like; those of other ports come here too.
        signed = cookie_parser(headers.get("cookie", "")).get(self._gate.cookie, "")
        return self._gate.session(signed, "browser", now=now), True


class _Answer:
    """Passes an answer on with the headers that each must have; tells of what changes something."""

    def __init__(self, scope: Scope, send: Send, headers: Headers, audit: Audit) -> None:
        self._scope, self._send, self._host = scope, send, headers.get("host", "")
        self._audit = audit
        self.request_id = secrets.token_hex(6)
        self.started = False

    @property
    def _is_change(self) -> bool:
        """Whether the request changes something, or somebody in: one who logs in."""
        if self._scope["type"] != "http":
            return False
        if self._scope["method"] in SAFE_METHODS:
            return shown_token(self._scope) is not None
        return self._scope["path"] not in QUESTIONS

    def let_in(self) -> None:
        """Tell of it before it changes anything: a crash must not leave a change of which nobody is told."""
        if self._is_change:
            self._tell(None)

    def _tell(self, status: int | None) -> None:
        state = self._scope.get("state", {})
        caller, client = state.get("caller"), self._scope.get("client")
        self._audit.write(
            request=self.request_id,
            by=caller.user if caller else None,
            role=caller.role if caller else None,
            source=client[0] if client else "unix",
            method=self._scope["method"],
            path=quote(self._scope["path"]),
            query=_query_without_token(self._scope) or None,
            about=state.get("about"),
            status=status,
        )

    async def send(self, message: Message) -> None:
        self.started = True
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            headers[VERSION] = __version__
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
            if self._is_change:
                self._tell(message["status"])
            level = logging.INFO if self._is_change else logging.DEBUG
            if log.isEnabledFor(level):
                caller = self._scope.get("state", {}).get("caller")
                user = caller.user if caller else "nobody"
                log.log(level, "%s: %s %s", user, _said(self._scope), message["status"])
        await self._send(message)


def _no_right(caller: Caller, method: str, path: str) -> Response | None:
    """The answer to one who may not ask this; None for one who may."""
    if caller.role == "admin":
        return None
    right = right_of(method, path)
    if right is None:
        return problem_response(404, f"there is nothing at {path} that takes {method}")
    if not caller.has(right.role):
        return problem_response(403, caller.lacks(right.role, "this"), role=right.role)
    if caller.paths and right.about == "server":
        detail = f"{caller.user} is held to {caller.held_to}, and this is about all jobs"
        return problem_response(403, f"{detail}: it takes a token without a path")
    return None


class Public:
    """The address by which people reach the server, if that is not its own.

    Args:
        url: `public_url` of the configuration.
    """

    def __init__(self, url: str | None) -> None:
        parts = urlsplit((url or "").lower())
        self.origin = f"{parts.scheme}://{parts.netloc}" if url else None
        self._netloc, self._path = parts.netloc, urlsplit(url or "").path

    def is_of(self, host: str) -> bool:
        """Whether a request with this Host came by it."""
        return self.origin is not None and host.lower() == self._netloc

    def cookie_of(self, scope: Scope) -> dict[str, Any]:
        """How a cookie is set, so that a browser sends it back to us, and to nobody else below that name."""
        is_public = self.is_of(Headers(scope=scope).get("host", ""))
        is_secure = scope["scheme"] == "https" or (is_public and str(self.origin).startswith("https:"))
        path = self._path if is_public and self._path else "/"
        return {"path": path, "httponly": True, "samesite": "strict", "secure": is_secure}


def log_in(
    gate: Gatekeeper, caller: Caller, scope: Scope, target: str, *, public: Public, now: float
) -> Response:
    """Send a browser that showed a token to `target`, with a session of its own in a cookie.

    Args:
        caller: whose token it is.
        target: path and query of a page of ours.
        public: how people reach the server.
        now: seconds since 1970.
    """
    if caller.paths and target.startswith("/dash/"):
        target = "/status"  # the dashboards show all jobs
    response = go_to(scope, target)
    response.set_cookie(
        gate.cookie,
        gate.sign(caller, "browser", now=now, lasts_s=BROWSER_S),
        max_age=int(BROWSER_S),
        **public.cookie_of(scope),
    )
    return response


def go_to(scope: Scope, target: str) -> Response:
    """Send a browser to another page of ours.

    By a relative address: the server may lie below a prefix that only the proxies before it know.

    Args:
        scope: of the request that is answered.
        target: path and query, from the server's own root.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    up = raw.partition(b"?")[0].count(b"/") - 1
    return RedirectResponse(("../" * up or "./") + target.lstrip("/"), 303)


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


def shown_token(scope: Scope) -> str | None:
    """The token in the address of a page; the API takes none there."""
    if scope["type"] != "http" or scope["path"].startswith(API) or scope["path"] in OPEN:
        return None
    return next((value for name, value in _query(scope) if name == "token"), None)


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _query_without_token(scope: Scope) -> str:
    return urlencode([(name, value) for name, value in _query(scope) if name != "token"])


def _target(path: str, text: str) -> str:
    """The path and query of a page of ours. One slash is in front: `//evil.example` were another host."""
    return "/" + quote(path.lstrip("/\\")) + (f"?{text}" if text else "")


def _to_login(scope: Scope, target: str, *, failed: bool = False) -> Response:
    query = {"next": target} | ({"failed": "1"} if failed else {})
    return go_to(scope, f"/login?{urlencode(query)}")


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
