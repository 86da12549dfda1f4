from core.endpoints import Endpoint
from core.permissions import Authenticated, Public
from core.serializers import PageQuery
from marketplace.serializers import discovery as shapes
from marketplace.serializers.tunes import TuneRowOutput
from marketplace.views import discovery as views

SAVED_SEARCH = "marketplace/saved-searches/<uuid:saved_search>/"

# fmt: off
ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "GET", "marketplace/tunes/<uuid:tune>/similar/", views.SimilarTunesView, "list_similar_tunes", "Find tunes like this one",
        access=Public, query=shapes.SimilarQuery, response=shapes.SimilarOutput, problems=("not_authenticated",), cache="public",
    ),
    Endpoint(
        "GET", "marketplace/tunes/trending/", views.TrendingTunesView, "list_trending_tunes", "See what is taken up now",
        access=Public, query=shapes.TrendingQuery, response=TuneRowOutput, paginated=True, cache="public",
    ),
    Endpoint(
        "GET", "marketplace/tunes/followed/", views.FollowedTunesView, "list_followed_tunes", "See what is new of tuners I follow",
        access=Authenticated, scope="owner", query=PageQuery, response=TuneRowOutput, paginated=True,
    ),
    Endpoint(
        "GET", "marketplace/saved-searches/", views.SavedSearchListView, "list_saved_searches", "List my saved searches",
        access=Authenticated, scope="owner", query=PageQuery, response=shapes.SavedSearchOutput, paginated=True,
    ),
    Endpoint(
        "POST", "marketplace/saved-searches/", views.SavedSearchListView, "save_search", "Save a search",
        access=Authenticated, scope="owner", request=shapes.SavedSearchInput, response=shapes.SavedSearchOutput, status=201,
        problems=("not_found", "saved_search_name_taken", "too_many_saved_searches"), idempotency="honoured",
    ),
    Endpoint(
        "GET", SAVED_SEARCH, views.SavedSearchView, "get_saved_search", "Read a saved search",
        access=Authenticated, scope="owner", response=shapes.SavedSearchOutput,
    ),
    Endpoint(
        "PATCH", SAVED_SEARCH, views.SavedSearchView, "update_saved_search", "Change a saved search",
        access=Authenticated, scope="owner", request=shapes.SavedSearchInput, response=shapes.SavedSearchOutput, revisioned=True,
        problems=("saved_search_name_taken",),
    ),
    Endpoint(
        "DELETE", SAVED_SEARCH, views.SavedSearchView, "delete_saved_search", "Forget a saved search",
        access=Authenticated, scope="owner", status=204, revisioned=True,
    ),
]
# fmt: on
