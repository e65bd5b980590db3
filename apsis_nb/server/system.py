"""Routes about the server itself: how it is, and the stream of what happens."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from apsis_nb._version import __version__
from apsis_nb.config import Config
from apsis_nb.core.times import format_time
from apsis_nb.engine import Engine, SendFailed
from apsis_nb.engine.stats import stats
from apsis_nb.server import answers
from apsis_nb.server.asking import answer, caller_of
from apsis_nb.server.events import TYPES, Events, EventStream
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router


class NotifyTest(BaseModel):
    """Whom to tell."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(description="a name under `notify` in the server's configuration", examples=["ops"])


def system_routes(engine: Engine, config: Config, events: Events) -> APIRouter:
    """The routes."""
    router = Router(tags=["server"])

    @router.get("/alive", response_model=answers.Alive)
    async def alive() -> Response:
        """How the server is: loops, lags, disk, store. `alive` is false when it starts nothing any more."""
        health = engine.health()
        return answer({"alive": health["ok"], **_self(engine), **health})

    @router.get("/stats", response_model=answers.Stats)
    async def figures() -> Response:
        """What the server does, in figures: runs by state, sizes, lags."""
        return answer(await stats(engine))

    @router.get("/version", response_model=answers.Version)
    async def version(request: Request) -> Response:
        """The server's version, time zone, start time and boot id; and who asks."""
        caller = caller_of(request)
        more = {"name": config.name, "tz": config.tz, "user": caller.user, "role": caller.role}
        return answer({**_self(engine), **more})

    @router.post("/notify/test", response_model=answers.Told, responses=problems(404, 409))
    async def test_notify(wanted: NotifyTest) -> Response:
        """Send a message to somebody, to see that it arrives. Answers when it is sent, or with the reason."""
        try:
            await engine.notices.test(wanted.to)
        except SendFailed as error:
            raise Problem(409, f"{wanted.to} was not told: {error}") from None
        return answer({"told": wanted.to})

    @router.get("/events", status_code=200, response_class=EventStream)
    async def stream(
        request: Request, types: str = "", last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """What happens, as server-sent events.

        `types`: run, log, output, job, late, pause, server, with commas between them; all unless given.
        `late` tells of a run of a schedule at the moment at which it is late with its `start` or its
        `finish`, or is `missed`: `{run_id, job_id, args, kind, state, scheduled_at, message}`. The first
        event is `hello`. A reader who sends the id of the last event it has, as `Last-Event-ID`, gets what it
        missed, or `resync` if that cannot be told any more. A token that is held to paths hears of `run`,
        `job` and `late` of the jobs there.
        """
        wanted = frozenset(t.strip() for t in types.split(",") if t.strip()) or TYPES
        if unknown := sorted(wanted - TYPES):
            raise Problem(422, f"types: there is no {unknown[0]!r}; there are {', '.join(sorted(TYPES))}")
        return EventStream(events, wanted, last_event_id or None, caller_of(request))

    return router


def _self(engine: Engine) -> dict[str, str]:
    return {
        "version": __version__,
        "boot_id": engine.boot_id,
        "started_at": format_time(engine.started_at),
    }
