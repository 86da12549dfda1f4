"""What purchases know about a person. The books stay, pseudonymous: what identifies a vehicle in them goes."""

import uuid
from typing import Any

from django.db.models import Q

from marketplace.models import License, Purchase
from users.privacy import Provider

PURCHASE_COLUMNS = (
    "id", "number", "tune_id", "tune_title", "seller_name", "vehicle_id", "vehicle_name", "status", "amount_minor", "tax_minor", "currency",
    "refunded_minor", "acknowledged_reasons", "attestation_text_version", "attested_at", "created_at", "paid_at", "closed_at",
)  # fmt: skip
LICENSE_COLUMNS = ("id", "purchase_id", "state", "vehicle_id", "bound_at", "released_by_holder_at", "suspended_at", "revoked_at")


def _stats(user_id: uuid.UUID) -> dict[str, int]:
    return {"purchases": Purchase.objects.filter(buyer_id=user_id).ever_paid().count()}


def _export(user_id: uuid.UUID) -> dict[str, Any]:
    return {
        "purchases": list(Purchase.objects.filter(buyer_id=user_id).order_by("pk").values(*PURCHASE_COLUMNS)),
        "licenses": list(License.objects.filter(holder_id=user_id).order_by("pk").values(*LICENSE_COLUMNS)),
    }


def _erase(user_id: uuid.UUID, **_facts: Any) -> dict[str, Any]:
    """Forget by what a vehicle could be known again. Idempotent."""
    named = ~Q(vehicle_identity_hashes=[])
    purchases = Purchase.objects.filter(named, buyer_id=user_id).update(vehicle_identity_hashes=[])
    licenses = License.objects.filter(named, holder_id=user_id).update(vehicle_identity_hashes=[])
    return {
        "goes": {"vehicle identities of purchases": purchases, "vehicle identities of licenses": licenses},
        "stays": {"purchases, licenses, payments and ledger entries": "the books must be kept, under an opaque account id, for ten years"},
    }


PURCHASES = Provider(name="purchases", stats=_stats, export=_export, erase=_erase)
