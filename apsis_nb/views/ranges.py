"""Ranges of the past that a reader chooses: by a name, which move with the clock, and from day to day."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from apsis_nb.core.times import format_time

from . import markup
from .controls import button, group, question

#: Of each name how long it is, and what it is called in a sentence.
SPANS: dict[str, tuple[timedelta, str]] = {
    "24h": (timedelta(hours=24), "24 hours"),
    "7d": (timedelta(days=7), "7 days"),
    "30d": (timedelta(days=30), "30 days"),
    "90d": (timedelta(days=90), "90 days"),
    "1y": (timedelta(days=365), "year"),
}
MONTH, ALL = "month", "all"
FIRST = datetime(1970, 1, 1, tzinfo=UTC)
#: The most days for which hours are shown one by one.
MOST_DAYS_OF_HOURS = 31
#: The most days that are shown one by one.
MOST_DAYS = 400


@dataclass(frozen=True, slots=True)
class Range:
    """A range by its name, or from one time to another."""

    name: str = "30d"  #: of `SPANS`, `month`, `all`; empty: it is `since` and `until`
    since: datetime | None = None
    until: datetime | None = None

    def window(self, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """From when to when; a range of days begins with a day of the zone, and a moving one ends in a while.

        What is due later than now belongs to no range of the past, but for what was just made.
        """
        if self.since is not None and self.until is not None:
            return self.since, self.until
        until = now + timedelta(hours=1)
        if self.name == ALL:
            return FIRST, until
        local = now.astimezone(zone)
        if self.name == MONTH:
            return midnight(local.date().replace(day=1), zone), until
        span = SPANS[self.name][0]
        if span <= timedelta(days=1):
            return now - span, until
        return midnight(local.date() - span + timedelta(days=1), zone), until

    @property
    def query(self) -> dict[str, str]:
        """How the address of the page says it."""
        if self.since is None or self.until is None:
            return {"range": self.name}
        return {"from": format_time(self.since, "second"), "to": format_time(self.until, "second")}

    @property
    def words(self) -> str:
        """As a part of a sentence."""
        if self.name == ALL:
            return "in all time"
        if self.name == MONTH:
            return "this month"
        return f"in the last {SPANS[self.name][1]}" if self.name else "in this time"


def range_of(said: Mapping[str, str], default: str, names: Iterable[str]) -> Range:
    """The range that an address names."""
    try:
        since, until = (datetime.fromisoformat(said[name]) for name in ("from", "to"))
    except (KeyError, ValueError):
        since = until = FIRST
    if since.tzinfo is not None and until.tzinfo is not None and since < until:
        return Range("", since.astimezone(UTC), until.astimezone(UTC))
    name = said.get("range", "")
    return Range(name if name in names else default)


def range_from_days(first: str, last: str, zone: ZoneInfo) -> Range | None:
    """The range of two days, both of it; None if they are none, or in the wrong order."""
    try:
        start, stop = date.fromisoformat(first), date.fromisoformat(last)
        if start > stop:
            return None
        return Range("", midnight(start, zone), midnight(stop + timedelta(days=1), zone))
    except (ValueError, OverflowError):
        return None


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins in a zone; aware, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def period_after(at: datetime, unit: str, zone: ZoneInfo) -> datetime:
    """When the hour, day, week or month ends that begins at a time, by the clock of a zone; aware, UTC."""
    if unit == "hour":
        return at + timedelta(hours=1)
    day = at.astimezone(zone).date()
    if unit == "month":
        return midnight((day.replace(day=1) + timedelta(days=32)).replace(day=1), zone)
    return midnight(day + timedelta(days=7 if unit == "week" else 1), zone)


def units_of(since: datetime, until: datetime) -> list[str]:
    """In which periods so long a range can be shown, the best first."""
    days = (until - since) / timedelta(days=1)
    if days <= 3:
        return ["hour", "day"]
    if days <= MOST_DAYS_OF_HOURS + 1:
        return ["day", "hour"]
    return ["day", "week", "month"] if days < MOST_DAYS else ["month", "week"]


def buttons_html(chosen: Range, names: Iterable[str], now: datetime, zone: ZoneInfo) -> str:
    """The named ranges as buttons, and one that asks for two days."""
    words = {MONTH: "This month", ALL: "All"}
    made = [
        button(
            "range",
            words.get(name, name),
            value=name,
            pressed=chosen.name == name,
            title=Range(name).words.capitalize(),
        )
        for name in names
    ]
    since, until = chosen.window(now, zone)
    first = max(since, now - timedelta(days=3650)).astimezone(zone).date()
    last = min((until - timedelta(microseconds=1)), now).astimezone(zone).date()
    made.append(
        f'<button data-action="days" data-title="Show which days?" data-yes="Show" '
        f'aria-pressed="{str(not chosen.name).lower()}">Days &hellip;</button>'
    )
    asked = (
        f'<label class="field">From<input type="date" name="first" value="{first}"></label>'
        f'<label class="field">To, this day included<input type="date" name="last" value="{last}"></label>'
        f"<p>From midnight to midnight in {markup.text(zone.key)}.</p>"
    )
    return group("Time", made) + question("days", asked)
