"""The page for a phone: what failed, is late or missing, and what runs; without scripts or dashboards."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from jinja2 import Environment
from starlette.responses import HTMLResponse, RedirectResponse, Response

from apsis_nb.config import Config
from apsis_nb.core.errors import ApsisError, Refused
from apsis_nb.core.runs import Instance, Run
from apsis_nb.core.states import BUSY, State
from apsis_nb.core.times import format_duration, format_local, zone
from apsis_nb.core.why import Asked, Cause
from apsis_nb.engine import Engine
from apsis_nb.engine.why import why, why_run
from apsis_nb.server.asking import audit_about, caller_of, demand_run, run_id_of, utc_now
from apsis_nb.server.callers import Caller
from apsis_nb.server.problems import problem_of
from apsis_nb.server.runs import ask_rerun
from apsis_nb.store import Store
from apsis_nb.wire import facts_of_row

LATELY = timedelta(hours=24)  #: failures and missed times are told for so long
MOST = 12  #: rows of a list; of the others only the number is told
LONGEST_TEXT = 240  #: characters of a cause or an output
_MOST_FAILED = 500  #: failed runs that are looked at

#: Styles and forms of this page, and nothing else.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'self'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
}
_FILES = files("apsis_nb.server")
_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    (_FILES / "status.html").read_text(encoding="utf-8")
)
_ICON = (_FILES / "icon.svg").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a list."""

    job_id: str
    run_id: str | None
    args: dict[str, str]
    facts: str  #: when, and for how long
    state: str
    causes: list[str] = field(default_factory=list)  #: the nearest and, if it is another, the root
    output: str | None = None  #: the last line that the root of it wrote
    may_rerun: bool = False


def status_routes(engine: Engine, config: Config) -> APIRouter:
    """The page, and its button."""
    router = APIRouter(include_in_schema=False)

    @router.get("/status")
    async def status(request: Request) -> Response:
        return await page(request)

    @router.post("/status/rerun/{run_id}")
    async def rerun(request: Request, run_id: str) -> Response:
        """Run it again, then show the page; a second press finds that it is under way."""
        caller = caller_of(request)
        try:
            number = run_id_of(run_id)
            await demand_run(engine, caller, number)
            again = [run.name for run in engine.live.values() if run.rerun_of == number]
            if again:
                raise Refused(f"r{number} is under way again, as {again[0]}")
            (made, *_) = await ask_rerun(engine, caller, number)
        except ApsisError as error:
            return await page(request, str(error), problem_of(error).status_code)
        audit_about(request, made.job_id)
        # To an address of its own, so that loading the page again does not run it again.
        return RedirectResponse(f"../../status?again={made.name}", 303)

    async def page(request: Request, wrong: str | None = None, status_code: int = 200) -> Response:
        caller, now, tz = caller_of(request), utc_now(), zone(config.tz)
        live = [run for run in engine.live.values() if caller.may_see(run.job_id)]
        failed, missing = await asyncio.gather(
            asyncio.to_thread(_failed, engine.store, now - LATELY, caller),
            asyncio.to_thread(engine.store.missed_lately, now - LATELY),
        )
        missing = {job_id: times for job_id, times in missing.items() if caller.may_see(job_id)}
        late: dict[Instance, list[Run]] = {}
        for run in sorted((run for run in live if run.is_late(now)), key=lambda run: run.scheduled_at):
            late.setdefault(run.inst, []).append(run)
        running = sorted((run for run in live if run.state in BUSY), key=lambda run: run.run_id, reverse=True)
        failed_rows = [await failed_row(fail, caller, now) for fail in failed[:MOST]]
        late_rows = [await late_row(runs, caller, now, tz) for runs in islice(late.values(), MOST)]
        missing_rows = [await missing_row(job, missing[job], caller, tz) for job in sorted(missing)[:MOST]]
        lists = [
            ("failed", "Failed", len(failed), failed_rows),
            ("late", "Late", len(late), late_rows),
            ("missing", "Missing", len(missing), missing_rows),
            ("running", "Running", len(running), [_running_row(run, now) for run in running[:MOST]]),
        ]
        text = _PAGE.render(
            name=config.name,
            icon=_ICON,
            now=format_local(now, tz, "second", with_zone=True)[11:],
            wrong=wrong,
            broken=engine.broken,
            again=_if_run_name(request.query_params.get("again", "")),
            paused=[p for p in engine.pauses if p.scope == "all"],
            lists=lists,
            troubles=len(failed) + len(late) + len(missing),
            has_pages=config.dashboards == "process" and not caller.paths,
            user=caller.user,
            # All addresses are relative: the page may lie below a prefix that only a proxy knows.
            root="../../" if request.url.path.count("/") > 1 else "",
        )
        return HTMLResponse(text, status_code, _HEADERS)

    def causes_of(found: Sequence[Cause], caller: Caller, of: str = "") -> tuple[list[str], str | None]:
        """The nearest cause and the root, and what that wrote last; `of` is what stands above them anyway."""
        seen = [cause for cause in found if caller.may_see(cause.job_id)]
        if not seen:
            return [], None
        both = (seen[0].text.removeprefix(of).lstrip(": "), seen[-1].text.removeprefix(of).lstrip(": "))
        texts = list(dict.fromkeys(_cut(text) for text in both))
        output = seen[-1].output
        return texts, None if output is None else _cut(output)

    async def failed_row(fail: "_Failure", caller: Caller, now: datetime) -> Row:
        run = fail.run
        of = f"{run['run_id']} {Instance.of(run['job_id'], run['args'])}"
        causes, output = causes_of(await why_run(engine, run_id_of(run["run_id"])), caller, of)
        ended = datetime.fromisoformat(run["finished_at"] or run["scheduled_at"])
        times = f", {fail.count} times" if fail.count > 1 else ""
        return Row(
            job_id=run["job_id"],
            run_id=run["run_id"],
            args=run["args"],
            facts=f"{_ago(ended, now)}{times}",
            state=run["state"],
            causes=causes,
            output=output,
            may_rerun=caller.has("run"),
        )

    async def late_row(runs: list[Run], caller: Caller, now: datetime, tz: ZoneInfo) -> Row:
        run = runs[0]
        causes, output = causes_of(await why_run(engine, run.run_id), caller, f"{run.name} {run.inst}")
        times = f", and {len(runs) - 1} more of it" if len(runs) > 1 else ""
        late_s = run.late_s(now) if run.starts_late(now) else None
        by = "still runs" if late_s is None else f"{_span(late_s)} late"
        due = format_local(run.scheduled_at, tz, "minute")[11:]
        return Row(
            job_id=run.job_id,
            run_id=run.name,
            args=dict(run.args),
            facts=f"due {due}, {by}{times}",
            state=run.state.value,
            causes=causes,
            output=output,
        )

    async def missing_row(
        job_id: str, times: tuple[int, datetime, datetime, bool], caller: Caller, tz: ZoneInfo
    ) -> Row:
        count, first, last, _ = times
        found = await why(engine, Asked(job_id, within=(last, last + timedelta(seconds=1))))
        causes, output = causes_of(found, caller, job_id)
        shown = [format_local(at, tz, "minute")[11:] for at in (first, last)]
        due = f"due {shown[1]}" if count == 1 else f"{count} times, {shown[0]} to {shown[1]}"
        return Row(
            job_id=job_id, run_id=None, args={}, facts=due, state="missing", causes=causes, output=output
        )

    return router


@dataclass(frozen=True, slots=True)
class _Failure:
    """The last failed run of a job with its args, and how many there were."""

    run: dict[str, Any]
    count: int


def _failed(store: Store, since: datetime, caller: Caller) -> list[_Failure]:
    """What failed since then and has not succeeded after it, the newest first."""
    bad = [State.FAILURE.value, State.ERROR.value]
    found: dict[Instance, list[dict[str, Any]]] = {}
    for run in store.runs(state=bad, since=since, limit=_MOST_FAILED):
        if caller.may_see(run["job_id"]) and run["origin"] != "test":
            found.setdefault(Instance.of(run["job_id"], run["args"]), []).append(run)
    lasting = [runs for runs in found.values() if not _is_mended(store, runs[0])]
    return [_Failure(facts_of_row(runs[0]), len(runs)) for runs in lasting]


def _is_mended(store: Store, failed: dict[str, Any]) -> bool:
    """Whether the same succeeded after it failed."""
    later = store.runs(
        job_id=failed["job_id"],
        args=failed["args"],
        state=[State.SUCCESS.value],
        since=failed["scheduled_at"],
        limit=20,
    )
    return any(run["run_id"] > failed["run_id"] and run["args"] == failed["args"] for run in later)


def _running_row(run: Run, now: datetime) -> Row:
    begun = run.started_at or run.state_at
    return Row(
        job_id=run.job_id,
        run_id=run.name,
        args=dict(run.args),
        facts=f"for {_span((now - begun).total_seconds())}",
        state=run.state.value,
    )


def _if_run_name(text: str) -> str | None:
    """The name of a run; anything else that an address may say is not shown."""
    return text if re.fullmatch(r"r\d{1,18}", text) else None


def _ago(at: datetime, now: datetime) -> str:
    return f"{_span((now - at).total_seconds())} ago"


def _span(seconds: float) -> str:
    """A duration for people, no finer than they need."""
    whole = max(0, int(seconds))
    coarse = whole if whole < 60 else whole // 60 * 60 if whole < 36_000 else whole // 3600 * 3600
    return format_duration(coarse)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 2]} …"
