"""A version from its upload to the review: made, edited, submitted, taken back, withdrawn, deleted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from core import audit
from core.exceptions import FieldError, InvalidInput, StaleRevision
from core.tasks import enqueue
from core.uploads.enums import UploadPurpose
from core.uploads.services import claim_upload
from garage import catalog
from garage.models import VehicleModel
from marketplace.enums import EmissionsClass, VersionStatus
from marketplace.exceptions import (
    PublishBlocked,
    TooManyUnpublishedVersions,
    VersionIllegalMove,
    VersionNotEditable,
    VersionNotFound,
    VersionNumberTaken,
    VersionWasPublished,
    VersionWasTested,
)
from marketplace.fitment import part_key
from marketplace.models import Fitment, Tune, TuneFile, TuneVersion
from marketplace.policies import tunes as policies
from marketplace.services.listings import lock_own_tune
from marketplace.services.stock_images import find_stock_upload
from tuners.selectors import publish_blockers
from users.models import User

EDITABLE_FIELDS = ("changelog", "emissions_class", "certification_number", "blocked_regions", "tags", "requirements")


def create_version(
    *, author: User, tune_id: UUID, facts: Mapping[str, Any], files: Sequence[Mapping[str, Any]], at: datetime
) -> TuneVersion:
    """Take uploaded files over as a new version of an own tune and have them inspected.

    Called by an active tuner. `files` are `{upload_id, fitments, calibration_id_after, stock_image}`, makes and models as text;
    requirements left out are the listing's. Locks the tune and the uploads. Queues marketplace.tasks.versions.inspect_version.

    Raises: TuneNotFound, TuneSuspended, InvalidInput (an upload or a model), VersionNumberTaken, TooManyUnpublishedVersions.
    """
    models = _resolve_models(files)
    with transaction.atomic():
        tune = lock_own_tune(author, tune_id)
        policies.ensure_not_suspended(tune)
        if tune.versions.filter(published_at=None, tickets=None).count() >= policies.MAX_UNPUBLISHED_VERSIONS:
            raise TooManyUnpublishedVersions
        version = TuneVersion(tune=tune, created_at=at, updated_at=at, **facts)
        _ensure_certified(version)
        if version.requirements is None:
            version.requirements = tune.requirements
        _set_part_keys(version)
        _insert(version)
        for position, file in enumerate(files):
            _add_file(version, position, file, models, author=author, at=at)
        audit.record(act="tune_version.created", actor_id=author.pk, subject_id=version.pk, at=at, tune_id=tune.pk, version=version.version)
        enqueue("marketplace.tasks.versions.inspect_version", version_id=version.pk)
    return version


def update_version(
    *, author: User, version_id: UUID, changes: Mapping[str, Any], revision: int | None = None, at: datetime
) -> TuneVersion:
    """Change the words and claims of an own version that is neither in review nor published. Files never change.

    Called by its tuner. Locks tune and version. Raises: VersionNotFound, TuneSuspended, VersionNotEditable, StaleRevision,
    InvalidInput.
    """
    with transaction.atomic():
        version = lock_own_version(author, version_id)
        policies.ensure_not_suspended(version.tune)
        policies.ensure_editable(version)
        if revision is not None and revision != version.revision:
            raise StaleRevision(current=version.revision)
        if refused := policies.prohibited_tags(changes.get("tags", ())):
            raise InvalidInput.at("/tags", "prohibited_tag", f"Switching off emission systems is not published here: {', '.join(refused)}.")
        fields = [name for name in EDITABLE_FIELDS if name in changes]
        for name in fields:
            setattr(version, name, changes[name])
        _ensure_certified(version)
        if fields:
            _set_part_keys(version)
            version.revision, version.updated_at = version.revision + 1, at
            version.save(update_fields=[*fields, "required_part_keys", "forbidden_part_keys", "revision", "updated_at"])
    return version


def delete_version(*, author: User, version_id: UUID, at: datetime) -> None:
    """Delete an own version that was never published and is not in review; its number is free again.

    Called by its tuner. Locks tune and version. Raises: VersionNotFound, VersionWasPublished, VersionNotEditable (in review),
    VersionWasTested.
    """
    with transaction.atomic():
        version = lock_own_version(author, version_id)
        if version.was_published:
            raise VersionWasPublished
        if version.status == VersionStatus.IN_REVIEW:
            raise VersionNotEditable(state=version.status)
        try:
            version.delete()
        except ProtectedError as exc:
            raise VersionWasTested from exc
        audit.record(
            act="tune_version.deleted", actor_id=author.pk, subject_id=version_id, at=at, tune_id=version.tune_id, version=version.version
        )


def submit_version(*, author: User, version_id: UUID, at: datetime) -> TuneVersion:
    """Put an own inspected version into the review queue; after requested changes again, at the queue's end.

    Called by its tuner, whose second factor, standing and certifications must be in order. Locks tune and version.
    Raises: VersionNotFound, TuneSuspended, PublishBlocked, VersionIllegalMove.
    """
    with transaction.atomic():
        version = lock_own_version(author, version_id)
        policies.ensure_not_suspended(version.tune)
        policies.ensure_may_move(version, VersionStatus.IN_REVIEW)
        if blockers := publish_blockers(version.tune.tuner, author, at=at):
            raise PublishBlocked(blockers=blockers)
        version.status, version.submitted_at, version.updated_at = VersionStatus.IN_REVIEW, at, at
        version.reviewer, version.decided_at, version.review_reason, version.review_note = None, None, "", ""
        version.revision += 1
        version.save(
            update_fields=["status", "submitted_at", "reviewer", "decided_at", "review_reason", "review_note", "updated_at", "revision"]
        )
        audit.record(act="tune_version.submitted", actor_id=author.pk, subject_id=version.pk, at=at)
    return version


def cancel_review(*, author: User, version_id: UUID, at: datetime) -> TuneVersion:
    """Take an own version out of the review queue. Called by its tuner. Locks tune and version.

    Raises: VersionNotFound, VersionIllegalMove (decided already, or never submitted).
    """
    with transaction.atomic():
        version = lock_own_version(author, version_id)
        if version.status != VersionStatus.IN_REVIEW:
            raise VersionIllegalMove(state=version.status)
        version.status, version.submitted_at, version.updated_at = VersionStatus.VALIDATED, None, at
        version.revision += 1
        version.save(update_fields=["status", "submitted_at", "updated_at", "revision"])
        audit.record(act="tune_version.review_canceled", actor_id=author.pk, subject_id=version.pk, at=at)
    return version


def withdraw_version(*, author: User, version_id: UUID, at: datetime) -> TuneVersion:
    """Stop selling an own published version; who owns it keeps it. Called by its tuner. Locks tune and version.

    Raises: VersionNotFound, VersionIllegalMove (not PUBLISHED).
    """
    with transaction.atomic():
        version = lock_own_version(author, version_id)
        policies.ensure_may_move(version, VersionStatus.WITHDRAWN)
        version.status, version.withdrawn_at, version.updated_at = VersionStatus.WITHDRAWN, at, at
        version.revision += 1
        version.save(update_fields=["status", "withdrawn_at", "updated_at", "revision"])
        audit.record(act="tune_version.withdrawn", actor_id=author.pk, subject_id=version.pk, at=at)
    return version


def lock_own_version(author: User, version_id: UUID) -> TuneVersion:
    """The author's version, locked after its tune, which it carries. Raises: VersionNotFound (missing, or somebody else's)."""
    tune_id = TuneVersion.objects.filter(pk=version_id, tune__tuner__user_id=author.pk).values_list("tune_id", flat=True).first()
    if tune_id is None:
        raise VersionNotFound
    return lock_version(version_id=version_id, tune_id=tune_id)


def lock_version(*, version_id: UUID, tune_id: UUID) -> TuneVersion:
    """Tune first, version second: everybody who holds both takes them in this order. Raises: VersionNotFound."""
    tune = Tune.objects.select_for_update(no_key=True, of=("self",)).select_related("tuner").filter(pk=tune_id).first()
    version = TuneVersion.objects.select_for_update(no_key=True).filter(pk=version_id).first()
    if tune is None or version is None:
        raise VersionNotFound
    version.tune = tune
    return version


def _insert(version: TuneVersion) -> None:
    try:
        with transaction.atomic():
            version.save(force_insert=True)
    except IntegrityError as exc:
        if "tuneversion_number_once_per_tune" in str(exc):
            raise VersionNumberTaken from exc
        raise


def _add_file(
    version: TuneVersion,
    position: int,
    file: Mapping[str, Any],
    models: Mapping[tuple[str, str], VehicleModel],
    *,
    author: User,
    at: datetime,
) -> None:
    pointer = f"/files/{position}/upload_id"
    upload = claim_upload(upload_id=file["upload_id"], owner_id=author.pk, purpose=UploadPurpose.TUNE_FILE, at=at, pointer=pointer)
    if version.files.filter(sha256=upload.sha256).exists():
        raise InvalidInput.at(pointer, "repeated", "Another file of this version has the same bytes: give it both fitments.")
    stock = find_stock_upload(author, file.get("stock_image"), pointer=f"/files/{position}/stock_image")
    row = TuneFile.objects.create(
        version=version,
        position=position,
        upload_id=upload.pk,
        stock_upload_id=stock.pk if stock is not None else None,
        name=upload.name,
        size_bytes=upload.size_bytes,
        sha256=upload.sha256,
        calibration_id_after=file.get("calibration_id_after") or "",
        created_at=at,
    )
    Fitment.objects.bulk_create(
        Fitment(
            file=row,
            version=version,
            tune_id=version.tune_id,
            position=number,
            model=model,
            make=model.make,
            make_name=model.make.name,
            model_name=model.name,
            **{name: value for name, value in fitment.items() if name not in {"make", "model"}},
        )
        for number, fitment in enumerate(file["fitments"])
        for model in [models[fitment["make"], fitment["model"]]]
    )


def _resolve_models(files: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], VehicleModel]:
    """The catalogue's rows for every make and model named. Raises: InvalidInput at each that it does not have."""
    found: dict[tuple[str, str], VehicleModel] = {}
    errors = []
    for position, file in enumerate(files):
        for number, fitment in enumerate(file["fitments"]):
            named = fitment["make"], fitment["model"]
            if named not in found:
                model = catalog.match_model(*named)
                if model is None:
                    pointer = f"/files/{position}/fitments/{number}/model"
                    errors.append(FieldError("unknown_model", f"The catalogue has no {named[0]} {named[1]}.", pointer=pointer))
                    continue
                found[named] = model
    if errors:
        raise InvalidInput(errors=errors)
    return found


def _ensure_certified(version: TuneVersion) -> None:
    if version.emissions_class == EmissionsClass.CERTIFIED and not version.certification_number:
        raise InvalidInput.at("/certification_number", "required", "A certified version names its certification or order number.")


def _set_part_keys(version: TuneVersion) -> None:
    """The comparable form of the parts that the requirements name."""
    version.required_part_keys = sorted({part_key(part) for part in version.requirements.get("required_parts") or ()})
    version.forbidden_part_keys = sorted({part_key(part) for part in version.requirements.get("forbidden_parts") or ()})
