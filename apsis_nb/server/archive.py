"""Routes that move old runs into the archive, and back, and tell what is there."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from apsis_nb.core.times import parse_duration
from apsis_nb.engine import Engine
from apsis_nb.engine.archive import carry_out, plan, put_back
from apsis_nb.server import answers
from apsis_nb.server.asking import answer
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.store import Month, Old
from apsis_nb.wire import plain

_CENTURY_S = 100 * 365.25 * 86400


class ArchiveWanted(BaseModel):
    """What is moved into the archive."""

    model_config = ConfigDict(extra="forbid")

    older_than: str | float | None = Field(
        default=None,
        examples=["180d"],
        description="how long ago a month must have ended, such as `365d`; by default as configured",
    )
    dry_run: bool = Field(default=False, description="only tell what would be moved")


class RestoreWanted(BaseModel):
    """What is moved back."""

    model_config = ConfigDict(extra="forbid")

    month: Annotated[
        str,
        Field(
            description="a month such as `2026-01`, or one folder of it: `2026-01.2`", examples=["2026-01"]
        ),
    ]


def archive_routes(engine: Engine) -> APIRouter:
    """The routes."""
    router = Router(tags=["server"])

    @router.get("/archive", response_model=answers.Archive)
    async def listed() -> Response:
        """The months in the archive, the oldest first, and how far it is that moves some.

        `is_there` is false for one whose folder is gone: its runs cannot be read.
        """
        archive, lost = engine.store.archive, engine.store.archive.lost
        months = [plain(m.facts() | {"is_there": m.folder not in lost}) for m in archive.named]
        return answer({"months": months, "under_way": engine.store.archiver.progress})

    @router.post("/archive", response_model=answers.ToArchive, responses=problems(409))
    async def moved(wanted: ArchiveWanted) -> Response:
        """Move the runs of old months from the database into the archive. Answers when that is done.

        Only whole months are moved, and only if all of their runs have finished and have sent what they had
        to; `why_not` says so of the others in a dry run.
        """
        age_s = _age(wanted.older_than)
        if wanted.dry_run:
            return _told(await plan(engine, age_s))
        return _told(await carry_out(engine, age_s))

    @router.post("/archive/restore", response_model=answers.FromArchive, responses=problems(404, 409))
    async def moved_back(wanted: RestoreWanted) -> Response:
        """Move the runs of a month from the archive into the database again. Answers when that is done."""
        return _told(await put_back(engine, wanted.month))

    return router


def _told(months: Sequence[Month | Old]) -> Response:
    found: list[Any] = [plain(month.facts()) for month in months]
    return answer({"months": found})


def _age(value: str | float | None) -> float | None:
    if value is None:
        return None
    try:
        age_s = parse_duration(value)
    except ValueError as error:
        raise Problem(422, f"older_than: {error}") from None
    if not 0 <= age_s <= _CENTURY_S:
        raise Problem(422, f"older_than: must be from 0 to a hundred years, not {value}")
    return age_s
