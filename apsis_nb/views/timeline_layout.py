"""Where everything of the timeline goes: a pure function of frames.

A bar is thin from the scheduled time to the start and solid from the start to the end, outlined if late. Runs
of one row that overlap share it, each in a lane. What the schedules expect stands as ghosts right of the
Now line; left of it, what was due and not run, with a cross. Runs too close to be told apart come as one bar
with a count.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from apsis_nb.core.states import State

from . import palette
from .ahead import nothing_expected
from .timeline_rows import Row, row_of_job

MOST_LANES = 4  #: runs of one row that overlap more than this share the last lane
LEAST_PX = 3.0  #: no bar is narrower
NEVER = 1e15  #: where there is no time or duration: a tooltip would say NaN, whatever its formatter does

#: Each has a source of its own: Bokeh would make the pattern anew for each bar, which takes a millisecond.
HATCHES = tuple(sorted({look.hatch for look in palette.LOOKS.values() if look.hatch.strip()}))
#: The kinds of things that are drawn.
KINDS = ("bars", *HATCHES, "waits", "marks", "ghosts", "missing")

STATES = [state.value for state in State]
_CODES = {name: n for n, name in enumerate(STATES)}
_COLOURS = {state.value: look.colour for state, look in palette.LOOKS.items()}
TEXTS = {"run_id", "job_id", "colour", "edge", "marker"}
_BAD = [State.FAILURE.value, State.ERROR.value]
_MAY_BE_NONE = {"started", "finished", "took_s", "late_s"}
_SHARED = ["run_id", "job_id", "runs", "scheduled", "started", "finished", "took_s", "late_s", "colour"]

Columns = dict[str, Any]
Array = np.ndarray[Any, Any]


def milliseconds(times: "pd.Series[Any]") -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Times as milliseconds since 1970, as Bokeh has them; NaN for none. Naive times are UTC."""
    values = pd.to_datetime(times, utc=True).to_numpy(dtype="datetime64[us]")
    ms = values.astype("int64") / 1000.0
    ms[np.isnat(values)] = np.nan
    return ms


def epoch_ms(at: datetime) -> float:
    return at.timestamp() * 1000


def lanes(left: Sequence[float], right: Sequence[float]) -> tuple[list[int], list[int]]:
    """The lane of each bar of one row, and of how many, so that none covers another.

    Only bars that really overlap, directly or through others, share the height of the row.

    Args:
        left, right: the bars' ends, in any order; beyond `MOST_LANES` the last lane is shared.
    """
    lane, count = [0] * len(left), [1] * len(left)
    group: list[int] = []
    ends: list[float] = []  # where each lane of the group is free again
    for n in sorted(range(len(left)), key=lambda i: (left[i], right[i])):
        if not ends or left[n] >= max(ends):
            group, ends = [], []
        free = next((k for k, end in enumerate(ends) if end <= left[n]), None)
        if free is None and len(ends) < MOST_LANES:
            ends.append(right[n])
            free = len(ends) - 1
        elif free is None:
            free = MOST_LANES - 1
        ends[free] = max(ends[free], right[n])
        lane[n] = free
        group.append(n)
        for member in group:
            count[member] = len(ends)
    return lane, count


def bars(
    frame: "pd.DataFrame",
    *,
    rows: Sequence[Row],
    now: datetime,
    ms_per_px: float,
    expected: "pd.DataFrame | None" = None,
) -> dict[str, Columns]:
    """Where everything goes.

    Args:
        frame: the columns of `frames.TIMELINE`, or of `frames.RUNS`.
        rows: from above; runs of jobs that have none are left out.
        now: aware; what has not ended reaches to here.
        ms_per_px: milliseconds that one pixel stands for.
        expected: what the schedules will make: `job_id`, `scheduled_at`.

    Returns:
        Columns for each of `KINDS`: `bars` (solid), `waits` (thin), `marks` (skipped, and errors that never
        started), `ghosts` (expected), `missing` (due, but not run), and one for each of `HATCHES`, which lie
        over bars. Row n lies between y = n and y = n + 1; times are milliseconds since 1970.
    """
    # Arrays, not frames: each of the many small steps of a frame takes a hundred times as long.
    places: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        for job in row.jobs:
            places.setdefault(job, []).append(n)
    facts = _facts(frame, places, epoch_ms(now), ms_per_px)
    usual = _usual(facts)
    layout = {
        "bars": _solid(facts),
        **{hatch: _hatched(facts, hatch) for hatch in HATCHES},
        "waits": _waits(facts, epoch_ms(now), ms_per_px),
        "marks": _marks(facts),
        "ghosts": _ghosts(
            nothing_expected() if expected is None else expected, places, usual, epoch_ms(now), ms_per_px
        ),
        "missing": _missing(facts, usual, ms_per_px),
    }
    return {kind: {k: _sendable(k, v) for k, v in columns.items()} for kind, columns in layout.items()}


def _sendable(name: str, values: Any) -> Any:
    """A column as Bokeh takes it."""
    if name in TEXTS:
        return list(values)  # an empty array of objects would be taken for numbers, and be no colours
    numbers = np.asarray(values, dtype=float)
    return np.nan_to_num(numbers, nan=NEVER) if name in _MAY_BE_NONE else numbers


def _placed(jobs: Sequence[str], places: Mapping[str, Sequence[int]]) -> tuple[Array, Array]:
    """Which of the jobs stand somewhere, and in which row: once for each row that a job stands in."""
    rows_of_job = {job: places.get(row_of_job(job), ()) for job in set(jobs)}
    placed = [(n, row) for n, job in enumerate(jobs) for row in rows_of_job[job]]
    which, row = zip(*placed, strict=True) if placed else ((), ())
    return np.array(which, dtype=int), np.array(row, dtype=float)


def _facts(
    frame: "pd.DataFrame", places: Mapping[str, Sequence[int]], now: float, ms_per_px: float
) -> Columns:
    """One row a bar, with its ends, lane and words."""
    jobs = frame["job_id"].astype(str).tolist()
    which, row = _placed(jobs, places)
    count = len(frame)
    facts: Columns = {
        "job_id": _words(jobs),
        "run_id": _words(frame["run_id"].astype(str).tolist()),
        "state": _words(frame["state"].astype(str).tolist()),
        "runs": frame["runs"].to_numpy(dtype=int) if "runs" in frame else np.ones(count, dtype=int),
        "scheduled": milliseconds(frame["scheduled_at"]),
        "started": milliseconds(frame["started_at"]),
        "finished": milliseconds(frame["finished_at"]),
        "is_late": frame["late"].fillna(False).to_numpy(dtype=bool) if count else np.zeros(0, dtype=bool),
        "late_s": frame["late_s"].to_numpy(dtype=float),
    }
    facts = _chosen(facts, which) | {"row": row}
    started, finished, state = facts["started"], facts["finished"], facts["state"].tolist()
    facts["has_bar"] = ~np.isnan(started)
    end = np.where(np.isnan(finished), np.maximum(now, started), finished)
    facts["length"] = end - started
    facts["left"] = started
    facts["right"] = np.maximum(end, started + LEAST_PX * ms_per_px)
    lane, lanes_of = np.zeros(len(row)), np.ones(len(row))
    for n in np.unique(row[facts["has_bar"]]):
        part = np.flatnonzero(facts["has_bar"] & (row == n))
        # Runs that nearly touch are not pushed apart: the lane is for those that really overlap.
        real_end = np.maximum(end[part], started[part])
        lane[part], lanes_of[part] = lanes(started[part].tolist(), real_end.tolist())
    height = 0.68 / lanes_of
    facts["top"] = row + 0.16 + lane * height
    facts["bottom"] = facts["top"] + height * np.where(lanes_of > 1, 0.9, 1.0)
    facts["code"] = np.array([_CODES[s] for s in state], dtype=int)
    facts["took_s"] = facts["length"] / 1000
    # A run that was not late has its lateness below zero: one column says both.
    facts["late_s"] = np.where(facts["is_late"], facts["late_s"], -facts["late_s"])
    facts["colour"] = _words([_COLOURS[s] for s in state])
    return facts


def _words(values: Sequence[str]) -> Array:
    return np.array(values, dtype=object)


def _chosen(columns: Columns, which: Array) -> Columns:
    return {name: values[which] for name, values in columns.items()}


def _usual(facts: Columns) -> dict[str, float]:
    """How long the runs of each job usually are, in milliseconds."""
    lengths: dict[str, list[float]] = {}
    is_told = (facts["runs"] == 1) & ~np.isnan(facts["finished"]) & ~np.isnan(facts["length"])
    for job, length in zip(facts["job_id"][is_told], facts["length"][is_told], strict=True):
        lengths.setdefault(job, []).append(float(length))
    return {job: median(known) for job, known in lengths.items()}


def _columns(facts: Columns, *names: str) -> Columns:
    return {name: facts[name] for name in (*_SHARED, *names)} | {"state": facts["code"]}


def _solid(facts: Columns) -> Columns:
    part = _chosen(facts, facts["has_bar"])
    # Failures are drawn last: where bars are dense, one must not vanish below its neighbours.
    part = _chosen(part, np.argsort(np.isin(part["state"], _BAD), kind="stable"))
    columns = _columns(part, "left", "right", "top", "bottom")
    columns["edge"] = np.where(part["is_late"], palette.LATE, part["colour"])
    columns["edge_width"] = np.where(part["is_late"], 2.0, 0.5)
    return columns


def _hatched(facts: Columns, hatch: str) -> Columns:
    """Where a hatch lies over bars."""
    states = [state.value for state, look in palette.LOOKS.items() if look.hatch == hatch]
    which = facts["has_bar"] & np.isin(facts["state"], states)
    return {name: facts[name][which] for name in ("left", "right", "top", "bottom")}


def _waits(facts: Columns, now: float, ms_per_px: float) -> Columns:
    waits_now = np.isin(facts["state"], [State.WAITING.value, State.STARTING.value])
    # What has only begun to wait is seen, too: there is no bar behind it yet.
    so_far = np.maximum(now, facts["scheduled"] + LEAST_PX * ms_per_px)
    end = np.where(facts["has_bar"], facts["started"], np.where(waits_now, so_far, np.nan))
    which = (facts["runs"] == 1) & (end - facts["scheduled"] > ms_per_px)
    part = _chosen(facts | {"left": facts["scheduled"], "right": end}, which)
    middle = (part["top"] + part["bottom"]) / 2
    thin = np.where(part["has_bar"], 0.07, 0.11)
    columns = _columns(part, "left", "right") | {"top": middle - thin, "bottom": middle + thin}
    columns["colour"] = np.where(part["is_late"], palette.LATE, palette.LOOKS[State.WAITING].colour)
    return columns


def _marks(facts: Columns) -> Columns:
    part = _chosen(facts, ~facts["has_bar"] & np.isin(facts["state"], list(_MARKERS)))
    columns = _columns(part)
    columns["x"] = part["scheduled"]
    columns["y"] = part["row"] + 0.5
    columns["marker"] = [_MARKERS[s] for s in part["state"]]
    return columns


#: Of runs that have no bar.
_MARKERS = {State.SCHEDULED.value: "circle", State.SKIPPED.value: "x", State.ERROR.value: "triangle"}


def _missing(facts: Columns, usual: dict[str, float], ms_per_px: float) -> Columns:
    """What was due and not run: as wide as the job's runs usually are."""
    part = _chosen(facts, ~facts["has_bar"] & (facts["state"] == State.SKIPPED.value))
    left, row = part["scheduled"], part["row"]
    ends = {"left": left, "right": left + _widths(part["job_id"], usual, ms_per_px)}
    return _columns(part) | ends | {"top": row + 0.24, "bottom": row + 0.76}


def _widths(jobs: Array, usual: dict[str, float], ms_per_px: float) -> Array:
    """As wide as the jobs' runs usually are."""
    return np.array([max(usual.get(job, 0.0), 4 * ms_per_px) for job in jobs], dtype=float)


def _ghosts(
    expected: "pd.DataFrame",
    places: Mapping[str, Sequence[int]],
    usual: dict[str, float],
    now: float,
    ms_per_px: float,
) -> Columns:
    """Expected runs, as wide as the job's runs usually are; those that touch are one ghost with a count."""
    jobs = expected["job_id"].astype(str).tolist()
    which, row = _placed(jobs, places)
    job_id, left = _words(jobs)[which], milliseconds(expected["scheduled_at"])[which]
    right = left + _widths(job_id, usual, ms_per_px)
    is_strip = np.zeros(len(which), dtype=bool)
    if "until_at" in expected:
        until = milliseconds(expected["until_at"])[which]
        is_strip = ~np.isnan(until)
        left = np.where(is_strip, np.maximum(left, now), left)
        right = np.where(is_strip, until, right)
    first: list[int] = []  # of those that touch; and of all of them the end, how many, and if one is a strip
    ends: list[float] = []
    runs: list[int] = []
    strips: list[bool] = []
    in_row, reached = -1.0, 0.0
    for n in np.lexsort((left, row)):
        if row[n] == in_row and left[n] < reached + 2 * ms_per_px:
            ends[-1] = max(ends[-1], right[n])
            runs[-1] += 1
            strips[-1] |= is_strip[n]
        else:
            first.append(n)
            ends.append(right[n])
            runs.append(1)
            strips.append(is_strip[n])
        reached = max(reached, right[n]) if row[n] == in_row else right[n]
        in_row = row[n]
    count, at = len(first), row[first]
    none = [float("nan")] * count
    return {
        "run_id": [""] * count,
        "job_id": job_id[first],
        "runs": np.array(runs) + np.array(strips, dtype=int),  # a tap on a strip zooms, too
        "scheduled": left[first],
        "started": none,
        "finished": none,
        "state": [-1.0] * count,
        "took_s": none,
        "late_s": none,
        "colour": [palette.GHOST] * count,
        "left": left[first],
        "right": ends,
        "top": at + 0.24,
        "bottom": at + 0.76,
    }


def cut(columns: Columns, at: float) -> tuple[Columns, Columns]:
    """The bars that had ended at a time, and the others."""
    past = np.asarray(columns["finished"]) <= at
    halves = []
    for which in (past, ~past):
        chosen = np.flatnonzero(which)
        halves.append({k: [v[n] for n in chosen] if k in TEXTS else v[chosen] for k, v in columns.items()})
    return halves[0], halves[1]


def same(one: Columns, other: Columns) -> bool:
    """Whether two sets of columns say the same."""
    return one.keys() == other.keys() and all(
        one[k] == v if k in TEXTS else np.array_equal(one[k], v, equal_nan=True) for k, v in other.items()
    )
