"""Parts listed on a vehicle."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from core.testing.http import ApiClient, client_for
from core.testing.races import race
from garage import policies, services
from garage.models import VehicleMod
from garage.tests.factories import MADE_AT, VehicleFactory, VehicleModFactory
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BODY = {
    "category": "EXHAUST",
    "brand": "Akrapovič",
    "part": "Racing Line",
    "installed_on": "2024-05-01",
    "notes": "with dB killer\nand map",
}


@pytest.fixture
def client(db):
    client = client_for(UserFactory())
    client.vehicle = VehicleFactory(owner=client.user)
    client.url = f"garage/vehicles/{client.vehicle.pk}/mods/"
    return client


def test_is_answered_as_it_was_sent(client):
    answer = client.post(client.url, BODY)

    assert answer.status_code == 201
    mod = answer.json()
    assert {name: mod[name] for name in BODY} == BODY
    assert mod["revision"] == 1
    assert client.get(f"{client.url}{mod['id']}/").json() == mod
    assert client.get(f"garage/vehicles/{client.vehicle.pk}/").json()["mods"] == [mod]


def test_needs_only_a_category(client):
    mod = client.post(client.url, {"category": "ECU"}).json()

    assert (mod["brand"], mod["part"], mod["installed_on"], mod["notes"]) == ("", "", None, "")


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"category": "WINGS"}, "/category", "invalid_choice"),
        ({"category": None}, "/category", "null"),
        ({"brand": "x" * 61}, "/brand", "max_length"),
        ({"part": "a\nb"}, "/part", "control_character"),
        ({"notes": "x" * 2001}, "/notes", "max_length"),
        ({"installed_on": "2024-13-01"}, "/installed_on", "invalid"),
        ({"installed_on": "9999-01-01"}, "/installed_on", "in_future"),
        ({"revision": 2}, "/revision", "unknown_field"),
        ({"vehicle": "x"}, "/vehicle", "unknown_field"),
    ],
)
def test_refuses_what_is_wrong(client, changes, pointer, code):
    answer = client.post(client.url, {**BODY, **changes})

    assert answer.status_code == 400
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert not VehicleMod.objects.exists()


def test_is_changed_with_its_own_revision(client):
    mod = client.post(client.url, BODY).json()
    url = f"{client.url}{mod['id']}/"

    changed = client.patch(url, {"notes": "sold"}, HTTP_IF_MATCH='"1"').json()

    assert (changed["notes"], changed["brand"], changed["revision"]) == ("sold", BODY["brand"], 2)
    assert client.patch(url, {"notes": "x"}, HTTP_IF_MATCH='"1"').json()["code"] == "stale_revision"
    assert client.delete(url, HTTP_IF_MATCH='"1"').status_code == 412
    assert client.patch(url, {"installed_on": "9999-01-01"}).status_code == 400
    assert client.delete(url).status_code == 204
    assert client.delete(url).status_code == 404


def test_client_made_ids_are_idempotent(client):
    made = str(uuid.uuid4())

    assert client.post(client.url, {**BODY, "id": made}).status_code == 201
    assert client.post(client.url, {**BODY, "id": made}).status_code == 200
    assert client.post(client.url, {**BODY, "id": made, "brand": "other"}).json()["code"] == "id_taken"
    other = VehicleFactory(owner=client.user)
    assert client.post(f"garage/vehicles/{other.pk}/mods/", {**BODY, "id": made}).json()["code"] == "id_taken"


def test_an_idempotency_key_finds_the_first_answer(client):
    answers = [client.post(client.url, BODY, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2)]

    assert answers[0].json() == answers[1].json()
    assert VehicleMod.objects.count() == 1


def test_a_vehicle_has_room_for_so_many(client, monkeypatch):
    monkeypatch.setattr(policies, "MAX_MODS", 1)
    client.post(client.url, BODY)

    answer = client.post(client.url, BODY)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_mods")


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_foreign_and_missing_are_the_same(client, method):
    foreign = VehicleModFactory()
    own = VehicleModFactory(vehicle=VehicleFactory(owner=client.user))
    call, body = getattr(client, method), ([{"brand": "x"}] if method == "patch" else [])
    urls = [
        f"garage/vehicles/{foreign.vehicle_id}/mods/{foreign.pk}/",
        f"{client.url}{foreign.pk}/",
        f"{client.url}{own.pk}/",  # on another vehicle
        f"{client.url}{uuid.uuid4()}/",
    ]

    answers = [call(url, *body) for url in urls]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}


def test_a_foreign_vehicle_has_no_list(client):
    url = f"garage/vehicles/{VehicleFactory().pk}/mods/"

    assert (client.get(url).status_code, client.post(url, BODY).status_code, ApiClient().get(url).status_code) == (404, 404, 401)


@pytest.mark.parametrize("rows", [1, 20])
def test_the_list_takes_three_queries_whatever_the_rows(client, django_assert_num_queries, rows):
    for number in range(rows):
        VehicleModFactory(vehicle=client.vehicle, created_at=MADE_AT + timedelta(minutes=number))

    with django_assert_num_queries(3):  # session, vehicle, mods
        found = client.get(client.url).json()["results"]
    assert [mod["created_at"] for mod in found] == sorted(mod["created_at"] for mod in found)
    assert len(found) == rows


@pytest.mark.django_db(transaction=True)
class TestTwoPartsAtOnce:
    """The last place in a vehicle's list."""

    def test_one_gets_it(self, monkeypatch):
        monkeypatch.setattr(policies, "MAX_MODS", 1)
        vehicle = VehicleFactory()

        assert race(lambda: services.add_mod(owner=vehicle.owner, vehicle_id=vehicle.pk, at=NOW, category="ECU")) == ["ok", "too_many_mods"]

    def test_control_without_the_lock_both_do(self, monkeypatch):
        monkeypatch.setattr(policies, "MAX_MODS", 1)
        vehicle = VehicleFactory()

        def add():
            services.add_mod(owner=vehicle.owner, vehicle_id=vehicle.pk, at=NOW, category="ECU")

        assert race(add, row_locks=False, meet_after="COUNT(*)") == ["ok", "ok"]
