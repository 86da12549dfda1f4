"""What `manage.py doctor` and `/metrics` tell about the payment provider's inbox and the reconciler."""

from collections.abc import Iterator
from datetime import timedelta

from django.db import DatabaseError, InterfaceError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from core import clock, doctor
from marketplace.enums import DifferenceState, WebhookEventStatus
from marketplace.models import ProviderDifference, ProviderWatch, WebhookEvent
from marketplace.services.reconciler import LONGEST_GAP

WAITS_TOO_LONG = timedelta(minutes=10)


def check_payments() -> Iterator[doctor.Finding]:
    """Whether somebody looks, and what a person must look at: parked events and open differences."""
    now = clock.now()
    watch = ProviderWatch.objects.filter(pk=1).first()
    if watch is None:
        yield doctor.warn("nobody has looked at the provider yet", "start worker and schedule")
    elif watch.restoring_since is not None:
        yield doctor.wrong(f"lost purchases are being rebuilt, nothing new is sold: {watch.note}", "see the runbook on restoring")
    elif now - watch.watched_at > LONGEST_GAP:
        yield doctor.wrong(f"nobody looked since {watch.watched_at:%Y-%m-%d %H:%M}, nothing new is sold", "look at worker and schedule")
    else:
        yield doctor.ok(f"everything is known up to {watch.watched_at:%Y-%m-%d %H:%M}")
    if parked := WebhookEvent.objects.filter(status=WebhookEventStatus.PARKED).count():
        yield doctor.warn(f"{parked} events are parked", "look at them in the admin, under webhook events")
    if late := WebhookEvent.objects.filter(status=WebhookEventStatus.RECEIVED, received_at__lt=now - WAITS_TOO_LONG).count():
        yield doctor.wrong(f"{late} events wait for more than ten minutes", "look at the worker and at its dead tasks")
    if differences := ProviderDifference.objects.filter(state=DifferenceState.OPEN).count():
        yield doctor.wrong(f"{differences} things differ between the provider and us", "decide on them in the admin")


class PaymentsCollector(Collector):
    """What a person should be woken by, read at each scrape: that the sale is closed, that it will be, that something differs."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            watch = ProviderWatch.objects.filter(pk=1).first()
            differences = ProviderDifference.objects.filter(state=DifferenceState.OPEN).count()
            parked = WebhookEvent.objects.filter(status=WebhookEventStatus.PARKED).count()
        except (DatabaseError, InterfaceError):
            return
        unseen = clock.now() - watch.watched_at if watch else timedelta(0)
        is_closed = watch is not None and (watch.restoring_since is not None or unseen > LONGEST_GAP)
        for name, text, value in (
            ("sales_closed", "1 while nothing new is sold, because it is not known what was sold before", float(is_closed)),
            ("provider_unseen_seconds", "Since when nobody looked at the provider; from 300 on the sale is closed", unseen.total_seconds()),
            ("payment_differences", "What the provider and we say differently, and nobody has decided", float(differences)),
            ("payment_events_parked", "Events of the provider that could not be applied", float(parked)),
        ):
            yield GaugeMetricFamily(f"revsync_{name}", text, value=value)

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # nothing is read while the collector is registered
