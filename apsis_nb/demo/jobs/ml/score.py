"""Forecast the orders of each hour of a day, and compare with what was ordered.

Usage: score.py DATE MODEL
"""
# ruff: noqa: T201  (what a program of a job prints is its output)

import csv
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    day, model = sys.argv[1:]
    data = Path(os.environ["DEMO_DATA"])
    orders = data / "orders" / f"{day}.csv"
    if not orders.exists():
        sys.exit(f"there are no orders of {day} yet: run sales/import for that day first")
    with orders.open(newline="") as file:
        hours = Counter(int(row["time"][11:13]) for row in csv.DictReader(file))
    forecast = forecast_of(model, data, sum(hours.values()) / max(len(hours), 1))
    print(f"{'hour':>5} {'orders':>7} {'forecast':>9}")
    squares = []
    for hour in sorted(hours):
        expected = forecast(hour)
        squares.append((expected - hours[hour]) ** 2)
        print(f"{hour:5} {hours[hour]:7} {expected:9.1f}")
    off = math.sqrt(sum(squares) / max(len(squares), 1))
    print(f"{model}: off by {off:.1f} orders an hour")


def forecast_of(model: str, data: Path, mean: float) -> Callable[[int], float]:
    """A function from the hour to the orders that a model expects."""
    if model == "baseline":
        return lambda hour: mean
    file = data / "models" / f"{model}.json"
    if not file.exists():
        sys.exit(f"model {model} is not trained yet: run ml/train first")
    level, slope, wave = json.loads(file.read_text())
    return lambda hour: (
        mean * (1 + 0.02 * (level + slope * (hour / 12 - 1) + wave * math.sin(hour / 24 * math.tau)))
    )


if __name__ == "__main__":
    main()
