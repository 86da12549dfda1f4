"""A rider's favourites."""

from datetime import datetime
from uuid import UUID

from django.db import connection

from core.ids import new_id
from marketplace.exceptions import TuneNotFound
from marketplace.models import Favorite, Tune
from users.models import User

# KEY SHARE: a tuner who deletes the tune at this moment is waited for, and then there is nothing to mark.
_ADD = """
INSERT INTO marketplace_favorite (id, user_id, tune_id, created_at, known_price_minor, known_currency)
SELECT %s, %s, t.id, %s, t.price_minor, t.currency FROM marketplace_tune t WHERE t.id = %s AND t.status IN ('PUBLISHED', 'ARCHIVED')
   FOR KEY SHARE OF t ON CONFLICT DO NOTHING
"""


def add_favorite(*, user: User, tune_id: UUID, at: datetime) -> None:
    """Mark a public tune, and remember what it costs. Idempotent: a constraint makes a double tap one favourite.

    Locks the tune's key. Raises: TuneNotFound.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [new_id(), user.pk, at, tune_id])
        if cursor.rowcount == 0 and not Tune.objects.public().filter(pk=tune_id).exists():
            raise TuneNotFound


def remove_favorite(*, user: User, tune_id: UUID) -> None:
    """Unmark a tune. Idempotent: one that was not marked is fine, and tells nothing about the tune."""
    Favorite.objects.filter(user=user, tune_id=tune_id).delete()
