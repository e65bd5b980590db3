"""Routes about the server itself: how it is, and the stream of what happens."""

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from apsis_nb._version import __version__
from apsis_nb.config import Config
from apsis_nb.core.times import format_time
from apsis_nb.engine import Engine
from apsis_nb.server.asking import answer
from apsis_nb.server.events import TYPES, Events, EventStream
from apsis_nb.server.problems import Problem


def system_routes(engine: Engine, config: Config, events: Events) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["server"])

    @router.get("/alive")
    async def alive() -> Response:
        """How the server is: loops, lags, disk, store. `alive` is false when it starts nothing any more."""
        health = engine.health()
        return answer({"alive": health["ok"], **_self(engine), **health})

    @router.get("/version")
    async def version() -> Response:
        """The server's version, time zone, start time and boot id."""
        return answer({**_self(engine), "name": config.name, "tz": config.tz})

    @router.get("/events", responses={200: {"content": {EventStream.media_type: {}}}})
    async def stream(types: str = "", last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """What happens, as server-sent events.

        `types`: run, log, output, job, late, server, with commas between them; all unless given. The first
        event is `hello`. A reader who sends the id of the last event it has, as `Last-Event-ID`, gets what it
        missed, or `resync` if that cannot be told any more.
        """
        wanted = frozenset(t.strip() for t in types.split(",") if t.strip()) or TYPES
        if unknown := sorted(wanted - TYPES):
            raise Problem(422, f"types: there is no {unknown[0]!r}; there are {', '.join(sorted(TYPES))}")
        return EventStream(events, wanted, last_event_id or None)

    return router


def _self(engine: Engine) -> dict[str, str]:
    return {
        "version": __version__,
        "boot_id": engine.boot_id,
        "started_at": format_time(engine.started_at),
    }
