"""`make bench`: every figure that the design names, measured here and now, with its bar.

`make bench BENCH="history load --runs 10000000 --cache FOLDER"` measures these parts alone, on a longer
history that is made once and kept.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import (
    door,
    history,
    jobfiles,
    load,
    notebook,
    pages,
    programs,
    scheduler,
    schedules,
    sqlite,
    start,
    steps,
)
from benchmarks.histories import History
from benchmarks.histories import history as made_history


def report_scheduler() -> None:
    """No-op runs, and starts."""
    print("No-op runs, end to end, durable; and from due to spawned at 100 starts/s")
    print("(bars: >= 3,000 runs/s; p50 <= 15 ms, p99 <= 50 ms)")
    for name, value in scheduler.measure().items():
        print(f"  {name:28} {value:12,.1f}")


def report_programs() -> None:
    """Real processes."""
    print("Process runs (/bin/true), supervised and fsynced, beside a bare asyncio spawn loop")
    print("(bars: >= 250 runs/s, ratio >= 0.2)")
    for name, value in programs.measure().items():
        print(f"  {name:28} {value:12,.2f}")


def report_jobfiles() -> None:
    """A large folder of jobs."""
    print(f"Job files: a folder of {jobfiles.FILES:,}, seconds (bar: load and check < 5)")
    for name, value in jobfiles.measure().items():
        print(f"  {name:28} {value:12,.2f}")


def report_schedules() -> None:
    """The times of schedules."""
    print("Times a second of each kind of schedule")
    print("(bar: >= 100,000)")
    for name, value in schedules.measure().items():
        print(f"  {name:28} {value:12,.0f}")


PARTS: dict[str, Callable[[], None]] = {
    "scheduler": report_scheduler,
    "programs": report_programs,
    "jobfiles": report_jobfiles,
    "schedules": report_schedules,
    "steps": steps.report,
    "start": start.report,
    "door": door.report,
    "notebook": notebook.report,
}
#: Those that need a long history.
ON_HISTORY: dict[str, Callable[[History], None]] = {
    "history": history.report,
    "sqlite": sqlite.report,
    "load": load.report,
    "pages": pages.report,
}


def main() -> None:
    """Run the benchmarks and print what they saw."""
    names = [*PARTS, *ON_HISTORY]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; all unless told")
    parser.add_argument("--runs", type=int, default=1_000_000, help="of the history")
    parser.add_argument("--cache", type=Path, help="folder in which the history is kept for the next time")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in names]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(names)}")
    wanted = given.parts or names
    for name, part in PARTS.items():
        if name in wanted:
            part()
    if ON_HISTORY.keys() & wanted:
        with made_history(given.runs, cache=given.cache) as made:
            for name, report in ON_HISTORY.items():
                if name in wanted:
                    report(made)


if __name__ == "__main__":
    main()
