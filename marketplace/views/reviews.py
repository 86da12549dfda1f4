"""Buyers' reviews of a tune, and what riders of the same bike say of it."""

from typing import Any

from rest_framework.response import Response

from core.exceptions import NotAuthenticated
from core.views import ApiView
from marketplace.models import MINIMUM_RIDERS
from marketplace.selectors import same_bike
from marketplace.selectors.tunes import get_public_tune
from marketplace.serializers.reviews import BIKE, SameBikeOutput, TuneReviewOutput
from marketplace.services import buyer_reviews
from tuners.selectors import NEWEST, get_review, list_reviews_of_tune


class TuneReviewListView(ApiView):
    def get(self, request, tune):
        """What buyers say of a tune, newest first; with a bike those who ride the same model, and how near theirs is.

        Reviews with the same ECU hardware number are told apart only where there are five of them.
        """
        params = self.params()
        found = get_public_tune(tune, request.user)
        if not BIKE & params.keys():
            return self.page(list_reviews_of_tune(found.pk), NEWEST, params=params)
        level = params.get("same_bike", same_bike.SameBike.MODEL)
        return self.page(same_bike.list_reviews_of_bike(found.pk, bike_of(request.user, params), level=level), NEWEST, params=params)


class TuneSameBikeView(ApiView):
    def get(self, request, tune):
        """Rating and flash success among bikes of the same model, generation and ECU hardware number.

        Of fewer than five riders together nothing is told, and flashes are added five riders at a time, once a day, so
        that no two answers tell of a single one. No names, no dates.
        """
        found = get_public_tune(tune, request.user)
        levels = same_bike.find_figures(found.pk, bike_of(request.user, self.params()))
        return Response(SameBikeOutput({"minimum": MINIMUM_RIDERS, "levels": levels}).data)


class TuneReviewCreateView(ApiView):
    def post(self, request, tuner):
        """Review a tune that you bought from this tuner; one for each tune."""
        body = self.body()
        return self.create_once(
            lambda _claim: buyer_reviews.review_tune(
                author=request.user, tuner_id=tuner, tune_id=body["tune"], rating=body["rating"], text=body.get("text", ""), at=self.at
            ),
            render=lambda review: TuneReviewOutput(get_review(review.pk)).data,
            find=get_review,
        )


def bike_of(user: Any, params: dict[str, Any]) -> same_bike.Bike:
    """The bike that a query names. Raises: NotAuthenticated, VehicleNotFound."""
    if "vehicle" not in params:
        return same_bike.find_bike(
            params["make"], params["model"], year=params.get("year"), hardware_number=params.get("hardware_number", "")
        )
    if user is None:
        raise NotAuthenticated
    return same_bike.get_own_bike(user, params["vehicle"])
