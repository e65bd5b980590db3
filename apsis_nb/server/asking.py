"""What the routes have in common: how a request's parts are read, and how it is answered."""

import asyncio
import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from apsis_nb.config import Config
from apsis_nb.core.errors import NotFound
from apsis_nb.core.jobs import Job
from apsis_nb.core.pasting import pasted
from apsis_nb.core.runs import RunId
from apsis_nb.core.times import parse_when, zone
from apsis_nb.engine import Engine
from apsis_nb.server.callers import Caller, Role
from apsis_nb.server.problems import Problem
from apsis_nb.wire import to_json

ARGS_BYTES = 32_768  #: most that the args of a run may take, as text
#: It stands in every list of the run.
Label = Annotated[str, Field(max_length=256)]
#: Said by a person, for people.
Reason = Annotated[str, Field(max_length=2000)]

_WORDS = re.compile(r"[^0-9A-Za-z]+")


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer; `value` holds JSON values only."""
    return Response(to_json(value), status, media_type="application/json")


#: The description of a route that answers with `answer_unless_known`.
UNLESS_KNOWN: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing has changed since the answer whose ETag `If-None-Match` names."}
}
IF_NONE_MATCH = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "the ETag of an answer to the same question: nothing is sent if it is still right",
            "schema": {"type": "string"},
        }
    ]
}


def answer_unless_known(request: Request, value: Any) -> Response:
    """A JSON answer with the tag of what it says; if the request has the tag, only that it is still right."""
    return body_unless_known(request, to_json(value))


def body_unless_known(request: Request, body: bytes) -> Response:
    """As `answer_unless_known`, for what is JSON already."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    known = request.headers.get("if-none-match", "")
    if tag in {text.strip().removeprefix("W/") for text in known.split(",")}:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


def utc_now() -> datetime:
    """The time of a request."""
    return datetime.now(UTC)


async def only_text(request: Request) -> None:
    """Refuse what JSON can say but is no text that can be kept: half of a character, and NUL.

    Raises:
        Problem: the body holds such.
    """
    body = await request.body()
    if b"\\u" not in body:  # only by an escape can they be said
        return
    try:
        texts = list(_texts(json.loads(body)))
    except ValueError:
        return  # no JSON: whoever reads it says so
    if any("\0" in text for text in texts):
        raise Problem(422, "the request holds a NUL character, which no program can be given")
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        raise Problem(422, "the request holds half of a character: \\ud800 to \\udfff come in pairs")


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value, however deep."""
    parts = [value]
    while parts:
        match parts.pop():
            case str() as text:
                yield text
            case dict() as mapping:
                parts += [*mapping, *mapping.values()]
            case list() as sequence:
                parts += sequence


def caller_of(request: Request) -> Caller:
    """Who asks; the guard has put it there."""
    caller: Caller = request.state.caller
    return caller


def audit_about(request: Request, *words: str) -> None:
    """Have the audit log say what the request is about, where its address does not."""
    request.state.about = " ".join(words)


def instant(text: str | None, name: str, config: Config, now: datetime | None = None) -> datetime | None:
    """A time of a request; without a zone it is in the server's.

    Args:
        text: as `core.times.parse_when` reads it; None or empty: none is given.
        name: what the request calls it.
        now: from which `+1h` counts, aware; None: from this moment.

    Raises:
        Problem: it is no time.
    """
    if not text:
        return None
    try:
        return parse_when(text, now or utc_now(), zone(config.tz))
    except ValueError as error:
        raise Problem(422, f"{name}: {error}") from None


def window(since: str | None, until: str | None, config: Config) -> tuple[datetime | None, datetime | None]:
    """The times `since` and `until` of a request, from one and the same moment: from +1h to +2h is an hour.

    Raises:
        Problem: one of them is no time.
    """
    now = utc_now()
    return instant(since, "since", config, now), instant(until, "until", config, now)


def run_id_of(text: str) -> RunId:
    """The number of a run's name, `r123`; the number alone will do.

    Raises:
        Problem: it is no such name.
    """
    match = re.fullmatch(r"r?(\d{1,18})", text)
    if match is None:
        raise Problem(422, f"{text!r} is no run id: write r123")
    return int(match[1])


def arg_texts(args: Mapping[str, str | bool | int | float]) -> dict[str, str]:
    """The args as texts.

    Raises:
        Problem: they are too long for a program's environment.
    """
    texts = {n: str(v).lower() if isinstance(v, bool) else str(v) for n, v in args.items()}
    size = sum(len(name.encode()) + len(text.encode()) for name, text in texts.items())
    if size > ARGS_BYTES:
        raise Problem(422, f"args: {size} bytes are too many; a run takes {ARGS_BYTES}: name a file instead")
    return texts


def demand(caller: Caller, role: Role, what: str) -> None:
    """Refuse what takes a role that the caller has not.

    Args:
        what: it is, in the words of a sentence.

    Raises:
        Problem: the caller has it not.
    """
    if not caller.has(role):
        raise Problem(403, caller.lacks(role, what), role=role)


def demand_sight(caller: Caller, job_id: str) -> None:
    """Refuse a job that is none of the caller's paths.

    Raises:
        Problem: it is none.
    """
    if not caller.may_see(job_id):
        raise Problem(403, f"{caller.user} is held to {caller.held_to}: {job_id} is not there")


async def demand_run(engine: Engine, caller: Caller, run_id: RunId) -> None:
    """Refuse a run of a job that is none of the caller's paths.

    Raises:
        Problem: it is none.
        NotFound: there is no such run.
    """
    if not caller.paths:
        return
    run = engine.live.get(run_id) or await asyncio.to_thread(engine.store.original, run_id)
    if run is None:
        raise NotFound(f"there is no run r{run_id}")
    if not caller.may_see(run.job_id):
        raise Problem(403, f"{caller.user} is held to {caller.held_to}: r{run_id} is of another job")


def demand_args(caller: Caller, job: Job, args: Iterable[str]) -> None:
    """Refuse args that become a part of the job's code to those who may only run what there is.

    Args:
        args: the names of those that the caller chose.

    Raises:
        Problem: one does.
    """
    found = None if caller.has("write") else pasted(job, args)
    if found is not None:
        raise Problem(
            403,
            f"{found.param} of {job.job_id} becomes a part of {found.place}, so to choose it takes the role "
            f"write, and {caller.user} has {caller.role}; in the job file, {found.remedy}",
            role="write",
        )


def seen(caller: Caller, jobs: Mapping[str, Job]) -> Mapping[str, Job]:
    """Those of some jobs that the caller may see."""
    return {i: job for i, job in jobs.items() if caller.may_see(i)} if caller.paths else jobs


def job_of(name: str, engine: Engine, caller: Caller) -> Job:
    """The job of a name: the id, or words that only one job's id has, of those that the caller may see.

    Args:
        name: an id, or the beginnings of words of one, in their order: `sal rep` and `sales/re` are
            `sales/report`.

    Raises:
        Problem: no job fits, or more than one does; with the `choices`.
    """
    jobs = seen(caller, engine.jobs)
    if name in jobs:
        return jobs[name]
    if name in engine.jobs:
        demand_sight(caller, name)
    faults = [str(e) for e in engine.folder.errors if e.job_id == name and caller.may_see(name)]
    if faults:
        raise Problem(404, f"job {name} cannot be used: {'; '.join(faults)}")
    matches = matching(name, jobs)
    if len(matches) == 1:
        return jobs[matches[0]]
    if matches:
        some = ", ".join(matches[:5]) + (f" and {len(matches) - 5} more" if len(matches) > 5 else "")
        raise Problem(409, f"{name!r} may be {some}", choices=matches)
    near = difflib.get_close_matches(name, jobs, n=3)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    raise Problem(404, f"there is no job {name!r}{hint}", choices=near)


def matching(query: str, job_ids: Mapping[str, Job]) -> list[str]:
    """The ids, sorted, that have words which begin with the words of the query, in its order."""
    wanted = _words(query)
    return sorted(job_id for job_id in job_ids if wanted and _has(_words(job_id), wanted))


def _words(text: str) -> list[str]:
    return [word for word in _WORDS.split(text.lower()) if word]


def _has(words: list[str], wanted: list[str]) -> bool:
    rest = iter(words)
    return all(any(word.startswith(start) for word in rest) for start in wanted)
