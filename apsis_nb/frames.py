"""The DataFrames that users get: their columns, dtypes and units, and how an Arrow table becomes one.

In SQL and Arrow a run id is a whole number and times are UTC without saying so; in a frame the id is the text
`r123` and times are aware. `to_frame` is the one place where the former becomes the latter.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from apsis_nb.core.runs import Origin
from apsis_nb.core.states import State

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: What a column holds. run: a run's name, `r123`. state, origin: a category with every value, in order.
#: time: aware, UTC, microseconds. json: JSON text.
Kind = Literal["run", "text", "json", "state", "origin", "time", "number", "whole", "count", "flag"]

DTYPES: dict[Kind, str] = {
    "run": "str",
    "text": "str",
    "json": "str",
    "state": "category",
    "origin": "category",
    "time": "datetime64[us, UTC]",
    "number": "float64",
    "whole": "Int64",
    "count": "int64",
    "flag": "bool",
}

CATEGORIES: dict[Kind, list[str]] = {
    "state": [s.value for s in State],
    "origin": [o.value for o in Origin],
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a frame."""

    name: str
    kind: Kind
    doc: str  #: what it means, with its unit

    @property
    def dtype(self) -> str:
        """Its pandas dtype."""
        return DTYPES[self.kind]


#: One row a run.
RUNS: tuple[Column, ...] = (
    Column("run_id", "run", "the run"),
    Column("job_id", "text", "its job"),
    Column("args", "json", "its args: an object of strings, keys sorted"),
    Column("origin", "origin", "what made it"),
    Column("attempt", "count", "1, or more for a retry"),
    Column("rerun_of", "run", "the run that it repeats"),
    Column("backfill_id", "whole", "the backfill that it belongs to"),
    Column("state", "state", "where it is in its life"),
    Column("skip_reason", "text", "why it was not run"),
    Column("labels", "json", "its labels: a list of strings"),
    Column("nominal_at", "time", "when the schedule says; none if none stands behind it"),
    Column("scheduled_at", "time", "when it was due: nominal plus jitter"),
    Column("started_at", "time", "when its program started"),
    Column("finished_at", "time", "when it finished"),
    Column("stop_at", "time", "when it is stopped if it still runs"),
    Column("late", "flag", "started, or still waits, beyond its start budget"),
    Column("late_s", "number", "seconds from scheduled to started; NaN unless a schedule made it"),
    Column("late_why", "text", "of a late run: condition, limit, host or server"),
    Column("elapsed_s", "number", "seconds that its program took, by a monotonic clock; NaN until it ends"),
    Column("return_code", "whole", "exit status; -N if signal N ended it"),
    Column("message", "text", "of its last transition"),
    Column("host", "text", "where it runs"),
    Column("by", "text", "who asked for it"),
)

#: One row a line of the runs' logs, in the order in which they were written.
LOG: tuple[Column, ...] = (
    Column("run_id", "run", "the run"),
    Column("ts", "time", "when"),
    Column("state", "state", "the state that the run was in then"),
    Column("message", "text", "what happened"),
)

#: One row a bar: a run, or several of one job that are too close to be told apart at the given resolution.
TIMELINE: tuple[Column, ...] = (
    Column("job_id", "text", "the job: the bar's row"),
    Column("run_id", "run", "the run; of a merged bar its first"),
    Column("scheduled_at", "time", "when the (first) run was due"),
    Column("started_at", "time", "when its program started; of a merged bar the first start"),
    Column("finished_at", "time", "its end, none while it runs; of a merged bar the last end"),
    Column(
        "state", "state", "the state; of a merged bar the worst: error, failure, live ones, skipped, success"
    ),
    Column("late", "flag", "whether any run of it is late"),
    Column("late_s", "number", "seconds late; of a merged bar the most"),
    Column("runs", "count", "how many runs it stands for"),
)

#: One row a period and state, or a period, job and state.
COUNTS: tuple[Column, ...] = (
    Column("period", "time", "start of the period in which the runs were due"),
    Column("job_id", "text", "the job; none: all jobs together"),
    Column("state", "state", "the state"),
    Column("runs", "count", "how many runs"),
    Column("late", "count", "how many of them late"),
)

#: One row a job and period: how long its programs took. Only runs that succeeded.
DURATIONS: tuple[Column, ...] = (
    Column("job_id", "text", "the job"),
    Column("period", "time", "start of the period in which the runs were due"),
    Column("runs", "count", "how many runs"),
    Column("mean_s", "number", "mean, seconds"),
    Column("p50_s", "number", "median, seconds"),
    Column("p95_s", "number", "95th percentile, seconds"),
    Column("max_s", "number", "longest, seconds"),
)

#: One row a job and period: how late its runs of schedules started.
LATENESS: tuple[Column, ...] = (
    Column("job_id", "text", "the job"),
    Column("period", "time", "start of the period in which the runs were due"),
    Column("runs", "count", "how many runs a schedule made, without the skipped ones"),
    Column("late", "count", "how many of them late"),
    Column("p50_s", "number", "median of the lateness, seconds"),
    Column("p95_s", "number", "95th percentile of the lateness, seconds"),
    Column("max_s", "number", "most, seconds"),
)

#: One row a day or hour, for a heat map.
CALENDAR: tuple[Column, ...] = (
    Column("period", "time", "start of the period in which the runs were due"),
    Column("runs", "count", "how many runs"),
    Column("failed", "count", "how many ended in failure or error"),
    Column("late", "count", "how many were late"),
    Column("skipped", "count", "how many were not run"),
    Column("elapsed_s", "number", "seconds that all programs took together"),
)

#: One row an occurrence that no run executed.
MISSED: tuple[Column, ...] = (
    Column("run_id", "run", "the skipped run"),
    Column("job_id", "text", "the job"),
    Column("args", "json", "the args"),
    Column("nominal_at", "time", "when the schedule said"),
    Column("skipped_at", "time", "when it was given up"),
    Column("skip_reason", "text", "why: misfire, paused, busy, server down ..."),
)

#: One row a job, over the runs of a window.
JOBS: tuple[Column, ...] = (
    Column("job_id", "text", "the job"),
    Column("runs", "count", "how many runs were due"),
    Column("success", "count", "how many succeeded"),
    Column("failed", "count", "how many ended in failure or error"),
    Column("skipped", "count", "how many were not run"),
    Column("late", "count", "how many were late"),
    Column("p50_s", "number", "median time that its program took, seconds"),
    Column("last_run_id", "run", "the run that was due last"),
    Column("last_state", "state", "its state"),
    Column("last_scheduled_at", "time", "when it was due"),
)

#: One row a job, over the runs of a window: what a report needs.
SUMMARY: tuple[Column, ...] = (
    Column("job_id", "text", "the job"),
    Column("runs", "count", "how many runs were due"),
    Column("success", "count", "how many succeeded"),
    Column("failed", "count", "how many ended in failure or error"),
    Column("skipped", "count", "how many were not run"),
    Column("due", "count", "how many a schedule made, without the skipped ones"),
    Column("late", "count", "how many of these were late"),
    Column("p50_s", "number", "median time that its program took to succeed, seconds"),
    Column("p95_s", "number", "95th percentile of the same, seconds"),
    Column("max_s", "number", "longest time that its program took, seconds"),
    Column("longest_run_id", "run", "the run that took it"),
    Column("max_late_s", "number", "the latest start of a run of a schedule, seconds after it was due"),
    Column("latest_run_id", "run", "the run that started so late"),
)

#: One row a job and period: which share of the runs of its schedules kept its budgets.
ON_TIME: tuple[Column, ...] = (
    Column("job_id", "text", "the job"),
    Column("period", "time", "start of the period in which the runs were due"),
    Column("runs", "count", "how many runs a schedule made, without the skipped ones"),
    Column("late_start", "count", "how many of them started beyond their budget, whenever they ended"),
    Column("late_finish", "count", "how many of the others finished beyond their budget"),
    Column("started_share", "number", "share that started within its budget, 0 to 1"),
    Column("on_time_share", "number", "share that started and finished within its budgets, 0 to 1"),
)

#: One row a job: medians over its schedules' successes, of the last period and of the one before.
DRIFT: tuple[Column, ...] = (
    Column("job_id", "text", "the job"),
    Column("runs", "count", "how many successes in the last period"),
    Column("runs_before", "count", "how many in the period before"),
    Column("late_s", "number", "median from when it was due to its start, seconds"),
    Column("late_before_s", "number", "the same of the period before, seconds"),
    Column("late_change_s", "number", "difference, seconds; above 0: it starts later now"),
    Column("finish_s", "number", "median end, seconds from the midnight before it was due"),
    Column("finish_before_s", "number", "the same of the period before, seconds"),
    Column("finish_change_s", "number", "difference, seconds; above 0: it ends later in the day now"),
    Column("elapsed_s", "number", "median time that its program took, seconds"),
    Column("elapsed_before_s", "number", "the same of the period before, seconds"),
    Column("elapsed_change_s", "number", "difference, seconds; above 0: it takes longer now"),
)

#: One row a job: what its programs used, over the runs whose use is known.
COST: tuple[Column, ...] = (
    Column("job_id", "text", "the job"),
    Column("runs", "count", "how many runs of which it is known"),
    Column("elapsed_h", "number", "hours that its programs took"),
    Column("cpu_h", "number", "hours of processor time"),
    Column(
        "memory_gb_h", "number", "gigabytes (10^9 bytes) of memory times hours: the most it had, all the time"
    ),
    Column("cost", "number", "both at their prices, in the currency of the prices; 0 without prices"),
    Column("cost_per_run", "number", "the same by run"),
)

#: One row a piece of time: how many programs ran at once.
CONCURRENCY: tuple[Column, ...] = (
    Column("period", "time", "start of the piece"),
    Column("running", "count", "how many ran then"),
    Column("peak", "count", "the most that ran at once in it"),
    Column("mean", "number", "how many ran on average in it"),
)

#: One row a run whose program runs: when it will end, as the last successes of its job say.
ESTIMATES: tuple[Column, ...] = (
    Column("run_id", "run", "the run"),
    Column("job_id", "text", "its job"),
    Column("started_at", "time", "when its program started"),
    Column("runs", "count", "how many successes the estimate rests on; 0: there is none"),
    Column("p50_s", "number", "their median time, seconds"),
    Column("p95_s", "number", "their 95th percentile, seconds"),
    Column("p50_at", "time", "when it ends if it takes the median; it may be past"),
    Column("p95_at", "time", "when it ends if it takes the 95th percentile; it may be past"),
)

#: One row a thing that is not as it should be, the worst first. Only `Client.doctor` gives it.
DOCTOR: tuple[Column, ...] = (
    Column("kind", "text", "what it is: broken, orphaned, stuck, missed ..."),
    Column("level", "text", "error, warning or info"),
    Column("subject", "text", "the job, the run or the part of the server"),
    Column("message", "text", "what is not as it should be"),
    Column("fix", "text", "what to do"),
)

#: Every frame by name, for the documentation and the tests.
FRAMES: dict[str, tuple[Column, ...]] = {
    "runs": RUNS,
    "log": LOG,
    "timeline": TIMELINE,
    "counts": COUNTS,
    "durations": DURATIONS,
    "lateness": LATENESS,
    "calendar": CALENDAR,
    "missed": MISSED,
    "jobs": JOBS,
    "summary": SUMMARY,
    "on_time": ON_TIME,
    "drift": DRIFT,
    "cost": COST,
    "concurrency": CONCURRENCY,
    "estimates": ESTIMATES,
}


def to_frame(table: "pa.Table", columns: tuple[Column, ...]) -> "pd.DataFrame":
    """The frame of an Arrow table.

    Args:
        table: from the store or the server; it must have every column of `columns`, in any order.
        columns: those of the frame; further columns of the table follow as pandas reads them.

    Returns:
        A frame with the dtypes of `columns`: aware UTC times, `state` with all states as categories.

    Raises:
        ValueError: a column is missing.
    """
    import pandas as pd

    missing = [c.name for c in columns if c.name not in table.column_names]
    if missing:
        raise ValueError(
            f"the table has no column {', '.join(missing)}; it has {', '.join(table.column_names)}"
        )
    series: dict[str, Any] = {c.name: _series(table.column(c.name), c) for c in columns}
    meant = pd.DataFrame(series, copy=False)
    others = [n for n, name in enumerate(table.column_names) if name not in series]
    if not others:
        return meant
    further: pd.DataFrame = _aware(table.select(others)).to_pandas()
    return further if not columns else pd.concat([meant, further], axis="columns")


def name_runs(batch: "pa.RecordBatch", columns: tuple[Column, ...]) -> "pa.RecordBatch":
    """The part of a table with the names of runs in the place of their ids.

    This is most of the work of `to_frame`, and can so be done while the next part is on its way.
    """
    for column in columns:
        n = batch.schema.get_field_index(column.name)
        if column.kind == "run" and n >= 0:
            batch = batch.set_column(n, column.name, _names(batch.column(n)))
    return batch


def _aware(table: "pa.Table") -> "pa.Table":
    """The times of the store are UTC: now they say so."""
    import pyarrow as pa

    for n, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            utc = pa.timestamp(field.type.unit, tz="UTC")
            table = table.set_column(n, field.name, table.column(n).cast(utc))
    return table


def expand_args(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The frame with a column `arg_NAME` (str) for each name in the JSON text of its column `args`."""
    import pandas as pd

    texts = frame["args"].astype("category")  # a text that many runs share is read once
    parsed = [json.loads(text) for text in texts.cat.categories]
    names = sorted({name for args in parsed for name in args})
    codes = texts.cat.codes.to_numpy()
    values = {f"arg_{n}": pd.Series([args.get(n) for args in parsed], dtype="str") for n in names}
    expanded = {name: v.take(codes).set_axis(frame.index) for name, v in values.items()}
    return frame.assign(**expanded)


def _series(column: "pa.ChunkedArray", meant: Column) -> Any:
    import pandas as pd
    import pyarrow as pa

    match meant.kind:
        case "time":
            return column.cast(pa.timestamp("us", tz="UTC")).to_pandas().astype(meant.dtype)
        case "run":
            return _names(column).to_pandas().astype(meant.dtype)
        case "state" | "origin":
            # As numbers, which they mostly are already: never a million texts.
            return column.dictionary_encode().to_pandas().cat.set_categories(CATEGORIES[meant.kind])
        case "whole":
            return column.cast(pa.int64()).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        case "count" | "number" | "flag" | "text" | "json":
            return column.to_pandas().astype(meant.dtype)


def _names(ids: Any) -> Any:
    """The names of runs by their ids, as Arrow has them; names stay."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(ids.type):
        return ids
    if ids.null_count == len(ids):  # as most are that tell which run it repeats
        return pa.nulls(len(ids), pa.string())
    return pc.binary_join_element_wise("r", ids.cast(pa.string()), "")
