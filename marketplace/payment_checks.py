"""What `manage.py doctor` asks about the payment provider's inbox and the reconciler."""

from collections.abc import Iterator
from datetime import timedelta

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
