"""A tune's own rating, moved by the reviews that `tuners` keeps."""

from uuid import UUID

from django.db.models import F

from marketplace.models import Tune


def move_rating(*, tune_id: UUID, rating_delta: int, count_delta: int) -> None:
    """Add to a tune's sum and count of ratings, inside the review's own transaction.

    Registered with `tuners.listeners.on_review`. One UPDATE, exact under any number of writers: the row's lock is held
    until the review is committed. A tune that is gone is nobody's loss.
    """
    Tune.objects.filter(pk=tune_id).update(rating_sum=F("rating_sum") + rating_delta, rating_count=F("rating_count") + count_delta)
