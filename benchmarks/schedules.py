"""How many times a second each kind of schedule gives, years of them, changes of the clocks included."""

import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.core.schedules import due_between, schedule_from_dict, times_between

START, STOP = datetime(2026, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
COUNT = 20_000
NEW_YORK = {"tz": "America/New_York"}

SCHEDULES: dict[str, dict[str, Any]] = {
    "interval": {"type": "interval", "interval": "1m"},
    "daily, Mon-Fri": {"type": "daily", "daytime": "09:00:00", "calendar": "Mon-Fri", **NEW_YORK},
    "daily, four daytimes": {
        "type": "daily",
        "daytime": ["02:30:00", "09:00:00", "13:00:00", "20:00:00"],
        "dst": {"gap": "shift", "fold": "both"},
        **NEW_YORK,
    },
    "daily, XNYS-business": {
        "type": "daily",
        "daytime": ["09:30:00", "16:00:00"],
        "calendar": "XNYS-business",
        **NEW_YORK,
    },
    "daily, last Mon-Fri of month": {
        "type": "daily",
        "daytime": "09:00:00",
        "calendar": "Mon-Fri",
        "day_of_month": -1,
        **NEW_YORK,
    },
    "daily-interval": {
        "type": "daily-interval",
        "start": "09:00:00",
        "stop": "17:00:00",
        "interval": "5m",
        "calendar": "Mon-Fri",
        **NEW_YORK,
    },
    "cron, every 5 minutes": {"type": "cron", "cron": "*/5 8-18 * * 1-5", **NEW_YORK},
    "cron, once a day": {"type": "cron", "cron": "30 2 * * *", **NEW_YORK},
    "cron, once a month": {"type": "cron", "cron": "0 9 * * 1#1", **NEW_YORK},
}


def measure() -> dict[str, float]:
    """Times a second, by schedule; the best of three goes through the first 20,000 times from 2026 on.

    Zones and holidays are read in the first go, as a server reads them once.
    """
    figures = {}
    for name, data in SCHEDULES.items():
        schedule = schedule_from_dict(data)
        figures[name] = max(_rate(times_between(schedule, START, STOP)) for _ in range(3))
    jittered = schedule_from_dict(SCHEDULES["interval"] | {"jitter": "5m"})
    figures["interval, with jitter"] = max(_rate(due_between("job", jittered, START, STOP)) for _ in range(3))
    days = [START + timedelta(days=n) for n in range(COUNT)]
    times = [f"{day:%Y-%m-%dT%H:%M:%SZ}" for day in days]
    explicit = schedule_from_dict({"type": "explicit", "times": times})
    figures["explicit"] = max(_rate(times_between(explicit, START, STOP)) for _ in range(3))
    return figures


def _rate(times: Any) -> float:
    began = perf_counter()
    count = sum(1 for _ in islice(times, COUNT))
    return count / (perf_counter() - began)


def main() -> None:
    """Measure, and print what was seen."""
    print("Times a second of each kind of schedule (bar: >= 100,000)")
    for name, value in measure().items():
        print(f"  {name:30} {value:12,.0f}")


if __name__ == "__main__":
    main()
