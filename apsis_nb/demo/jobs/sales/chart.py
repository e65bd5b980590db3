"""Draw the sales of a day as bars: an SVG file among the outputs of the run.

Usage: chart.py DATE
"""
# ruff: noqa: T201  (what a program of a job prints is its output)

import os
import sys
from html import escape
from pathlib import Path

import duckdb

WIDTH, BAR, LEFT = 640, 26, 140


def main() -> None:
    day = sys.argv[1]
    report = Path(os.environ["DEMO_DATA"]) / "reports" / f"{day}.parquet"
    rows = duckdb.execute(
        "SELECT product, sum(revenue) FROM read_parquet($report) GROUP BY product ORDER BY 2 DESC",
        {"report": str(report)},
    ).fetchall()
    chart = Path(os.environ["APSIS_OUTPUT_DIR"]) / "chart.svg"
    chart.write_text(drawn(day, rows), encoding="utf-8")
    print(f"drew {len(rows)} products of {day}: see the output chart.svg of this run")


def drawn(day: str, rows: list[tuple[str, float]]) -> str:
    height = 50 + BAR * len(rows)
    most = max((revenue for _, revenue in rows), default=1.0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}">',
        '<style>text { font-family: sans-serif }</style><rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="24" font-size="16">Sales of {escape(day)}</text>',
    ]
    for n, (product, revenue) in enumerate(rows):
        y = 40 + n * BAR
        width = (WIDTH - LEFT - 90) * revenue / most
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 16}" font-size="13" text-anchor="end">{escape(product)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="{BAR - 8}" fill="#3a7ca5"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 16}" font-size="12">{revenue:,.2f}</text>',
        ]
    return "\n".join([*lines, "</svg>"])


if __name__ == "__main__":
    main()
