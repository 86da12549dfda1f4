"""Test tickets: a tuner flashes an own vehicle with an own version before anybody else may.

The documents are those of a sale in another channel: the release is signed by the role that signs nothing else, so that a
phone takes unreviewed bytes for nobody's vehicle but this one. No license, no statistics, no automatic hold.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from core import audit, signing
from core.idempotency import Claim
from core.ids import new_id
from garage.identity import vehicle_identity
from garage.models import NoReadBackConsent, StockFile, Vehicle
from garage.selectors import get_vehicle
from garage.services.vehicles import get_locked_vehicle
from marketplace.enums import ReleaseChannel
from marketplace.exceptions import FitmentMismatch, GrantRefused, PublishBlocked, TicketBlocked, TicketNotFound, VersionFilesRequired
from marketplace.fitment import MISMATCH
from marketplace.models import FlashTicket, Release, TuneFile, TuneVersion
from marketplace.policies import trust as policies
from marketplace.policies import tunes as tune_policies
from marketplace.selectors.fitment import JudgedFile, get_vehicle_facts, judge_version
from marketplace.selectors.versions import get_own_version
from marketplace.services import status, stored_files
from marketplace.services.grants import Grant, grant_of_file, unknown_codes_of
from marketplace.services.releases import SignedRelease, prepare_test_documents, store_release_documents
from marketplace.services.tickets import TicketFacts, sign_again, sign_ticket
from marketplace.services.versions import lock_version
from tuners.selectors import publish_blockers
from users.models import User

ATTEMPTS = 3


@dataclass(frozen=True)
class _Prepared:
    """What was decided and signed before the transaction."""

    version: TuneVersion
    vehicle: Vehicle
    file: TuneFile
    release: dict[str, Any]
    documents: list[SignedRelease]  # to be stored; empty when the current ones say the same
    replaces: list[UUID]
    ticket: dict[str, Any]
    status_version: int


def issue_test_ticket(*, author: User, version_id: UUID, vehicle_id: UUID, device_key: str = "", claim: Claim, at: datetime) -> Grant:
    """Sign a ticket of the channel `test` for an own vehicle, with the file that fits it and a link for a minute.

    Called by the version's tuner, who must be able to publish. What keeps a rider from a ticket keeps a tuner from one too.
    Signs before its transaction, which locks tune, version and vehicle and looks again. Completes `claim` with the ticket.

    Raises: VersionNotFound, VehicleNotFound, VersionIllegalMove (inspected and not decided yet), TuneSuspended,
    PublishBlocked, VersionFilesRequired, FitmentMismatch, TicketBlocked, IntegrityError, GrantRefused, ServiceUnavailable,
    SigningNotReady.
    """
    ticket_id = new_id()
    for _ in range(ATTEMPTS):
        prepared = _prepare(author, version_id, vehicle_id, ticket_id=ticket_id, device_key=device_key, at=at)
        with transaction.atomic():
            version = lock_version(version_id=version_id, tune_id=prepared.version.tune_id)
            _ensure_testable(version)
            vehicle = get_locked_vehicle(author, vehicle_id)
            current = set(_current_releases(version).values_list("pk", flat=True))
            moved = (version.revision, vehicle.ecu_id) != (prepared.version.revision, prepared.vehicle.ecu_id)
            if moved or (prepared.documents and current != set(prepared.replaces)):
                continue  # decide again
            _store(author, prepared, ticket_id=ticket_id, device_key=device_key, at=at)
            claim.complete(ticket_id)
        return grant_of_file(ticket_id, prepared.file, release=prepared.release, ticket=prepared.ticket, blockers=[], at=at)
    raise GrantRefused


def find_test_ticket(*, author: User, ticket_id: UUID, at: datetime) -> Grant:
    """The same ticket once more with a fresh link, for a request that is sent again. No ticket in it when it was used up.

    Raises: TicketNotFound (missing, or somebody else's), VersionIllegalMove (decided meanwhile), IntegrityError.
    """
    found = FlashTicket.objects.filter(pk=ticket_id, holder=author, channel=ReleaseChannel.TEST).select_related("version__tune", "file")
    ticket = found.first()
    vehicle = Vehicle.objects.filter(pk=ticket.vehicle_id).select_related("ecu").first() if ticket else None
    release = _current_releases(ticket.version).filter(file=ticket.file).first() if ticket else None
    if ticket is None or vehicle is None or release is None:
        raise TicketNotFound
    _ensure_testable(ticket.version)
    stored_files.ensure_intact(ticket.file, at=at)
    envelope = sign_again(
        ticket,
        vehicle=vehicle,
        release_payload_sha256=release.payload_sha256,
        file_sha256=ticket.file.sha256,
        file_size_bytes=ticket.file.size_bytes,
        at=at,
    )
    blockers = [] if envelope is not None else ["ticket_used_up"]
    return grant_of_file(ticket.pk, ticket.file, release=release.envelope, ticket=envelope, blockers=blockers, at=at)


def _prepare(
    author: User, version_id: UUID, vehicle_id: UUID, *, ticket_id: UUID, device_key: str, at: datetime
) -> _Prepared:
    version = get_own_version(author, version_id)
    _ensure_testable(version)
    if blockers := publish_blockers(version.tune.tuner, author, at=at):
        raise PublishBlocked(blockers=blockers)
    vehicle = get_vehicle(author, vehicle_id)
    facts = get_vehicle_facts(owner=author, vehicle_id=vehicle_id)
    judged = judge_version(version, facts, calibration_ids_after=version.tune.calibration_ids_after)
    if not judged:
        raise VersionFilesRequired
    chosen = judged[0]
    if chosen.verdict.verdict == MISMATCH:
        raise FitmentMismatch(reasons=chosen.reasons)
    stored_files.ensure_intact(chosen.file, at=at)
    documents, replaces = _releases_for(version, at=at)
    release = next(document.envelope for document in documents if document.file_id == chosen.file.pk)
    if blockers := _blockers(author, vehicle, chosen, release):
        raise TicketBlocked(ticket_blockers=blockers)
    identity, ecu = vehicle_identity(vehicle), vehicle.ecu
    assert identity is not None and ecu is not None and ecu.image_size_bytes is not None  # else there were blockers
    status_version = status.get_status(at=at).version
    ticket = sign_ticket(
        TicketFacts(
            ticket_id=ticket_id,
            purchase_id=None,
            holder_id=author.pk,
            vehicle_id=vehicle.pk,
            channel=ReleaseChannel.TEST,
            identity=identity,
            hardware_number=ecu.hardware_number,
            calibration_id=ecu.calibration_id,
            image_size_bytes=ecu.image_size_bytes,
            release_payload_sha256=signing.payload_sha256(release),
            file_sha256=chosen.file.sha256,
            file_size_bytes=chosen.file.size_bytes,
            device_key=device_key,
            status_version_min=status_version,
            issued_at=at,
            expires_at=at + policies.TICKET_LIFETIME,
        )
    )
    is_new = documents if replaces is not None else []
    return _Prepared(version, vehicle, chosen.file, release, is_new, replaces or [], ticket, status_version)


def _store(author: User, prepared: _Prepared, *, ticket_id: UUID, device_key: str, at: datetime) -> None:
    version, vehicle = prepared.version, prepared.vehicle
    assert vehicle.ecu_id is not None  # else it had no ticket
    if prepared.documents:
        Release.objects.filter(pk__in=prepared.replaces).update(superseded_at=at)
        store_release_documents(version=version, documents=prepared.documents, at=at)
    FlashTicket.objects.create(
        id=ticket_id,
        holder=author,
        vehicle_id=vehicle.pk,
        readout_id=vehicle.ecu_id,
        version=version,
        file=prepared.file,
        channel=ReleaseChannel.TEST,
        device_key=device_key,
        status_version_min=prepared.status_version,
        payload_sha256=signing.payload_sha256(prepared.ticket),
        keyid=signing.keyid_of(prepared.ticket),
        issued_at=at,
        expires_at=at + policies.TICKET_LIFETIME,
    )
    audit.record(
        act="test_ticket.issued", actor_id=author.pk, subject_id=version.pk, at=at, ticket_id=ticket_id, vehicle_id=vehicle.pk
    )


def _ensure_testable(version: TuneVersion) -> None:
    tune_policies.ensure_not_suspended(version.tune)
    tune_policies.ensure_testable(version)


def _current_releases(version: TuneVersion):
    return Release.objects.filter(version=version, channel=ReleaseChannel.TEST, superseded_at=None)


def _releases_for(version: TuneVersion, *, at: datetime) -> tuple[list[SignedRelease], list[UUID] | None]:
    """The test releases of a version, and which current ones they replace; None when the current ones say the same.

    Words and claims can be changed after the first ticket, and what is signed has to say what they are now.
    """
    fresh = prepare_test_documents(version=version, at=at)
    current = {release.file_id: release for release in _current_releases(version)}
    if all(row.file_id in current and _says(current[row.file_id].envelope) == _says(row.envelope) for row in fresh):
        return [SignedRelease(file_id=row.file_id, envelope=row.envelope, release_counter=None) for row in current.values()], None
    return fresh, [release.pk for release in current.values()]


def _says(envelope: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in signing.payload_of(envelope).items() if name != "issued_at"}


def _blockers(author: User, vehicle: Vehicle, chosen: JudgedFile, release: dict[str, Any]) -> list[str]:
    ecu = vehicle.ecu
    hardware_number = ecu.hardware_number if ecu is not None else None
    of_this_ecu = {"vehicle": vehicle, "hardware_number": hardware_number}
    return policies.ticket_blockers(
        has_readout=ecu is not None and ecu.image_size_bytes is not None,
        unknown_codes=unknown_codes_of(chosen.verdict, ecu, release),
        has_stock_file=StockFile.objects.filter(**of_this_ecu).exists(),
        accepts_no_read_back=NoReadBackConsent.objects.filter(given_by=author, **of_this_ecu).exists(),
        read_back=chosen.version.requirements.get("read_back") or "",
        has_identity=vehicle_identity(vehicle) is not None,
        reserved_elsewhere=False,
        unreported_tickets=0,
    )
