"""Turn the orders of a day into Parquet, and see that none was lost.

Usage: nightly.py DATE
"""
# ruff: noqa: T201  (what a program of a job prints is its output)

import os
import sys
from pathlib import Path

import duckdb


def main() -> None:
    day = sys.argv[1]
    data = Path(os.environ["DEMO_DATA"])
    orders, archive = data / "orders" / f"{day}.csv", data / "archive" / f"{day}.parquet"
    if not orders.exists():
        print(f"no orders of {day}: nothing to do")
        return
    archive.parent.mkdir(exist_ok=True)
    duckdb.read_csv(str(orders)).write_parquet(str(archive), compression="zstd")
    counts = [
        duckdb.execute(f"SELECT count(*) FROM {read}($file)", {"file": str(file)}).fetchall()[0][0]
        for read, file in (("read_csv", orders), ("read_parquet", archive))
    ]
    if counts[0] != counts[1]:
        sys.exit(f"{orders} has {counts[0]} orders, {archive} has {counts[1]}")
    saved = 1 - archive.stat().st_size / orders.stat().st_size
    print(f"{counts[0]} orders of {day} are in {archive}, {saved:.0%} smaller")


if __name__ == "__main__":
    main()
