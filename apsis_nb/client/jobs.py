"""The jobs of a server, as a mapping: they tell when they run, and can be asked for a run."""

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from inspect import Parameter, Signature
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from apsis_nb.client.connection import quoted
from apsis_nb.client.runs import Run, arg_text
from apsis_nb.client.why import Why

if TYPE_CHECKING:
    import pandas as pd

    from apsis_nb.client.backfills import Backfill
    from apsis_nb.client.client import Client
    from apsis_nb.client.connection import When


T = TypeVar("T", covariant=True)


class completed(Generic[T]):
    """As `property`, for what notebooks complete the keys of: IPython never looks into a property.

    Args:
        make: gives the value, each time that it is asked for.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, of: type) -> "completed[T]": ...

    @overload
    def __get__(self, owner: object, of: type | None = None) -> T: ...

    def __get__(self, owner: object | None, of: type | None = None) -> "completed[T] | T":
        return self if owner is None else self._make(owner)


class Jobs(Mapping[str, "Job"]):
    """The jobs of a server by id; asks it each time."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def __getitem__(self, job_id: str) -> "Job":
        """A job by its id, or by a part of it that names no other job; `NoSuch` is a KeyError."""
        return Job(self._client, self._client.connection.json("GET", f"/jobs/{quoted(job_id)}"))

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

    def listing(self) -> dict[str, Any]:
        """All `jobs`, their facts by id, and the `errors` of files, in one question."""
        return self._answer()

    def errors(self) -> list[dict[str, Any]]:
        """What is wrong with job files: job_id, file, line, col, message."""
        errors: list[dict[str, Any]] = self._answer()["errors"]
        return errors

    def _answer(
        self, query: str | None = None, label: str | None = None, path: str | None = None
    ) -> dict[str, Any]:
        return self._client.connection.json("GET", "/jobs", params={"q": query, "label": label, "path": path})

    def _ids(self) -> list[str]:
        ids: list[str] = self._client.connection.json("GET", "/job-ids")["job_ids"]
        return ids


class Job:
    """A job as the server has it now.

    Attributes:
        job_id: its id.
        facts: all that its file says, as plain values.
    """

    def __init__(self, client: "Client", facts: dict[str, Any]) -> None:
        self._client = client
        self.facts = facts
        self.job_id: str = facts["job_id"]

    def next(self, n: int = 10) -> "pd.DataFrame":
        """Its next `n` times: job_id, args (dict), nominal_at, scheduled_at."""
        return self._client.next(self.job_id, n)

    @property
    def schedule(self) -> Callable[..., Run]:
        """Ask for a run of it now; `Client.schedule` takes a time, labels and args with difficult names.

        It is a function whose keywords are the job's params, so that a notebook completes them.
        """

        def schedule(**args: Any) -> Run:
            return self._client.schedule(self.job_id, args=args)

        params = self.facts["params"]
        schedule.__doc__ = f"Ask for a run of {self.job_id} now.\n\nArgs:\n" + "".join(
            f"    {name}: {_about(param)}\n" for name, param in params.items()
        )
        keywords = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=param.get("default", Parameter.empty))
            for name, param in params.items()
            if name.isidentifier() and not iskeyword(name)
        ]
        others = Parameter("args", Parameter.VAR_KEYWORD)
        schedule.__signature__ = Signature([*keywords, others])  # type: ignore[attr-defined]
        return schedule

    def runs(self, **filters: Any) -> "pd.DataFrame":
        """Its runs, as `Client.runs` gives them."""
        return self._client.runs(job=self.job_id, **filters)

    def pause(self, *, until: "When | None" = None, reason: str | None = None) -> dict[str, Any]:
        """Hold back its schedules: what comes due is skipped."""
        return self._client.pause(self.job_id, until=until, reason=reason)

    def resume(self, *, dry_run: bool = False) -> dict[str, Any]:
        """End its pause; the plan tells what was skipped and what comes next."""
        return self._client.resume(self.job_id, dry_run=dry_run)

    def backfill(
        self,
        args: "pd.DataFrame | Iterable[Mapping[str, Any]] | None" = None,
        *,
        start: "date | str | None" = None,
        stop: "date | str | None" = None,
        only_missing: bool = False,
        max_running: int = 1,
        actions: bool = False,
        label: str | Sequence[str] = (),
        dry_run: bool = False,
    ) -> "Backfill | pd.DataFrame":
        """Run it for a list of args, or for days that are past: the oldest first, as its calendar says.

        It stops after three failures in a row.

        Args:
            args: a frame with a column for each param, a row a run; or mappings.
            start, stop: instead, the first and the last day, both included.
            only_missing: leave out what has succeeded or is under way.
            max_running: how many run at once.
            actions: whether they fire the job's actions: successors, notices.
            label: one or several.
            dry_run: run nothing; the answer is a frame of what would run: args, nominal_at.

        Raises:
            RequestRefused: nothing is left to run.
            BadRequest: the days or args are wrong.
        """
        import pandas as pd

        body = self._wish(args, start, stop, only_missing)
        if dry_run:
            plan = self._plan(body)
            frame = pd.DataFrame(plan["instances"], columns=["args", "nominal_at"])
            times = pd.to_datetime(frame["nominal_at"], utc=True, format="ISO8601")
            frame["nominal_at"] = times.astype("datetime64[us, UTC]")
            return frame
        labels = [label] if isinstance(label, str) else list(label)
        body |= {"max_running": max_running, "actions": actions, "labels": labels}
        made = self._client.connection.json("POST", f"/backfill/{quoted(self.job_id)}", body=body)
        return self._client.backfill(made["backfill_id"])

    def plan_backfill(
        self,
        *,
        start: "date | str | None" = None,
        stop: "date | str | None" = None,
        only_missing: bool = False,
    ) -> dict[str, Any]:
        """What a backfill of days would run: `instances` (args, nominal_at), and how many are `done`."""
        return self._plan(self._wish(None, start, stop, only_missing))

    def _wish(
        self,
        args: "pd.DataFrame | Iterable[Mapping[str, Any]] | None",
        start: "date | str | None",
        stop: "date | str | None",
        only_missing: bool,
    ) -> dict[str, Any]:
        rows = cast(
            "Iterable[Mapping[Any, Any]] | None", getattr(args, "to_dict", lambda how: args)("records")
        )
        texts = None if rows is None else [{str(k): _cell_text(v) for k, v in row.items()} for row in rows]
        days = {"from": None if start is None else str(start), "to": None if stop is None else str(stop)}
        return {"args": texts, **days, "only_missing": only_missing}

    def _plan(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._client.connection.json(
            "POST", f"/backfill/{quoted(self.job_id)}", body={**body, "dry_run": True}
        )

    def why(self, date: Any = None, **args: Any) -> Why:
        """Why its run of a day, or with these args, is not there, or did not do well; as `Client.why`."""
        return self._client.why(self.job_id, at=date, args=args)

    def edit(self, changes: Mapping[str, Any]) -> "Job":
        """The job after a change of single keys of its file, as `Client.edit_yaml` makes it."""
        self._client.edit_yaml(self.job_id, changes)
        return self._client.jobs[self.job_id]

    def __repr__(self) -> str:
        return f"<job {self.job_id}: {_in_words(self.facts)}>"

    def _repr_html_(self) -> str:
        metadata = self.facts["metadata"]
        rows = [("description", metadata.get("description", "")), ("when", _in_words(self.facts))]
        rows += [(f"param {name}", _about(param)) for name, param in self.facts["params"].items()]
        rows.append(("labels", ", ".join(metadata["labels"])))
        return f"<b>{html.escape(self.job_id)}</b>" + _html_table((), [r for r in rows if r[1]])


def _about(param: Mapping[str, Any]) -> str:
    """What a param is, in words."""
    told = [param["type"]]
    if "default" in param:
        told.append(f"default {param['default']}")
    if "choices" in param:
        told.append("one of " + ", ".join(param["choices"]))
    if "description" in param:
        told.append(param["description"])
    return "; ".join(told)


def _cell_text(value: Any) -> str:
    """An arg of a frame's cell; a time at midnight without zone is a day, as frames have no days."""
    if isinstance(value, datetime) and value.tzinfo is None and value.time() == time():
        value = value.date()
    return arg_text(value)


def _in_words(facts: Mapping[str, Any]) -> str:
    """When a job runs."""
    return "; ".join(facts["explain"]["schedule"]) or "when asked"


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]], cap: int = 50) -> str:
    """A small table; beyond `cap` rows it says how many there are."""
    head = "".join(f"<th style='text-align:left'>{html.escape(h)}</th>" for h in heads)
    body = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in rows[:cap])
    more = f"<div>{cap} of {len(rows)}</div>" if len(rows) > cap else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _html_cell(text: str) -> str:
    wraps = "normal" if " " in text else "nowrap"
    return f"<td style='text-align:left;white-space:{wraps}'>{html.escape(text)}</td>"
