"""Similar, trending and followed tunes; saved searches."""

from core import clock
from core.testing.matrix import Call
from marketplace.policies.searches import MAX_SAVED_SEARCHES
from marketplace.tests.factories import SavedSearchFactory, TuneFactory
from revsync_backend.tests.recipes import recipe, refusal
from tuners.models import TunerFollow


@recipe("list_similar_tunes")
def _(kit, world):
    return Call(path={"tune": world.tune.pk}, query={"vehicle": kit.vehicle.pk}, refs=("?vehicle",))


@recipe("list_followed_tunes")
def _(kit, world):
    tune = TuneFactory(published=True)
    TunerFollow.objects.create(tuner=tune.tuner, follower=kit.user, created_at=clock.now())
    return Call()


def _query(world):
    return {"make": "Yamaha", "model": "mt 09", "currency": "EUR", "max_price_minor": 20_000, "tuner": str(world.tuner.pk)}


@recipe("list_saved_searches")
def _(kit, world):
    SavedSearchFactory(owner=kit.user)
    return Call()


@recipe("save_search")
def _(kit, world):
    body = {"name": "Anything new for it", "query": _query(world), "vehicle": kit.vehicle.pk}
    return Call(body=body, refs=("/vehicle",), open_refs=("/query/tuner",))


@recipe("get_saved_search", "delete_saved_search")
def _(kit, world):
    return Call(path={"saved_search": SavedSearchFactory(owner=kit.user).pk})


@recipe("update_saved_search")
def _(kit, world):
    body = {"name": "Cheaper ones", "query": _query(world), "vehicle": kit.vehicle.pk}
    path = {"saved_search": SavedSearchFactory(owner=kit.user).pk}
    return Call(path=path, body=body, refs=("/vehicle",), open_refs=("/query/tuner",))


# Refusals


@refusal("save_search", "saved_search_name_taken")
def _(kit, world):
    SavedSearchFactory(owner=kit.user, name="my bike")
    return Call(body={"name": "My bike", "query": {}})


@refusal("save_search", "too_many_saved_searches")
def _(kit, world):
    SavedSearchFactory.create_batch(MAX_SAVED_SEARCHES, owner=kit.user)
    return Call(body={"name": "One more", "query": {}})


@refusal("update_saved_search", "saved_search_name_taken")
def _(kit, world):
    SavedSearchFactory(owner=kit.user, name="my bike")
    return Call(path={"saved_search": SavedSearchFactory(owner=kit.user).pk}, body={"name": "My bike"})
