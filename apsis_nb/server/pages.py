"""The few pages that the server makes itself: log-in, log-out, the reference, the ways to the dashboards."""

import asyncio
import html
import time
from importlib.resources import files
from string import Template
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from apsis_nb.config import Config
from apsis_nb.engine import Engine
from apsis_nb.server.asking import caller_of
from apsis_nb.server.events import Events
from apsis_nb.server.guard import METRICS, Public, go_to, log_in
from apsis_nb.server.proxy import PREFIX
from apsis_nb.server.reference import page
from apsis_nb.server.tokens import Gatekeeper

HOME, STATUS = f"{PREFIX}/overview", "/status"

_FILES = files("apsis_nb.server")
_ICON = (_FILES / "icon.svg").read_text(encoding="utf-8")
_LOGIN = Template((_FILES / "login.html").read_text(encoding="utf-8"))
_FAILED = '<p class="failed" id="failed" role="alert">That is not the token of this server.</p>'

#: A form of this page and nothing else.
_LOGIN_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'self'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
}


#: Styles of the page's own, and nothing else.
_REFERENCE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; frame-ancestors 'self'; "
        "base-uri 'none'"
    )
}


def page_routes(engine: Engine, events: Events, gate: Gatekeeper, config: Config) -> APIRouter:
    """The routes at the root."""
    router = APIRouter(include_in_schema=False)
    public = Public(config.public_url)

    @router.get("/login")
    def login_page(request: Request) -> Response:
        query = request.query_params
        return _login_page(_own(query.get("next")), failed="failed" in query)

    @router.post("/login")
    async def login(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", errors="replace"))
        target = _own(form.get("next", [""])[0])
        now = time.time()
        caller = gate.holder(form.get("token", [""])[0].strip(), now=now)
        if caller is not None:
            request.state.caller = caller  # for the log
            return log_in(gate, caller, request.scope, target, public=public, now=now)
        return _login_page(target, failed=True, status=401)

    @router.api_route("/logout", methods=["GET", "POST"])
    def logout(request: Request) -> Response:
        response = go_to(request.scope, "/login")
        response.delete_cookie(gate.cookie, **public.cookie_of(request.scope))
        return response

    @router.get("/")
    @router.get(PREFIX)
    @router.get(f"{PREFIX}/")
    def home(request: Request) -> Response:
        has_dashboards = config.dashboards == "process" and not caller_of(request).paths
        return go_to(request.scope, HOME if has_dashboards else STATUS)

    @router.get("/docs")
    def reference(request: Request) -> Response:
        return HTMLResponse(page(request.app.openapi(), config.link_url), headers=_REFERENCE_HEADERS)

    @router.get(METRICS)
    async def for_prometheus() -> Response:
        from apsis_nb.server.metrics import MEDIA_TYPE, metrics  # a server starts sooner without them

        live = list(engine.live.values())
        return Response(await asyncio.to_thread(metrics, engine, events, live), media_type=MEDIA_TYPE)

    @router.get("/favicon.ico")
    def icon() -> Response:
        return Response(
            _ICON, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=86400"}
        )

    return router


def _login_page(target: str, *, failed: bool, status: int = 200) -> Response:
    text = _LOGIN.substitute(
        icon=quote(_ICON),
        svg=_ICON,
        next=html.escape(target),
        failed=_FAILED if failed else "",
        described='aria-describedby="failed" aria-invalid="true"' if failed else "",
    )
    return HTMLResponse(text, status, _LOGIN_HEADERS)


def _own(target: str | None) -> str:
    """The page to go to after the log-in: one of ours, whatever the link said."""
    parts = urlsplit(target or "")
    is_ours = target and target.startswith("/") and not (parts.scheme or parts.netloc)
    # Browsers read a backslash as a slash, so `/\\evil.example` would be another host.
    return target if target and is_ours and "\\" not in target and not target.startswith("//") else HOME
