"""Disputes: a payer's bank takes the money back, for now or for good. We follow, stop the license, and answer with what we know.

Everything that happened is read from the provider again, so events in any order, twice or late end alike.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Sum

from core import audit
from core.tasks import enqueue
from marketplace import payments
from marketplace.enums import DisputeStatus, LedgerAccount, LedgerCause, PurchaseStatus
from marketplace.exceptions import DisputeNotFound, EvidenceNotAwaited, PaymentMismatch
from marketplace.models import Dispute, LedgerEntry, Purchase, WebhookEvent
from marketplace.models.refunds import DISPUTE_ENDED
from marketplace.money import amount_text
from marketplace.policies import cases as case_policies
from marketplace.selectors.disputes import evidence_fields, evidence_text, gather_evidence
from marketplace.services.books import book_dispute_lost, book_dispute_opened, book_dispute_won
from marketplace.services.buyer_reviews import follow_purchase
from marketplace.services.locks import lock_purchase
from marketplace.services.parked import follow_parked_dispute
from marketplace.services.refunds import paid_purchase_of
from marketplace.services.rights import restore_license, revoke_license, suspend_license
from marketplace.services.settlement import CLOCKS_DIFFER_BY, alarm, provider_answers
from users.enums import NoticeSeverity, NoticeType, Role
from users.models import User
from users.services import notify

log = structlog.get_logger("marketplace.disputes")

ASSEMBLE = "marketplace.tasks.refunds.assemble_evidence"
SEND = "marketplace.tasks.refunds.send_evidence"
LOOKED_AT_ONCE = 300
REMIND_BEFORE = timedelta(days=3)
ORDER = (DisputeStatus.INQUIRY, DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW)


def apply_dispute(*, truth: payments.Dispute, at: datetime) -> Dispute:
    """Bring a dispute, its purchase, license and books to what the provider says: the only writer.

    Called with a freshly read dispute, by a webhook, the reconciler or staff's submission. Locks the purchase, then the
    dispute. Queues marketplace.tasks.refunds.assemble_evidence when money has moved.

    Raises: PaymentMismatch (of no purchase of ours, not as real as we are, or a second one that is open), ServiceUnavailable.
    """
    if truth.livemode != payments.expects_livemode():
        raise PaymentMismatch(f"dispute {truth.id} is not as real as we are")
    purchase_id = paid_purchase_of(truth.intent_id, at=at)
    with transaction.atomic():
        purchase = lock_purchase(purchase_id)
        dispute = purchase.disputes.select_for_update(no_key=True).filter(provider_dispute_id=truth.id).first()
        if dispute is None:
            dispute = _new(purchase, truth, at=at)
        elif dispute.ended_at is not None:
            _ensure_same_end(dispute, truth)
            return dispute  # what a bank decided is final; what was read before is late
        dispute.reason, dispute.evidence_due_at = truth.reason, truth.evidence_due_at
        status = _later(dispute, _status_of(truth, is_applied=dispute.applied_at is not None))
        if status not in (DisputeStatus.INQUIRY, DisputeStatus.CLOSED) and dispute.applied_at is None:
            _open(purchase, dispute, truth, at=at)
        dispute.status, dispute.checked_at = status, at
        if status in DISPUTE_ENDED:
            dispute.ended_at = at
            if purchase.buyer.deleted_at is not None:  # it was put together for the bank alone, after everything else had gone
                dispute.evidence, dispute.evidence_text = {}, ""
        dispute.save()
        if status == DisputeStatus.WON:
            _win(purchase, dispute, truth, at=at)
        elif status == DisputeStatus.LOST:
            _lose(purchase, dispute, at=at)
        elif dispute.evidence_built_at is None:
            enqueue(ASSEMBLE, dispute_id=dispute.pk)
    return dispute


def _ensure_same_end(dispute: Dispute, truth: payments.Dispute) -> None:
    """A bank that takes its decision back, or goes on after an inquiry was closed, is for a person to follow. Raises: PaymentMismatch."""
    said = _status_of(truth, is_applied=dispute.applied_at is not None)
    goes_on = dispute.status == DisputeStatus.CLOSED and said != DisputeStatus.INQUIRY
    if said != dispute.status and (said in DISPUTE_ENDED or goes_on):
        raise PaymentMismatch(f"dispute {truth.id} ended as {dispute.status}, and is {said} now")


def _new(purchase: Purchase, truth: payments.Dispute, *, at: datetime) -> Dispute:
    if truth.currency != purchase.currency:
        raise PaymentMismatch(f"dispute {truth.id} is in {truth.currency}, {purchase.number} was paid in {purchase.currency}")
    dispute = Dispute(
        purchase=purchase,
        provider_dispute_id=truth.id,
        intent_id=truth.intent_id,
        status=DisputeStatus.INQUIRY,
        amount_minor=truth.amount_minor,
        currency=truth.currency,
        opened_at=truth.created_at,
        checked_at=at,
    )
    if truth.is_inquiry and truth.is_open:
        _tell_staff(purchase, dispute, title="A bank asks about", key="inquiry", at=at)
    return dispute


def _status_of(truth: payments.Dispute, *, is_applied: bool) -> DisputeStatus:
    if truth.is_lost:
        return DisputeStatus.LOST
    if truth.is_won:
        took_none = truth.is_inquiry or truth.status == "prevented"
        return DisputeStatus.CLOSED if took_none and not is_applied else DisputeStatus.WON
    if truth.is_inquiry:
        return DisputeStatus.INQUIRY
    return DisputeStatus.NEEDS_RESPONSE if truth.needs_response else DisputeStatus.UNDER_REVIEW


def _later(dispute: Dispute, status: DisputeStatus) -> DisputeStatus:
    """The later of what we know and what was read, which may have been read before somebody else's read."""
    if status in DISPUTE_ENDED:
        return status
    return max(DisputeStatus(dispute.status), status, key=ORDER.index)


def _open(purchase: Purchase, dispute: Dispute, truth: payments.Dispute, *, at: datetime) -> None:
    """The money is gone for now: the purchase is DISPUTED, its license stops at once."""
    if purchase.status not in (PurchaseStatus.PAID, PurchaseStatus.REFUNDED):
        raise PaymentMismatch(f"dispute {truth.id} opens while {purchase.number} is {purchase.status}")
    dispute.applied_at = at
    dispute.amount_minor = truth.amount_minor
    dispute.status = DisputeStatus.NEEDS_RESPONSE
    dispute.save()
    purchase.disputed_from, purchase.status = purchase.status, PurchaseStatus.DISPUTED
    purchase.save(update_fields=["status", "disputed_from"])
    suspend_license(purchase=purchase, reason="the payment is disputed", at=at)
    # a fee in another currency can't be told apart from the amounts, and is no fee of this purchase's books
    fee_minor = max(0, truth.fee_minor) if truth.withdrawn_minor in (0, truth.amount_minor) else 0
    book_dispute_opened(purchase=purchase, dispute_id=dispute.pk, amount_minor=dispute.amount_minor, fee_minor=fee_minor, at=at)
    audit.record(
        act="dispute.opened",
        actor_id=None,
        subject_id=dispute.pk,
        at=at,
        purchase_id=purchase.pk,
        amount_minor=dispute.amount_minor,
        currency=dispute.currency,
        cause=truth.reason,
    )
    log.warning("dispute_opened", dispute=str(dispute.pk), purchase=str(purchase.pk), cause=truth.reason)
    amount = amount_text(dispute.amount_minor, dispute.currency)
    _tell(
        purchase.buyer_id,
        purchase,
        title=f"Payment of {purchase.number} disputed",
        body=f"Your bank disputes {amount} for “{purchase.tune_title}”. Your license is suspended until it has decided; "
        "going back to stock is always possible.",
        key=f"dispute-opened:{dispute.pk}:buyer",
        at=at,
    )
    _tell(
        purchase.tuner.user_id,
        purchase,
        title=f"Disputed: {purchase.tune_title}",
        body=f"The payer's bank took {amount} for {purchase.number} back until it has decided. Your share waits until then.",
        key=f"dispute-opened:{dispute.pk}:tuner",
        at=at,
    )
    _tell_staff(purchase, dispute, title="Dispute of", key="opened", at=at)


def _win(purchase: Purchase, dispute: Dispute, truth: payments.Dispute, *, at: datetime) -> None:
    """The money is ours again: everything is what it was before."""
    purchase.status, purchase.disputed_from = purchase.disputed_from, ""
    purchase.save(update_fields=["status", "disputed_from"])
    if purchase.status == PurchaseStatus.PAID:
        restore_license(purchase=purchase, reason="the dispute was won", at=at)
    returned_minor = max(0, _fee_booked(dispute) - max(0, truth.fee_minor))
    book_dispute_won(purchase=purchase, dispute_id=dispute.pk, amount_minor=dispute.amount_minor, fee_returned_minor=returned_minor, at=at)
    audit.record(act="dispute.won", actor_id=None, subject_id=dispute.pk, at=at, purchase_id=purchase.pk)
    again = "your license is as it was before" if purchase.status == PurchaseStatus.PAID else "the refund stays as it was"
    _tell_end(purchase, dispute, buyer=f"The bank decided that the payment stands: {again}.", tuner="It was won.", at=at)


def _lose(purchase: Purchase, dispute: Dispute, *, at: datetime) -> None:
    """The bank keeps the money: the license ends, and the shares are taken back."""
    purchase.status, purchase.disputed_from = PurchaseStatus.CHARGED_BACK, ""
    purchase.save(update_fields=["status", "disputed_from"])
    revoke_license(purchase=purchase, reason="the dispute was lost", at=at)
    book_dispute_lost(purchase=purchase, dispute_id=dispute.pk, amount_minor=dispute.amount_minor, at=at)
    follow_purchase(purchase, at=at)
    audit.record(act="dispute.lost", actor_id=None, subject_id=dispute.pk, at=at, purchase_id=purchase.pk)
    _tell_end(
        purchase,
        dispute,
        buyer="Your bank gave you the money back: your license has ended. You can buy the tune again.",
        tuner="It was lost: the bank keeps the money, and your share of it is taken from your balance.",
        at=at,
    )


def _fee_booked(dispute: Dispute) -> int:
    booked = LedgerEntry.objects.filter(
        set__cause=LedgerCause.DISPUTE_OPENED, set__cause_id=dispute.pk, account=LedgerAccount.PROVIDER_FEE
    ).aggregate(total=Sum("amount_minor"))["total"]
    return -(booked or 0)


# Evidence


def assemble_evidence(*, dispute_id: UUID, at: datetime) -> Dispute:
    """Put together what we know, as JSON and text, for staff to read and send. Called by the worker; nothing once it was sent.

    Locks the dispute. Raises: DisputeNotFound.
    """
    with transaction.atomic():
        dispute = Dispute.objects.select_for_update(no_key=True).filter(pk=dispute_id).first()
        if dispute is None:
            raise DisputeNotFound
        if dispute.submitted_at is None and dispute.ended_at is None:
            dispute.evidence = gather_evidence(dispute)
            dispute.evidence_text = evidence_text(dispute.evidence)
            dispute.evidence_built_at = at
            dispute.save(update_fields=["evidence", "evidence_text", "evidence_built_at"])
    return dispute


def submit_evidence(*, dispute_id: UUID, actor: User, reason: str, at: datetime) -> Dispute:
    """Have the pack, as it is at this moment, sent to the bank: once and for good.

    Called by an admin who neither bought nor sold. Locks the dispute. Queues marketplace.tasks.refunds.send_evidence.

    Raises: DisputeNotFound, PermissionRefused, OwnCase, EvidenceNotAwaited.
    """
    with transaction.atomic():
        dispute = (
            Dispute.objects.select_for_update(no_key=True, of=("self",)).select_related("purchase__tuner").filter(pk=dispute_id).first()
        )
        if dispute is None:
            raise DisputeNotFound
        case_policies.ensure_may_decide(actor, dispute.purchase)
        if dispute.submitted_at is not None or dispute.status not in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.INQUIRY):
            raise EvidenceNotAwaited
        dispute = assemble_evidence(dispute_id=dispute_id, at=at)
        dispute.submitted_at, dispute.submitted_by_id = at, actor.pk
        dispute.save(update_fields=["submitted_at", "submitted_by_id"])
        audit.record(act="dispute.evidence_submitted", actor_id=actor.pk, subject_id=dispute.pk, at=at, reason=reason)
        enqueue(SEND, dispute_id=dispute.pk, priority=50)
    return dispute


def send_evidence(*, dispute_id: UUID, at: datetime) -> Dispute:
    """Send what staff submitted, under a key that follows from the dispute, and follow what it becomes. Called by the worker.

    Safe to repeat. One that the provider does not take is open to staff again, who are told. Raises: ServiceUnavailable.
    """
    dispute = Dispute.objects.select_related("purchase__tuner", "purchase__buyer").get(pk=dispute_id)
    if dispute.submitted_at is None or dispute.status not in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.INQUIRY):
        return dispute
    buyer = dispute.purchase.buyer
    fields = evidence_fields(dispute.evidence, dispute.evidence_text, email=buyer.email if buyer.deleted_at is None else "")
    key = f"evidence-{dispute.pk}-{int(dispute.submitted_at.timestamp())}"
    try:
        with provider_answers():
            truth = payments.send_evidence(key=key, dispute_id=dispute.provider_dispute_id, evidence=fields, submit=True)
    except payments.ProviderRefused as refusal:
        log.error("dispute_evidence_refused", dispute=str(dispute.pk), code=refusal.code)
        with transaction.atomic():
            Dispute.objects.filter(pk=dispute.pk).update(submitted_at=None, submitted_by_id=None)
            _tell_staff(dispute.purchase, dispute, title="The provider refused the evidence for", key=f"refused-{key[-10:]}", at=at)
        return dispute
    return apply_dispute(truth=truth, at=at)


def chase_disputes(*, at: datetime) -> int:
    """Remind staff, once a dispute, of evidence that is due within three days. Called by the schedule; how many were told."""
    due = Dispute.objects.filter(
        status=DisputeStatus.NEEDS_RESPONSE, submitted_at=None, reminded_at=None, evidence_due_at__lte=at + REMIND_BEFORE
    )
    told = 0
    for dispute in due.select_related("purchase__tuner").order_by("evidence_due_at")[:LOOKED_AT_ONCE]:
        with transaction.atomic():
            if not Dispute.objects.filter(pk=dispute.pk, reminded_at=None).update(reminded_at=at):
                continue
            _tell_staff(dispute.purchase, dispute, title="Evidence is due for the dispute of", key="due", at=at)
            log.error("dispute_evidence_due", dispute=str(dispute.pk))
            told += 1
    return told


# The provider's word


def apply_dispute_event(*, event: WebhookEvent, at: datetime) -> None:
    """A dispute opened, changed, ended, or moved money: read it again.

    Called by the inbox. Raises: PaymentMismatch, UnknownToProvider, ProviderUnavailable, ServiceUnavailable.
    """
    _follow(payments.get_dispute(event.object_id), at=at)


def _follow(truth: payments.Dispute, *, at: datetime) -> Dispute | None:
    """A dispute of a payment without a purchase is booked as such; any other is a purchase's. Raises: as `apply_dispute`."""
    return None if follow_parked_dispute(truth=truth, at=at) else apply_dispute(truth=truth, at=at)


def reconcile_disputes(*, at: datetime, limit: int = LOOKED_AT_ONCE) -> int:
    """Read every open dispute again, oldest look first; how many. One that does not match is alarmed and stops no other.

    Raises: ServiceUnavailable, ProviderUnavailable.
    """
    rows = list(Dispute.objects.filter(ended_at=None).order_by("checked_at").values_list("pk", "provider_dispute_id")[:limit])
    for dispute_id, provider_id in rows:
        try:
            apply_dispute(truth=payments.get_dispute(provider_id), at=at)
        except (PaymentMismatch, payments.UnknownToProvider) as mismatch:
            Dispute.objects.filter(pk=dispute_id).update(checked_at=at)  # behind the others, or it would be first in every round
            alarm(subject_id=dispute_id, note=str(mismatch), at=at)
    return len(rows)


def rebuild_disputes(*, since: datetime, at: datetime) -> int:
    """Follow every dispute that the provider has since a moment; how many were not known here. Moves no money.

    Raises: ServiceUnavailable, ProviderUnavailable.
    """
    written = 0
    for truth in list(payments.list_disputes(since=since - CLOCKS_DIFFER_BY)):
        known = Dispute.objects.filter(provider_dispute_id=truth.id).exists()
        try:
            dispute = _follow(truth, at=at)
        except PaymentMismatch as mismatch:
            alarm(subject_id=UUID(int=0), note=str(mismatch), at=at)
        else:
            written += not known and dispute is not None
    return written


# Telling


def _tell_end(purchase: Purchase, dispute: Dispute, *, buyer: str, tuner: str, at: datetime) -> None:
    ended = {purchase.buyer_id: buyer, purchase.tuner.user_id: tuner}
    for user_id, sentence in ended.items():
        _tell(
            user_id,
            purchase,
            title=f"Dispute of {purchase.number} decided",
            body=f"“{purchase.tune_title}”. {sentence}",
            key=f"dispute-ended:{dispute.pk}:{user_id}",
            at=at,
        )
    _tell_staff(purchase, dispute, title=f"{DisputeStatus(dispute.status).label}: dispute of", key="ended", at=at)


def _tell_staff(purchase: Purchase, dispute: Dispute, *, title: str, key: str, at: datetime) -> None:
    due = f" Evidence is due {dispute.evidence_due_at:%Y-%m-%d %H:%M} UTC." if dispute.evidence_due_at else ""
    for user_id in User.objects.filter(role=Role.ADMIN, is_active=True).values_list("pk", flat=True):
        _tell(
            user_id,
            purchase,
            title=f"{title} {purchase.number}",
            body=f"{amount_text(dispute.amount_minor, dispute.currency)} for “{purchase.tune_title}”.{due}",
            key=f"dispute-{key}:{dispute.pk}:{user_id}",
            at=at,
        )


def _tell(user_id: UUID, purchase: Purchase, *, title: str, body: str, key: str, at: datetime) -> None:
    notify(
        user_id=user_id,
        type=NoticeType.DISPUTE,
        title=title[:160],
        body=body,
        link={"resource": "purchase", "id": purchase.pk},
        severity=NoticeSeverity.WARNING,
        dedupe_key=key,
        at=at,
    )
