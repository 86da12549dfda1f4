"""Deleting an account: what must be wound down, what goes at once, what the worker does afterwards, and what proves it.

The rows go in one transaction that holds the person's row FOR UPDATE. Whatever else writes for the person at that moment is
either committed before and goes too, or finds a deleted account: `start_session` looks at the locked row, and triggers
(`users_refuse_deleted`) refuse the rest. Objects in storage, the mail with the receipt and the record that outlives a restored
database are tasks, which may be killed and repeated.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction

from core import audit, crypto, mailbox, storage
from core.tasks import enqueue
from core.tokens import TokenInvalid
from core.uploads.rules import LINK_LIFETIME
from users import mail as mails
from users import privacy
from users.enums import Role
from users.exceptions import AccountDeletionBlocked, StockFilesOffered
from users.models import AccountDeletion, Challenge, User, UserDevice
from users.personal_data import address_of_deleted
from users.privacy import AtDeletion, Blocker, Holding
from users.services.challenges import address_hash, pending_of
from users.services.staff import lock_admins

COPY_PREFIX = "privacy/deletions/"
UNDELIVERABLE_AFTER = timedelta(days=7)
LAST_PASS_AFTER = LINK_LIFETIME + timedelta(minutes=5)  # a link to quarantine may still be used after the account is gone


@dataclass(frozen=True)
class DeletionPlan:
    """What a deletion would do, were it asked for now."""

    blockers: list[Blocker]
    stock_files: list[dict[str, Any]]
    receipt: dict[str, Any]


def plan_deletion(*, user: User, at: datetime) -> DeletionPlan:
    """What stands in the way, which stock files to fetch first, what would go and what would stay. Called by the person; reads only."""
    return DeletionPlan(privacy.blockers_of(user.pk), privacy.offers_to(user.pk), _receipt(user.pk, at=at))


def delete_account(*, user: User, session: UserDevice, stock_files_saved: bool, at: datetime) -> AccountDeletion:
    """Delete the account of the person who asks, and answer with the receipt. Called by the person, stepped up.

    Every session is dead with the transaction. Locks the admins, then the person's row against everything. A second call has no
    session to call with. Queues users.tasks.delete_objects_of_account (twice), copy_deletion and mail_deletion_receipt.

    Raises: AccountDeletionBlocked (`blockers`), StockFilesOffered (`stock_files`), TokenInvalid (a parallel call was first).
    """
    with transaction.atomic():
        lock_admins()  # before the own row: two admins who leave at once would wait for each other
        person = User.objects.select_for_update().get(pk=user.pk)
        if person.deleted_at is not None:
            raise TokenInvalid
        if blockers := privacy.blockers_of(user.pk):
            raise AccountDeletionBlocked(blockers=[vars(blocker) for blocker in blockers])
        if not stock_files_saved and (stock_files := privacy.offers_to(user.pk)):
            raise StockFilesOffered(stock_files=stock_files)
        return _erase(person, session_id=session.pk, actor_id=user.pk, farewell=True, at=at)


def reapply_deletion(*, copied: dict[str, Any], at: datetime) -> bool:
    """Delete once more what a restored backup brought back; answers whether there was anything to do. For the command line.

    `copied` is a record of `list_copied_deletions`. Nothing is wound down first: that had been done. Nobody is mailed.
    Locks the person's row. Idempotent.
    """
    user_id = uuid.UUID(copied["user_id"])
    with transaction.atomic():
        person = User.objects.select_for_update().filter(pk=user_id).first()
        if person is None or person.deleted_at is not None:
            return False
        _erase(person, session_id=None, actor_id=None, farewell=False, at=datetime.fromisoformat(copied["deleted_at"]), copied=copied)
    return True


def _erase(
    person: User, *, session_id: uuid.UUID | None, actor_id: uuid.UUID | None, farewell: bool, at: datetime, copied: dict | None = None
) -> AccountDeletion:
    receipt = copied["receipt"] if copied else _receipt(person.pk, at=at)
    addresses = _addresses_of(person)
    traces = [crypto.trace_hash(trace.kind, trace.value) for trace in privacy.traces_of(person.pk)]
    objects = {file.key: file.bucket for file in privacy.files_of(person.pk)}
    for provider in privacy.providers():
        if provider.prepare:
            provider.prepare(person.pk, at=at)
    Challenge.objects.filter(address_hash=address_hash(person.email)).delete()  # what others opened with this address
    for holding in privacy.holdings():
        holding.erase(person.pk)
    kept = privacy.needed_keys(set(objects))
    left = [{"key": key, "bucket": bucket} for key, bucket in sorted(objects.items()) if key not in kept]
    User.objects.filter(pk=person.pk).update(
        email=address_of_deleted(person.pk),
        password=make_password(None),
        role=Role.RIDER,
        is_staff=False,
        is_superuser=False,
        deleted_at=at,
        updated_at=at,
        session_epoch=person.session_epoch + 1,
    )
    deletion = AccountDeletion.objects.create(
        user_id=person.pk,
        deleted_at=at,
        receipt=receipt,
        hash_key_id=crypto.hash_key_id(),
        trace_hashes=sorted(set(traces)),
        objects_left=left,
        object_hashes=sorted(crypto.trace_hash("object", item["key"]) for item in left),
        farewell_address="\n".join(addresses) if farewell else None,
    )
    audit.record(
        act="account.deleted",
        actor_id=actor_id,
        subject_id=person.pk,
        session_id=session_id,
        at=at,
        objects=len(left),
        again_after_restore=copied is not None,
    )
    enqueue("users.tasks.delete_objects_of_account", deletion_id=deletion.pk)
    enqueue("users.tasks.delete_objects_of_account", deletion_id=deletion.pk, is_last_pass=True, run_at=at + LAST_PASS_AFTER)
    enqueue("users.tasks.copy_deletion", deletion_id=deletion.pk)
    if farewell:
        enqueue("users.tasks.mail_deletion_receipt", deletion_id=deletion.pk)
    return deletion


def _addresses_of(person: User) -> list[str]:
    """Where the person is reached, then whatever other addresses of theirs still wait in a challenge: mails went there as well."""
    pending = [pending_of(challenge) for challenge in Challenge.objects.filter(user=person) if challenge.pending]
    others = {facts[name] for facts in pending for name in ("email", "old_email") if name in facts}
    return [person.email, *sorted(others - {person.email})]


def _receipt(user_id: uuid.UUID, *, at: datetime) -> dict[str, Any]:
    """What goes, what stays, why, until when; counted now."""
    counted = [(holding, holding.rows(user_id).count()) for holding in privacy.holdings()]
    files = sum(1 for _file in privacy.files_of(user_id))
    goes = [
        {"what": holding.section, "rows": rows, "how": str(holding.at_deletion)}
        for holding, rows in counted
        if rows and holding.at_deletion != AtDeletion.KEPT
    ]
    if files:
        goes.append({"what": "stored files", "rows": files, "how": "deleted, unless somebody else's rows need them"})
    stays = [
        {"what": holding.section, "rows": rows, "why": holding.because, "until": _until(holding, at), "ends": holding.ends or None}
        for holding, rows in counted
        if rows and holding.because
    ]
    return {"deleted_at": at.isoformat(), "goes": goes, "stays": stays}


def _until(holding: Holding, at: datetime) -> str | None:
    return date.isoformat((at + holding.until).date()) if holding.until else None


# The worker's part


def delete_objects_of_account(*, deletion_id: uuid.UUID | str, is_last_pass: bool, at: datetime) -> None:
    """Delete what the person stored. Called by the worker, outside transactions; may be killed and repeated.

    The last pass comes when no upload link can be used any more; after it the keys are forgotten and only their hashes stay.
    Raises: ServiceUnavailable("storage"): it runs again.
    """
    deletion = AccountDeletion.objects.get(pk=deletion_id)
    for item in deletion.objects_left:
        storage.delete(item["key"], bucket=item["bucket"])
    if is_last_pass:
        AccountDeletion.objects.filter(pk=deletion.pk).update(objects_left=[], objects_deleted_at=at)


def mail_deletion_receipt(*, deletion_id: uuid.UUID | str, at: datetime) -> None:
    """Send the receipt to where the person was reached, and forget the address. Called by the worker, outside transactions.

    Mails that this machine kept of the person go first (development writes them into files). Sent once, unless the process dies
    between sending and forgetting.
    """
    deletion = AccountDeletion.objects.get(pk=deletion_id)
    if deletion.farewell_address is None:
        return
    address, *others = deletion.farewell_address.split("\n")
    for kept in (address, *others):
        mailbox.forget(kept)
    mails.send_deletion_receipt(address, deletion.receipt)
    AccountDeletion.objects.filter(pk=deletion.pk).update(farewell_address=None, mailed_at=at)


def forget_farewells(*, at: datetime) -> int:
    """Forget addresses to which no receipt could be mailed for a week. Called by the schedule; idempotent."""
    return AccountDeletion.objects.filter(farewell_address__isnull=False, deleted_at__lte=at - UNDELIVERABLE_AFTER).update(
        farewell_address=None
    )


def copy_deletion(*, deletion_id: uuid.UUID | str, at: datetime) -> None:
    """Leave a record in storage, from which the deletion is applied again after a backup was restored. It names nobody.

    Called by the worker, outside transactions. Idempotent: the same record under the same key.
    """
    deletion = AccountDeletion.objects.get(pk=deletion_id)
    record = {
        "user_id": str(deletion.user_id),
        "deleted_at": deletion.deleted_at.isoformat(),
        "receipt": deletion.receipt,
        "hash_key_id": deletion.hash_key_id,
        "trace_hashes": deletion.trace_hashes,
        "object_hashes": deletion.object_hashes,
    }
    storage.put_bytes(f"{COPY_PREFIX}{deletion.user_id}.json", json.dumps(record, sort_keys=True).encode(), "application/json")
    AccountDeletion.objects.filter(pk=deletion.pk).update(copied_at=at)


def list_copied_deletions() -> list[dict[str, Any]]:
    """Every record that storage holds, by account. Raises: ServiceUnavailable("storage")."""
    return [json.loads(storage.read(key, max_bytes=8_000_000)) for key, _head in storage.list_keys(COPY_PREFIX)]
