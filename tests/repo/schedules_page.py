"""What docs/schedules.md promises, for the tests that hold it to that."""

from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a row of titles, without the marks of code."""
    body = PAGE.split(title)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in body]
