"""Write the orders of a day up to now: made up, but always the same for the same day.

Usage: import_orders.py DATE
"""
# ruff: noqa: T201  (what a program of a job prints is its output)

import csv
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

SHOPS = ("Leeds", "Lyon", "Lisbon")


def main() -> None:
    day = date.fromisoformat(sys.argv[1])
    data = Path(os.environ["DEMO_DATA"])
    with (data / "products.csv").open(newline="") as file:
        products = [row["product"] for row in csv.DictReader(file)]
    folder = data / "orders"
    folder.mkdir(exist_ok=True)
    total = 0
    with (folder / f"{day}.csv.new").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "shop", "product", "count"])
        for shop in SHOPS:
            orders = list(orders_of(day, shop, products))
            writer.writerows(orders)
            total += len(orders)
            print(f"{shop}: {len(orders)} orders")
            time.sleep(1)  # shops are slow to answer
    # A reader sees the old file or the new one, never half of it.
    (folder / f"{day}.csv.new").replace(folder / f"{day}.csv")
    print(f"{total} orders of {day}")


def orders_of(day: date, shop: str, products: list[str]) -> Iterator[list[object]]:
    dice = random.Random(f"{day} {shop}")
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = min(at + timedelta(days=1), datetime.now(UTC))
    while True:
        at += timedelta(seconds=dice.expovariate(1 / 90))
        order = [at.isoformat(timespec="seconds"), shop, dice.choice(products), dice.randint(1, 5)]
        if at >= end:
            return
        yield order


if __name__ == "__main__":
    main()
