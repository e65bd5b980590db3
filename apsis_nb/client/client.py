"""The client: what notebooks, pages and the command line ask a server with."""

import os
import re
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsis_nb import frames
from apsis_nb.client.backfills import Backfill
from apsis_nb.client.connection import Connection, ServerEvent, When, quoted
from apsis_nb.client.errors import BadRequest, ClientError, RequestRefused
from apsis_nb.client.history import History
from apsis_nb.client.jobs import Job, Jobs, completed
from apsis_nb.client.runs import Run, arg_text
from apsis_nb.client.why import Why
from apsis_nb.config import system_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import httpx2
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from apsis_nb.client.report import Report

#: How many runs a listing asks for at once.
PAGE_RUNS = 1000
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


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
        self.connection = Connection(url, token, http)

    @property
    def url(self) -> str:
        """The server's address."""
        return self.connection.url

    def __repr__(self) -> str:
        return f"<apsis_nb client of {self.url}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the server goes on."""
        self.connection.close()

    # ---- The server ----

    def alive(self) -> dict[str, Any]:
        """How the server is: its loops, queue, store."""
        return self.connection.json("GET", "/alive")

    def stats(self) -> dict[str, Any]:
        """What the server does, in figures.

        Returns:
            `runs`: `live`, `finished_1h`, `finished_1d`: how many by state; `store` and `process`: sizes in
            bytes; `loop_lag_ms`, `commit_lag_ms`; `up_s`, and more of the kind.
        """
        return self.connection.json("GET", "/stats")

    def doctor(self, *, fix: bool = False) -> "pd.DataFrame":
        """What is not as it should be, a row each, the worst first: the columns of `frames.DOCTOR`.

        Args:
            fix: first mend what can be mended without harm, such as runs that have no process any more.
        """
        import pyarrow as pa

        rows = self.list_findings(fix=fix)["findings"]
        names = [column.name for column in frames.DOCTOR]
        rows = [{name: row[name] for name in names} for row in rows]
        table = pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names]))
        return frames.to_frame(table, frames.DOCTOR)

    def list_findings(self, *, fix: bool = False) -> dict[str, Any]:
        """As `doctor`, as plain values: `findings`, and `mended`: what was done, in words."""
        return self.connection.json("POST" if fix else "GET", "/doctor")

    def retention(self, *, apply: bool = False) -> list[dict[str, Any]]:
        """The outputs that are beyond what is kept: job_id, runs, outputs, bytes, last_at, a mapping a job.

        Args:
            apply: give them up now; the server does so by itself once a day. Else only tell.
        """
        told = self.connection.json("POST" if apply else "GET", "/retention")
        return list(told["jobs"])

    def import_runs(
        self, file: str | os.PathLike[str], *, dry_run: bool = False
    ) -> Generator[dict[str, Any], None, None]:
        """Bring the finished runs of another store of ours, or of Apsis's database, into the server.

        They get new ids; those that are there already are left out, so it may be done again. Whoever stops
        asking stops it; what was brought stays.

        Args:
            file: on this machine, which must be the server's; of a store of ours also its state folder.
            dry_run: only tell what would be done.

        Yields:
            How far it has come, again and again: `done` of `of` runs; `imported` and `known`, how many runs;
            `jobs`: the same by job; `problems`: what could not be read, of how many runs, and the `first`.

        Raises:
            BadRequest, NoSuch: the file cannot be read.
                RequestRefused: the server is on another machine.
        """
        if not self.connection.is_local:
            raise RequestRefused(f"{self.url} is another machine: copy the file there, and import it there")
        body = {"path": os.path.abspath(file), "dry_run": dry_run}
        for told in self.connection.lines("POST", "/import/runs", body=body):
            if "error" in told:
                raise BadRequest(told["error"])
            yield told

    def backup(self, to: str | None = None, *, keep: int | None = None) -> dict[str, Any]:
        """Make a backup of the server's store while it is in use; returns when it is made and checked.

        Args:
            to: a folder of the server's machine, absolute; None: the server's own.
            keep: how many, the newest, are kept there; None: all.

        Returns:
            path, at, runs, log_rows, bytes; `missing`: what the store should have and had not, or not whole:
            files of outputs, months of the archive. All else is in the backup.
        """
        return self.connection.json("POST", "/backup", body={"to": to, "keep": keep}, may_last=True)

    def backups(self) -> dict[str, Any]:
        """The `backups` in the server's own folder, newest first; `under_way`: how far one is, or None."""
        return self.connection.json("GET", "/backup")

    def archive(
        self, older_than: str | float | timedelta | None = None, *, dry_run: bool = False
    ) -> list[dict[str, Any]]:
        """Move the runs of whole old months from the database into the archive; returns when that is done.

        They are found as before, by all but SQL over other views than those that end in `_all`.

        Args:
            older_than: how long ago a month must have ended: `365d`, seconds or a timedelta; None: as the
                server's configuration says.
            dry_run: only tell what would be moved.

        Returns:
            A mapping a month: month, runs, bytes, folder; in a dry run also `why_not`, for those that must
            stay, and `bytes` are about what it takes in the database.
        """
        if isinstance(older_than, timedelta):
            older_than = older_than.total_seconds()
        body = {"older_than": older_than, "dry_run": dry_run}
        return list(self.connection.json("POST", "/archive", body=body, may_last=True)["months"])

    def restore_archived(self, month: str) -> list[dict[str, Any]]:
        """Move a month from the archive into the database again; returns when that is done.

        Args:
            month: such as `2026-01`; or one folder of it, if it has several: `2026-01.2`.

        Returns:
            A mapping a folder: month, folder, runs, bytes.

        Raises:
            NoSuch: the archive has no such month.
        """
        body = {"month": month}
        return list(self.connection.json("POST", "/archive/restore", body=body, may_last=True)["months"])

    def archived(self) -> dict[str, Any]:
        """The `months` in the archive, oldest first; `under_way`: how far moving one is, or None."""
        return self.connection.json("GET", "/archive")

    def version(self) -> dict[str, Any]:
        """The server's version, zone, start time and boot id."""
        return self.connection.json("GET", "/version")

    @property
    def zone(self) -> "ZoneInfo":
        """The server's time zone, in which a time without one is read."""
        return self.connection.zone

    def moment(self, when: When) -> datetime:
        """An instant of the past, aware, UTC; `7d` or a timedelta goes back from now.

        Raises:
            BadRequest: it is no time.
        """
        return self.connection.moment(when)

    def reload(self, dry_run: bool = False, *, force: bool = False) -> dict[str, Any]:
        """Read the job files again.

        Args:
            dry_run: only tell what would change.
            force: apply it also if files of working jobs are broken now, which are then gone.

        Returns:
            `added`, `removed`, `changed`: lists of job ids; `errors`: of files that are wrong; `applied`;
            `previews`: for a dry run, what becomes of the runs of each job, as `preview` tells it.
        """
        return self.connection.json(
            "POST", "/jobs/reload", params={"dry_run": str(dry_run).lower(), "force": str(force).lower()}
        )

    def notify_test(self, to: str) -> None:
        """Send a message to somebody, to see that it arrives; returns when it is sent.

        Args:
            to: a name under `notify` in the server's configuration.

        Raises:
            NoSuch: there is no such name.
            RequestRefused: it was not sent, and why.
        """
        self.connection.json("POST", "/notify/test", body={"to": to})

    def templates(self, job_id: str = "team/report") -> list[dict[str, Any]]:
        """The templates of job files that make one file: name, description, is_own, and yaml for a job."""
        params = {"job_id": job_id, "tz": system_zone()}
        found: list[dict[str, Any]] = self.connection.json("GET", "/templates", params=params)["templates"]
        return found

    def check(self, job_id: str, yaml: str) -> dict[str, Any]:
        """What is wrong with a text of a job's file, were it in the folder.

        Returns:
            `ok`: there is no error; `errors`: file, line, col, message, level (error or warning); `job`: its
            facts, as far as they can be read, or None; `next`: the first ten runs that its schedules would
            make, with `at` and `args`.
        """
        return self.connection.json("POST", "/jobs/check", body={"job_id": job_id, "yaml": yaml})

    def preview(self, job_id: str, yaml: str) -> dict[str, Any]:
        """What a text of a job's file would do to its runs of the next 7 days.

        Returns:
            `added`, `removed`: runs with `at` and `args`, the first 1000 of `added_count` and
            `removed_count`; a removed one is `lost` if no other run has its args; `ran`: those of today, with
            `again_at` if the text runs the same once more; `until`: where the comparison ends.
        """
        return self.connection.json("POST", "/jobs/preview", body={"job_id": job_id, "yaml": yaml})

    def versions(self, job_id: str) -> list[dict[str, Any]]:
        """The texts that a job's file has had, oldest first: version, ts, by, yaml (None: it was removed)."""
        found: list[dict[str, Any]] = self.connection.json("GET", f"/versions/{quoted(job_id)}")["versions"]
        return found

    def yaml(self, job_id: str) -> tuple[str, str]:
        """The text of a job's file, and its tag, which `write_yaml` wants."""
        response = self.connection.send("GET", f"/yaml/{quoted(job_id)}")
        return response.text, response.headers["ETag"]

    def write_yaml(self, job_id: str, text: str, *, tag: str | None = None) -> str:
        """Write a job's file and take it up; gives its new tag.

        Args:
            job_id: of a job, or of one that is new.
            text: the whole of it; it is checked first.
            tag: that of the text which it replaces, from `yaml`; None: the job is new.

        Raises:
            RequestRefused, BadRequest: somebody else has written it since; or the text is wrong.
        """
        condition = {"If-None-Match": "*"} if tag is None else {"If-Match": tag}
        response = self.connection.send(
            "PUT", f"/yaml/{quoted(job_id)}", content=text.encode(), headers=condition
        )
        return response.headers["ETag"]

    def schedule_notebook(
        self,
        path: str | Path | None = None,
        *,
        job: str | None = None,
        schedule: str | Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        python: str | None = None,
        pinned: bool = False,
        replace: bool = False,
    ) -> Job | list[Job]:
        """Make a job that runs a notebook, or one for each notebook of a folder.

        Its params are the names in the notebook's cell with the tag `parameters`, of the types that they have
        there.

        Args:
            path: of a notebook, or of a folder of them, on the server's machine; by default the notebook that
                this is called in.
            job: the id of the job, of a folder its first part; by default the name of the file.
            schedule: a time of the day (`06:30`), a length of time (`10m`), an expression of cron
                (`0 6 * * 1-5`), or a mapping as in a job file; None: it runs when somebody asks.
            parameters: values instead of those in the notebook.
            python: the environment that runs it; by default the one that this is called in.
            pinned: run a copy of the notebook as it is now, kept in `.pinned` beside it, whatever becomes of
                the notebook; by default each run takes the file as it then is.
            replace: a job of that id may be there already, and is written anew.

        Returns:
            The job, or the jobs of a folder.

        Raises:
            BadRequest: there is no such notebook, or the schedule makes no sense.
            RequestRefused: a job of that id is there already.
        """
        from apsis_nb.client.notebooks import schedule_notebook

        return schedule_notebook(
            self,
            path,
            job=job,
            schedule=schedule,
            parameters=parameters or {},
            python=python,
            pinned=pinned,
            replace=replace,
        )

    def edit_yaml(self, job_id: str, changes: Mapping[str, Any], *, tag: str | None = None) -> str:
        """Change single keys of a job's file and take it up, all other lines stay; gives its new tag.

        Args:
            job_id: of a job that has a file.
            changes: new values by key: `{"schedule.daytime": "10:00:00", "schedule.1.tz": "UTC"}`; None takes
                a key away. The new text is checked first.
            tag: that of the text which they are meant for, from `yaml`; None: whatever is there.

        Raises:
            NoSuch: there is no such file.
            RequestRefused, BadRequest: somebody else has written it since; a key cannot be changed by itself;
                or the new text is wrong.
        """
        headers = {"If-Match": tag or self.yaml(job_id)[1]}
        response = self.connection.send(
            "PATCH", f"/yaml/{quoted(job_id)}", body=dict(changes), headers=headers
        )
        return response.headers["ETag"]

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
        return self.connection.events(types, reconnect=reconnect)

    # ---- Jobs ----

    @completed
    def jobs(self) -> Jobs:
        """The jobs by id: `client.jobs["team/report"]`."""
        return Jobs(self)

    def next(self, job: str, n: int = 10) -> "pd.DataFrame":
        """The next `n` times of a job: job_id, args (dict), nominal_at, scheduled_at; aware UTC."""
        return _times_frame(self.list_next(job, n))

    def list_next(self, job: str, n: int = 10) -> list[dict[str, Any]]:
        """As `next`, as plain values."""
        rows: list[dict[str, Any]] = self.connection.json("GET", f"/next/{quoted(job)}", params={"n": n})[
            "next"
        ]
        return rows

    def expected(
        self,
        since: When = "now",
        until: When = "+1d",
        *,
        job: str | Sequence[str] = (),
        limit: int = 1000,
        each: int | None = None,
    ) -> "pd.DataFrame":
        """What the schedules will make from `since` on, before `until`; the columns are those of `next`.

        Args:
            since, until: the window.
            job: one job or several; none means all.
            limit: at most so many, the earliest.
            each: of each job at most so many; None: all.
        """
        params = {
            "since": self.connection.text_of(since),
            "until": self.connection.text_of(until),
            "limit": limit,
            "job_id": [job] if isinstance(job, str) else list(job),
            "each": each,
        }
        return _times_frame(self.connection.json("GET", "/expected", params=params)["expected"])

    def expected_counts(
        self,
        since: When = "now",
        until: When = "+7d",
        *,
        every: str | timedelta = "1h",
        job: str | None = None,
    ) -> "pd.DataFrame":
        """How many runs the schedules will make from `since` on, before `until`, in each piece of that time.

        Args:
            since, until: the window, of at most 1,000 pieces.
            every: the length of a piece, `15m` or a timedelta; the first begins at `since`.
            job: one job; None means all.

        Returns:
            job_id, period (the start of the piece), runs, first_at; aware UTC.
        """
        params = {
            "since": self.connection.text_of(since),
            "until": self.connection.text_of(until),
            "every": every if isinstance(every, str) else f"{every.total_seconds():f}s",
            "job_id": job,
        }
        rows = self.connection.json("GET", "/expected/counts", params=params)["counts"]
        return _rows_frame(rows, ["job_id", "period", "runs", "first_at"]).astype({"runs": "int64"})

    # ---- Pauses and backfills ----

    def pause(
        self,
        job: str | None = None,
        *,
        path: str | None = None,
        everything: bool = False,
        until: When | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """Hold back the schedules of a job, of all below a path, or of all: what comes due is skipped.

        Args:
            job, path, everything: one of the three.
            until: when the pause ends by itself.
            reason: for others.

        Returns:
            scope, target, since, until, reason, by.
        """
        body = {"until": self.connection.text_of(until), "reason": reason}
        address, params = _held("pause", job, path, everything)
        answer = self.connection.json("POST", address, params=params, body=body)
        pause: dict[str, Any] = answer["pause"]
        return pause

    def resume(
        self,
        job: str | None = None,
        *,
        path: str | None = None,
        everything: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """End a pause; with `dry_run` only tell what that means.

        Returns:
            `skipped`: what it held back, newest first; `next`: what comes next; `pause`.
        """
        address, params = _held("resume", job, path, everything)
        return self.connection.json("POST", address, params={**params, "dry_run": str(dry_run).lower()})

    def list_pauses(self) -> list[dict[str, Any]]:
        """What is paused: scope, target, since, until, reason, by."""
        pauses: list[dict[str, Any]] = self.connection.json("GET", "/pauses")["pauses"]
        return pauses

    def backfill(self, backfill_id: str | int) -> Backfill:
        """A backfill by its id: `r12`, or 12. `client.jobs[...].backfill(...)` makes one."""
        return Backfill(self, self.connection.json("GET", f"/backfills/{_run_name(backfill_id)}"))

    def list_backfills(self, limit: int = 100) -> list[dict[str, Any]]:
        """The backfills, newest first, and how far each is."""
        found: list[dict[str, Any]] = self.connection.json("GET", "/backfills", params={"limit": limit})[
            "backfills"
        ]
        return found

    def why(
        self, job: str, *, at: When | None = None, args: Mapping[str, Any] | None = None, **more_args: Any
    ) -> Why:
        """Why a run of a job is not there, or did not do well, also if there never was one.

        Args:
            job: its id, or a part of it that names no other job.
            at: the day on which it is due, or a time: then the last one up to it is meant.
            args: some or all of its args; also as keywords. Without any, and without `at`, it is the last run
                that came due, or the next.
        """
        params: dict[str, Any] = {
            f"arg.{name}": arg_text(value) for name, value in ({**(args or {}), **more_args}).items()
        }
        if isinstance(at, str) or at is None:
            params["at"] = at  # a day is one of the server's
        else:
            params["at"] = arg_text(at) if type(at) is date else self.connection.text_of(at)
        return Why(self.connection.json("GET", f"/why/{quoted(job)}", params=params)["causes"])

    # ---- Tokens ----

    def make_token(
        self,
        role: str,
        *,
        name: str | None = None,
        paths: Sequence[str] = (),
        expires: When | None = None,
    ) -> dict[str, Any]:
        """Give out a token; it takes the role `admin`.

        Args:
            role: what its holder may do: read, run, write or admin.
            name: of the holder, who is told as `by`; one is made up unless given.
            paths: folders of jobs, or jobs, that it is held to; none: all.
            expires: when its time is over; never, unless given.

        Returns:
            `token`, which is told only here; name, role, paths, made_at, by, expires_at.
        """
        wanted = {
            "role": role,
            "name": name,
            "paths": list(paths),
            "expires": self.connection.text_of(expires),
        }
        return self.connection.json("POST", "/tokens", body=wanted)

    def list_tokens(self) -> list[dict[str, Any]]:
        """The tokens that were given out: name, role, paths, made_at, by, expires_at."""
        tokens: list[dict[str, Any]] = self.connection.json("GET", "/tokens")["tokens"]
        return tokens

    def revoke_token(self, name: str) -> None:
        """Take a token back: it opens nothing any more, nor does a browser that logged in with it."""
        self.connection.json("DELETE", f"/tokens/{quoted(name)}")

    # ---- Runs ----

    def schedule(
        self,
        job: str,
        *,
        args: Mapping[str, Any] | None = None,
        at: When | None = None,
        stop_at: When | None = None,
        label: str | Sequence[str] = (),
        test: bool = False,
        **more_args: Any,
    ) -> Run:
        """Ask for a run of a job.

        Args:
            job: its id, or a part of it that names no other job.
            args: of the run; also as keywords, where the name is free: `date="2026-01-31"`.
            at: when it is due; by default now.
            stop_at: when it is stopped if it still runs.
            label: one or several.
            test: it fires no actions, satisfies no dependency and counts in no statistic.

        Raises:
            NoSuch: no such job.
            BadRequest: the args do not fit.
        """
        wanted = {**(args or {}), **more_args}
        return self.schedule_runs(job, args=wanted, at=at, stop_at=stop_at, label=label, test=test)[0]

    def schedule_runs(
        self,
        job: str,
        *,
        args: Mapping[str, Any] | None = None,
        at: When | None = None,
        stop_at: When | None = None,
        label: str | Sequence[str] = (),
        count: int = 1,
        test: bool = False,
    ) -> list[Run]:
        """Ask for `count` runs that are alike; otherwise as `schedule`."""
        texts = {name: arg_text(value) for name, value in (args or {}).items()}
        body = {"job_id": job, "args": texts, "count": count, "test": test}
        return self._request_runs(body, at, stop_at, label)

    def request_runs(self, wanted: Mapping[str, Any]) -> list[Run]:
        """Ask for runs as the HTTP interface does; `schedule` and `adhoc` are the short ways.

        Args:
            wanted: `job_id` or `job` (in the form of a job file), `args`, `at`, `stop_at`, `labels`, `count`,
                `test`.

        Raises:
            NoSuch: no such job.
            BadRequest, RequestRefused: it cannot be made, and why.
            NotAuthorized: the token does not allow it.
        """
        made = self.connection.json("POST", "/runs", body=dict(wanted))["runs"]
        return [Run(self.connection, facts) for facts in made]

    def plan_run(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """What a request for runs would run; nothing is made.

        Args:
            wanted: as of `request_runs`.

        Returns:
            `job_id`; `args` with defaults; `program` with the args put in; `scheduled_at`, `stop_at`,
            `labels`, `host`; in words, `condition`: what it will wait for, and `action`: what will follow.

        Raises:
            NoSuch: no such job.
            BadRequest, RequestRefused: it cannot be made, and why.
            NotAuthorized: the token does not allow it.
        """
        return self.connection.json("POST", "/runs/plan", body=dict(wanted))

    def adhoc(
        self,
        command: str | Sequence[str],
        *,
        label: str | Sequence[str] = (),
        at: When | None = None,
        stop_at: When | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Run:
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
            program = {"type": "shell", "command": literal(command)}
        else:
            program = {"type": "argv", "argv": [literal(str(word)) for word in command]}
        if self.connection.is_local:
            folders = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
            program["cwd"] = literal(os.getcwd())
            program["env"] = {"PATH": literal(os.pathsep.join(folders))}
        program.setdefault("env", {}).update({k: literal(v) for k, v in (env or {}).items()})
        return self._request_runs({"job": {"program": program}}, at, stop_at, label)[0]

    def run(self, run_id: str | int) -> Run:
        """A run by its id: `r12`, or 12.

        Raises:
            NoSuch: there is no such run.
        """
        return Run(self.connection, self.connection.json("GET", f"/runs/{_run_name(run_id)}"))

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
        each = partial(frames.name_runs, columns=frames.RUNS)
        table = self.connection.arrow("GET", "/history/runs", params=params, each=each)
        frame = frames.to_frame(table, frames.RUNS)
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
            answer = self.connection.json(
                "GET", "/runs", params=params | {"limit": min(limit - len(found), PAGE_RUNS)}
            )
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
            "since": self.connection.past_text_of(since),
            "until": self.connection.past_text_of(until),
            "state": [state] if isinstance(state, str) else list(state),
            "label": label,
            "late": None if late is None else str(late).lower(),
            "limit": limit,
            **{f"arg.{name}": arg_text(value) for name, value in (args or {}).items()},
        }

    # ---- History ----

    @property
    def history(self) -> History:
        """Frames over all runs: `.lateness()`, `.durations()`, `.drift()`, `.cost()`, `.calendar()` ..."""
        return History(self.connection)

    def report(self, month: str) -> "Report":
        """A month as one page of HTML for people without the tool; it shows itself in a notebook.

        Args:
            month: `2026-11`, in the server's zone: what was due in it.

        Returns:
            The page: `.save(FILE)` writes it, `.html` is its text. It asks nothing of any network.

        Raises:
            BadRequest: it is no month.
        """
        from apsis_nb.client.report import report_of

        return report_of(self, month)

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """The answer to one SELECT over the views `runs`, `run_log`, `jobs` ...; times are aware UTC.

        Args:
            query: in DuckDB's SQL.
            params: values of its `?` or `$name`.

        Raises:
            BadRequest: it is wrong, not allowed, or took too long; with DuckDB's words.
        """
        frame: pd.DataFrame = _aware(self.sql_arrow(query, params)).to_pandas()
        return frame

    def sql_polars(
        self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> "pl.DataFrame":
        """As `sql`, as a frame of polars.

        Raises:
            ClientError: polars is not installed.
        """
        try:
            import polars as pl
        except ImportError:
            raise ClientError("polars is not installed here: pip install polars") from None
        return pl.DataFrame(_aware(self.sql_arrow(query, params)))

    def sql_rows(
        self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """As `sql`: the names of the columns, and the rows as plain values; times as ISO 8601, UTC."""
        answer = self.connection.json("POST", "/sql", body=_query(query, params))
        return [column["name"] for column in answer["columns"]], answer["rows"]

    def sql_arrow(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> "pa.Table":
        """As `sql`, as an Arrow table: times are UTC without saying so."""
        return self.connection.arrow("POST", "/sql", body=_query(query, params))

    def _request_runs(
        self, body: dict[str, Any], at: When | None, stop_at: When | None, label: str | Sequence[str]
    ) -> list[Run]:
        labels = [label] if isinstance(label, str) else list(label)
        body |= {
            "at": self.connection.text_of(at),
            "stop_at": self.connection.text_of(stop_at),
            "labels": labels,
        }
        return self.request_runs(body)


def _aware(table: "pa.Table") -> "pa.Table":
    """The same, its times with their zone, which is UTC."""
    import pyarrow as pa

    for n, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            aware = table.column(n).cast(pa.timestamp(column.type.unit, tz="UTC"))
            table = table.set_column(n, column.name, aware)
    return table


def _query(query: str, params: Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
    values = params if params is None or isinstance(params, Mapping) else list(params)
    return {"query": query, "params": values}


def _held(verb: str, job: str | None, path: str | None, everything: bool) -> tuple[str, dict[str, str]]:
    """The address of a request about one job, a path or all."""
    if [job is not None, path is not None, everything].count(True) != 1:
        raise BadRequest(f"{verb} what? give a job, path=..., or everything=True")
    if job is not None:
        return f"/{verb}/{quoted(job)}", {}
    return f"/{verb}", {"all": "true"} if path is None else {"path": path}


def _run_name(run_id: str | int) -> str:
    match = re.fullmatch(r"r?(\d+)", str(run_id))
    if match is None:
        raise BadRequest(f"{run_id!r} is no run id: write r123")
    return f"r{match[1]}"


def literal(text: str) -> str:
    """A template that gives `text` itself: an ad-hoc command is not expanded."""
    is_template = any(mark in text for mark in ("{{", "{%", "{#"))  # `${#words[@]}` of bash too
    return "{% raw %}" + text + "{% endraw %}" if is_template else text


def _times_frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    return _rows_frame(rows, ["job_id", "args", "nominal_at", "scheduled_at"])


def _rows_frame(rows: list[dict[str, Any]], columns: list[str]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame(rows, columns=columns)
    for column in {"nominal_at", "scheduled_at", "period", "first_at"}.intersection(columns):
        frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        )
    return frame.astype({"job_id": "str"})
