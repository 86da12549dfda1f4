"""What downloads, tickets and flash reports know about a person. The logs stay, pseudonymous: they are how it is proved which
bytes went where. Of a vehicle they hold ids only; the identity tag of a ticket is stored nowhere."""

import uuid
from typing import Any

from marketplace.models import Download, Flash, FlashTicket, StopAcknowledgement
from users.privacy import Provider

DOWNLOAD_COLUMNS = (
    "id", "purchase_id", "kind", "outcome", "code", "vehicle_id", "version_id", "file_id", "ticket_blockers", "device_key", "app_version",
    "created_at",
)  # fmt: skip
TICKET_COLUMNS = ("id", "purchase_id", "vehicle_id", "version_id", "device_key", "issued_at", "expires_at", "reported_at")
FLASH_COLUMNS = (
    "id", "ticket_id", "vehicle_id", "version_id", "outcome", "ecu_before", "ecu_after", "app_version", "flashed_at", "received_at",
)  # fmt: skip


def _stats(user_id: uuid.UUID) -> dict[str, int]:
    return {"flashes": Flash.objects.filter(reporter_id=user_id).count()}


def _export(user_id: uuid.UUID) -> dict[str, Any]:
    return {
        "downloads": list(Download.objects.filter(buyer_id=user_id).order_by("pk").values(*DOWNLOAD_COLUMNS)),
        "flash_tickets": list(FlashTicket.objects.filter(holder_id=user_id).order_by("pk").values(*TICKET_COLUMNS)),
        "flashes": list(Flash.objects.filter(reporter_id=user_id).order_by("received_at").values(*FLASH_COLUMNS)),
    }


def _erase(user_id: uuid.UUID, **_facts: Any) -> dict[str, Any]:
    """Forget what need not be kept. Idempotent."""
    acknowledgements, _ = StopAcknowledgement.objects.filter(user_id=user_id).delete()
    return {
        "goes": {"acknowledgements of recalls": acknowledgements},
        "stays": {
            "downloads, flash tickets and flash reports": "they prove which bytes were handed out and written, under opaque ids, "
            "as long as the tune may be on a vehicle"
        },
    }


FLASHES = Provider(name="flashes", stats=_stats, export=_export, erase=_erase)
