"""What phones report of their flashes, perhaps days later, in any order and twice: one truth comes out.

A success binds the license, whatever came before it; a failed write frees what its ticket reserved. The license's row is
locked first; what may stop the version happens in a task of its own, because it locks tune and version.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F

from core import audit
from core.exceptions import IdTaken, InvalidInput
from core.renderers import dumps, utc_text
from core.tasks import enqueue
from garage.enums import TransferState
from garage.models import Vehicle, VehicleTransfer
from garage.services.ecu import forget_installed_tune, record_installed_tune
from marketplace.enums import CaseKind, CaseStatus, FlashOutcome, LicenseState, PurchaseStatus, ReleaseChannel, StopSource
from marketplace.exceptions import TicketNotFound
from marketplace.models import Flash, FlashTicket, License, Purchase, Tune, TuneVersion, VersionStop
from marketplace.policies import trust as policies
from marketplace.policies.purchasing import may_release_again
from marketplace.selectors.purchasing import identity_hashes_of
from marketplace.services import cases
from marketplace.services.licenses import move_license, spend_release, standing_of
from marketplace.services.locks import hold_people
from marketplace.services.stops import hold_version_by_system
from users.enums import NoticeSeverity, NoticeType, Role
from users.models import User
from users.services import notify

log = structlog.get_logger("marketplace.flashes")

CLOCKS_DIFFER_BY = timedelta(hours=24)
EXPIRED_AT_ONCE = 500
HOLD_REASON = "Two riders reported failed writes within a day. The version is held until it has been looked at."


@dataclass(frozen=True)
class Reported:
    """A stored report, and whether this call stored it."""

    flash: Flash
    created: bool

    @property
    def pk(self) -> UUID:
        return self.flash.pk


def report_flash(
    *,
    reporter: User,
    id: UUID,
    ticket_id: UUID,
    outcome: str,
    ecu_before: Mapping[str, Any] | None,
    ecu_after: Mapping[str, Any] | None,
    app_version: str,
    flashed_at: datetime,
    at: datetime,
) -> Reported:
    """Store one flash report and what follows from it for license, vehicle and statistics.

    Called by the ticket's holder, also after the ticket ran out. Holds buyer and tuner, then locks vehicle and license, as a
    transfer does. Idempotent by the client-made `id`: the same body again is answered. A hard failure opens a case, and queues
    marketplace.tasks.trust.judge_failures.

    Raises: TicketNotFound (missing, or foreign), IdTaken, InvalidInput (a time in the future).
    """
    if flashed_at > at + CLOCKS_DIFFER_BY:
        raise InvalidInput.at("/flashed_at", "in_the_future", "The time of the flash lies in the future.")
    facts = {
        "ticket": ticket_id,
        "outcome": outcome,
        "ecu_before": ecu_before,
        "ecu_after": ecu_after,
        "app_version": app_version,
        "flashed_at": flashed_at,
    }
    fingerprint = hashlib.sha256(dumps(sorted(facts.items()))).digest()
    with transaction.atomic():
        ticket = FlashTicket.objects.select_related("file", "version__tune").filter(pk=ticket_id, holder=reporter).first()
        if ticket is None:
            raise TicketNotFound
        if ticket.purchase_id is not None:  # a case may name its people, and a deletion holds them before their rows
            hold_people(ticket.purchase_id)
        vehicle = Vehicle.objects.select_for_update(no_key=True, of=("self",)).filter(pk=ticket.vehicle_id).first()
        license = License.objects.select_for_update(no_key=True).get(pk=ticket.license_id) if ticket.license_id else None
        if (present := Flash.objects.filter(pk=id).first()) is not None:
            return _answered(present, reporter=reporter, fingerprint=fingerprint)
        flash = Flash(
            id=id,
            ticket=ticket,
            reporter=reporter,
            vehicle_id=ticket.vehicle_id,
            version_id=ticket.version_id,
            outcome=outcome,
            ecu_before=ecu_before,
            ecu_after=ecu_after,
            app_version=app_version,
            flashed_at=flashed_at,
            received_at=at,
            fingerprint=fingerprint,
        )
        FlashTicket.objects.filter(pk=ticket.pk).update(reported_at=ticket.reported_at or at, expired_unreported_at=None)
        if license is not None:
            flash.bound_elsewhere = _settle_license(license, ticket, outcome=outcome, at=at)
            flash.license_state = license.state
            flash.counts_as_hard_failure = outcome in policies.HARD_FAILURES and _is_credible(reporter, at=at)
        try:
            with transaction.atomic():
                flash.save(force_insert=True)
        except IntegrityError as error:
            if "marketplace_flash_pkey" in str(error):  # another license's report took the id since it was looked for
                raise IdTaken from error
            raise
        if ticket.channel == ReleaseChannel.PUBLIC and outcome in policies.STATISTICAL:
            succeeded = 1 if outcome == FlashOutcome.SUCCEEDED else 0
            Tune.objects.filter(pk=ticket.version.tune_id).update(
                flash_count=F("flash_count") + 1, flash_success_count=F("flash_success_count") + succeeded
            )
        if vehicle is not None and vehicle.owner_id == reporter.pk:  # who has handed it on can't write into the next owner's garage
            _settle_vehicle(vehicle.pk, at=at)
        audit.record(
            act="flash.reported",
            actor_id=reporter.pk,
            subject_id=flash.pk,
            at=at,
            outcome=outcome,
            ticket_id=ticket.pk,
            version_id=ticket.version_id,
            bound_elsewhere=flash.bound_elsewhere,
        )
        if outcome in policies.HARD_FAILURES and ticket.purchase_id is not None:  # a tuner's own test alarms nobody
            _open_case(flash, ticket.version, purchase_id=ticket.purchase_id, at=at)
            enqueue("marketplace.tasks.trust.judge_failures", priority=80, flash_id=flash.pk)
    return Reported(flash, created=True)


def judge_failures(*, flash_id: UUID, at: datetime) -> bool:
    """After a hard failure: tell the rider how to get home, alarm staff, and put the version on hold when another buyer's was
    received within 24 hours of it, before or after: two reports that cross each other see one another whichever is judged first.

    Called by the worker; whether it held the version. Idempotent: what a hold was made of makes no second one.
    """
    flash = Flash.objects.select_related("version__tune").get(pk=flash_id)
    version = flash.version
    with transaction.atomic():
        _tell_failure(flash, version, at=at)
    if not flash.counts_as_hard_failure:
        return False
    others = Flash.objects.filter(
        version=version,
        counts_as_hard_failure=True,
        received_at__gt=flash.received_at - policies.HARD_FAILURE_WINDOW,
        received_at__lt=flash.received_at + policies.HARD_FAILURE_WINDOW,
    ).exclude(reporter_id=flash.reporter_id)
    is_alone = not others.exists()
    log.error("hard_flash_failure", version=str(version.pk), flash=str(flash.pk), is_alone=is_alone)
    if is_alone or _was_held_for(flash):
        return False
    return hold_version_by_system(version_id=version.pk, reason=HOLD_REASON, at=at)


def _was_held_for(flash: Flash) -> bool:
    """Whether the failures were looked at since: a task that is run again must not undo what staff decided."""
    return VersionStop.objects.filter(
        version_id=flash.version_id, source=StopSource.SYSTEM, reason=HOLD_REASON, since__gte=flash.received_at
    ).exists()


def expire_tickets(*, at: datetime) -> int:
    """Note the reserving tickets that ran out unreported and free what they reserved; returns how many.

    Called by the schedule. Holds buyer and tuner, then locks each license. Brings the second one of a year to staff. Idempotent.
    """
    expired = FlashTicket.objects.filter(reserves=True, reported_at=None, expired_unreported_at=None, expires_at__lte=at)
    count = 0
    due = expired.order_by("expires_at").values_list("pk", "license_id", "purchase_id")[:EXPIRED_AT_ONCE]
    for ticket_id, license_id, purchase_id in due:
        with transaction.atomic():
            hold_people(purchase_id)  # before the license: a deletion holds them first, and a case is going to name them
            license = License.objects.select_for_update(no_key=True).get(pk=license_id)
            changed = FlashTicket.objects.filter(pk=ticket_id, reported_at=None, expired_unreported_at=None).update(
                expired_unreported_at=at
            )
            if not changed:
                continue
            count += 1
            _bring_to_staff(license, ticket_id=ticket_id, at=at)
            if standing_of(license) == LicenseState.RESERVED and license.reserved_until is not None and license.reserved_until <= at:
                move_license(license, LicenseState.UNBOUND)
                audit.record(act="license.reservation_expired", actor_id=None, subject_id=license.pk, at=at, ticket_id=ticket_id)
    return count


def _bring_to_staff(license: License, *, ticket_id: UUID, at: datetime) -> None:
    """The second ticket within a year that nobody reported: no further one is given, so a case is opened where it is settled."""
    unreported = FlashTicket.objects.filter(license=license, expired_unreported_at__gt=at - policies.UNREPORTED_WINDOW).count()
    if unreported >= policies.UNREPORTED_TICKETS_A_YEAR:
        cases.open_case(
            purchase_id=license.purchase_id,
            kind=CaseKind.OTHER,
            text="Two flash tickets ran out and the app reported neither. Please write what became of them: what is in the ECU now? "
            "Until RevSync has looked at it no further ticket is given.",
            dedupe_key=f"unreported:{ticket_id}",
            status=CaseStatus.WAITING_STAFF,
            at=at,
        )


def count_downloads(*, tune_id: UUID) -> int:
    """Set a tune's number of downloads: its purchases of which bytes were handed out. Called by the worker. Idempotent."""
    count = Purchase.objects.filter(tune_id=tune_id, first_grant__isnull=False).count()
    Tune.objects.filter(pk=tune_id).exclude(download_count=count).update(download_count=count)
    return count


def _answered(present: Flash, *, reporter: User, fingerprint: bytes) -> Reported:
    if present.reporter_id != reporter.pk or bytes(present.fingerprint) != fingerprint:
        raise IdTaken
    return Reported(present, created=False)


def _settle_license(license: License, ticket: FlashTicket, *, outcome: str, at: datetime) -> bool:
    """What the report does to the license; whether it was a success on a vehicle while the license stands on another."""
    standing = standing_of(license)
    if outcome != FlashOutcome.SUCCEEDED:
        if standing == LicenseState.RESERVED and license.vehicle_id == ticket.vehicle_id and not _has_open_ticket(ticket, at=at):
            move_license(license, LicenseState.UNBOUND)
        return False
    if standing == LicenseState.REVOKED or _was_released_since(license, ticket) or _went_with_the_vehicle(license, ticket):
        return False
    hashes = _hashes_of(ticket.vehicle_id)
    if standing != LicenseState.BOUND:
        move_license(license, LicenseState.BOUND, vehicle_id=ticket.vehicle_id, hashes=hashes, bound_at=at)
        audit.record(
            act="license.bound", actor_id=ticket.holder_id, subject_id=license.pk, at=at, vehicle_id=ticket.vehicle_id, ticket_id=ticket.pk
        )
        return False
    if license.vehicle_id == ticket.vehicle_id:
        return False
    if set(hashes) & set(license.vehicle_identity_hashes):  # the same bike, added again
        move_license(license, LicenseState.BOUND, vehicle_id=ticket.vehicle_id, hashes=hashes, bound_at=license.bound_at)
        return False
    spend_release(license, at=at)  # the report is kept and flagged
    audit.record(
        act="license.flashed_elsewhere",
        actor_id=ticket.holder_id,
        subject_id=license.pk,
        at=at,
        vehicle_id=ticket.vehicle_id,
        bound_vehicle_id=license.vehicle_id,
    )
    return True


def _has_open_ticket(ticket: FlashTicket, *, at: datetime) -> bool:
    """Whether a later ticket of the same license still reserves the same vehicle."""
    if ticket.license_id is None:
        return False
    return (
        FlashTicket.objects.filter(license_id=ticket.license_id, vehicle_id=ticket.vehicle_id, reported_at=None, expires_at__gt=at)
        .exclude(pk=ticket.pk)
        .exists()
    )


def _was_released_since(license: License, ticket: FlashTicket) -> bool:
    """Whether the license was bound to this vehicle and released after the ticket: an old report must not bind it again."""
    released_at = license.released_by_holder_at
    if released_at is None or ticket.issued_at > released_at:
        return False
    return Flash.objects.filter(
        ticket__license_id=license.pk, vehicle_id=ticket.vehicle_id, outcome=FlashOutcome.SUCCEEDED, received_at__lte=released_at
    ).exists()


def _went_with_the_vehicle(license: License, ticket: FlashTicket) -> bool:
    """Whether the vehicle was handed on after the ticket, so that the license is what the transfer would have left it.

    A flash that was reported before a transfer binds the license, and the transfer frees it and spends the year's release:
    it is so too when the report comes later. As with a transfer, where the release was spent already staff has to free it.
    """
    handed_on_at = (
        VehicleTransfer.objects.filter(
            vehicle_id=ticket.vehicle_id, offered_by_id=ticket.holder_id, state=TransferState.ACCEPTED, ended_at__gte=ticket.issued_at
        )
        .order_by("ended_at")
        .values_list("ended_at", flat=True)
        .first()
    )
    if handed_on_at is None or standing_of(license) == LicenseState.BOUND:
        return False
    if license.released_by_holder_at == handed_on_at:  # it is known already
        return True
    if not may_release_again(license, at=handed_on_at):
        return False
    spend_release(license, at=handed_on_at)
    audit.record(
        act="license.released",
        actor_id=ticket.holder_id,
        subject_id=license.pk,
        at=handed_on_at,
        reason="the vehicle was handed on before its flash was reported",
        vehicle_id=ticket.vehicle_id,
        ticket_id=ticket.pk,
    )
    return True


def _hashes_of(vehicle_id: UUID) -> list[str]:
    vehicle = Vehicle.objects.select_related("ecu").filter(pk=vehicle_id).first()
    return identity_hashes_of(vehicle) if vehicle is not None else []


def _settle_vehicle(vehicle_id: UUID, *, at: datetime) -> None:
    """What is installed follows from the newest success or restore, whatever order the reports came in."""
    newest = (
        Flash.objects.select_related("ticket__file", "version")
        .filter(vehicle_id=vehicle_id, outcome__in=[FlashOutcome.SUCCEEDED, FlashOutcome.RESTORED])
        .order_by("-flashed_at", "-received_at")
        .first()
    )
    if newest is None:
        return
    if newest.outcome == FlashOutcome.RESTORED:
        forget_installed_tune(vehicle_id=vehicle_id, at=at)
        return
    reported = (newest.ecu_after or {}).get("calibration_id")
    record_installed_tune(
        vehicle_id=vehicle_id,
        tune_id=newest.version.tune_id,
        tune_version_id=newest.version_id,
        version=newest.version.version,
        calibration_id=reported or newest.ticket.file.calibration_id_after or None,
        installed_at=newest.flashed_at,
        at=at,
    )


def _is_credible(reporter: User, *, at: datetime) -> bool:
    """An account younger than a week that owns free tunes only does not count: throw-away accounts must not stop a rival.

    What was refunded or charged back is not owned.
    """
    if at - reporter.created_at >= policies.YOUNG_ACCOUNT:
        return True
    return Purchase.objects.filter(buyer=reporter, amount_minor__gt=0, status=PurchaseStatus.PAID).exists()


def _open_case(flash: Flash, version: TuneVersion, *, purchase_id: UUID, at: datetime) -> None:
    """One conversation with the rider, whose tuner is told of it, in the transaction of the report."""
    outcome = FlashOutcome(flash.outcome).label.lower()
    cases.open_case(
        purchase_id=purchase_id,
        kind=CaseKind.FLASH_FAILURE,
        text=f"The app reported a flash of {version.tune.title} {version.version} at {utc_text(flash.flashed_at)}: {outcome}. "
        "Restore the stock file before the engine is started. Please write what you saw, and attach the app's log if there is one.",
        dedupe_key=f"flash:{flash.pk}",
        flash_id=flash.pk,
        knows=flash.reporter_id,  # by the notice that says what to do first
        at=at,
    )


def _tell_failure(flash: Flash, version: TuneVersion, *, at: datetime) -> None:
    link, outcome = {"resource": "tune_version", "id": version.pk}, FlashOutcome(flash.outcome).label.lower()
    notify(
        user_id=flash.reporter_id,
        type=NoticeType.FLASH,
        severity=NoticeSeverity.RESTORE_STOCK,
        title="Your flash failed: restore your stock file",
        body="The write did not complete. Restore the stock image with the app before you start the engine. It uses up no license. "
        "A case about it is open: please write there what you saw.",
        link={"resource": "flash", "id": flash.pk},
        dedupe_key=f"flash:{flash.pk}",
        at=at,
    )
    for user_id in User.objects.filter(role=Role.ADMIN, is_active=True).order_by("pk").values_list("pk", flat=True):
        notify(
            user_id=user_id,
            type=NoticeType.FLASH,
            severity=NoticeSeverity.WARNING,
            title=f"A flash of {version.tune.title} {version.version} failed"[:160],
            body=f"Reported as {outcome}. A second one by another rider within a day puts the version on hold.",
            link=link,
            dedupe_key=f"flash-failure:{flash.pk}",
            at=at,
        )
