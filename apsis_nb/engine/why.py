"""Gathers the facts of why a run has not run, or not well, from the machine, the job folder and the store."""

import asyncio
import difflib
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from apsis_nb.core.conditions import Dependency
from apsis_nb.core.errors import NotFound
from apsis_nb.core.runs import Instance, Origin, Run, RunId
from apsis_nb.core.states import State
from apsis_nb.core.times import format_local, zone
from apsis_nb.core.why import (
    MOST,
    Asked,
    Cause,
    Facts,
    RunFacts,
    causes,
    find_due,
    find_next,
    last_line,
    needed,
)
from apsis_nb.store import StoreError

from .clock import utc_now
from .engine import Engine

#: Of the runs of an instance so many are looked at, and so much of the end of an output.
_RUNS, _TAIL_B = 50, 4096
#: A run that waits for a place is told so many of those that have one.
_HOLDERS = 3


async def why(engine: Engine, asked: Asked) -> list[Cause]:
    """Why what is asked about has not run, or not well: the nearest cause first, down to the root."""
    return await _explained(engine, asked, {})


async def why_run(engine: Engine, run_id: RunId) -> list[Cause]:
    """As `why`, of one run.

    Raises:
        NotFound: there is no such run.
    """
    run = await _facts_of_run(engine, run_id)
    asked = Asked.of(run.inst)
    facts = await _facts_of(engine, asked, is_run_known=True)
    return await _explained(engine, asked, {asked: replace(facts, run=run)})


async def _explained(engine: Engine, asked: Asked, known: dict[Asked, Facts]) -> list[Cause]:
    left = deque([asked])
    while left and len(known) < MOST:
        one = left.popleft()
        if one not in known:
            known[one] = await _facts_of(engine, one)
            left.extend(needed(one, known[one]))
        elif one == asked:
            left.extend(needed(one, known[one]))
    return causes(asked, known, utc_now(), zone(engine.config.tz))


async def _facts_of(engine: Engine, asked: Asked, *, is_run_known: bool = False) -> Facts:
    now, tz, job_id = utc_now(), zone(engine.config.tz), asked.job_id
    job = engine.jobs.get(job_id)
    file = engine.folder.files.get(job_id)
    errors = file.errors if file else ()
    due = await asyncio.to_thread(find_due, job, asked, now, tz) if job else None
    facts = Facts(
        job=job,
        near=next(iter(difflib.get_close_matches(job_id, engine.jobs, n=1)), None),
        fault="; ".join(str(error) for error in errors) or None,
        fault_since=_changed_at(file.digest) if file and errors else None,
        due=due,
        next=await asyncio.to_thread(find_next, job, now) if job and due is None else None,
        pause=engine.machine.pauses.of(job_id, due.at if due else now),
        down=engine.down,
        clock=engine.machine.clock,
        callers=tuple(
            other_id
            for other_id, other in engine.jobs.items()
            if any(getattr(action, "job_id", None) == job_id for action in other.actions)
        ),
    )
    versions = await asyncio.to_thread(engine.store.job_versions, job_id)
    if versions:
        facts = replace(
            facts,
            known_since=versions[0]["ts"],
            changed_at=versions[-1]["ts"],
            removed_at=versions[-1]["ts"] if versions[-1]["yaml"] is None else None,
        )
    if is_run_known:
        return facts
    run_id = await _newest_run(engine, asked, facts)
    return facts if run_id is None else replace(facts, run=await _facts_of_run(engine, run_id))


async def _newest_run(engine: Engine, asked: Asked, facts: Facts) -> RunId | None:
    """The run that answers: one that lives, else the newest; without args none of before what is due."""
    since, until = asked.within or (None, None)
    if not asked.args and facts.due is not None and facts.due.at <= utc_now():
        since = facts.due.at
    found = await asyncio.to_thread(
        engine.store.runs, job_id=asked.job_id, args=dict(asked.args), since=since, until=until, limit=_RUNS
    )
    found = [run for run in found if run["origin"] != Origin.TEST.value]
    live = [run for run in found if run["run_id"] in engine.live]
    return max((run["run_id"] for run in live or found), default=None)


async def _facts_of_run(engine: Engine, run_id: RunId) -> RunFacts:
    live = engine.live.get(run_id)
    if live is not None:
        return _facts_of_live(engine, live)
    found = await asyncio.to_thread(engine.store.run, run_id)
    if found is None:
        raise NotFound(f"there is no run r{run_id}")
    state = State(found["state"])
    is_bad = state in {State.FAILURE, State.ERROR}
    return RunFacts(
        run_id=run_id,
        inst=Instance.of(found["job_id"], found["args"]),
        state=state,
        output=await asyncio.to_thread(_last_line, engine, run_id) if is_bad else None,
        **{name: found[name] for name in _FACTS},
    )


_FACTS = ("scheduled_at", "started_at", "finished_at", "message", "skip_reason", "by")


def _facts_of_live(engine: Engine, run: Run) -> RunFacts:
    is_limit, holders = engine.machine.holds(run.run_id)
    tz = zone(engine.config.tz)
    texts = []
    for holder in holders[:_HOLDERS]:
        since = format_local(holder.state_at, tz, with_zone=True)
        texts.append(f"{holder.name} {holder.inst} is {holder.state.value}, since {since}")
    if len(holders) > _HOLDERS:
        texts.append(f"and {len(holders) - _HOLDERS} more")
    facts: dict[str, Any] = {name: getattr(run, name) for name in _FACTS}
    return RunFacts(
        run_id=run.run_id,
        inst=run.inst,
        state=run.state,
        held=engine.machine.why(run.run_id),
        is_limit=is_limit,
        waits_for=tuple(c for c in run.conditions if isinstance(c, Dependency)),
        holders=tuple(texts),
        **facts,
    )


def _last_line(engine: Engine, run_id: RunId) -> str | None:
    """What a run wrote last, first of all as an error. Blocks."""
    try:
        names = [output["name"] for output in engine.outputs(run_id)]
        for name in ("stderr", "output", "stdout"):
            if name in names:
                _, size = engine.read_output(run_id, name, 0, 1)
                line = last_line(engine.read_output(run_id, name, max(0, size - _TAIL_B), _TAIL_B)[0])
                if line is not None:
                    return line
    except (NotFound, StoreError):
        return None  # it is gone by now
    return None


def _changed_at(digest: tuple[int, int] | None) -> datetime | None:
    """When a file was changed last."""
    return None if digest is None else datetime.fromtimestamp(digest[0] // 1_000_000_000, UTC)
