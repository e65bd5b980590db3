"""Routes that tell which outputs are beyond what is kept, and give them up."""

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.responses import Response

from apsis_nb.engine import Engine
from apsis_nb.engine.retention import carry_out, plan
from apsis_nb.server import answers
from apsis_nb.server.asking import answer
from apsis_nb.server.routing import Router
from apsis_nb.store import Amount
from apsis_nb.wire import plain


def retention_routes(engine: Engine) -> APIRouter:
    """The routes."""
    router = Router(tags=["server"])

    @router.get("/retention", response_model=answers.Retention)
    async def planned() -> Response:
        """The outputs that are beyond what is kept, by job: how many runs and outputs, and bytes on the disk.

        `last_at` is when the newest of these runs finished.
        """
        return _told(await plan(engine))

    @router.post("/retention", response_model=answers.Retention)
    async def carried_out() -> Response:
        """Give up the outputs that are beyond what is kept. Answers what was given up when that is done."""
        return _told(await carry_out(engine))

    return router


def _told(amounts: Sequence[Amount]) -> Response:
    return answer({"jobs": [plain(amount.facts()) for amount in amounts]})
