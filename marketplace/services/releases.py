"""Release documents: one for each file of a version, signed before the transaction that publishes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from core import crypto, signing
from marketplace.enums import ReleaseChannel
from marketplace.models import Fitment, Release, TuneFile, TuneVersion


@dataclass(frozen=True)
class SignedRelease:
    """A release document that is signed and not stored yet."""

    file_id: UUID
    envelope: dict[str, Any]
    release_counter: int | None


def prepare_release_documents(
    *, version: TuneVersion, release_counter: int, reviewer_id: UUID, decided_at: datetime, approval: str = "", at: datetime
) -> list[SignedRelease]:
    """Sign one public release for each file of a version that is about to be published.

    Called by the publishing service outside any transaction, with the counter that it is going to set. `version` comes
    with its `tune`; files and fitments are read. Stores nothing. `approval` is what a reviewer's own key said of
    `release_drafts`, where the signer asks for it.

    Raises: SigningNotReady, InvalidInput at /approval, ServiceUnavailable("signing").
    """
    review = {
        "approved_sha256": sorted(file.sha256 for file in version.files.all()),
        "decided_at": decided_at,
        "reviewer": pseudonym(reviewer_id),
    }
    return _sign(version, channel=ReleaseChannel.PUBLIC, release_counter=release_counter, review=review, approval=approval, at=at)


def release_drafts(version: TuneVersion, *, at: datetime) -> dict[str, Any]:
    """What a reviewer approves with a key of their own (`tools/approve_release.py`): everything that the releases of a
    version in review will claim."""
    counter, channel = version.tune.release_counter + 1, ReleaseChannel.PUBLIC
    payloads = [
        _payload(version, file, channel=channel, release_counter=counter, replaces=replaces, review=None, at=at)
        for file, replaces in _files(version)
    ]
    drafts = [json.loads(signing.encode_payload(payload)) for payload in payloads]
    for draft in drafts:
        del draft["issued_at"], draft["review"]
    return {"env": signing.environment_name(), "releases": drafts}


def prepare_test_documents(*, version: TuneVersion, at: datetime) -> list[SignedRelease]:
    """The same for a tuner's own vehicle before publication: channel `test`, signed by the role that signs nothing else."""
    return _sign(version, channel=ReleaseChannel.TEST, release_counter=None, review=None, at=at)


def store_release_documents(*, version: TuneVersion, documents: Sequence[SignedRelease], at: datetime) -> list[Release]:
    """Store what was signed, inside the transaction that publishes. The version's row is locked by the caller, who has
    compared state, counter and hashes. Raises: django IntegrityError when a file has a current release already."""
    return Release.objects.bulk_create(
        Release(
            version=version,
            file_id=document.file_id,
            channel=ReleaseChannel.PUBLIC if document.release_counter is not None else ReleaseChannel.TEST,
            release_counter=document.release_counter,
            payload_sha256=signing.payload_sha256(document.envelope),
            keyid=signing.keyid_of(document.envelope),
            envelope=document.envelope,
            issued_at=at,
        )
        for document in documents
    )


def fitment_document(fitment: Fitment) -> dict[str, Any]:
    """A fitment as the API shows it, verbatim: flattened ones would let a US hardware number pass with an EU market."""
    return {
        "make": fitment.make_name,
        "model": fitment.model_name,
        "year_from": fitment.year_from,
        "year_to": fitment.year_to,
        "markets": list(fitment.markets),
        "hardware_numbers": list(fitment.hardware_numbers),
        "calibration_ids": list(fitment.calibration_ids),
        "image_size_bytes": fitment.image_size_bytes,
    }


def pseudonym(user_id: UUID) -> str:
    """A person in a signed document: the same one every time, and nobody to anyone without our key."""
    return crypto.keyed_hash("document_pseudonym", str(user_id)).hex()[:32]


def _sign(
    version: TuneVersion,
    *,
    channel: ReleaseChannel,
    release_counter: int | None,
    review: dict[str, Any] | None,
    approval: str = "",
    at: datetime,
) -> list[SignedRelease]:
    role = signing.Role.RELEASE if channel == ReleaseChannel.PUBLIC else signing.Role.TEST_RELEASE
    return [
        SignedRelease(
            file_id=file.pk,
            release_counter=release_counter,
            envelope=signing.sign(
                role,
                signing.PayloadType.RELEASE,
                _payload(version, file, channel=channel, release_counter=release_counter, replaces=replaces, review=review, at=at),
                approval=approval,
            ),
        )
        for file, replaces in _files(version)
    ]


def _files(version: TuneVersion) -> list[tuple[TuneFile, list[str]]]:
    """Each file with the calibration ids that the tune's versions up to this one leave in an ECU."""
    files = list(TuneFile.objects.filter(version_id=version.pk).order_by("position").prefetch_related("fitments"))
    replaces = sorted({*version.tune.calibration_ids_after, *(file.calibration_id_after for file in files)} - {""})
    return [(file, replaces) for file in files]


def _payload(
    version: TuneVersion,
    file: TuneFile,
    *,
    channel: ReleaseChannel,
    release_counter: int | None,
    replaces: list[str],
    review: dict[str, Any] | None,
    at: datetime,
) -> dict[str, Any]:
    return {
        **signing.base_fields(signing.PayloadType.RELEASE, env=signing.environment_name(), issued_at=at),
        "tune_version_id": version.pk,
        "tune_file_id": file.pk,
        "tune_id": version.tune_id,
        "version": version.version,
        "release_counter": release_counter,
        "tuner_id": version.tune.tuner_id,
        "channel": channel.value,
        "file": {"size_bytes": file.size_bytes, "sha256": file.sha256, "format": file.format},
        "image": {"base": file.image_base, "size_bytes": file.image_size_bytes, "sha256": file.image_sha256},
        "fitments": [fitment_document(fitment) for fitment in sorted(file.fitments.all(), key=lambda row: row.position)],
        "calibration_id_after": file.calibration_id_after or None,
        # What this tune's versions leave in an ECU, so that a phone may flash over them: signed here, for an online key must
        # not widen what a release fits.
        "replaces_calibration_ids": replaces,
        "requirements": version.requirements,
        "emissions_class": version.emissions_class,
        "review": review,
    }
