"""Adds up the orders of a day."""
# ruff: noqa: T201  (what a program of a job prints is its output)

import csv
import os
from datetime import date as day
from pathlib import Path


def add_up(date: day) -> dict[str, object]:
    """How many orders a day had, and what they were worth; this becomes the output `result.json`.

    Raises:
        LookupError: there are no orders of that day.
    """
    data = Path(os.environ["DEMO_DATA"])
    orders = data / "orders" / f"{date}.csv"
    if not orders.exists():
        raise LookupError(f"there are no orders of {date}: run this again for a day that has some")
    with (data / "products.csv").open(newline="") as file:
        prices = {row["product"]: float(row["price"]) for row in csv.DictReader(file)}
    with orders.open(newline="") as file:
        sold = [int(row["count"]) * prices[row["product"]] for row in csv.DictReader(file)]
    print(f"{len(sold)} orders of {date} come to {sum(sold):,.2f}")
    return {"date": str(date), "orders": len(sold), "revenue": round(sum(sold), 2)}
