"""Buying over HTTP, and every way in which it is refused."""

import socket
from datetime import timedelta

import pytest

from core import clock
from core.meta import agreed_text
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from garage.tests.factories import VehicleFactory
from marketplace import payments as gateway
from marketplace.enums import LicenseState, PaymentAttemptState, PurchaseStatus
from marketplace.models import License, PaymentAttempt, Purchase, Tune
from marketplace.tests.factories import LicenseFactory, PurchaseFactory, TuneFactory, TuneVersionFactory
from marketplace.tests.purchasing import PURCHASES, buy, intent_of, rider_with_bike, wish
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


class TestAFreeTune:
    def test_is_paid_at_once_with_its_license_and_no_payment(self):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True, free=True)

        answer = buy(client, tune, bike)

        body = answer.json()
        assert answer.status_code == 201
        assert (body["status"], body["amount_minor"], body["payment"], body["expires_at"], body["refundable_until"]) == (
            "PAID", 0, None, None, None,
        )  # fmt: skip
        assert body["license"] == {"state": "UNBOUND", "vehicle": None, "reserved_until": None}
        assert License.objects.get().holder == client.user

    def test_books_nothing_and_asks_no_provider(self, settings):
        settings.STRIPE_API_BASE = "http://127.0.0.1:9"
        client, bike = rider_with_bike()

        buy(client, TuneFactory(published=True, free=True), bike)

        purchase = Purchase.objects.get()
        assert (purchase.ledger_sets.count(), purchase.attempts.count()) == (0, 0)


class TestAPaidTune:
    def test_waits_for_payment_with_what_the_payment_sheet_needs(self, payments, settings):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)

        answer = buy(client, tune, bike)

        body = answer.json()
        intent = payments.intents_of(body["id"])[0]
        assert answer.status_code == 201
        assert (body["status"], body["amount_minor"], body["currency"], body["license"]) == ("PENDING", 14900, "EUR", None)
        assert body["payment"] == {
            "provider": "stripe",
            "client_secret": intent["client_secret"],
            "publishable_key": settings.STRIPE_PUBLISHABLE_KEY,
            "sandbox_url": f"{payments.url}/pay/{intent['id']}",
        }
        assert body["number"].startswith("RS-")
        assert body["vehicle"] == str(bike.pk)
        assert body["tune"]["id"] == str(tune.pk)

    def test_the_intent_tells_what_it_is_for(self, payments):
        client, bike = rider_with_bike()

        body = buy(client, TuneFactory(published=True), bike).json()

        intent = payments.intents_of(body["id"])[0]
        assert (intent["amount"], intent["currency"]) == (14900, "eur")
        assert intent["metadata"].keys() >= {"purchase", "buyer", "tune", "vehicle", "fee_minor", "attestation"}
        assert client.user.email not in str(intent)

    def test_keeps_a_snapshot_of_price_fee_and_attestation(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True, price_minor=9999)

        buy(client, tune, bike)
        Tune.objects.filter(pk=tune.pk).update(price_minor=1)

        purchase = Purchase.objects.get()
        attestation = agreed_text("attestation")
        assert (purchase.amount_minor, purchase.fee_basis_points, purchase.fee_minor, purchase.tax_minor) == (9999, 1500, 1500, 0)
        assert (purchase.attestation_text_version, purchase.attestation_sha256) == (attestation.version, attestation.sha256)
        assert purchase.tune_version_id == tune.latest_version_id

    @pytest.mark.parametrize(("currency", "price_minor"), [("JPY", 4900), ("KWD", 4900)])
    def test_currencies_without_and_with_three_decimals_are_minor_units_too(self, payments, currency, price_minor):
        client, bike = rider_with_bike()

        body = buy(client, TuneFactory(published=True, currency=currency, price_minor=price_minor), bike).json()

        assert (payments.intents_of(body["id"])[0]["amount"], body["amount_minor"]) == (price_minor, price_minor)

    def test_becomes_paid_by_sync_after_the_person_paid(self, payments):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        payments.choose(intent_of(body), "succeed")

        synced = client.post(f"{PURCHASES}{body['id']}/sync/").json()

        assert (synced["status"], synced["license"]["state"], synced["payment"]) == ("PAID", "UNBOUND", None)
        assert synced["refundable_until"] > synced["paid_at"]

    def test_tells_rider_and_tuner_once(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        body = buy(client, tune, bike).json()
        payments.choose(intent_of(body), "succeed")

        for _ in range(2):
            client.post(f"{PURCHASES}{body['id']}/sync/")

        told = sorted(Notice.objects.values_list("user_id", "type"), key=lambda row: row[1])
        assert told == [(client.user.pk, "PURCHASE"), (tune.tuner.user_id, "SALE")]
        assert AuditEvent.objects.filter(act="purchase.paid", subject_id=body["id"]).count() == 1

    @pytest.mark.parametrize("outcome", ["decline", "require_action", "abandon"])
    def test_stays_pending_while_the_person_has_not_paid(self, payments, outcome):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        payments.choose(intent_of(body), outcome)

        synced = client.post(f"{PURCHASES}{body['id']}/sync/").json()

        assert (synced["status"], synced["payment"]["client_secret"]) == ("PENDING", body["payment"]["client_secret"])

    def test_continues_the_pending_one_of_the_same_tune_and_vehicle(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)

        first = buy(client, tune, bike)
        second = buy(client, tune, bike)

        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json()["id"] == second.json()["id"]
        assert len(payments.intents_of(first.json()["id"])) == 1

    def test_the_pending_ones_snapshot_is_what_the_expected_price_must_equal(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        buy(client, tune, bike)
        Tune.objects.filter(pk=tune.pk).update(price_minor=19900)

        assert buy(client, tune, bike).status_code == 200
        assert buy(client, tune, bike, expected_price_minor=19900).json()["code"] == "price_changed"

    def test_two_vehicles_are_two_pending_purchases(self, payments):
        client, bike = rider_with_bike()
        other = VehicleFactory(owner=client.user, with_stock=True)
        tune = TuneFactory(published=True)

        assert [buy(client, tune, vehicle).status_code for vehicle in (bike, other)] == [201, 201]


class TestIdempotency:
    def test_a_key_is_required(self):
        client, bike = rider_with_bike()

        answer = client.post(PURCHASES, wish(TuneFactory(published=True), bike))

        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")

    def test_a_repeat_answers_with_the_same_status_and_purchase(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)

        answers = [buy(client, tune, bike, key=key) for key in ("a", "a", "b", "b")]

        assert [answer.status_code for answer in answers] == [201, 201, 200, 200]
        assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true", None, "true"]
        assert len({answer.json()["id"] for answer in answers}) == 1

    def test_a_repeat_shows_the_purchase_as_it_is_now(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        body = buy(client, tune, bike, key="a").json()
        payments.choose(intent_of(body), "succeed")
        client.post(f"{PURCHASES}{body['id']}/sync/")

        again = buy(client, tune, bike, key="a")

        assert (again.status_code, again.json()["status"]) == (201, "PAID")

    def test_another_body_under_the_key_is_refused(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        buy(client, tune, bike, key="a")

        answer = buy(client, TuneFactory(published=True), bike, key="a")

        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")

    def test_a_refusal_is_judged_anew(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        refused = buy(client, tune, bike, key="a", expected_price_minor=14901)
        Tune.objects.filter(pk=tune.pk).update(price_minor=14901)

        assert refused.json()["code"] == "price_changed"
        assert buy(client, tune, bike, key="a", expected_price_minor=14901).status_code == 201


class TestRefusals:
    def refused(self, answer, code, status=409):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert not Purchase.objects.filter(status=PurchaseStatus.PENDING).exists()
        return answer.json()

    def test_already_owned_names_the_purchase_while_its_license_is_free(self):
        client, bike = rider_with_bike()
        license = LicenseFactory(holder=client.user, purchase__buyer=client.user)

        body = self.refused(buy(client, license.tune, bike), "already_owned")

        assert body["purchase_id"] == str(license.purchase_id)

    @pytest.mark.parametrize("state", ["reserved", "bound"])
    def test_already_owned_on_this_vehicle_but_not_on_another(self, payments, state):
        client, bike = rider_with_bike()
        other = VehicleFactory(owner=client.user, with_stock=True)
        license = LicenseFactory(**{state: True}, purchase__buyer=client.user, purchase__vehicle_id=bike.pk)

        self.refused(buy(client, license.tune, bike), "already_owned")
        assert buy(client, license.tune, other).status_code == 201

    def test_a_bike_that_was_added_again_is_the_same_bike(self):
        client, bike = rider_with_bike(frame_number="MH-1974-0042")
        license = LicenseFactory(
            bound=True, purchase__buyer=client.user, purchase__vehicle_identity_hashes=[bytes(bike.frame_number_hash).hex()]
        )

        assert license.vehicle_id != bike.pk
        self.refused(buy(client, license.tune, bike), "already_owned")

    def test_a_revoked_license_does_not_stop_buying_again(self, payments):
        client, bike = rider_with_bike()
        license = LicenseFactory(revoked=True, purchase__buyer=client.user, purchase__refunded=True, purchase__with_license=False)

        assert buy(client, license.tune, bike).status_code == 201

    @pytest.mark.parametrize("change", [{"expected_price_minor": 14899}, {"expected_price_minor": 0}, {"currency": "USD"}])
    def test_price_changed_tells_the_present_price(self, change):
        client, bike = rider_with_bike()

        body = self.refused(buy(client, TuneFactory(published=True), bike, **change), "price_changed")

        assert (body["price_minor"], body["currency"]) == (14900, "EUR")

    def test_own_tune(self):
        tune = TuneFactory(published=True)
        bike = VehicleFactory(owner=tune.tuner.user, with_stock=True)

        self.refused(buy(client_for(tune.tuner.user), tune, bike), "own_tune")

    @pytest.mark.parametrize("state", ["archived", "suspended"])
    def test_not_for_sale_when_archived_or_suspended(self, state):
        client, bike = rider_with_bike()

        self.refused(buy(client, TuneFactory(**{state: True}), bike), "not_for_sale")

    @pytest.mark.parametrize("state", ["on_hold", "recalled", "withdrawn"])
    def test_not_for_sale_without_a_published_version(self, state):
        client, bike = rider_with_bike()

        self.refused(buy(client, TuneVersionFactory(**{state: True}).tune, bike), "not_for_sale")

    def test_somebody_elses_draft_does_not_exist(self):
        client, bike = rider_with_bike()

        self.refused(buy(client, TuneFactory(), bike), "not_found", 404)

    def test_somebody_elses_vehicle_does_not_exist(self):
        client, _ = rider_with_bike()

        self.refused(buy(client, TuneFactory(published=True), VehicleFactory(with_stock=True)), "not_found", 404)

    def test_a_deleted_vehicle_does_not_exist(self):
        client, bike = rider_with_bike(deleted=True)

        self.refused(buy(client, TuneFactory(published=True), bike), "not_found", 404)

    def test_fitment_mismatch_tells_why(self):
        client, bike = rider_with_bike(ecu_hardware_number="OTHER-1")

        body = self.refused(buy(client, TuneFactory(published=True), bike), "fitment_mismatch")

        assert "hardware_number_mismatch" in [reason["code"] for reason in body["reasons"]]

    def test_what_is_unknown_must_be_acknowledged_exactly(self, payments):
        client, bike = rider_with_bike(with_stock=False)
        tune = TuneFactory(published=True)

        required = self.refused(buy(client, tune, bike), "acknowledgement_required")["required_reasons"]
        assert "hardware_number_unknown" in required
        self.refused(buy(client, tune, bike, acknowledged_reasons=required[:-1]), "acknowledgement_required")
        self.refused(buy(client, tune, bike, acknowledged_reasons=[*required, "parts_unknown"]), "acknowledgement_required")
        assert buy(client, tune, bike, acknowledged_reasons=required[::-1]).status_code == 201
        assert Purchase.objects.get().acknowledged_reasons == required

    def test_a_match_needs_no_acknowledgement_and_takes_none(self):
        client, bike = rider_with_bike()

        self.refused(buy(client, TuneFactory(published=True), bike, acknowledged_reasons=["fuel_unknown"]), "acknowledgement_required")

    @pytest.mark.parametrize(
        ("blocked", "country", "market"),
        [
            (["DE"], "DE", "EU"),
            (["EU"], "", "EU"),
            (["EU"], "FR", "US"),
            (["US-CA"], "US", "EU"),
            (["UK"], "GB", "EU"),
            (["US"], "DE", "US"),
        ],
    )
    def test_region_blocked_by_the_buyers_country_or_the_vehicles_market(self, blocked, country, market):
        client, bike = rider_with_bike(market=market)
        client.user.profile.country = country
        client.user.profile.save()
        tune = TuneFactory(published=True, version__blocked_regions=blocked, version__fitment__markets=[market])

        self.refused(buy(client, tune, bike), "region_blocked", 451)

    def test_another_region_is_not_blocked(self, payments):
        client, bike = rider_with_bike()
        client.user.profile.country = "DE"
        client.user.profile.save()

        assert buy(client, TuneFactory(published=True, version__blocked_regions=["US", "FR"]), bike).status_code == 201

    @pytest.mark.parametrize("attestation", [None, {"accepted": False}, {"text_version": "2020-01-01"}])
    def test_attestation_required_names_the_present_text(self, attestation):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        body = wish(tune, bike)
        if attestation is None:
            del body["attestation"]
        else:
            body["attestation"] |= attestation

        answer = client.post(PURCHASES, body, HTTP_IDEMPOTENCY_KEY="k")

        refusal = self.refused(answer, "attestation_required")
        assert (refusal["text_version"], refusal["sha256"]) == (agreed_text("attestation").version, agreed_text("attestation").sha256)

    def test_an_amount_that_the_provider_never_takes_is_not_for_sale(self, payments):
        client, bike = rider_with_bike()

        self.refused(buy(client, TuneFactory(published=True, price_minor=10), bike), "not_for_sale")

    @pytest.mark.parametrize(
        "change",
        [
            {"tune": "x"}, {"tune": None}, {"vehicle": []}, {"expected_price_minor": -1}, {"expected_price_minor": 1.5},
            {"expected_price_minor": True}, {"expected_price_minor": "149"}, {"currency": "eur"}, {"currency": ""},
            {"amount_minor": 1}, {"status": "PAID"},
            {"attestation": []}, {"attestation": {"text_version": "x", "accepted": "yes"}}, {"acknowledged_reasons": "x"},
            {"acknowledged_reasons": ["DROP TABLE"]}, {"acknowledged_reasons": ["a"] * 41}, {"price_minor": 1},
        ],
    )  # fmt: skip
    def test_bad_input_is_a_400_that_names_the_place(self, change):
        client, bike = rider_with_bike()

        answer = buy(client, TuneFactory(published=True), bike, **change)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"].startswith("/" + next(iter(change)))
        assert not Purchase.objects.exists()

    def test_nobody_buys_without_signing_in(self):
        assert ApiClient().post(PURCHASES, {}).status_code == 401


class TestTheProviderInTrouble:
    def test_down_is_503_and_the_same_request_finishes_the_same_purchase(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        payments.switch("faults", mode="down")

        down = buy(client, tune, bike, key="a")
        purchase = Purchase.objects.get()
        payments.behave()
        again = buy(client, tune, bike, key="a")

        assert (down.status_code, down.json()["code"], down.json()["service"]) == (503, "service_unavailable", "payments")
        assert int(down.headers["Retry-After"]) > 0
        assert (again.status_code, again.json()["id"]) == (201, str(purchase.pk))
        assert len(payments.intents_of(purchase.pk)) == 1

    def test_another_key_finishes_it_too(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        payments.switch("faults", mode="down")
        buy(client, tune, bike)
        payments.behave()

        again = buy(client, tune, bike)

        assert (again.status_code, Purchase.objects.count()) == (200, 1)
        assert again.json()["payment"]["client_secret"]

    def test_down_shows_a_pending_purchase_without_a_secret_and_sync_gets_it(self, payments):
        client, bike = rider_with_bike()
        payments.switch("faults", mode="down")
        buy(client, TuneFactory(published=True), bike)
        path = f"{PURCHASES}{Purchase.objects.get().pk}/"

        while_down = client.get(path).json()
        sync_down = client.post(f"{path}sync/")
        payments.behave()

        assert while_down["status"] == "PENDING"
        assert (while_down["payment"]["client_secret"], while_down["payment"]["sandbox_url"]) == (None, None)
        assert sync_down.status_code == 503
        assert client.post(f"{path}sync/").json()["payment"]["client_secret"]

    def test_a_time_out_after_acting_makes_no_second_intent(self, payments, monkeypatch):
        monkeypatch.setattr("marketplace.payments.client.READ_TIMEOUT_SECONDS", 0.4)
        monkeypatch.setattr("marketplace.payments.client._local", type("Local", (), {})())
        client, bike = rider_with_bike()
        payments.switch("faults", mode="time_out_after", seconds=1.5, times=1)

        answer = buy(client, TuneFactory(published=True), bike)

        assert answer.status_code == 201
        assert len(payments.intents_of(answer.json()["id"])) == 1

    def test_while_it_is_silent_one_at_a_time_asks_and_the_first_answer_ends_that(self, payments, settings, monkeypatch):
        monkeypatch.setattr(gateway.client, "READ_TIMEOUT_SECONDS", 0.4)
        monkeypatch.setattr(gateway.client, "_local", type("Local", (), {})())
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:  # takes connections and never answers
            settings.STRIPE_API_BASE = f"http://127.0.0.1:{silent.getsockname()[1]}"
            assert buy(client, tune, bike).json()["service"] == "payments"
        settings.STRIPE_API_BASE = payments.url

        with gateway.client._gate.passing():  # somebody is just asking
            refused = buy(client, tune, bike)
        assert (refused.status_code, refused.json()["service"]) == (503, "payments")
        assert payments.intents_of(Purchase.objects.get().pk) == [], "nobody else did"

        assert buy(client, tune, bike).status_code == 200
        assert not gateway.client._gate.is_suspected

    def test_a_cut_after_acting_is_found_again_by_the_key(self, payments):
        client, bike = rider_with_bike()
        payments.switch("faults", mode="cut_after", times=1)

        answer = buy(client, TuneFactory(published=True), bike)

        assert answer.status_code == 201
        assert len(payments.intents_of(answer.json()["id"])) == 1

    def test_a_saved_error_leads_to_a_second_attempt_after_the_list_showed_nothing(self, payments):
        client, bike = rider_with_bike()
        payments.switch("faults", mode="error_saved", times=1, path="/v1/payment_intents")

        answer = buy(client, TuneFactory(published=True), bike)

        states = list(PaymentAttempt.objects.order_by("attempt").values_list("attempt", "state"))
        assert answer.status_code == 201
        assert states == [(1, PaymentAttemptState.ABANDONED), (2, PaymentAttemptState.OPEN)]
        assert len(payments.intents_of(answer.json()["id"])) == 1

    @pytest.mark.parametrize("mode", ["rate_limit", "error"])
    def test_429_and_500_are_503_and_lose_nothing(self, payments, mode):
        client, bike = rider_with_bike()
        payments.switch("faults", mode=mode)

        assert buy(client, TuneFactory(published=True), bike).status_code == 503
        assert Purchase.objects.get().attempts.get().state == PaymentAttemptState.OPENING


class TestCancel:
    def test_cancels_at_the_provider_first(self, payments):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()

        answer = client.post(f"{PURCHASES}{body['id']}/cancel/")

        assert (answer.status_code, answer.json()["status"], answer.json()["payment"]) == (200, "CANCELED", None)
        assert payments.intents_of(body["id"])[0]["status"] == "canceled"
        assert client.post(f"{PURCHASES}{body['id']}/cancel/").status_code == 200

    def test_a_payment_that_had_succeeded_makes_it_paid_instead(self, payments):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        payments.choose(intent_of(body), "succeed")

        answer = client.post(f"{PURCHASES}{body['id']}/cancel/")

        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")
        assert client.get(f"{PURCHASES}{body['id']}/").json()["status"] == "PAID"

    def test_with_the_provider_down_nothing_changes(self, payments):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        payments.switch("faults", mode="down")

        assert client.post(f"{PURCHASES}{body['id']}/cancel/").status_code == 503
        assert Purchase.objects.get().status == PurchaseStatus.PENDING

    def test_frees_the_way_for_a_new_purchase(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        body = buy(client, tune, bike).json()
        client.post(f"{PURCHASES}{body['id']}/cancel/")

        again = buy(client, tune, bike)

        assert (again.status_code, again.json()["id"] == body["id"]) == (201, False)

    @pytest.mark.parametrize("state", ["paid", "expired", "refunded", "disputed", "charged_back"])
    def test_what_does_not_wait_can_not_be_cancelled(self, state):
        purchase = PurchaseFactory(**{state: True})

        answer = client_for(purchase.buyer).post(f"{PURCHASES}{purchase.pk}/cancel/")

        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


class TestSomebodyElses:
    @pytest.mark.parametrize(
        ("method", "path"), [("get", ""), ("get", "receipt/"), ("post", "sync/"), ("post", "cancel/"), ("post", "license/release/")]
    )
    def test_purchase_is_as_missing_as_a_missing_one(self, method, path):
        foreign, nobodys = PurchaseFactory(paid=True).pk, "01890000-0000-7000-8000-000000000000"
        client = client_for(UserFactory())
        body = {"reason": "x"} if "release" in path else None

        answers = [getattr(client, method)(f"{PURCHASES}{purchase}/{path}", body) for purchase in (foreign, nobodys)]

        bodies = [{k: v for k, v in answer.json().items() if k not in ("instance", "request_id")} for answer in answers]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert bodies[0] == bodies[1]


class TestReceipt:
    def test_shows_what_was_agreed(self):
        purchase = PurchaseFactory(paid=True)
        Tune.objects.filter(pk=purchase.tune_id).update(title="Another title", price_minor=1)

        receipt = client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/receipt/").json()

        assert (receipt["number"], receipt["amount_minor"], receipt["currency"], receipt["tax_minor"]) == (purchase.number, 14900, "EUR", 0)
        assert receipt["item"]["title"] == purchase.tune_title
        assert receipt["seller"]["name"] == purchase.tuner.business_name
        assert receipt["buyer"]["display_name"] == purchase.buyer.display_name
        assert receipt["attestation"]["sha256"] == purchase.attestation_sha256

    @pytest.mark.parametrize("state", ["canceled", "expired", None])
    def test_there_is_none_without_payment(self, state):
        purchase = PurchaseFactory(**({state: True} if state else {}))

        answer = client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/receipt/")

        assert (answer.status_code, answer.json()["code"]) == (409, "purchase_not_paid")


class TestExpiry:
    def test_a_stale_purchase_is_expired_at_the_provider_before_the_next_one(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        body = buy(client, tune, bike).json()
        Purchase.objects.update(expires_at=clock.now() - timedelta(seconds=1))

        again = buy(client, tune, bike)

        old = Purchase.objects.get(pk=body["id"])
        assert (again.status_code, old.status) == (201, PurchaseStatus.EXPIRED)
        assert payments.intents_of(old.pk)[0]["status"] == "canceled"

    def test_a_stale_purchase_that_was_paid_is_owned(self, payments):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        body = buy(client, tune, bike).json()
        payments.choose(intent_of(body), "succeed")
        Purchase.objects.update(expires_at=clock.now() - timedelta(seconds=1))

        again = buy(client, tune, bike)

        assert (again.json()["code"], again.json()["purchase_id"]) == ("already_owned", body["id"])
        assert License.objects.get().state == LicenseState.UNBOUND
