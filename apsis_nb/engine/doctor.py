"""Looks a server over, and mends what it can mend without harm."""

import asyncio
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from apsis_nb.core.doctor import Checkup, Finding, Loop, Missed, findings
from apsis_nb.core.events import ProgramFinished
from apsis_nb.core.states import BUSY, State
from apsis_nb.core.times import zone
from apsis_nb.programs.environment import unknown_accounts

from .clock import utc_now
from .mounts import network_of

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("apsis_nb.doctor")

#: What counts as lately, and since when a job must have run to be in use.
LATELY, IN_USE = timedelta(days=7), timedelta(days=90)
_VISIT_EVERY_S = 86_400
_LOG_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}


async def examine(engine: "Engine") -> list[Finding]:
    """What is not as it should be, the worst first."""
    # The machine and the programs belong to the loop's thread, and are asked here; the rest may take a while.
    live = list(engine.live.values())
    held = {run.run_id: engine.machine.why(run.run_id) for run in live if run.state is State.WAITING}
    busy = [run.run_id for run in live if run.state in BUSY]
    lost = frozenset(run_id for run_id in busy if not engine.programs.knows(run_id))
    return await asyncio.to_thread(
        _examined,
        engine,
        Checkup(
            now=utc_now(),
            tz=zone(engine.config.tz),
            jobs=dict(engine.jobs),
            faults=[(error.job_id, str(error)) for error in engine.folder.errors if error.level == "error"],
            live=live,
            held={run_id: text for run_id, text in held.items() if text is not None},
            without_process=lost,
            store_error=engine.broken,
            damaged=[(run_id, why) for run_id, why in engine.store.damaged if run_id in engine.live],
            loops=[
                Loop(
                    name=loop["name"],
                    is_running=loop["running"],
                    failures=loop["failures"],
                    last_error=loop["last_error"],
                )
                for loop in engine.tasks.facts()
            ],
            limit=engine.config.limits.running,
            cores=os.cpu_count() or 1,
        ),
    )


def _examined(engine: "Engine", facts: Checkup) -> list[Finding]:
    """What the facts, and what the store and the disk say on top of them, amount to."""
    lately = facts.now - LATELY
    missed = engine.store.missed_lately(lately).items()
    facts = replace(
        facts,
        have_run=frozenset(engine.store.jobs_that_ran(facts.now - IN_USE)),
        lateness=engine.store.lateness_lately(lately),
        missed={
            job_id: Missed(count=count, first=first, last=last, do_differ=differ)
            for job_id, (count, first, last, differ) in missed
        },
        archive=str(engine.store.archive.root),
        archive_lost=engine.store.archive.lost,
        archive_strays=engine.store.archiver.strays(),
        packs=str(engine.store.packs),
        packs_lost=engine.store.packs_lost(),
        disk_free_b=shutil.disk_usage(engine.config.state_dir).free,
        state_dir=str(engine.config.state_dir),
        network=network_of(engine.config.state_dir),
        unknown_accounts=unknown_accounts(engine.config.accounts),
        store_error=facts.store_error or engine.store.health()["error"],
    )
    return findings(facts)


async def mend(engine: "Engine", found: Sequence[Finding]) -> list[str]:
    """Mend what can be mended without harm; says what was done."""
    done = []
    for finding in found:
        if finding.kind == "orphaned":
            run_id = int(finding.subject.removeprefix("r"))
            if run_id in engine.live and not engine.programs.knows(run_id):
                why = "it had no process: the doctor ended it"
                end = ProgramFinished(run_id=run_id, at=utc_now(), outcome="error", message=why)
                await engine.ask(end)
                done.append(f"{finding.subject} was ended in error, for it had no process")
    return done


async def visit(engine: "Engine") -> None:
    """Look it over now, and then once a day, and write to the log what is not as it should be."""
    while True:
        await tell(engine)
        await asyncio.sleep(_VISIT_EVERY_S)


async def tell(engine: "Engine") -> None:
    """Write to the log what is not as it should be."""
    for finding in await examine(engine):
        level = _LOG_LEVELS.get(finding.level)
        if level is not None and finding.kind != "broken":  # those are told as the folder is read
            log.log(level, "%s: %s; %s", finding.subject, finding.message, finding.fix)
