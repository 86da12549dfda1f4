"""What the provider and we do not agree about: noted once, ended by agreement or by staff."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.text import Truncator

from core import audit
from core.exceptions import ServiceUnavailable
from marketplace import payments
from marketplace.enums import PARKED_REASONS, DifferenceReason, DifferenceState, PaymentAttemptState
from marketplace.exceptions import DifferenceEnded, DifferenceNotFound, NothingCaptured
from marketplace.models import PaymentAttempt, ProviderDifference
from marketplace.payments import Intent
from marketplace.services.parked import follow_parked_refund, keep_in_books


def purchase_id_in(intent: Intent) -> UUID | None:
    """The purchase that an intent names, if it names one."""
    try:
        return UUID(intent.metadata.get("purchase", ""))
    except ValueError:
        return None


def note_difference(
    *, object_id: str, reason: DifferenceReason, ours: str, theirs: str = "", intent: Intent | None = None, at: datetime
) -> ProviderDifference:
    """Keep that something differs, or that it still does. Idempotent by object and reason; what staff ended stays ended.

    Called by whatever compares. `intent` is the payment in it, when there is one.
    """
    said: dict[str, Any] = {
        "ours": Truncator(ours).chars(300),
        "theirs": Truncator(theirs or (f"{intent.status}: {intent.received_minor} {intent.currency}" if intent else "")).chars(300),
        "seen_at": at,
    }
    with transaction.atomic():
        row, is_new = ProviderDifference.objects.select_for_update(no_key=True).get_or_create(
            provider=payments.PROVIDER,
            object_id=object_id,
            reason=reason,
            defaults={
                **said,
                "intent_id": intent.id if intent else "",
                "purchase_id": purchase_id_in(intent) if intent else None,
                "amount_minor": intent.received_minor if intent else 0,
                "currency": intent.currency if intent else "",
                "found_at": at,
            },
        )
        if is_new:
            audit.record(act="difference.found", actor_id=None, subject_id=row.pk, at=at, reason=said["ours"], kind=reason)
            if row.amount_minor and reason in PARKED_REASONS:
                keep_in_books(intent_id=row.intent_id, at=at)
            return row
        for name, value in said.items():
            setattr(row, name, value)
        if row.state == DifferenceState.GONE:
            row.state, row.ended_at = DifferenceState.OPEN, None
        row.save(update_fields=[*said, "state", "ended_at"])
    return row


def end_differences(*, object_id: str, at: datetime) -> int:
    """The two agree about an object: what was open about it is GONE, and a payment that was parked leaves suspense; how many."""
    rows = ProviderDifference.objects.filter(provider=payments.PROVIDER, object_id=object_id, state=DifferenceState.OPEN)
    ended = rows.update(state=DifferenceState.GONE, ended_at=at)
    if ended:
        keep_in_books(intent_id=object_id, at=at)
    return ended


def refund_difference(*, difference_id: UUID, actor_id: UUID, reason: str, at: datetime) -> ProviderDifference:
    """Give a captured payment that licenses nobody back to its payer, all that is left of it.

    Called by staff. Talks to the provider, so never call it in a transaction; the key follows from the row and from what came
    back before, so a repeat gives back once. Raises: DifferenceNotFound, DifferenceEnded, NothingCaptured, ServiceUnavailable.
    """
    row = _open(ProviderDifference.objects.filter(pk=difference_id).first())
    paid_for = PaymentAttempt.objects.filter(intent_id=row.intent_id, state=PaymentAttemptState.SUCCEEDED).exists()
    if row.reason not in PARKED_REASONS or not row.intent_id or paid_for:
        raise NothingCaptured
    try:
        charge = payments.find_charge(row.intent_id)
        made = list(payments.list_refunds(intent_id=row.intent_id))
        known = next((each for each in made if not each.is_failed), None)
        if charge is None or (charge.refunded_minor == charge.amount_minor and known is None):
            raise NothingCaptured
        left = charge.amount_minor - charge.refunded_minor
        if left:
            known = payments.create_refund(
                key=f"difference-{row.pk}-{left}-{sum(each.is_failed for each in made)}",  # one that came back is answered under its own
                intent_id=row.intent_id,
                amount_minor=left,
                metadata={"difference": str(row.pk)},
            )
        for given in list(payments.list_refunds(intent_id=row.intent_id)):
            follow_parked_refund(truth=given, at=at)
    except (payments.ProviderUnavailable, payments.ProviderUnsure) as trouble:
        raise ServiceUnavailable("payments", retry_after_seconds=5) from trouble
    except payments.ProviderRefused as refusal:
        raise NothingCaptured(str(refusal)) from refusal
    assert known is not None
    return _end(row, DifferenceState.REFUNDED, actor_id=actor_id, reason=reason, at=at, refund_id=known.id)


def dismiss_difference(*, difference_id: UUID, actor_id: UUID, reason: str, at: datetime) -> ProviderDifference:
    """End a difference because there is nothing to do. Called by staff. Raises: DifferenceNotFound, DifferenceEnded."""
    row = _open(ProviderDifference.objects.filter(pk=difference_id).first())
    return _end(row, DifferenceState.DISMISSED, actor_id=actor_id, reason=reason, at=at)


def _open(row: ProviderDifference | None) -> ProviderDifference:
    if row is None:
        raise DifferenceNotFound
    if row.state != DifferenceState.OPEN:
        raise DifferenceEnded
    return row


def _end(
    row: ProviderDifference, state: DifferenceState, *, actor_id: UUID, reason: str, at: datetime, refund_id: str = ""
) -> ProviderDifference:
    with transaction.atomic():
        row = _open(ProviderDifference.objects.select_for_update(no_key=True).get(pk=row.pk))
        row.state, row.refund_id, row.ended_at = state, refund_id, at
        row.save(update_fields=["state", "refund_id", "ended_at"])
        audit.record(
            act=f"difference.{state.lower()}", actor_id=actor_id, subject_id=row.pk, at=at, reason=reason, intent=row.intent_id,
            refund=refund_id or None,
        )  # fmt: skip
    return row
