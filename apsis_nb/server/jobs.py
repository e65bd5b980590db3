"""Routes about jobs: the folder, and when they run."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from apsis_nb.config import Config
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.jobs import Job
from apsis_nb.core.preview import next_runs
from apsis_nb.core.times import format_time, parse_duration
from apsis_nb.engine import Engine
from apsis_nb.engine.job_folder import EditRefused, JobFolder, error_facts
from apsis_nb.jobfiles import FileError
from apsis_nb.jobfiles.job_templates import job_templates
from apsis_nb.server import answers
from apsis_nb.server.asking import (
    IF_NONE_MATCH,
    UNLESS_KNOWN,
    answer,
    body_unless_known,
    caller_of,
    demand,
    demand_sight,
    job_of,
    matching,
    seen,
    utc_now,
    window,
)
from apsis_nb.server.callers import Caller
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.server.turns import Turns
from apsis_nb.wire import job_facts, to_json

#: How far ahead the next times of a job are looked for.
NEXT_WITHIN = timedelta(days=5 * 366)
#: So many are told of a text that is checked.
NEXT = 10
MOST_EXPECTED = 100_000  #: rows of what the schedules will make
MOST_PIECES = 1000  #: of time, in which they are counted
#: Answers with such counts that are kept, and how long each may be: of ten thousand jobs one may have 100 MB.
MOST_KEPT, MOST_KEPT_B = 8, 1 << 22


#: The body of a request that is not JSON: the text of a job file.
_TEXT = {
    "requestBody": {
        "required": True,
        "content": {"text/yaml": {"schema": {"type": "string"}, "example": "program: echo hello\n"}},
    }
}


class Yaml(Response):
    """The text of a job file."""

    media_type = "text/yaml"


class UntilJobsChange:
    """Answers that follow from the jobs alone.

    To count the runs of a week by the hour, of a hundred jobs that run each second, takes Python half a
    second; what starts runs would wait for it each time that a page looks.

    Args:
        jobs: the jobs now: another mapping once any of them has changed.
    """

    def __init__(self, jobs: Callable[[], Mapping[str, Job]]) -> None:
        self._jobs = jobs
        self._of: Mapping[str, Job] | None = None
        self._bodies: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, question: Hashable, make: Callable[[], bytes]) -> bytes:
        """What `make` gives, or gave when the same was asked. Blocks: of two who ask, the second waits."""
        with self._lock:
            jobs = self._jobs()  # before `make`, which may see later ones: then the next asks anew
            if jobs is not self._of:
                self._of = jobs
                self._bodies.clear()
            body = self._bodies.pop(question, None) or make()
            if len(body) <= MOST_KEPT_B:
                self._bodies[question] = body  # the last: those that were asked for longest ago go first
                while len(self._bodies) > MOST_KEPT:
                    self._bodies.popitem(last=False)
            return body


class JobFileText(BaseModel):
    """A job file that is not (yet) in the folder."""

    model_config = ConfigDict(extra="forbid")

    job_id: str = Field("new", examples=["sales/report"])
    yaml: str = Field(description="the text", examples=["program: echo hello\n"])


def job_routes(engine: Engine, config: Config, beside: Turns) -> APIRouter:
    """The routes.

    Args:
        beside: the turns that all questions share.
    """
    router = Router(tags=["jobs"])
    texts: dict[str, tuple[Job, bytes]] = {}  # what is told of each job; it is asked for again and again
    counted = UntilJobsChange(lambda: engine.jobs)

    def text_of(job: Job) -> bytes:
        known = texts.get(job.job_id)
        if known is None or known[0] is not job:
            known = texts[job.job_id] = job, to_json(job_facts(job))
        return known[1]

    @router.get("/jobs", response_model=answers.Jobs, responses=UNLESS_KNOWN, openapi_extra=IF_NONE_MATCH)
    async def jobs(
        request: Request, q: str | None = None, label: str | None = None, path: str | None = None
    ) -> Response:
        """The jobs, by id, and what is wrong with files of others.

        `q`: beginnings of words of the id, or a part of the description. `path`: only below this folder.
        """
        caller, folder = caller_of(request), engine.folder
        known = seen(caller, engine.jobs)

        def listing() -> Response:
            errors = [error_facts(e) for e in _own(folder.errors, caller)]
            for job_id in texts.keys() - engine.jobs.keys():
                texts.pop(job_id, None)
            told = b",".join(map(text_of, _chosen(known, q, label, path)))
            return body_unless_known(request, b'{"jobs":[%b],"errors":%b}' % (told, to_json(errors)))

        return await asyncio.to_thread(listing)

    @router.get("/job-ids", response_model=answers.JobIds)
    async def job_ids(request: Request) -> Response:
        """The ids of the jobs, in order, and nothing else: for whoever completes what is typed."""
        return answer({"job_ids": sorted(seen(caller_of(request), engine.jobs))})

    @router.post("/jobs/reload", response_model=answers.Reloaded)
    async def reload(request: Request, dry_run: bool = False, force: bool = False) -> Response:
        """Read the job files again.

        A job whose file is broken now is kept as it was, and nothing is applied, unless `force`. A dry run
        tells in `previews` what would become of the runs of the next 7 days, and what ran today.
        """
        told = await engine.reload(dry_run=dry_run, force=force, by=caller_of(request).user)
        return answer(told | {"previews": {j: _preview_facts(p) for j, p in told["previews"].items()}})

    @router.post("/jobs/check", response_model=answers.FilesChecked, responses=problems(409))
    async def check(request: Request, file: JobFileText | None = None) -> Response:
        """What is wrong with a job file; without one, with those of the folder as they are on disk now."""
        caller = caller_of(request)
        if file is None:
            return answer(await asyncio.to_thread(_folder_checked, engine.job_folder, caller))
        demand(caller, "write", "to check a text")  # the classes that it names are imported
        demand_sight(caller, file.job_id)
        return answer(await asyncio.to_thread(_file_checked, file, engine.job_folder))

    @router.post("/jobs/preview", response_model=answers.Preview, responses=problems(409))
    async def preview(request: Request, file: JobFileText) -> Response:
        """What a text of a job file would do to the job's runs of the next 7 days, and what ran today."""
        demand_sight(caller_of(request), file.job_id)
        new = await asyncio.to_thread(engine.job_folder.job_of, file.job_id, file.yaml)
        if new is None:
            raise Problem(422, f"the text of {file.job_id} is broken: POST /jobs/check tells where")
        found = await asyncio.to_thread(engine.preview, engine.jobs.get(file.job_id), new)
        return answer(_preview_facts(found))

    @router.get("/templates", response_model=answers.JobTemplates, responses=problems(422))
    async def templates(job_id: str = "team/report", tz: str | None = None) -> Response:
        """The templates of job files that make a single file: ours, and those of the job folder.

        They are filled in for a job of this id, in the zone `tz`, by default that of the server. What one of
        the job folder leaves open stays as it is there.
        """
        try:
            found = await asyncio.to_thread(_drafts, config.jobs, job_id, tz or config.tz)
        except ApsisError as error:
            raise Problem(422, str(error)) from None
        return answer({"templates": found})

    @router.get("/yaml/{job_id:path}", response_class=Yaml, responses=problems(404, 409))
    async def yaml(request: Request, job_id: str) -> Response:
        """The text of a job's file, as it is on disk; its tag is in the header ETag."""
        demand_sight(caller_of(request), job_id)
        text, tag = await asyncio.to_thread(engine.job_folder.read, job_id)
        return Yaml(text, headers={"ETag": f'"{tag}"'})

    @router.put(
        "/yaml/{job_id:path}",
        response_model=answers.Written,
        responses=problems(404, 409, 412, 428),
        openapi_extra=_TEXT,
    )
    async def write_yaml(request: Request, job_id: str) -> Response:
        """Write a job's file: the body is the whole text, If-Match the ETag of the text that it replaces.

        If-None-Match `*` writes a new file. Nothing is written that `POST /jobs/check` calls an error.
        """
        demand_sight(caller_of(request), job_id)
        match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
        if match is None and none_match != "*":
            raise Problem(428, "say If-Match with the ETag of the text that you read, or If-None-Match: *")
        try:
            text = (await request.body()).decode()
        except UnicodeDecodeError:
            raise Problem(422, "the text is not UTF-8") from None
        tag = None if match is None else _tag_of(match)
        try:
            new = await engine.job_folder.write(job_id, text, tag=tag, by=caller_of(request).user)
        except EditRefused as error:
            raise _edit_problem(error) from None
        response = answer({"job_id": job_id})
        response.headers["ETag"] = f'"{new}"'
        return response

    @router.patch(
        "/yaml/{job_id:path}", response_model=answers.Edited, responses=problems(404, 409, 412, 428)
    )
    async def edit_yaml(request: Request, job_id: str, changes: dict[str, Any]) -> Response:
        """Change single keys of a job's file and keep all other lines, with their comments, as they are.

        The body has the new values by key, such as `{"schedule.daytime": "10:00:00"}`; null takes a key away.
        If-Match and the check are as for `PUT`. Answers the new text as `yaml`.
        """
        demand_sight(caller_of(request), job_id)
        match = request.headers.get("if-match")
        if match is None:
            raise Problem(428, "say If-Match with the ETag of the text that you read")
        if not changes:
            raise Problem(422, 'name at least one key: {"schedule.daytime": "10:00:00"}')
        try:
            text, new = await engine.job_folder.edit(
                job_id, changes, tag=_tag_of(match), by=caller_of(request).user
            )
        except EditRefused as error:
            raise _edit_problem(error) from None
        response = answer({"job_id": job_id, "yaml": text})
        response.headers["ETag"] = f'"{new}"'
        return response

    @router.get("/versions/{job_id:path}", response_model=answers.FileVersions, responses=problems(404))
    async def versions(request: Request, job_id: str) -> Response:
        """The texts that a job's file has had, oldest first; `yaml` is null where it was removed."""
        demand_sight(caller_of(request), job_id)
        found = await asyncio.to_thread(engine.store.job_versions, job_id)
        if not found:
            raise Problem(404, f"there is no version of a job {job_id!r}")
        return answer({"versions": [{**v, "ts": format_time(v["ts"])} for v in found]})

    @router.get("/jobs/{job_id:path}", response_model=answers.Job, responses=problems(404, 409))
    async def job(request: Request, job_id: str) -> Response:
        """A job by its id, or by words that no other job's id has."""
        return answer(job_facts(job_of(job_id, engine, caller_of(request))))

    @router.get("/next/{job_id:path}", response_model=answers.NextTimes, responses=problems(404, 409))
    async def next_times(
        request: Request, job_id: str, n: Annotated[int, Query(ge=1, le=1000)] = 10
    ) -> Response:
        """The next `n` times at which a job's schedules will run it."""
        found = job_of(job_id, engine, caller_of(request))
        now = utc_now()
        expected = await asyncio.to_thread(
            engine.expected, now, now + NEXT_WITHIN, job_id=found.job_id, limit=n
        )
        return answer({"next": [_expected_facts(e) for e in expected]})

    @router.get("/expected", response_model=answers.ExpectedRuns, responses=problems(404, 409))
    async def expected(
        request: Request,
        since: str = "now",
        until: str = "+1d",
        job_id: Annotated[list[str] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_EXPECTED)] = 1000,
        each: Annotated[int | None, Query(ge=1, le=1000)] = None,
    ) -> Response:
        """What the schedules will make, by time; `since` included, `until` not.

        `job_id` may be given several times. `each`: of each job at most so many.
        """
        start, stop = window(since, until, config)
        if start is None or stop is None or start > stop:
            raise Problem(422, "since must be before until")
        caller = caller_of(request)
        chosen = [job_of(name, engine, caller).job_id for name in job_id or ()]
        many = MOST_EXPECTED if caller.paths else limit  # of which its own are fewer

        def look() -> Response:
            parts = [
                engine.expected(start, stop, job_id=one, limit=many, each=each)
                for one in (dict.fromkeys(chosen) or [None])
            ]
            found = [e for part in parts for e in part if caller.may_see(e["job_id"])]
            own = sorted(found, key=itemgetter("scheduled_at", "job_id"))[:limit]
            return answer({"expected": [_expected_facts(e) for e in own]})

        async with beside.turn(caller.user):
            return await asyncio.to_thread(look)  # all of it: many thousands become an answer in 0.1 s

    @router.get("/expected/counts", response_model=answers.ExpectedCounts, responses=problems(404, 409))
    async def expected_counts(
        request: Request,
        since: str = "now",
        until: str = "+7d",
        every: str = "1h",
        job_id: str | None = None,
    ) -> Response:
        """How many runs the schedules will make, by job and piece of time; the first begins at `since`.

        `every` is the length of a piece, a duration such as `15m` or `1d`.
        """
        start, stop = window(since, until, config)
        if start is None or stop is None or start > stop:
            raise Problem(422, "since must be before until")
        try:
            piece = timedelta(seconds=parse_duration(every))
        except (ValueError, OverflowError) as error:
            raise Problem(422, f"every: {error}") from None
        if piece < timedelta(minutes=1) or (stop - start) / piece > MOST_PIECES:
            raise Problem(
                422, f"every: must be a minute or more, and the window at most {MOST_PIECES:,} pieces long"
            )
        caller = caller_of(request)
        chosen = None if job_id is None else job_of(job_id, engine, caller).job_id

        def count() -> bytes:
            found = engine.expected_counts(start, stop, every=piece, job_id=chosen)
            return to_json({"counts": [_with_times(e) for e in found if caller.may_see(e["job_id"])]})

        question = (start, stop, piece, chosen, caller.paths)
        async with beside.turn(caller.user):
            body = await asyncio.to_thread(counted.ask, question, count)
        return Response(body, media_type="application/json")

    return router


def _chosen(jobs: Mapping[str, Job], query: str | None, label: str | None, path: str | None) -> list[Job]:
    """The jobs that fit, by id."""
    ids = set(matching(query, jobs)) if query else set(jobs)
    if query:
        ids |= {i for i, job in jobs.items() if query.lower() in (job.description or "").lower()}
    folder = f"{path.strip('/')}/" if path and path.strip("/") else ""
    chosen = [i for i in sorted(ids) if i.startswith(folder) and (label is None or label in jobs[i].labels)]
    return [jobs[i] for i in chosen]


def _own(errors: Iterable[FileError], caller: Caller) -> list[FileError]:
    """Those about jobs that the caller may see."""
    return [e for e in errors if caller.may_see(e.job_id)]


def _folder_checked(jobs: JobFolder, caller: Caller) -> dict[str, Any]:
    errors = _own(jobs.check_all(), caller)
    return {"ok": _is_good(errors), "errors": [error_facts(e) for e in errors]}


def _file_checked(wanted: JobFileText, jobs: JobFolder) -> dict[str, Any]:
    """What is wrong with the file, were it in the folder; and the job, as far as it can be read."""
    errors, job = jobs.check(wanted.job_id, wanted.yaml), jobs.job_of(wanted.job_id, wanted.yaml)
    now = utc_now()
    coming = [] if job is None else next_runs(job, now, now + NEXT_WITHIN, NEXT)
    return {
        "ok": _is_good(errors),
        "errors": [error_facts(e) for e in errors],
        "job": None if job is None else job_facts(job),
        "next": [{"at": format_time(run.at), "args": dict(run.args)} for run in coming],
    }


def _drafts(folder: Path, job_id: str, zone: str) -> list[dict[str, Any]]:
    """The templates that make a single file, filled in for a job."""
    return [
        {
            "name": template.name,
            "description": template.description,
            "is_own": template.folder is not None,
            "yaml": template.filled(job_id, zone, {}, is_draft=True)[0][".yaml"],
        }
        for template in job_templates(folder).values()
        if set(template.files) == {".yaml"}
    ]


def _is_good(errors: list[FileError]) -> bool:
    return all(error.level == "warning" for error in errors)


def _tag_of(header: str) -> str:
    """The tag of a text, as an If-Match header has it."""
    return header.strip().removeprefix("W/").strip('"')


def _edit_problem(error: EditRefused) -> Problem:
    faults = [error_facts(fault) for fault in error.errors]
    return Problem(412 if error.is_stale else 422, str(error), errors=faults)


def _preview_facts(found: Mapping[str, Any]) -> dict[str, Any]:
    """A preview as JSON values."""
    rows = {name: [_with_times(row) for row in found[name]] for name in ("added", "removed", "ran")}
    return {**found, **rows, "until": format_time(found["until"])}


def _with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {n: format_time(v) if isinstance(v, datetime) else v for n, v in row.items()}


def _expected_facts(expected: dict[str, Any]) -> dict[str, Any]:
    nominal, scheduled = expected["nominal_at"], expected["scheduled_at"]
    nominal_at = format_time(nominal)
    scheduled_at = nominal_at if scheduled is nominal else format_time(scheduled)  # there are very many
    return {**expected, "nominal_at": nominal_at, "scheduled_at": scheduled_at}
