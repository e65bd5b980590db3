"""Routes about jobs: the folder, and when they run."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from apsis_nb.config import Config
from apsis_nb.core.jobs import Job
from apsis_nb.core.times import format_time
from apsis_nb.engine import Engine
from apsis_nb.engine.engine import error_facts
from apsis_nb.jobfiles import Folder, check_folder, load_folder, load_text
from apsis_nb.server.asking import answer, instant, job_of, matching, utc_now
from apsis_nb.server.problems import Problem
from apsis_nb.wire import job_facts

#: How far ahead the next times of a job are looked for.
NEXT_WITHIN = timedelta(days=5 * 366)


class JobFileText(BaseModel):
    """A job file that is not (yet) in the folder."""

    model_config = ConfigDict(extra="forbid")

    job_id: str = "new"
    yaml: str


def job_routes(engine: Engine, config: Config) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["jobs"])

    @router.get("/jobs")
    async def jobs(q: str | None = None, label: str | None = None, path: str | None = None) -> Response:
        """The jobs, by id, and what is wrong with files of others.

        `q`: beginnings of words of the id, or a part of the description. `path`: only below this folder.
        """
        known, folder = engine.jobs, engine.folder

        def listing() -> Response:
            errors = [error_facts(e) for e in folder.errors]
            return answer({"jobs": _chosen(known, q, label, path), "errors": errors})

        return await asyncio.to_thread(listing)

    @router.post("/jobs/reload")
    async def reload(dry_run: bool = False, force: bool = False) -> Response:
        """Read the job files again.

        A job whose file is broken now is kept as it was, and nothing is applied, unless `force`.
        """
        return answer(await engine.reload(dry_run=dry_run, force=force))

    @router.post("/jobs/check")
    async def check(file: JobFileText | None = None) -> Response:
        """What is wrong with a job file; without one, with those of the folder as they are on disk now."""
        if file is None:
            return answer(await asyncio.to_thread(_folder_checked, config.jobs))
        return answer(await asyncio.to_thread(_file_checked, file, engine.folder))

    @router.get("/jobs/{job_id:path}")
    async def job(job_id: str) -> Response:
        """A job by its id, or by words that no other job's id has."""
        return answer(job_facts(job_of(job_id, engine.jobs, engine.folder.errors)))

    @router.get("/next/{job_id:path}")
    async def next_times(job_id: str, n: Annotated[int, Query(ge=1, le=1000)] = 10) -> Response:
        """The next `n` times at which a job's schedules will run it."""
        found = job_of(job_id, engine.jobs, engine.folder.errors)
        now = utc_now()
        expected = await asyncio.to_thread(
            engine.expected, now, now + NEXT_WITHIN, job_id=found.job_id, limit=n
        )
        return answer({"next": [_expected_facts(e) for e in expected]})

    @router.get("/expected")
    async def expected(
        since: str = "now",
        until: str = "+1d",
        job_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
    ) -> Response:
        """What the schedules will make, by time; `since` included, `until` not."""
        start, stop = instant(since, "since", config), instant(until, "until", config)
        if start is None or stop is None or start > stop:
            raise Problem(422, "since must be before until")
        chosen = None if job_id is None else job_of(job_id, engine.jobs, engine.folder.errors).job_id
        found = await asyncio.to_thread(engine.expected, start, stop, job_id=chosen, limit=limit)
        return answer({"expected": [_expected_facts(e) for e in found]})

    return router


def _chosen(
    jobs: Mapping[str, Job], query: str | None, label: str | None, path: str | None
) -> list[dict[str, Any]]:
    """The facts of the jobs that fit, by id."""
    ids = set(matching(query, jobs)) if query else set(jobs)
    if query:
        ids |= {i for i, job in jobs.items() if query.lower() in (job.description or "").lower()}
    folder = f"{path.strip('/')}/" if path and path.strip("/") else ""
    chosen = [i for i in sorted(ids) if i.startswith(folder) and (label is None or label in jobs[i].labels)]
    return [job_facts(jobs[i]) for i in chosen]


def _folder_checked(jobs: Path) -> dict[str, Any]:
    errors = check_folder(load_folder(jobs), utc_now())
    return {"ok": not errors, "errors": [error_facts(e) for e in errors]}


def _file_checked(wanted: JobFileText, folder: Folder) -> dict[str, Any]:
    """What is wrong with the file, were it in the folder; and the job, as far as it can be read."""
    file = load_text(wanted.yaml, wanted.job_id, file=f"{wanted.job_id}.yaml")
    errors = check_folder(Folder({**folder.files, file.job_id: file}), utc_now(), [file.job_id])
    return {
        "ok": not errors,
        "errors": [error_facts(e) for e in errors],
        "job": None if file.job is None else job_facts(file.job),
    }


def _expected_facts(expected: dict[str, Any]) -> dict[str, Any]:
    times = {name: format_time(expected[name]) for name in ("nominal_at", "scheduled_at")}
    return {**expected, **times}
