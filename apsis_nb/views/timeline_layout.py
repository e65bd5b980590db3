"""Where everything of the timeline goes: a pure function of frames.

A bar is thin from the scheduled time to the start and solid from the start to the end, outlined if late. Runs
of one row that overlap share it, each in a lane. What the schedules expect stands as ghosts right of the
Now line; left of it, what was due and not run, with a cross. Runs too close to be told apart come as one bar
with a count.
"""

from collections.abc import Sequence
from datetime import datetime
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
TEXTS = {"run_id", "job_id", "colour", "edge", "marker"}
_BAD = [State.FAILURE.value, State.ERROR.value]
_MAY_BE_NONE = {"started", "finished", "took_s", "late_s"}
_SHARED = ["run_id", "job_id", "runs", "scheduled", "started", "finished", "took_s", "late_s", "colour"]

Columns = dict[str, Any]


def milliseconds(times: "pd.Series[Any]") -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Times as milliseconds since 1970, as Bokeh has them; NaN for none. Naive times are UTC."""
    series = pd.to_datetime(times, utc=True)
    values = series.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
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
    places = pd.DataFrame(
        [(job, float(n)) for n, row in enumerate(rows) for job in row.jobs], columns=["place", "row"]
    ).astype({"place": "str", "row": "float64"})
    facts = _facts(_placed(frame, places), epoch_ms(now), ms_per_px)
    typical = facts[(facts["runs"] == 1) & facts["finished"].notna()].groupby("job_id")["length"].median()
    usual = {str(job): float(ms) for job, ms in typical.items()}
    layout = {
        "bars": _solid(facts),
        **{hatch: _hatched(facts, hatch) for hatch in HATCHES},
        "waits": _waits(facts, epoch_ms(now), ms_per_px),
        "marks": _marks(facts),
        "ghosts": _ghosts(_placed(expected, places), usual, epoch_ms(now), ms_per_px),
        "missing": _missing(facts, usual, ms_per_px),
    }
    return {kind: {k: _sendable(k, v) for k, v in columns.items()} for kind, columns in layout.items()}


def _sendable(name: str, values: Any) -> Any:
    """A column as Bokeh takes it."""
    if name in TEXTS:
        return list(values)  # an empty array of objects would be taken for numbers, and be no colours
    numbers = np.asarray(values, dtype=float)
    return np.nan_to_num(numbers, nan=NEVER) if name in _MAY_BE_NONE else numbers


def _placed(frame: "pd.DataFrame | None", places: "pd.DataFrame") -> "pd.DataFrame":
    """A frame with a column `row`: once for each row that the job stands in."""
    frame = nothing_expected() if frame is None else frame
    jobs = frame["job_id"].astype("str")
    names = {job: row_of_job(job) for job in jobs.unique()}
    return frame.assign(job_id=jobs, place=jobs.map(names).astype("str")).merge(
        places, on="place", how="inner"
    )


def _facts(frame: "pd.DataFrame", now: float, ms_per_px: float) -> "pd.DataFrame":
    """One row a bar, with its ends, lane and words."""
    state = frame["state"].astype(str)
    facts = pd.DataFrame(
        {
            "run_id": frame["run_id"].astype(str),
            "job_id": frame["job_id"].astype(str),
            "state": state,
            "runs": frame["runs"].astype(int) if "runs" in frame else 1,
            "scheduled": milliseconds(frame["scheduled_at"]),
            "started": milliseconds(frame["started_at"]),
            "finished": milliseconds(frame["finished_at"]),
            "is_late": frame["late"].fillna(False).astype(bool) if len(frame) else pd.Series(dtype=bool),
            "late_s": frame["late_s"].astype(float),
            "row": frame["row"],
        }
    )
    facts["has_bar"] = facts["started"].notna()
    end = facts["finished"].where(facts["finished"].notna(), np.maximum(now, facts["started"]))
    facts["length"] = end - facts["started"]
    facts["left"] = facts["started"]
    facts["right"] = np.maximum(end, facts["left"] + LEAST_PX * ms_per_px)
    facts["lane"], facts["lanes"] = 0, 1
    for _, part in facts[facts["has_bar"]].groupby("row"):
        # Runs that nearly touch are not pushed apart: the lane is for those that really overlap.
        real_end = np.maximum(end[part.index], part["left"]).tolist()
        lane, count = lanes(part["left"].tolist(), real_end)
        facts.loc[part.index, "lane"] = lane
        facts.loc[part.index, "lanes"] = count
    height = 0.68 / facts["lanes"]
    facts["top"] = facts["row"] + 0.16 + facts["lane"] * height
    facts["bottom"] = facts["top"] + height * np.where(facts["lanes"] > 1, 0.9, 1.0)
    facts["code"] = [STATES.index(s) for s in state]
    facts["took_s"] = facts["length"] / 1000
    # A run that was not late has its lateness below zero: one column says both.
    facts["late_s"] = np.where(facts["is_late"], facts["late_s"], -facts["late_s"])
    facts["colour"] = [palette.LOOKS[State(s)].colour for s in state]
    return facts


def _columns(facts: "pd.DataFrame", *names: str) -> Columns:
    return {name: facts[name].to_numpy() for name in (*_SHARED, *names)} | {"state": facts["code"].to_numpy()}


def _solid(facts: "pd.DataFrame") -> Columns:
    part = facts[facts["has_bar"]]
    # Failures are drawn last: where bars are dense, one must not vanish below its neighbours.
    part = part.sort_values("state", key=lambda states: states.isin(_BAD), kind="stable")
    columns = _columns(part, "left", "right", "top", "bottom")
    columns["edge"] = np.where(part["is_late"], palette.LATE, part["colour"])
    columns["edge_width"] = np.where(part["is_late"], 2.0, 0.5)
    return columns


def _hatched(facts: "pd.DataFrame", hatch: str) -> Columns:
    """Where a hatch lies over bars."""
    states = [state.value for state, look in palette.LOOKS.items() if look.hatch == hatch]
    part = facts[facts["has_bar"] & facts["state"].isin(states)]
    return {name: part[name].to_numpy() for name in ("left", "right", "top", "bottom")}


def _waits(facts: "pd.DataFrame", now: float, ms_per_px: float) -> Columns:
    waits_now = facts["state"].isin([State.WAITING.value, State.STARTING.value])
    end = facts["started"].where(facts["has_bar"], np.where(waits_now, now, np.nan))
    part = facts.assign(left=facts["scheduled"], right=end)
    part = part[(part["runs"] == 1) & (part["right"] - part["left"] > ms_per_px)]
    middle = (part["top"] + part["bottom"]) / 2
    thin = np.where(part["has_bar"], 0.07, 0.11)
    part = part.assign(top=middle - thin, bottom=middle + thin)
    columns = _columns(part, "left", "right", "top", "bottom")
    columns["colour"] = np.where(part["is_late"], palette.LATE, palette.LOOKS[State.WAITING].colour)
    return columns


def _marks(facts: "pd.DataFrame") -> Columns:
    part = facts[~facts["has_bar"] & facts["state"].isin(_MARKERS)]
    columns = _columns(part)
    columns["x"] = part["scheduled"].to_numpy()
    columns["y"] = (part["row"] + 0.5).to_numpy()
    columns["marker"] = [_MARKERS[s] for s in part["state"]]
    return columns


#: Of runs that have no bar.
_MARKERS = {State.SCHEDULED.value: "circle", State.SKIPPED.value: "x", State.ERROR.value: "triangle"}


def _missing(facts: "pd.DataFrame", usual: dict[str, float], ms_per_px: float) -> Columns:
    """What was due and not run: as wide as the job's runs usually are."""
    part = facts[~facts["has_bar"] & (facts["state"] == State.SKIPPED.value)]
    width = part["job_id"].map(usual).astype(float).fillna(0.0).clip(lower=4 * ms_per_px)
    part = part.assign(
        left=part["scheduled"],
        right=part["scheduled"] + width,
        top=part["row"] + 0.24,
        bottom=part["row"] + 0.76,
    )
    return _columns(part, "left", "right", "top", "bottom")


def _ghosts(expected: "pd.DataFrame", usual: dict[str, float], now: float, ms_per_px: float) -> Columns:
    """Expected runs, as wide as the job's runs usually are; those that touch are one ghost with a count."""
    ghosts = pd.DataFrame(
        {
            "job_id": expected["job_id"].astype(str),
            "left": milliseconds(expected["scheduled_at"]),
            "row": expected["row"],
        }
    )
    width = ghosts["job_id"].map(usual).astype(float).fillna(0.0).clip(lower=4 * ms_per_px)
    ghosts["right"] = ghosts["left"] + width
    ghosts["is_strip"] = False
    if "until_at" in expected:
        until = milliseconds(expected["until_at"])
        ghosts["is_strip"] = ~np.isnan(until)
        ghosts["left"] = np.where(ghosts["is_strip"], np.maximum(ghosts["left"], now), ghosts["left"])
        ghosts["right"] = np.where(ghosts["is_strip"], until, ghosts["right"])
    ghosts = ghosts.sort_values(["row", "left"], ignore_index=True)
    reached = ghosts.groupby("row")["right"].cummax().groupby(ghosts["row"]).shift()
    group = (~(ghosts["left"] < reached + 2 * ms_per_px)).cumsum()
    merged = ghosts.groupby(group, sort=False).agg(
        job_id=("job_id", "first"),
        row=("row", "first"),
        left=("left", "min"),
        right=("right", "max"),
        runs=("left", "size"),
        is_strip=("is_strip", "any"),
    )
    row = merged["row"].to_numpy(dtype=float)
    none = [float("nan")] * len(merged)
    return {
        "run_id": [""] * len(merged),
        "job_id": merged["job_id"].tolist(),
        "runs": merged["runs"] + merged["is_strip"],  # a tap on a strip zooms, too
        "scheduled": merged["left"],
        "started": none,
        "finished": none,
        "state": [-1.0] * len(merged),
        "took_s": none,
        "late_s": none,
        "colour": [palette.GHOST] * len(merged),
        "left": merged["left"],
        "right": merged["right"],
        "top": row + 0.24,
        "bottom": row + 0.76,
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
