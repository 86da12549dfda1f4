"""What `manage.py doctor`, `/metrics` and the admin's front page tell of reported reviews that nobody decided in time."""

from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from core import clock, doctor
from tuners.selectors import count_overdue_decisions


def find_overdue() -> str | None:
    """One sentence while something waits for longer than reporters and authors were promised."""
    overdue = count_overdue_decisions(at=clock.now())
    return f"Reported reviews, or appeals about them, that should have been decided by now: {overdue}." if overdue else None


def check_reviews() -> Iterator[doctor.Finding]:
    """For `doctor`: whether staff keep up."""
    if overdue := find_overdue():
        yield doctor.warn(overdue, "decide them in the admin, what is due first comes first")
    else:
        yield doctor.ok("nothing reported is overdue")


class ReviewsCollector(Collector):
    """For `/metrics`, read at each scrape."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            overdue = count_overdue_decisions(at=clock.now())
        except (DatabaseError, InterfaceError):
            return
        text = "Reports of reviews and appeals about them that wait for longer than promised"
        yield GaugeMetricFamily("revsync_review_decisions_overdue", text, value=float(overdue))

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # nothing is read while the collector is registered
