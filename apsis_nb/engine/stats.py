"""A server in figures."""

import asyncio
import os
import resource
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsis_nb.core.times import format_time

from .clock import utc_now

if TYPE_CHECKING:
    from .engine import Engine

#: How far back runs that have finished are counted.
LATELY = {"finished_1h": timedelta(hours=1), "finished_1d": timedelta(days=1)}


async def stats(engine: "Engine") -> dict[str, Any]:
    """The server in figures, as JSON values.

    Returns:
        {at, started_at: times; up_s; runs: {live, finished_1h and finished_1d: {state: count}}; jobs,
        broken_files; process: {memory_b, max_memory_b, cpu_s, threads, open_files}; loop_lag_ms,
        commit_lag_ms; store: as `/alive` has it, with outputs_bytes and
        cached_bytes (in memory); disk_free_b; notices: under way}
    """
    now, health = utc_now(), engine.health()
    live = Counter(run.state.value for run in engine.live.values())
    kept = ("jobs", "broken_files", "loop_lag_ms", "commit_lag_ms", "disk_free_b", "notices")
    return {
        "at": format_time(now),
        "started_at": format_time(engine.started_at),
        "up_s": (now - engine.started_at).total_seconds(),
        "runs": {"live": dict(live)},
        **{name: health[name] for name in kept},
        "store": health["store"],
    } | await asyncio.to_thread(_looked_up, engine, dict(live), health["store"], now)


def _looked_up(
    engine: "Engine", live: dict[str, int], store: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """What the store and the system have to be asked for."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    ends = {name: engine.store.ends_lately(now - span) for name, span in LATELY.items()}
    return {
        "runs": {"live": live, **ends},
        "process": {
            "memory_b": _memory_b(),
            "max_memory_b": used.ru_maxrss * 1024,
            "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            "threads": _count("/proc/self/task"),
            "open_files": _count("/proc/self/fd"),
        },
        "store": {
            **store,
            "outputs_bytes": engine.store.outputs_bytes(),
            "cached_bytes": engine.store.cached_bytes(),
        },
    }


def _memory_b() -> int | None:
    """Memory that the process has now; None where the system does not tell."""
    with suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return None


def _count(folder: str) -> int | None:
    """How many entries a folder has; None where the system has none such."""
    with suppress(OSError):
        return len(os.listdir(folder))
    return None
