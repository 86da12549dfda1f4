from core.endpoints import Endpoint
from core.permissions import ActiveTuner, Authenticated, Public, TunerOrCreator
from core.serializers import PageQuery
from marketplace.serializers import reviews as review_shapes
from marketplace.serializers import tunes as shapes
from marketplace.serializers import versions as version_shapes
from marketplace.views import reviews as review_views
from marketplace.views import tunes as views
from marketplace.views import versions as version_views

TUNE = "marketplace/tunes/<uuid:tune>/"
VERSION = "marketplace/versions/<uuid:version>/"

# fmt: off
ENDPOINTS: list[Endpoint] = [
    # Everybody
    Endpoint(
        "GET", "marketplace/tunes/", views.TuneListView, "list_tunes", "Browse and search tunes",
        access=Public, query=shapes.TuneListQuery, response=shapes.TuneRowOutput, paginated=True,
        problems=("not_authenticated", "not_found"), cache="public",
    ),
    Endpoint(
        "GET", "marketplace/tunes/facets/", views.TuneFacetsView, "get_tune_facets", "Count tunes by category, make and more",
        access=Public, query=shapes.FacetsQuery, response=shapes.FacetsOutput, cache="public",
    ),
    Endpoint(
        "GET", "marketplace/tunes/suggest/", views.TuneSuggestView, "suggest_tunes", "Complete what a rider types",
        access=Public, query=shapes.SuggestQuery, response=shapes.SuggestionsOutput, cache="public",
    ),
    Endpoint(
        "GET", TUNE, views.TuneDetailView, "get_tune", "Read a tune",
        access=Public, response=shapes.TuneDetailOutput, cache="public",
    ),
    Endpoint(
        "GET", f"{TUNE}versions/", version_views.TuneVersionListView, "list_tune_versions", "Read a tune's history",
        access=Public, query=version_shapes.VersionListQuery, response=version_shapes.VersionOutput, paginated=True, cache="public",
    ),
    Endpoint(
        "GET", f"{TUNE}reviews/", review_views.TuneReviewListView, "list_tune_reviews", "Read a tune's reviews",
        access=Public, query=review_shapes.TuneReviewsQuery, response=review_shapes.TuneReviewOutput, paginated=True,
        problems=("not_authenticated",), cache="public",
    ),
    Endpoint(
        "GET", f"{TUNE}same-bike/", review_views.TuneSameBikeView, "get_tune_same_bike", "Ask what riders of the same bike say",
        access=Public, query=review_shapes.SameBikeQuery, response=review_shapes.SameBikeOutput,
        problems=("not_authenticated",), cache="public",
    ),
    Endpoint(
        "GET", f"{TUNE}fitment/", views.TuneFitmentView, "get_tune_fitment", "Ask whether a tune fits my vehicle",
        access=Authenticated, scope="owner", query=shapes.VehicleQuery, response=shapes.TuneVerdictOutput,
    ),
    Endpoint(
        "GET", "tuners/<uuid:tuner>/tunes/", views.TunerTuneListView, "list_tunes_of_tuner", "Read a tuner's tunes",
        access=Public, query=PageQuery, response=shapes.TuneRowOutput, paginated=True, cache="public",
    ),
    Endpoint(
        "POST", "tuners/<uuid:tuner>/reviews/", review_views.TuneReviewCreateView, "create_tune_review", "Review a tune that I bought",
        access=Authenticated, scope="buyer", request=review_shapes.TuneReviewInput, response=review_shapes.TuneReviewOutput, status=201,
        problems=("verified_buyer_required", "already_reviewed", "own_tuner"), idempotency="honoured", audit="review.posted",
    ),
    # Riders
    Endpoint(
        "PUT", f"{TUNE}favorite/", views.FavoriteView, "add_favorite", "Mark a tune",
        access=Authenticated, status=204,
    ),
    Endpoint(
        "DELETE", f"{TUNE}favorite/", views.FavoriteView, "remove_favorite", "Unmark a tune",
        access=Authenticated, status=204,
    ),
    Endpoint(
        "GET", "marketplace/favorites/", views.FavoriteListView, "list_favorites", "List my favourites",
        access=Authenticated, scope="owner", query=PageQuery, response=shapes.FavoriteOutput, paginated=True,
    ),
    # Tuners: listings
    Endpoint(
        "GET", "tuners/me/tunes/", views.OwnTuneListView, "list_own_tunes", "List my tunes",
        access=TunerOrCreator, scope="tuner_of", query=shapes.OwnTuneListQuery, response=shapes.OwnTuneOutput, paginated=True,
    ),
    Endpoint(
        "POST", "marketplace/tunes/", views.TuneListView, "create_tune", "Make a listing",
        access=ActiveTuner, scope="tuner_of", request=shapes.TuneInput, response=shapes.OwnTuneOutput, status=201,
        idempotency="honoured", audit="tune.created",
    ),
    Endpoint(
        "PATCH", TUNE, views.TuneDetailView, "update_tune", "Change a listing",
        access=ActiveTuner, scope="tuner_of", request=shapes.TuneInput, response=shapes.OwnTuneOutput,
        problems=("tune_suspended",), revisioned=True,
    ),
    Endpoint(
        "DELETE", TUNE, views.TuneDetailView, "delete_tune", "Delete a tune that nobody bought",
        access=ActiveTuner, scope="tuner_of", status=204, problems=("tune_in_use", "tune_suspended"), audit="tune.deleted",
    ),
    Endpoint(
        "POST", f"{TUNE}archive/", views.TuneArchiveView, "archive_tune", "Take a tune off the lists",
        access=ActiveTuner, scope="tuner_of", response=shapes.OwnTuneOutput,
        problems=("invalid_transition", "tune_suspended"), audit="tune.archived",
    ),
    Endpoint(
        "POST", f"{TUNE}unarchive/", views.TuneUnarchiveView, "unarchive_tune", "Put a tune back on the lists",
        access=ActiveTuner, scope="tuner_of", response=shapes.OwnTuneOutput,
        problems=("invalid_transition", "tune_suspended"), audit="tune.unarchived",
    ),
    # Tuners: versions
    Endpoint(
        "POST", "marketplace/inspections/", version_views.InspectionView, "inspect_upload", "Inspect an upload without keeping it",
        access=ActiveTuner, scope="owner", request=version_shapes.InspectionInput, response=version_shapes.InspectionOutput,
        problems=("service_unavailable",), limit="inspections_account", audit="upload.inspected",
    ),
    Endpoint(
        "POST", f"{TUNE}versions/", version_views.TuneVersionListView, "create_tune_version", "Upload a version",
        access=ActiveTuner, scope="tuner_of", request=version_shapes.VersionInput, response=version_shapes.OwnVersionOutput, status=201,
        problems=("version_number_taken", "too_many_unpublished_versions", "tune_suspended"), idempotency="honoured",
        audit="tune_version.created",
    ),
    Endpoint(
        "GET", VERSION, version_views.VersionDetailView, "get_tune_version", "Read a version",
        access=Public, response=version_shapes.VersionDetailOutput,
        description="Everybody sees what was ever published. `inspection`, `review`, `revision`, `created_at` and `submitted_at` are"
        " its tuner's only.",
    ),
    Endpoint(
        "PATCH", VERSION, version_views.VersionDetailView, "update_tune_version", "Change an unpublished version",
        access=ActiveTuner, scope="tuner_of", request=version_shapes.VersionPatchInput, response=version_shapes.OwnVersionOutput,
        problems=("version_not_editable", "tune_suspended"), revisioned=True,
    ),
    Endpoint(
        "DELETE", VERSION, version_views.VersionDetailView, "delete_tune_version", "Delete an unpublished version",
        access=ActiveTuner, scope="tuner_of", status=204, problems=("version_was_published", "version_was_tested", "version_not_editable"),
        audit="tune_version.deleted",
    ),
    Endpoint(
        "POST", f"{VERSION}submit/", version_views.VersionSubmitView, "submit_tune_version", "Submit a version for review",
        access=ActiveTuner, scope="tuner_of", response=version_shapes.OwnVersionOutput,
        problems=("invalid_transition", "publish_blocked", "tune_suspended"), audit="tune_version.submitted",
    ),
    Endpoint(
        "POST", f"{VERSION}cancel-review/", version_views.VersionCancelReviewView, "cancel_version_review", "Take a version out of review",
        access=ActiveTuner, scope="tuner_of", response=version_shapes.OwnVersionOutput,
        problems=("invalid_transition",), audit="tune_version.review_canceled",
    ),
    Endpoint(
        "POST", f"{VERSION}withdraw/", version_views.VersionWithdrawView, "withdraw_tune_version", "Stop selling a version",
        access=ActiveTuner, scope="tuner_of", response=version_shapes.OwnVersionOutput,
        problems=("invalid_transition",), audit="tune_version.withdrawn",
    ),
    Endpoint(
        "POST", f"{VERSION}hold/", version_views.VersionHoldView, "hold_tune_version", "Stop downloads of a version at once",
        access=TunerOrCreator, scope="tuner_of", request=version_shapes.HoldInput, response=version_shapes.OwnVersionOutput,
        problems=("invalid_transition",), audit="tune_version.held",
    ),
]
# fmt: on
