"""Operators' work on the signing keys: a new root, releases signed anew, a key that is revoked, everything held to a pinned root."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from core import audit, signing
from core.exceptions import DomainError
from core.signing import ceremony, rootfiles
from core.signing.keyfiles import keys_directory
from core.signing.roots import roots_directory
from core.tasks import enqueue
from marketplace.enums import ReleaseChannel
from marketplace.models import Release, RevokedKey
from marketplace.services import status

BATCH = 500
ROLE_OF = {ReleaseChannel.PUBLIC: signing.Role.RELEASE, ReleaseChannel.TEST: signing.Role.TEST_RELEASE}


class KeyWorkRefused(Exception):
    """Why nothing was done, for the operator."""


@dataclass
class Progress:
    """How far it is. `refused` says of a release why it was left as it is."""

    total: int
    done: int = 0
    refused: dict[UUID, str] = field(default_factory=dict)


# The root


def install_root(envelope: Mapping[str, Any], *, at: datetime) -> signing.RootDocument:
    """Serve a new root, after its thresholds and its number were checked against the present one. Raises: KeyWorkRefused."""
    present = signing.current_root()
    try:
        root = ceremony.check_root(envelope, after=signing.root_envelope(present.version))
        rootfiles.write_root(roots_directory(), root.version, dict(envelope))
    except (ceremony.CeremonyFailed, FileExistsError) as trouble:
        raise KeyWorkRefused(str(trouble)) from trouble
    audit.record(act="signing_root.installed", actor_id=None, subject_id=None, at=at, version=root.version, expires_at=root.expires_at)
    return root


def rotate_with_local_keys(
    role: signing.Role | None, *, keep_old: bool, without: Sequence[str] = (), at: datetime
) -> signing.RootDocument:
    """Development's short way, where the root keys lie beside the others: make a key for `role` (None: the root's dates only),
    then draft, sign, join and install the next root. Raises: KeyWorkRefused."""
    present = signing.root_envelope(signing.current_root().version)
    holders = [
        ceremony.load_private(path)
        for keyid in signing.current_root().keyids_of(signing.Role.ROOT)
        if (path := keys_directory() / f"{keyid}.pem").exists()
    ]
    made = [ceremony.make_key(keys_directory())] if role else []
    for public in made:
        (keys_directory() / f"{public['keyid']}.pub").unlink()
    roles = {role: made} if role else {}
    kept = [role] if role and (keep_old or role is signing.Role.ROOT) else []
    try:
        draft = ceremony.draft_root(after=present, env="", roles=roles, keep_old=kept, without=without, at=at)
        if role is signing.Role.ROOT:
            holders += [ceremony.load_private(keys_directory() / f"{public['keyid']}.pem") for public in made]
        envelope = ceremony.join(draft, [ceremony.sign_draft(draft, holder) for holder in holders], after=present)
    except ceremony.CeremonyFailed as trouble:
        raise KeyWorkRefused(str(trouble)) from trouble
    return install_root(envelope, at=at)


# Releases


def resign_releases(
    *, batch: int = BATCH, issued_before: datetime | None = None, only_count: bool = False, at: datetime
) -> Iterator[Progress]:
    """Sign every current release anew whose signature is not by its role's first key; yields after each batch.

    The payload stays the same, byte for byte, so tickets that name its hash go on holding. May be stopped and begun again:
    what is done is known by its key. Each batch is signed outside of a transaction and swapped in one. A release is left as
    it is, and named, when no key of ours signed it, when its file is not among those that its review approved, or when it
    was issued at or after `issued_before` (a key that was stolen then: look at each of those). Raises: ServiceUnavailable,
    SigningNotReady.
    """
    due = _due()
    progress = Progress(total=due.count())
    yield progress
    last: UUID | None = None
    while not only_count and (rows := list(due.filter(pk__gt=last)[:batch] if last else due[:batch])):
        last = rows[-1].pk
        anew = []
        for row in rows:
            if reason := _why_not(row, issued_before):
                progress.refused[row.pk] = reason
                continue
            try:
                envelope = signing.sign_once_more(ROLE_OF[ReleaseChannel(row.channel)], signing.PayloadType.RELEASE, row.envelope)
            except signing.SigningNotReady as refusal:  # of this document; an outage raises something else
                progress.refused[row.pk] = str(refusal)
                continue
            anew.append((row, envelope))
        progress.done += _swap(anew, at=at)
        yield progress
    if not only_count and progress.done:
        audit.record(act="releases.signed_anew", actor_id=None, subject_id=None, at=at, count=progress.done, left=len(progress.refused))


def _due() -> Any:
    root = signing.current_root()
    present = Q()
    for channel, role in ROLE_OF.items():
        present |= Q(channel=channel, keyid=root.keyids_of(role)[0])
    return Release.objects.filter(superseded_at=None).exclude(present).select_related("version").order_by("pk")


def _why_not(row: Release, issued_before: datetime | None) -> str:
    try:
        payload = signing.verify_by_any_root(row.envelope, role=ROLE_OF[ReleaseChannel(row.channel)])
    except signing.SignatureRefused as refusal:
        return f"no key of ours signed it: {refusal}"
    if payload["tune_file_id"] != str(row.file_id) or signing.payload_sha256(row.envelope) != row.payload_sha256:
        return "it is another file's"
    if row.channel == ReleaseChannel.PUBLIC and payload["file"]["sha256"] not in row.version.approved_sha256:
        return "no review approved its file"
    if issued_before is not None and datetime.fromisoformat(payload["issued_at"]) >= issued_before:
        return "it was issued when the key may have been somebody else's"
    return ""


def _swap(anew: Sequence[tuple[Release, dict[str, Any]]], *, at: datetime) -> int:
    """The old rows end and the new ones begin, in one transaction; a row that somebody else replaced meanwhile is left out."""
    with transaction.atomic():
        ended = set(
            Release.objects.select_for_update(no_key=True)
            .filter(pk__in=[row.pk for row, _ in anew], superseded_at=None)
            .values_list("pk", flat=True)
        )
        Release.objects.filter(pk__in=ended).update(superseded_at=at)
        Release.objects.bulk_create(
            Release(
                version_id=row.version_id,
                file_id=row.file_id,
                channel=row.channel,
                release_counter=row.release_counter,
                payload_sha256=row.payload_sha256,
                keyid=signing.keyid_of(envelope),
                envelope=envelope,
                issued_at=row.issued_at,
            )
            for row, envelope in anew
            if row.pk in ended
        )
    return len(ended)


# Revocation


def revoke_key(*, keyid: str, reason: str, at: datetime) -> RevokedKey:
    """Phones count this key's signatures on releases and tickets no more, from the next status document on; for good.

    The newest root must not name it any more: otherwise everything would be refused that is signed from now on. Queues the
    status document. Raises: KeyWorkRefused.
    """
    role = next((role for root in signing.all_roots() for role in signing.Role if keyid in root.keyids_of(role)), None)
    if role is None:
        raise KeyWorkRefused("No root of ours ever named this key.")
    if any(keyid in signing.current_root().keyids_of(each) for each in signing.Role):
        raise KeyWorkRefused("The newest root still names this key: install a root without it first.")
    if role is signing.Role.STATUS:
        newest = status.find_newest_status()
        if newest is not None and signing.keyid_of(newest.envelope) == keyid:
            raise KeyWorkRefused("The newest status document is signed by it: publish one with the new key first.")
    with transaction.atomic():
        row, created = RevokedKey.objects.get_or_create(keyid=keyid, defaults={"role": role, "reason": reason, "revoked_at": at})
        if created:
            audit.record(act="signing_key.revoked", actor_id=None, subject_id=None, at=at, reason=reason, keyid=keyid, role=role)
            enqueue("marketplace.tasks.trust.publish_status", priority=90)
    return row


# Everything against a pinned root


def verify_served(pinned: Mapping[str, Any], *, batch: int = BATCH) -> Iterator[Progress]:
    """Hold everything that is served to a root that an app ships with: the chain of roots, the status document, every current
    release. Yields after each batch; `refused` has what does not hold, by the release's id. Raises: KeyWorkRefused."""
    try:
        first = ceremony.check_root(pinned, after=None)
        later = [signing.root_envelope(number) for number in range(first.version + 1, signing.current_root().version + 1)]
        root = ceremony.check_chain([pinned, *later])
    except (ceremony.CeremonyFailed, DomainError) as trouble:
        raise KeyWorkRefused(f"the chain of roots does not hold: {trouble}") from trouble
    revoked = frozenset(RevokedKey.objects.values_list("keyid", flat=True))
    document = status.find_newest_status()
    if document is not None:
        try:
            signing.verify(document.envelope, role=signing.Role.STATUS, root=root)
        except signing.SignatureRefused as refusal:
            raise KeyWorkRefused(f"the status document does not hold: {refusal}") from refusal
    releases = Release.objects.filter(superseded_at=None).order_by("pk")
    progress = Progress(total=releases.count())
    yield progress
    last: UUID | None = None
    while rows := list(releases.filter(pk__gt=last)[:batch] if last else releases[:batch]):
        last = rows[-1].pk
        for row in rows:
            try:
                signing.verify(row.envelope, role=ROLE_OF[ReleaseChannel(row.channel)], root=root, without=revoked)
            except signing.SignatureRefused as refusal:
                progress.refused[row.pk] = str(refusal)
        progress.done += len(rows)
        yield progress

