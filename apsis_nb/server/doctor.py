"""Routes that tell what is not as it should be, and mend what can be mended."""

from fastapi import APIRouter
from starlette.responses import Response

from apsis_nb.engine import Engine
from apsis_nb.engine.doctor import examine, mend
from apsis_nb.server import answers
from apsis_nb.server.asking import answer
from apsis_nb.server.routing import Router
from apsis_nb.wire import finding_facts


def doctor_routes(engine: Engine) -> APIRouter:
    """The routes."""
    router = Router(tags=["server"])

    @router.get("/doctor", response_model=answers.Findings)
    async def findings() -> Response:
        """What is not as it should be with the server, its jobs and its runs: the worst first, with a fix."""
        return answer({"findings": [finding_facts(f) for f in await examine(engine)], "mended": []})

    @router.post("/doctor", response_model=answers.Findings)
    async def mended() -> Response:
        """Mend what can be mended without harm, and tell what was done, and what is left."""
        done = await mend(engine, await examine(engine))
        return answer({"findings": [finding_facts(f) for f in await examine(engine)], "mended": done})

    return router
