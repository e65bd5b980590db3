"""The ASGI application: all routes, behind the guard."""

import asyncio
import contextlib
import os
import pwd
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from apsis_nb._version import __version__
from apsis_nb.config import Config
from apsis_nb.engine import Engine
from apsis_nb.server.archive import archive_routes
from apsis_nb.server.audit import Audit
from apsis_nb.server.backfills import backfill_routes
from apsis_nb.server.backups import backup_routes
from apsis_nb.server.dashboards import COMMAND, Dashboards, socket_of
from apsis_nb.server.description import describe
from apsis_nb.server.doctor import doctor_routes
from apsis_nb.server.events import Events
from apsis_nb.server.guard import BODY_BYTES, Guard
from apsis_nb.server.history import history_routes
from apsis_nb.server.importing import import_routes
from apsis_nb.server.jobs import job_routes
from apsis_nb.server.pages import page_routes
from apsis_nb.server.pauses import pause_routes
from apsis_nb.server.problems import handle_problems
from apsis_nb.server.proxy import PREFIX, DashboardsProxy
from apsis_nb.server.retention import retention_routes
from apsis_nb.server.routing import API_PREFIX
from apsis_nb.server.runs import run_routes
from apsis_nb.server.status import status_routes
from apsis_nb.server.system import system_routes
from apsis_nb.server.token_routes import token_routes
from apsis_nb.server.tokens import Gatekeeper, open_gate
from apsis_nb.server.turns import Turns
from apsis_nb.server.why import why_routes

#: So many questions are answered at once, and one fewer while runs start all the time: what is due has a
#: processor then, as it is delayed by some milliseconds whenever its threads wait for one. The others do not
#: wait for a question that takes longer than this.
BESIDE, BESIDE_S = max(2, os.cpu_count() or 1), 0.25


def make_app(
    engine: Engine,
    config: Config,
    *,
    gate: Gatekeeper | None = None,
    events: Events | None = None,
    dashboards_command: Sequence[str] = COMMAND,
) -> Guard:
    """The application of a server.

    Args:
        engine: started before the first request comes.
        config: the engine's.
        gate: knows the callers; by default that of the state folder.
        events: passes on what happens. Who makes it ends its streams with `close`, before the server waits
            for its connections; by default one that nobody closes.
        dashboards_command: starts the dashboards process.

    Returns:
        An ASGI application. While its lifespan lasts it passes the engine's events on, and keeps the
        dashboards process running if the config wants it.
    """
    gate = gate or open_gate(config.state_dir, account())
    events = events or Events(engine.boot_id, __version__)
    beside = Turns(BESIDE, lambda: engine.store.is_pressed, BESIDE_S)
    socket = socket_of(config.state_dir)
    proxy = DashboardsProxy(socket, gate)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        unlisten = engine.listen(events.publish)
        dashboards = None
        if config.dashboards == "process":
            # Under TLS only the public address has the name that the certificate is for.
            url = config.link_url if config.tls else config.base_url
            cert = config.tls.cert if config.tls else None
            process = Dashboards(socket, gate, url, dashboards_command, cert)
            dashboards = asyncio.create_task(process.keep_running())
        try:
            yield
        finally:
            unlisten()
            if dashboards is not None:
                dashboards.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await dashboards
            await proxy.close()

    app = FastAPI(
        title="apsis_nb",
        version=__version__,
        summary="A job scheduler for people who live in notebooks.",
        openapi_url=f"{API_PREFIX}/openapi.json",
        docs_url=None,  # their scripts come from other hosts; /docs is a page of ours
        redoc_url=None,
        lifespan=lifespan,
        max_body_size=BODY_BYTES,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    handle_problems(app)
    describe(app)
    for router in (
        system_routes(engine, config, events),
        job_routes(engine, config, beside),
        run_routes(engine, config, beside),
        backfill_routes(engine, config),
        pause_routes(engine, config),
        history_routes(engine, config, beside),
        why_routes(engine, config),
        doctor_routes(engine),
        retention_routes(engine),
        import_routes(engine),
        backup_routes(engine),
        archive_routes(engine),
        token_routes(gate.book, config),
    ):
        app.router.routes.extend(router.routes)
    app.include_router(page_routes(engine, events, gate, config))
    app.include_router(status_routes(engine, config))
    if config.dashboards == "process":
        app.mount(PREFIX, proxy)
    return Guard(app, gate, config, Audit(config.state_dir / "audit.jsonl"), lambda: engine.is_saving)


def account() -> str:
    """The name of the account that this process runs under."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())  # as in many containers
