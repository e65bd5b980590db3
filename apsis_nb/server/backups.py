"""Routes that make backups, and tell which there are."""

import asyncio
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from apsis_nb.engine import Engine
from apsis_nb.engine.backups import folder_of, make
from apsis_nb.server import answers
from apsis_nb.server.asking import answer
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.store import backups_in


class BackupWanted(BaseModel):
    """Where a backup goes."""

    model_config = ConfigDict(extra="forbid")

    to: str | None = Field(
        default=None, description="a folder, absolute; by default the server's own", examples=[None]
    )
    keep: int | None = Field(
        default=None, ge=1, description="how many, the newest, are kept there; all", examples=[30]
    )


def backup_routes(engine: Engine) -> APIRouter:
    """The routes."""
    router = Router(tags=["server"])

    @router.get("/backup", response_model=answers.Backups)
    async def listed() -> Response:
        """The backups in the server's own folder, the newest first, and how far the one under way is."""
        found = await asyncio.to_thread(backups_in, folder_of(engine))
        under_way = engine.store.backups.progress
        return answer({"backups": [backup.facts() for backup in found], "under_way": under_way})

    @router.post("/backup", response_model=answers.Backup, responses=problems(409))
    async def made(wanted: BackupWanted) -> Response:
        """Make a backup of the store as it is now, in use. Answers when it is made and checked."""
        folder = None if wanted.to is None else Path(wanted.to)
        if folder is not None and not folder.is_absolute():
            raise Problem(422, f"to: {wanted.to!r} is no absolute path")
        return answer((await make(engine, folder, wanted.keep)).facts())

    return router
