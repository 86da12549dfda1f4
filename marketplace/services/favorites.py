"""A rider's favourites."""

from datetime import datetime
from uuid import UUID

from marketplace.exceptions import TuneNotFound
from marketplace.models import Favorite, Tune
from users.models import User


def add_favorite(*, user: User, tune_id: UUID, at: datetime) -> None:
    """Mark a public tune. Idempotent: a constraint makes a double tap one favourite. Raises: TuneNotFound."""
    if not Tune.objects.public().filter(pk=tune_id).exists():
        raise TuneNotFound
    Favorite.objects.bulk_create([Favorite(user=user, tune_id=tune_id, created_at=at)], ignore_conflicts=True)


def remove_favorite(*, user: User, tune_id: UUID) -> None:
    """Unmark a tune. Idempotent: one that was not marked is fine, and tells nothing about the tune."""
    Favorite.objects.filter(user=user, tune_id=tune_id).delete()
