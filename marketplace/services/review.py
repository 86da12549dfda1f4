"""Decisions on versions in review. Reviewers approve hashes, and are never the author."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import audit, storage
from core.models import Upload
from core.tasks import enqueue
from marketplace.enums import TuneStatus, VersionStatus
from marketplace.exceptions import (
    OwnVersion,
    PublishBlocked,
    ReleaseOutdated,
    TuneFileMissing,
    VersionFilesRequired,
    VersionIllegalMove,
    VersionNotFound,
)
from marketplace.models import TuneVersion
from marketplace.policies import tunes as policies
from marketplace.selectors.owners import list_changes_for_owners
from marketplace.services.releases import prepare_release_documents, store_release_documents
from marketplace.services.versions import lock_version
from tuners.selectors import publish_blockers
from users.enums import NoticeType
from users.models import User
from users.services import notify


def publish_tune_version(
    *, version_id: UUID, reviewer: User, approved_sha256: Iterable[str], note: str, approval: str = "", at: datetime
) -> TuneVersion:
    """Publish a version in review: its files are signed first, then state, counter and documents change in one transaction.

    Called by an admin who is not the author; `approved_sha256` are the hashes that were looked at, `approval` is what the
    reviewer's own key said of the releases, where the signer asks for it. Asks the storage for
    each object and the signer for each document outside the transaction; that locks tune, then version, and compares
    everything again, so whatever moved meanwhile leaves nothing changed. The first publication publishes the tune. Tells
    the author; queues marketplace.tasks.versions.tell_owners, marketplace.tasks.tunes.refresh_makes_of and the news of it.

    Raises: VersionNotFound, PermissionRefused, OwnVersion, VersionIllegalMove, TuneSuspended, VersionFilesRequired,
    HashesDiffer, PublishBlocked, TuneFileMissing, ReleaseOutdated, InvalidInput at /approval, ServiceUnavailable (storage,
    signing).
    """
    approved = sorted(set(approved_sha256))
    version = _find(version_id)
    counter = version.tune.release_counter + 1
    _ensure_publishable(version, reviewer=reviewer, approved=approved, at=at)
    for file in version.files.all():
        head = storage.head(file.storage_key)
        if head is None or head.size_bytes != file.size_bytes:
            raise TuneFileMissing(sha256=file.sha256)
    documents = prepare_release_documents(
        version=version, release_counter=counter, reviewer_id=reviewer.pk, decided_at=at, approval=approval, at=at
    )
    with transaction.atomic():
        version = lock_version(version_id=version.pk, tune_id=version.tune_id)
        tune = version.tune
        _ensure_publishable(version, reviewer=reviewer, approved=approved, at=at)
        if tune.release_counter + 1 != counter:
            raise ReleaseOutdated
        tune.release_counter, tune.updated_at, tune.revision = counter, at, tune.revision + 1
        fields = ["release_counter", "updated_at", "revision"]
        is_first = tune.status == TuneStatus.DRAFT
        if is_first:
            tune.status, tune.published_at = TuneStatus.PUBLISHED, at
            fields += ["status", "published_at"]
        tune.save(update_fields=fields)
        version.status, version.published_at, version.release_counter = VersionStatus.PUBLISHED, at, counter
        version.approved_sha256 = approved
        _decide(version, reviewer=reviewer, reason_code="", note=note, at=at, more=("published_at", "release_counter", "approved_sha256"))
        store_release_documents(version=version, documents=documents, at=at)
        audit.record(
            act="tune_version.published",
            actor_id=reviewer.pk,
            subject_id=version.pk,
            at=at,
            reason=note,
            tune_id=tune.pk,
            release_counter=counter,
            approved_sha256=approved,
        )
        _tell_author(version, title="Your version is published", body=f"Version {version.version} of “{tune.title}” is on sale now.", at=at)
        enqueue("marketplace.tasks.versions.tell_owners", version_id=version.pk)
        if is_first:
            enqueue("marketplace.tasks.news.tell_of_new_tune", tune_id=tune.pk)
        else:
            enqueue("marketplace.tasks.news.tell_of_new_version", version_id=version.pk)
        enqueue("marketplace.tasks.tunes.refresh_makes_of", tuner_id=tune.tuner_id)
    return version


def request_changes(*, version_id: UUID, reviewer: User, reason_code: str, note: str, at: datetime) -> TuneVersion:
    """Send a version in review back to its tuner, who may correct its words and claims and submit it again.

    Called by an admin who is not the author. Locks tune and version. Raises: VersionNotFound, PermissionRefused, OwnVersion,
    VersionIllegalMove.
    """
    return _turn_down(version_id, VersionStatus.CHANGES_REQUESTED, reviewer, reason_code, note, at)


def reject_tune_version(*, version_id: UUID, reviewer: User, reason_code: str, note: str, at: datetime) -> TuneVersion:
    """Refuse a version in review for good; what is better is a new version.

    Called by an admin who is not the author. Locks tune and version. Raises: VersionNotFound, PermissionRefused, OwnVersion,
    VersionIllegalMove.
    """
    return _turn_down(version_id, VersionStatus.REJECTED, reviewer, reason_code, note, at)


def tell_owners(*, version_id: UUID, at: datetime) -> int:
    """Tell everybody with a license for the tune that a newer version is out, with what changed since the version that they
    flashed; each at most once. Returns how many.

    Called by the worker; idempotent. One statement finds who, since when and what.
    """
    version = TuneVersion.objects.filter(pk=version_id).select_related("tune").first()
    if version is None or version.status != VersionStatus.PUBLISHED:
        return 0
    owners = list_changes_for_owners(version)
    for owner in owners:
        since = f"You flashed {owner.flashed}. Since then:" if owner.flashed else ""
        notify(
            user_id=owner.user_id,
            type=NoticeType.NEW_VERSION,
            title=f"Version {version.version} is out",
            body="\n\n".join(filter(None, (f"“{version.tune.title}” has a new version.", since, owner.changes)))[:4000],
            link={"resource": "tune_version", "id": version.pk},
            dedupe_key=f"new-version:{version.pk}:{owner.user_id}",
            at=at,
        )
    return len(owners)


def _find(version_id: UUID) -> TuneVersion:
    version = TuneVersion.objects.filter(pk=version_id).select_related("tune__tuner__user").prefetch_related("files").first()
    if version is None:
        raise VersionNotFound
    return version


def _ensure_may_review(version: TuneVersion, reviewer: User) -> None:
    """Never the author, and never who uploaded one of its files. Raises: PermissionRefused, OwnVersion."""
    policies.ensure_may_review(reviewer, version.tune)
    uploads = version.files.values("upload_id")
    if Upload.objects.filter(pk__in=uploads, owner_id=reviewer.pk).exists():
        raise OwnVersion


def _ensure_publishable(version: TuneVersion, *, reviewer: User, approved: list[str], at: datetime) -> None:
    _ensure_may_review(version, reviewer)
    policies.ensure_may_move(version, VersionStatus.PUBLISHED)
    if version.status != VersionStatus.IN_REVIEW:
        raise VersionIllegalMove(state=version.status)  # lifting a hold or a recall is another service
    policies.ensure_not_suspended(version.tune)
    present = [file.sha256 for file in version.files.all()]
    if not present:
        raise VersionFilesRequired
    policies.ensure_hashes_approved(approved, present)
    if blockers := publish_blockers(version.tune.tuner, version.tune.tuner.user, at=at):
        raise PublishBlocked(blockers=blockers)


def _turn_down(version_id: UUID, to: str, reviewer: User, reason_code: str, note: str, at: datetime) -> TuneVersion:
    with transaction.atomic():
        found = _find(version_id)
        version = lock_version(version_id=found.pk, tune_id=found.tune_id)
        _ensure_may_review(version, reviewer)
        policies.ensure_may_move(version, to)
        version.status = to
        _decide(version, reviewer=reviewer, reason_code=reason_code, note=note, at=at)
        act = "tune_version.changes_requested" if to == VersionStatus.CHANGES_REQUESTED else "tune_version.rejected"
        audit.record(act=act, actor_id=reviewer.pk, subject_id=version.pk, at=at, reason=note, reason_code=reason_code)
        title = "Changes were requested" if to == VersionStatus.CHANGES_REQUESTED else "Your version was rejected"
        body = f"Version {version.version} of “{version.tune.title}”: {version.get_review_reason_display()}.\n\n{note}"
        _tell_author(version, title=title, body=body[:4000], at=at)
    return version


def _decide(version: TuneVersion, *, reviewer: User, reason_code: str, note: str, at: datetime, more: tuple[str, ...] = ()) -> None:
    version.reviewer, version.decided_at, version.updated_at = reviewer, at, at
    version.review_reason, version.review_note = reason_code, note
    version.revision += 1
    version.save(update_fields=["status", "reviewer", "decided_at", "review_reason", "review_note", "updated_at", "revision", *more])


def _tell_author(version: TuneVersion, *, title: str, body: str, at: datetime) -> None:
    notify(
        user_id=version.tune.tuner.user_id,
        type=NoticeType.VERSION_REVIEW,
        title=title,
        body=body,
        link={"resource": "tune_version", "id": version.pk},
        dedupe_key=f"reviewed:{version.pk}:{version.revision}",
        at=at,
    )
