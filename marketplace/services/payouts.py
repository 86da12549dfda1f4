"""Paying tuners: what is due is reserved in one transaction, then transferred, sent to the bank and followed until it arrived.

Every call of the provider stands outside transactions and has a derived key; each step begins by looking at what the row
says. Killed anywhere, the task, the next event or the reconciler continues. What fails comes back whole: the transfer is
taken back first, and only then is the money available again.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from core import audit
from core.tasks import enqueue
from marketplace import payments
from marketplace.enums import PayoutStatus
from marketplace.exceptions import PaymentMismatch
from marketplace.models import Payout, PayoutLine, WebhookEvent
from marketplace.money import amount_text
from marketplace.policies.payouts import GIVE_UP_AFTER, TRY_LATER, blockers_of, minimum_of, pack_lines
from marketplace.policies.purchasing import KEY_TRUSTED_FOR
from marketplace.selectors.payouts import find_account_of, get_balance, list_claimable, list_due, list_line_names
from marketplace.services.books import book_payout, book_payout_failed
from marketplace.services.payout_accounts import recheck_account
from marketplace.services.settlement import CLOCKS_DIFFER_BY, alarm
from tuners.models import TunerProfile
from users.enums import NoticeSeverity, NoticeType
from users.models import User
from users.services import notify

log = structlog.get_logger(__name__)

MAX_STEPS_A_CALL = 8
LOOKED_AT_A_ROUND = 300
ARRIVED_LOOKED_AT_A_ROUND = 100
MAY_COME_BACK_FOR = timedelta(days=14)  # banks return what they can't book within days


# Reserving


def make_payouts(*, at: datetime) -> int:
    """Reserve a payout for every tuner and currency that one is due to; how many. Called by the schedule.

    Two schedules at once make each payout once. Queues send_payout for each.
    """
    return sum(reserve_payout(tuner_id=tuner_id, currency=currency, at=at) is not None for tuner_id, currency in list_due(at=at))


def reserve_payout(*, tuner_id: UUID, currency: str, at: datetime) -> Payout | None:
    """Take what is available into a payout, with its lines and its booking, in one transaction; None when none is due.

    Locks the tuner's person, as blocking, turning the second factor off and deleting the account do. A blocked tuner is told once,
    and keeps the money. Queues send_payout.
    """
    with transaction.atomic():
        person = User.objects.select_for_update(no_key=True, of=("self",)).get(tuner_profile__pk=tuner_id)
        tuner = TunerProfile.objects.get(pk=tuner_id)
        if Payout.objects.filter(tuner=tuner, currency=currency, status=PayoutStatus.PENDING).exists():
            return None
        total_minor = get_balance(tuner_id=tuner_id, currency=currency, at=at).total_minor
        claimed = list_claimable(tuner_id=tuner_id, currency=currency, at=at)
        amount_minor = sum(amount for _, amount in claimed)
        if amount_minor < minimum_of(tuner, currency):
            return None
        if amount_minor > total_minor:  # only after a payout was rebuilt, whose lines are a guess
            log.error("payout_beyond_balance", tuner=str(tuner_id), amount_minor=amount_minor)
            return None
        account = find_account_of(tuner_id)
        blockers = blockers_of(tuner=tuner, is_blocked=person.is_blocked, mfa_enabled=person.mfa_enabled, account=account)
        if blockers or account is None:
            _tell_of_hold(tuner, blockers, amount=amount_text(amount_minor, currency), at=at)
            return None
        payout = Payout.objects.create(tuner=tuner, account=account, currency=currency, amount_minor=amount_minor, created_at=at)
        PayoutLine.objects.bulk_create(PayoutLine(payout=payout, entry_id=entry_id) for entry_id, _ in claimed)
        book_payout(payout=payout, at=at)
        audit.record(
            act="payout.made", actor_id=None, subject_id=payout.pk, at=at, tuner_id=tuner.pk, amount_minor=amount_minor, currency=currency
        )
        enqueue("marketplace.tasks.payouts.send_payout", payout_id=payout.pk)
    return payout


def _tell_of_hold(tuner: TunerProfile, blockers: list[str], *, amount: str, at: datetime) -> None:
    """Once for each set of reasons since the last payout."""
    last = Payout.objects.filter(tuner=tuner).order_by("-created_at").values_list("pk", flat=True).first()
    notify(
        user_id=tuner.user_id,
        type=NoticeType.PAYOUT,
        title="Your payout waits",
        body=f"{amount} could be paid out. What stands in the way: {', '.join(blockers)}. It goes out with the next payout after that.",
        link={"resource": "tuner", "id": tuner.pk},
        severity=NoticeSeverity.WARNING,
        dedupe_key=f"payout-held:{tuner.pk}:{last}:{'+'.join(blockers)}",
        at=at,
    )


# Continuing


def continue_payout(*, payout_id: UUID, at: datetime) -> Payout:
    """Do what a payout's row says comes next, until there is nothing to do but wait. Safe at any time and in parallel.

    Called by the worker, events and the reconciler. Talks to the provider, so never call it in a transaction.
    Raises: payments.ProviderUnavailable (nothing is lost: the same call continues later).
    """
    for _ in range(MAX_STEPS_A_CALL):
        payout = Payout.objects.select_related("account").get(pk=payout_id)
        if not _take_next_step(payout, at=at):
            break
    return Payout.objects.get(pk=payout_id)


def _take_next_step(payout: Payout, *, at: datetime) -> bool:
    """Whether it went on, so that there may be a further step."""
    if payout.status == PayoutStatus.FAILED:
        return False
    if payout.failure_code:
        return _reverse(payout, at=at) if payout.transfer_id and not payout.reversal_id else _fail(payout, at=at)
    if payout.status == PayoutStatus.PAID:
        return False
    if payout.transfer_id is None:
        return _transfer(payout, at=at)
    return _send(payout, at=at) if payout.bank_payout_id is None else _look(payout, at=at)


def _transfer(payout: Payout, *, at: datetime) -> bool:
    def create() -> str:
        return payments.create_transfer(
            key=payout.key("transfer"),
            account_id=_account_id(payout),
            amount_minor=payout.amount_minor,
            currency=payout.currency,
            group=payout.group,
            metadata=_metadata(payout) | pack_lines(list_line_names(payout.pk)),
        ).id

    return _step(payout, "transfer_id", create, lambda: _find_transfer(payout), at=at)


def _send(payout: Payout, *, at: datetime) -> bool:
    def create() -> str:
        return payments.create_payout(
            key=payout.key("bank"),
            account_id=_account_id(payout),
            amount_minor=payout.amount_minor,
            currency=payout.currency,
            metadata=_metadata(payout),
        ).id

    return _step(payout, "bank_payout_id", create, lambda: find_bank_payout(payout), at=at)


def _reverse(payout: Payout, *, at: datetime) -> bool:
    transfer_id = payout.transfer_id
    assert transfer_id is not None

    def create() -> str:
        return payments.reverse_transfer(
            key=payout.key("reversal"), transfer_id=transfer_id, amount_minor=payout.amount_minor, metadata=_metadata(payout)
        ).id

    return _step(payout, "reversal_id", create, lambda: _find_reversal(payout, transfer_id), at=at)


def _step(payout: Payout, name: str, create, find, *, at: datetime) -> bool:
    """Ask the provider for what `name` shall hold the id of, or find it, where an answer was lost; note it on the row."""
    mine = Payout.objects.filter(pk=payout.pk, attempt=payout.attempt, **{f"{name}__isnull": True})
    found = None
    try:
        if payout.asked_at is None and at - payout.created_at >= KEY_TRUSTED_FOR:
            found = find()  # perhaps a restored row, whose call was lost with the newer ones, and its key is forgotten
        if found is None and payout.asked_at is None:
            mine.update(asked_at=at)  # committed before the call: how old the key is
        if found is None:
            found = create() if at - (payout.asked_at or at) < KEY_TRUSTED_FOR else find()
    except payments.ProviderUnsure:
        found = find()
    except payments.ProviderRefused as refusal:
        return _refused(payout, mine, name, refusal.code, at=at)
    if found is None:
        return bool(mine.update(attempt=F("attempt") + 1, asked_at=None))  # the key is burnt, and nothing came of it
    return bool(mine.update(**{name: found, "asked_at": None, "checked_at": at, "note": ""}))


def _refused(payout: Payout, mine, name: str, code: str, *, at: datetime) -> bool:
    """A saved refusal is answered under its key for ever, so the next try has another one."""
    if name == "reversal_id":
        mine.update(attempt=F("attempt") + 1, asked_at=None, note=code[:80], checked_at=at)
        alarm(subject_id=payout.pk, note=f"a failed payout can't be taken back from the tuner's account: {code}", at=at)
        return False
    if code in TRY_LATER and at - payout.created_at < GIVE_UP_AFTER:
        mine.update(attempt=F("attempt") + 1, asked_at=None, note=code[:80], checked_at=at)
        return False
    log.error("payout_refused", payout=str(payout.pk), step=name, code=code)
    return bool(mine.update(attempt=F("attempt") + 1, asked_at=None, failure_code=code[:80] or "refused", checked_at=at))


def _look(payout: Payout, *, at: datetime) -> bool:
    assert payout.bank_payout_id is not None
    try:
        return _follow(payout, payments.get_payout(payout.bank_payout_id, account_id=_account_id(payout)), at=at)
    except payments.UnknownToProvider:
        alarm(subject_id=payout.pk, note="the provider does not know this payout any more", at=at)
        return False


def _follow(payout: Payout, theirs: payments.Payout, *, at: datetime) -> bool:
    """Bring a sent payout to what the provider says of it. Locks the row. Raises: PaymentMismatch."""
    agreed = (payout.amount_minor, payout.currency, _account_id(payout), str(payout.pk))
    if (theirs.amount_minor, theirs.currency, theirs.account_id, theirs.metadata.get("payout")) != agreed:
        raise PaymentMismatch(f"payout {theirs.id} is not what was agreed")
    with transaction.atomic():
        row = Payout.objects.select_for_update(no_key=True).get(pk=payout.pk)
        row.checked_at = at
        if theirs.is_failed and row.status != PayoutStatus.FAILED and not row.failure_code:
            row.failure_code = theirs.failure_code or theirs.status
        elif theirs.is_paid and row.status == PayoutStatus.PENDING and not row.failure_code:
            row.status, row.arrived_at = PayoutStatus.PAID, theirs.arrival_at or at
            audit.record(act="payout.paid", actor_id=None, subject_id=row.pk, at=at)
            _tell(row, "You were paid", f"{amount_text(row.amount_minor, row.currency)} arrived at your bank.", key="paid", at=at)
        else:
            row.save(update_fields=["checked_at"])
            return False
        row.save(update_fields=["checked_at", "failure_code", "status", "arrived_at"])
    return bool(row.failure_code)


def _fail(payout: Payout, *, at: datetime) -> bool:
    """The money is back: what it paid is available again, and the books say so. Locks the row; a repeat is a no-op."""
    with transaction.atomic():
        row = Payout.objects.select_for_update(no_key=True).get(pk=payout.pk)
        if row.status == PayoutStatus.FAILED:
            return False
        row.status, row.failed_at = PayoutStatus.FAILED, at
        row.save(update_fields=["status", "failed_at"])
        row.lines.filter(released_at=None).update(released_at=at)
        book_payout_failed(payout=row, at=at)
        audit.record(act="payout.failed", actor_id=None, subject_id=row.pk, at=at, code=row.failure_code)
        _tell(
            row,
            "A payout came back",
            f"{amount_text(row.amount_minor, row.currency)} could not be paid out ({row.failure_code}). It is available again: check your "
            "payout account. The next payout tries anew.",
            key="failed",
            severity=NoticeSeverity.WARNING,
            at=at,
        )
    try:
        recheck_account(account_id=_account_id(payout), at=at)  # often the bank is the reason, and the provider knows by now
    except (payments.ProviderUnavailable, payments.ProviderRefused, PaymentMismatch):
        log.warning("payout_account_not_rechecked", payout=str(payout.pk))
    return False


def _tell(payout: Payout, title: str, body: str, *, key: str, at: datetime, severity: str = NoticeSeverity.INFO) -> None:
    notify(
        user_id=TunerProfile.objects.values_list("user_id", flat=True).get(pk=payout.tuner_id),
        type=NoticeType.PAYOUT,
        title=title,
        body=body,
        link={"resource": "payout", "id": payout.pk},
        severity=severity,
        dedupe_key=f"payout-{key}:{payout.pk}",
        at=at,
    )


def _account_id(payout: Payout) -> str:
    account_id = payout.account.account_id
    assert account_id is not None  # only an active account is paid to
    return account_id


def _metadata(payout: Payout) -> dict[str, str]:
    return {"payout": str(payout.pk), "tuner": str(payout.tuner_id)}


def _is_ours(payout: Payout, metadata) -> bool:
    return metadata.get("payout") == str(payout.pk)


def _find_transfer(payout: Payout) -> str | None:
    return next((row.id for row in payments.list_transfers(group=payout.group) if _is_ours(payout, row.metadata)), None)


def find_bank_payout(payout: Payout) -> str | None:
    """What was sent to the bank for a payout, by the provider's own list. Raises: ProviderUnavailable, ProviderRefused."""
    since = payout.created_at - CLOCKS_DIFFER_BY
    rows = payments.list_payouts(account_id=_account_id(payout), since=since)
    return next((row.id for row in rows if _is_ours(payout, row.metadata)), None)


def _find_reversal(payout: Payout, transfer_id: str) -> str | None:
    return next((row.id for row in payments.list_transfer_reversals(transfer_id) if _is_ours(payout, row.metadata)), None)


# Events and the reconciler


def apply_payout_event(*, event: WebhookEvent, at: datetime) -> None:
    """Follow `payout.*` of a tuner's account. See `marketplace.services.webhooks`. Raises: PaymentMismatch for one that is not ours."""
    theirs = payments.get_payout(event.object_id, account_id=event.account)
    payout = Payout.objects.select_related("account").filter(bank_payout_id=theirs.id).first() or _named_by(theirs.metadata)
    if payout is None:
        raise PaymentMismatch(f"payout {theirs.id} of {event.account} is none of ours")
    if payout.bank_payout_id is None:  # the answer was lost, or is on its way: finding it is the next step
        continue_payout(payout_id=payout.pk, at=at)
    else:
        _follow(payout, theirs, at=at)
    continue_payout(payout_id=payout.pk, at=at)


def apply_transfer_event(*, event: WebhookEvent, at: datetime) -> None:
    """Compare `transfer.*` with our row. See `marketplace.services.webhooks`. Raises: PaymentMismatch for what we did not ask for."""
    theirs = payments.get_transfer(event.object_id)
    payout = _named_by(theirs.metadata)
    if payout is None:
        raise PaymentMismatch(f"transfer {theirs.id} is none of ours")
    agreed = (payout.amount_minor, payout.currency, payout.account.account_id)
    if (theirs.amount_minor, theirs.currency, theirs.account_id) != agreed or payout.transfer_id not in (None, theirs.id):
        raise PaymentMismatch(f"transfer {theirs.id} is not what was agreed")
    if theirs.reversed_minor and not payout.failure_code:
        raise PaymentMismatch(f"transfer {theirs.id} was reversed, and not by us")
    continue_payout(payout_id=payout.pk, at=at)


def _named_by(metadata) -> Payout | None:
    try:
        payout_id = UUID(metadata.get("payout", ""))
    except ValueError:
        return None
    return Payout.objects.select_related("account").filter(pk=payout_id).first()


def reconcile_payouts(*, at: datetime) -> int:
    """Continue what is on its way, or on its way back, oldest first; how many. See `marketplace.services.reconciler`.

    What arrived lately is looked at again as well, oldest look first: that a bank returned it is told in an event of the
    tuner's account, and the provider's list of what we missed has the platform's events only.
    """
    ids = list(Payout.objects.under_way().order_by("created_at", "pk").values_list("pk", flat=True)[:LOOKED_AT_A_ROUND])
    for payout_id in ids:
        try:
            continue_payout(payout_id=payout_id, at=at)
        except PaymentMismatch as mismatch:
            alarm(subject_id=payout_id, note=str(mismatch), at=at)
    return len(ids) + _look_at_arrived(at=at)


def _look_at_arrived(*, at: datetime) -> int:
    arrived = Payout.objects.filter(status=PayoutStatus.PAID, failure_code="", arrived_at__gt=at - MAY_COME_BACK_FOR)
    rows = list(arrived.select_related("account").order_by("checked_at", "pk")[:ARRIVED_LOOKED_AT_A_ROUND])
    for payout in rows:
        try:
            if _look(payout, at=at):
                continue_payout(payout_id=payout.pk, at=at)
        except PaymentMismatch as mismatch:
            alarm(subject_id=payout.pk, note=str(mismatch), at=at)
    return len(rows)
