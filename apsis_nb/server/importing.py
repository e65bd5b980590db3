"""The route that brings in past runs from a file on the server's machine."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from apsis_nb.engine import Engine
from apsis_nb.server.asking import audit_about
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.store import Report, StoreError, import_runs, open_source
from apsis_nb.wire import to_json

log = logging.getLogger("apsis_nb.import")


class ImportRequest(BaseModel):
    """What to bring in."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(
        description="of the file, absolute, on the server's machine", examples=["/srv/old/apsis.db"]
    )
    dry_run: bool = Field(False, description="only tell what would be done")


class Reports(StreamingResponse):
    """How far an import has come, line by line."""

    media_type = "application/x-ndjson"


def import_routes(engine: Engine) -> APIRouter:
    """The routes."""
    router = Router(tags=["history"])
    turn = asyncio.Lock()  # two at once would bring the same runs twice

    @router.post("/import/runs", response_class=Reports, responses=problems(404))
    async def runs(request: Request, wanted: ImportRequest) -> Response:
        """Bring in the finished runs of a store's file, or of Apsis's database, without those that are here.

        Answers line by line, each a JSON object: how far it has come. Ends early if the client leaves.
        """
        path = Path(wanted.path)
        audit_about(request, wanted.path)
        if not path.is_absolute():
            raise Problem(422, f"path: must be absolute, not {wanted.path!r}")
        try:
            source = await asyncio.to_thread(open_source, path)
        except (StoreError, OSError) as error:
            raise Problem(422, str(error)) from None

        async def lines() -> AsyncIterator[bytes]:
            async with turn:
                with closing(source):
                    reports = import_runs(engine.store, source, dry_run=wanted.dry_run)
                    try:
                        while (report := await _next(reports)) is not None:
                            yield to_json(report.facts()) + b"\n"
                    except StoreError as error:
                        log.warning("the import of %s ended: %s", path, error)
                        yield to_json({"error": str(error)}) + b"\n"

        return Reports(lines())

    return router


async def _next(reports: Iterator[Report]) -> Report | None:
    """The next report; None after the last. When this is cancelled, the batch under way has ended."""
    step = asyncio.ensure_future(asyncio.to_thread(next, reports, None))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait({step})
        raise
