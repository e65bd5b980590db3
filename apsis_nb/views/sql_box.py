"""A box for SQL on a page: queries that are ready, an answer as a table, and files of it."""

import asyncio
import base64
import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import panel as pn
import param

from apsis_nb.client import BadRequest, Client
from apsis_nb.core.errors import ApsisError

from . import markup
from .board import PAGE_CSS, Piece
from .markup import text

_HERE = Path(__file__).parent
PAST_CSS = (_HERE / "past.css").read_text(encoding="utf-8")

MOST_ROWS = 1000  #: that are shown
MOST_CHARS = 500  #: of a cell
MOST_BYTES = 500_000  #: of the table that is shown
MOST_FILE_ROWS = 1_000_000
MOST_FILE_BYTES = 50_000_000

#: Queries of ours, each with its name.
READY: list[tuple[str, str]] = [
    (
        "Which jobs fail most, last 30 days",
        """SELECT job_id, count(*) AS runs,
    count(*) FILTER (state IN ('failure', 'error')) AS failed,
    round(100 * failed / count(*), 1) AS percent
FROM runs
WHERE scheduled_at >= utc_now() - INTERVAL 30 DAY AND origin <> 'test'
GROUP BY job_id
ORDER BY failed DESC
LIMIT 50""",
    ),
    (
        "What went wrong, by message, last 7 days",
        """SELECT job_id, message, count(*) AS times, max(finished_at) AS last_at,
    'r' || max(run_id) AS last_run
FROM runs
WHERE state IN ('failure', 'error') AND scheduled_at >= utc_now() - INTERVAL 7 DAY
GROUP BY job_id, message
ORDER BY times DESC
LIMIT 100""",
    ),
    (
        "Why runs started late, last 30 days",
        """SELECT job_id, coalesce(late_why, 'ended late, or still waits') AS why, count(*) AS late,
    round(median(late_s), 1) AS median_s, round(max(late_s), 1) AS most_s
FROM runs
WHERE late AND scheduled_at >= utc_now() - INTERVAL 30 DAY
GROUP BY ALL
ORDER BY late DESC
LIMIT 100""",
    ),
    (
        "The longest runs, last 7 days",
        """SELECT 'r' || run_id AS run, job_id, args, round(elapsed_s, 1) AS elapsed_s, state, started_at
FROM runs
WHERE scheduled_at >= utc_now() - INTERVAL 7 DAY AND elapsed_s IS NOT NULL
ORDER BY elapsed_s DESC
LIMIT 100""",
    ),
    (
        "Which jobs take longer than last week",
        """SELECT job_id,
    round(median(elapsed_s) FILTER (scheduled_at >= utc_now() - INTERVAL 7 DAY), 1) AS now_s,
    round(median(elapsed_s) FILTER (scheduled_at < utc_now() - INTERVAL 7 DAY), 1) AS before_s,
    round(now_s / before_s, 2) AS times
FROM runs
WHERE state = 'success' AND scheduled_at >= utc_now() - INTERVAL 14 DAY AND origin <> 'test'
GROUP BY job_id
ORDER BY times DESC NULLS LAST
LIMIT 100""",
    ),
    (
        "What was missed, and why, last 30 days",
        """SELECT job_id, skip_reason, count(*) AS times, min(nominal_at) AS first_at,
    max(nominal_at) AS last_at
FROM missed
WHERE nominal_at >= utc_now() - INTERVAL 30 DAY
GROUP BY ALL
ORDER BY times DESC
LIMIT 100""",
    ),
    (
        "Processor and memory by job, last 7 days",
        """SELECT r.job_id, count(*) AS runs, round(sum(m.cpu_s), 1) AS cpu_s,
    round(max(m.max_rss_b) / 1e6) AS most_memory_mb
FROM runs r JOIN run_meta m USING (run_id)
WHERE r.scheduled_at >= utc_now() - INTERVAL 7 DAY
GROUP BY r.job_id
ORDER BY cpu_s DESC NULLS LAST
LIMIT 100""",
    ),
    (
        "Who asked for runs, last 30 days",
        """SELECT "by", origin, count(*) AS runs, max(scheduled_at) AS last_at
FROM runs
WHERE "by" IS NOT NULL AND scheduled_at >= utc_now() - INTERVAL 30 DAY
GROUP BY ALL
ORDER BY runs DESC
LIMIT 100""",
    ),
    (
        "Job files, and when each last changed",
        "SELECT job_id, version, changed_at, changed_by FROM jobs ORDER BY changed_at DESC LIMIT 1000",
    ),
]


class SqlBox(Piece):
    """The box. It asks with the page's client, in a thread; nothing is asked before somebody does.

    Args:
        client: gives the page's client.
        later: changes the page as soon as it may be changed.
    """

    ready = param.List(default=[list(pair) for pair in READY], doc="Names and queries that are ready.")

    _bundle = _HERE / "sql_box.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS, PAST_CSS]

    def __init__(
        self, client: Callable[[], Client], later: Callable[[Callable[[], Any]], None], **params: Any
    ) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", **params})
        self._client, self._later = client, later
        self._query: str | None = None  # that of the answer which is shown

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, dict) and isinstance(data.get("action"), str):
            pn.state.execute(partial(self._act, data["action"], str(data.get("value", ""))))

    async def _act(self, action: str, value: str) -> None:
        work: Callable[[], dict[str, Any]]
        if action == "run":
            work = partial(self._answer, value)
        elif action in {"csv", "parquet"}:
            work = partial(self._file, action)
        else:
            return
        try:
            message = await asyncio.to_thread(work)
        except ApsisError as error:
            if action == "run":
                self._query = None
            message = {"op": "answer", "html": wrong_html(str(error)), "words": ""}
        message["has_answer"] = self._query is not None
        self._later(partial(self._send_msg, message))

    def _answer(self, query: str) -> dict[str, Any]:
        begun = time.monotonic()
        frame = head(self._client(), query, MOST_ROWS + 1)
        took = markup.duration(time.monotonic() - begun)
        self._query = query
        return {"op": "answer", "html": answer_html(frame), "words": f"{rows_words(len(frame))}, in {took}"}

    def _file(self, kind: str) -> dict[str, Any]:
        if self._query is None:
            raise BadRequest("run a query first: its answer is what is downloaded")
        frame = head(self._client(), self._query, MOST_FILE_ROWS + 1)
        if len(frame) > MOST_FILE_ROWS:
            raise BadRequest(
                f"the answer has more than {MOST_FILE_ROWS:,} rows: "
                "ask for fewer, or use client.sql in a notebook"
            )
        data = file_of(frame, kind)
        if len(data) > MOST_FILE_BYTES:
            size = f"{len(data) / 1e6:,.0f} MB"
            raise BadRequest(f"the file would have {size}: ask for less, or use client.sql in a notebook")
        return {
            "op": "file",
            "kind": kind,
            "name": f"query.{kind}",
            "data": base64.b64encode(data).decode("ascii"),
            "words": f"query.{kind}: {rows_words(len(frame), shown=False)}, {len(data) / 1000:,.0f} kB",
        }


def head(client: Client, query: str, rows: int) -> pd.DataFrame:
    """The first rows of an answer; no others are sent.

    Raises:
        BadRequest: the query is wrong.
    """
    inner = query.strip().rstrip(";").rstrip()
    try:
        return client.sql(f"SELECT * FROM (\n{inner}\n) LIMIT {rows}")
    except BadRequest as error:
        if "Parser Error" not in str(error):
            raise
        return client.sql(query).head(rows)  # asked as it stands, what is wrong is told as it stands


def file_of(frame: pd.DataFrame, kind: str) -> bytes:
    """A frame as the bytes of a CSV or Parquet file."""
    if kind == "parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        return buffer.getvalue()
    return frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ").encode()


def rows_words(count: int, *, shown: bool = True) -> str:
    """How many rows there are."""
    if shown and count > MOST_ROWS:
        return f"the first {MOST_ROWS:,} rows"
    return "one row" if count == 1 else f"{count:,} rows"


def answer_html(frame: pd.DataFrame) -> str:
    """The answer as a table: the first `MOST_ROWS` rows, as far as they have room on a page."""
    if not len(frame):
        return markup.nothing("No rows.")
    numbers = {name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])}
    heads = [(str(name), "right" if name in numbers else "") for name in frame.columns]
    rows: list[list[str]] = []
    size = 0
    for values in frame.head(MOST_ROWS).itertuples(index=False, name=None):
        cells = [cell_html(value) for value in values]
        size += sum(map(len, cells)) + 20 * len(cells)
        if size > MOST_BYTES:
            break
        rows.append(cells)
    cut = ""
    if len(rows) < len(frame):
        cut = f"The first {len(rows):,} rows are shown; a download has all."
    more = f'<p class="nothing">{cut}</p>' if cut else ""
    return f'<div class="rows">{markup.table(heads, rows, caption="Answer")}</div>{more}'


def cell_html(value: Any) -> str:
    """A value of an answer; runs by their names are links."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not markup.given(value):
        return '<span class="muted">NULL</span>'
    if isinstance(value, pd.Timestamp):
        return markup.when(value)
    if isinstance(value, float):
        return text(f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}")
    words = str(value)
    if len(words) > 1 and words[0] == "r" and words[1:].isdigit():
        return markup.run_link(words)
    return text(words if len(words) <= MOST_CHARS else words[:MOST_CHARS] + " …")


def wrong_html(words: str) -> str:
    """What is wrong with a query, in its place; the lines of the message are kept, for they point at it."""
    return f'<pre class="wrong sql-wrong" role="alert">{text(words)}</pre>'
