"""Money back: asked for, promised, given by the provider, and what becomes of it.

Three steps, as with purchases. (1) One transaction under the purchase's lock promises the money: it is counted, booked, and
a full refund ends the license. Against a download grant, which locks the purchase FOR SHARE, there is one winner. (2) The
worker asks the provider, outside any transaction, with a key that follows from the refund. (3) What the provider says is
applied by one writer, `apply_refund`, whoever heard of it first: the worker, a webhook or the reconciler.
"""

from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from core import audit
from core.exceptions import InvalidInput, ServiceUnavailable
from core.idempotency import Claim
from core.ids import new_id
from core.tasks import enqueue
from marketplace import payments
from marketplace.enums import (
    CaseKind,
    CaseResolution,
    CaseStatus,
    PaymentAttemptState,
    PurchaseStatus,
    RefundCause,
    RefundStatus,
)
from marketplace.exceptions import (
    CaseNotFound,
    PaymentMismatch,
    PurchaseNotFound,
    RefundNotFound,
    RefundNotOwed,
    RefundOpen,
    RefundTooLarge,
)
from marketplace.models import Case, GrantedPurchase, PaymentAttempt, Purchase, Refund, WebhookEvent
from marketplace.money import amount_text
from marketplace.policies import cases as case_policies
from marketplace.policies import refunds as policies
from marketplace.policies.purchasing import KEY_TRUSTED_FOR
from marketplace.services.books import book_owed_paid, book_refund, book_refund_failed
from marketplace.services.buyer_reviews import follow_purchase
from marketplace.services.cases import add_message, lock_case, open_case, resolve_case
from marketplace.services.locks import lock_purchase
from marketplace.services.parked import follow_parked_refund
from marketplace.services.rights import lock_license, revoke_license
from marketplace.services.settlement import CLOCKS_DIFFER_BY, alarm, apply_intent, provider_answers
from users.enums import NoticeSeverity, NoticeType
from users.models import User
from users.services import notify

log = structlog.get_logger("marketplace.refunds")

SEND = "marketplace.tasks.refunds.send_refund"
ATTEMPTS_A_CALL = 3
LOOKED_AT_ONCE = 300
ASKED_WITHOUT_A_WORD = "The rider asks for the money back."
DECLINED = "declined"


# Asking


def request_refund(*, buyer: User, purchase_id: UUID, reason: str, claim: Claim, at: datetime) -> Refund:
    """Ask for everything that is left of a payment: at once when nothing was ever downloaded and 14 days have not passed,
    otherwise staff decide in a case. `is_new` of the result tells 201 from 200.

    Called by the buyer. One transaction locks the purchase, decides, and completes the claim. A refund that is open
    already is answered, not made twice. Queues marketplace.tasks.refunds.send_refund.

    Raises: PurchaseNotFound, PurchaseNotPaid, NothingToRefund, PurchaseDisputed, PurchaseChargedBack, AlreadyRefunded.
    """
    with transaction.atomic():
        purchase = lock_purchase(purchase_id)
        if purchase.buyer_id != buyer.pk:
            raise PurchaseNotFound
        last = purchase.refunds.exclude(reserved_at=None).order_by("-pk").first()
        policies.ensure_refundable(purchase, last_refund_id=last.pk if last else None)
        refund = _own_open(purchase)
        is_new = refund is None
        if refund is None:
            # a statement of its own, after the lock: a grant that held the purchase FOR SHARE is seen now
            was_granted = GrantedPurchase.objects.filter(pk=purchase.pk).exists()
            refund = Refund(
                purchase=purchase,
                cause=RefundCause.REQUEST,
                amount_minor=policies.left_minor(purchase),
                currency=purchase.currency,
                asked_by_id=buyer.pk,
                created_at=at,
            )
            if policies.is_refunded_at_once(purchase, was_granted=was_granted, at=at):
                _reserve(purchase, refund, at=at)
            else:
                refund.cause = RefundCause.CASE
                refund.case = _case_of_request(purchase, buyer=buyer, text=reason or ASKED_WITHOUT_A_WORD, at=at)
                refund.save(force_insert=True)
                audit.record(
                    act="refund.requested",
                    actor_id=buyer.pk,
                    subject_id=refund.pk,
                    at=at,
                    amount_minor=refund.amount_minor,
                    currency=refund.currency,
                )
        claim.complete(refund.pk)
    refund.is_new = is_new  # type: ignore[attr-defined]
    return refund


def _own_open(purchase: Purchase) -> Refund | None:
    return purchase.refunds.filter(status=RefundStatus.PENDING).exclude(cause=RefundCause.PROVIDER).first()


def _case_of_request(purchase: Purchase, *, buyer: User, text: str, at: datetime) -> Case:
    """The refund case that is open already (of a refund that failed, say), or a new one."""
    case = Case.objects.open().filter(purchase=purchase, kind=CaseKind.REFUND).first()
    if case is None:
        return open_case(purchase_id=purchase.pk, kind=CaseKind.REFUND, text=text, by=buyer, at=at)
    add_message(author=buyer, case_id=case.pk, text=text, at=at)
    return case


def _reserve(purchase: Purchase, refund: Refund, *, at: datetime, send: bool = True) -> None:
    """Promise the money of a refund: count it, book it, end the license with the last of it. The purchase is locked."""
    refund.reserved_at = at
    refund.save()
    purchase.refunded_minor += refund.amount_minor
    is_full = purchase.refunded_minor == purchase.captured_minor
    if is_full and purchase.status == PurchaseStatus.PAID:
        purchase.status = PurchaseStatus.REFUNDED
    elif is_full and purchase.status == PurchaseStatus.DISPUTED:  # heard of late: it had been given back before the dispute
        purchase.disputed_from = PurchaseStatus.REFUNDED
    purchase.save(update_fields=["refunded_minor", "status", "disputed_from"])
    if is_full:
        revoke_license(purchase=purchase, reason="refunded in full", actor_id=refund.decided_by_id or refund.asked_by_id, at=at)
    try:
        book_refund(purchase=purchase, refund_id=refund.pk, amount_minor=refund.amount_minor, at=at)
    except ValueError as beyond:  # the provider gave more than the sale was, after a lost dispute
        raise PaymentMismatch(f"{purchase.number}: {beyond}") from beyond
    if is_full:
        follow_purchase(purchase, at=at)
    audit.record(
        act="refund.reserved",
        actor_id=refund.decided_by_id or refund.asked_by_id,
        subject_id=refund.pk,
        at=at,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        cause=refund.cause,
    )
    if send:
        enqueue(SEND, refund_id=refund.pk, priority=50)
    _tell_of_refund(purchase, refund, is_full=is_full, at=at)


# Deciding


def decide_refund(*, case_id: UUID, actor: User, resolution: str, reason: str, amount_minor: int | None = None, at: datetime) -> Case:
    """End a case with what is given back: everything that is left, a part of it (`amount_minor`), or nothing.

    Called by an admin who neither bought nor sold. Locks the purchase, then the case. Queues
    marketplace.tasks.refunds.send_refund. Not idempotent: a resolved case is refused.

    Raises: CaseNotFound, CaseResolved, PermissionRefused, OwnCase, InvalidInput, and for money: PurchaseDisputed,
    PurchaseChargedBack, NothingToRefund, AlreadyRefunded, RefundTooLarge (`refundable_minor`), RefundOpen.
    """
    gives = resolution in (CaseResolution.FULL_REFUND, CaseResolution.PARTIAL_REFUND)
    if not gives and resolution not in (CaseResolution.NO_REFUND, CaseResolution.SOLVED):
        raise InvalidInput.at("/resolution", "invalid", "Decide: full, partial, none, or solved without money.")
    if (resolution == CaseResolution.PARTIAL_REFUND) != bool(amount_minor):
        raise InvalidInput.at("/amount_minor", "invalid", "A partial refund has an amount above zero, and nothing else has one.")
    if amount_minor is not None and amount_minor < 0:
        raise InvalidInput.at("/amount_minor", "invalid", "An amount is above zero.")
    purchase_id = Case.objects.filter(pk=case_id).values_list("purchase_id", flat=True).first()
    if purchase_id is None:
        raise CaseNotFound
    with transaction.atomic():
        purchase = lock_purchase(purchase_id)
        lock_license(purchase)  # before the case: a flash report holds its license when it opens one
        case = lock_case(case_id)
        case_policies.ensure_may_decide(actor, purchase)
        wish = purchase.refunds.select_for_update(no_key=True).filter(case=case, status=RefundStatus.PENDING, reserved_at=None).first()
        if gives:
            policies.ensure_refundable(purchase)
            _give(purchase, wish, case=case, actor=actor, amount_minor=amount_minor, at=at)
        elif wish is not None:
            wish.decided_by_id = actor.pk
            _end(wish, RefundStatus.FAILED, code=DECLINED, at=at)
        resolve_case(case, resolution=resolution, reason=reason, actor_id=actor.pk, at=at)
    return case


def _give(purchase: Purchase, wish: Refund | None, *, case: Case, actor: User, amount_minor: int | None, at: datetime) -> None:
    left = policies.left_minor(purchase)
    amount = left if amount_minor is None else amount_minor
    if amount > left or (amount_minor is not None and amount == left):
        raise RefundTooLarge("A partial refund is less than what is left of the payment.", refundable_minor=left)
    refund = wish
    if refund is None:
        if _own_open(purchase) is not None:
            raise RefundOpen
        refund = Refund(purchase=purchase, case=case, cause=RefundCause.CASE, currency=purchase.currency, created_at=at)
    refund.amount_minor, refund.decided_by_id = amount, actor.pk
    _reserve(purchase, refund, at=at)


def withdraw_wishes(*, user_id: UUID, at: datetime) -> None:
    """Close what a rider who leaves had open: their cases, and wishes that nobody decided. Money on its way goes on.

    Called by the deletion of an account, in its transaction. Locks each purchase, then its case. Idempotent.
    """
    open_cases = Case.objects.open().filter(purchase__buyer_id=user_id).order_by("purchase_id", "pk")
    for case_id, purchase_id in open_cases.values_list("pk", "purchase_id"):
        purchase = lock_purchase(purchase_id)
        case = lock_case(case_id)
        for wish in purchase.refunds.filter(case=case, status=RefundStatus.PENDING, reserved_at=None):
            _end(wish, RefundStatus.FAILED, code="withdrawn", at=at)
        resolve_case(case, resolution=CaseResolution.WITHDRAWN, reason="The rider deleted the account.", actor_id=None, at=at)


# Giving


def send_refund(*, refund_id: UUID, at: datetime) -> Refund | None:
    """Ask the provider for a promised refund, or find the one that a lost answer told of, and apply what it says.

    Called by the worker and the reconciler; safe at any time and in parallel, because each attempt's key is derived.
    Talks to the provider, so never call it in a transaction. Raises: ServiceUnavailable, PaymentMismatch.
    """
    for _ in range(ATTEMPTS_A_CALL):
        refund = Refund.objects.select_related("purchase").get(pk=refund_id)
        if refund.status != RefundStatus.PENDING or refund.reserved_at is None or refund.provider_refund_id is not None:
            return refund
        began, truth = refund.asked_provider_at, None
        with provider_answers():
            try:
                if began is None and at - refund.reserved_at >= KEY_TRUSTED_FOR:
                    truth = _look(refund)  # perhaps a restored row, whose call was lost with the newer ones, and its key is forgotten
                if truth is None:
                    Refund.objects.filter(pk=refund.pk, attempt=refund.attempt, asked_provider_at=None).update(asked_provider_at=at)
                    truth = _ask(refund) if at - (began or at) < KEY_TRUSTED_FOR else _look(refund)
            except payments.ProviderUnsure:
                truth = _look(refund)
            except payments.ProviderRefused as refusal:
                _follow_strangers(refund, at=at)
                truth = _look(refund)
                if truth is None and Refund.objects.filter(pk=refund.pk, provider_refund_id=None).exists():
                    log.error("refund_refused_for_good", refund=str(refund.pk), code=refusal.code)
                    return _refuse(refund_id=refund.pk, code=refusal.code or "refused", at=at)
        if truth is not None:
            return apply_refund(truth=truth, at=at)
        Refund.objects.filter(pk=refund.pk, attempt=refund.attempt, status=RefundStatus.PENDING, provider_refund_id=None).update(
            attempt=refund.attempt + 1, asked_provider_at=None
        )
    raise ServiceUnavailable("payments", retry_after_seconds=5)


def _ask(refund: Refund) -> payments.Refund:
    return payments.create_refund(
        key=refund.idempotency_key,
        intent_id=_intent_of(refund.purchase),
        amount_minor=refund.amount_minor,
        metadata={"refund": str(refund.pk), "purchase": str(refund.purchase_id), "cause": refund.cause},
    )


def _look(refund: Refund) -> payments.Refund | None:
    """What the provider's own list has under this refund's name."""
    found = payments.list_refunds(intent_id=_intent_of(refund.purchase))
    return next((each for each in found if each.metadata.get("refund") == str(refund.pk)), None)


def _follow_strangers(refund: Refund, *, at: datetime) -> None:
    """Refunds of this payment that were made at the provider and that we had not heard of: perhaps one of them is this money."""
    for truth in list(payments.list_refunds(intent_id=_intent_of(refund.purchase))):
        if not Refund.objects.filter(provider_refund_id=truth.id).exists() and "refund" not in truth.metadata:
            try:
                apply_refund(truth=truth, at=at)
            except PaymentMismatch as mismatch:
                alarm(subject_id=refund.pk, note=str(mismatch), at=at)


def _intent_of(purchase: Purchase) -> str:
    attempt = purchase.attempts.filter(state=PaymentAttemptState.SUCCEEDED).first()
    if attempt is None or attempt.intent_id is None:
        raise PaymentMismatch(f"{purchase.number} has no payment to give back")
    return attempt.intent_id


def apply_refund(*, truth: payments.Refund, at: datetime) -> Refund | None:
    """Bring a refund to what the provider says of it: the only writer. Late, repeated and disordered calls end alike.

    Called with a freshly read refund, by the worker, a webhook or the reconciler; one that was made at the provider, or
    that a restored database lost, gets its row here. None for one that was made there and has failed: nothing was promised.
    Locks the purchase.

    Raises: PaymentMismatch (of no purchase of ours, another amount or currency, more than is left), ServiceUnavailable.
    """
    purchase_id = paid_purchase_of(truth.intent_id, at=at)
    with transaction.atomic():
        purchase = lock_purchase(purchase_id)
        refund = _row_of(truth, purchase, at=at)
        if refund is None:
            return None
        if (refund.amount_minor, refund.currency) != (truth.amount_minor, truth.currency):
            raise PaymentMismatch(f"refund {truth.id} is {truth.amount_minor} {truth.currency}, promised was {refund}")
        if refund.provider_refund_id not in (None, truth.id):
            raise PaymentMismatch(f"refund {truth.id} and {refund.provider_refund_id} are for one promise")
        if refund.status == RefundStatus.FAILED and not truth.is_failed:
            raise PaymentMismatch(f"refund {truth.id} lives, and its promise was given up")
        refund.provider_refund_id, refund.checked_at = truth.id, at
        refund.save(update_fields=["provider_refund_id", "checked_at"])
        if truth.is_failed and refund.status != RefundStatus.FAILED:
            _fail(purchase, refund, code=truth.failure_reason or truth.status, at=at)
        elif truth.is_succeeded and refund.status == RefundStatus.PENDING:
            _end(refund, RefundStatus.SUCCEEDED, at=at)
    return refund


def paid_purchase_of(intent_id: str, *, at: datetime) -> UUID:
    """Whose payment it was; one that we had not heard of yet is settled first. Raises: PaymentMismatch, ServiceUnavailable."""
    attempt = PaymentAttempt.objects.filter(provider=payments.PROVIDER, intent_id=intent_id).first() if intent_id else None
    if attempt is None or attempt.state != PaymentAttemptState.SUCCEEDED:
        with provider_answers():
            try:
                purchase = apply_intent(intent=payments.get_intent(intent_id), at=at) if intent_id else None
            except payments.UnknownToProvider:
                purchase = None
        if purchase is None or purchase.paid_at is None:
            raise PaymentMismatch(f"intent {intent_id or '-'} pays nothing of ours")
        return purchase.pk
    return attempt.purchase_id


def _row_of(truth: payments.Refund, purchase: Purchase, *, at: datetime) -> Refund | None:
    """The row of a provider's refund, locked by its purchase: known by its id, by ours in its metadata, or made now."""
    rows = purchase.refunds.select_for_update(no_key=True)
    own_id = _uuid(truth.metadata.get("refund"))
    refund = rows.filter(provider_refund_id=truth.id).first() or (rows.filter(pk=own_id).first() if own_id else None)
    if refund is not None:
        if refund.reserved_at is None and refund.status == RefundStatus.PENDING:  # a restored database lost the decision
            refund.amount_minor = truth.amount_minor
            _reserve(purchase, refund, at=at, send=False)
        return refund
    if own_id is None and truth.is_failed:
        return None
    if own_id is not None and Refund.objects.filter(pk=own_id).exists():
        raise PaymentMismatch(f"refund {truth.id} names the refund of another purchase than {purchase.number}")
    left = policies.left_minor(purchase)
    if own_id is None and (wish := rows.filter(status=RefundStatus.PENDING, provider_refund_id=None).first()) is not None:
        # somebody gave back at the provider what was asked for, or hangs, here: it is the same money
        if wish.reserved_at is None and truth.amount_minor <= left:
            wish.amount_minor = truth.amount_minor
            _reserve(purchase, wish, at=at, send=False)
            _resolve_as_given(purchase, wish, at=at)
            return wish
        if wish.reserved_at is not None and truth.amount_minor == wish.amount_minor and truth.amount_minor > left:
            return wish
    if truth.amount_minor > left:
        raise PaymentMismatch(f"refund {truth.id} gives {truth.amount_minor} back, {left} was left of {purchase.number}")
    refund = Refund(
        pk=own_id or new_id(),
        purchase=purchase,
        cause=RefundCause.PROVIDER if own_id is None else _cause(truth),
        amount_minor=truth.amount_minor,
        currency=purchase.currency,
        created_at=at,
    )
    _reserve(purchase, refund, at=at, send=False)
    return refund


def _resolve_as_given(purchase: Purchase, wish: Refund, *, at: datetime) -> None:
    """The case of a wish that staff granted at the provider is decided thereby."""
    case = Case.objects.open().select_for_update(no_key=True).filter(pk=wish.case_id).first()
    if case is not None:
        case.purchase = purchase
        is_full = policies.left_minor(purchase) == 0
        resolution = CaseResolution.FULL_REFUND if is_full else CaseResolution.PARTIAL_REFUND
        resolve_case(case, resolution=resolution, reason="It was given back at the payment provider.", actor_id=None, at=at)


def _cause(truth: payments.Refund) -> str:
    cause = truth.metadata.get("cause", "")
    return cause if cause in RefundCause.values else RefundCause.PROVIDER


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _end(refund: Refund, status: str, *, at: datetime, code: str = "") -> None:
    refund.status, refund.failure_code, refund.ended_at = status, code[:80], at
    refund.save(update_fields=["status", "failure_code", "ended_at", "decided_by_id"])
    audit.record(
        act=f"refund.{status.lower()}", actor_id=refund.decided_by_id, subject_id=refund.pk, at=at, reason=code, cause=refund.cause
    )


def _refuse(*, refund_id: UUID, code: str, at: datetime) -> Refund:
    """The provider will never give this back: what was promised is owed."""
    with transaction.atomic():
        purchase = lock_purchase(Refund.objects.values_list("purchase_id", flat=True).get(pk=refund_id))
        refund = purchase.refunds.select_for_update(no_key=True).get(pk=refund_id)
        if refund.status == RefundStatus.PENDING and refund.provider_refund_id is None:
            _fail(purchase, refund, code=code, at=at)
    return refund


def _fail(purchase: Purchase, refund: Refund, *, code: str, at: datetime) -> None:
    """A promised refund came back: the purchase stays refunded, the buyer is owed, and a case opens, because staff must pay."""
    _end(refund, RefundStatus.FAILED, code=code, at=at)
    book_refund_failed(purchase=purchase, refund_id=refund.pk, amount_minor=refund.amount_minor, at=at)
    amount = amount_text(refund.amount_minor, refund.currency)
    open_case(
        purchase_id=purchase.pk,
        kind=CaseKind.REFUND,
        title=f"Refund of {purchase.number} came back",
        text=f"The refund of {amount} did not arrive ({code}). RevSync owes it to the rider and asks here where to pay it.",
        severity=NoticeSeverity.WARNING,
        dedupe_key=f"refund-failed:{refund.pk}",
        status=CaseStatus.WAITING_STAFF,
        at=at,
    )


def note_repayment(*, refund_id: UUID, actor: User, reason: str, at: datetime) -> Refund:
    """Note that a refund which came back was paid another way; `reason` says how. Books it and tells the buyer.

    Called by an admin who neither bought nor sold. Locks the purchase.

    Raises: RefundNotFound, PermissionRefused, OwnCase, RefundNotOwed.
    """
    purchase_id = Refund.objects.filter(pk=refund_id).values_list("purchase_id", flat=True).first()
    if purchase_id is None:
        raise RefundNotFound
    with transaction.atomic():
        purchase = lock_purchase(purchase_id)
        case_policies.ensure_may_decide(actor, purchase)
        refund = purchase.refunds.select_for_update(no_key=True).get(pk=refund_id)
        if not refund.is_owed:
            raise RefundNotOwed
        try:
            book_owed_paid(purchase=purchase, refund_id=refund.pk, amount_minor=refund.amount_minor, at=at)
        except ValueError as settled:  # the buyer's bank took it in a dispute meanwhile
            raise RefundNotOwed from settled
        refund.repaid_at, refund.repaid_by_id = at, actor.pk
        refund.save(update_fields=["repaid_at", "repaid_by_id"])
        audit.record(act="refund.repaid", actor_id=actor.pk, subject_id=refund.pk, at=at, reason=reason)
        notify(
            user_id=purchase.buyer_id,
            type=NoticeType.REFUND,
            title=f"Refund of {purchase.number} paid",
            body=f"{amount_text(refund.amount_minor, refund.currency)} was paid to you another way. {reason}",
            link={"resource": "purchase", "id": purchase.pk},
            dedupe_key=f"refund-repaid:{refund.pk}",
            at=at,
        )
    return refund


# The provider's word


def apply_refund_event(*, event: WebhookEvent, at: datetime) -> None:
    """A refund was made or changed: read it again. A charge's event names the payment: its refunds are read.

    Called by the inbox. Raises: PaymentMismatch, UnknownToProvider, ProviderUnavailable, ServiceUnavailable.
    """
    if event.type == "charge.refunded":
        for truth in list(payments.list_refunds(intent_id=event.intent_id)):
            _follow(truth, at=at)
        return
    _follow(payments.get_refund(event.object_id), at=at)


def _follow(truth: payments.Refund, *, at: datetime) -> Refund | None:
    """A refund of a payment without a purchase is booked as such; any other is a purchase's. Raises: as `apply_refund`."""
    return None if follow_parked_refund(truth=truth, at=at) else apply_refund(truth=truth, at=at)


def reconcile_refunds(*, at: datetime, limit: int = LOOKED_AT_ONCE) -> int:
    """Send or re-read every promised refund that is on its way, oldest look first; how many were looked at.

    One that does not match is alarmed and does not stop the others. Raises: ServiceUnavailable, ProviderUnavailable.
    """
    on_their_way = Refund.objects.filter(status=RefundStatus.PENDING).exclude(reserved_at=None)
    rows = list(on_their_way.order_by(F("checked_at").asc(nulls_first=True), "created_at").values_list("pk", "provider_refund_id")[:limit])
    for refund_id, provider_id in rows:
        try:
            if provider_id is None:
                send_refund(refund_id=refund_id, at=at)
            else:
                apply_refund(truth=payments.get_refund(provider_id), at=at)
        except (PaymentMismatch, payments.UnknownToProvider) as mismatch:
            Refund.objects.filter(pk=refund_id).update(checked_at=at)  # behind the others, or it would be first in every round
            alarm(subject_id=refund_id, note=str(mismatch), at=at)
    return len(rows)


def rebuild_refunds(*, since: datetime, at: datetime) -> int:
    """Write what the provider gave back since a moment and this database does not know; how many were written. Moves no money.

    Raises: ServiceUnavailable, ProviderUnavailable.
    """
    written = 0
    for truth in list(payments.list_refunds(since=since - CLOCKS_DIFFER_BY)):
        known = Refund.objects.filter(provider_refund_id=truth.id).exists()
        try:
            refund = _follow(truth, at=at)
        except PaymentMismatch as mismatch:
            attempt = PaymentAttempt.objects.filter(intent_id=truth.intent_id).first()
            alarm(subject_id=attempt.purchase_id if attempt else UUID(int=0), note=str(mismatch), at=at)
        else:
            written += not known and refund is not None
    return written


# Telling


def _tell_of_refund(purchase: Purchase, refund: Refund, *, is_full: bool, at: datetime) -> None:
    amount = amount_text(refund.amount_minor, refund.currency)
    link = {"resource": "purchase", "id": purchase.pk}
    after = "Your license has ended; you can buy the tune again." if is_full else "Your license stays."
    notify(
        user_id=purchase.buyer_id,
        type=NoticeType.REFUND,
        title=f"Refund of {purchase.number}",
        body=f"{amount} for “{purchase.tune_title}” goes back the way it was paid; banks take up to ten days. {after}",
        link=link,
        dedupe_key=f"refund:{refund.pk}",
        at=at,
    )
    notify(
        user_id=purchase.tuner.user_id,
        type=NoticeType.SALE,
        title=f"Refunded: {purchase.tune_title}",
        body=f"{purchase.number}: {amount} went back to the buyer, your share of it from your balance.",
        link=link,
        dedupe_key=f"refund-sold:{refund.pk}",
        at=at,
    )
