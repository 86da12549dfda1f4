"""Downloads, flashes and trust documents over HTTP: shapes, codes, access, limits, idempotency and query counts."""

from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from django.conf import settings as live_settings
from django.test import override_settings

from core import clock, signing, storage
from core.testing.http import ApiClient, client_for
from marketplace.models import Download, Flash, FlashTicket, License
from marketplace.serializers.trust import DownloadOutput, FlashOutput, GrantOutput, InstalledCheckOutput
from marketplace.services import status, stops, stored_files
from marketplace.tests.factories import released_tune, released_version, ride_for
from marketplace.tests.trust import read_document
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _look_at_storage_again():
    stored_files.forget()


@pytest.fixture
def ride():
    return ride_for()


@pytest.fixture
def api(ride):
    client = client_for(ride.buyer)
    client.get("users/me/")  # the token's first use is noted, once
    return client


def downloads(ride):
    return f"marketplace/purchases/{ride.purchase.pk}/downloads/"


def flash_body(ticket_id, **facts):
    return {
        "id": str(uuid4()),
        "ticket_id": str(ticket_id),
        "outcome": "SUCCEEDED",
        "ecu_before": {"hardware_number": "RSH-4711-A", "calibration_id": "RSC-210-EU"},
        "ecu_after": {"hardware_number": "RSH-4711-A", "calibration_id": "RSC-210-T1"},
        "app_version": "1.0.0",
        "flashed_at": clock.now().isoformat(),
        **facts,
    }


def same_names(serializer, data):
    """The declared shape and the answered one have the same members, all the way down."""
    fields = serializer.fields if hasattr(serializer, "fields") else serializer.child.fields
    if isinstance(data, list):
        return all(same_names(serializer, item) for item in data)
    assert set(fields) == set(data)
    for name, field in fields.items():
        if data[name] is not None and (hasattr(field, "fields") or hasattr(getattr(field, "child", None), "fields")):
            same_names(field, data[name])
    return True


class TestDownloads:
    def test_a_grant_has_the_shape_of_the_contract(self, ride, api):
        answer = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk), "device_key": "k" * 43})

        assert answer.status_code == 201
        grant = answer.json()
        assert list(grant) == [
            "id",
            "version",
            "file",
            "url",
            "url_expires_at",
            "size_bytes",
            "sha256",
            "release",
            "ticket",
            "ticket_blockers",
        ]
        assert same_names(GrantOutput(), grant)
        assert answer["Cache-Control"] == "no-store"
        assert read_document(grant["release"], "release")["file"]["sha256"] == grant["sha256"]
        assert read_document(grant["ticket"], "ticket")["device_key"] == "k" * 43
        assert len(requests.get(grant["url"], timeout=10).content) == grant["size_bytes"]

    def test_a_repeated_request_makes_one_grant_and_gives_the_same_ticket(self, ride, api):
        key = {"HTTP_IDEMPOTENCY_KEY": "grant-1"}

        first = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}, **key)
        second = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}, **key)

        assert (first.status_code, second.status_code, second["Idempotency-Replayed"]) == (201, 201, "true")
        assert (second.json()["id"], second.json()["ticket"]) == (first.json()["id"], first.json()["ticket"])
        assert Download.objects.filter(kind="GRANT").count() == FlashTicket.objects.count() == 1

    def test_a_repeat_is_judged_by_the_rules_of_now(self, ride, api):
        key = {"HTTP_IDEMPOTENCY_KEY": "grant-1"}
        api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}, **key)
        stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Wrong axis.", at=ride.at)

        answer = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}, **key)

        assert (answer.status_code, answer.json()["code"]) == (409, "version_recalled")

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/vehicle"),
            ({"vehicle": "x"}, "/vehicle"),
            ({"vehicle": None}, "/vehicle"),
            ({"vehicle": str(uuid4()), "version": "1.0.0"}, "/version"),
            ({"vehicle": str(uuid4()), "device_key": "ü" * 20}, "/device_key"),
            ({"vehicle": str(uuid4()), "device_key": "k" * 65}, "/device_key"),
            ({"vehicle": str(uuid4()), "ticket": True}, "/ticket"),
        ],
    )
    def test_wrong_input_is_named_and_leaves_nothing(self, ride, api, body, pointer):
        answer = api.post(downloads(ride), body)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert Download.objects.count() == 0

    def test_foreign_and_missing_are_the_same(self, ride):
        stranger = client_for(UserFactory())
        body = {"vehicle": str(ride.vehicle.pk)}

        foreign = stranger.post(downloads(ride), body)
        missing = stranger.post(f"marketplace/purchases/{uuid4()}/downloads/", body)

        assert foreign.status_code == missing.status_code == 404
        assert foreign.json()["detail"] == missing.json()["detail"]
        assert stranger.get(downloads(ride)).status_code == 404
        assert ApiClient().post(downloads(ride), body).status_code == 401

    def test_a_refusal_tells_what_to_do_and_stands_in_the_trail(self, ride, api):
        released_version(ride.tune)
        us_bike = ride.another_vehicle(market="US")

        answer = api.post(downloads(ride), {"vehicle": str(us_bike.pk)})

        assert (answer.status_code, answer.json()["code"]) == (409, "fitment_mismatch")
        assert answer.json()["reasons"][0]["code"] == "market_mismatch"
        trail = api.get(downloads(ride)).json()["results"]
        assert [(row["outcome"], row["code"], row["vehicle"]) for row in trail] == [("REFUSED", "fitment_mismatch", str(us_bike.pk))]

    def test_the_limit_is_exact(self, ride, api):
        with override_settings(LIMITS={**live_settings.LIMITS, "grants_account": (3, 3600)}):
            answers = [api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
        assert int(answers[-1]["Retry-After"]) > 0

    def test_an_outage_of_storage_is_a_503_that_left_nothing(self, ride, api, settings):
        status.publish_status(at=ride.at)
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()
        try:
            answer = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}, HTTP_IDEMPOTENCY_KEY="again")
        finally:
            settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL
            storage.reset()

        assert (answer.status_code, answer.json()["code"], answer.json()["service"]) == (503, "service_unavailable", "storage")
        assert answer["Retry-After"]
        assert Download.objects.count() == 0
        assert api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}, HTTP_IDEMPOTENCY_KEY="again").status_code == 201

    def test_without_keys_it_is_a_503_too(self, ride, api, settings, tmp_path):
        api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)})
        settings.SIGNING_KEYS_DIR = tmp_path / "nothing"
        settings.IS_PRODUCTION = True

        answer = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)})

        assert (answer.status_code, answer.json()["service"]) == (503, "signing")

    def test_a_fresh_link(self, ride, api):
        grant = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}).json()

        answer = api.post(f"marketplace/downloads/{grant['id']}/link/")

        assert answer.status_code == 200
        assert same_names(GrantOutput(), answer.json())
        assert (answer.json()["id"], answer.json()["ticket"]) == (grant["id"], grant["ticket"])
        assert client_for(UserFactory()).post(f"marketplace/downloads/{grant['id']}/link/").status_code == 404

    @pytest.mark.parametrize("rows", [1, 20])
    def test_the_trail_takes_three_queries(self, ride, api, django_assert_num_queries, rows):
        for _ in range(rows):
            ride.grant()

        with django_assert_num_queries(3):  # session, purchase, rows
            results = api.get(downloads(ride)).json()["results"]

        assert len(results) == rows
        assert same_names(DownloadOutput(), results[0])

    def test_a_grant_with_its_ticket_takes_seven_queries(self, ride, api, django_assert_num_queries):
        api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)})

        with django_assert_num_queries(7):  # session, limit, facts, BEGIN, lock and look again, write, COMMIT
            answer = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)})

        assert answer.json()["ticket"] is not None


class TestFlashes:
    def test_the_same_report_is_answered_twice(self, ride, api):
        body = flash_body(ride.ticket().pk)

        first, second = api.post("marketplace/flashes/", body), api.post("marketplace/flashes/", body)

        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()
        assert same_names(FlashOutput(), first.json())
        assert first.json()["license_state"] == "BOUND"

    def test_it_honours_idempotency_keys(self, ride, api):
        body = flash_body(ride.ticket().pk)

        first, second = (api.post("marketplace/flashes/", body, HTTP_IDEMPOTENCY_KEY="f1") for _ in range(2))

        assert (second.status_code, second["Idempotency-Replayed"], second.json()) == (201, "true", first.json())

    @pytest.mark.parametrize(
        ("facts", "pointer"),
        [
            ({"outcome": "EXPLODED"}, "/outcome"),
            ({"flashed_at": "yesterday"}, "/flashed_at"),
            ({"flashed_at": "2126-01-01T00:00:00Z"}, "/flashed_at"),
            ({"ecu_after": {"hardware_number": "x"}}, "/ecu_after/calibration_id"),
            ({"ecu_after": {"hardware_number": "x", "calibration_id": "y", "vin": "z"}}, "/ecu_after/vin"),
            ({"id": "1"}, "/id"),
            ({"license_state": "BOUND"}, "/license_state"),
            ({"app_version": ""}, "/app_version"),
        ],
    )
    def test_wrong_input_is_named(self, ride, api, facts, pointer):
        answer = api.post("marketplace/flashes/", flash_body(ride.ticket().pk, **facts))

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert Flash.objects.count() == 0

    def test_a_foreign_ticket_is_missing_and_a_taken_id_is_taken(self, ride, api):
        other = ride_for(ride.tune, vehicle={"vin": "JYARN53E1MA000055"})

        assert api.post("marketplace/flashes/", flash_body(other.ticket().pk)).status_code == 404
        body = flash_body(ride.ticket().pk)
        api.post("marketplace/flashes/", body)
        answer = api.post("marketplace/flashes/", {**body, "outcome": "RESTORED"})
        assert (answer.status_code, answer.json()["code"]) == (409, "id_taken")

    @pytest.mark.parametrize("rows", [1, 20])
    def test_the_list_takes_two_queries(self, ride, api, django_assert_num_queries, rows):
        ticket = ride.ticket()
        for number in range(rows):
            ride.report(ticket, at=ride.at + timedelta(minutes=number))

        with django_assert_num_queries(2):  # session, rows
            results = api.get("marketplace/flashes/").json()["results"]

        assert len(results) == rows

    def test_the_list_is_ones_own_and_of_one_vehicle_if_asked(self, ride, api):
        ride.report(ride.ticket())

        assert client_for(UserFactory()).get("marketplace/flashes/").json()["results"] == []
        assert len(api.get(f"marketplace/flashes/?vehicle={ride.vehicle.pk}").json()["results"]) == 1
        assert api.get(f"marketplace/flashes/?vehicle={uuid4()}").json()["results"] == []


class TestInstalledAndRecalls:
    def test_every_hash_is_answered_in_its_order(self, ride, api, django_assert_num_queries):
        recalled = released_tune().versions.get()
        stop = stops.recall_version(
            actor=UserFactory(admin=True), version_id=recalled.pk, severity="restore_stock", reason="Lean.", at=ride.at
        )
        hashes = ["0" * 64, recalled.files.get().sha256, ride.version.files.get().sha256]

        with django_assert_num_queries(3):  # session, files, stops
            answer = api.post("marketplace/installed/check/", {"sha256": hashes})

        assert same_names(InstalledCheckOutput(), answer.json())
        rows = answer.json()["results"]
        assert [(row["sha256"], row["state"]) for row in rows] == list(zip(hashes, ["unknown", "recalled", "current"], strict=True))
        assert (rows[1]["recall"]["id"], rows[1]["recall"]["severity"]) == (str(stop.pk), "restore_stock")
        assert rows[0]["recall"] is rows[2]["recall"] is None

    @pytest.mark.parametrize("hashes", [[], ["x"], ["A" * 64], ["0" * 64] * 101, "0" * 64, None])
    def test_wrong_hashes_are_refused(self, api, hashes):
        assert api.post("marketplace/installed/check/", {"sha256": hashes}).status_code == 400

    def test_a_recall_is_acknowledged_by_who_has_it(self, ride, api):
        ride.grant()
        stop = stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Lean.", at=ride.at)

        answer = api.post(f"marketplace/recalls/{stop.pk}/acknowledge/")

        assert answer.status_code == 200
        assert answer.json()["acknowledged_at"] is not None
        assert client_for(UserFactory()).post(f"marketplace/recalls/{stop.pk}/acknowledge/").status_code == 404
        check = api.post("marketplace/installed/check/", {"sha256": [ride.version.files.get().sha256]}).json()["results"][0]
        assert check["recall"]["acknowledged_at"] == answer.json()["acknowledged_at"]


class TestTrustDocuments:
    def test_the_root_is_the_bare_envelope_forever(self):
        answer = ApiClient().get("trust/root/1/")

        assert (answer.status_code, answer.json()) == (200, signing.root_envelope(1))
        assert "immutable" in answer["Cache-Control"]
        assert read_document(answer.json(), "root")["version"] == 1

    @pytest.mark.parametrize("number", [0, 2, 10**12])
    def test_a_root_that_does_not_exist_is_missing(self, number):
        assert ApiClient().get(f"trust/root/{number}/").status_code == 404

    def test_the_status_is_cacheable_for_a_minute(self):
        document = status.publish_status(at=clock.now())

        answer = ApiClient().get("trust/status/")
        again = ApiClient().get("trust/status/", HTTP_IF_NONE_MATCH=answer["ETag"])

        assert (answer.status_code, answer.json()) == (200, document.envelope)
        assert answer["Cache-Control"] == "public, max-age=60"
        assert again.status_code == 304
        status.publish_status(at=clock.now())
        assert ApiClient().get("trust/status/", HTTP_IF_NONE_MATCH=answer["ETag"]).status_code == 200

    def test_the_first_reader_of_an_installation_finds_one(self):
        assert read_document(ApiClient().get("trust/status/").json(), "status")["stopped"] == []

    def test_the_status_takes_one_query(self, django_assert_num_queries):
        status.publish_status(at=clock.now())

        with django_assert_num_queries(1):
            ApiClient().get("trust/status/")


class TestTheJourney:
    def test_from_the_grant_to_the_bound_license(self, ride, api):
        grant = api.post(downloads(ride), {"vehicle": str(ride.vehicle.pk)}).json()
        ticket = read_document(grant["ticket"], "ticket")
        report = api.post("marketplace/flashes/", flash_body(ticket["ticket_id"])).json()

        assert (report["license_state"], report["version"], report["vehicle"]) == ("BOUND", grant["version"], str(ride.vehicle.pk))
        assert License.objects.get(purchase=ride.purchase).vehicle_id == ride.vehicle.pk
        answer = api.post(downloads(ride), {"vehicle": str(ride.another_vehicle().pk)})
        assert (answer.status_code, answer.json()["code"]) == (409, "vehicle_mismatch")
