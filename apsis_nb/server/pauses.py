"""Routes about pauses: holding back the schedules of jobs, and letting them go on."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from apsis_nb.config import Config
from apsis_nb.core.errors import Refused
from apsis_nb.core.events import PauseRequested, ResumeRequested
from apsis_nb.core.pauses import Pause, Scope
from apsis_nb.engine import Engine
from apsis_nb.server import answers
from apsis_nb.server.asking import Reason, answer, caller_of, demand_sight, instant, job_of, utc_now
from apsis_nb.server.callers import Caller
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.wire import pause_facts, plain


class PauseRequest(BaseModel):
    """For how long, and why."""

    model_config = ConfigDict(extra="forbid")

    until: str | None = Field(
        None, description="when it ends by itself; never, unless given", examples=["+8h"]
    )
    reason: Reason | None = Field(None, examples=["the database moves"])


def pause_routes(engine: Engine, config: Config) -> APIRouter:
    """The routes."""
    router = Router(tags=["pauses"])

    def target_of(path: str | None, everything: bool) -> tuple[Scope, str]:
        """What a request without a job is about."""
        if (path is None) is not everything:
            raise Problem(422, "say which: a job in the address, path=FOLDER, or all=true")
        if path is None:
            return "all", ""
        folder = path.strip("/")
        if not any(job_id == folder or job_id.startswith(f"{folder}/") for job_id in engine.jobs):
            raise Problem(404, f"there is no job below {folder!r}")
        return "path", folder

    def job_id_of(name: str, caller: Caller) -> str:
        for pause in engine.pauses:  # of a job that is gone, too
            if pause.scope == "job" and pause.target == name:
                demand_sight(caller, name)
                return name
        return job_of(name, engine, caller).job_id

    def concerns(pause: Pause, caller: Caller) -> bool:
        """Whether a pause holds back jobs that the caller may see."""
        if pause.scope == "path":
            return caller.may_see(pause.target) or any(
                path.startswith(f"{pause.target}/") for path in caller.paths
            )
        return pause.scope == "all" or caller.may_see(pause.target)

    async def pause(http: Request, scope: Scope, target: str, wanted: PauseRequest | None) -> Response:
        how, now = wanted or PauseRequest(until=None, reason=None), utc_now()
        until = instant(how.until, "until", config)
        if until is not None and until <= now:
            raise Problem(422, f"until: {how.until} is past")
        made = Pause(
            scope=scope, target=target, at=now, until=until, reason=how.reason, by=caller_of(http).user
        )
        await engine.ask(PauseRequested(pause=made))
        return answer({"pause": pause_facts(made)})

    async def resume(http: Request, scope: Scope, target: str, dry_run: bool) -> Response:
        found = next((p for p in engine.pauses if (p.scope, p.target) == (scope, target)), None)
        if found is None:
            raise Refused(f"{target} is not paused" if target else "there is no pause of all jobs")
        plan: dict[str, Any] = await asyncio.to_thread(engine.plan_resume, found)
        if not dry_run:
            await engine.ask(ResumeRequested(scope=scope, target=target, by=caller_of(http).user))
        return answer(plain(plan) | {"pause": pause_facts(found)})

    @router.get("/pauses", response_model=answers.Pauses)
    async def pauses(http: Request) -> Response:
        """What is paused, since when and by whom."""
        caller = caller_of(http)
        return answer({"pauses": [pause_facts(p) for p in engine.pauses if concerns(p, caller)]})

    @router.post("/pause", response_model=answers.Paused, responses=problems(404, 409))
    async def pause_several(
        http: Request, path: str | None = None, all: bool = False, wanted: PauseRequest | None = None
    ) -> Response:
        """Hold back the schedules of all jobs below a path, or of all: what comes due is skipped."""
        return await pause(http, *target_of(path, all), wanted)

    @router.post("/resume", response_model=answers.Resumed, responses=problems(404, 409))
    async def resume_several(
        http: Request, path: str | None = None, all: bool = False, dry_run: bool = False
    ) -> Response:
        """End a pause of a path or of all. The answer is the plan: what was skipped, and what comes next."""
        scope, target = ("all", "") if path is None else ("path", path.strip("/"))
        if (path is None) is not all:
            raise Problem(422, "say which: a job in the address, path=FOLDER, or all=true")
        return await resume(http, scope, target, dry_run)  # type: ignore[arg-type]

    @router.post("/pause/{job_id:path}", response_model=answers.Paused, responses=problems(404, 409))
    async def pause_job(http: Request, job_id: str, wanted: PauseRequest | None = None) -> Response:
        """Hold back the schedules of a job: what comes due is skipped."""
        return await pause(http, "job", job_of(job_id, engine, caller_of(http)).job_id, wanted)

    @router.post("/resume/{job_id:path}", response_model=answers.Resumed, responses=problems(404, 409))
    async def resume_job(http: Request, job_id: str, dry_run: bool = False) -> Response:
        """End the pause of a job. The answer is the plan: what was skipped, and what comes next."""
        return await resume(http, "job", job_id_of(job_id, caller_of(http)), dry_run)

    return router
