"""The one place where the engine asks what time it is."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time, aware, UTC."""
    return datetime.now(UTC)
