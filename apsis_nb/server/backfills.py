"""Routes about backfills: what is run for times of long ago, as one."""

import asyncio
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from apsis_nb.config import Config
from apsis_nb.core.errors import NotFound, Refused
from apsis_nb.core.events import BackfillStopRequested
from apsis_nb.engine import Engine
from apsis_nb.engine.backfills import Plan, of_args, of_days, only_missing, request
from apsis_nb.server import answers
from apsis_nb.server.asking import (
    answer,
    arg_texts,
    caller_of,
    demand_args,
    demand_sight,
    job_of,
    run_id_of,
)
from apsis_nb.server.callers import Caller
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.wire import plain

Scalar = str | bool | int | float


class BackfillRequest(BaseModel):
    """Days, or the args of each run."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: date | None = Field(None, alias="from", description="the first day", examples=["2026-11-01"])
    last: date | None = Field(None, alias="to", description="the last day, included", examples=["2026-11-26"])
    args: list[dict[str, Scalar]] | None = Field(
        None, description="instead of days: the args of each run", examples=[None]
    )
    only_missing: bool = Field(False, description="leave out what has succeeded or is under way")
    max_running: int = Field(1, ge=1, le=1000, description="how many run at once")
    actions: bool = Field(False, description="whether they fire the actions of the job")
    labels: list[str] = Field([], examples=[[]])
    dry_run: bool = Field(False, description="only tell what would run")


class ResumeBackfill(BaseModel):
    """How a backfill goes on."""

    model_config = ConfigDict(extra="forbid")

    max_running: int = Field(1, ge=1, le=1000, description="how many run at once")
    actions: bool = Field(False, description="whether they fire the actions of the job")


def backfill_routes(engine: Engine, config: Config) -> APIRouter:
    """The routes."""
    router = Router(tags=["backfills"])

    def facts_of(backfill: dict[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = plain({**backfill, "backfill_id": f"r{backfill['backfill_id']}"})
        return facts

    async def one(backfill_id: int, caller: Caller) -> dict[str, Any]:
        found = await asyncio.to_thread(engine.store.backfills, backfill_id)
        if not found:
            raise NotFound(f"there is no backfill r{backfill_id}")
        demand_sight(caller, found[0]["job_id"])
        return facts_of(found[0])

    @router.get("/backfills", response_model=answers.Backfills)
    async def backfills(http: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """The backfills, newest first, and how far each is."""
        caller = caller_of(http)
        found = await asyncio.to_thread(engine.store.backfills, None, limit)
        return answer({"backfills": [facts_of(b) for b in found if caller.may_see(b["job_id"])]})

    @router.get("/backfills/{backfill_id}", response_model=answers.Backfill, responses=problems(404))
    async def backfill(http: Request, backfill_id: str) -> Response:
        """A backfill: how many of its runs are left, run, and ended well or badly."""
        return answer(await one(run_id_of(backfill_id), caller_of(http)))

    @router.post(
        "/backfill/{job_id:path}",
        status_code=201,
        response_model=answers.BackfillPlan,
        responses=problems(404, 409) | {200: {"model": answers.BackfillPlan, "description": "A dry run"}},
    )
    async def begin(http: Request, job_id: str, wanted: BackfillRequest) -> Response:
        """Run a job for days that are past, or for a list of args: the oldest first.

        One run at a time, unless told. It stops after three failures in a row. Its runs fire no actions,
        unless asked.
        """
        caller = caller_of(http)
        job = job_of(job_id, engine, caller)
        demand_args(caller, job, {name for args in wanted.args or () for name in args})

        def plan() -> Plan:
            if wanted.args is not None:
                made = of_args(job, [arg_texts(args) for args in wanted.args])
            elif wanted.first is None or wanted.last is None:
                raise Problem(422, "give the days, from and to, or the args of each run")
            elif wanted.first > wanted.last:
                raise Problem(422, f"from {wanted.first} is after to {wanted.last}")
            else:
                made = of_days(job, wanted.first, wanted.last, config.tz)
            return only_missing(job, made, engine.store, live) if wanted.only_missing else made

        live = list(engine.live.values())
        planned = await asyncio.to_thread(plan)
        told = plain(planned.facts()) | {"job_id": job.job_id, "backfill_id": None}
        if wanted.dry_run:
            return answer(told)
        if not planned.instances:
            raise Refused(f"nothing to run: {planned.done} have succeeded or are under way")
        event = request(
            job,
            planned,
            max_running=wanted.max_running,
            actions=wanted.actions,
            labels=tuple(wanted.labels),
            by=caller.user,
        )
        runs = await engine.ask(event)
        return answer(told | {"backfill_id": f"r{runs[0].backfill_id}"}, 201)

    @router.post(
        "/backfills/{backfill_id}/stop", response_model=answers.Backfill, responses=problems(404, 409)
    )
    async def stop(http: Request, backfill_id: str) -> Response:
        """Do not run what is left of a backfill; what runs goes on."""
        number = run_id_of(backfill_id)
        caller = caller_of(http)
        await one(number, caller)
        await engine.ask(BackfillStopRequested(backfill_id=number, by=caller.user))
        return answer(await one(number, caller))

    @router.post(
        "/backfills/{backfill_id}/resume", response_model=answers.Backfill, responses=problems(404, 409)
    )
    async def resume(http: Request, backfill_id: str, wanted: ResumeBackfill | None = None) -> Response:
        """Run what a backfill has not got done: what was stopped, and what failed."""
        number, how = run_id_of(backfill_id), wanted or ResumeBackfill(max_running=1, actions=False)
        job_id, missing = await asyncio.to_thread(engine.store.backfill_missing, number)
        if job_id is None:
            raise NotFound(f"there is no backfill r{number}")
        caller = caller_of(http)
        demand_sight(caller, job_id)
        if not missing:
            raise Refused(f"nothing is left of backfill r{number}")
        event = request(
            job_of(job_id, engine, caller),
            Plan(tuple(missing)),
            max_running=how.max_running,
            actions=how.actions,
            backfill_id=number,
            by=caller.user,
        )
        await engine.ask(event)
        return answer(await one(number, caller))

    return router
