"""Makes backups of the store of a server, while it works."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from apsis_nb.store import Backup

from .clock import utc_now

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("apsis_nb.backup")

#: In the state folder, unless told otherwise.
FOLDER = "backups"


def folder_of(engine: "Engine") -> Path:
    """Where backups go that are told no other place."""
    return engine.config.state_dir / FOLDER


async def make(engine: "Engine", folder: Path | None = None, keep: int | None = None) -> Backup:
    """Make one, and write to the log where it is.

    Args:
        folder: absolute; None: the server's own.
        keep: how many of this store, the newest, are kept there; None: all.

    Raises:
        StoreError: it cannot be made; nothing is left of it.
    """
    folder = folder or folder_of(engine)
    backup = await asyncio.to_thread(engine.store.backups.make, folder, engine.config.name, utc_now(), keep)
    log.info("a backup was made: %s, %d runs, %d bytes", backup.path, backup.runs, backup.bytes)
    return backup
