"""What riders come upon without searching for it, and searches that tell them."""

from rest_framework.response import Response

from core.exceptions import NotAuthenticated
from core.pagination import Key, Ordering
from core.views import ApiView
from marketplace.fitment import Verdict
from marketplace.selectors import discovery, saved_searches, tunes
from marketplace.selectors.browse import COLUMN_COUNT, find_scope
from marketplace.selectors.fitment import get_vehicle_facts
from marketplace.serializers.tunes import render_row
from marketplace.services import saved_searches as services
from marketplace.views.tunes import SqlPageView

NEWEST = Ordering("newest", Key("created_at", desc=True), Key("id", desc=True))


class SimilarTunesView(ApiView):
    def get(self, request, tune):
        """Other tunes for the same models, the closest first; with `vehicle`, those like this one for your own."""
        params = self.params()
        vehicle = None
        if "vehicle" in params:
            if request.user is None:
                raise NotAuthenticated
            vehicle = get_vehicle_facts(owner=request.user, vehicle_id=params["vehicle"])
        rows = discovery.list_similar(tunes.get_public_tune(tune, request.user), vehicle=vehicle)
        results = [render_row(row) for row in rows]
        if vehicle is not None:
            for result, row in zip(results, rows, strict=True):
                result["fitment"] = Verdict(row[COLUMN_COUNT]).as_dict()
        return Response({"results": results})


class TrendingTunesView(SqlPageView):
    def get(self, request):
        """What riders take up now: bought, flashed and marked, by how many accounts and how lately. Whatever it costs."""
        params = self.params()
        after, size = self.position(params, "trending"), params["page_size"]
        scope = find_scope(params.get("make"), params.get("model"))
        rows = [] if scope is None else discovery.list_trending(scope, kind=params.get("kind"), after=after, limit=size + 1)
        return self.page_of(rows, size, "trending")


class FollowedTunesView(SqlPageView):
    def get(self, request):
        """Tunes of the tuners whom you follow, by their newest version on sale."""
        params = self.params()
        after, size = self.position(params, "newest"), params["page_size"]
        return self.page_of(discovery.list_followed(request.user.pk, after=after, limit=size + 1), size, "newest")


class SavedSearchListView(ApiView):
    def get(self, request):
        """Your saved searches, newest first."""
        return self.page(saved_searches.list_saved_searches(request.user), NEWEST)

    def post(self, request):
        """Keep a search, and hear of tunes that come to match it: each once, several together. What matches already is no news."""
        body = self.body()
        body["vehicle_id"] = body.pop("vehicle", None)
        return self.create_once(
            lambda _claim: services.save_search(owner=request.user, at=self.at, **body),
            render=lambda search: self.endpoint.response(search).data,
            find=lambda search_id: saved_searches.get_saved_search(request.user, search_id),
        )


class SavedSearchView(ApiView):
    def get(self, request, saved_search):
        """One of your saved searches."""
        return Response(self.endpoint.response(saved_searches.get_saved_search(request.user, saved_search)).data)

    def patch(self, request, saved_search):
        """Change a saved search; `query` is sent as a whole."""
        changes, revision = self.body(), self.revision()
        changed = services.change_search(owner=request.user, search_id=saved_search, changes=changes, revision=revision, at=self.at)
        return Response(self.endpoint.response(changed).data)

    def delete(self, request, saved_search):
        """Forget a saved search."""
        services.delete_search(owner=request.user, search_id=saved_search, revision=self.revision())
        return Response(status=204)
