"""Add up the orders of a day with DuckDB, and write them as Parquet.

Usage: report.py DATE
"""
# ruff: noqa: T201  (what a program of a job prints is its output)

import os
import sys
from pathlib import Path

import duckdb


def main() -> None:
    day = sys.argv[1]
    data = Path(os.environ["DEMO_DATA"])
    (data / "reports").mkdir(exist_ok=True)
    report = data / "reports" / f"{day}.parquet"
    duckdb.execute(
        """
        CREATE TABLE sales AS
        SELECT shop, product, sum("count")::INTEGER AS items, round(sum("count" * price), 2) AS revenue
        FROM read_csv($orders) AS orders JOIN read_csv($products) AS products USING (product)
        GROUP BY ALL
        """,
        {"orders": str(data / "orders" / f"{day}.csv"), "products": str(data / "products.csv")},
    )
    duckdb.table("sales").order("revenue DESC").write_parquet(str(report))
    print(f"Sales of {day}")
    print(
        duckdb.sql(
            "SELECT shop, sum(items) AS items, sum(revenue) AS revenue FROM sales GROUP BY shop ORDER BY 1"
        )
    )
    print(duckdb.sql("FROM sales ORDER BY revenue DESC LIMIT 5"))
    print(f"written to {report}")


if __name__ == "__main__":
    main()
