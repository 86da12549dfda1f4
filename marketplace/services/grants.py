"""The download grant: which file, whether now, and with a ticket once a flash would be safe.

Decided on what two statements read, signed, and then committed in one short transaction that locks purchase, version,
vehicle and license and looks at them again: against a refund, a dispute, a hold, a recall, a release of the license or a
transfer of the vehicle there is one winner. Every grant, every fresh link and every refusal leaves a row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import connection, transaction

from core import signing, storage
from core.exceptions import DomainError, ServiceUnavailable
from core.idempotency import Claim
from core.ids import new_id
from core.tasks import enqueue
from garage.exceptions import VehicleNotFound
from garage.identity import Identity, vehicle_identity
from garage.models import EcuReadout
from marketplace.enums import DownloadKind, DownloadOutcome, LicenseState, PurchaseStatus, ReleaseChannel, VersionStatus
from marketplace.exceptions import (
    AppVersionBlocked,
    FitmentMismatch,
    GrantRefused,
    IntegrityError,
    VehicleMismatch,
    VersionNotFound,
    VersionOnHold,
    VersionRecalled,
)
from marketplace.fitment import MISMATCH, Verdict
from marketplace.models import Download, TuneFile
from marketplace.policies import trust as policies
from marketplace.selectors import grants as reads
from marketplace.selectors.fitment import judge_file
from marketplace.selectors.purchasing import identity_hashes_of
from marketplace.services import status, stored_files
from marketplace.services.tickets import TicketFacts, sign_again, sign_ticket

LINK_SECONDS = 60
ATTEMPTS = 3

# The person first, in the order of the clauses: a deletion holds them, and then changes their purchases and vehicles.
_LOCK = """SELECT p.status, v.status FROM users_user u, marketplace_purchase p, marketplace_tuneversion v, garage_vehicle b
 WHERE u.id = %(buyer)s
   AND p.id = %(purchase)s AND v.id = %(version)s AND b.id = %(vehicle)s AND b.owner_id = %(buyer)s AND b.deleted_at IS NULL
   FOR KEY SHARE OF u FOR SHARE OF p,v,b
"""

_LICENSE_AS_SEEN = """SELECT id FROM marketplace_license
 WHERE id = %(license)s AND state = %(license_state)s AND vehicle_id IS NOT DISTINCT FROM %(license_vehicle)s FOR SHARE"""
_LICENSE_RESERVED = """
UPDATE marketplace_license
   SET state = 'RESERVED', vehicle_id = %(vehicle)s, vehicle_identity_hashes = %(identity_hashes)s::varchar[],
       reserved_until = %(ticket_expires_at)s
 WHERE id = %(license)s
   AND (state = 'UNBOUND'
        OR state = 'RESERVED' AND (vehicle_id = %(vehicle)s OR reserved_until <= %(at)s
                                   OR vehicle_identity_hashes && %(identity_hashes)s::varchar[]))
RETURNING id
"""

_WRITE = """
WITH license AS ({license}),
download AS (
    INSERT INTO marketplace_download (id, purchase_id, buyer_id, kind, outcome, code, grant_id, vehicle_id, version_id, file_id,
                                      ticket_blockers, device_key, app_version, session_id, created_at)
    SELECT %(download)s, %(purchase)s, %(buyer)s, %(kind)s, 'GRANTED', '', %(grant)s, %(vehicle)s, %(version)s, %(file)s,
           %(blockers)s::jsonb, %(device_key)s, %(app_version)s, %(session)s, %(at)s
      FROM license
    RETURNING id
),
{ticket}
first AS (
    INSERT INTO marketplace_grantedpurchase (purchase_id, granted_at) SELECT %(purchase)s, %(at)s FROM download
    ON CONFLICT DO NOTHING RETURNING 1
),
audit AS (
    INSERT INTO core_auditevent (id, at, act, actor_id, subject_id, session_id, reason, facts)
    SELECT %(audit)s, %(at)s, %(act)s, %(buyer)s, %(download)s, %(session)s, '', %(facts)s::jsonb FROM download
)
SELECT (SELECT count(*) FROM download), (SELECT count(*) FROM first)
"""

_TICKET = """
ticket AS (
    INSERT INTO marketplace_flashticket (id, grant_id, purchase_id, license_id, holder_id, vehicle_id, readout_id, version_id, file_id,
                                         channel, device_key, status_version_min, payload_sha256, keyid, reserves, issued_at, expires_at)
    SELECT %(ticket)s, %(download)s, %(purchase)s, %(license)s, %(buyer)s, %(vehicle)s, %(readout)s, %(version)s, %(file)s,
           'public', %(device_key)s, %(status_version)s, %(ticket_sha256)s, %(ticket_keyid)s, %(reserves)s, %(at)s, %(ticket_expires_at)s
      FROM download
),
"""


@dataclass(frozen=True)
class Request:
    """What the phone asks for, and who it is."""

    buyer: Any
    purchase_id: UUID
    vehicle_id: UUID
    version_id: UUID | None = None
    device_key: str = ""
    app_version: str = ""
    session_id: UUID | None = None


@dataclass(frozen=True)
class Grant:
    """What is handed out: a short link, the signed release, and a ticket or what stands between."""

    pk: UUID
    version_id: UUID
    file: dict[str, Any]
    url: str
    url_expires_at: datetime
    release: dict[str, Any]
    ticket: dict[str, Any] | None
    ticket_blockers: list[str]


class _Moved(Exception):
    """Purchase, version, vehicle or license changed between the decision and its commit: decide again."""


def grant_download(request: Request, *, claim: Claim, at: datetime) -> Grant:
    """Hand out the newest published file that fits the vehicle, or the best one of the version asked for.

    Called by the buyer. In its deciding transaction it holds the buyer, locks purchase, version and vehicle FOR SHARE, reserves the
    license when a ticket is given, and completes `claim`. Talks to storage and signer before it. Queues
    marketplace.tasks.trust.count_downloads with a purchase's first grant. Each grant and refusal is a Download row; an outage leaves none.

    Raises: PurchaseNotFound, VehicleNotFound, VersionNotFound, PurchaseNotPaid, LicenseRevoked, LicenseSuspended,
    AppVersionBlocked, VehicleMismatch, FitmentMismatch, VersionRecalled, VersionOnHold, IntegrityError, GrantRefused,
    ServiceUnavailable, SigningNotReady.
    """
    for _ in range(ATTEMPTS):
        seen, choice = _decide_or_note(request, kind=DownloadKind.GRANT, grant_id=None, at=at)
        download_id, ticket_id = new_id(), new_id()
        status_version = seen.status_version or status.get_status(at=at).version
        assert seen.vehicle is not None  # what decided would have refused
        identity = vehicle_identity(seen.vehicle)
        blockers = _blockers(seen, choice, identity=identity, at=at)
        ticket = None
        if not blockers:
            ticket = _sign(request, seen, choice, ticket_id=ticket_id, identity=identity, status_version=status_version, at=at)
        try:
            with transaction.atomic():
                is_first = _write(
                    request,
                    seen,
                    choice,
                    download_id=download_id,
                    kind=DownloadKind.GRANT,
                    grant_id=None,
                    blockers=blockers,
                    ticket_id=ticket_id,
                    ticket=ticket,
                    status_version=status_version,
                    at=at,
                )
                if is_first:
                    enqueue("marketplace.tasks.trust.count_downloads", tune_id=seen.tune_id)
                claim.complete(download_id)
        except _Moved:
            continue
        return _grant(download_id, choice, ticket=ticket, blockers=blockers, at=at)
    _note_refusal(request, GrantRefused.code, kind=DownloadKind.GRANT, grant_id=None, choice=None, at=at)
    raise GrantRefused


def renew_link(*, buyer: Any, download_id: UUID, app_version: str = "", session_id: UUID | None = None, at: datetime) -> Grant:
    """A fresh link for the same grant, after all its checks again, with the same ticket while it is good.

    Called by the buyer. Leaves a row of its own, of kind LINK. Not idempotent. Raises: DownloadNotFound, and what
    `grant_download` raises.
    """
    download = reads.get_own_grant(buyer, download_id)
    assert download.vehicle_id is not None  # a grant names its vehicle; only refusals may not
    request = Request(
        buyer=buyer,
        purchase_id=download.purchase_id,
        vehicle_id=download.vehicle_id,
        version_id=download.version_id,
        device_key=download.device_key,
        app_version=app_version,
        session_id=session_id,
    )
    for _ in range(ATTEMPTS):
        seen, choice = _decide_or_note(request, kind=DownloadKind.LINK, grant_id=download.pk, file_id=download.file_id, at=at)
        ticket, blockers = _ticket_again(download, seen, choice, at=at)
        try:
            with transaction.atomic():
                _write(
                    request,
                    seen,
                    choice,
                    download_id=new_id(),
                    kind=DownloadKind.LINK,
                    grant_id=download.pk,
                    blockers=blockers,
                    at=at,
                )
        except _Moved:
            continue
        return _grant(download.pk, choice, ticket=ticket, blockers=blockers, at=at)
    _note_refusal(request, GrantRefused.code, kind=DownloadKind.LINK, grant_id=download.pk, choice=None, at=at)
    raise GrantRefused


def _decide_or_note(
    request: Request, *, kind: DownloadKind, grant_id: UUID | None, file_id: UUID | None = None, at: datetime
) -> tuple[reads.GrantFacts, reads.Choice]:
    """The decision, with a row for a refusal. Raises the refusal."""
    seen = reads.get_grant_facts(
        buyer=request.buyer,
        purchase_id=request.purchase_id,
        vehicle_id=request.vehicle_id,
        version_id=request.version_id,
        app_version=request.app_version,
        at=at,
    )
    chosen: list[reads.Choice] = []
    try:
        choice = _decide(request, seen, chosen=chosen)
        if file_id is not None and choice.file.pk != file_id:
            raise FitmentMismatch("Another file fits this vehicle now. Ask for a new download.", reasons=[])
        stored_files.ensure_intact(choice.file, at=at)
    except ServiceUnavailable:  # an outage is no refusal: nothing happened
        raise
    except DomainError as refusal:
        _note_refusal(
            request,
            refusal.code,
            kind=kind,
            grant_id=grant_id,
            choice=chosen[0] if chosen else None,
            vehicle_id=seen.vehicle.pk if seen.vehicle else None,
            at=at,
        )
        raise
    return seen, choice


def _decide(request: Request, seen: reads.GrantFacts, *, chosen: list[reads.Choice]) -> reads.Choice:
    """The file to hand out; `chosen` gets it as soon as it is known, for the row of a refusal."""
    policies.ensure_licensed(purchase_status=seen.purchase_status, license_state=seen.license_state)
    if seen.app_version_blocked or policies.is_app_too_old(request.app_version, minimum=settings.MINIMUM_APP_VERSION):
        raise AppVersionBlocked(minimum_app_version=settings.MINIMUM_APP_VERSION)
    if seen.vehicle is None:
        raise VehicleNotFound
    if seen.license_state == LicenseState.BOUND and not _is_licensed_vehicle(seen):
        raise VehicleMismatch(bound_vehicle=str(seen.license_vehicle_id))
    choice = reads.choose(seen, version_id=request.version_id)
    if choice is None:
        raise VersionNotFound
    chosen.append(choice)
    if choice.verdict.verdict == MISMATCH:
        raise FitmentMismatch(reasons=judge_file(choice.file.pk, seen.facts).reasons)
    if choice.version_status not in policies.USABLE_VERSIONS:
        raise _stopped(choice)
    if choice.release is None:
        raise IntegrityError("This version has no signed release.")
    return choice


def _stopped(choice: reads.Choice) -> DomainError:
    refusal = VersionRecalled if choice.version_status == VersionStatus.RECALLED else VersionOnHold
    stop = reads.find_open_stop(choice.version_id)
    if stop is None:
        return refusal()
    return refusal(
        recall=str(stop.pk),
        severity=stop.severity,
        reason=stop.reason,
        replacement=str(stop.replacement_id) if stop.replacement_id else None,
    )


def _is_licensed_vehicle(seen: reads.GrantFacts) -> bool:
    """The very row, or the same vehicle by its identity under another one (a bike that was re-added)."""
    assert seen.vehicle is not None
    if seen.license_vehicle_id == seen.vehicle.pk:
        return True
    return bool(seen.license_identity_hashes) and bool(set(seen.license_identity_hashes) & set(identity_hashes_of(seen.vehicle)))


def _blockers(seen: reads.GrantFacts, choice: reads.Choice, *, identity: Identity | None, at: datetime) -> list[str]:
    assert seen.vehicle is not None
    ecu = seen.vehicle.ecu
    is_reserved = seen.license_state == LicenseState.RESERVED and (seen.license_reserved_until or at) > at
    assert choice.release is not None
    return policies.ticket_blockers(
        has_readout=ecu is not None and ecu.image_size_bytes is not None,
        unknown_codes=unknown_codes_of(choice.verdict, ecu, choice.release),
        has_stock_file=seen.has_stock_file,
        accepts_no_read_back=seen.accepts_no_read_back,
        read_back=choice.read_back,
        has_identity=identity is not None,
        reserved_elsewhere=is_reserved and not _is_licensed_vehicle(seen),
        unreported_tickets=0 if seen.license_state == LicenseState.BOUND else seen.unreported_tickets,
    )


def unknown_codes_of(verdict: Verdict, ecu: EcuReadout | None, release: dict[str, Any]) -> list[str]:
    """What stands between a vehicle and a flash, with `reflash_stock_first` where the phone, which has nothing but the signed
    release to go by, would not let this file be written over what is in the ECU.

    A release knows the versions before it, not those after: who goes back to an older one flashes the stock file first.
    """
    payload = signing.payload_of(release)
    known = {*payload.get("replaces_calibration_ids", ()), *(code for row in payload["fitments"] for code in row["calibration_ids"])}
    return [*verdict.unknown_codes, *(["reflash_stock_first"] if ecu is not None and ecu.calibration_id not in known else [])]


def _sign(
    request: Request,
    seen: reads.GrantFacts,
    choice: reads.Choice,
    *,
    ticket_id: UUID,
    identity: Identity | None,
    status_version: int,
    at: datetime,
) -> dict[str, Any]:
    assert seen.vehicle is not None and seen.vehicle.ecu is not None and identity is not None
    ecu = seen.vehicle.ecu
    assert ecu.image_size_bytes is not None
    return sign_ticket(
        TicketFacts(
            ticket_id=ticket_id,
            purchase_id=seen.purchase_id,
            holder_id=request.buyer.pk,
            vehicle_id=seen.vehicle.pk,
            channel=ReleaseChannel.PUBLIC,
            identity=identity,
            hardware_number=ecu.hardware_number,
            calibration_id=ecu.calibration_id,
            image_size_bytes=ecu.image_size_bytes,
            release_payload_sha256=choice.release_payload_sha256,
            file_sha256=choice.file.sha256,
            file_size_bytes=choice.file.size_bytes,
            device_key=request.device_key,
            status_version_min=status_version,
            issued_at=at,
            expires_at=at + policies.TICKET_LIFETIME,
        )
    )


def _ticket_again(
    download: Download, seen: reads.GrantFacts, choice: reads.Choice, *, at: datetime
) -> tuple[dict[str, Any] | None, list[str]]:
    """The grant's own ticket while it is good; otherwise why there is none."""
    ticket = getattr(download, "flash_ticket", None)
    if ticket is None:
        return None, list(download.ticket_blockers)
    assert seen.vehicle is not None
    envelope = sign_again(
        ticket,
        vehicle=seen.vehicle,
        release_payload_sha256=choice.release_payload_sha256,
        file_sha256=choice.file.sha256,
        file_size_bytes=choice.file.size_bytes,
        at=at,
    )
    return envelope, [] if envelope is not None else ["ticket_used_up"]


def _write(
    request: Request,
    seen: reads.GrantFacts,
    choice: reads.Choice,
    *,
    download_id: UUID,
    kind: DownloadKind,
    grant_id: UUID | None,
    blockers: list[str],
    ticket_id: UUID | None = None,
    ticket: dict[str, Any] | None = None,
    status_version: int = 0,
    at: datetime,
) -> bool:
    """Lock, look again, and write everything in one statement; whether it was the purchase's first grant. Raises: _Moved."""
    assert seen.vehicle is not None
    reserves = ticket is not None and seen.license_state != LicenseState.BOUND
    values = {
        "purchase": seen.purchase_id,
        "buyer": request.buyer.pk,
        "vehicle": seen.vehicle.pk,
        "version": choice.version_id,
        "file": choice.file.pk,
        "license": seen.license_id,
        "license_state": seen.license_state,
        "license_vehicle": seen.license_vehicle_id,
        "download": download_id,
        "grant": grant_id,
        "kind": kind.value,
        "blockers": _json(blockers),
        "device_key": request.device_key,
        "app_version": request.app_version,
        "session": request.session_id,
        "at": at,
        "audit": new_id(),
        "act": "download.granted" if kind == DownloadKind.GRANT else "download.link_renewed",
        "facts": _json(
            {"purchase_id": str(seen.purchase_id), "version_id": str(choice.version_id), "ticket_id": str(ticket_id) if ticket else None}
        ),
    }
    if ticket is not None:
        assert seen.vehicle.ecu is not None
        values |= {
            "ticket": ticket_id,
            "readout": seen.vehicle.ecu.pk,
            "status_version": status_version,
            "ticket_sha256": signing.payload_sha256(ticket),
            "ticket_keyid": signing.keyid_of(ticket),
            "ticket_expires_at": at + policies.TICKET_LIFETIME,
            "reserves": reserves,
            "identity_hashes": identity_hashes_of(seen.vehicle) if reserves else [],
        }
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, values)
        if not _still_stands(cursor.fetchone()):
            raise _Moved
        license_sql = _LICENSE_RESERVED if reserves else _LICENSE_AS_SEEN
        cursor.execute(_WRITE.format(license=license_sql, ticket=_TICKET if ticket is not None else ""), values)
        written, is_first = cursor.fetchone()
    if not written:
        raise _Moved
    return bool(is_first)


def _still_stands(states: tuple[str, str] | None) -> bool:
    return states is not None and states[0] == PurchaseStatus.PAID and states[1] in policies.USABLE_VERSIONS


def _note_refusal(
    request: Request,
    code: str,
    *,
    kind: DownloadKind,
    grant_id: UUID | None,
    choice: reads.Choice | None,
    vehicle_id: UUID | None = None,
    at: datetime,
) -> None:
    Download.objects.create(
        purchase_id=request.purchase_id,
        buyer_id=request.buyer.pk,
        kind=kind,
        outcome=DownloadOutcome.REFUSED,
        code=code,
        grant_id=grant_id,
        vehicle_id=vehicle_id,
        version_id=choice.version_id if choice else None,
        file_id=choice.file.pk if choice else None,
        device_key=request.device_key,
        app_version=request.app_version,
        session_id=request.session_id,
        created_at=at,
    )


def _grant(download_id: UUID, choice: reads.Choice, *, ticket: dict[str, Any] | None, blockers: Iterable[str], at: datetime) -> Grant:
    assert choice.release is not None
    return grant_of_file(download_id, choice.file, release=choice.release, ticket=ticket, blockers=blockers, at=at)


def grant_of_file(
    pk: UUID, file: TuneFile, *, release: dict[str, Any], ticket: dict[str, Any] | None, blockers: Iterable[str], at: datetime
) -> Grant:
    """A file as it is handed out: with a link that is good for a minute, and what its release says that it fits."""
    payload = signing.payload_of(release)
    return Grant(
        pk=pk,
        version_id=file.version_id,
        file={
            "id": str(file.pk),
            "name": file.name,
            "format": file.format,
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "calibration_id_after": payload["calibration_id_after"],
            "fitments": payload["fitments"],
        },
        url=storage.presign_get(file.storage_key, expires_seconds=LINK_SECONDS, filename=file.name),
        url_expires_at=at + timedelta(seconds=LINK_SECONDS),
        release=release,
        ticket=ticket,
        ticket_blockers=list(blockers),
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
