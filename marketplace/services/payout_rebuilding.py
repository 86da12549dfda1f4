"""Payouts that a restored database has lost, written anew from the provider's transfers.

Their money has left, so they are written whoever the tuner is by now: of one who deleted the account as well, because the books
would owe them what they got. Nobody is paid by it. Each transfer names the lines that it paid (`policies.payouts.pack_lines`).
"""

from datetime import datetime
from uuid import UUID

import structlog
from django.db import DataError, IntegrityError, transaction

from core import audit
from marketplace import payments
from marketplace.enums import DifferenceReason, PayoutStatus
from marketplace.exceptions import PaymentMismatch
from marketplace.models import Payout, PayoutAccount, PayoutLine
from marketplace.money import amount_text
from marketplace.policies.payouts import PackedLines, mark_of, unpack_lines
from marketplace.selectors.payouts import list_claimable, list_unpaid_names
from marketplace.services.books import book_payout
from marketplace.services.differences import end_differences, note_difference
from marketplace.services.payouts import continue_payout, find_bank_payout
from marketplace.services.settlement import alarm
from users.models import User

log = structlog.get_logger(__name__)


class AnotherOnItsWay(Exception):
    """A tuner has one payout in a currency on its way at a time."""


def rebuild_payouts(*, since: datetime, at: datetime) -> int:
    """Write payouts that a restored database has lost; how many. See `marketplace.services.reconciler`.

    What a transfer names are the lines of its payout, exactly. Of one that was made before transfers named them, or of whose sales
    some could not be written anew, they are a guess, the oldest that were available: then the row says `rebuilt`. The amount is the
    provider's either way, and the books have it. A transfer that can't be written is a difference for staff.

    Raises: ProviderUnavailable, ProviderRefused.
    """
    written = 0
    for transfer in reversed(list(payments.list_transfers(since=since))):
        try:
            payout_id = UUID(transfer.metadata.get("payout", ""))
        except ValueError:
            continue
        if transfer.reversed_minor or Payout.objects.filter(pk=payout_id).exists():
            continue  # what came back moved nothing
        account = PayoutAccount.objects.filter(account_id=transfer.account_id).first()
        if account is None:
            _park(transfer, "its payout and the account that it went to are unknown here", at=at)
            continue
        try:
            if not _rebuild(payout_id, account, transfer, at=at):
                continue
        except (AnotherOnItsWay, IntegrityError, DataError) as wrong:
            log.exception("payout_not_rebuilt", transfer=transfer.id)
            _park(transfer, f"its payout can't be written anew: {type(wrong).__name__}", at=at)
            continue
        written += 1
        try:
            continue_payout(payout_id=payout_id, at=at)  # at once: the tuner's next one was made after this one had arrived
        except PaymentMismatch as mismatch:
            alarm(subject_id=payout_id, note=str(mismatch), at=at)
    return written


def _park(transfer: payments.Transfer, why: str, *, at: datetime) -> None:
    theirs = f"{amount_text(transfer.amount_minor, transfer.currency)} to {transfer.account_id}"
    note_difference(object_id=transfer.id, reason=DifferenceReason.NOT_REBUILT, ours=why, theirs=theirs, at=at)


def _rebuild(payout_id: UUID, account: PayoutAccount, transfer: payments.Transfer, *, at: datetime) -> bool:
    """Write one with its lines and its booking; whether nobody else has. Locks the tuner's person; talks to the provider before that."""
    payout = Payout(
        id=payout_id,
        tuner_id=account.tuner_id,
        account=account,
        currency=transfer.currency,
        amount_minor=transfer.amount_minor,
        transfer_id=transfer.id,
        asked_at=transfer.created_at,
        created_at=transfer.created_at,
    )
    payout.bank_payout_id = find_bank_payout(payout)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True, of=("self",)).get(tuner_profile__pk=account.tuner_id)
        if Payout.objects.filter(pk=payout_id).exists():
            return False
        if Payout.objects.filter(tuner_id=account.tuner_id, currency=transfer.currency, status=PayoutStatus.PENDING).exists():
            raise AnotherOnItsWay
        entry_ids, is_exact = _find_lines(payout, unpack_lines(transfer.metadata))
        payout.rebuilt = not is_exact
        payout.save(force_insert=True)
        PayoutLine.objects.bulk_create(PayoutLine(payout=payout, entry_id=entry_id) for entry_id in entry_ids)
        book_payout(payout=payout, at=at)
        audit.record(
            act="payout.rebuilt", actor_id=None, subject_id=payout.pk, at=at, transfer=transfer.id,
            lines="as they were" if is_exact else "a guess",
        )  # fmt: skip
    end_differences(object_id=transfer.id, at=at)
    return True


def _find_lines(payout: Payout, said: PackedLines | None) -> tuple[list[UUID], bool]:
    """The entries that a lost payout paid, and whether they are surely those."""
    unpaid = list_unpaid_names(tuner_id=payout.tuner_id, currency=payout.currency)
    if said is None:
        return _guess(payout), False
    by_mark = {mark_of(name): entry_id for entry_id, (_, name) in unpaid.items()}
    found = [by_mark[mark] for mark in said.marks if mark in by_mark] or _guess(payout)
    is_exact = (
        said.is_of([unpaid[entry_id][1] for entry_id in found])
        and sum(unpaid[entry_id][0] for entry_id in found) == payout.amount_minor
    )  # fmt: skip
    return found, is_exact


def _guess(payout: Payout) -> list[UUID]:
    """The oldest that were available when it was made, as many as it paid."""
    claimable = list_claimable(tuner_id=payout.tuner_id, currency=payout.currency, at=payout.created_at, as_it_was=True)
    left = payout.amount_minor
    if sum(amount for _, amount in claimable) == left:
        return [entry_id for entry_id, _ in claimable]
    taken = []
    for entry_id, amount in claimable:
        if amount <= left:
            taken.append(entry_id)
            left -= amount
    return taken
