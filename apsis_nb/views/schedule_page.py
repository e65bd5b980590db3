"""The schedule page: what will run, as a week of hours and as a list; how many at once; what is paused."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import ServerEvent
from apsis_nb.core.times import format_day

from . import heat, markup
from .board import STACK_CSS, Board
from .controls import WHOLE, button, choices, group, of_jobs, search
from .jobs_table import NO_JOBS, broken_html
from .live import at_once
from .markup import text
from .page import Page
from .reader_zone import ReaderZone
from .sql_box import PAST_CSS
from .week import Cell, Hour, Pauses, Week, cells_of

MOST_ROWS = 200  #: of the list
#: A job with more runs in the time of the list is one row of it.
MANY = 24
MOST_CHOICES = 300  #: jobs to choose from
MOST_WEEKS = 520  #: ahead

_TYPICAL = """
SELECT job_id, median(elapsed_s) AS typical_s
FROM runs
WHERE state = 'success' AND scheduled_at >= utc_now() - INTERVAL 30 DAY
GROUP BY job_id"""

METRICS = {"runs": "Starts", "at_once": "Running at once"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the reader wants to see; the address of the page says it."""

    week: int = 0  #: how many weeks from this one
    metric: str = "runs"
    words: str = ""
    day: str = ""  #: of the list; empty: today, or the week's first
    hour: int | None = None  #: of that day; None: all of it

    @property
    def query(self) -> dict[str, str]:
        """How the address says it."""
        more = {
            "week": str(self.week) if self.week else "",
            "show": "" if self.metric == "runs" else self.metric,
            "job": self.words,
            "day": self.day,
            "hour": "" if self.hour is None else str(self.hour),
        }
        return {name: value for name, value in more.items() if value}


def wish_of(said: dict[str, str]) -> Wish:
    """What an address says, as far as it makes sense."""
    week, hour, metric = said.get("week", ""), said.get("hour", ""), said.get("show", "")
    return Wish(
        week=min(int(week), MOST_WEEKS) if week.isdecimal() and len(week) < 5 else 0,
        metric=metric if metric in METRICS else "runs",
        words=said.get("job", ""),
        day=said.get("day", "") if _day_in(said.get("day", "")) else "",
        hour=int(hour) if hour.isdecimal() and len(hour) < 3 and int(hour) < 24 else None,
    )


def _day_in(said: str) -> date | None:
    try:
        return date.fromisoformat(said)
    except ValueError:
        return None


@dataclass(frozen=True)
class Seen:
    """What one look gave."""

    wish: Wish
    week: Week
    expected: pd.DataFrame  #: job_id, period, runs, first_at; of the whole week
    typical_s: dict[str, float]
    pauses: Pauses
    jobs: dict[str, dict[str, Any]]
    now: datetime


class SchedulePage(Viewer):
    """The page's parts; follows the job files and the pauses."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        self.wish = wish_of(page.said)
        self._seen: Seen | None = None
        self._zone = ReaderZone(page.shell, self._other_zone)
        board = partial(Board, on_action=self._act, stylesheets=[PAST_CSS])
        self._bar = board(self._bar_html())
        self._week = board(markup.card("Week", markup.nothing("Loading …")))
        self._list = board()
        self._edits = board(visible=False)
        self._look = page.keep(self._load, self._show, wants=_is_about_plans, every_s=60.0)

    def __panel__(self) -> Any:
        return pn.Column(
            self._bar,
            self._edits,
            self._week,
            self._list,
            sizing_mode="stretch_width",
            styles=WHOLE,
            stylesheets=[STACK_CSS],
        )

    # ---- From the server ----

    def _load(self) -> Seen:
        client, now, zone, wish = self._page.client, self._page.now(), self._zone.wait(), self.wish
        today = now.astimezone(zone).date()
        week = Week(today - timedelta(days=today.weekday()) + timedelta(weeks=wish.week), zone)
        told = at_once(
            typical=partial(client.sql, _TYPICAL),
            expected=partial(client.expected_counts, week.since, week.until, every="1h"),
            pauses=client.list_pauses,
            jobs=client.jobs.find,
        )
        typical = told["typical"]
        return Seen(
            wish=wish,
            week=week,
            expected=told["expected"],
            typical_s=dict(zip(typical["job_id"], typical["typical_s"], strict=True)),
            pauses=Pauses(told["pauses"]),
            jobs={facts["job_id"]: facts for facts in told["jobs"]},
            now=now,
        )

    def _show(self, seen: Seen) -> None:
        if seen.week.zone.key != self._zone.zone.key:
            self._look()
            return
        self._seen = seen
        self._draw()

    # ---- From the reader ----

    def _other_zone(self) -> None:
        if self._seen is not None:
            self._look()

    def _act(self, message: dict[str, Any]) -> None:
        action, value, wish = message["action"], str(message.get("value", "")), self.wish
        match action:
            case "week" if value.isdecimal():
                self._go(replace(wish, week=min(int(value), MOST_WEEKS), day="", hour=None))
            case "metric" if value in METRICS:
                self._go(replace(wish, metric=value))
            case "words":
                self._go(replace(wish, words=value))
            case "day" if _day_in(value):
                self._go(replace(wish, day=value, hour=None))
            case "cell":
                day, _, hour = value.partition("T")
                if _day_in(day) and hour.isdecimal() and int(hour) < 24:
                    same = (wish.day, wish.hour) == (day, int(hour))
                    self._go(replace(wish, day=day, hour=None if same else int(hour)))
            case "edits":
                pn.state.execute(self._look_at_edits)
            case "close":
                self._edits.visible = False

    async def _look_at_edits(self) -> None:
        """What the job files on disk would change, were they taken up now."""
        self._edits.param.update(
            content=markup.card("Edits of job files", markup.nothing("Loading …")), visible=True
        )
        told = await self._page.act(self._page.client.reload, dry_run=True)

        def show() -> None:
            if told is None:  # what is wrong stands above
                self._edits.visible = False
            else:
                self._edits.content = edits_html(told)

        self._page.later(show)

    def _go(self, wish: Wish) -> None:
        is_elsewhere = wish.week != self.wish.week
        self.wish = wish
        self._page.replace_address(wish.query)
        if is_elsewhere:
            self._bar.content = self._bar_html()
            self._look()
        else:  # all of the week is known
            self._draw()

    # ---- Drawing ----

    def _draw(self) -> None:
        self._bar.content = self._bar_html()
        if self._seen is not None and self._seen.wish.week == self.wish.week:
            seen = replace(
                self._seen, wish=self.wish, expected=_with_words(self._seen.expected, self.wish.words)
            )
            self._week.content = week_html(seen)
            self._list.content = list_html(seen)

    def _bar_html(self) -> str:
        wish = self.wish
        is_current = self._seen is not None and self._seen.wish.week == wish.week
        loading = "" if is_current else '<span class="nothing" role="status">Loading …</span>'

        before, after = str(max(wish.week - 1, 0)), str(wish.week + 1)
        steps = [
            button("week", "&lsaquo;", value=before, title="The week before", disabled=wish.week == 0),
            button("week", "This week", value="0", pressed=wish.week == 0),
            button("week", "&rsaquo;", value=after, title="The week after"),
        ]
        known = sorted(self._seen.jobs)[:MOST_CHOICES] if self._seen else []
        window = ""
        if self._seen is not None:
            first, last = self._seen.week.days[0], self._seen.week.days[-1]
            window = f'<span class="window">{format_day(first)} &ndash; {format_day(last)} {last.year}</span>'
        return (
            f'<div class="bar">{group("Week", steps)}'
            f"{group('What the hours show', choices('metric', METRICS, wish.metric))}"
            f"{search('words', 'Job', wish.words, known)}"
            f"{button('edits', 'Edits of files', title='What the job files on disk would change')}"
            f"{window}{loading}</div>"
        )


def _is_about_plans(event: ServerEvent) -> bool:
    return event.type in {"job", "pause"}


def _with_words(expected: pd.DataFrame, words: str) -> pd.DataFrame:
    """Only jobs whose id has each word."""
    for word in words.lower().split():
        expected = expected[expected["job_id"].str.lower().str.contains(word, regex=False)]
    return expected


# ---- HTML ----


def _number(cell: Cell, metric: str) -> float:
    """What a cell shows; at once run as many as take an hour of their hour."""
    return cell.runs if metric == "runs" else cell.busy_s / 3600


def _figure(value: float, metric: str) -> str:
    if not value:
        return ""
    if metric == "runs":
        return f"{value:,.0f}" if value < 10_000 else f"{value / 1000:,.0f} k"
    return f"{value:.1f}" if value >= 0.05 else "&lt;0.1"


def _words(cell: Cell) -> str:
    """A cell in words."""
    parts = [f"{cell.runs:,.0f} starts" if cell.runs != 1 else "one start"]
    if cell.runs:
        parts.append(f"{cell.busy_s / 3600:.2f} running at once on average")
    if cell.paused:
        parts.append(f"{cell.paused:,.0f} more are paused")
    return ", ".join(parts)


def week_html(seen: Seen) -> str:
    """The week: a column a day, a row an hour of its zone. A cell or a day that is chosen is told below."""
    week, wish = seen.week, seen.wish
    cells = cells_of(seen.expected, seen.typical_s, seen.pauses)
    hours = week.hours()
    shown = [[sum((cells.get(at, Cell()) for at in hour.starts), Cell()) for hour in row] for row in hours]
    # An hour that comes twice is as busy as each of its two, not as both.
    values = [
        _number(cell, wish.metric) / max(1, len(hour.starts))
        for row, row_hours in zip(shown, hours, strict=True)
        for cell, hour in zip(row, row_hours, strict=True)
    ]
    most = max(values, default=0.0)
    local = seen.now.astimezone(week.zone)
    picked = _picked_day(seen)
    heads = []
    for n, day in enumerate(week.days):
        whole = sum((row[n] for row in shown), Cell())
        name = f"{'today, ' if day == local.date() else ''}{whole.runs:,.0f} starts"
        told = button(
            "day",
            f"{format_day(day)}<small>{name}</small>",
            value=str(day),
            pressed=day == picked and wish.hour is None,
            title=_words(whole),
        )
        heads.append(f'<th scope="col">{told}</th>')
    rows = []
    for hour, (row, at) in enumerate(zip(shown, hours, strict=True)):
        is_now = local.hour == hour and local.date() in week.days
        told = "".join(_hour_cell(cell, h, most, seen, picked) for cell, h in zip(row, at, strict=True))
        rows.append(f'<tr{" class=now" if is_now else ""}><th scope="row">{hour:02d}:00</th>{told}</tr>')
    changes = "".join(f'<p class="changes">{text(change.words(week.zone))}.</p>' for change in week.changes())
    scale = heat.scale_html(_most_words(most, wish.metric))
    hint = (
        "How many runs the schedules start in each hour."
        if wish.metric == "runs"
        else "How many programs run at once on average, if each takes as long as usual."
    )
    body = (
        f'<div class="bar under"><span class="muted">{hint}</span><span class="push">{scale}</span></div>'
        f'{changes}<div class="scroll heat-blue"><table class="week">'
        f"<caption>Hours of the week, in {text(week.zone.key)}</caption>"
        f"<thead><tr><td></td>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    if not len(seen.expected):
        words = f"No schedule{of_jobs(wish.words)} makes a run in this week." if seen.jobs else NO_JOBS
        body = markup.nothing(words) + changes
    total = sum(cell.runs for row in shown for cell in row)  # as the days say; what is paused makes none
    return markup.card("Week", body, count=int(total), more=f"in {text(week.zone.key)}")


def _most_words(most: float, metric: str) -> str:
    return f"{most:,.0f} starts" if metric == "runs" else f"{most:.1f} at once"


def _hour_cell(cell: Cell, hour: Hour, most: float, seen: Seen, picked: date) -> str:
    wish = seen.wish
    when = f"{format_day(hour.day)}, {hour.hour:02d}:00"
    if not hour.starts:
        return f'<td><span class="cell gone" title="{when}: the clocks skip this hour">skipped</span></td>'
    value = _number(cell, wish.metric)
    twice = " (comes twice)" if len(hour.starts) > 1 else ""
    is_past = hour.starts[-1] + timedelta(hours=1) <= seen.now
    words = f"{when}{twice}: {_words(cell)}{', past' if is_past else ''}"
    mark = "&times;2 " if twice else ""
    paused = "paused" if cell.paused and not value else ""
    told = button(
        "cell",
        f"{mark}{_figure(value, wish.metric) or paused}",
        value=f"{hour.day}T{hour.hour}",
        pressed=hour.day == picked and wish.hour == hour.hour,
        title=words,
        kind=f"cell l{heat.level(value / len(hour.starts), most)}{' past' if is_past else ''}",
    )
    return f"<td>{told}</td>"


def _picked_day(seen: Seen) -> date:
    """The day of the list: the chosen one, if it is of this week; else today; else the first."""
    day, today = _day_in(seen.wish.day), seen.now.astimezone(seen.week.zone).date()
    if day in seen.week.days:
        return day
    return today if today in seen.week.days else seen.week.days[0]


def list_html(seen: Seen) -> str:
    """What will run on the chosen day, or in its chosen hour, by time."""
    day, wish, week = _picked_day(seen), seen.wish, seen.week
    hours = [h for row in week.hours() for h in row if h.day == day and wish.hour in {None, h.hour}]
    starts = {at for hour in hours for at in hour.starts}
    is_today = day == seen.now.astimezone(week.zone).date()
    if is_today and wish.hour is None:  # what is to come, and not what was
        starts = {at for at in starts if at + timedelta(hours=1) > seen.now}
    frame = seen.expected.loc[[markup.instant(at) in starts for at in seen.expected["period"]]]
    hour = f", {wish.hour:02d}:00" if wish.hour is not None else ", from this hour on" if is_today else ""
    title = format_day(day) + hour
    counted = frame.groupby("job_id")["runs"].sum()
    rows = []
    for row in markup.records(frame[frame["job_id"].map(counted) <= MANY]):
        rows.append((row["first_at"], str(row["job_id"]), int(row["runs"]), markup.instant(row["period"])))
    for job, part in frame[frame["job_id"].map(counted) > MANY].groupby("job_id"):
        rows.append((part["first_at"].min(), str(job), int(part["runs"].sum()), None))
    rows.sort(key=lambda r: (r[0], r[1]))
    coming = [row for row in rows if row[2] > 1 or row[0] >= seen.now]
    if not coming:
        words = "Nothing more is due" if rows else f"No schedule{of_jobs(wish.words)} makes a run"
        return markup.card(title, markup.nothing(f"{words} in this time."), count=0)
    cells = [_list_row(*row, seen) for row in coming[:MOST_ROWS]]
    heads = [
        ("At", "tight"),
        ("", "tight"),
        ("Job", "job"),
        ("How often", "tight"),
        ("Takes", "right"),
        ("When", "wide"),
    ]
    body = markup.table(heads, cells, caption=f"What will run on {title}")
    count = sum(runs for at, job, runs, _ in coming if not seen.pauses.holds(job, at))
    beyond = len(coming) - MOST_ROWS
    more = (
        f'<p class="nothing">{beyond:,} more: choose an hour, or narrow the jobs.</p>' if beyond > 0 else ""
    )
    return markup.card(title, body + more, count=count, more="what schedules start, by time")


def _list_row(at: Any, job: str, runs: int, period: datetime | None, seen: Seen) -> list[str]:
    pause = seen.pauses.of(job, at)
    facts = seen.jobs.get(job) or {}
    words = "; ".join((facts.get("explain") or {}).get("schedule", []))
    paused = ""
    if pause is not None:
        until = markup.instant(pause.get("until"))
        till = f" until {markup.when(until)}" if until else ""
        why = markup.cut(str(pause.get("reason") or ""), 200)
        reason, title = (f": {text(why)}", f' title="{text(why)}"') if why else ("", "")
        paused = f'<span class="paused"{title}>paused{till}{reason}</span>'
    often = "once" if runs == 1 else f"{runs:,} times" + (" in this hour" if period is not None else "")
    return [
        markup.when(at, "time"),
        markup.when(at, "until") if runs == 1 else "",
        markup.job_link(job) + paused,
        often,
        markup.duration(seen.typical_s.get(job)) or markup.NONE,
        f'<span class="muted">{text(words)}</span>',
    ]


def edits_html(told: dict[str, Any]) -> str:
    """What a dry run of a reload says: jobs that come, go or change, with their runs of the next days."""
    kinds = {"added": "is new", "removed": "goes", "changed": "changes"}
    rows = []
    for kind, words in kinds.items():
        for job in told.get(kind, []):
            preview = (told.get("previews") or {}).get(job) or {}
            more, fewer = int(preview.get("added_count") or 0), int(preview.get("removed_count") or 0)
            first = (preview.get("added") or [{}])[0].get("at")
            rows.append(
                [
                    markup.job_link(job),
                    words,
                    f"+{more:,}" if more else markup.NONE,
                    f"&minus;{fewer:,}" if fewer else markup.NONE,
                    markup.when(first, empty=markup.NONE),
                ]
            )
    heads = [
        ("Job", "job"),
        ("", "tight"),
        ("Runs that come", "right"),
        ("Runs that go", "right"),
        ("The first", ""),
    ]
    body = markup.table(heads, rows, caption="What edits of job files change") if rows else ""
    if not rows:
        first = "Apart from the broken ones, the" if told.get("errors") else "The"
        body = markup.nothing(f"{first} files on disk are those that the server runs.")
    hint = (
        '<p class="hint">Of the next 7 days, if the files were taken up now. Nothing was changed.</p>'
        if rows
        else ""
    )
    close = button("close", "close", kind="link")
    card = markup.card("Edits of job files", hint + body, count=len(rows), more=close)
    return f'<div class="stack">{broken_html(told.get("errors", []))}{card}</div>'
