"""A month of runs as one page of HTML that needs nothing but itself, for people without the tool."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsis_nb.client.errors import BadRequest
from apsis_nb.core.times import format_duration, format_local, format_month

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from apsis_nb.client.client import Client

#: Rows of the lists of the longest and the latest.
FIRST = 10
#: Failures that are told one by one, the newest.
MOST_FAILURES = 200
#: A job of which a smaller share of the runs was on time stands out.
ENOUGH = 0.95
#: Characters of a message.
MOST_WORDS = 500
_NONE = "\u2013"
_MINUS = "\u2212"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Month:
    """A month in a zone, and the one before it."""

    before: datetime  #: start of the month before, aware
    start: datetime
    stop: datetime  #: start of the month after

    @staticmethod
    def of(text: str, zone: "ZoneInfo") -> "Month":
        """The month of a text such as `2026-11`.

        Raises:
            BadRequest: it is none.
        """
        match = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)
        if match is None or not 1971 <= int(match[1]) <= 9990:
            raise BadRequest(f"month: {text!r} is none; write YYYY-MM, for example 2026-11")
        start = datetime(int(match[1]), int(match[2]), 1, tzinfo=zone)
        before = (start - timedelta(days=1)).replace(day=1)
        return Month(before, start, (start + timedelta(days=32)).replace(day=1))


class Report:
    """A page; it shows itself in a notebook."""

    def __init__(self, title: str, html: str) -> None:
        self.title = title
        self.html = html  #: the whole page

    def __repr__(self) -> str:
        return f"<{self.title}: it shows in a notebook; `.save(FILE)` writes it as a page>"

    def save(self, file: str | Path) -> None:
        """Write it to a file, which needs nothing but itself."""
        Path(file).write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="{escape(self.title)}" '
            'style="width:100%;height:640px;border:0"></iframe>'
        )


def report_of(client: "Client", text: str) -> Report:
    """The report of a month, in the zone of the server.

    Args:
        client: of the server.
        text: the month: `2026-11`.

    Raises:
        BadRequest: it is no month.
    """
    month = Month.of(text, client.zone)
    jobs = _rows(client.history.summary(month.start, month.stop))
    before = {row["job_id"]: row for row in _rows(client.history.summary(month.before, month.start))}
    used = {row["job_id"]: row for row in _rows(client.history.cost(month.start, month.stop))}
    days = _rows(client.history.calendar(month.start, month.stop, tz=client.zone.key))
    failures = client.runs(
        since=month.start, until=month.stop, state=["failure", "error"], limit=MOST_FAILURES
    )
    title = format_month(month.start)
    now = client.moment("now").astimezone(client.zone)
    parts = (
        _head(title, month, now),
        _tiles(jobs, list(before.values()), list(used.values())),
        _section("Day by day", _days(days, month)),
        _section("Jobs", _jobs(jobs, before, used)),
        _section("Longest runs", _longest(jobs)),
        _section("Latest starts", _latest(jobs)),
        _section("Failures", _failures(_rows(failures), _total(jobs, "failed"), client.zone)),
    )
    return Report(f"the report of {title}", _page(title, "".join(parts)))


def _page(title: str, body: str) -> str:
    css = files("apsis_nb.client").joinpath("report.css").read_text(encoding="utf-8")
    # Nothing is ever loaded or run, whatever a message holds.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Runs of {escape(title)}</title><style>\n{css}</style></head>\n<body>\n{body}</body></html>\n"
    )


def _head(title: str, month: Month, now: datetime) -> str:
    so_far = " The month is not over: this is what there is so far." if now < month.stop else ""
    return (
        f"<h1>Runs of {escape(title)}</h1>\n"
        f'<p class="soft">What was due in the month, by the clocks of {escape(str(month.start.tzinfo))}; '
        f"made at {format_local(now, now.tzinfo or UTC)}.{so_far}</p>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>\n{body}</section>\n"


# ---- Totals ----


def _tiles(jobs: Sequence[Row], before: Sequence[Row], used: Sequence[Row]) -> str:
    hours, cost = _total(used, "elapsed_h"), _total(used, "cost")
    tiles = [
        ("Runs", _count(_total(jobs, "runs")), _percent_change(_total(jobs, "runs"), _total(before, "runs"))),
        ("Succeeded", _share(_success(jobs)), _points(_success(jobs), _success(before))),
        ("On time", _share(_on_time(jobs)), _points(_on_time(jobs), _on_time(before))),
        ("Failed", _count(_total(jobs, "failed")), f"{_count(_total(before, 'failed'))} the month before"),
        ("Not run", _count(_total(jobs, "skipped")), f"{_count(_total(before, 'skipped'))} the month before"),
        ("Program time", f"{hours:,.1f} h", f"{_total(used, 'cpu_h'):,.1f} h of CPU"),
    ]
    if cost:
        tiles.append(("Cost", f"{cost:,.2f}", "at the prices of the server"))
    shown = "".join(
        f'<div class="tile"><div class="name">{name}</div><div class="figure">{figure}</div>'
        f'<div class="change">{change}</div></div>\n'
        for name, figure, change in tiles
    )
    return f'<div class="tiles">\n{shown}</div>\n'


def _success(jobs: Iterable[Row]) -> float | None:
    """Share of the runs that ended by themselves which succeeded, 0 to 1."""
    rows = list(jobs)
    return _ratio(_total(rows, "success"), _total(rows, "success") + _total(rows, "failed"))


def _on_time(jobs: Iterable[Row]) -> float | None:
    """Share of the runs of schedules which were not late, 0 to 1."""
    rows = list(jobs)
    return _ratio(_total(rows, "due") - _total(rows, "late"), _total(rows, "due"))


# ---- The days ----


def _days(days: Sequence[Row], month: Month) -> str:
    """Bars, one a day: what succeeded, failed and was not run."""
    width, height, base = 1000, 190, 160
    count = (month.stop.replace(tzinfo=None) - month.start.replace(tzinfo=None)).days
    by_day = {row["period"].astimezone(month.start.tzinfo).day: row for row in days}
    most = max((row["runs"] for row in days), default=0) or 1
    step = width / count
    shapes = [f'<line class="rule" x1="0" x2="{width}" y1="{base}" y2="{base}"/>']
    for day in range(1, count + 1):
        left = (day - 1) * step
        shapes.append(f'<text x="{left + step / 2:.1f}" y="{base + 16}" text-anchor="middle">{day}</text>')
        row = by_day.get(day)
        if row is None:
            continue
        good = row["runs"] - row["failed"] - row["skipped"]
        top = float(base)
        words = f"{day}: {_count(row['runs'])} runs, {_count(row['failed'])} failed, "
        words += f"{_count(row['skipped'])} not run, {_count(row['late'])} late"
        bars = []
        for kind, n in (("good", good), ("bad", row["failed"]), ("none", row["skipped"])):
            if n:
                tall = max(1.5, n / most * (base - 18))
                top -= tall
                bars.append(
                    f'<rect class="of-{kind}" x="{left + step * 0.14:.1f}" y="{top:.1f}" '
                    f'width="{step * 0.72:.1f}" height="{tall:.1f}"/>'
                )
        shapes.append(f"<g><title>{words}</title>{''.join(bars)}</g>")
    shapes.append(f'<text x="0" y="11">{_count(most)} on the fullest day</text>')
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Runs by day">{"".join(shapes)}</svg>\n'
        '<div class="legend"><span><i class="good"></i>succeeded or live</span>'
        '<span><i class="ill"></i>failed</span><span><i class="none"></i>not run</span></div>\n'
    )


# ---- Tables ----


def _jobs(jobs: Sequence[Row], before: Mapping[str, Row], used: Mapping[str, Row]) -> str:
    heads = (
        "Job",
        "Runs",
        "Succeeded",
        "On time",
        "Failed",
        "Not run",
        "Median time",
        "95th percentile",
        "CPU",
    )
    rows = []
    for job in jobs:
        old, use = before.get(job["job_id"], {}), used.get(job["job_id"])
        on_time = _on_time([job])
        rows.append(
            (
                _job(job["job_id"]),
                _n(f"{_count(job['runs'])}"),
                _n(_share(_success([job]))),
                _n(_share(on_time), "late" if on_time is not None and on_time < ENOUGH else ""),
                _n(_count(job["failed"]), "bad" if job["failed"] else ""),
                _n(_count(job["skipped"])),
                _n(_with_change(job["p50_s"], old.get("p50_s"))),
                _n(_with_change(job["p95_s"], old.get("p95_s"))),
                _n(f"{use['cpu_h']:,.2f} h" if use else _NONE),
            )
        )
    words = "Times are those of runs that succeeded; beside them the change from the month before."
    note = f'<p class="soft">{words}</p>\n'
    return _table(heads, rows, right=range(1, 9), empty="No job had a run.") + (note if rows else "")


def _longest(jobs: Sequence[Row]) -> str:
    ran = sorted((j for j in jobs if _given(j["max_s"])), key=lambda job: -job["max_s"])[:FIRST]
    rows = [
        (
            _job(job["job_id"]),
            _cell(job["longest_run_id"]),
            _n(_took(job["max_s"])),
            _n(_times(job["max_s"], job["p50_s"])),
        )
        for job in ran
    ]
    heads = ("Job", "Its longest run", "Took", "Of its median")
    return _table(heads, rows, right=(2, 3), empty="No program ran.")


def _latest(jobs: Sequence[Row]) -> str:
    late = sorted((j for j in jobs if j["late"] and _given(j["max_late_s"])), key=lambda j: -j["max_late_s"])
    rows = [
        (
            _job(job["job_id"]),
            _cell(job["latest_run_id"]),
            _n(_took(job["max_late_s"])),
            _n(f"{_count(job['late'])} of {_count(job['due'])}"),
        )
        for job in late[:FIRST]
    ]
    heads = ("Job", "Its latest run", "Started after it was due", "Late runs")
    return _table(heads, rows, right=(2, 3), empty="Nothing was late.")


def _failures(rows: Sequence[Row], total: float, zone: "ZoneInfo") -> str:
    told = [
        (
            f'<td class="t">{format_local(row["scheduled_at"], zone)}</td>',
            _job(row["job_id"]),
            _cell(row["run_id"]),
            f'<td class="bad">{escape(str(row["state"]))}</td>',
            f'<td class="words">{escape(_words(row["message"]))}</td>',
        )
        for row in rows
        if row["origin"] != "test"
    ]
    rest = int(total) - len(told)
    note = f'<p class="soft">And {_count(rest)} before these.</p>\n' if rest > 0 and told else ""
    return _table(("Due", "Job", "Run", "Ended as", "Message"), told, empty="Nothing failed.") + note


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), empty: str
) -> str:
    """A table; `rows` are cells of HTML, `right` the columns of numbers."""
    if not rows:
        return f'<p class="soft">{empty}</p>\n'
    numbers = set(right)
    head = "".join(
        f'<th scope="col"{" class=n" if n in numbers else ""}>{text}</th>' for n, text in enumerate(heads)
    )
    body = "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'
    )


# ---- Cells and words ----


def _cell(value: object) -> str:
    return f"<td>{escape(str(value))}</td>"


def _job(job_id: str) -> str:
    return f'<td class="job">{escape(job_id)}</td>'


def _n(html: str, kind: str = "") -> str:
    return f'<td class="n {kind}">{html}</td>' if kind else f'<td class="n">{html}</td>'


def _words(message: object) -> str:
    text = message if isinstance(message, str) else ""
    return text if len(text) <= MOST_WORDS else text[:MOST_WORDS] + " \u2026"


def _given(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _took(seconds: float | None) -> str:
    """A duration, no finer than people care for."""
    if seconds is None or not _given(seconds):
        return _NONE
    digits = 3 if seconds < 1 else 1 if seconds < 10 else 0
    whole = round(seconds, digits) if seconds < 3600 else 60 * round(seconds / 60)
    return format_duration(whole)


def _with_change(now_s: float | None, before_s: float | None) -> str:
    change = _percent_change(now_s, before_s, "")
    return f"{_took(now_s)} <small>{change}</small>" if change else _took(now_s)


def _times(longest_s: float, median_s: float | None) -> str:
    ratio = _ratio(longest_s, median_s or 0) if _given(median_s) else None
    return _NONE if ratio is None else f"{ratio:,.1f} times"


def _count(number: float) -> str:
    return f"{int(number):,}"


def _share(share: float | None) -> str:
    """Per cent; what is not all is never rounded up to it."""
    if share is None:
        return _NONE
    return "100 %" if share == 1 else f"{min(math.floor(share * 1000) / 10, 99.9):.1f} %"


def _points(now: float | None, before: float | None) -> str:
    if now is None or before is None:
        return ""
    return f"{_signed(100 * (now - before), '.1f')} points"


def _percent_change(now: float | None, before: float | None, after: str = " on the month before") -> str:
    if now is None or before is None or not (_given(now) and _given(before)) or before <= 0:
        return ""
    return f"{_signed(100 * (now - before) / before, '.0f')} %{after}"


def _signed(number: float, form: str) -> str:
    text = format(abs(number), form)
    if not text.strip("0."):
        return f"\u00b1{text}"
    return f"{'+' if number > 0 else _MINUS}{text}"


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _total(rows: Iterable[Row], name: str) -> float:
    return float(sum(row[name] for row in rows))


def _rows(frame: Any) -> list[Row]:
    return list(frame.to_dict("records"))
