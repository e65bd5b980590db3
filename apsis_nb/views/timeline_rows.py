"""The rows of the timeline: the jobs, in groups by path or label that fold, in an order of choice. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

AD_HOC = "ad hoc"  #: the row of all ad-hoc commands
_AD_HOC_ID = re.compile(r"adhoc-[0-9a-f]+")

Grouping = Literal["", "path", "label"]
Order = Literal["name", "next", "late", "failures"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
ORDERS: tuple[Order, ...] = get_args(Order)

_NO_GROUP = {"path": "(no folder)", "label": "(no label)"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row: a job's, or the heading of a group, which when folded has the runs of all its jobs."""

    title: str
    jobs: tuple[str, ...] = ()  #: whose runs stand in it
    group: str | None = None  #: of a heading: the group
    is_open: bool = True  #: of a heading: whether its jobs have rows of their own
    is_inner: bool = False  #: whether it stands below a heading


def row_of_job(job_id: str) -> str:
    """The name under which a job's runs stand: its own, or that of all ad-hoc commands."""
    return AD_HOC if _AD_HOC_ID.fullmatch(job_id) else job_id


def rows_of(*frames: "pd.DataFrame | None") -> list[str]:
    """The names of all frames' rows: the jobs by path, then the ad-hoc commands."""
    found: set[str] = set()
    for frame in frames:
        if frame is not None and len(frame):
            found |= {row_of_job(job_id) for job_id in frame["job_id"].astype(str).unique()}
    return sorted(found, key=lambda row: (row == AD_HOC, row))


def plain_rows(jobs: Sequence[str]) -> list[Row]:
    """A row for each job."""
    return [Row(job, (job,)) for job in jobs]


def arranged(
    jobs: Sequence[str],
    *,
    by: Grouping = "",
    labels: Mapping[str, Sequence[str]] | None = None,
    folded: Collection[str] = (),
    rank: Mapping[str, float] | None = None,
) -> list[Row]:
    """The rows of these jobs.

    Args:
        jobs: names of `rows_of`.
        by: what makes the groups: the folder of a job, or each of its labels; empty: there are none.
        labels: of the jobs, for groups by label.
        folded: the groups whose jobs share one row.
        rank: of the jobs: those with the least come first, those without one last; else they go by name.
    """
    of = rank or {}

    def place(job: str) -> tuple[bool, float, str]:
        return job == AD_HOC, of.get(job, float("inf")), job

    ordered = sorted(jobs, key=place)
    if not by:
        return plain_rows(ordered)
    groups: dict[str, list[str]] = {}
    for job in ordered:  # so a group stands where its first job does
        for group in _groups_of(job, by, labels or {}):
            groups.setdefault(group, []).append(job)
    names = sorted(groups, key=lambda group: (place(groups[group][0])[:2], group)) if of else sorted(groups)
    rows: list[Row] = []
    for group in sorted(names, key=lambda group: (group == AD_HOC, group == _NO_GROUP[by])):
        members = groups[group]
        if group == AD_HOC:
            rows += plain_rows(members)
        elif group in folded:
            rows.append(Row(group, tuple(members), group, is_open=False))
        else:
            rows.append(Row(group, (), group))
            rows += [Row(_short(job, by), (job,), is_inner=True) for job in members]
    return rows


def _groups_of(job: str, by: Grouping, labels: Mapping[str, Sequence[str]]) -> list[str]:
    if job == AD_HOC:
        return [AD_HOC]
    if by == "path":
        return [job.rpartition("/")[0] or _NO_GROUP[by]]
    return sorted(set(labels.get(job, ()))) or [_NO_GROUP[by]]


def _short(job: str, by: Grouping) -> str:
    """What a heading says need not be said again."""
    return job.rpartition("/")[2] if by == "path" else job
