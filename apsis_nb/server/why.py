"""Routes that tell why something has not run, or not well."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from apsis_nb.config import Config
from apsis_nb.core.jobs import Job
from apsis_nb.core.times import after_gap, format_iso, parse_date, zone
from apsis_nb.core.why import Asked, Cause
from apsis_nb.engine import Engine
from apsis_nb.engine.why import why, why_run
from apsis_nb.server import answers
from apsis_nb.server.asking import (
    answer,
    caller_of,
    demand_run,
    demand_sight,
    instant,
    matching,
    run_id_of,
    seen,
)
from apsis_nb.server.callers import Caller
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.wire import cause_facts

#: What is due at a time is the last that came due before it, but no earlier than so.
_BEFORE = timedelta(days=1)


def why_routes(engine: Engine, config: Config) -> APIRouter:
    """The routes."""
    router = Router(tags=["why"])

    @router.get("/runs/{run_id}/why", response_model=answers.Causes, responses=problems(404))
    async def of_run(request: Request, run_id: str) -> Response:
        """Why a run has not run, or not well: its causes in words, through dependencies down to the root."""
        number, caller = run_id_of(run_id), caller_of(request)
        await demand_run(engine, caller, number)
        return told(await why_run(engine, number), caller)

    @router.get("/why/{job_id:path}", response_model=answers.JobCauses, responses=problems(404, 409))
    async def of_job(request: Request, job_id: str, at: str | None = None) -> Response:
        """Why a run of a job is not there, or did not do well, also if there never was one.

        `arg.NAME`: some or all of its args. `at`: the day on which it is due (or its arg `date`), or a time:
        then the last one up to it is meant. Without either it is the last that came due, or the next.
        """
        caller = caller_of(request)
        name = await asyncio.to_thread(job_id_of, job_id, seen(caller, engine.jobs))
        demand_sight(caller, name)
        args = {n.removeprefix("arg."): v for n, v in request.query_params.items() if n.startswith("arg.")}
        within = None
        if at:
            day, job = _day(at), engine.jobs.get(name)
            if day is None:
                moment = instant(at, "at", config)
                within = None if moment is None else (moment - _BEFORE, moment + timedelta(seconds=1))
            elif job is not None and any(p.name == "date" for p in job.params) and "date" not in args:
                args["date"] = format_iso(day)  # a day by its name, on whatever day its run is due
            else:
                begin, end = (after_gap(day + timedelta(days=n), time(), zone(config.tz)) for n in (0, 1))
                within = begin, end
        found = await why(engine, Asked(name, tuple(sorted(args.items())), within))
        return told(found, caller, job_id=name)

    def told(causes: Iterable[Cause], caller: Caller, **more: str) -> Response:
        """The causes; of jobs that the caller may not see, only that they are the cause."""
        facts = [cause_facts(cause) for cause in causes]
        for fact in facts:
            if not caller.may_see(fact["job_id"]):
                fact |= {"text": f"{fact['job_id']} is why", "args": {}, "run_id": None, "output": None}
        return answer({**more, "causes": facts})

    def job_id_of(name: str, jobs: Mapping[str, Job]) -> str:
        """The job that is meant; what is no job at all is a cause, too."""
        if name in engine.jobs or name in engine.folder.files or engine.store.job_versions(name):
            return name
        found = matching(name, jobs)
        if len(found) > 1:
            raise Problem(409, f"{name!r} may be {', '.join(found[:5])}", choices=found)
        return found[0] if found else name

    return router


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None
