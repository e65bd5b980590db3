"""Routes about the past: frames of named questions, and SQL."""

import asyncio
import math
import os
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from apsis_nb.config import Config, Sql
from apsis_nb.core.times import parse_duration
from apsis_nb.engine import Engine
from apsis_nb.server import answers
from apsis_nb.server.asking import caller_of, demand_sight, instant, seen, utc_now
from apsis_nb.server.callers import Caller
from apsis_nb.server.problems import Problem, problems
from apsis_nb.server.routing import Router
from apsis_nb.server.turns import Turns
from apsis_nb.store import HISTORY, PIECE_ROWS, QueryError, Store, StoreError
from apsis_nb.wire import (
    ARROW,
    ArrowStream,
    arrow_bytes,
    arrow_stream,
    to_json,
    to_json_columns,
    to_json_rows,
)

if TYPE_CHECKING:
    import pyarrow as pa

Answer = TypeVar("Answer")

#: How many frames are made at once: more than there are cores for would only hold up the scheduler; and fewer
#: than the store has cursors, so that looking up one run never waits.
FRAMES_AT_ONCE = min(4, max(2, os.cpu_count() or 1))

#: A table of so many bytes is sent at once: to send one in pieces takes the loop some ms.
WHOLE_B = 1 << 18

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


#: A table comes in another form, too.
_ARROW_TOO: dict[int | str, dict[str, Any]] = {
    200: {"content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}}
}


class Question(BaseModel):
    """A query and the values of its parameters."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(
        description="one SELECT over the documented views",
        examples=["SELECT job_id, count(*) AS runs FROM runs WHERE state = $1 GROUP BY ALL"],
    )
    params: list[Any] | dict[str, Any] | None = Field(
        None, description="the values of $1, $2, ... or of $NAME", examples=[["failure"]]
    )


def history_routes(engine: Engine, config: Config, beside: Turns) -> APIRouter:
    """The routes.

    Args:
        beside: the turns that all questions share.
    """
    router = Router(tags=["history"])
    queries = Turns(config.sql.heavy, lambda: engine.store.is_pressed)
    frames = Turns(FRAMES_AT_ONCE, lambda: engine.store.is_pressed)

    @router.get(
        "/history/{name}",
        response_model=answers.Table,
        responses=problems(404) | _ARROW_TOO,
        openapi_extra={"parameters": _history_parameters()},
    )
    async def frame(
        request: Request, name: Annotated[str, Path(json_schema_extra={"enum": [*HISTORY]})]
    ) -> Response:
        """The frame of a named question: an Arrow stream, if `Accept` names it, or JSON.

        `since` and `until` are about the time when runs were due; by default the last 90 days. `job_id` and
        `state` may be given several times; `arg.NAME=VALUE` chooses by args. `period` and `every` are
        durations such as `28d` or `5m`.
        """
        if name not in HISTORY:
            raise Problem(404, f"there is no history of {name!r}; there are {', '.join(HISTORY)}")
        params = _params(name, request, config)
        _hold(params, name, caller_of(request), engine)
        user = caller_of(request).user

        @asynccontextmanager
        async def turn() -> AsyncIterator[None]:
            async with frames.turn(user), beside.turn(user):
                yield

        def answered() -> "bytes | pa.RecordBatchReader":
            batches = engine.store.stream(name, **params)
            if not _wants_arrow(request):
                return _json(batches.read_all())
            if name == "runs":  # of which each batch is asked for when it is wanted
                return batches
            table = batches.read_all()
            return arrow_bytes(table) if table.nbytes <= WHOLE_B else table.to_reader(PIECE_ROWS)

        async with turn():
            try:
                found = await asyncio.to_thread(answered)
            except StoreError as error:
                raise Problem(422, str(error)) from None
        if isinstance(found, bytes):
            return Response(found, media_type=ARROW if _wants_arrow(request) else "application/json")
        return _Stream(_in_turns(found, turn))

    @router.post("/sql", response_model=answers.Table, responses=_ARROW_TOO)
    async def sql(request: Request, question: Question) -> Response:
        """The answer to one SELECT over the documented views: an Arrow stream, if `Accept` names it, or JSON.

        Few run at once; others wait for their turn. A query that takes too long, or whose asker leaves, is
        stopped.
        """

        async def in_turn() -> Response:
            user = caller_of(request).user
            async with queries.turn(user), beside.turn(user):
                found = await _asked(engine.store, question, config.sql, _wants_arrow(request))
            if isinstance(found, bytes):
                return Response(found, media_type=ARROW if _wants_arrow(request) else "application/json")
            return _Stream(_in_pieces(found))

        try:
            return await _unless_left(request, in_turn())
        except QueryError as error:
            raise Problem(422, str(error)) from None

    return router


async def _unless_left(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Do the work; it is cancelled when the client leaves."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_until_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait({working, leaving})


async def _until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _asked(store: Store, question: Question, bounds: Sql, wants_arrow: bool) -> "bytes | pa.Table":
    """The answer to a query, as JSON or Arrow, or the table if that is to be sent in pieces.

    When this is cancelled, the query is stopped and has ended.
    """
    stop = _Stop()

    def ask() -> "bytes | pa.Table":
        table = store.sql(
            question.query,
            question.params,
            timeout_s=bounds.max_time,
            max_rows=bounds.max_rows,
            started=stop.started,
        )
        if not wants_arrow:
            return _json(table)
        return arrow_bytes(table) if table.nbytes <= WHOLE_B else table

    answering = asyncio.ensure_future(asyncio.to_thread(ask))
    try:
        return await asyncio.shield(answering)
    except asyncio.CancelledError:
        stop.now()
        await asyncio.wait({answering})
        answering.exception()  # that it was stopped is no news
        raise


class _Stop:
    """Stops a query, be it before or after it has started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_wanted = False
        self._stop: Callable[[], None] | None = None

    def started(self, stop: Callable[[], None]) -> None:
        """The query has started, on this thread; `stop` stops it."""
        with self._lock:
            self._stop = stop
            if self._is_wanted:
                stop()

    def now(self) -> None:
        with self._lock:
            self._is_wanted = True
            if self._stop is not None:
                self._stop()


class _Stream(StreamingResponse):
    """An Arrow stream, of which nothing stays when the client leaves in the middle.

    By itself a generator that was left stays, with all that it has, until Python looks for cycles, which it
    does rarely in a server.
    """

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        super().__init__(pieces, media_type=ARROW)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()


async def _in_pieces(table: "pa.Table") -> AsyncGenerator[bytes, None]:
    """The Arrow stream of a table, each piece compressed when it is wanted."""
    pieces, piece = arrow_stream(table), None
    del table
    try:
        while (piece := await asyncio.shield(_beside(asyncio.to_thread(next, pieces, None)))) is not None:
            yield piece
    finally:
        del pieces, piece  # the frames of what was cancelled live on, too


async def _in_turns(
    batches: "pa.RecordBatchReader", turn: Callable[[], AbstractAsyncContextManager[None]]
) -> AsyncGenerator[bytes, None]:
    """The Arrow stream of a long answer.

    Each batch takes a turn of its own, so that nobody waits for all of them. While one is asked for, the one
    before is compressed. When the client leaves, nothing more is asked for.
    """
    stream, left, has_left = ArrowStream(batches.schema), iter(batches), False
    del batches
    batch = piece = None

    async def asked(left: "Iterator[pa.RecordBatch]") -> "pa.RecordBatch | None":
        async with turn():
            return None if has_left else await asyncio.to_thread(next, left, None)

    try:
        batch = await asyncio.shield(_beside(asyncio.to_thread(next, left, None)))
        while batch is not None:
            piece = _beside(asyncio.to_thread(stream.write, batch))
            batch = await asyncio.shield(_beside(asked(left)))
            yield await piece
        yield stream.end()
    finally:
        has_left = True
        del stream, left, batch, piece  # the frames of what was cancelled live on, too


def _beside(work: Coroutine[Any, Any, Answer]) -> "asyncio.Task[Answer]":
    """Have something done that goes on to its end, and is no news then, if who waits for it is cancelled.

    So what a thread works with is not given up before its time: a turn, for example.
    """
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _wants_arrow(request: Request) -> bool:
    return ARROW in request.headers.get("accept", "")


def _json(table: "pa.Table") -> bytes:
    return to_json({"columns": to_json_columns(table), "rows": to_json_rows(table)})


def _history_parameters() -> list[dict[str, Any]]:
    """The parameters of all questions, described; each question has some of them."""
    names: dict[str, list[str]] = {}
    for question, defaults in HISTORY.items():
        for name in defaults:
            names.setdefault(name, []).append(question)
    del names["args"]  # which come as arg.NAME
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": "of all questions" if len(of) == len(HISTORY) else f"of {', '.join(of)}",
            "schema": {"type": "string"},
        }
        for name, of in names.items()
    ]


def _params(name: str, request: Request, config: Config) -> dict[str, Any]:
    """The parameters of a question, each read as its default is.

    Raises:
        Problem: there is no such parameter, or a value is not of its kind.
    """
    defaults, query, now = HISTORY[name], request.query_params, utc_now()
    params: dict[str, Any] = config.cost.model_dump() if name == "cost" else {}
    args = {key.removeprefix("arg."): query[key] for key in query if key.startswith("arg.")}
    if args:
        params["args"] = args
    for key in query:
        if key.startswith("arg.") and "args" in defaults:
            continue
        if key not in defaults or key == "args":
            raise Problem(422, f"{name} has no parameter {key!r}; it has {', '.join(defaults)}")
        params[key] = _value(key, query.getlist(key), defaults[key], config, now)
    return params


def _hold(params: dict[str, Any], name: str, caller: Caller, engine: Engine) -> None:
    """Have a question be about jobs that the caller may see.

    Raises:
        Problem: it asks for others, or is about all jobs.
    """
    if not caller.paths:
        return
    if "job_id" not in HISTORY[name]:
        raise Problem(403, f"{caller.user} is held to {caller.held_to}, and {name} is about all jobs")
    for job_id in params.get("job_id", ()):
        demand_sight(caller, job_id)
    # With no job of its own there yet, the paths stand for them: an empty list would mean all.
    params.setdefault("job_id", [*seen(caller, engine.jobs)] or list(caller.paths))


def _value(name: str, texts: list[str], default: Any, config: Config, now: datetime) -> Any:
    text = texts[-1]
    if name in {"since", "until"}:
        return instant(text, name, config, now)
    if name in {"job_id", "state"}:
        return [part for text in texts for part in text.split(",") if part]
    if name == "late" or isinstance(default, bool):
        if text.lower() not in _FLAGS:
            raise Problem(422, f"{name}: say true or false, not {text!r}")
        return _FLAGS[text.lower()]
    if isinstance(default, timedelta):
        try:
            return timedelta(seconds=parse_duration(text))
        except (ValueError, OverflowError) as error:
            raise Problem(422, f"{name}: {error}") from None
    if isinstance(default, float):
        return _price(name, text)
    if name == "limit" or isinstance(default, int):
        if not re.fullmatch(r"[1-9][0-9]{0,11}", text):
            raise Problem(422, f"{name}: must be a whole number above 0, not {text!r}")
        return int(text)
    return text


def _price(name: str, text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise Problem(422, f"{name}: must be a price, a number from 0 on, not {text!r}")
    return price
