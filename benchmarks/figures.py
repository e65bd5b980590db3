"""A figure that was measured, beside the bar that the design sets for it."""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPEATS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured."""

    name: str
    value: float
    unit: str
    most: float | None = None  #: the bar; None: there is none
    cpu_ms: float | None = None  #: what it took of a processor: on a busy machine less than the time


def show(figures: Iterable[Figure]) -> None:
    """Print a line each, with the bar, and whether it was missed."""
    for figure in figures:
        line = f"  {figure.name:40} {figure.value:12,.1f} {figure.unit:5}"
        if figure.most is not None:
            line += f" (bar: {figure.most:,g})" + ("" if figure.value <= figure.most else " MISSED")
        if figure.cpu_ms is not None:
            line += f" [processor: {figure.cpu_ms:,.1f} ms]"
        print(line.rstrip(), flush=True)


def timed(
    name: str, question: Callable[[], Any], most: float | None = None, repeats: int = REPEATS
) -> Figure:
    """How long a question takes, median; the first time, when it is cold, is one of several."""
    times, costs = [], []
    for _ in range(repeats):
        began, cpu = time.perf_counter(), time.process_time()
        question()
        times.append(1000 * (time.perf_counter() - began))
        costs.append(1000 * (time.process_time() - cpu))
    return Figure(name, statistics.median(times), "ms", most, statistics.median(costs))


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share of them lies; NaN: there are none."""
    rising = sorted(values)
    return rising[min(len(rising) - 1, int(len(rising) * share))] if rising else math.nan


def memory_mb(pid: int | str = "self", field: str = "VmRSS") -> float:
    """Memory of a process, MB: all that it has, or another field of its `status` in /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1000
    raise ValueError(f"/proc/{pid}/status has no field {field}")


def processor_ms(pid: int | str = "self") -> float:
    """What a process has had of processors, milliseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
