"""Purchases that a restored database has lost, written anew from what the provider keeps beside each payment."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import DataError, IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.utils.dateparse import parse_datetime

from core import audit
from garage.models import Vehicle
from marketplace import payments
from marketplace.enums import DifferenceReason, PaymentAttemptState, PurchaseStatus
from marketplace.exceptions import NotForSale, PaymentMismatch
from marketplace.models import PaymentAttempt, ProviderDifference, Purchase, Tune
from marketplace.payments import Intent
from marketplace.policies.purchasing import PENDING_FOR
from marketplace.selectors.purchasing import identity_hashes_of
from marketplace.services.differences import note_difference, purchase_id_in
from marketplace.services.settlement import alarm, end_payment, follow_intent, mark_purchase_paid, provider_answers
from marketplace.services.webhooks import take_up_parked
from tuners.models import TunerProfile
from users.models import User

log = structlog.get_logger(__name__)

CHUNK = 100
NO_HASH = "0" * 64
M = TypeVar("M", bound=Model)


class CannotRebuild(Exception):
    """Who bought, what or from whom is unknown here: the sentence says which."""


def find_lost_payments(*, since: datetime) -> tuple[list[Intent], list[Intent]]:
    """Walk the provider's payments since a moment: those whose purchase is missing here, and those that we are behind with.

    Called by the reconciler, outside any transaction. Three queries for a hundred payments. A payment that names no purchase
    is none of ours. Raises: ProviderUnavailable, ProviderRefused.
    """
    missing: list[Intent] = []
    behind: list[Intent] = []
    chunk: list[Intent] = []
    for intent in payments.list_intents(since=since):
        chunk.append(intent)
        if len(chunk) == CHUNK:
            _sort(chunk, missing, behind)
            chunk = []
    _sort(chunk, missing, behind)
    return missing, behind


def _sort(chunk: list[Intent], missing: list[Intent], behind: list[Intent]) -> None:
    named = {intent.id: purchase_id_in(intent) for intent in chunk}
    known = Purchase.objects.in_bulk([purchase_id for purchase_id in named.values() if purchase_id])
    parked = set(
        ProviderDifference.objects.filter(provider=payments.PROVIDER, object_id__in=named, reason=DifferenceReason.NOT_REBUILT).values_list(
            "object_id", flat=True
        )
    )
    done = set(
        PaymentAttempt.objects.filter(
            intent_id__in=named, state__in=[PaymentAttemptState.SUCCEEDED, PaymentAttemptState.CANCELED]
        ).values_list("intent_id", flat=True)
    )
    for intent in chunk:
        purchase_id = named[intent.id]
        if purchase_id is None:
            continue
        if purchase_id not in known:
            if not intent.is_canceled and intent.id not in parked:  # else it was dealt with before
                missing.append(intent)
        elif intent.is_paid and intent.id not in done:
            behind.append(intent)


def catch_up(*, intent: Intent, at: datetime) -> None:
    """A payment whose success we have not heard of; one that does not match is an alarm and a difference, no more."""
    try:
        follow_intent(intent=intent, at=at)
    except PaymentMismatch as mismatch:
        purchase_id = purchase_id_in(intent)
        assert purchase_id is not None
        alarm(subject_id=purchase_id, note=str(mismatch), at=at)


def rebuild_purchase(*, intent: Intent, at: datetime) -> Purchase | None:
    """Write a lost purchase anew with its license and books; None when there is none to write.

    Called by the reconciler with a payment of `find_lost_payments`. Nobody is charged: a payment that waits is cancelled at
    the provider, and so is another one that the buyer has begun for the same thing meanwhile. A captured payment whose
    buyer, tune or tuner is unknown here is parked as a difference, for staff to give back. Safe to repeat and in
    parallel: the purchase keeps its id. Talks to the provider, so never call it in a transaction.

    Raises: ServiceUnavailable.
    """
    try:
        if intent.is_live:
            with provider_answers():
                intent = payments.cancel_intent(intent.id)
    except payments.ProviderRefused:
        return None
    if not intent.is_paid:
        return None
    try:
        purchase = _write(intent, at=at)
    except (CannotRebuild, PaymentMismatch) as why:
        note_difference(object_id=intent.id, intent=intent, reason=DifferenceReason.NOT_REBUILT, ours=str(why), at=at)
        log.error("purchase_not_rebuilt", intent=intent.id, why=str(why))
        return None
    for rival in Purchase.objects.filter(
        buyer_id=purchase.buyer_id, tune_id=purchase.tune_id, vehicle_id=purchase.vehicle_id, status=PurchaseStatus.PENDING
    ):
        try:
            end_payment(purchase=rival, status=PurchaseStatus.CANCELED, at=at)
        except (PaymentMismatch, NotForSale) as trouble:
            log.error("rival_not_ended", purchase=str(rival.pk), why=str(trouble))
    take_up_parked(intent_id=intent.id)
    return purchase


def _write(intent: Intent, *, at: datetime) -> Purchase:
    """The purchase as the metadata has it, paid. It is written as one that ran out, which a payment revives."""
    said = intent.metadata
    purchase_id = purchase_id_in(intent)
    buyer = _find(User.objects.filter(deleted_at=None), said, "buyer")
    tune = _find(Tune.objects.all(), said, "tune")
    tuner = _find(TunerProfile.objects.all(), said, "tuner")
    vehicle_id = _id(said, "vehicle")
    if purchase_id is None or vehicle_id is None or buyer is None or tune is None or tuner is None or tune.tuner_id != tuner.pk:
        unknown = [name for name, row in (("buyer", buyer), ("tune", tune), ("tuner", tuner)) if row is None]
        raise CannotRebuild(f"{' and '.join(unknown) or 'something'} of the lost purchase is unknown here")
    vehicle = _find(Vehicle.objects.filter(owner=buyer), said, "vehicle")
    acknowledged = sorted(code for name in sorted(said) if name.startswith("acknowledged_") for code in said[name].split(",") if code)
    try:
        with transaction.atomic():
            purchase, is_new = Purchase.objects.get_or_create(
                pk=purchase_id,
                defaults={
                    "number": said.get("number", ""),
                    "buyer": buyer,
                    "tune": tune,
                    "tune_version_id": _id(said, "tune_version"),
                    "tuner": tuner,
                    "tune_title": tune.title,
                    "seller_name": tuner.business_name,
                    "vehicle_id": vehicle_id,
                    "vehicle_identity_hashes": identity_hashes_of(vehicle) if vehicle else [],
                    "vehicle_name": f"{vehicle.make} {vehicle.model} {vehicle.year}" if vehicle else "",
                    "status": PurchaseStatus.EXPIRED,
                    "closed_at": at,
                    "amount_minor": intent.amount_minor,
                    "currency": intent.currency,
                    "tax_minor": _number(said, "tax_minor"),
                    "tax_rate_basis_points": _number(said, "tax_rate_basis_points"),
                    "tax_country": said.get("tax_country", ""),
                    "fee_basis_points": _number(said, "fee_basis_points"),
                    "fee_minor": _number(said, "fee_minor"),
                    "fitment_verdict": said.get("verdict", "unknown"),
                    "acknowledged_reasons": acknowledged,
                    "attestation_text_version": said.get("attestation_version", ""),
                    "attestation_sha256": said.get("attestation_sha256", NO_HASH),
                    "attested_at": _moment(said, "attested_at", otherwise=intent.created_at),
                    "created_at": intent.created_at,
                    "expires_at": intent.created_at + PENDING_FOR,
                },
            )
            if is_new:
                number = max(_number(said, "attempt"), 1)
                PaymentAttempt.objects.create(
                    purchase=purchase, attempt=number, state=PaymentAttemptState.CANCELED, intent_id=intent.id,
                    created_at=intent.created_at, ended_at=at,
                )  # fmt: skip
                audit.record(act="purchase.rebuilt", actor_id=None, subject_id=purchase.pk, at=at, intent=intent.id)
            return mark_purchase_paid(purchase_id=purchase.pk, intent=intent, at=at, paid_at=intent.created_at)
    except (IntegrityError, DataError, ValueError) as wrong:
        raise CannotRebuild(f"what the provider keeps of the lost purchase can't be written: {_constraint(wrong)}") from wrong


def _find(rows: QuerySet[M], said: Mapping[str, str], name: str) -> M | None:
    row_id = _id(said, name)
    return rows.filter(pk=row_id).first() if row_id else None


def _id(said: Mapping[str, str], name: str) -> UUID | None:
    try:
        return UUID(said.get(name, ""))
    except ValueError:
        return None


def _number(said: Mapping[str, str], name: str) -> int:
    """Raises ValueError for what is no number."""
    return int(said.get(name) or 0)


def _moment(said: Mapping[str, str], name: str, *, otherwise: datetime) -> datetime:
    found = parse_datetime(said.get(name, ""))
    return found if found is not None and abs(found - otherwise) < timedelta(days=7) else otherwise


def _constraint(wrong: Exception) -> str:
    """The constraint's name and no value of the row."""
    diagnosis = getattr(wrong.__cause__, "diag", None)
    return str(getattr(diagnosis, "constraint_name", None) or type(wrong).__name__)
