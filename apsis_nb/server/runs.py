"""Routes about runs: finding them, making them, moving them, and reading what they wrote."""

import asyncio
import base64
import heapq
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from apsis_nb.config import Config
from apsis_nb.core.errors import NotFound, Refused
from apsis_nb.core.events import (
    Event,
    MarkRequested,
    RerunRequested,
    RunRequested,
    SignalRequested,
    SkipRequested,
    StartRequested,
    StopRequested,
)
from apsis_nb.core.jobs import Job, bind_run, job_from_dict
from apsis_nb.core.programs import Process, Site
from apsis_nb.core.runs import Origin, Run, RunId
from apsis_nb.core.states import State
from apsis_nb.core.times import format_time
from apsis_nb.engine import Engine
from apsis_nb.server import answers
from apsis_nb.server.asking import (
    IF_NONE_MATCH,
    UNLESS_KNOWN,
    Label,
    Reason,
    answer,
    answer_unless_known,
    arg_texts,
    audit_about,
    caller_of,
    demand,
    demand_args,
    demand_run,
    demand_sight,
    instant,
    job_of,
    matching,
    run_id_of,
    seen,
    utc_now,
    window,
)
from apsis_nb.server.callers import Caller
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.server.turns import Turns
from apsis_nb.store import Store, Wanted
from apsis_nb.wire import RUN_DETAILS, facts_of_row, run_facts

_PIECE = 1 << 20  #: bytes of an output read at once
#: Lists of runs that are made at once. While one is made into JSON, the loop and the store's writer wait for
#: their turn at Python's lock; so with more of them what is due starts later, and none is answered sooner.
PAGES_AT_ONCE = 1
_MOST_PAGES = 20  #: of all runs are looked through for one of those that a caller may see

Scalar = str | bool | int | float


class OutputBytes(StreamingResponse):
    """What a run wrote."""

    media_type = "text/plain"


class RunRequest(BaseModel):
    """What is to be run: a job of the folder, or one that comes with the request."""

    model_config = ConfigDict(extra="forbid")

    job_id: str | None = Field(
        None,
        description="a job's id, or words that only one job's id has",
        examples=["sales/report"],
    )
    job: dict[str, Any] | None = Field(
        None,
        description="an ad-hoc job, in the form of a job file",
        examples=[None],
    )
    args: dict[str, Scalar] = Field({}, description="for the job's params", examples=[{"date": "2026-11-27"}])
    at: str | None = Field(None, description="when it is due; now, unless given", examples=["+10m"])
    stop_at: str | None = Field(None, description="when it is stopped if it still runs", examples=["+2h"])
    label: Label | None = Field(None, examples=["try-3"])
    labels: list[Label] = Field([], max_length=100, examples=[[]])
    count: int = Field(1, ge=1, le=1000, description="how many runs that are alike")
    test: bool = Field(False, description="a test: it fires no actions, satisfies nobody, counts nowhere")


class SkipRequest(BaseModel):
    """Why a run is not wanted."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = Field(None, examples=["the figures are not there yet"])


class RerunRequest(BaseModel):
    """What is to be different."""

    model_config = ConfigDict(extra="forbid")

    args: dict[str, Scalar] = Field(
        {}, description="instead of those that it had", examples=[{"kind": "long"}]
    )
    test: bool = Field(False, description="as a test")


class MarkRequest(BaseModel):
    """What follows from a mark."""

    model_config = ConfigDict(extra="forbid")

    actions: bool = Field(False, description="whether the actions of the new state fire")


def run_routes(engine: Engine, config: Config, beside: Turns) -> APIRouter:
    """The routes.

    Args:
        beside: the turns that all questions share.
    """

    async def only_own(request: Request) -> None:
        """For callers who are held to paths, a run of another job is not there."""
        if "run_id" in request.path_params:
            await demand_run(engine, caller_of(request), run_id_of(request.path_params["run_id"]))

    router = Router(tags=["runs"], dependencies=[Depends(only_own)])
    quick = Turns(PAGES_AT_ONCE)

    async def facts_of(run_id: RunId) -> dict[str, Any]:
        """The facts of any run, live or long finished."""
        run = engine.live.get(run_id)
        if run is not None:
            facts = run_facts(run, utc_now())
            if run.state is State.RUNNING and isinstance(run.program, Process):
                said = await asyncio.to_thread(engine.meta, run_id)
                facts["meta"] = None if said is None else {"meta": said}
            return facts
        row = await asyncio.to_thread(engine.store.run, run_id)
        if row is None:
            raise NotFound(f"there is no run r{run_id}")
        return facts_of_row(row)

    async def moved(run_id: RunId, what: str, event: Event) -> Response:
        """Ask the machine to move a live run, and tell what became of it."""
        if run_id not in engine.live:
            state = (await facts_of(run_id))["state"]
            raise Refused(f"can't {what} r{run_id}: it has finished ({state})")
        runs = await engine.ask(event)
        if not any(run.run_id == run_id for run in runs):
            return answer({"runs": [await facts_of(run_id)]})
        return told(runs)

    def told(runs: list[Run], status: int = 200) -> Response:
        now = utc_now()
        return answer({"runs": [run_facts(run, now) for run in runs]}, status)

    @router.get("/runs", response_model=answers.RunsPage, responses=UNLESS_KNOWN, openapi_extra=IF_NONE_MATCH)
    async def find(
        request: Request,
        job_id: str | None = None,
        state: Annotated[list[str] | None, Query()] = None,
        label: str | None = None,
        since: str | None = None,
        until: str | None = None,
        late: bool | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        cursor: str | None = None,
    ) -> Response:
        """Runs, those that are due last first; all facts but the program.

        `arg.NAME=VALUE` chooses by args. `since` and `until` are about the time when a run is due. What
        follows the last run is found with `cursor`, the answer's `next`.
        """
        begin, end = window(since, until, config)
        wanted = Wanted(
            job_id=job_id,
            states=states_of(state),
            label=label,
            args={n.removeprefix("arg."): v for n, v in request.query_params.items() if n.startswith("arg.")},
            since=begin,
            until=end,
            late=late,
            before=None if cursor is None else _position(cursor),
        )
        caller = caller_of(request)
        live, jobs = list(engine.live.values()), seen(caller, engine.jobs)
        if job_id is not None and job_id in engine.jobs:
            demand_sight(caller, job_id)

        def page() -> Response:
            if caller.paths and wanted.job_id not in jobs:
                chosen = replace(wanted, job_id=_one_of(job_id, jobs) if job_id else None)
                runs, following = find_own_runs(live, engine.store, chosen, limit, caller)
                return answer({"runs": runs, "next": following})
            runs, following = find_runs(live, engine.store, wanted, limit)
            # It may be a job of the past without such runs; but which of several of today is not guessed.
            is_none = not runs and cursor is None
            if is_none and job_id is not None and job_id not in jobs and matching(job_id, jobs):
                chosen = replace(wanted, job_id=job_of(job_id, engine, caller).job_id)
                runs, following = find_runs(live, engine.store, chosen, limit)
            return answer_unless_known(request, {"runs": runs, "next": following})

        async with quick.turn(caller.user), beside.turn(caller.user):
            return await asyncio.to_thread(page)

    @router.post("/runs", status_code=201, response_model=answers.Runs, responses=problems(404, 409))
    async def request_runs(request: Request, wanted: RunRequest) -> Response:
        """Make runs of a job, due now or later."""
        _, event = requested(wanted, caller_of(request))
        audit_about(request, event.job_id)
        return told(await engine.ask(event), 201)

    @router.post("/runs/plan", response_model=answers.RunPlan, responses=problems(404, 409))
    async def plan(request: Request, wanted: RunRequest) -> Response:
        """What a request for runs would run: the args with their defaults, and the program with them put in.

        Nothing is made. In what the program is told, the run is called `r0`.
        """
        job, event = requested(wanted, caller_of(request))
        return answer(_plan_facts(event, job, engine.jobs))

    def requested(wanted: RunRequest, caller: Caller) -> tuple[Job, RunRequested]:
        """The job of a request and what is asked of the machine.

        Raises:
            Problem: it is not clear which job, or the caller may not.
            JobErrors: the job that comes with it is wrong.
        """
        if (wanted.job_id is None) == (wanted.job is None):
            raise Problem(
                422, "give either job_id, a job of the folder, or job, one that comes with the request"
            )
        labels = tuple(dict.fromkeys([*wanted.labels, *([wanted.label] if wanted.label else [])]))
        event = RunRequested(
            job_id="",
            args=arg_texts(wanted.args),
            at=instant(wanted.at, "at", config),
            stop_at=instant(wanted.stop_at, "stop_at", config),
            labels=labels,
            count=wanted.count,
            origin=Origin.TEST if wanted.test else Origin.MANUAL,
            by=caller.user,
        )
        if wanted.job_id is not None:
            job = job_of(wanted.job_id, engine, caller)
            demand_args(caller, job, wanted.args)
            return job, replace(event, job_id=job.job_id)
        demand(caller, "write", "a job that comes with the request")
        if caller.paths:
            raise Problem(403, f"job: it is in no folder, and {caller.user} is held to {caller.held_to}")
        shared = engine.folder.settings
        made = job_from_dict(
            f"adhoc-{secrets.token_hex(4)}",
            wanted.job,
            calendars=shared.calendars,
            functions=shared.functions,
            site=Site(
                hosts=shared.hosts
            ),  # classes are for files: who asks may not choose code of the server
        )
        job = replace(made, ad_hoc=True)
        if job.schedules:
            raise Problem(422, "job: an ad-hoc job has no schedule; say at what time with `at`")
        origin = Origin.TEST if wanted.test else Origin.AD_HOC
        return job, replace(event, job_id=job.job_id, job=job, origin=origin)

    @router.get(
        "/runs/{run_id}",
        response_model=answers.Run,
        responses=problems(404) | UNLESS_KNOWN,
        openapi_extra=IF_NONE_MATCH,
    )
    async def one(request: Request, run_id: str) -> Response:
        """A run."""
        return answer_unless_known(request, await facts_of(run_id_of(run_id)))

    @router.get("/runs/{run_id}/log", response_model=answers.RunLog, responses=problems(404))
    async def story(run_id: str) -> Response:
        """What happened to a run, oldest first."""
        number = run_id_of(run_id)
        lines = await asyncio.to_thread(engine.store.log, number)
        if not lines:
            await facts_of(number)  # is there such a run?
        return answer({"log": [{**line, "ts": format_time(line["ts"])} for line in lines]})

    @router.post("/runs/{run_id}/start", response_model=answers.Runs, responses=problems(404, 409))
    async def start(request: Request, run_id: str) -> Response:
        """Start a run now, though it is not yet due, or a condition holds it."""
        number = run_id_of(run_id)
        return await moved(number, "start", StartRequested(run_id=number, by=caller_of(request).user))

    @router.post("/runs/{run_id}/skip", response_model=answers.Runs, responses=problems(404, 409))
    async def skip(request: Request, run_id: str, why: SkipRequest | None = None) -> Response:
        """Do not run a run that has not started."""
        number, reason = run_id_of(run_id), why.reason if why else None
        event = SkipRequested(run_id=number, reason=reason, by=caller_of(request).user)
        return await moved(number, "skip", event)

    @router.post("/runs/{run_id}/stop", response_model=answers.Runs, responses=problems(404, 409))
    async def stop(request: Request, run_id: str) -> Response:
        """Ask a run's program to end; after its grace period it is killed."""
        number = run_id_of(run_id)
        return await moved(number, "stop", StopRequested(run_id=number, by=caller_of(request).user))

    @router.post("/runs/{run_id}/signal/{signal}", response_model=answers.Runs, responses=problems(404, 409))
    async def signal(request: Request, run_id: str, signal: str) -> Response:
        """Send a run's program a signal: USR1, SIGUSR1 or 10."""
        number = run_id_of(run_id)
        event = SignalRequested(run_id=number, signal=signal, by=caller_of(request).user)
        return await moved(number, "signal", event)

    @router.post(
        "/runs/{run_id}/rerun", status_code=201, response_model=answers.Runs, responses=problems(404, 409)
    )
    async def rerun(request: Request, run_id: str, wanted: RerunRequest | None = None) -> Response:
        """Run it again now, as its job is today."""
        how = wanted or RerunRequest(args={}, test=False)
        number, caller = run_id_of(run_id), caller_of(request)
        return told(await ask_rerun(engine, caller, number, how.args, is_test=how.test), 201)

    @router.post("/runs/{run_id}/mark/{state}", response_model=answers.Runs, responses=problems(404, 409))
    async def mark(request: Request, run_id: str, state: str, how: MarkRequest | None = None) -> Response:
        """Say that a finished run ended otherwise: success, failure, error or skipped.

        Runs that wait for it hear of it. Its actions do not fire again, unless asked.
        """
        (to,) = states_of([state]) or (None,)
        if to is None:
            raise Problem(422, f"{state!r} is no state")
        number = run_id_of(run_id)
        original = engine.live.get(number) or await asyncio.to_thread(engine.store.finished, number)
        if original is None:
            raise NotFound(f"there is no run r{number}")
        if month := await asyncio.to_thread(engine.store.archived_in, number):
            raise Refused(
                f"r{number} is in the archive, where nothing changes:"
                f" `apsis-nb archive --restore {month}` puts its month back"
            )
        event = MarkRequested(
            original=original, state=to, actions=bool(how and how.actions), by=caller_of(request).user
        )
        await engine.ask(event)
        return answer({"runs": [await facts_of(original.run_id)]})

    @router.get("/runs/{run_id}/outputs", response_model=answers.Outputs, responses=problems(404))
    async def outputs(run_id: str) -> Response:
        """What a run wrote: name, length in bytes, content_type.

        `dropped` is null; where its outputs are not kept any more, when they were given up, and why.
        """
        number = run_id_of(run_id)
        found = await asyncio.to_thread(engine.outputs, number)
        dropped = None
        if not found:
            await facts_of(number)
            dropped = await asyncio.to_thread(engine.store.dropped, number)
        if dropped is not None:
            dropped["at"] = format_time(dropped["at"])
        return answer({"outputs": found, "dropped": dropped})

    @router.get("/runs/{run_id}/outputs/{name:path}", response_class=OutputBytes, responses=problems(404))
    async def output(
        run_id: str,
        name: str,
        offset: int = 0,
        limit: Annotated[int | None, Query(ge=0)] = None,
    ) -> Response:
        """What a run wrote, as bytes from `offset`, at most `limit`; without one to its present end.

        A negative `offset` counts from the end.

        Headers: `X-Apsis-Size`, bytes that there are now; `X-Apsis-Finished`, whether no more will come.
        """
        number = run_id_of(run_id)
        is_finished = number not in engine.live  # looked at first: what is read then is all there will be
        if is_finished:
            await facts_of(number)
        read = engine.read_output

        _, size = await asyncio.to_thread(read, number, name, 0, 0)
        start = max(0, size + offset) if offset < 0 else offset
        stop = size if limit is None else min(size, start + limit)

        async def body() -> AsyncIterator[bytes]:
            at = start
            while at < stop:
                piece, _ = await asyncio.to_thread(read, number, name, at, min(_PIECE, stop - at))
                if not piece:
                    return  # it has been cut since
                yield piece
                at += len(piece)

        headers = {
            "X-Apsis-Size": str(size),
            "X-Apsis-Finished": "true" if is_finished else "false",
            # Whatever a program wrote: no page of ours may be made of it.
            "Content-Security-Policy": "sandbox",
        }
        return OutputBytes(body(), headers=headers)

    return router


async def ask_rerun(
    engine: Engine,
    caller: Caller,
    run_id: RunId,
    args: Mapping[str, Scalar] = MappingProxyType({}),
    *,
    is_test: bool = False,
) -> list[Run]:
    """Run a run again now, as its job is today.

    Args:
        args: those that are to be different.

    Raises:
        NotFound: there is no such run.
        Problem: the caller may not.
    """
    original = engine.live.get(run_id) or await asyncio.to_thread(engine.store.original, run_id)
    if original is None:
        raise NotFound(f"there is no run r{run_id}")
    job = engine.jobs.get(original.inst.job_id)
    if job is None:
        demand(caller, "write", "to run again what is no job of the folder")
    else:
        demand_args(caller, job, args)
    event = RerunRequested(original=original, args=arg_texts(args), is_test=is_test, by=caller.user)
    return await engine.ask(event)


def _plan_facts(event: RunRequested, job: Job, jobs: Mapping[str, Job]) -> dict[str, Any]:
    """What a request would run, as JSON values.

    Raises:
        BindError: the args do not fit.
    """

    def params_of(job_id: str) -> tuple[str, ...] | None:
        return tuple(p.name for p in jobs[job_id].params) if job_id in jobs else None

    now = utc_now()
    run = bind_run(
        job,
        run_id=0,
        args=event.args,
        origin=event.origin,
        scheduled_at=event.at or now,
        now=now,
        params_of=params_of,
        stop_at=event.stop_at,
        labels=event.labels,
        by=event.by,
    )
    facts = run_facts(run, now)
    names = ("job_id", "args", "scheduled_at", "stop_at", "labels", "host", "program")
    return {
        **{name: facts[name] for name in names},
        "condition": [str(condition) for condition in run.conditions],
        "action": [str(action) for action in run.actions],
    }


def find_runs(
    live: Sequence[Run], store: Store, wanted: Wanted, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the listing. Blocks: call it in a thread.

    Args:
        live: all live runs. They are told as they are, whatever the store knows of them.
        store: asked for the others.
        wanted: which.
        limit: how many, at most.

    Returns:
        The facts of the runs, and the cursor of the next page, None after the last.
    """
    now = utc_now()
    rows = store.runs(
        job_id=wanted.job_id,
        state=[state.value for state in wanted.states],
        label=wanted.label,
        args=wanted.args,
        since=wanted.since,
        until=wanted.until,
        late=wanted.late,
        limit=limit + 1,
        before=wanted.before,
    )
    live_ids = {run.run_id for run in live}
    found: list[tuple[datetime, RunId, Run | dict[str, Any]]] = [
        *((row["scheduled_at"], row["run_id"], row) for row in rows if row["run_id"] not in live_ids),
        *((run.scheduled_at, run.run_id, run) for run in live if wanted.fits(run, now)),
    ]
    page = heapq.nlargest(limit + 1, found, key=itemgetter(0, 1))
    more, page = len(page) > limit, page[:limit]
    told = [run_facts(run, now) if isinstance(run, Run) else facts_of_row(run) for _, _, run in page]
    for facts in told:
        for name in RUN_DETAILS:
            del facts[name]
    return told, _cursor(page[-1][0], page[-1][1]) if more else None


def find_own_runs(
    live: Sequence[Run], store: Store, wanted: Wanted, limit: int, caller: Caller
) -> tuple[list[dict[str, Any]], str | None]:
    """As `find_runs`, but only runs that the caller may see; a page may have fewer although more follow."""
    own: list[dict[str, Any]] = []
    following = None
    for _ in range(_MOST_PAGES):
        runs, following = find_runs(live, store, wanted, limit)
        for run in runs:
            if not caller.may_see(run["job_id"]):
                continue
            own.append(run)
            if len(own) == limit:
                at = datetime.fromisoformat(run["scheduled_at"])
                return own, following and _cursor(at, run_id_of(run["run_id"]))
        if following is None:
            break
        wanted = replace(wanted, before=_position(following))
    return own, following


def _one_of(name: str, jobs: Mapping[str, Job]) -> str:
    """The only job that a name may mean, else the name itself."""
    ids = matching(name, jobs)
    return ids[0] if len(ids) == 1 else name


def states_of(texts: Sequence[str] | None) -> tuple[State, ...]:
    """The states of a request: one or several, also with commas between them.

    Raises:
        Problem: there is no such state.
    """
    names = [name.strip() for text in texts or () for name in text.split(",") if name.strip()]
    try:
        return tuple(State(name) for name in names)
    except ValueError as error:
        raise Problem(422, f"state: {error}; states are {', '.join(s.value for s in State)}") from None


def _cursor(at: datetime, run_id: RunId) -> str:
    return base64.urlsafe_b64encode(f"{format_time(at)} {run_id}".encode()).decode()


def _position(cursor: str) -> tuple[datetime, RunId]:
    """The place in the listing that a cursor stands for.

    Raises:
        Problem: it is none of ours.
    """
    try:
        at, run_id = base64.urlsafe_b64decode(cursor).decode().split(" ")
        return datetime.fromisoformat(at).astimezone(UTC), int(run_id)
    except ValueError:
        raise Problem(422, "cursor: give the `next` of the page before") from None
