"""The generated checks bite: each broken promise of a made-up route is caught by the check that is meant for it.

Every mutant here is a route that works, with a row that declares more than its view keeps.
"""

import types
import uuid
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.test import override_settings
from django.urls import clear_url_caches, include, path
from rest_framework import serializers
from rest_framework.response import Response

from core import idempotency
from core.endpoints import Endpoint, urlpatterns_of
from core.exceptions import NotFound, PermissionRefused
from core.permissions import ActiveTuner, AdminOnly, Authenticated, Public
from core.schema import codes_of
from core.serializers import Input, PageQuery
from core.testing import answers, lists, manners, matrix
from core.testing.matrix import Call
from core.views import ApiView
from garage.exceptions import VinInGarage
from garage.models import Vehicle
from garage.tests.factories import VehicleFactory
from garage.views import NEWEST
from revsync_backend.tests.test_endpoint_table import check_urls
from revsync_backend.urls import all_endpoints

pytestmark = pytest.mark.django_db


class Names(Input):
    nickname = serializers.CharField(max_length=20)


class Looser(serializers.Serializer):
    """Takes what it does not know, silently."""

    nickname = serializers.CharField(max_length=20)


class Shape(serializers.Serializer):
    id = serializers.UUIDField()
    revision = serializers.IntegerField()


class Sound(ApiView):
    """Keeps everything that its rows declare: no check may complain of it."""

    def get(self, request, vehicle):
        found = Vehicle.objects.filter(owner=request.user, pk=vehicle).first()
        return self.found(found)

    def found(self, vehicle):
        if vehicle is None:
            raise NotFound
        return Response({"id": vehicle.pk, "revision": vehicle.revision})


class SkipsItsPolicy(Sound):
    def get_permissions(self):
        return []

    def get(self, request, vehicle):
        return Response({"id": vehicle, "revision": 1})


class AsksAnotherPolicy(Sound):
    def get_permissions(self):
        return [Authenticated()]


class ShowsEverybodys(Sound):
    def get(self, request, vehicle):
        return self.found(Vehicle.objects.filter(pk=vehicle).first())


class TellsForeignFromMissing(Sound):
    def get(self, request, vehicle):
        found = Vehicle.objects.filter(pk=vehicle).first()
        if found is not None and found.owner_id != request.user.pk:
            raise PermissionRefused
        return self.found(found)


class TakesLongerForForeign(Sound):
    def get(self, request, vehicle):
        found = Vehicle.objects.filter(pk=vehicle).first()
        if found is not None and not Vehicle.objects.filter(pk=vehicle, owner=request.user).exists():
            found = None
        return self.found(found)


class AsksForNoStepUp(Sound):
    @property
    def endpoint(self):
        return replace(super().endpoint, step_up=False)


class CountsNothing(Sound):
    def check_limits(self, request):
        self._limit_headers = {}


class SoundPost(ApiView):
    def post(self, request):
        body = self.body()
        return self.create_once(
            lambda claim: VehicleFactory(owner=request.user, nickname=body["nickname"]),
            render=lambda vehicle: {"id": vehicle.pk, "revision": vehicle.revision},
            find=lambda vehicle_id: Vehicle.objects.get(pk=vehicle_id),
        )


class MakesTwo(SoundPost):
    def post(self, request):
        vehicle = VehicleFactory(owner=request.user, nickname=self.body()["nickname"])
        return Response({"id": vehicle.pk, "revision": 1}, status=201)


class SharesKeys(SoundPost):
    """Keys of all people in one pot."""

    def post(self, request):
        self.body()
        key = self._idempotency_key()
        claim = idempotency.begin(actor_id=uuid.UUID(int=0), operation=self.endpoint.name, key=key, fingerprint=b"", at=self.at)
        if claim.replayed_resource_id:
            vehicle = Vehicle.objects.get(pk=claim.replayed_resource_id)
            return Response({"id": vehicle.pk, "revision": 1}, status=201, headers={"Idempotency-Replayed": "true"})
        vehicle = VehicleFactory(owner=request.user)
        claim.complete(vehicle.pk)
        return Response({"id": vehicle.pk, "revision": 1}, status=201)


class ForgetsToReadTheBody(SoundPost):
    def post(self, request):
        vehicle = VehicleFactory(owner=request.user)
        return Response({"id": vehicle.pk, "revision": 1}, status=201)


class WritesBeforeItReads(SoundPost):
    def post(self, request):
        VehicleFactory(owner=request.user)
        return super().post(request)


class IgnoresIfMatch(ApiView):
    def patch(self, request, vehicle):
        self.body()
        return Response({"id": vehicle, "revision": 2})


class Caches(ApiView):
    """Says of a signed-in answer that everybody may keep it."""

    def get(self, request):
        return Response({}, headers={"Cache-Control": "public, max-age=30"})


class RefusesAfterWriting(ApiView):
    def get(self, request, vehicle):
        Vehicle.objects.filter(pk=vehicle).update(nickname="Changed")
        raise VinInGarage


class SetsACookie(Sound):
    def get(self, request, vehicle):
        answer = super().get(request, vehicle)
        answer.set_cookie("seen", "1")
        return answer


class OffsetPages(ApiView):
    """Pages by counting: rows that come and go shift them."""

    def get(self, request):
        params = self.params()
        start = int(params.get("cursor") or 0)
        rows = list(Vehicle.objects.filter(owner=request.user, deleted_at=None).order_by("-created_at", "-id"))
        part = rows[start : start + params["page_size"]]
        more = start + params["page_size"] < len(rows)
        following = self.next_url(str(start + params["page_size"])) if more else None
        return Response({"next": following, "results": [{"id": str(row.pk)} for row in part]})


def row(view, method="GET", route="mutants/<uuid:vehicle>/", **options):
    return Endpoint(
        method, route, view, "try_mutant", "Try a mutant", **{"access": Authenticated, "scope": "owner", "response": Shape, **options}
    )


@contextmanager
def served(endpoint):
    """The URLs of an API with this one operation."""
    module = types.ModuleType("mutant_urls")
    module.urlpatterns = [path("api/v1/", include(urlpatterns_of([endpoint])))]
    module.handler404 = "core.problems.path_not_found"
    module.handler500 = "core.problems.server_error"
    with override_settings(ROOT_URLCONF=module):
        clear_url_caches()
        yield endpoint
    clear_url_caches()


def own_vehicle(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk})


def new_vehicle(kit, world):
    return Call(body={"nickname": "Blue"})


def plain(kit, world):
    return Call()


def run_access(endpoint, world, recipe=own_vehicle, roles=matrix.ROLES):
    with served(endpoint):
        for role in roles:
            matrix.check_access(endpoint, role, recipe, world)


def run(name, endpoint, world, recipe=own_vehicle):
    checks = {check.name: check for check in manners.CHECKS}
    assert checks[name].applies(endpoint), "the check is not run on such a row"
    with served(endpoint):
        checks[name].run(manners.Probe(endpoint, recipe, world)) if not checks[name].harmless else _standing(
            checks[name], endpoint, recipe, world
        )


def _standing(check, endpoint, recipe, world):
    probe = manners.Probe(endpoint, recipe, world)
    with probe.standing():
        check.run(probe)


def caught(message=None):
    return pytest.raises(AssertionError, match=message)


class TestAccess:
    def test_a_sound_view_passes(self, world):
        run_access(row(Sound), world)

    @pytest.mark.parametrize("view", [SkipsItsPolicy, ShowsEverybodys, TellsForeignFromMissing, TakesLongerForForeign])
    def test_a_broken_view_is_caught(self, view, world):
        with caught():
            run_access(row(view), world)

    @pytest.mark.parametrize("access", [ActiveTuner, AdminOnly])
    def test_a_view_that_asks_another_policy_than_its_row_is_caught(self, access, world):
        with caught():
            run_access(row(AsksAnotherPolicy, access=access), world)

    def test_a_public_row_over_a_view_that_wants_a_token_is_caught(self, world):
        with caught():
            run_access(row(AsksAnotherPolicy, access=Public, scope=""), world, roles=["anonymous"])

    def test_an_access_class_that_nobody_described_is_caught(self, world):
        with caught("whom Curious refuses"):
            run_access(row(Sound, access=type("Curious", (Authenticated,), {})), world)

    def test_other_time_is_caught_by_the_statements(self, world):
        with caught("other time"):
            run_access(row(TakesLongerForForeign), world, roles=["rider"])

    def test_a_route_without_a_recipe_is_caught(self):
        for endpoint in (row(Sound), row(SoundPost, "POST", "mutants/", request=Names)):
            with caught("has no recipe"):
                matrix.check_recipe(endpoint, {})
        matrix.check_recipe(row(Caches, route="mutants/"), {})

    def test_an_id_in_a_body_that_its_recipe_does_not_name_is_caught(self):
        class WithId(Input):
            files = serializers.ListField(child=serializers.UUIDField())

        with caught("/files/0"):
            matrix.check_references_are_named(row(SoundPost, "POST", "mutants/", request=WithId), Call(body={}))

    def test_anothers_thing_in_a_body_is_caught(self, world):
        class VehicleId(Input):
            vehicle = serializers.UUIDField()

        class TakesAnyVehicle(ApiView):
            def post(self, request):
                return Response({"id": self.body()["vehicle"], "revision": 1})

        endpoint = row(TakesAnyVehicle, "POST", "mutants/", request=VehicleId)
        with served(endpoint), caught():
            matrix.check_references(endpoint, lambda kit, _world: Call(body={"vehicle": kit.vehicle.pk}, refs=("/vehicle",)), world)


class TestTheTable:
    def test_a_route_beside_the_table_is_caught(self):
        class Beside(ApiView):
            def get(self, request):
                return Response({})

        real = [path("api/v1/", include(urlpatterns_of(all_endpoints())))]
        check_urls(real, all_endpoints())
        with caught("beside"):
            check_urls([*real, path("api/v1/beside/", Beside.as_view())], all_endpoints())
        with caught("beside"):
            check_urls([*real, path("beside/", lambda request: None, name="beside")], all_endpoints())

    def test_a_row_that_is_not_served_is_caught(self):
        with caught("mutants"):
            check_urls([path("api/v1/", include(urlpatterns_of(all_endpoints())))], [*all_endpoints(), row(Sound)])

    @pytest.mark.parametrize(
        "options",
        [
            {"method": "POST", "status": 201, "request": Names},  # no key
            {"method": "PATCH", "request": Names},  # a revision without If-Match
            {"method": "DELETE", "request": Names, "status": 204, "response": None},
            {"cache": "public"},
            {"limit": "no_such_limit"},
            {"status": 204},
            {"paginated": True, "query": Names},
        ],
    )
    def test_a_row_against_the_contract_is_caught(self, options):
        method = options.pop("method", "GET")
        view = type("View", (ApiView,), {method.lower(): lambda self, request: None})
        with caught():
            manners.check_row(row(view, method, **options))


class TestManners:
    def test_a_sound_row_passes_every_check(self, world):
        endpoint = row(
            SoundPost, "POST", "mutants/", request=Names, status=201, idempotency="required", step_up=True, limit="uploads_account"
        )
        manners.check_row(endpoint)
        with served(endpoint):
            manners.run_harmless(manners.Probe(endpoint, new_vehicle, world))
        for check in manners.CHECKS:
            if check.applies(endpoint) and not check.harmless:
                run(check.name, endpoint, world, new_vehicle)

    @pytest.mark.parametrize(
        ("check", "view", "options"),
        [
            ("step_up", AsksForNoStepUp, {"step_up": True}),
            ("limit_of_its_own", CountsNothing, {"limit": "uploads_account"}),
            ("success", CountsNothing, {"limit": "uploads_account"}),
            ("success", SetsACookie, {}),
        ],
    )
    def test_a_broken_read_is_caught(self, check, view, options, world):
        with caught():
            run(check, row(view, **options), world)

    @pytest.mark.parametrize(
        ("check", "view", "options"),
        [
            ("idempotency", MakesTwo, {"idempotency": "honoured"}),
            ("idempotency", SharesKeys, {"idempotency": "honoured"}),
            ("idempotency_key_for_another_request", MakesTwo, {"idempotency": "honoured"}),
            ("idempotency_key_out_of_shape", MakesTwo, {"idempotency": "required"}),
            ("unknown_member", SoundPost, {"request": Looser}),
            ("unknown_member", ForgetsToReadTheBody, {}),
            ("unknown_member", WritesBeforeItReads, {}),
            ("body_that_is_no_json", ForgetsToReadTheBody, {}),
            ("wrong_media_type", ForgetsToReadTheBody, {}),
        ],
    )
    def test_a_broken_creation_is_caught(self, check, view, options, world):
        endpoint = row(view, "POST", "mutants/", **{"request": Names, "status": 201, **options})
        with caught():
            run(check, endpoint, world, new_vehicle)

    def test_an_edit_without_if_match_is_caught(self, world):
        endpoint = row(IgnoresIfMatch, "PATCH", request=Names, revisioned=True)
        with caught():
            run("if_match", endpoint, world, lambda kit, _world: Call(path={"vehicle": kit.vehicle.pk}, body={"nickname": "Blue"}))

    def test_a_private_answer_that_may_be_kept_is_caught(self, world):
        with caught():
            run("success", row(Caches, route="mutants/"), world, plain)


class TestRefusals:
    def refuse(self, view, world, code="vin_in_garage", **options):
        endpoint = row(view, problems=("vin_in_garage",), **options)
        with served(endpoint):
            manners.check_refusal(endpoint, code, own_vehicle, world)

    def test_a_refusal_that_does_not_come_is_caught(self, world):
        with caught("200"):
            self.refuse(Sound, world)

    def test_a_code_that_is_not_declared_is_caught(self, world):
        with caught("does not declare garage_full"):
            self.refuse(Sound, world, code="garage_full")

    def test_a_refusal_that_changed_something_is_caught(self, world):
        with caught("UPDATE"):
            self.refuse(RefusesAfterWriting, world)

    def test_a_declared_code_that_nothing_answered_is_told(self):
        every = {(endpoint.name, code) for endpoint in all_endpoints() for code in codes_of(endpoint)} - answers.FORGIVEN.keys()

        assert answers.differences(every) == ({}, {})
        assert answers.differences(every - {("change_review", "review_hidden")})[1] == {"change_review": ["review_hidden"]}
        assert answers.differences(every | {("get_me", "review_hidden")})[0] == {"get_me": ["review_hidden"]}

    @pytest.mark.parametrize(
        ("arguments", "whole"),
        [([], True), (["-m", "not long"], True), (["-m", "long"], False), (["-k", "vehicle"], False), (["core"], False)],
    )
    def test_only_a_whole_run_is_held_to_every_code(self, arguments, whole, pytestconfig):
        from _pytest.config import get_config

        config = get_config(arguments)
        config.parse([*arguments, "-c", str(pytestconfig.inipath), "-p", "no:django"])

        assert answers.is_whole(config) is whole


class TestLists:
    filling = lists.Filling(
        add=lambda kit, world: VehicleFactory(owner=kit.user).pk,
        remove=lambda row_id: Vehicle.objects.filter(pk=row_id).delete(),
    )

    def test_pages_by_offset_are_caught(self, world):
        endpoint = row(OffsetPages, route="mutants/", query=PageQuery, paginated=True)
        with served(endpoint):
            with caught():
                lists.check_walk(endpoint, plain, self.filling, world)
            with caught():
                lists.check_cursors(endpoint, plain, self.filling, world, endpoint)

    def test_a_walk_needs_a_filling_of_that_list(self, world):
        endpoint = row(OffsetPages, route="mutants/", query=PageQuery, paginated=True)
        with served(endpoint), caught("fills another list"):
            lists.check_walk(endpoint, plain, replace(self.filling, add=lambda kit, world: VehicleFactory().pk), world)

    def test_a_list_of_everybodys_things_is_caught(self, world):
        class Everybodys(ApiView):
            def get(self, request):
                return self.page(Vehicle.objects.all(), NEWEST, render=lambda vehicle: {"id": str(vehicle.pk)})

        endpoint = row(Everybodys, route="mutants/", query=PageQuery, paginated=True)
        with served(endpoint), caught():
            matrix.check_list_is_own(endpoint, plain, world)
