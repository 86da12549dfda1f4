"""What the listings side of the marketplace knows about a person: favourites. Purchases have a provider of their own."""

import uuid
from typing import Any

from marketplace.models import Favorite
from users.privacy import Provider


def _stats(user_id: uuid.UUID) -> dict[str, int]:
    return {"favorites": Favorite.objects.filter(user_id=user_id).count()}


def _export(user_id: uuid.UUID) -> dict[str, Any]:
    rows = Favorite.objects.filter(user_id=user_id).order_by("created_at").values("tune_id", "tune__title", "created_at")
    return {
        "favorites": [
            {"tune": str(row["tune_id"]), "title": row["tune__title"], "created_at": row["created_at"].isoformat()} for row in rows
        ]
    }


def _erase(user_id: uuid.UUID, **_facts: Any) -> dict[str, Any]:
    deleted, _ = Favorite.objects.filter(user_id=user_id).delete()
    return {"goes": {"favorites": deleted}, "stays": {}}


FAVORITES = Provider(name="favorites", stats=_stats, export=_export, erase=_erase)
