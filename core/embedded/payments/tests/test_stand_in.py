"""The stand-in against the official client: the real process, real HTTP, real signatures."""

import subprocess
import sys
import threading
import time

import pytest
import stripe

from core.embedded.payments.page import amount_text
from core.testing.payments import REPOSITORY, SECRET_KEY, WEBHOOK_SECRET

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def make(client, *, key=None, **params):
    params = {"amount": 14900, "currency": "eur", "metadata": {"purchase": "p1"}, **params}
    return client.v1.payment_intents.create(params, {"idempotency_key": key} if key else {})


class TestLifeCycle:
    def test_an_intent_waits_for_a_payment_method_and_keeps_its_metadata(self, client):
        intent = make(client)

        again = client.v1.payment_intents.retrieve(intent.id)

        assert (again.status, again.amount, again.currency, again.metadata.to_dict()) == (
            "requires_payment_method", 14900, "eur", {"purchase": "p1"},
        )  # fmt: skip
        assert again.client_secret.startswith(f"{intent.id}_secret_")

    def test_a_person_pays_on_the_page(self, server, client):
        intent = make(client, description="Stage 1 for a Yamaha MT-09")

        status, html = server.choose(intent.id, "succeed")

        paid = client.v1.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
        assert (status, paid.status, paid.amount_received, paid.latest_charge.status) == (200, "succeeded", 14900, "succeeded")
        assert "Paid." in html

    def test_a_decline_can_be_tried_again(self, server, client):
        intent = make(client)

        _, html = server.choose(intent.id, "decline")
        declined = client.v1.payment_intents.retrieve(intent.id)
        server.choose(intent.id, "succeed")

        assert (declined.status, declined.last_payment_error.code, declined.last_payment_error.decline_code) == (
            "requires_payment_method", "card_declined", "generic_decline",
        )  # fmt: skip
        assert "Your card was declined." in html
        assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"

    @pytest.mark.parametrize(("answer", "status"), [("succeed", "succeeded"), ("decline", "requires_payment_method")])
    def test_a_required_action_is_approved_or_refused(self, server, client, answer, status):
        intent = make(client)

        server.choose(intent.id, "require_action")
        waiting = client.v1.payment_intents.retrieve(intent.id)
        server.choose(intent.id, answer)

        assert (waiting.status, waiting.next_action.type) == ("requires_action", "use_stripe_sdk")
        assert client.v1.payment_intents.retrieve(intent.id).status == status

    def test_leaving_without_paying_changes_nothing(self, server, client):
        intent = make(client)

        status, html = server.choose(intent.id, "abandon")

        assert (status, client.v1.payment_intents.retrieve(intent.id).status) == (200, "requires_payment_method")
        assert "You left without paying" in html

    def test_a_canceled_intent_can_neither_be_paid_nor_canceled_again(self, server, client):
        intent = make(client)

        canceled = client.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
        status, _ = server.choose(intent.id, "succeed")
        with pytest.raises(stripe.InvalidRequestError) as again:
            client.v1.payment_intents.cancel(intent.id)

        assert (canceled.status, canceled.cancellation_reason, status) == ("canceled", "abandoned", 409)
        assert again.value.code == "payment_intent_unexpected_state"
        assert again.value.error.payment_intent.status == "canceled"

    def test_a_paid_intent_can_not_be_canceled(self, server, client):
        intent = make(client)
        server.choose(intent.id, "succeed")

        with pytest.raises(stripe.InvalidRequestError) as refusal:
            client.v1.payment_intents.cancel(intent.id)

        assert refusal.value.error.payment_intent.status == "succeeded"

    @pytest.mark.parametrize(
        ("method", "code"), [("pm_card_chargeDeclined", "card_declined"), ("pm_card_chargeDeclinedExpiredCard", "expired_card")]
    )
    def test_confirming_with_a_declining_card_is_a_card_error(self, client, method, code):
        intent = make(client)

        with pytest.raises(stripe.CardError) as declined:
            client.v1.payment_intents.confirm(intent.id, {"payment_method": method})

        assert declined.value.code == code

    def test_refunds_never_exceed_what_was_received(self, server, client):
        intent = make(client)
        server.choose(intent.id, "succeed")

        first = client.v1.refunds.create({"payment_intent": intent.id, "amount": 900})
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.refunds.create({"payment_intent": intent.id, "amount": 14001})
        client.v1.refunds.create({"payment_intent": intent.id})
        with pytest.raises(stripe.InvalidRequestError) as empty:
            client.v1.refunds.create({"payment_intent": intent.id})

        assert (first.amount, first.status, empty.value.code) == (900, "succeeded", "charge_already_refunded")
        assert [refund.amount for refund in client.v1.refunds.list({"payment_intent": intent.id}).data] == [14000, 900]

    def test_a_dispute_opens_and_is_decided(self, server, client):
        intent = make(client)

        server.choose(intent.id, "dispute")
        opened = client.v1.disputes.list({"payment_intent": intent.id}).data
        server.choose(intent.id, "dispute_lost")

        assert [(dispute.status, dispute.amount) for dispute in opened] == [("needs_response", 14900)]
        assert client.v1.disputes.retrieve(opened[0].id).status == "lost"


class TestBadInput:
    @pytest.mark.parametrize(
        ("params", "code"),
        [
            ({"amount": 0}, "parameter_invalid_integer"),
            ({"amount": -5}, "parameter_invalid_integer"),
            ({"amount": "12.5"}, "parameter_invalid_integer"),
            ({"amount": "NaN"}, "parameter_invalid_integer"),
            ({"amount": 49}, "amount_too_small"),
            ({"amount": 100_000_000}, "amount_too_large"),
            ({"surprise": "1"}, "parameter_unknown"),
        ],
    )
    def test_a_wrong_parameter_is_refused_by_its_code(self, client, params, code):
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            make(client, **params)

        assert refusal.value.code == code

    def test_an_unknown_currency_and_an_unknown_intent_are_refused(self, client):
        with pytest.raises(stripe.InvalidRequestError, match="Invalid currency"):
            make(client, currency="xxx")
        with pytest.raises(stripe.InvalidRequestError) as missing:
            client.v1.payment_intents.retrieve("pi_missing")
        assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")

    def test_a_wrong_key_is_refused_without_repeating_it(self, server):
        with pytest.raises(stripe.AuthenticationError) as refusal:
            make(server.client(key="sk_test_wrongwrongwrong"))

        assert "wrongwrong" not in str(refusal.value)

    def test_an_unknown_choice_on_the_page_is_refused(self, server, client):
        assert server.choose(make(client).id, "fly")[0] == 400
        assert server.choose("pi_missing", "succeed")[0] == 404


class TestIdempotency:
    def test_the_same_key_answers_with_the_same_intent(self, client):
        first, second = make(client, key="same-1"), make(client, key="same-1")

        assert first.id == second.id
        assert second.last_response.headers["Idempotent-Replayed"] == "true"

    def test_the_same_key_with_other_parameters_is_an_error(self, client):
        make(client, key="same-2")

        with pytest.raises(stripe.IdempotencyError):
            make(client, key="same-2", amount=100)

    def test_a_saved_error_is_replayed_after_its_cause_is_gone(self, server, client):
        server.switch("faults", mode="error_saved", times=1)
        for _ in range(2):
            with pytest.raises(stripe.APIError):
                make(client, key="same-3")

        assert make(client, key="same-4").status == "requires_payment_method"

    def test_a_failed_validation_is_not_saved(self, client):
        with pytest.raises(stripe.InvalidRequestError):
            make(client, key="same-5", amount=0)

        assert make(client, key="same-5").amount == 14900

    def test_a_second_call_during_the_first_conflicts(self, server):
        server.switch("faults", mode="slow", seconds=3, times=1)
        first = threading.Thread(target=lambda: make(server.client(), key="same-6"))
        first.start()
        time.sleep(1)

        with pytest.raises(stripe.APIError) as conflict:
            make(server.client(), key="same-6")
        first.join()

        assert (conflict.value.http_status, conflict.value.error.code) == (409, "idempotency_key_in_use")

    def test_twenty_parallel_calls_with_one_key_make_one_intent(self, server):
        made, lock = set(), threading.Lock()

        def act():
            intent = make(server.client(retries=5), key="same-7")
            with lock:
                made.add(intent.id)

        threads = [threading.Thread(target=act) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(made) == 1

    def test_a_key_is_forgotten_after_a_day(self, own_server):
        import sqlite3

        first = make(own_server.client(), key="old")
        own_server.kill()
        with sqlite3.connect(own_server.directory / "payments.sqlite3") as db:
            db.execute("UPDATE idempotency_keys SET created = created - 86401")
        db.close()
        own_server.start()

        assert make(own_server.client(), key="old").id != first.id


class TestFaults:
    def test_down_is_a_connection_error_and_passes(self, server, client):
        server.switch("faults", mode="down", times=1)
        with pytest.raises(stripe.APIConnectionError):
            make(client)

        assert make(client).id

    def test_a_time_out_after_acting_leaves_the_intent_for_the_retry(self, server):
        server.switch("faults", mode="time_out_after", seconds=3, times=1)
        with pytest.raises(stripe.APIConnectionError):
            make(server.client(timeout=1), key="late")

        intent = make(server.client(), key="late")
        ours = [found for found in server.client().v1.payment_intents.list({"limit": 100}).data if found.id == intent.id]
        assert intent.last_response.headers["Idempotent-Replayed"] == "true"
        assert len(ours) == 1

    def test_429_and_500_before_acting_make_nothing(self, server, client):
        newest = make(client).id
        for mode, error in (("rate_limit", stripe.RateLimitError), ("error", stripe.APIError)):
            server.switch("faults", mode=mode, times=1)
            with pytest.raises(error):
                make(client)

        assert client.v1.payment_intents.list({"limit": 1}).data[0].id == newest

    def test_a_fault_can_be_limited_to_a_path(self, server, client):
        server.switch("faults", mode="error", path="/v1/refunds")

        assert make(client).id


class TestLists:
    def test_pages_newest_first_in_both_directions(self, client):
        made = [make(client).id for _ in range(5)]

        first = client.v1.payment_intents.list({"limit": 2})
        second = client.v1.payment_intents.list({"limit": 2, "starting_after": first.data[-1].id})
        back = client.v1.payment_intents.list({"limit": 2, "ending_before": second.data[0].id})

        assert [intent.id for intent in (*first.data, *second.data)] == made[:0:-1]
        assert [intent.id for intent in back.data] == [intent.id for intent in first.data]
        assert first.has_more

    def test_auto_paging_meets_each_intent_once(self, client):
        made = {make(client).id for _ in range(7)}
        since = int(time.time()) - 60

        seen = [intent.id for intent in client.v1.payment_intents.list({"limit": 3, "created": {"gte": since}}).auto_paging_iter()]

        assert made <= set(seen)
        assert len(seen) == len(set(seen))


class TestEvents:
    def test_an_event_is_signed_as_the_official_verifier_expects(self, server, client):
        intent = make(client)
        server.receiver.wait_for(1)

        body, signature, _ = server.receiver.received[0]
        event = stripe.Webhook.construct_event(body, signature, WEBHOOK_SECRET)

        assert (event.type, event.data.object.id, event.livemode) == ("payment_intent.created", intent.id, False)
        assert event.api_version == stripe.api_version
        assert client.v1.events.retrieve(event.id).type == event.type
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body.replace(intent.id, "pi_other"), signature, WEBHOOK_SECRET)

    def test_an_event_is_sent_again_with_growing_pauses_until_it_is_taken(self, server, client):
        server.receiver.failing = 2
        make(client)
        server.receiver.wait_for(3)

        times = [moment for _, _, moment in server.receiver.received]
        time.sleep(0.5)
        assert server.receiver.types() == ["payment_intent.created"] * 3
        assert times[2] - times[1] > times[1] - times[0] > 0.4

    def test_the_events_of_a_payment_come(self, server, client):
        intent = make(client)
        server.choose(intent.id, "decline")
        server.choose(intent.id, "succeed")
        server.receiver.wait_for(5)

        assert sorted(server.receiver.types()) == [
            "charge.failed", "charge.succeeded", "payment_intent.created", "payment_intent.payment_failed", "payment_intent.succeeded",
        ]  # fmt: skip

    def test_events_wait_while_delivery_is_off_and_come_twice_when_asked(self, server, client):
        server.switch("webhooks", off=True)
        make(client)
        time.sleep(0.5)
        assert server.receiver.received == []

        server.switch("webhooks", repeat=1)
        server.receiver.wait_for(2)
        assert server.receiver.received[0][0] == server.receiver.received[1][0]


class TestDurability:
    def test_what_was_acknowledged_survives_kill_9(self, own_server):
        client = own_server.client()
        intent = make(client, key="durable")
        own_server.choose(intent.id, "succeed")

        own_server.kill()
        own_server.start()

        assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
        assert make(own_server.client(), key="durable").id == intent.id

    def test_events_that_were_not_taken_are_sent_after_kill_9(self, own_server):
        own_server.switch("webhooks", off=True)
        make(own_server.client())
        own_server.kill()
        own_server.start()

        own_server.switch("webhooks")

        own_server.receiver.wait_for(1)

    def test_a_key_in_progress_at_kill_9_is_free_again(self, own_server):
        own_server.switch("faults", mode="slow", seconds=30, times=1)
        with pytest.raises(stripe.APIConnectionError):
            make(own_server.client(timeout=0.3), key="cut")
        own_server.kill()
        own_server.start()

        assert make(own_server.client(), key="cut").status == "requires_payment_method"

    def test_sigterm_ends_it_cleanly_and_soon(self, own_server):
        started = time.monotonic()

        assert own_server.stop() == 0
        assert time.monotonic() - started < 10

    def test_it_stays_small(self, server, client):
        make(client)
        with open(f"/proc/{server.process.pid}/smaps_rollup") as rollup:
            pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))

        assert pss < 45 * 1024


class TestCommandLine:
    @pytest.mark.parametrize(
        ("arguments", "environment", "complaint"),
        [
            (["--port", "0", "--secret-key", SECRET_KEY], {}, "--data is required"),
            (["--data", "x", "--port", "0", "--secret-key", "sk_live_1"], {}, "live key"),
            (
                ["--data", "x", "--port", "0", "--secret-key", SECRET_KEY, "--webhook-url", "http://127.0.0.1/"],
                {},
                "needs --webhook-secret",
            ),
            (["--data", "x", "--port", "0", "--secret-key", SECRET_KEY], {"REVSYNC_ENV": "production"}, "refuses"),
        ],
    )
    def test_a_wrong_start_is_one_clear_line(self, arguments, environment, complaint, tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", "core.embedded.payments", *arguments],
            cwd=REPOSITORY, env={"PATH": "/usr/bin", **environment}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

        assert done.returncode == 2
        assert complaint in done.stderr


@pytest.mark.parametrize(
    ("amount", "currency", "text"), [(14900, "eur", "149.00 EUR"), (4900, "jpy", "4,900 JPY"), (1500, "kwd", "1.500 KWD")]
)
def test_amounts_are_shown_with_the_decimals_of_their_currency(amount, currency, text):
    assert amount_text(amount, currency) == text
