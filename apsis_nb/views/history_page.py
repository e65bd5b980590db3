"""The history page: how runs ended, how long they took and what they cost, over any range; and SQL."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import BadRequest, Client, ServerEvent
from apsis_nb.core.states import State
from apsis_nb.core.times import format_iso

from . import heat, markup, palette, past
from .board import PAIR_CSS, STACK_CSS, Board
from .controls import SURFACE, WHOLE, as_table, button, choices, group, joined, of_jobs, search, select
from .counts_plot import ORDER, CountsPlot, period_words
from .live import at_once
from .markup import text
from .page import Page
from .past import Chosen
from .ranges import ALL, Range, buttons_html, period_after, range_from_days, range_of, units_of
from .reader_zone import ReaderZone
from .runs_table import GROUPS
from .sql_box import PAST_CSS, SqlBox
from .trend_band import TrendBand

T = TypeVar("T")

NAMES = ("7d", "30d", "90d", "1y", ALL)
DEFAULT = "30d"
KEEP_FOR = timedelta(seconds=100)  #: what was answered
RENEW_S = 120.0
LEAST_CHANGE_S = 0.005  #: that is worth telling
MOST_ROWS = 50  #: of a table of jobs
MOST_CHOICES = 300  #: jobs and labels to choose from
#: What the calendar can show: its name, and the class of its colour.
METRICS: dict[str, tuple[str, str]] = {
    "runs": ("Runs", "blue"),
    "failed": ("Failures", "red"),
    "late": ("Late", "orange"),
    "missed": ("Missed", "grey"),
    "p95": ("Longest (p95)", "blue"),
}
TABS = {"ends": "How they ended", "on_time": "On time", "drift": "Drift", "cost": "Cost"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the reader wants to see; the address of the page says it."""

    range: Range = field(default_factory=Range)
    unit: str = ""  #: of a period; empty: what suits the range
    words: str = ""
    label: str = ""
    state: str = ""
    job: str = ""  #: of the trend; empty: the one with the most runs
    metric: str = "runs"
    tab: str = "ends"

    @property
    def query(self) -> dict[str, str]:
        """How the address says it, without what is as it is from the start."""
        more = {
            "by": self.unit, "job": self.words, "label": self.label, "state": self.state, "of": self.job,
            "show": "" if self.metric == "runs" else self.metric,
            "table": "" if self.tab == "ends" else self.tab,
        }  # fmt: skip
        span = {} if self.range == Range(DEFAULT) else self.range.query
        return span | {name: value for name, value in more.items() if value}


def wish_of(said: dict[str, str]) -> Wish:
    """What an address says, as far as it makes sense."""

    def one_of(name: str, known: Any, default: str) -> str:
        return said.get(name, "") if said.get(name, "") in known else default

    return Wish(
        range=range_of(said, DEFAULT, NAMES),
        unit=one_of("by", ("hour", "day", "week", "month"), ""),
        words=said.get("job", ""),
        label=said.get("label", ""),
        state=one_of("state", {*GROUPS, *(s.value for s in State)}, ""),
        job=said.get("of", ""),
        metric=one_of("show", METRICS, "runs"),
        tab=one_of("table", TABS, "ends"),
    )


@dataclass(frozen=True)
class Seen:
    """What one look gave: of a wish, in periods of a zone."""

    wish: Wish
    chosen: Chosen
    unit: str
    units: list[str]
    zone: ZoneInfo
    counts: pd.DataFrame
    calendar_unit: str
    calendar: pd.DataFrame  #: as `counts`, by the calendar's unit
    jobs: pd.DataFrame
    labels: list[str]
    longest: pd.DataFrame | None
    now: datetime


@dataclass(frozen=True)
class More:
    """What follows from it: the trend of one job, and the table of jobs that is not in `Seen` yet."""

    seen: Seen
    job: str
    durations: pd.DataFrame | None
    outliers: pd.DataFrame | None
    table: pd.DataFrame | None


class HistoryPage(Viewer):
    """The page's parts; follows what the reader wishes."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        self.wish = wish_of(page.said)
        self._before: list[Range] = []  # the ranges from which the reader came
        self._seen: Seen | None = None
        self._more: More | None = None
        self._changes = 0  # of fields, by the page itself
        self._tables = {"counts": False, "trend": False}
        self._window: tuple[datetime, tuple[Range, str], datetime, datetime] | None = None
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._zone = ReaderZone(page.shell, self._other_zone)
        board = partial(Board, on_action=self._act, stylesheets=[PAST_CSS])
        self._bar = board(self._bar_html())
        self._head = board(markup.card("Runs", markup.nothing("Loading …")))
        self._plot = CountsPlot(self._pick, page.shell.zone)
        self._plot_box = pn.Column(self._plot, visible=False, sizing_mode="stretch_width", styles=SURFACE)
        self._counts_table = board(visible=False)
        self._calendar = board()
        self._trend_head = board(visible=False)
        self._trend = TrendBand(name="durations", zone=page.shell.zone)
        self._trend_box = pn.Column(self._trend, visible=False, sizing_mode="stretch_width", styles=SURFACE)
        self._trend_table = board(visible=False)
        pair = pn.Row(
            self._calendar,
            joined(self._trend_head, self._trend_box),
            sizing_mode="stretch_width",
            stylesheets=[PAIR_CSS],
        )
        # The grid says itself how it is displayed, so what hides it stands around it.
        self._pair = pn.Column(pair, sizing_mode="stretch_width", visible=False)
        self._jobs = board()
        self._sql = SqlBox(lambda: page.client, page.later)
        # Nothing here is about this moment: whoever looks back does not want it to move beneath their eyes.
        self._look = page.keep(self._load, self._show, wants=_nothing, every_s=RENEW_S)
        self._look_further = page.keep(self._load_more, self._show_more, wants=_nothing)

    def __panel__(self) -> Any:
        return pn.Column(
            self._bar, joined(self._head, self._plot_box), self._counts_table, self._pair,
            self._trend_table, self._jobs, self._sql,
            sizing_mode="stretch_width", styles=WHOLE, stylesheets=[STACK_CSS],
        )  # fmt: skip

    # ---- From the server ----

    def _load(self) -> Seen:
        zone, wish = self._zone.wait(), self.wish
        now, since, until = self._window_of(wish.range, zone)
        chosen = Chosen(since, until, wish.words, wish.label, wish.state)
        units = units_of(since, until)
        unit = wish.unit if wish.unit in units else units[0]
        calendar_unit = unit if unit == "hour" else "day" if "day" in units else "month"
        questions: dict[str, Callable[[], Any]] = {
            "counts": partial(self._known, past.counts, chosen, unit, zone.key),
            "jobs": partial(self._known, past.jobs, chosen),
            "labels": partial(self._known, past.labels, since),
        }
        if calendar_unit != unit:
            questions["calendar"] = partial(self._known, past.counts, chosen, calendar_unit, zone.key)
        if wish.metric == "p95":
            questions["longest"] = partial(self._known, past.longest, chosen, calendar_unit, zone.key)
        told = at_once(**questions)
        return Seen(
            wish=wish,
            chosen=chosen,
            unit=unit,
            units=units,
            zone=zone,
            counts=told["counts"],
            calendar_unit=calendar_unit,
            calendar=told.get("calendar", told["counts"]),
            jobs=told["jobs"],
            labels=told["labels"][:MOST_CHOICES],
            longest=told.get("longest"),
            now=now,
        )

    def _window_of(self, chosen: Range, zone: ZoneInfo) -> tuple[datetime, datetime, datetime]:
        """The present and the range: both stand still for a while, so that nothing is asked twice."""
        now = self._page.now()
        if self._window is not None:
            known, of, since, until = self._window
            if (chosen, zone.key) == of and now - known < KEEP_FOR:
                return known, since, until
        since, until = chosen.window(now, zone)
        if chosen.name == ALL:
            since = max(since, past.first_at(self._page.client) or now)
        self._answers.clear()
        self._window = (now, (chosen, zone.key), since, until)
        return now, since, until

    def _known(self, ask: Callable[..., T], *args: Any) -> T:
        """The answer to a question of `past`, from before if it was asked about the same."""
        key = (ask.__name__, *args)
        answer: T | None = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = ask(self._page.client, *args)
        return answer

    def _show(self, seen: Seen) -> None:
        if seen.wish != self.wish:  # they wish for something else meanwhile, and it comes
            return
        if seen.zone.key != self._zone.zone.key:
            self._look()
            return
        self._seen = seen
        self._look_further()
        self._draw()

    def _load_more(self) -> More | None:
        seen = self._seen
        if seen is None:
            return None
        wish, since, until = seen.wish, seen.chosen.since, seen.chosen.until
        known = seen.jobs["job_id"].tolist()
        done = seen.jobs.loc[seen.jobs["success"] > 0, "job_id"].tolist()
        job = wish.job if wish.job in known else next(iter([*done, *known]), "")
        questions: dict[str, Callable[[], Any]] = {}
        if job:
            chosen = replace(seen.chosen, job=job, words="")
            questions["durations"] = partial(self._known, past.durations, chosen, seen.unit, seen.zone.key)
            questions["outliers"] = partial(self._known, past.outliers, chosen)
        match wish.tab:
            case "on_time":
                questions["table"] = partial(self._known, _on_time, since, until)
            case "drift":
                questions["table"] = partial(self._known, _drift, seen.zone.key)
            case "cost":
                questions["table"] = partial(self._known, _cost, since, until)
        told = at_once(**questions)
        table = told.get("table")
        if table is not None:
            table = table[table["job_id"].isin(known)]
        return More(seen, job, told.get("durations"), told.get("outliers"), table)

    def _show_more(self, more: More | None) -> None:
        if more is not None and more.seen is self._seen:
            self._more = more
            self._draw_more()

    # ---- From the reader ----

    def _other_zone(self) -> None:
        for plot in (self._plot, self._trend):
            plot.set_zone(self._page.shell.zone)
        if self._seen is not None:  # else the first look waits for it
            self._look()

    def _pick(self, at: datetime, until: datetime | None = None) -> None:
        """Only the bar in which a time is, or those between two times."""
        if self._seen is not None:
            self._pick_of(self._seen.counts, self._seen.unit, self._seen.zone, at, until)

    def _pick_of(
        self, counts: pd.DataFrame, unit: str, zone: ZoneInfo, at: datetime, until: datetime | None = None
    ) -> None:
        starts = sorted(t for t in map(markup.instant, counts["period"].unique()) if t is not None)
        ends = {start: period_after(start, unit, zone) for start in starts}
        if until is None:
            picked = [start for start in starts if start <= at < ends[start]]
        else:
            picked = [start for start in starts if start < until and ends[start] > at]
        if picked:
            self._go(replace(self.wish, range=Range("", picked[0], ends[picked[-1]]), unit=""))

    def _act(self, message: dict[str, Any]) -> None:
        action, value, wish = message["action"], str(message.get("value", "")), self.wish
        form = message.get("form") or {}
        match action:
            case "range" if value in NAMES:
                self._before = []
                self._go(replace(wish, range=Range(value), unit=""))
            case "days":
                found = range_from_days(
                    str(form.get("first", "")), str(form.get("last", "")), self._zone.zone
                )
                if found is None:
                    self._page.fail(BadRequest("choose two days, the first not after the last"))
                else:
                    self._page.fail(None)
                    self._go(replace(wish, range=found, unit=""))
            case "period" | "cell" if self._seen is not None and (at := _time_in(value)) is not None:
                seen, is_bar = self._seen, action == "period"
                counts, unit = (seen.counts, seen.unit) if is_bar else (seen.calendar, seen.calendar_unit)
                self._pick_of(counts, unit, seen.zone, at)
            case "back" if self._before:
                before = self._before.pop()
                self._go(replace(wish, range=before, unit=""), is_back=True)
            case "unit" if value in {"hour", "day", "week", "month"}:
                self._go(replace(wish, unit=value))
            case "words":
                self._go(replace(wish, words=value))
            case "only-job":
                self._changes += 1
                self._go(replace(wish, words=value))
            case "label":
                self._go(replace(wish, label=value))
            case "state" if value == "" or value in GROUPS or value in {s.value for s in State}:
                self._go(replace(wish, state=value))
            case "only-state" if value in {s.value for s in State}:
                self._changes += 1
                self._go(replace(wish, state="" if value == wish.state else value))
            case "metric" if value in METRICS:
                self._go(replace(wish, metric=value))
            case "tab" if value in TABS:
                self._go(replace(wish, tab=value))
            case "trend":
                self._go(replace(wish, job=value))
            case "table" if value in self._tables:
                self._tables[value] = not self._tables[value]
                self._draw()
                self._draw_more()

    def _go(self, wish: Wish, *, is_back: bool = False) -> None:
        if wish.range != self.wish.range and not is_back and not wish.range.name:
            self._before.append(self.wish.range)
        self.wish = wish
        self._page.replace_address(wish.query)
        self._bar.content = self._bar_html()
        self._look()

    # ---- Drawing ----

    def _draw(self) -> None:
        seen = self._seen
        if seen is None:
            return
        self._bar.content = self._bar_html()
        self._head.content = head_html(seen, has_table=self._tables["counts"])
        self._plot_box.visible = len(seen.counts) > 0
        self._plot.draw(seen.counts, seen.unit, seen.zone, seen.chosen.since, seen.chosen.until)
        is_open = self._tables["counts"] and len(seen.counts) > 0
        self._counts_table.param.update(content=counts_table_html(seen) if is_open else "", visible=is_open)
        self._calendar.content = calendar_html(seen)
        self._pair.visible = len(seen.counts) > 0
        if not len(seen.jobs):
            for part in (self._trend_head, self._trend_box, self._trend_table):
                part.visible = False
        if seen.wish.tab == "ends":
            self._jobs.content = jobs_html(seen, None)

    def _draw_more(self) -> None:
        more = self._more
        if more is None:
            return
        seen = more.seen
        self._jobs.content = jobs_html(seen, more.table)
        has_trend = more.durations is not None and len(more.durations) > 0
        self._trend_head.param.update(
            content=trend_html(more, has_table=self._tables["trend"]), visible=bool(more.job)
        )
        self._trend_box.visible = has_trend
        is_open = has_trend and self._tables["trend"]
        self._trend_table.param.update(content=trend_table_html(more) if is_open else "", visible=is_open)
        if has_trend and more.durations is not None:
            self._trend.draw(
                more.durations, unit=seen.unit, zone=seen.zone, since=seen.chosen.since,
                until=seen.chosen.until, points=more.outliers,
            )  # fmt: skip

    # ---- HTML ----

    def _bar_html(self) -> str:
        wish, zone, now, changes = self.wish, self._zone.zone, self._page.now(), self._changes
        is_current = self._seen is not None and self._seen.wish == wish
        loading = "" if is_current else '<span class="nothing" role="status">Loading …</span>'
        back = ""
        if self._before:
            back = button("back", "&lsaquo; back", title="The range from which you came")
        labels = self._seen.labels if self._seen else []
        known = self._seen.jobs["job_id"].head(MOST_CHOICES).tolist() if self._seen else []
        window = ""
        if self._seen is not None:
            since, until = self._seen.chosen.since, min(self._seen.chosen.until, self._seen.now)
            window = f'<span class="window">{markup.when(since)} &ndash; {markup.when(until)}</span>'
        return (
            f'<div class="stack tight"><div class="bar">{buttons_html(wish.range, NAMES, now, zone)}{back}'
            f"{window}{loading}</div>"
            f'<div class="bar">{search("words", "Job", wish.words, known, key=changes)}'
            f"{search('label', 'Label', wish.label, labels)}{state_select(wish.state, changes)}</div></div>"
        )


def _time_in(said: str) -> datetime | None:
    """An aware time that a button names."""
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _nothing(event: ServerEvent) -> bool:
    return False


def _on_time(client: Client, since: datetime, until: datetime) -> pd.DataFrame:
    """Which share of each job's runs kept its budgets, all periods together."""
    frame = client.history.on_time(since, until, unit="year")
    summed = frame.groupby("job_id", as_index=False)[["runs", "late_start", "late_finish"]].sum()
    on_time = 1 - (summed["late_start"] + summed["late_finish"]) / summed["runs"].clip(lower=1)
    return summed.assign(on_time_share=on_time)


def _drift(client: Client, tz: str) -> pd.DataFrame:
    return client.history.drift(tz=tz)


def _cost(client: Client, since: datetime, until: datetime) -> pd.DataFrame:
    return client.history.cost(since, until)


# ---- HTML ----


def state_select(chosen: str, key: int) -> str:
    """Which states."""
    names = [("", "All states"), *((k, words) for k, (words, _) in GROUPS.items())]
    return select("state", "State", [*names, *((s.value, s.value) for s in ORDER)], chosen, key=key)


def _units(seen: Seen) -> str:
    return group("Period", choices("unit", {unit: unit for unit in seen.units}, seen.unit), is_small=True)


def _named(wish: Wish) -> str:
    """Of which jobs, and with what, where the reader chose some."""
    label = f" with the label “{wish.label}”" if wish.label else ""
    return of_jobs(wish.words) + label + (f" of the state “{wish.state}”" if wish.state else "")


def head_html(seen: Seen, *, has_table: bool) -> str:
    """The figures, and what the bars mean; each state is a button that shows it alone."""
    by_state: dict[State, int] = {}
    late = missed = 0
    for row in markup.records(seen.counts):
        state = markup.state_of(row["state"])
        by_state[state] = by_state.get(state, 0) + int(row["runs"])
        late, missed = late + int(row["late"]), missed + int(row["missed"])
    whole = sum(by_state.values())
    if not whole:
        wish, named = seen.wish, _named(seen.wish)
        what_now = "" if named else " Choose a longer time, or start one with “New run”."
        return markup.card("Runs", markup.nothing(f"No run{named} {wish.range.words}.{what_now}"), count=0)
    done, failed = (
        by_state.get(State.SUCCESS, 0),
        by_state.get(State.FAILURE, 0) + by_state.get(State.ERROR, 0),
    )
    rate = f"{markup.percent(done, done + failed)} succeeded" if done + failed else "none has ended"
    told = f"{rate} &middot; {late:,} late &middot; {missed:,} missed"
    states = "".join(
        button(
            "only-state",
            f"{palette.icon(state)}{state.value} <b>{by_state[state]:,}</b>",
            value=state.value,
            pressed=seen.wish.state == state.value,
            title=f"Only {state.value}",
            kind="key-state",
        )
        for state in ORDER
        if by_state.get(state)
    )
    more = f"{_units(seen)} {as_table(has_table, 'counts')}"
    body = (
        f'<div class="bar under">{states}<span class="muted push num">{told}</span></div>'
        '<p class="hint">Tap a bar, or draw a box over some, to look closer.</p>'
    )
    return markup.card(f"Runs by {seen.unit}", body, count=whole, more=more, kind="upper")


def _by_period(counts: pd.DataFrame) -> dict[datetime, dict[str, float]]:
    """What happened in each period: runs, failed, late, missed, and by state."""
    found: dict[datetime, dict[str, float]] = {}
    for row in markup.records(counts):
        at = markup.instant(row["period"])
        if at is None:
            continue
        cell = found.setdefault(at, {"runs": 0, "failed": 0, "late": 0, "missed": 0})
        state = markup.state_of(row["state"])
        cell["runs"] += int(row["runs"])
        cell["failed"] += int(row["runs"]) if state in {State.FAILURE, State.ERROR} else 0
        cell["late"] += int(row["late"])
        cell["missed"] += int(row["missed"])
        cell[state.value] = cell.get(state.value, 0) + int(row["runs"])
    return found


def counts_table_html(seen: Seen) -> str:
    """The bars as a table, the newest first."""
    cells = _by_period(seen.counts)
    states = [s.value for s in ORDER if any(s.value in cell for cell in cells.values())]
    heads = [
        (seen.unit.capitalize(), "tight"),
        ("Runs", "right"),
        *((s.capitalize(), "right") for s in states),
    ]
    heads += [("Late", "right"), ("Missed", "right"), ("", "")]
    rows = []
    for at in sorted(cells, reverse=True):
        cell = cells[at]
        name = text(period_words(at, seen.unit, seen.zone))
        numbers = [f"{int(cell.get(k, 0)):,}" for k in ("runs", *states, "late", "missed")]
        only = button("period", "only this", value=format_iso(at), kind="link")
        rows.append([name, *numbers, only])
    body = markup.table(heads, rows, caption=f"Runs by {seen.unit}")
    return markup.card(f"Runs by {seen.unit}, as a table", f'<div class="rows">{body}</div>')


def calendar_html(seen: Seen) -> str:
    """The calendar of what the reader chose, by hour, day or month."""
    if not len(seen.counts):
        return ""
    name, colour = METRICS[seen.wish.metric]
    values: dict[datetime, float]
    if seen.wish.metric == "p95":
        frame = seen.longest if seen.longest is not None else pd.DataFrame({"period": [], "p95_s": []})
        told = [(markup.instant(row["period"]), float(row["p95_s"])) for row in markup.records(frame)]
        values = {at: value for at, value in told if at is not None}
    else:
        values = {at: cell[seen.wish.metric] for at, cell in _by_period(seen.calendar).items()}
    most = max(values.values(), default=0.0)
    noun = {"runs": "runs", "failed": "failures", "late": "late", "missed": "missed"}.get(
        seen.wish.metric, ""
    )

    def words(value: float) -> str:
        return f"{int(value):,} {noun}" if noun else (markup.duration(value) if value else "no success")

    zone, since, until = seen.zone, seen.chosen.since, min(seen.chosen.until, seen.now)
    match seen.calendar_unit:
        case "hour":
            drawn = heat.hours_html(values, since, until, zone, words)
        case "day":
            drawn = heat.days_html(values, since, until, zone, words)
        case _:
            drawn = heat.months_html(values, zone, words)
    names = {k: words_ for k, (words_, _) in METRICS.items()}
    metrics = group("What it shows", choices("metric", names, seen.wish.metric), is_small=True)
    window = {"from": format_iso(seen.chosen.since), "to": format_iso(until)}
    filters = {"job": seen.wish.words, "state": seen.wish.state}
    address = urlencode(window | {k: v for k, v in filters.items() if v})
    body = (
        f'<div class="bar under">{metrics}{heat.scale_html(words(most), colour)}</div>'
        f'<div class="heat-{colour}">{drawn}</div>'
    )
    link = f'<a href="timeline?{text(address)}">list these runs</a>'
    return markup.card("Calendar", body, more=f"<span>{text(name)} by {seen.calendar_unit}</span>{link}")


def trend_html(more: More, *, has_table: bool) -> str:
    """Which job's durations are shown, and what the picture means."""
    known = more.seen.jobs["job_id"].head(MOST_CHOICES).tolist()
    if more.job not in known:
        known.insert(0, more.job)
    choice = select("trend", "Job", [(job, job) for job in known], more.job)
    if more.durations is None or not len(more.durations):
        body = markup.nothing(f"No run of {more.job} has succeeded {more.seen.wish.range.words}.")
        return markup.card("How long they took", body, more=choice)
    far = 0 if more.outliers is None else len(more.outliers)
    unusual = "one unusual run" if far == 1 else f"{far:,} unusual runs"
    legend = (
        '<div class="bar under legend"><span><i class="line"></i>median</span>'
        '<span><i class="band"></i>up to the 95th percentile</span>'
        f'<span><i class="ring"></i>{unusual}, over three times as long or short as usual</span></div>'
    )
    more_html = f"{choice} {as_table(has_table, 'trend')}"
    return markup.card("How long they took", legend, more=more_html, kind="upper")


def trend_table_html(more: More) -> str:
    """The trend as tables: the periods, and the runs that stand out."""
    seen = more.seen
    heads = [
        (seen.unit.capitalize(), "tight"),
        ("Runs", "right"),
        ("Median", "right"),
        ("p95", "right"),
        ("Longest", "right"),
    ]
    rows = []
    for row in reversed(markup.records(more.durations if more.durations is not None else pd.DataFrame())):
        at = markup.instant(row["period"])
        name = "" if at is None else text(period_words(at, seen.unit, seen.zone))
        told = [markup.duration(row[k]) for k in ("p50_s", "p95_s", "max_s")]
        rows.append([name, f"{int(row['runs']):,}", *told])
    body = markup.table(heads, rows, caption=f"How long {more.job} took")
    far = markup.records(more.outliers) if more.outliers is not None else []
    names = [f"r{row['run_id']}" for row in far]
    cells = [
        [
            markup.run_link(name),
            markup.when(row["scheduled_at"]),
            markup.duration(row["value_s"]),
            markup.duration(row["p50_s"]),
        ]
        for name, row in zip(names, far, strict=True)
    ]
    heads = [("Run", "tight"), ("Due", ""), ("Took", "right"), ("Usual", "right")]
    unusual = markup.table(heads, cells, caption="Runs that took unusually long or short", ids=names)
    return markup.card("How long they took, as a table", f'<div class="rows">{body}</div>') + (
        markup.card("Unusually long or short", f'<div class="rows">{unusual}</div>', count=len(far))
        if far
        else ""
    )


def jobs_html(seen: Seen, table: pd.DataFrame | None) -> str:
    """The jobs, a row each, in one of several tables."""
    tab = seen.wish.tab
    more = group("Table", choices("tab", TABS, tab), is_small=True)
    if tab == "ends":
        body = _ends_html(seen)
    elif table is None:
        body = markup.nothing("Loading …")
    else:
        body = {"on_time": _on_time_html, "drift": _drift_html, "cost": _cost_html}[tab](table)
    return markup.card("Jobs", body, count=len(seen.jobs), more=more)


def _job_cell(job_id: Any) -> str:
    return button("only-job", markup.seen(job_id), value=str(job_id), title="Only this job", kind="link job")


def _rows(frame: pd.DataFrame, heads: list[tuple[str, str]], cells: Any, caption: str) -> str:
    """A table of the first rows, and how many there are beyond."""
    if not len(frame):
        return markup.nothing("No run to make a figure of.")
    rows = [cells(row) for row in markup.records(frame.head(MOST_ROWS))]
    beyond = len(frame) - MOST_ROWS
    more = (
        f'<p class="nothing">{beyond:,} more: narrow them by a part of their names.</p>' if beyond > 0 else ""
    )
    return markup.table(heads, rows, caption=caption) + more


def _ends_html(seen: Seen) -> str:
    frame = seen.jobs.sort_values(["failed", "runs"], ascending=False, kind="stable")
    heads = [
        ("Job", "name"), ("Runs", "right"), ("Succeeded", "right"), ("Failed", "right"), ("Skipped", "right"),
        ("Late", "right"), ("Median", "right"), ("p95", "right"), ("Longest", "right"),
    ]  # fmt: skip

    def cells(row: dict[str, Any]) -> list[str]:
        ended = int(row["success"]) + int(row["failed"])
        part = markup.percent(int(row["failed"]), ended) if ended else ""
        share = f' <span class="part-of">{part}</span>'
        numbers = [f"{int(row[k]):,}" for k in ("runs", "success", "failed", "skipped", "late")]
        numbers[2] += share
        return [
            _job_cell(row["job_id"]),
            *numbers,
            *(markup.duration(row[k]) for k in ("p50_s", "p95_s", "max_s")),
        ]

    return _rows(frame, heads, cells, "How the runs of each job ended, those that fail most first")


def _on_time_html(frame: pd.DataFrame) -> str:
    frame = frame.sort_values(["on_time_share", "runs"], ascending=[True, False], kind="stable")
    heads = [
        ("Job", "name"),
        ("On time", "right"),
        ("Runs of schedules", "right"),
        ("Started late", "right"),
        ("Ended late", "right"),
    ]

    def cells(row: dict[str, Any]) -> list[str]:
        share = 100 * float(row["on_time_share"])
        bar = f'<span class="share"><i style="width:{share:.1f}%"></i></span>'
        return [
            _job_cell(row["job_id"]), f"{bar}{share:.2f} %",
            *(f"{int(row[k]):,}" for k in ("runs", "late_start", "late_finish")),
        ]  # fmt: skip

    return _rows(frame, heads, cells, "Which share of the runs of each job kept its budgets, the worst first")


def _change(now: Any, change: Any) -> str:
    """A difference, with how large it is beside what it was."""
    if not markup.given(change):
        return markup.NONE
    seconds, before = float(change), float(now) - float(change)
    if abs(seconds) < LEAST_CHANGE_S:
        return '<span class="muted">as before</span>'
    sign = "+" if seconds > 0 else "&minus;" if seconds < 0 else ""
    share = f' <span class="muted">{100 * seconds / before:+.0f} %</span>' if before > 0.05 else ""
    strong = "rose" if before > 0.05 and seconds / before > 0.1 and seconds > 1 else ""
    return f'<span class="{strong}">{sign}{markup.duration(abs(seconds))}</span>{share}'


def _drift_html(frame: pd.DataFrame) -> str:
    before = frame["elapsed_before_s"].clip(lower=1e-3)
    frame = frame.assign(rise=(frame["elapsed_change_s"] / before)).sort_values(
        "rise", ascending=False, kind="stable"
    )
    heads = [
        ("Job", "name"), ("Takes", "right"), ("Change", "right"), ("Starts late by", "right"),
        ("Change", "right"), ("Ends", "right"), ("Runs", "right"), ("Before", "right"),
    ]  # fmt: skip

    def cells(row: dict[str, Any]) -> list[str]:
        return [
            _job_cell(row["job_id"]),
            markup.duration(row["elapsed_s"]), _change(row["elapsed_s"], row["elapsed_change_s"]),
            markup.duration(row["late_s"]), _change(row["late_s"], row["late_change_s"]),
            _later(row["finish_change_s"]), f"{int(row['runs']):,}", f"{int(row['runs_before']):,}",
        ]  # fmt: skip

    hint = (
        '<p class="hint">Medians of the successes of the last 28 days, beside those of the 28 days before; '
        "whatever the range is.</p>"
    )
    return hint + _rows(frame, heads, cells, "What has slowly moved, what takes longer first")


def _later(seconds: Any) -> str:
    if not markup.given(seconds):
        return markup.NONE
    if abs(float(seconds)) < 1:
        return "as before"
    return f"{markup.duration(abs(float(seconds)))} {'later' if float(seconds) > 0 else 'earlier'}"


def _cost_html(frame: pd.DataFrame) -> str:
    has_prices = bool((frame["cost"] > 0).any())
    frame = frame.sort_values("cost" if has_prices else "cpu_h", ascending=False, kind="stable")
    heads = [
        ("Job", "name"),
        ("Runs", "right"),
        ("Ran", "right"),
        ("Processor", "right"),
        ("Memory", "right"),
    ]
    heads += [("Cost", "right"), ("A run", "right")] if has_prices else []

    def cells(row: dict[str, Any]) -> list[str]:
        told = [
            _job_cell(row["job_id"]), f"{int(row['runs']):,}", f"{float(row['elapsed_h']):,.1f} h",
            f"{float(row['cpu_h']):,.2f} h", f"{float(row['memory_gb_h']):,.1f} GB h",
        ]  # fmt: skip
        if has_prices:
            told += [f"{float(row['cost']):,.2f}", f"{float(row['cost_per_run']):,.4f}"]
        return told

    hint = (
        ""
        if has_prices
        else '<p class="hint">With <code>cost</code> in the configuration, prices are told too.</p>'
    )
    return hint + _rows(frame, heads, cells, "What the programs of each job used, the most first")
