"""Proving that nothing of a deleted account has come back, however it may have: a restored backup, a bug, a hand in the database."""

import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from core import crypto, storage
from users import privacy
from users.models import AccountDeletion, User
from users.personal_data import address_of_deleted


@dataclass(frozen=True)
class Remain:
    """Something of a deleted account that should not be there. It names the account and the kind, never the value."""

    user_id: uuid.UUID
    what: str


def find_remains(*, user_id: uuid.UUID | None = None) -> Iterator[Remain]:
    """Everything of deleted accounts, or of one, that is there although its receipt says that it is gone. Reads only.

    Looks at the account's rows in every table of the registry, at what identified it in rows that are older than the deletion, and
    at every stored object. For the command line. Raises: ServiceUnavailable("storage").
    """
    deletions = AccountDeletion.objects.order_by("pk") if user_id is None else AccountDeletion.objects.filter(user_id=user_id)
    by_trace: dict[tuple[str, str], list[AccountDeletion]] = defaultdict(list)
    by_object: dict[tuple[str, str], list[AccountDeletion]] = defaultdict(list)
    known_keys = crypto.hash_keys()
    for deletion in deletions:
        yield from _rows_left(deletion)
        if deletion.hash_key_id not in known_keys:
            yield Remain(deletion.user_id, "its hashes were made with a HASH_KEY that is not known any more")
            continue
        for value in deletion.trace_hashes:
            by_trace[deletion.hash_key_id, value].append(deletion)
        if deletion.objects_deleted_at is not None:
            for value in deletion.object_hashes:
                by_object[deletion.hash_key_id, value].append(deletion)
    key_ids = {key_id for key_id, _value in (*by_trace, *by_object)}
    for provider in privacy.providers():
        for made_at, trace in provider.find_traces() if provider.find_traces and by_trace else ():
            for key_id in key_ids:
                for deletion in by_trace.get((key_id, crypto.trace_hash(trace.kind, trace.value, key_id=key_id)), ()):
                    if made_at < deletion.deleted_at:
                        yield Remain(deletion.user_id, f"an {trace.kind}")
    yield from _objects_left(by_object, key_ids)


def _rows_left(deletion: AccountDeletion) -> Iterator[Remain]:
    person = User.objects.filter(pk=deletion.user_id).first()
    if person is None:
        return
    if person.deleted_at is None or person.is_active:
        yield Remain(deletion.user_id, "the account is open again")
    if person.email != address_of_deleted(person.pk) or person.has_usable_password():
        yield Remain(deletion.user_id, "an address or a password is on the account")
    for holding in privacy.holdings():
        if left := holding.count_left(deletion.user_id):
            yield Remain(deletion.user_id, f"{holding.section}: {left} rows")


def _objects_left(by_object: dict[tuple[str, str], list[AccountDeletion]], key_ids: set[str]) -> Iterator[Remain]:
    if not by_object:
        return
    for bucket in (storage.PRIVATE, storage.PUBLIC):
        for key, _head in storage.list_keys("", bucket=bucket):
            for key_id in key_ids:
                owners = by_object.get((key_id, crypto.trace_hash("object", key, key_id=key_id)), ())
                if owners and not privacy.needed_keys({key}):  # bytes that somebody else brought as well may be there
                    yield from (Remain(deletion.user_id, "a stored object") for deletion in owners)
