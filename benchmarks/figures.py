"""A figure that was measured, beside the bar that the design sets for it."""

import math
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


def show(figures: Iterable[Figure]) -> None:
    """Print a line each, with the bar, and whether it was missed."""
    for figure in figures:
        line = f"  {figure.name:40} {figure.value:12,.1f} {figure.unit:5}"
        if figure.most is not None:
            line += f" (bar: {figure.most:,g})" + ("" if figure.value <= figure.most else " MISSED")
        print(line.rstrip(), flush=True)


def median_ms(question: Callable[[], Any], repeats: int = REPEATS) -> float:
    """How long a question takes, milliseconds; the first time, when it is cold, is one of several."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        question()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


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
