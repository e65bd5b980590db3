"""The jobs of a server, as a mapping: they tell when they run, and can be asked for a run."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apsis_nb.client.connection import quoted
from apsis_nb.client.runs import Run
from apsis_nb.client.why import Why

if TYPE_CHECKING:
    import pandas as pd

    from apsis_nb.client.client import Client


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

    def errors(self) -> list[dict[str, Any]]:
        """What is wrong with job files: job_id, file, line, col, message."""
        errors: list[dict[str, Any]] = self._answer()["errors"]
        return errors

    def _answer(
        self, query: str | None = None, label: str | None = None, path: str | None = None
    ) -> dict[str, Any]:
        return self._client.connection.json("GET", "/jobs", params={"q": query, "label": label, "path": path})

    def _ids(self) -> list[str]:
        return [facts["job_id"] for facts in self.find()]


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

    def schedule(self, **args: Any) -> Run:
        """Ask for a run of it now; `Client.schedule` takes a time, labels and args with difficult names."""
        return self._client.schedule(self.job_id, args=args)

    def runs(self, **filters: Any) -> "pd.DataFrame":
        """Its runs, as `Client.runs` gives them."""
        return self._client.runs(job=self.job_id, **filters)

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
