"""`make bench`: every figure that the design names, measured here and now, with its bar."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import jobfiles, programs, queries, scheduler, schedules, steps


def main() -> None:
    """Run the benchmarks and print what they saw."""
    print("No-op runs, end to end, durable; and from due to spawned at 100 starts/s")
    print("(bars: >= 3,000 runs/s; p50 <= 15 ms, p99 <= 50 ms)")
    for name, value in scheduler.measure().items():
        print(f"  {name:28} {value:12,.1f}")
    print("Process runs (/bin/true), supervised and fsynced, beside a bare asyncio spawn loop")
    print("(bars: >= 250 runs/s, ratio >= 0.2)")
    for name, value in programs.measure().items():
        print(f"  {name:28} {value:12,.2f}")
    print(f"Job files: a folder of {jobfiles.FILES:,}, seconds (bar: load and check < 5)")
    for name, value in jobfiles.measure().items():
        print(f"  {name:28} {value:12,.2f}")
    print("Queries at 1 M made-up runs, ms (median of 5)")
    print("(bars at 10 M: default window <= 300; latest page, run by id, window of an hour <= 25)")
    for name, value in queries.measure().items():
        print(f"  {name:28} {value:12,.1f}")
    print("Times a second of each kind of schedule")
    print("(bar: >= 100,000)")
    for name, value in schedules.measure().items():
        print(f"  {name:28} {value:12,.0f}")
    steps.report()


if __name__ == "__main__":
    main()
