"""Vehicles: adding, changing, deleting, finding again what changed, and what two phones may not do to each other."""

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core.crypto import keyed_hash
from core.exceptions import StaleRevision
from core.models import AuditEvent
from core.renderers import utc_text
from core.testing.http import ApiClient, client_for
from core.testing.races import race, race_all
from core.testing.tasks import run_all
from core.uploads.tests.factories import UploadFactory
from garage import policies, services, sync
from garage.enums import TransferState
from garage.exceptions import GarageFull, VehicleNotFound, VinInGarage
from garage.models import Vehicle
from garage.tests.factories import (
    MADE_AT,
    ModelAliasFactory,
    StockFileFactory,
    VehicleFactory,
    VehicleModelFactory,
    VehicleModFactory,
    VehicleTransferFactory,
)
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
VIN = "JYARN59C1MA633105"
OTHER_VIN = "1HD1LK347GB332987"
BODY = {"kind": "MOTORCYCLE", "make": "Yamaha", "model": "MT-09", "year": 2021, "market": "EU"}
URL = "garage/vehicles/"


def add(client, **changes):
    return client.post(URL, {**BODY, **changes})


def added(client, **changes):
    answer = add(client, **changes)
    assert answer.status_code == 201, answer.json()
    return answer.json()


def errors_of(answer):
    return [(error.get("pointer", error.get("parameter")), error["code"]) for error in answer.json()["errors"]]


@pytest.fixture
def client(db):
    return client_for(UserFactory())


class TestAdding:
    def test_answers_the_vehicle_as_the_contract_shows_it(self, client):
        VehicleModelFactory()

        vehicle = added(
            client,
            nickname="Black one",
            vin="jya-rn59c1ma633105",
            odometer_km=12000,
            fuel={"octane": 95, "scale": "RON"},
        )

        assert uuid.UUID(vehicle.pop("id")).version == 7
        assert vehicle.pop("created_at") == vehicle.pop("updated_at")
        assert vehicle == {
            **BODY,
            "nickname": "Black one",
            "catalog_status": "MATCHED",
            "vin": VIN,
            "frame_number": None,
            "photo_url": None,
            "odometer_km": 12000,
            "is_primary": True,
            "fuel": {"octane": 95, "scale": "RON"},
            "ecu": None,
            "has_stock_file": False,
            "mods": [],
            "vin_warnings": [],
            "revision": 1,
            "deleted_at": None,
        }

    def test_writes_the_catalogues_names(self, client):
        ModelAliasFactory()

        assert [added(client, make=make, model=model)["model"] for make, model in [("yamaha", "mt 09"), ("YAMAHA", "fz09")]] == [
            "MT-09",
            "MT-09",
        ]

    def test_keeps_a_trim_in_the_owners_words(self, client):
        VehicleModelFactory()

        vehicle = added(client, model="MT-09 SP")

        assert (vehicle["model"], vehicle["catalog_status"]) == ("MT-09 SP", "MATCHED")

    def test_takes_what_is_not_in_the_catalogue_as_text(self, client):
        vehicle = added(client, make="Munch", model="Mammut 2000")

        assert (vehicle["make"], vehicle["model"], vehicle["catalog_status"]) == ("Munch", "Mammut 2000", "UNLISTED")

    def test_a_model_of_another_kind_is_no_match(self, client):
        VehicleModelFactory()

        assert added(client, kind="CAR")["catalog_status"] == "UNLISTED"

    def test_the_first_vehicle_is_the_primary_one(self, client):
        assert [added(client)["is_primary"] for _ in range(2)] == [True, False]

    def test_another_primary_takes_that_from_the_first(self, client):
        first = added(client)
        second = added(client, is_primary=True)

        demoted = client.get(f"{URL}{first['id']}/").json()
        assert (second["is_primary"], demoted["is_primary"], demoted["revision"]) == (True, False, 2)

    def test_a_first_vehicle_need_not_be_primary(self, client):
        assert added(client, is_primary=False)["is_primary"] is False

    def test_is_encrypted_at_rest(self, client):
        vehicle = added(client, vin=VIN, frame_number="de03-1 234")

        with connection.cursor() as cursor:
            cursor.execute("SELECT v::text FROM garage_vehicle v WHERE id = %s", [vehicle["id"]])
            (text,) = cursor.fetchone()
        assert vehicle["frame_number"] == "DE03-1 234"
        assert VIN not in text and VIN.encode().hex() not in text and "DE03" not in text and b"DE03".hex() not in text

    def test_warns_of_what_does_not_fit_the_vin(self, client):
        VehicleModelFactory()
        VehicleModelFactory(make__name="Honda", name="CB650R")

        wrong = added(client, make="Honda", model="CB650R", year=2012, vin=VIN)
        foreign = added(client, vin="JYARN66Y4NT578773", year=2022)

        assert [warning["code"] for warning in wrong["vin_warnings"]] == ["vin_year_mismatch", "vin_make_mismatch"]
        assert [warning["code"] for warning in foreign["vin_warnings"]] == ["vin_check_digit_mismatch"]
        assert all(warning["detail"] for warning in wrong["vin_warnings"])

    @pytest.mark.parametrize(
        ("changes", "pointer", "code"),
        [
            ({"kind": "BOAT"}, "/kind", "invalid_choice"),
            ({"kind": None}, "/kind", "null"),
            ({"make": ""}, "/make", "blank"),
            ({"make": "   "}, "/make", "blank"),
            ({"make": "x" * 61}, "/make", "max_length"),
            ({"model": 9}, "/model", None),
            ({"model": ["MT-09"]}, "/model", "invalid"),
            ({"model": "MT\u202e09"}, "/model", "control_character"),
            ({"year": "2021"}, "/year", "invalid"),
            ({"year": 2021.5}, "/year", "invalid"),
            ({"year": True}, "/year", "invalid"),
            ({"year": 1884}, "/year", "min_value"),
            ({"year": 2**70}, "/year", "max_value"),
            ({"year": 2099}, "/year", "in_future"),
            ({"market": "DE"}, "/market", "invalid_choice"),
            ({"vin": "ABC"}, "/vin", "vin_length"),
            ({"vin": "JYARN59C1MA63310O"}, "/vin", "vin_characters"),
            ({"vin": "1HD1LK348GB332987"}, "/vin", "vin_check_digit"),
            ({"frame_number": "---"}, "/frame_number", "invalid"),
            ({"frame_number": "x" * 41}, "/frame_number", "max_length"),
            ({"odometer_km": -1}, "/odometer_km", "min_value"),
            ({"odometer_km": 10**8}, "/odometer_km", "max_value"),
            ({"fuel": {"octane": 95}}, "/fuel/scale", "required"),
            ({"fuel": {"scale": "RON"}}, "/fuel/octane", "required"),
            ({"fuel": {"octane": 95, "scale": "MON"}}, "/fuel/scale", "invalid_choice"),
            ({"fuel": {"octane": 900, "scale": "RON"}}, "/fuel/octane", "max_value"),
            ({"fuel": {"octane": 95, "scale": "RON", "x": 1}}, "/fuel/x", "unknown_field"),
            ({"fuel": 95}, "/fuel", None),
            ({"is_primary": "yes"}, "/is_primary", "invalid"),
            ({"id": "no"}, "/id", "invalid"),
            ({"revision": 1}, "/revision", "unknown_field"),
            ({"ecu": {}}, "/ecu", "unknown_field"),
            ({"owner": "me"}, "/owner", "unknown_field"),
            ({"catalog_status": "MATCHED"}, "/catalog_status", "unknown_field"),
        ],
    )
    def test_refuses_what_is_wrong_and_keeps_nothing(self, client, changes, pointer, code):
        answer = add(client, **changes)

        assert answer.status_code == 400, answer.json()
        pointers = dict(errors_of(answer))
        assert pointer in pointers or any(found.startswith(pointer) for found in pointers)
        if code:
            assert pointers[pointer] == code
        assert not Vehicle.objects.exists()

    @pytest.mark.parametrize("field", ["kind", "make", "model", "year", "market"])
    def test_needs_the_facts_that_a_verdict_needs(self, client, field):
        answer = client.post(URL, {name: value for name, value in BODY.items() if name != field})

        assert (answer.status_code, errors_of(answer)) == (400, [(f"/{field}", "required")])

    def test_a_vin_is_once_in_a_garage(self, client):
        first = added(client, vin=VIN)
        again = add(client, vin=VIN.lower())

        assert (again.status_code, again.json()["code"], again.json()["vehicle_id"]) == (409, "vin_in_garage", first["id"])
        assert add(client_for(UserFactory()), vin=VIN).status_code == 201  # the world is not one garage

    def test_a_vin_is_free_again_after_deletion(self, client):
        first = added(client, vin=VIN)
        client.delete(f"{URL}{first['id']}/")

        assert added(client, vin=VIN)["id"] != first["id"]

    def test_a_garage_has_an_end(self, client, monkeypatch):
        monkeypatch.setattr(policies, "MAX_VEHICLES", 1)
        added(client)

        assert (add(client).status_code, add(client).json()["code"]) == (409, "garage_full")


class TestClientMadeIds:
    @pytest.mark.parametrize("made", [uuid.uuid4(), uuid.uuid1(), uuid.UUID("00000000-0000-3000-8000-000000000001")])
    def test_of_any_version_are_taken(self, client, made):
        assert added(client, id=str(made))["id"] == str(made)

    def test_the_same_body_again_is_the_same_vehicle(self, client):
        made = str(uuid.uuid4())
        first = added(client, id=made, vin=VIN)
        client.patch(f"{URL}{made}/", {"nickname": "changed meanwhile"})
        again = add(client, id=made, vin=VIN)

        assert (again.status_code, again.json()["id"], again.json()["nickname"]) == (200, first["id"], "changed meanwhile")
        assert Vehicle.objects.count() == 1

    def test_another_body_is_refused(self, client):
        made = str(uuid.uuid4())
        added(client, id=made)

        answer = add(client, id=made, year=2020)
        assert (answer.status_code, answer.json()["code"]) == (409, "id_taken")

    def test_somebody_elses_is_refused(self, client):
        made = str(uuid.uuid4())
        added(client_for(UserFactory()), id=made)

        answer = add(client, id=made)
        assert (answer.status_code, answer.json()["code"]) == (409, "id_taken")

    def test_a_deleted_one_answers_with_its_tombstone(self, client):
        made = str(uuid.uuid4())
        added(client, id=made)
        client.delete(f"{URL}{made}/")

        answer = add(client, id=made)
        assert (answer.status_code, answer.json()["deleted_at"] is not None) == (200, True)


class TestIdempotency:
    def test_a_repeat_finds_what_the_first_one_made(self, client):
        first = client.post(URL, BODY, HTTP_IDEMPOTENCY_KEY="k1")
        again = client.post(URL, BODY, HTTP_IDEMPOTENCY_KEY="k1")

        assert (first.status_code, again.status_code, again["Idempotency-Replayed"]) == (201, 201, "true")
        assert first.json() == again.json()
        assert Vehicle.objects.count() == 1

    def test_another_body_under_the_key_is_refused(self, client):
        client.post(URL, BODY, HTTP_IDEMPOTENCY_KEY="k1")
        again = client.post(URL, {**BODY, "year": 2020}, HTTP_IDEMPOTENCY_KEY="k1")

        assert (again.status_code, again.json()["code"]) == (422, "idempotency_key_reused")

    def test_a_refusal_is_judged_anew(self, client):
        assert client.post(URL, {**BODY, "vin": "ABC"}, HTTP_IDEMPOTENCY_KEY="k1").status_code == 400
        assert client.post(URL, {**BODY, "vin": "ABC"}, HTTP_IDEMPOTENCY_KEY="k1").status_code == 400
        assert not Vehicle.objects.exists()


class TestReading:
    @pytest.mark.parametrize("method", ["get", "patch", "delete"])
    def test_foreign_deleted_and_missing_are_the_same(self, client, method):
        foreign, deleted = VehicleFactory(), VehicleFactory(owner=client.user, deleted=True)
        call, body = getattr(client, method), ([{"year": 2020}] if method == "patch" else [])

        answers = [call(f"{URL}{pk}/", *body) for pk in (foreign.pk, deleted.pk, uuid.uuid4())]

        assert {answer.status_code for answer in answers} == {404}
        shapes = [{k: v for k, v in answer.json().items() if k not in {"instance", "request_id"}} for answer in answers]
        assert shapes[0] == shapes[1] == shapes[2]

    @pytest.mark.parametrize(("method", "url"), [("get", URL), ("post", URL), ("get", f"{URL}{uuid.UUID(int=4)}/")])
    def test_needs_a_session(self, db, method, url):
        assert getattr(ApiClient(), method)(url).status_code == 401

    def test_the_list_is_newest_first_and_goes_through_all_once(self, client):
        made = [VehicleFactory(owner=client.user, created_at=MADE_AT + timedelta(minutes=i // 2)) for i in range(7)]  # with ties
        VehicleFactory()
        VehicleFactory(owner=client.user, deleted=True)
        url, seen = f"{URL}?page_size=2", []
        while url:
            answer = client.get(url).json()
            seen += [row["id"] for row in answer["results"]]
            url = answer["next"]

        assert seen == [str(v.pk) for v in sorted(made, key=lambda v: (v.created_at, v.pk), reverse=True)]

    @pytest.mark.parametrize("query", ["foo=1", "page_size=0", "page_size=x", "updated_since=yesterday", "cursor=x", "updated_since="])
    def test_bad_parameters_are_refused(self, client, query):
        assert client.get(f"{URL}?{query}").status_code == 400

    def test_a_cursor_of_somebody_else_is_refused(self, client):
        for _ in range(2):
            VehicleFactory(owner=client.user)
        following = client.get(f"{URL}?page_size=1").json()["next"]

        assert client_for(UserFactory()).get(following).status_code == 400

    @pytest.mark.parametrize("rows", [1, 20])
    def test_the_list_takes_three_queries_whatever_the_rows(self, client, django_assert_num_queries, rows):
        for _ in range(rows):
            VehicleModFactory(vehicle=VehicleFactory(owner=client.user, with_stock=True))

        with django_assert_num_queries(3):  # session, oldest transaction, vehicles with all that is theirs
            answer = client.get(URL)
        assert len(answer.json()["results"]) == rows
        assert answer.json()["results"][0]["has_stock_file"] is True
        assert len(answer.json()["results"][0]["mods"]) == 1

    @pytest.mark.parametrize("rows", [1, 20])
    def test_the_changes_take_four_queries_whatever_the_rows(self, client, django_assert_num_queries, rows):
        for _ in range(rows):
            VehicleModFactory(vehicle=VehicleFactory(owner=client.user, with_stock=True))

        with django_assert_num_queries(4):  # session, oldest transaction, vehicles, departures
            assert len(client.get(f"{URL}?updated_since=2020-01-01T00:00:00Z").json()["results"]) == rows

    def test_one_vehicle_takes_two_queries(self, client, django_assert_num_queries):
        vehicle = VehicleFactory(owner=client.user, with_stock=True)

        with django_assert_num_queries(2):  # session, vehicle
            client.get(f"{URL}{vehicle.pk}/")

    @pytest.mark.parametrize("microsecond", [0, 500_000, 123_456])
    def test_every_answer_says_the_same_of_a_vehicle_and_its_parts(self, client, microsecond):
        """The parts of a vehicle come as JSON from the database, which writes moments in its own way."""
        at = MADE_AT.replace(microsecond=microsecond)
        vehicle = VehicleFactory(owner=client.user, with_ecu=True, created_at=at, updated_at=at, vin=VIN, frame_number="F 1")
        words = {"installed_on": date(2025, 3, 9), "notes": 'He said "loud".\n\\o/ ☂'}
        parts = [
            VehicleModFactory(vehicle=vehicle, created_at=at, updated_at=at + timedelta(seconds=1), **words),
            VehicleModFactory(vehicle=vehicle, created_at=at + timedelta(seconds=1), updated_at=at + timedelta(seconds=1)),
        ]

        alone = client.get(f"{URL}{vehicle.pk}/").json()
        assert client.get(URL).json()["results"] == [alone]
        assert client.get(f"{URL}?updated_since=2020-01-01T00:00:00Z").json()["results"] == [alone]
        assert alone["mods"] == [client.get(f"{URL}{vehicle.pk}/mods/{part.pk}/").json() for part in parts]
        assert alone["mods"] == client.get(f"{URL}{vehicle.pk}/mods/").json()["results"]
        assert (alone["vin"], alone["frame_number"]) == (VIN, "F 1")
        assert alone["created_at"] == alone["mods"][0]["created_at"] == utc_text(at)
        assert alone["mods"][0]["installed_on"] == "2025-03-09"
        assert alone["mods"][0]["notes"] == words["notes"]

    def test_is_never_cached(self, client):
        assert client.get(URL)["Cache-Control"] == "no-store"


class TestChanging:
    @pytest.mark.parametrize(
        ("fuel", "missing"), [({}, "/fuel/octane"), ({"octane": 95}, "/fuel/scale"), ({"scale": "RON"}, "/fuel/octane")]
    )
    def test_part_of_an_object_is_refused_and_changes_nothing(self, client, fuel, missing):
        vehicle = add(client, fuel={"octane": 95, "scale": "RON"}).json()
        answer = client.patch(f"{URL}{vehicle['id']}/", {"fuel": fuel})

        assert answer.status_code == 400
        assert (missing, "required") in {(error["pointer"], error["code"]) for error in answer.json()["errors"]}
        assert client.get(f"{URL}{vehicle['id']}/").json()["fuel"] == {"octane": 95, "scale": "RON"}

    def test_changes_what_is_sent_and_keeps_the_rest(self, client):
        vehicle = added(client, vin=VIN, nickname="old")

        changed = client.patch(f"{URL}{vehicle['id']}/", {"nickname": "new", "odometer_km": 5}).json()

        assert (changed["nickname"], changed["odometer_km"], changed["vin"], changed["revision"]) == ("new", 5, VIN, 2)
        assert changed["updated_at"] > vehicle["updated_at"]

    def test_null_clears(self, client):
        vehicle = added(client, vin=VIN, frame_number="F1", odometer_km=1, fuel={"octane": 98, "scale": "RON"})

        changed = client.patch(f"{URL}{vehicle['id']}/", {"vin": None, "frame_number": None, "odometer_km": None, "fuel": None}).json()

        assert [changed[name] for name in ("vin", "frame_number", "odometer_km", "fuel")] == [None] * 4
        assert Vehicle.objects.get(pk=vehicle["id"]).vin_hash is None

    def test_matches_and_warns_anew(self, client):
        VehicleModelFactory()
        vehicle = added(client, model="Nothing", vin=VIN, year=2012)
        assert (vehicle["catalog_status"], len(vehicle["vin_warnings"])) == ("UNLISTED", 1)

        changed = client.patch(f"{URL}{vehicle['id']}/", {"model": "mt09", "year": 2021}).json()

        assert (changed["model"], changed["catalog_status"], changed["vin_warnings"]) == ("MT-09", "MATCHED", [])

    def test_primary_moves_and_can_be_given_up(self, client):
        first, second = added(client), added(client)

        client.patch(f"{URL}{second['id']}/", {"is_primary": True})
        assert [client.get(f"{URL}{v['id']}/").json()["is_primary"] for v in (first, second)] == [False, True]
        client.patch(f"{URL}{second['id']}/", {"is_primary": False})
        assert not Vehicle.objects.filter(is_primary=True).exists()

    def test_a_vin_of_another_vehicle_is_refused(self, client):
        added(client, vin=VIN)
        second = added(client, vin=OTHER_VIN)

        answer = client.patch(f"{URL}{second['id']}/", {"vin": VIN})
        assert (answer.status_code, answer.json()["code"]) == (409, "vin_in_garage")
        assert client.patch(f"{URL}{second['id']}/", {"vin": OTHER_VIN}).status_code == 200

    def test_an_older_revision_is_refused(self, client):
        vehicle = added(client)
        url = f"{URL}{vehicle['id']}/"
        client.patch(url, {"nickname": "a"}, HTTP_IF_MATCH='"1"')

        stale = client.patch(url, {"nickname": "b"}, HTTP_IF_MATCH='"1"')
        assert (stale.status_code, stale.json()["code"], stale.json()["current"]) == (412, "stale_revision", 2)
        assert client.delete(url, HTTP_IF_MATCH='"1"').status_code == 412
        assert client.patch(url, {"nickname": "b"}, HTTP_IF_MATCH='"2"').status_code == 200
        assert client.patch(url, {"nickname": "b"}, HTTP_IF_MATCH="2").status_code == 400

    @pytest.mark.parametrize(
        ("body", "pointer"), [({"id": str(uuid.uuid4())}, "/id"), ({"make": None}, "/make"), ({"vin": "x"}, "/vin"), ({"x": 1}, "/x")]
    )
    def test_refuses_what_is_wrong(self, client, body, pointer):
        vehicle = added(client)
        answer = client.patch(f"{URL}{vehicle['id']}/", body)

        assert (answer.status_code, errors_of(answer)[0][0]) == (400, pointer)
        assert client.get(f"{URL}{vehicle['id']}/").json()["revision"] == 1


class TestPhotos:
    def photo_of(self, owner, **changes):
        return UploadFactory(**{"owner_id": owner.pk, "purpose": "VEHICLE_PHOTO", "ready": True, "content_type": "image/jpeg", **changes})

    def test_are_taken_over_replaced_and_taken_away(self, client):
        first, second = self.photo_of(client.user), self.photo_of(client.user)
        vehicle = added(client, photo_upload_id=str(first.pk))
        url = f"{URL}{vehicle['id']}/"

        replaced = client.patch(url, {"photo_upload_id": str(second.pk)}).json()
        gone = client.patch(url, {"photo_upload_id": None}).json()

        assert first.storage_key in vehicle["photo_url"] and second.storage_key in replaced["photo_url"]
        assert gone["photo_url"] is None
        assert run_all().count("core.uploads.tasks.delete_object") == 2

    @pytest.mark.parametrize(("changes", "code"), [({"purpose": "AVATAR"}, "upload_wrong_purpose"), ({"used": True}, "upload_used")])
    def test_refuses_uploads_that_are_not_fit(self, client, changes, code):
        answer = add(client, photo_upload_id=str(self.photo_of(client.user, **changes).pk))

        assert (answer.status_code, errors_of(answer)) == (400, [("/photo_upload_id", code)])
        assert not Vehicle.objects.exists()


class TestDeleting:
    def test_is_soft_and_leaves_an_audit_event(self, client):
        vehicle = added(client)

        assert client.delete(f"{URL}{vehicle['id']}/").status_code == 204
        row = Vehicle.objects.get(pk=vehicle["id"])
        assert row.deleted_at is not None and not row.is_primary
        assert AuditEvent.objects.filter(act="vehicle.deleted", subject_id=row.pk, actor_id=client.user.pk).count() == 1
        assert client.delete(f"{URL}{vehicle['id']}/").status_code == 404

    def test_withdraws_an_open_offer(self, client):
        transfer = VehicleTransferFactory(vehicle__owner=client.user)

        client.delete(f"{URL}{transfer.vehicle_id}/")

        transfer.refresh_from_db()
        assert transfer.state == TransferState.WITHDRAWN

    def test_takes_no_body(self, client):
        vehicle = added(client)

        assert client.delete(f"{URL}{vehicle['id']}/", {"reason": "x"}).status_code == 400


class TestSync:
    def changes(self, client, since, **params):
        query = "&".join(f"{name}={value}" for name, value in {"updated_since": since, **params}.items())
        return client.get(f"{URL}?{query}").json()

    def test_tells_what_changed_deleted_ones_too(self, client):
        kept, changed, deleted = added(client), added(client), added(client)
        since = client.get(URL).json()["synced_until"]
        Vehicle.objects.update(changed_at=MADE_AT)
        client.patch(f"{URL}{changed['id']}/", {"year": 2020})
        client.delete(f"{URL}{deleted['id']}/")

        found = self.changes(client, since)

        assert [(row["id"], row["deleted_at"] is not None) for row in found["results"]] == [(changed["id"], False), (deleted["id"], True)]
        assert kept["id"] not in str(found)

    def test_pages_are_oldest_first_and_lose_nothing(self, client):
        vehicles = [VehicleFactory(owner=client.user, changed_at=MADE_AT + timedelta(minutes=i // 3)) for i in range(7)]
        departed = [
            VehicleTransferFactory(
                offered_by=client.user, accepted=True, vehicle__owner=UserFactory(), changed_at=MADE_AT + timedelta(minutes=i)
            )
            for i in range(3)
        ]
        url, seen = f"{URL}?updated_since=2026-06-01T12:00:00Z&page_size=2", []
        while url:
            page = client.get(url).json()
            seen += [row["id"] for row in page["results"]]
            url = page["next"]

        assert len(seen) == len(set(seen)) == 10
        assert set(seen) == {str(v.pk) for v in vehicles} | {str(t.vehicle_id) for t in departed}

    @pytest.mark.parametrize("touch", ["mod", "ecu", "stock"])
    def test_everything_that_is_shown_counts_as_a_change(self, client, touch):
        vehicle = VehicleFactory(owner=client.user, with_ecu=True)
        Vehicle.objects.update(changed_at=MADE_AT)
        since = client.get(URL).json()["synced_until"]
        if touch == "mod":
            client.post(f"{URL}{vehicle.pk}/mods/", {"category": "EXHAUST"})
        elif touch == "ecu":
            body = {"hardware_number": "X", "calibration_id": "Y", "read_at": "2026-06-02T00:00:00Z"}
            client.put(f"{URL}{vehicle.pk}/ecu/", body)
        else:
            services.forget_installed_tune(vehicle_id=vehicle.pk, at=NOW)
            StockFileFactory(vehicle=vehicle)
            services.record_installed_tune(
                vehicle_id=vehicle.pk,
                tune_id=uuid.uuid4(),
                tune_version_id=uuid.uuid4(),
                version="1.0.0",
                calibration_id="C",
                installed_at=NOW,
                at=NOW,
            )

        assert [row["id"] for row in self.changes(client, since)["results"]] == [str(vehicle.pk)]

    def test_is_before_the_oldest_open_transaction(self, transactional_db):
        """A change that began before the answer and commits after it is in the next answer."""
        import threading

        owner = UserFactory()
        vehicle = VehicleFactory(owner=owner)
        Vehicle.objects.update(changed_at=MADE_AT)
        changed, go_on = threading.Event(), threading.Event()

        def slow_change():
            with transaction.atomic():
                services.update_vehicle(owner=owner, vehicle_id=vehicle.pk, changes={"year": 2020}, revision=None, at=NOW)
                changed.set()
                assert go_on.wait(10)
            connection.close()

        thread = threading.Thread(target=slow_change)
        thread.start()
        assert changed.wait(10)
        client = client_for(owner)
        first = client.get(f"{URL}?updated_since=2026-06-02T00:00:00Z").json()
        go_on.set()
        thread.join()
        second = client.get(f"{URL}?updated_since={first['synced_until']}").json()

        assert first["results"] == []
        assert [row["year"] for row in second["results"]] == [2020]

    def test_is_not_long_ago_when_nothing_is_open(self, transactional_db):
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (now,) = cursor.fetchone()

        assert timedelta(0) < now - sync.synced_until() < timedelta(seconds=60)


@pytest.mark.django_db
class TestConstraints:
    @pytest.mark.parametrize(
        ("constraint", "values"),
        [
            ("vehicle_kind_known", {"kind": "BOAT"}),
            ("vehicle_market_known", {"market": "XX"}),
            ("vehicle_year_plausible", {"year": 1800}),
            ("vehicle_fuel_octane_iff_scale", {"fuel_octane": 95}),
            ("vehicle_fuel_octane_iff_scale", {"fuel_octane": 9, "fuel_scale": "RON"}),
            ("vehicle_vin_iff_hash", {"vin": VIN}),
            ("vehicle_frame_number_iff_hash", {"frame_number_hash": b"x"}),
            ("vehicle_installed_all_or_nothing", {"installed_tune_id": uuid.uuid4()}),
            ("vehicle_deleted_is_not_primary", {"is_primary": True, "deleted_at": NOW}),
        ],
    )
    def test_postgres_refuses(self, constraint, values):
        vehicle = VehicleFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            Vehicle.objects.filter(pk=vehicle.pk).update(**values)

    def test_postgres_refuses_two_primary_vehicles(self):
        vehicle = VehicleFactory(primary=True)

        with pytest.raises(IntegrityError, match="vehicle_one_primary_per_owner"), transaction.atomic():
            VehicleFactory(owner=vehicle.owner, primary=True)

    def test_postgres_refuses_a_vin_twice_in_a_garage(self):
        vehicle = VehicleFactory(vin=VIN)

        with pytest.raises(IntegrityError, match="vehicle_vin_once_per_owner"), transaction.atomic():
            VehicleFactory(owner=vehicle.owner, vin=VIN)
        VehicleFactory(owner=vehicle.owner, vin=VIN, deleted=True)
        VehicleFactory(vin=VIN)


@pytest.mark.django_db
class TestServices:
    def test_hide_another_riders_vehicle(self):
        vehicle = VehicleFactory()

        with pytest.raises(VehicleNotFound):
            services.update_vehicle(owner=UserFactory(), vehicle_id=vehicle.pk, changes={"year": 2000}, revision=None, at=NOW)
        with pytest.raises(VehicleNotFound):
            services.delete_vehicle(owner=UserFactory(), vehicle_id=vehicle.pk, revision=None, at=NOW)

    def test_name_the_present_revision(self):
        vehicle = VehicleFactory(revision=7)

        with pytest.raises(StaleRevision) as refusal:
            services.update_vehicle(owner=vehicle.owner, vehicle_id=vehicle.pk, changes={}, revision=6, at=NOW)
        assert refusal.value.members == {"current": 7}

    def test_erase_forgets_what_identifies(self):
        vehicle = VehicleFactory(with_stock=True, vin=VIN, frame_number="F", nickname="Mine", ecu_serial="S1")
        VehicleModFactory(vehicle=vehicle)
        other = VehicleFactory(vin=VIN)

        gone = services.erase_garage(vehicle.owner_id, at=NOW)

        vehicle = Vehicle.objects.get(pk=vehicle.pk)
        assert gone == {"vehicles": 1, "stock_files": 1, "mods": 1}
        assert (vehicle.vin, vehicle.vin_hash, vehicle.frame_number, vehicle.nickname) == (None, None, None, "")
        assert vehicle.ecu.serial is None and vehicle.deleted_at == NOW and not vehicle.stock_files.exists()
        assert services.erase_garage(vehicle.owner_id, at=NOW)["stock_files"] == 0
        assert Vehicle.objects.get(pk=other.pk).vin == VIN


def fields(**changes):
    return {**BODY, **changes}


@pytest.mark.django_db(transaction=True)
class TestTwoPhonesAtOnce:
    """One owner, two requests at the same moment."""

    def test_one_of_two_same_vins_stays(self):
        owner = UserFactory()

        outcomes = race(lambda: services.add_vehicle(owner=owner, at=NOW, **fields(vin=VIN)))

        assert outcomes == ["ok", "vin_in_garage"]
        assert Vehicle.objects.count() == 1

    def test_control_without_the_lock_only_postgres_stops_the_second_vin(self):
        owner = UserFactory()
        VehicleModelFactory()  # listed: else the two would meet at the name that both type first

        def add_one():
            services.add_vehicle(owner=owner, at=NOW, is_primary=False, **fields(vin=VIN))

        with pytest.raises(IntegrityError, match="vehicle_vin_once_per_owner"):
            race(add_one, row_locks=False, meet_after='"vin_hash" = ')

    def test_both_may_become_primary_one_after_the_other(self):
        first, owner = VehicleFactory(primary=True), None
        owner = first.owner
        second, third = VehicleFactory(owner=owner), VehicleFactory(owner=owner)

        outcomes = race_all([lambda v=v: make_primary(owner, v) for v in (second, third)])

        assert outcomes == ["ok", "ok"]
        assert Vehicle.objects.filter(owner=owner, is_primary=True).count() == 1

    def test_control_without_the_lock_only_postgres_stops_the_second_primary(self):
        owner = UserFactory()
        vehicles = VehicleFactory(owner=owner), VehicleFactory(owner=owner)

        with pytest.raises(IntegrityError, match="vehicle_one_primary_per_owner"):
            race_all([lambda v=v: make_primary(owner, v) for v in vehicles], row_locks=False, meet_after='SET "is_primary" = ')

    def test_one_of_two_edits_of_a_revision_wins(self):
        vehicle = VehicleFactory()

        def edit():
            services.update_vehicle(owner=vehicle.owner, vehicle_id=vehicle.pk, changes={"year": 2020}, revision=1, at=NOW)

        assert race(edit) == ["ok", "stale_revision"]

    def test_control_without_the_lock_both_edits_win_and_one_is_lost(self):
        vehicle = VehicleFactory()

        def edit():
            services.update_vehicle(owner=vehicle.owner, vehicle_id=vehicle.pk, changes={"year": 2020}, revision=1, at=NOW)

        assert race(edit, row_locks=False, meet_after='FROM "garage_vehicle"') == ["ok", "ok"]

    def test_a_garage_with_one_place_takes_one_vehicle(self, monkeypatch):
        monkeypatch.setattr(policies, "MAX_VEHICLES", 1)
        owner = UserFactory()

        assert race(lambda: services.add_vehicle(owner=owner, at=NOW, **fields())) == ["garage_full", "ok"]

    def test_one_of_two_owners_gets_an_id(self):
        owners, made = [UserFactory(), UserFactory()], uuid.uuid4()

        outcomes = race_all([lambda o=o: services.add_vehicle(owner=o, at=NOW, id=made, **fields()) for o in owners])

        assert outcomes == ["id_taken", "ok"]


def make_primary(owner, vehicle):
    services.update_vehicle(owner=owner, vehicle_id=vehicle.pk, changes={"is_primary": True}, revision=None, at=NOW)


def test_hashes_of_different_kinds_never_meet():
    assert keyed_hash("vin", VIN) != keyed_hash("frame_number", VIN)


def test_refusals_are_named_after_the_fact():
    assert (VinInGarage.code, GarageFull.code, VehicleNotFound.code) == ("vin_in_garage", "garage_full", "not_found")
