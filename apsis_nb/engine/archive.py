"""Moves old runs of a server from its database into the archive, and back, while it works."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from apsis_nb.store import Month, Old

from .clock import utc_now

if TYPE_CHECKING:
    from .engine import Engine


async def plan(engine: "Engine", older_than_s: float | None = None) -> list[Old]:
    """The months that `carry_out` would move, and those that must stay nevertheless.

    Args:
        older_than_s: how long ago a month must have ended; None: as the configuration says.
    """
    return await asyncio.to_thread(engine.store.archiver.plan, _age(engine, older_than_s), utc_now())


async def carry_out(engine: "Engine", older_than_s: float | None = None) -> list[Month]:
    """Move them.

    Raises:
        StoreError: one cannot be moved; its runs are where they were.
    """
    return await asyncio.to_thread(engine.store.archiver.carry_out, _age(engine, older_than_s), utc_now())


async def put_back(engine: "Engine", name: str) -> list[Month]:
    """Move a month, or one folder of it, into the database again.

    Raises:
        NotFound: the archive has nothing of that name.
        StoreError: it is not whole, or cannot be moved; its runs stay in the archive.
    """
    return await asyncio.to_thread(engine.store.archiver.put_back, name)


def _age(engine: "Engine", older_than_s: float | None) -> timedelta:
    return timedelta(seconds=engine.config.archive.older_than if older_than_s is None else older_than_s)
