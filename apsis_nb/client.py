"""Talks to a server over HTTP and gives frames and values: what notebooks, pages and the command line use.

A `Client` is synchronous and may be used by several threads. It keeps nothing but its connection.
"""

import asyncio
import codecs
import html
import json
import os
import re
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from apsis_nb import frames, wire
from apsis_nb.config import DEFAULT_BIND, find_servers, system_zone
from apsis_nb.core.errors import ApsisError, NotFound, Refused
from apsis_nb.core.states import FINISHED
from apsis_nb.core.times import format_duration, format_time, parse_duration, parse_when, zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import httpx2
    import pandas as pd
    import pyarrow as pa

#: An instant. `core.times.parse_when` reads text (`now`, `+10m`, `2026-01-31`, ISO 8601), if need be in the
#: zone of the server. Where a past is asked for (`since`), `7d` or a timedelta goes back from now.
When = str | datetime | date | timedelta

_FINISHED = {state.value for state in FINISHED}
#: Seconds between two looks at a run that somebody waits for: quick at first, then at ease.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 0.5
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_OUTPUT_PIECE = 1 << 20  # bytes of output asked for at once
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")


class ClientError(ApsisError):
    """What goes wrong between the client and a server; in a notebook it shows as one line."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: whoever asks a server has no use for the frames of an HTTP library."""
        return [f"{type(self).__name__}: {self}"]


class ServerDown(ClientError):
    """No server answers."""


class NotAuthorized(ClientError):
    """The server does not know the token, or the token does not allow the request."""


class BadRequest(ClientError):
    """The server cannot understand the request: a wrong arg, time, query ..."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NoSuch(NotFound, ClientError, KeyError):
    """There is no such run, job or output."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would put it in quotes


class RequestRefused(Refused, ClientError):
    """The request is understood, but the state of things does not allow it."""


class RunFailed(ClientError):
    """A run that was to succeed did not.

    Args:
        facts: of the run.
        output: the last lines that it wrote.
    """

    def __init__(self, facts: Mapping[str, Any], output: str) -> None:
        why = facts["message"] or facts["skip_reason"]
        text = f"run {facts['run_id']} of {facts['job_id']} ended in {facts['state']}"
        text += f": {why}" if why else ""
        super().__init__(f"{text}\n{output.rstrip()}" if output.strip() else text)
        self.facts, self.output = facts, output


class WaitTimeout(ClientError, TimeoutError):
    """A run did not finish in the time that somebody was ready to wait."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """What a server told in its stream of events."""

    type: str  #: run, log, output, job, late, server; hello, resync; `disconnected` is the client's own
    facts: Mapping[str, Any]
    id: str = ""


class Client:
    """A connection to a server.

    Args:
        url: of the server. By default `APSIS_NB_URL`, else the one server of this user on this machine.
        token: by default `APSIS_NB_TOKEN`, else the one that the user's running server left for its owner.
        http: an `httpx2.Client` to use instead of one of its own (a test client of the app, for example).

    Raises:
        ServerDown: no address is given, and there is not exactly one server to be found.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, http: "httpx2.Client | None" = None
    ) -> None:
        url = url or os.environ.get("APSIS_NB_URL") or (str(http.base_url) if http else None)
        token = token or os.environ.get("APSIS_NB_TOKEN")
        if url is None or token is None:
            url, token = find_server(url, token)
        self.url = url.rstrip("/")
        self._token = token
        self._http = http or _connection(self.url)

    def __repr__(self) -> str:
        return f"<apsis_nb client of {self.url}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the server goes on."""
        self._http.close()

    # ---- The server ----

    def alive(self) -> dict[str, Any]:
        """How the server is: its loops, queue, store."""
        return self._json("GET", "/alive")

    def version(self) -> dict[str, Any]:
        """The server's version, zone, start time and boot id."""
        return self._json("GET", "/version")

    @cached_property
    def zone(self) -> "ZoneInfo":
        """The server's time zone, in which a time without one is read."""
        return zone(self.version().get("tz") or system_zone())

    def reload(self, dry_run: bool = False) -> dict[str, Any]:
        """Read the job files again.

        Args:
            dry_run: only tell what would change.

        Returns:
            `added`, `removed`, `changed`: lists of job ids; `errors`: of files that are wrong; `applied`.
        """
        return self._json("POST", "/jobs/reload", params={"dry_run": str(dry_run).lower()})

    def events(
        self, types: Iterable[str] = (), *, reconnect: bool = True
    ) -> Generator[ServerEvent, None, None]:
        """What happens, as it happens; goes on where it was after a break of the connection.

        Args:
            types: run, log, output, job, late, server; none: all.
            reconnect: after a break, tell (`disconnected`: `error`, `retry_in_s`) and try again, for ever.

        Yields:
            The events in their order. `hello` begins each connection; `resync` says that some were lost.

        Raises:
            ServerDown: there never was a connection; or, without `reconnect`, it broke.
        """
        import httpx2

        last_id, delay_s, was_connected = "", 0.5, False
        params = {"types": ",".join(types)} if types else {}
        # The server sends a heartbeat every 15 s: silence for longer is a dead connection.
        timeout = httpx2.Timeout(45.0, connect=5.0)
        while True:
            headers = self._headers({"Accept": "text/event-stream", "Cache-Control": "no-store"})
            if last_id:
                headers["Last-Event-ID"] = last_id
            try:
                with self._http.stream(
                    "GET", self._address("/events"), params=params, headers=headers, timeout=timeout
                ) as response:
                    if response.is_error:
                        response.read()
                        raise _error_of(response, self.url)
                    was_connected, delay_s = True, 0.5
                    for sent in httpx2.EventSource(response, max_event_size=None):
                        last_id = sent.id or last_id
                        yield ServerEvent(sent.event, json.loads(sent.data), sent.id)
                error = "the server closed the connection"
            except httpx2.TransportError as broken:
                error = str(broken) or type(broken).__name__
            if not (reconnect and was_connected):
                raise ServerDown(_down_text(self.url, error))
            yield ServerEvent("disconnected", {"error": error, "retry_in_s": delay_s})
            time.sleep(delay_s)
            delay_s = min(delay_s * 2, 8.0)

    # ---- Jobs ----

    @property
    def jobs(self) -> "Jobs":
        """The jobs by id: `client.jobs["team/report"]`."""
        return Jobs(self)

    def next(self, job: str, n: int = 10) -> "pd.DataFrame":
        """The next `n` times of a job: job_id, args (dict), nominal_at, scheduled_at; aware UTC."""
        return _times_frame(self.list_next(job, n))

    def list_next(self, job: str, n: int = 10) -> list[dict[str, Any]]:
        """As `next`, as plain values."""
        rows: list[dict[str, Any]] = self._json("GET", f"/next/{_quoted(job)}", params={"n": n})["next"]
        return rows

    def expected(
        self, since: When = "now", until: When = "+1d", *, job: str | None = None, limit: int = 1000
    ) -> "pd.DataFrame":
        """What the schedules will make from `since` on, before `until`; the columns are those of `next`."""
        params = {"since": self._at(since), "until": self._at(until), "limit": limit, "job_id": job}
        return _times_frame(self._json("GET", "/expected", params=params)["expected"])

    # ---- Runs ----

    def schedule(
        self,
        job: str,
        *,
        args: Mapping[str, Any] | None = None,
        at: When | None = None,
        stop_at: When | None = None,
        label: str | Sequence[str] = (),
        **more_args: Any,
    ) -> "Run":
        """Ask for a run of a job.

        Args:
            job: its id, or a part of it that names no other job.
            args: of the run; also as keywords, where the name is free: `date="2026-01-31"`.
            at: when it is due; by default now.
            stop_at: when it is stopped if it still runs.
            label: one or several.

        Raises:
            NoSuch: no such job.
            BadRequest: the args do not fit.
        """
        wanted = {**(args or {}), **more_args}
        return self.schedule_runs(job, args=wanted, at=at, stop_at=stop_at, label=label)[0]

    def schedule_runs(
        self,
        job: str,
        *,
        args: Mapping[str, Any] | None = None,
        at: When | None = None,
        stop_at: When | None = None,
        label: str | Sequence[str] = (),
        count: int = 1,
    ) -> list["Run"]:
        """Ask for `count` runs that are alike; otherwise as `schedule`."""
        texts = {name: _arg_text(value) for name, value in (args or {}).items()}
        return self._request_runs({"job_id": job, "args": texts, "count": count}, at, stop_at, label)

    def adhoc(
        self,
        command: str | Sequence[str],
        *,
        label: str | Sequence[str] = (),
        at: When | None = None,
        stop_at: When | None = None,
        env: Mapping[str, str] | None = None,
    ) -> "Run":
        """Run a command that is no job: in the current folder, with this interpreter first on the `PATH`.

        Args:
            command: text for the shell, or a list: a program and its arguments.
            label: one or several, by which to find it again.
            at: when; by default now.
            stop_at: when it is stopped if it still runs.
            env: further environment variables.
        """
        program: dict[str, Any]
        if isinstance(command, str):
            program = {"type": "shell", "command": _literal(command)}
        else:
            program = {"type": "argv", "argv": [_literal(str(word)) for word in command]}
        if self.is_local:
            folders = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
            program["cwd"] = _literal(os.getcwd())
            program["env"] = {"PATH": _literal(os.pathsep.join(folders))}
        program.setdefault("env", {}).update({k: _literal(v) for k, v in (env or {}).items()})
        return self._request_runs({"job": {"program": program}}, at, stop_at, label)[0]

    def run(self, run_id: str | int) -> "Run":
        """A run by its id: `r12`, or 12.

        Raises:
            NoSuch: there is no such run.
        """
        return Run(self, self._json("GET", f"/runs/{_run_name(run_id)}"))

    def runs(
        self,
        *,
        job: str | None = None,
        since: When | None = "7d",
        until: When | None = None,
        state: str | Sequence[str] = (),
        label: str | None = None,
        late: bool | None = None,
        limit: int | None = None,
        args: Mapping[str, Any] | None = None,
        expand_args: bool = False,
    ) -> "pd.DataFrame":
        """One row a run, newest first: the columns of `frames.RUNS` (`elapsed_s`: NaN until it ends).

        Args:
            job: only this job's, by its id.
            since, until: when they are due; from 7 days ago unless told, `since=None` for all time.
            state: one or several.
            label: only those with it.
            late: only late ones, or only those that are not.
            limit: at most so many.
            args: only those with these args.
            expand_args: a column `arg_NAME` for each arg.
        """
        params = self._filters(job, since or _FIRST, until or _LAST, state, label, late, limit, args)
        frame = frames.to_frame(self._arrow("GET", "/history/runs", params=params), frames.RUNS)
        return frames.expand_args(frame) if expand_args else frame

    def list_runs(
        self,
        *,
        job: str | None = None,
        since: When | None = None,
        until: When | None = None,
        state: str | Sequence[str] = (),
        label: str | None = None,
        late: bool | None = None,
        limit: int = 100,
        args: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """The facts of runs, newest first, as plain values; filters as of `runs`, of all time unless told."""
        params = self._filters(job, since, until, state, label, late, None, args)
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            answer = self._json("GET", "/runs", params=params | {"limit": min(limit - len(found), 1000)})
            found += answer["runs"]
            if answer["next"] is None:
                break
            params["cursor"] = answer["next"]
        return found

    def _filters(
        self,
        job: str | None,
        since: When | None,
        until: When | None,
        state: str | Sequence[str],
        label: str | None,
        late: bool | None,
        limit: int | None,
        args: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        return {
            "job_id": job,
            "since": self._ago(since),
            "until": self._ago(until),
            "state": [state] if isinstance(state, str) else list(state),
            "label": label,
            "late": None if late is None else str(late).lower(),
            "limit": limit,
            **{f"arg.{name}": _arg_text(value) for name, value in (args or {}).items()},
        }

    # ---- History ----

    @property
    def history(self) -> "History":
        """Frames over all runs: `.lateness()`, `.durations()`, `.counts()`, `.missed()`, `.calendar()` ..."""
        return History(self)

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """The answer to one SELECT over the views `runs`, `run_log`, `jobs` ...; times are aware UTC.

        Args:
            query: in DuckDB's SQL.
            params: values of its `?` or `$name`.

        Raises:
            BadRequest: it is wrong, not allowed, or took too long; with DuckDB's words.
        """
        import pyarrow as pa

        table = self.sql_arrow(query, params)
        for n, column in enumerate(table.schema):
            if pa.types.is_timestamp(column.type) and column.type.tz is None:
                aware = table.column(n).cast(pa.timestamp(column.type.unit, tz="UTC"))
                table = table.set_column(n, column.name, aware)
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def sql_rows(
        self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """As `sql`: the names of the columns, and the rows as plain values; times as ISO 8601, UTC."""
        answer = self._json("POST", "/sql", body=_query(query, params))
        return [column["name"] for column in answer["columns"]], answer["rows"]

    def sql_arrow(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> "pa.Table":
        """As `sql`, as an Arrow table: times are UTC without saying so."""
        return self._arrow("POST", "/sql", body=_query(query, params))

    # ---- Requests ----

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, so that paths mean the same to it."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1", "testserver"}

    def _request_runs(
        self, body: dict[str, Any], at: When | None, stop_at: When | None, label: str | Sequence[str]
    ) -> list["Run"]:
        labels = [label] if isinstance(label, str) else list(label)
        body |= {"at": self._at(at), "stop_at": self._at(stop_at), "labels": labels}
        return [Run(self, facts) for facts in self._json("POST", "/runs", body=body)["runs"]]

    def moment(self, when: When) -> datetime:
        """An instant of the past, aware, UTC; `7d` or a timedelta goes back from now.

        Raises:
            BadRequest: it is no time.
        """
        if isinstance(when, timedelta):
            return datetime.now(UTC) - when
        if isinstance(when, str):
            try:
                back_s = parse_duration(when)
            except ValueError:
                return self._instant(when)
            return datetime.now(UTC) - timedelta(seconds=abs(back_s))
        return self._instant(when)

    def _instant(self, when: When) -> datetime:
        """An instant; a duration goes forward from now."""
        if isinstance(when, timedelta):
            return datetime.now(UTC) + when
        if isinstance(when, datetime) and when.tzinfo is not None:
            return when.astimezone(UTC)
        text = when if isinstance(when, str) else when.isoformat()
        try:
            return parse_when(text, datetime.now(UTC), self.zone)
        except ValueError as error:
            raise BadRequest(str(error)) from None

    def _at(self, when: When | None) -> str | None:
        return None if when is None else format_time(self._instant(when))

    def _ago(self, when: When | None) -> str | None:
        return None if when is None else format_time(self.moment(when))

    def _address(self, path: str) -> str:
        return f"{self.url}/api/v1{path}"

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", **more}

    def _json(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """The JSON object of an answer."""
        response = self._send(method, path, params=params, body=body, accept="application/json")
        facts: dict[str, Any] = response.json()
        return facts

    def _arrow(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> "pa.Table":
        return wire.read_arrow(self._send(method, path, params=params, body=body, accept=wire.ARROW).content)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        accept: str = "*/*",
    ) -> "httpx2.Response":
        """Send a request; None among `params` is left out.

        Raises:
            ServerDown, NotAuthorized, NoSuch, RequestRefused, BadRequest.
        """
        import httpx2

        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            response = self._http.request(
                method,
                self._address(path),
                params=given,
                json=body,
                headers=self._headers({"Accept": accept}),
            )
        except httpx2.TimeoutException:
            raise ServerDown(f"the server at {self.url} did not answer in time") from None
        except httpx2.TransportError as error:
            raise ServerDown(_down_text(self.url, str(error))) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise ServerDown(f"{self.url} is not the address of a server: give http://HOST:PORT") from None
        if response.is_error or response.is_redirect:
            raise _error_of(response, self.url)
        return response


class Jobs(Mapping[str, "Job"]):
    """The jobs of a server by id; asks it each time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getitem__(self, job_id: str) -> "Job":
        """A job by its id, or by a part of it that names no other job; `NoSuch` is a KeyError."""
        return Job(self._client, self._client._json("GET", f"/jobs/{_quoted(job_id)}"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())

    def __repr__(self) -> str:
        return f"<{len(self)} jobs: {', '.join(self._ids())}>"

    def _repr_html_(self) -> str:
        rows = [(f["job_id"], f["metadata"].get("description", ""), _in_words(f)) for f in self.find()]
        return _html_table(("job", "description", "when"), rows)

    def _ipython_key_completions_(self) -> list[str]:
        return self._ids()

    def find(
        self, query: str | None = None, *, label: str | None = None, path: str | None = None
    ) -> list[dict[str, Any]]:
        """The facts of the jobs that match: words in id or description, a label, a folder."""
        found: list[dict[str, Any]] = self._answer(query, label, path)["jobs"]
        return found

    def errors(self) -> list[dict[str, Any]]:
        """What is wrong with job files: job_id, file, line, col, message."""
        errors: list[dict[str, Any]] = self._answer()["errors"]
        return errors

    def _answer(
        self, query: str | None = None, label: str | None = None, path: str | None = None
    ) -> dict[str, Any]:
        return self._client._json("GET", "/jobs", params={"q": query, "label": label, "path": path})

    def _ids(self) -> list[str]:
        return [facts["job_id"] for facts in self.find()]


class Job:
    """A job as the server has it now.

    Attributes:
        job_id: its id.
        facts: all that its file says, as plain values.
    """

    def __init__(self, client: Client, facts: dict[str, Any]) -> None:
        self._client = client
        self.facts = facts
        self.job_id: str = facts["job_id"]

    def next(self, n: int = 10) -> "pd.DataFrame":
        """Its next `n` times: job_id, args (dict), nominal_at, scheduled_at."""
        return self._client.next(self.job_id, n)

    def schedule(self, **args: Any) -> "Run":
        """Ask for a run of it now; `Client.schedule` takes a time, labels and args with difficult names."""
        return self._client.schedule(self.job_id, args=args)

    def runs(self, **filters: Any) -> "pd.DataFrame":
        """Its runs, as `Client.runs` gives them."""
        return self._client.runs(job=self.job_id, **filters)

    def __repr__(self) -> str:
        return f"<job {self.job_id}: {_in_words(self.facts)}>"

    def _repr_html_(self) -> str:
        metadata = self.facts["metadata"]
        rows = [("description", metadata.get("description", "")), ("when", _in_words(self.facts))]
        for name, param in self.facts["params"].items():
            more = [param["type"]]
            if "default" in param:
                more.append(f"default {param['default']}")
            if "choices" in param:
                more.append("one of " + ", ".join(param["choices"]))
            if "description" in param:
                more.append(param["description"])
            rows.append((f"param {name}", "; ".join(more)))
        rows.append(("labels", ", ".join(metadata["labels"])))
        return f"<b>{html.escape(self.job_id)}</b>" + _html_table((), [r for r in rows if r[1]])


class Run:
    """A run: asks the server for news of it until it has finished.

    Two are equal if they are the same run of the same server. `await run` waits for it and gives it.
    """

    def __init__(self, client: Client, facts: dict[str, Any]) -> None:
        self._client = client
        self._facts = facts
        self.run_id: str = facts["run_id"]
        self.job_id: str = facts["job_id"]
        self.args: dict[str, str] = facts["args"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self._client.url, self.run_id

    @property
    def facts(self) -> dict[str, Any]:
        """All that is known of it now, as plain values: the columns of `frames.RUNS`, and `program`."""
        if self._facts["state"] not in _FINISHED:
            self._facts = self._client._json("GET", f"/runs/{self.run_id}")
        return self._facts

    @property
    def seen(self) -> dict[str, Any]:
        """As `facts`, as they were when the server was last asked."""
        return self._facts

    @property
    def state(self) -> str:
        """Its state now."""
        state: str = self.facts["state"]
        return state

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.state in _FINISHED

    def wait(self, timeout: float | None = None) -> "Run":
        """Wait until it has ended, well or badly.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            WaitTimeout: it has not ended in that time.
        """
        for pause_s in self._looks(timeout):
            time.sleep(pause_s)
        return self

    def __await__(self) -> Generator[Any, None, "Run"]:
        return self._ended().__await__()

    async def _ended(self) -> "Run":
        # The looks are HTTP requests, so they are made in a thread; the notebook's own loop stays free.
        looks = self._looks(None)
        while True:
            pause_s = await asyncio.to_thread(next, looks, None)
            if pause_s is None:
                return self
            await asyncio.sleep(pause_s)

    def _looks(self, timeout: float | None) -> Iterator[float]:
        """Look at it again and again until it has finished; gives the seconds to pause between looks."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause_s = _FIRST_LOOK_S
        while not self.is_finished:
            left_s = pause_s if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                raise WaitTimeout(f"run {self.run_id} is {self._facts['state']} after {timeout:g} s")
            yield min(pause_s, left_s)
            pause_s = min(pause_s * 1.5, _LAST_LOOK_S)

    def result(self, timeout: float | None = None) -> "Run":
        """Wait for it, and see that it succeeded.

        Raises:
            RunFailed: it did not; with the last lines of its output.
            WaitTimeout: as `wait`.
        """
        self.wait(timeout)
        if self._facts["state"] != "success":
            raise RunFailed(self._facts, self.last_lines(20))
        return self

    def output(self, name: str = "output", *, tail: int | None = None) -> str:
        """What it has written, up to now.

        Args:
            name: of the output; what a program prints is `output`.
            tail: only so many lines from the end.
        """
        text = self.output_bytes(name).decode(errors="replace")
        return text if tail is None else _last_lines(text, tail)

    def output_bytes(self, name: str = "output") -> bytes:
        """As `output`, every byte as the program wrote it."""
        pieces, offset, size = [], 0, 1
        while offset < size:
            piece, size, _ = self._output_piece(name, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def outputs(self) -> list[dict[str, Any]]:
        """Its outputs: name, length in bytes, content_type."""
        outputs: list[dict[str, Any]] = self._client._json("GET", f"/runs/{self.run_id}/outputs")["outputs"]
        return outputs

    def pieces(self, name: str = "output") -> Iterator[bytes]:
        """What it writes, from the start, as it grows; ends when the run has."""
        offset, pause_s = 0, _FIRST_LOOK_S
        while True:
            try:
                piece, size, is_finished = self._output_piece(name, offset)
            except NoSuch:  # nothing is there before its program starts
                if self.is_finished:
                    return
                piece, size, is_finished = b"", 0, False
            if piece:
                yield piece
                offset, pause_s = offset + len(piece), _FIRST_LOOK_S
            elif is_finished and offset >= size:
                return
            else:
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _LAST_LOOK_S)

    def follow(self, name: str = "output") -> "Run":
        """Print what it writes as it grows, until it ends."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for piece in self.pieces(name):
            sys.stdout.write(decoder.decode(piece))
            sys.stdout.flush()
        sys.stdout.write(decoder.decode(b"", final=True))
        return self.wait()

    @property
    def log(self) -> "pd.DataFrame":
        """What happened to it, oldest first: the columns of `frames.LOG`."""
        import pyarrow as pa

        names = [c.name for c in frames.LOG]
        rows = [{**row, "ts": datetime.fromisoformat(row["ts"])} for row in self.list_log()]
        types = [pa.string(), pa.timestamp("us", tz="UTC"), pa.string(), pa.string()]
        table = pa.Table.from_pylist(rows, schema=pa.schema(list(zip(names, types, strict=True))))
        return frames.to_frame(table, frames.LOG)

    def list_log(self) -> list[dict[str, Any]]:
        """As `log`, as plain values: ts (ISO 8601, UTC), state, message."""
        rows = self._client._json("GET", f"/runs/{self.run_id}/log")["log"]
        return [{"run_id": self.run_id, **{n: row[n] for n in ("ts", "state", "message")}} for row in rows]

    def start(self) -> "Run":
        """Start it now, though it is not yet due, or a condition holds it."""
        return self._ask("start")

    def skip(self) -> "Run":
        """Do not run it."""
        return self._ask("skip")

    def stop(self) -> "Run":
        """Ask its program to end; after the job's grace period it is killed."""
        return self._ask("stop")

    def signal(self, signal: str | int) -> "Run":
        """Send its program a signal: `USR1`, `SIGUSR1`, 10."""
        return self._ask(f"signal/{_quoted(str(signal))}")

    def rerun(self, **args: Any) -> "Run":
        """Run it again now, as its job is today.

        Args:
            args: those that change.
        """
        texts = {name: _arg_text(value) for name, value in args.items()}
        runs = self._client._json("POST", f"/runs/{self.run_id}/rerun", body={"args": texts})["runs"]
        return Run(self._client, next(r for r in runs if r["rerun_of"] == self.run_id))

    def _ask(self, what: str) -> "Run":
        runs = self._client._json("POST", f"/runs/{self.run_id}/{what}")["runs"]
        self._facts = next(r for r in runs if r["run_id"] == self.run_id)
        return self

    def _output_piece(self, name: str, offset: int) -> tuple[bytes, int, bool]:
        """Bytes of an output from `offset` on, its size now, and whether the run has finished."""
        response = self._client._send(
            "GET",
            f"/runs/{self.run_id}/outputs/{_quoted(name)}",
            params={"offset": offset, "limit": _OUTPUT_PIECE},
        )
        is_finished = response.headers["X-Apsis-Finished"] == "true"
        return response.content, int(response.headers["X-Apsis-Size"]), is_finished

    def last_lines(self, count: int) -> str:
        """The last lines of its output without colours; empty if there is none."""
        try:
            _, size, _ = self._output_piece("output", 1 << 62)
            piece, _, _ = self._output_piece("output", max(0, size - 16_384))
        except ClientError:
            return ""
        return _last_lines(_ANSI.sub("", piece.decode(errors="replace")), count)

    def _latest(self) -> dict[str, Any]:
        """Its facts for display: those of before, if the server does not answer."""
        try:
            return self.facts
        except ClientError:
            return self._facts

    def __repr__(self) -> str:
        facts = self._latest()
        args = ", ".join(f"{k}={v}" for k, v in facts["args"].items())
        text = f"<run {self.run_id} of {self.job_id}({args}): {facts['state']}"
        if facts["elapsed_s"] is not None:
            text += f", {format_duration(round(facts['elapsed_s'], 1))}"
        return text + (f", {facts['message']}" if facts["message"] else "") + ">"

    def _repr_html_(self) -> str:
        """A card that needs nothing but itself, so that it stays in a saved notebook."""
        facts = self._latest()
        colour = _OUTCOME_COLOURS.get(facts["state"], "#2979b8")
        args = ", ".join(f"{k}={v}" for k, v in facts["args"].items())
        told = [
            ("scheduled", self._local(facts["scheduled_at"])),
            ("started", self._local(facts["started_at"])),
            ("took", None if facts["elapsed_s"] is None else format_duration(round(facts["elapsed_s"], 1))),
            (
                "late",
                format_duration(round(facts["late_s"], 1)) if facts["late"] and facts["late_s"] else None,
            ),
            ("labels", ", ".join(facts["labels"])),
            ("says", facts["message"] or facts["skip_reason"]),
        ]
        spans = " · ".join(f"{name} <b>{html.escape(value)}</b>" for name, value in told if value)
        output = self.last_lines(10)
        pre = (
            "<pre style='margin:.5em 0 0;padding:.4em .6em;max-height:14em;overflow:auto;"
            f"border:1px solid rgba(128,128,128,.35);border-radius:4px'>{html.escape(output)}</pre>"
            if output.strip()
            else ""
        )
        return (
            f"<div style='border-left:4px solid {colour};padding:.3em .8em;margin:.3em 0'>"
            f"<div><b>{html.escape(self.run_id)}</b> {html.escape(self.job_id)}"
            f"{html.escape(f'({args})') if args else ''} "
            f"<span style='border:1px solid {colour};border-radius:1em;padding:0 .6em'>"
            f"{html.escape(facts['state'])}</span></div>"
            f"<div style='opacity:.85;font-size:.92em'>{spans}</div>{pre}</div>"
        )

    def _local(self, at: str | None) -> str | None:
        if at is None:
            return None
        return datetime.fromisoformat(at).astimezone(zone(system_zone())).strftime("%Y-%m-%d %H:%M:%S %Z")


class History:
    """Questions over all runs; each answer is a frame with the columns of `frames` of the same name.

    Everywhere `since` and `until` are about the time when runs were due; `job` is one job id or several, none: all;
    `unit` is the period of a row (hour, day, week, month, year), in UTC or, where it can be given, in zone `tz`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def counts(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
        tz: str = "UTC",
        by_job: bool = False,
    ) -> "pd.DataFrame":
        """How many runs, by period and state, and with `by_job` by job: `frames.COUNTS`."""
        return self._ask("counts", since, until, job, unit=unit, tz=tz, by_job=by_job)

    def durations(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
    ) -> "pd.DataFrame":
        """How long the runs took that succeeded, by job and period: `frames.DURATIONS`."""
        return self._ask("durations", since, until, job, unit=unit)

    def lateness(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
    ) -> "pd.DataFrame":
        """How late the runs of schedules started, by job and period: `frames.LATENESS`."""
        return self._ask("lateness", since, until, job, unit=unit)

    def calendar(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
        tz: str = "UTC",
    ) -> "pd.DataFrame":
        """Runs, failures, lateness by period, for a heat map: `frames.CALENDAR`."""
        return self._ask("calendar", since, until, job, unit=unit, tz=tz)

    def missed(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        limit: int | None = None,
    ) -> "pd.DataFrame":
        """What no run executed, newest first: `frames.MISSED`."""
        return self._ask("missed", since, until, job, limit=limit)

    def timeline(
        self,
        since: When = "24h",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        px: int = 1200,
        max_bars: int | None = None,
    ) -> "pd.DataFrame":
        """The bars of a picture `px` pixels wide: `frames.TIMELINE`.

        A bar is a run, unless there are more than `max_bars`; then runs that are close together share one.
        """
        return self._ask("timeline", since, until, job, px=px, max_bars=max_bars)

    def jobs(
        self, since: When = "90d", until: When | None = None, *, job: str | Sequence[str] = ()
    ) -> "pd.DataFrame":
        """One row a job: how its runs were: `frames.JOBS`."""
        return self._ask("jobs", since, until, job)

    def log(self, since: When = "24h", until: When | None = None) -> "pd.DataFrame":
        """What happened to all runs, line by line: `frames.LOG`."""
        return self._ask("log", since, until, ())

    def _ask(
        self, name: str, since: When, until: When | None, job: str | Sequence[str], **params: Any
    ) -> "pd.DataFrame":
        window = {
            "since": format_time(self._client.moment(since)),
            "until": None if until is None else format_time(self._client.moment(until)),
            "job_id": [job] if isinstance(job, str) else list(job),
        }
        table = self._client._arrow("GET", f"/history/{name}", params=window | params)
        return frames.to_frame(table, frames.FRAMES[name])


#: Of the card's edge; the state itself stands there in words.
_OUTCOME_COLOURS = {"success": "#2e8b57", "failure": "#c0392b", "error": "#c0392b", "skipped": "#888888"}


def find_server(url: str | None = None, token: str | None = None) -> tuple[str, str]:
    """Address and token of the user's server on this machine, where they are not given.

    Raises:
        ServerDown: no address is given, and there is not exactly one server to be found.
        NotAuthorized: no token is given, and no server of the user has the address.
    """
    servers = find_servers()
    if url is not None:
        wanted = url.rstrip("/")
        for server in servers:
            if server.url == wanted:
                return wanted, token or server.token
        raise NotAuthorized(f"no token for {wanted}: set APSIS_NB_TOKEN, or give token=...")
    if not servers:
        raise ServerDown(_down_text(f"http://{DEFAULT_BIND}", ""))
    if len(servers) > 1:
        which = ", ".join(s.url for s in servers)
        raise ServerDown(f"several servers run here ({which}): set APSIS_NB_URL, or give url=...")
    return servers[0].url, token or servers[0].token


def _connection(url: str) -> "httpx2.Client":
    import httpx2

    parts = urlsplit(url)
    is_here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    return httpx2.Client(
        timeout=httpx2.Timeout(120.0, connect=5.0),
        # Reading the certificates of all authorities takes longer than a request over plain HTTP.
        verify=parts.scheme == "https",
        trust_env=not is_here,  # a proxy never leads to this machine
    )


def _down_text(url: str, error: str) -> str:
    why = f" ({error})" if error else ""
    return f"no server answers at {url}{why}: start one with `apsis-nb serve JOBS`, or ap.local(...)"


def _error_of(response: "httpx2.Response", url: str) -> ClientError:
    """The error that an answer tells of."""
    try:
        problem = response.json()
        detail = str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        detail = f"{url} answered {response.status_code} {response.reason_phrase}; is it an apsis_nb server?"
    match response.status_code:
        case 401:
            return NotAuthorized(
                f"the server at {url} does not accept the token: set APSIS_NB_TOKEN, or give token=..."
            )
        case 403:
            return NotAuthorized(detail)
        case 404:
            return NoSuch(detail)
        case 409:
            return RequestRefused(detail)
        case status:
            return BadRequest(detail, status=status)


def _query(query: str, params: Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
    values = params if params is None or isinstance(params, Mapping) else list(params)
    return {"query": query, "params": values}


def _run_name(run_id: str | int) -> str:
    match = re.fullmatch(r"r?(\d+)", str(run_id))
    if match is None:
        raise BadRequest(f"{run_id!r} is no run id: write r123")
    return f"r{match[1]}"


def _quoted(text: str) -> str:
    return quote(text, safe="/")


def _arg_text(value: Any) -> str:
    """An arg as the text that jobs get."""
    match value:
        case bool():
            return str(value).lower()
        case datetime() if value.tzinfo is not None:
            return format_time(value)
        case datetime() | date():
            return value.isoformat()
        case _:
            return str(value)


def _literal(text: str) -> str:
    """A template that gives `text` itself: an ad-hoc command is not expanded."""
    is_template = any(mark in text for mark in ("{{", "{%", "{#"))  # `${#words[@]}` of bash too
    return "{% raw %}" + text + "{% endraw %}" if is_template else text


def _last_lines(text: str, count: int) -> str:
    return "".join(text.splitlines(keepends=True)[-count:]) if count > 0 else ""


def _times_frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame(rows, columns=["job_id", "args", "nominal_at", "scheduled_at"])
    for column in ("nominal_at", "scheduled_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        )
    return frame.astype({"job_id": "str"})


def _in_words(facts: Mapping[str, Any]) -> str:
    """When a job runs."""
    return "; ".join(facts["explain"]["schedule"]) or "when asked"


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]], cap: int = 50) -> str:
    """A small table; beyond `cap` rows it says how many there are."""
    head = "".join(f"<th style='text-align:left'>{html.escape(h)}</th>" for h in heads)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(c)}</td>" for c in row) + "</tr>"
        for row in rows[:cap]
    )
    more = f"<div>{cap} of {len(rows)}</div>" if len(rows) > cap else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
