"""The clock. Entry points (views, tasks, commands) read it once and pass `at` down: services never look themselves."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)
