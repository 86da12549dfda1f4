"""The inbox of the payment provider: events are kept before they are acknowledged, and applied by the worker.

`HANDLERS` says who applies what: a type of event → the dotted path of a service function

    def apply_refund_event(*, event: WebhookEvent, at: datetime) -> None

that reads the object (`event.object_id`, of the connected account `event.account`, of the payment `event.intent_id`)
from the provider **again** and follows what it says: an event is a hint, it may be late, repeated, out of order or
older than what we know. It runs outside any transaction, must be safe to repeat, and says by what it raises what
becomes of the event: nothing → APPLIED; `PaymentMismatch` (not what was agreed, or nobody's) → PARKED with an alarm;
`payments.UnknownToProvider` → PARKED; `payments.ProviderUnavailable` or `ServiceUnavailable` → tried again later;
anything else → tried again with growing pauses, and PARKED after `ATTEMPTS`. Types without a handler are kept and IGNORED.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.utils.module_loading import import_string
from prometheus_client import Counter

from core import audit
from core.exceptions import ServiceUnavailable
from core.tasks import enqueue
from marketplace import payments
from marketplace.enums import WebhookEventStatus
from marketplace.exceptions import EventNotFound, EventNotParked, InvalidSignature, PaymentMismatch
from marketplace.models import WebhookEvent
from marketplace.services.settlement import alarm, provider_answers

log = structlog.get_logger(__name__)

APPLY = "marketplace.tasks.purchasing.apply_payment_event"
SIGNATURES_REFUSED = Counter("revsync_webhook_signatures_refused", "Events that none of our secrets has signed, or not lately")
ATTEMPTS = 8  # fewer than the task has: the last failure parks the event, where staff look


@dataclass(frozen=True)
class Handler:
    """Who applies a type of event; `connected` when it comes from a tuner's account and not from the platform's own."""

    path: str
    connected: bool = False


_PAYMENT = Handler("marketplace.services.settlement.apply_payment_event")
_REFUND = Handler("marketplace.services.refunds.apply_refund_event")
_DISPUTE = Handler("marketplace.services.disputes.apply_dispute_event")
_ACCOUNT = Handler("marketplace.services.payout_accounts.apply_account_event", connected=True)
_PAYOUT = Handler("marketplace.services.payouts.apply_payout_event", connected=True)
_TRANSFER = Handler("marketplace.services.payouts.apply_transfer_event")

HANDLERS: dict[str, Handler] = {
    "payment_intent.created": _PAYMENT,
    "payment_intent.requires_action": _PAYMENT,
    "payment_intent.processing": _PAYMENT,
    "payment_intent.payment_failed": _PAYMENT,
    "payment_intent.succeeded": _PAYMENT,
    "payment_intent.canceled": _PAYMENT,
    "charge.refunded": _REFUND,
    "charge.refund.updated": _REFUND,
    "refund.created": _REFUND,
    "refund.updated": _REFUND,
    "refund.failed": _REFUND,
    "charge.dispute.created": _DISPUTE,
    "charge.dispute.updated": _DISPUTE,
    "charge.dispute.closed": _DISPUTE,
    "charge.dispute.funds_withdrawn": _DISPUTE,
    "charge.dispute.funds_reinstated": _DISPUTE,
    "account.updated": _ACCOUNT,
    "payout.created": _PAYOUT,
    "payout.updated": _PAYOUT,
    "payout.paid": _PAYOUT,
    "payout.failed": _PAYOUT,
    "payout.canceled": _PAYOUT,
    "transfer.created": _TRANSFER,
    "transfer.updated": _TRANSFER,
    "transfer.reversed": _TRANSFER,
}


def receive_event(*, payload: bytes, signature: str, at: datetime) -> bool:
    """Take an event of the provider into the inbox with its task, in one transaction; whether it was new.

    Idempotent by the provider's event id. Queues apply_payment_event. Raises: InvalidSignature.
    """
    try:
        event = payments.read_event(payload, signature)
    except payments.SignatureWrong as wrong:
        log.warning("webhook_signature_refused")  # no row for it: anybody can send as many as they like
        SIGNATURES_REFUSED.inc()
        raise InvalidSignature from wrong
    return keep_event(event=event, at=at)


def keep_event(*, event: payments.ProviderEvent, at: datetime) -> bool:
    """Put an event into the inbox with its task, in one transaction; whether it was new. Queues apply_payment_event."""
    with transaction.atomic():
        row, is_new = WebhookEvent.objects.get_or_create(
            provider=payments.PROVIDER,
            event_id=event.id,
            defaults={
                "type": event.type,
                "object_id": event.object_id,
                "intent_id": event.intent_id,
                "livemode": event.livemode,
                "account": event.account,
                "api_version": event.api_version,
                "amount_minor": event.amount_minor,
                "currency": event.currency,
                "created_at_provider": event.created_at,
                "received_at": at,
            },
        )
        if is_new:
            enqueue(APPLY, event_id=row.pk)
    return is_new


def apply_event(*, event_id: UUID, at: datetime) -> WebhookEvent:
    """Apply one event of the inbox by its handler. A repeat is a no-op.

    Called by the worker. What can't be applied is PARKED with a note; an alarm goes with what smells of fraud. Raises:
    ServiceUnavailable, and whatever a handler fails with until it did so `ATTEMPTS` times.
    """
    event = WebhookEvent.objects.get(pk=event_id)
    if event.status != WebhookEventStatus.RECEIVED:
        return event
    handler = HANDLERS.get(event.type)
    status, note = WebhookEventStatus.APPLIED, ""
    if event.livemode != payments.expects_livemode():
        status, note = WebhookEventStatus.PARKED, "livemode is not ours"
    elif handler is None:
        status = WebhookEventStatus.IGNORED
    elif bool(event.account) != handler.connected:
        status, note = WebhookEventStatus.PARKED, f"account {event.account or 'missing'} is not whose events of this type are"
    else:
        try:
            with provider_answers():
                import_string(handler.path)(event=event, at=at)
        except payments.UnknownToProvider:
            status, note = WebhookEventStatus.PARKED, "the provider does not know it"
        except PaymentMismatch as mismatch:
            status, note = WebhookEventStatus.PARKED, str(mismatch)[:200]
        except (ServiceUnavailable, OperationalError, InterfaceError):
            raise
        except Exception as poison:
            failed = event.attempts + 1
            WebhookEvent.objects.filter(pk=event.pk).update(attempts=failed)
            if failed < ATTEMPTS:
                raise
            log.exception("webhook_event_is_poison", webhook_event=str(event.pk), type=event.type)
            return _finish(event, WebhookEventStatus.PARKED, f"failed {failed} times: {type(poison).__name__}", at=at)
    finished = _finish(event, status, note, at=at)
    if status == WebhookEventStatus.PARKED:
        alarm(subject_id=event.pk, note=note, at=at)
    return finished


def _finish(event: WebhookEvent, status: WebhookEventStatus, note: str, *, at: datetime) -> WebhookEvent:
    WebhookEvent.objects.filter(pk=event.pk, status=WebhookEventStatus.RECEIVED).update(status=status, note=note, finished_at=at)
    event.refresh_from_db()
    return event


def retry_event(*, event_id: UUID, actor_id: UUID, reason: str, at: datetime) -> None:
    """Take a parked event up again with all its attempts. Called by staff. Locks the event. Queues apply_payment_event.

    Not idempotent: a second call finds it waiting. Raises: EventNotFound, EventNotParked.
    """
    with transaction.atomic():
        event = WebhookEvent.objects.select_for_update(no_key=True).filter(pk=event_id).first()
        if event is None:
            raise EventNotFound
        if event.status != WebhookEventStatus.PARKED:
            raise EventNotParked
        _take_up(event)
        audit.record(act="webhook_event.retried", actor_id=actor_id, subject_id=event.pk, at=at, reason=reason, type=event.type)


def take_up_parked(*, intent_id: str) -> int:
    """Take up again what was parked for a payment that had no purchase, now that it has one; how many."""
    with transaction.atomic():
        parked = list(WebhookEvent.objects.select_for_update(no_key=True).filter(intent_id=intent_id, status=WebhookEventStatus.PARKED))
        for event in parked:
            _take_up(event)
    return len(parked)


def _take_up(event: WebhookEvent) -> None:
    event.status, event.note, event.finished_at, event.attempts = WebhookEventStatus.RECEIVED, "", None, 0
    event.save(update_fields=["status", "note", "finished_at", "attempts"])
    enqueue(APPLY, event_id=event.pk)
