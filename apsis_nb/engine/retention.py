"""Gives up the outputs of runs that are beyond what job files and the configuration keep."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from apsis_nb.core.retention import FOREVER, KeepRules
from apsis_nb.store import Amount

from .clock import utc_now

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("apsis_nb.retention")

_EVERY_S = 86_400


def rules_of(engine: "Engine") -> KeepRules:
    """What is kept of the outputs of each job now. Of a job whose file is broken: all, until it says."""
    own = {job_id: job.keep for job_id, job in engine.jobs.items() if job.keep is not None}
    broken = {error.job_id for error in engine.folder.errors if error.level == "error"}
    unknown = {job_id: FOREVER for job_id in broken if job_id not in engine.jobs}
    return KeepRules(default=engine.config.retention.outputs.keep, of_jobs=own | unknown)


async def plan(engine: "Engine") -> list[Amount]:
    """What `carry_out` would give up, by job."""
    return await asyncio.to_thread(engine.store.retention.plan, rules_of(engine), utc_now())


async def carry_out(engine: "Engine") -> list[Amount]:
    """Give it up, a few runs at a time, and write to the log how much that was."""
    done = await asyncio.to_thread(engine.store.retention.carry_out, rules_of(engine), utc_now())
    if done:
        log.info("%s", said(done))
    return done


def said(done: Sequence[Amount]) -> str:
    """How much was given up, in a sentence."""
    runs, size_b = sum(amount.runs for amount in done), sum(amount.bytes for amount in done)
    return f"the outputs of {runs} runs of {len(done)} jobs were dropped, {size_b} bytes"


async def every_day(engine: "Engine") -> None:
    """Carry it out now, and then once a day."""
    while True:
        await carry_out(engine)
        await asyncio.sleep(_EVERY_S)
