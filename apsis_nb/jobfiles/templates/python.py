"""The work of a job: the args of a run come as values of their types."""

from datetime import date


def make(date: date, rows: int) -> dict[str, object]:
    """What is printed is the run's output, and what is returned its `result.json`."""
    print(f"{rows} rows of {date}")
    return {"weekday": date.isoweekday(), "rows": rows}
