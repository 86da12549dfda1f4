"""News of tuners and tunes, for those who asked for them: each piece at most once for each person, and batched.

Who follows a tuner hears of a new tune. Who marked a tune hears of a new version of it and of a lower price; who owns it is told
of versions by `review.tell_owners`, with what changed, and of no price. Nothing is told of what is not on sale any more when the
worker comes to it, and nothing of a suspended tuner's.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from marketplace.enums import VersionStatus
from marketplace.models import Favorite, License, Tune, TuneVersion
from marketplace.money import amount_text
from tuners.models import TunerFollow
from users.enums import NoticeType
from users.services import notify_many

TOLD_AT_ONCE = 1000
WORTH_TELLING_PERCENT = 95  # of the lowest price that somebody knows: a cent a day is no news

# The condition is what makes it once: of two workers the second finds the price known. Rows that another one is just telling are
# skipped; should that one fail, its task runs again.
_LOWER = """
UPDATE marketplace_favorite marked SET known_price_minor = %(price)s
 WHERE marked.id IN (SELECT f.id FROM marketplace_favorite f
                      WHERE f.tune_id = %(tune)s AND f.known_currency = %(currency)s AND f.known_price_minor > %(price)s
                        AND f.known_price_minor::bigint * %(percent)s >= %(price)s::bigint * 100
                      ORDER BY f.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
RETURNING marked.id, marked.user_id,
          EXISTS (SELECT FROM marketplace_license l WHERE l.holder_id = marked.user_id AND l.tune_id = %(tune)s AND l.state <> 'REVOKED')
"""


def tell_of_new_tune(*, tune_id: UUID, at: datetime) -> None:
    """Tell a tuner's followers of a tune that was just published for the first time. Called by the worker. Idempotent."""
    tune = Tune.objects.listed().select_related("tuner").filter(pk=tune_id).first()
    if tune is None:
        return
    followers = TunerFollow.objects.filter(tuner_id=tune.tuner_id).order_by("pk").values_list("follower_id", flat=True)
    notify_many(
        ((user_id, f"new-tune:{tune.pk}") for user_id in _each(followers)),
        type=NoticeType.NEW_TUNE,
        title=f"New from {tune.tuner.business_name}",
        body=f"{tune.announcement}.",
        link={"resource": "tune", "id": tune.pk},
        at=at,
    )


def tell_of_new_version(*, version_id: UUID, at: datetime) -> None:
    """Tell those who marked a tune, and don't own it, that a newer version is out. Called by the worker. Idempotent."""
    version = TuneVersion.objects.filter(pk=version_id, status=VersionStatus.PUBLISHED, tune__listed=True).select_related("tune").first()
    if version is None:
        return
    owned = License.objects.valid().filter(holder_id=OuterRef("user_id"), tune_id=version.tune_id)
    marked = Favorite.objects.filter(~Exists(owned), tune_id=version.tune_id).order_by("pk").values_list("user_id", flat=True)
    notify_many(
        # the key of `tell_owners`: who buys it while both run is told once
        ((user_id, f"new-version:{version.pk}:{user_id}") for user_id in _each(marked)),
        type=NoticeType.NEW_VERSION,
        title=f"Version {version.version} is out",
        body=f"“{version.tune.title}”, which you marked, has a new version.\n\n{version.changelog}"[:4000].strip(),
        link={"resource": "tune_version", "id": version.pk},
        at=at,
    )


def tell_of_lower_price(*, tune_id: UUID, at: datetime) -> None:
    """Tell those who marked a tune that it costs at least 5 % less than ever since they marked it, in the same currency.

    What somebody was told is the price that they know from then on, so that a price which goes up and down is told once. Called by
    the worker. Idempotent. Locks the favourites, a thousand at a time.
    """
    tune = Tune.objects.listed().filter(pk=tune_id).first()
    if tune is None:
        return
    values = {"tune": tune.pk, "price": tune.price_minor, "currency": tune.currency}
    values |= {"percent": WORTH_TELLING_PERCENT, "limit": TOLD_AT_ONCE}
    text = "It is free now." if tune.is_free else f"It costs {amount_text(tune.price_minor, tune.currency)} now."
    while True:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_LOWER, values)
                rows = cursor.fetchall()
            notify_many(
                ((user_id, f"price:{favorite_id}:{tune.price_minor}") for favorite_id, user_id, owns in rows if not owns),
                type=NoticeType.PRICE_DROP,
                title=f"“{tune.title}” costs less",
                body=text,
                link={"resource": "tune", "id": tune.pk},
                at=at,
            )
        if len(rows) < TOLD_AT_ONCE:
            return


def _each(ids: QuerySet) -> Iterator[UUID]:
    return ids.iterator(chunk_size=TOLD_AT_ONCE)
