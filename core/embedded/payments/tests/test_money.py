"""Refunds, disputes, connected accounts, transfers, payouts and balances, through the official client."""

import json
import time
import urllib.error
import uuid

import pytest
import stripe

from core.embedded.payments.tests.test_stand_in import make

RETURN, REFRESH = "https://example.test/done", "https://example.test/again"


@pytest.fixture
def soon(server):
    """ "Later" is at once; what waits is done by the clerk within a moment."""
    server.switch("later", seconds=0.2)
    return server


@pytest.fixture
def paid(server, client):
    """A paid intent of 149.00 EUR."""
    intent = make(client)
    server.choose(intent.id, "succeed")
    return client.v1.payment_intents.retrieve(intent.id)


def wait_until(read, expected, *, seconds=10):
    deadline = time.monotonic() + seconds
    while (found := read()) != expected:
        assert time.monotonic() < deadline, f"{found} is not {expected}"
        time.sleep(0.05)


def account(server, client, *, country="DE", outcome="complete"):
    made = client.v1.accounts.create(
        {
            "type": "express", "country": country, "email": "t@example.test", "capabilities": {"transfers": {"requested": True}},
            "settings": {"payouts": {"schedule": {"interval": "manual"}}}, "metadata": {"tuner": "1"},
        }
    )  # fmt: skip
    if outcome:
        server.onboard(link(client, made.id).url, outcome)
    return made.id


def link(client, account_id):
    return client.v1.account_links.create(
        {"account": account_id, "refresh_url": REFRESH, "return_url": RETURN, "type": "account_onboarding"}
    )


def transfer(client, destination, amount=1000, currency="eur", **more):
    return client.v1.transfers.create({"amount": amount, "currency": currency, "destination": destination, **more})


def free(client, currency="eur", account_id=None):
    options = {"stripe_account": account_id} if account_id else None
    return {part.currency: part.amount for part in client.v1.balance.retrieve({}, options).available}.get(currency, 0)


class TestRefunds:
    def test_one_that_fails_later_gives_the_money_back_to_us(self, soon, client, paid):
        soon.choose(paid.id, "refunds_fail")
        before = free(client)

        refund = client.v1.refunds.create({"payment_intent": paid.id, "metadata": {"refund": "7"}})
        wait_until(lambda: client.v1.refunds.retrieve(refund.id).status, "failed")

        failed = client.v1.refunds.retrieve(refund.id)
        assert (refund.status, failed.failure_reason, failed.metadata["refund"]) == ("succeeded", "expired_or_canceled_card", "7")
        assert free(client) == before
        assert client.v1.charges.retrieve(paid.latest_charge).amount_refunded == 0
        soon.receiver.wait_for(8)
        told = {"refund.created", "charge.refunded", "refund.updated", "charge.refund.updated", "refund.failed"}
        assert told <= set(soon.receiver.types())

    def test_one_that_waits_succeeds_later(self, soon, client, paid):
        soon.choose(paid.id, "refunds_wait")

        refund = client.v1.refunds.create({"payment_intent": paid.id, "amount": 900})

        assert refund.status == "pending"
        wait_until(lambda: client.v1.refunds.retrieve(refund.id).status, "succeeded")

    @pytest.mark.parametrize(
        ("method", "first", "last"), [("pm_card_refundFail", "succeeded", "failed"), ("pm_card_pendingRefund", "pending", "succeeded")]
    )
    def test_test_cards_decide_it_as_well(self, soon, client, method, first, last):
        intent = make(client)
        client.v1.payment_intents.confirm(intent.id, {"payment_method": method})

        refund = client.v1.refunds.create({"payment_intent": intent.id})

        assert refund.status == first
        wait_until(lambda: client.v1.refunds.retrieve(refund.id).status, last)

    def test_the_page_ends_the_newest_refund(self, server, client, paid):
        server.choose(paid.id, "refunds_wait")
        first = client.v1.refunds.create({"payment_intent": paid.id, "amount": 100})

        done = server.choose(paid.id, "refund_done")
        again = server.choose(paid.id, "refund_done")
        failed = server.choose(paid.id, "refund_failed")

        assert (done[0], again[0], failed[0]) == (200, 409, 200)
        assert client.v1.refunds.retrieve(first.id).status == "failed"

    def test_a_failed_one_may_be_tried_anew(self, server, client, paid):
        refund = client.v1.refunds.create({"payment_intent": paid.id})
        server.act("refund_fails", refund.id)

        assert client.v1.refunds.create({"payment_intent": paid.id}).amount == 14900

    def test_its_key_refunds_once(self, client, paid):
        key = uuid.uuid4().hex
        ids = {client.v1.refunds.create({"payment_intent": paid.id, "amount": 100}, {"idempotency_key": key}).id for _ in range(3)}

        assert len(ids) == 1
        assert len(client.v1.refunds.list({"payment_intent": paid.id}).data) == 1

    def test_a_refusal_is_saved_under_its_key(self, server, client, paid):
        first = client.v1.refunds.create({"payment_intent": paid.id})
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.refunds.create({"payment_intent": paid.id}, {"idempotency_key": "refused-" + paid.id})
        server.act("refund_fails", first.id)

        with pytest.raises(stripe.InvalidRequestError) as replayed:
            client.v1.refunds.create({"payment_intent": paid.id}, {"idempotency_key": "refused-" + paid.id})

        assert (replayed.value.code, replayed.value.headers["Idempotent-Replayed"]) == ("charge_already_refunded", "true")


class TestDisputes:
    def opened(self, server, client, paid, outcome="dispute"):
        server.choose(paid.id, outcome)
        return client.v1.disputes.list({"payment_intent": paid.id}).data[0]

    def test_takes_the_money_and_a_fee_and_gives_the_money_back_when_won(self, server, client, paid):
        before = free(client)

        dispute = self.opened(server, client, paid)
        taken = before - free(client)
        server.choose(paid.id, "dispute_won")

        won = client.v1.disputes.retrieve(dispute.id)
        assert (taken, [(row.amount, row.fee) for row in dispute.balance_transactions]) == (14900 + 2000, [(-14900, 2000)])
        assert (won.status, before - free(client), sum(row.amount for row in won.balance_transactions)) == ("won", 2000, 0)

    def test_evidence_is_kept_then_submitted_once(self, server, client, paid):
        dispute = self.opened(server, client, paid)

        kept = client.v1.disputes.update(dispute.id, {"evidence": {"product_description": "a tune"}, "submit": False})
        sent = client.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "flashed"}, "submit": True})
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "more"}, "submit": True})

        assert (kept.status, kept.evidence_details.has_evidence, kept.evidence_details.submission_count) == ("needs_response", True, 0)
        assert (sent.status, sent.evidence_details.submission_count) == ("under_review", 1)
        assert sent.evidence.product_description == "a tune"

    @pytest.mark.parametrize(("words", "status"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
    def test_test_evidence_decides(self, soon, client, paid, words, status):
        dispute = self.opened(soon, client, paid)

        client.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": words}, "submit": True})

        wait_until(lambda: client.v1.disputes.retrieve(dispute.id).status, status)

    def test_giving_in_and_running_out_lose_it(self, server, client):
        for act in ("close", "overdue"):
            intent = make(client)
            server.choose(intent.id, "succeed")
            dispute = self.opened(server, client, intent)
            if act == "close":
                client.v1.disputes.close(dispute.id)
            else:
                server.act("dispute_overdue", dispute.id)

            assert client.v1.disputes.retrieve(dispute.id).status == "lost"

    def test_an_inquiry_takes_no_money(self, server, client, paid):
        before = free(client)

        dispute = self.opened(server, client, paid, "inquiry")
        refund = client.v1.refunds.create({"payment_intent": paid.id, "amount": 100})
        client.v1.disputes.close(dispute.id)

        assert (dispute.status, dispute.balance_transactions, refund.status) == ("warning_needs_response", [], "succeeded")
        assert (client.v1.disputes.retrieve(dispute.id).status, before - free(client)) == ("warning_closed", 100)

    def test_no_refund_while_it_is_open_and_a_waiting_one_fails(self, server, client, paid):
        server.choose(paid.id, "refunds_wait")
        waiting = client.v1.refunds.create({"payment_intent": paid.id, "amount": 900})

        dispute = self.opened(server, client, paid)
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            client.v1.refunds.create({"payment_intent": paid.id})

        failed = client.v1.refunds.retrieve(waiting.id)
        assert (failed.status, failed.failure_reason) == ("failed", "charge_for_pending_refund_disputed")
        assert (dispute.amount, refusal.value.code) == (14900, "charge_disputed")

    @pytest.mark.parametrize("evidence", [{"surprise": "x"}, {"uncategorized_text": "x" * 20_001}])
    def test_wrong_evidence_is_refused(self, server, client, paid, evidence):
        dispute = self.opened(server, client, paid)

        with pytest.raises(stripe.InvalidRequestError):
            client.v1.disputes.update(dispute.id, {"evidence": evidence, "submit": True})

        assert client.v1.disputes.retrieve(dispute.id).status == "needs_response"


class TestOnboarding:
    def test_an_account_can_nothing_before_and_all_after(self, server, client):
        made = account(server, client, outcome=None)
        before = client.v1.accounts.retrieve(made)

        led_to = server.onboard(link(client, made).url, "complete")

        after = client.v1.accounts.retrieve(made)
        assert (before.payouts_enabled, before.details_submitted, before.capabilities.transfers) == (False, False, "inactive")
        assert before.requirements.currently_due
        assert (after.payouts_enabled, after.details_submitted, after.capabilities.transfers) == (True, True, "active")
        assert (after.requirements.currently_due, led_to, after.default_currency) == ([], RETURN, "eur")

    @pytest.mark.parametrize(
        ("outcome", "submitted", "reason"),
        [("later", False, "requirements.past_due"), ("more_needed", True, "requirements.past_due"), ("reject", True, "rejected.other")],
    )
    def test_other_ends_leave_payouts_off(self, server, client, outcome, submitted, reason):
        found = client.v1.accounts.retrieve(account(server, client, outcome=outcome))

        assert (found.payouts_enabled, found.details_submitted, found.requirements.disabled_reason) == (False, submitted, reason)

    def test_verification_ends_later_and_is_told_with_the_account(self, soon, client):
        made = account(soon, client, outcome="verify")
        wait_until(lambda: client.v1.accounts.retrieve(made).payouts_enabled, True)

        soon.receiver.wait_for(2)

        told = [json.loads(body) for body, _, _ in soon.receiver.received]
        assert [(event["type"], event["account"]) for event in told] == [("account.updated", made)] * 2

    def test_a_link_opens_once(self, server, client):
        url = link(client, account(server, client, outcome=None)).url
        server.onboard(url, "later")

        assert server.onboard(url, "complete") == REFRESH

    @pytest.mark.parametrize("change", [{"type": "custom"}, {"country": "Germany"}, {"surprise": "1"}])
    def test_wrong_accounts_are_refused(self, client, change):
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.accounts.create({"type": "express", "country": "DE", **change})


class TestTransfers:
    def test_moves_what_is_available(self, server, client, paid):
        tuner = account(server, client)
        before = free(client)

        made = transfer(client, tuner, 5000, transfer_group="RS-1", metadata={"payout": "1"})

        assert (before - free(client), free(client, account_id=tuner)) == (5000, 5000)
        assert (made.destination, made.transfer_group, made.metadata["payout"]) == (tuner, "RS-1", "1")
        assert [row.id for row in client.v1.transfers.list({"destination": tuner}).data] == [made.id]
        assert made.id in [row.id for row in client.v1.transfers.list({"transfer_group": "RS-1"}).data]

    def test_more_than_there_is_is_refused_and_the_refusal_saved(self, server, client):
        tuner = account(server, client)
        for _ in range(2):
            with pytest.raises(stripe.InvalidRequestError) as refusal:
                client.v1.transfers.create(
                    {"amount": 900_000_000, "currency": "eur", "destination": tuner}, {"idempotency_key": "much-" + tuner}
                )

        assert (refusal.value.code, refusal.value.headers["Idempotent-Replayed"]) == ("balance_insufficient", "true")

    def test_with_a_source_it_needs_no_available_money_and_stays_within_it(self, server, client):
        server.switch("later", available_after=3600)
        tuner, intent = account(server, client), make(client, amount=20000)
        server.choose(intent.id, "succeed")
        charge = client.v1.payment_intents.retrieve(intent.id).latest_charge

        made = transfer(client, tuner, 15000, source_transaction=charge)
        with pytest.raises(stripe.InvalidRequestError):
            transfer(client, tuner, 5001, source_transaction=charge)
        with pytest.raises(stripe.InvalidRequestError):
            transfer(client, tuner, 100, currency="usd", source_transaction=charge)

        assert made.source_transaction == charge

    def test_received_money_waits_when_it_is_said_to(self, server, client):
        server.switch("later", available_after=3600)
        before = free(client, "sek")
        server.choose(make(client, currency="sek", amount=50000).id, "succeed")

        balance = client.v1.balance.retrieve()

        assert free(client, "sek") == before
        assert {part.currency: part.amount for part in balance.pending}["sek"] >= 49000

    @pytest.mark.parametrize("outcome", [None, "more_needed", "reject"])
    def test_an_account_that_is_not_verified_gets_nothing(self, server, client, paid, outcome):
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            transfer(client, account(server, client, outcome=outcome))

        assert refusal.value.code == "insufficient_capabilities_for_transfer"

    def test_reversals_take_back_what_is_still_there(self, server, client, paid):
        tuner = account(server, client)
        made = transfer(client, tuner, 5000)

        part = client.v1.transfers.reversals.create(made.id, {"amount": 2000, "metadata": {"why": "x"}})
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.transfers.reversals.create(made.id, {"amount": 3001})
        client.v1.payouts.create({"amount": 3000, "currency": "eur"}, {"stripe_account": tuner})
        with pytest.raises(stripe.InvalidRequestError) as gone:
            client.v1.transfers.reversals.create(made.id, {"amount": 1})

        found = client.v1.transfers.retrieve(made.id)
        assert (part.amount, found.amount_reversed, found.reversed, gone.value.code) == (2000, 2000, False, "balance_insufficient")
        assert [row.id for row in client.v1.transfers.reversals.list(made.id).data] == [part.id]

    def test_an_unknown_destination_is_missing(self, client):
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            transfer(client, "acct_missing")

        assert refusal.value.code == "resource_missing"


class TestPayouts:
    def test_leaves_the_balance_at_once_and_arrives_later(self, soon, client, paid):
        tuner = account(soon, client)
        transfer(client, tuner, 5000)

        made = client.v1.payouts.create({"amount": 4000, "currency": "eur", "metadata": {"payout": "1"}}, {"stripe_account": tuner})

        assert (made.status, free(client, account_id=tuner)) == ("pending", 1000)
        wait_until(lambda: client.v1.payouts.retrieve(made.id, {}, {"stripe_account": tuner}).status, "paid")
        assert [row.id for row in client.v1.payouts.list({}, {"stripe_account": tuner}).data] == [made.id]

    @pytest.mark.parametrize("when", ["later", "after it was paid"])
    def test_one_that_fails_is_on_the_account_again(self, soon, client, paid, when):
        tuner = account(soon, client)
        transfer(client, tuner, 5000)
        soon.switch("later", seconds=0.2, payouts_fail="account_closed" if when == "later" else "")

        made = client.v1.payouts.create({"amount": 5000, "currency": "eur"}, {"stripe_account": tuner})
        if when != "later":
            wait_until(lambda: client.v1.payouts.retrieve(made.id, {}, {"stripe_account": tuner}).status, "paid")
            soon.act("payout_fails", made.id)

        wait_until(lambda: client.v1.payouts.retrieve(made.id, {}, {"stripe_account": tuner}).failure_code, "account_closed")
        assert free(client, account_id=tuner) == 5000

    def test_belong_to_their_account(self, server, client, paid):
        mine, other = account(server, client), account(server, client)
        transfer(client, mine, 1000)
        made = client.v1.payouts.create({"amount": 1000, "currency": "eur"}, {"stripe_account": mine})

        for options in ({"stripe_account": other}, None):
            with pytest.raises(stripe.InvalidRequestError) as missing:
                client.v1.payouts.retrieve(made.id, {}, options)
            assert missing.value.http_status == 404
        with pytest.raises(stripe.PermissionError):
            client.v1.payouts.list({}, {"stripe_account": "acct_missing"})

    def test_the_same_key_on_two_accounts_is_two_payouts(self, server, client, paid):
        made = set()
        for tuner in (account(server, client), account(server, client)):
            transfer(client, tuner, 1000)
            options = {"stripe_account": tuner, "idempotency_key": "same-payout-" + paid.id}
            made |= {client.v1.payouts.create({"amount": 500, "currency": "eur"}, options).id for _ in range(2)}

        assert len(made) == 2

    def test_not_more_than_there_is_nor_before_onboarding(self, server, client):
        for outcome, code in (("complete", "balance_insufficient"), (None, "payouts_not_allowed")):
            with pytest.raises(stripe.InvalidRequestError) as refusal:
                client.v1.payouts.create({"amount": 1, "currency": "eur"}, {"stripe_account": account(server, client, outcome=outcome)})
            assert refusal.value.code == code


class TestBalances:
    @pytest.mark.parametrize(("currency", "amount", "fee"), [("eur", 14900, 249), ("jpy", 4900, 104), ("kwd", 1500, 123)])
    def test_a_charge_brings_its_amount_less_the_fee(self, server, client, currency, amount, fee):
        before = free(client, currency)
        intent = make(client, amount=amount, currency=currency)
        server.choose(intent.id, "succeed")

        charge = client.v1.payment_intents.retrieve(intent.id, {"expand": ["latest_charge.balance_transaction"]}).latest_charge

        assert (charge.balance_transaction.fee, free(client, currency) - before) == (fee, amount - fee)

    def test_every_movement_is_listed(self, server, client, paid):
        refund = client.v1.refunds.create({"payment_intent": paid.id, "amount": 900})

        rows = client.v1.balance_transactions.list({"source": refund.id}).data

        assert [(row.type, row.net) for row in rows] == [("refund", -900)]

    def test_all_survive_kill_9(self, own_server):
        client = own_server.client()
        tuner = account(own_server, client)
        own_server.choose(make(client).id, "succeed")
        own_server.switch("later", seconds=1)
        transfer(client, tuner, 3000)
        made = client.v1.payouts.create({"amount": 2000, "currency": "eur"}, {"stripe_account": tuner})
        before = free(client), free(client, account_id=tuner)

        own_server.kill()
        own_server.start()

        assert (free(client), free(client, account_id=tuner)) == before
        wait_until(lambda: client.v1.payouts.retrieve(made.id, {}, {"stripe_account": tuner}).status, "paid")


class TestSwitches:
    def test_events_can_be_delayed(self, server, client):
        server.switch("webhooks", delay=1)
        make(client)
        time.sleep(0.5)
        early = server.receiver.types()
        server.receiver.wait_for(1)

        assert early == []

    def test_a_fault_can_be_a_matter_of_chance(self, server, client):
        server.switch("faults", mode="error", share=0.5)
        outcomes = set()
        for _ in range(40):
            try:
                client.v1.balance.retrieve()
                outcomes.add("good")
            except stripe.APIError:
                outcomes.add("bad")

        assert outcomes == {"good", "bad"}

    def test_an_unknown_act_is_refused(self, server):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            server.act("fly", "re_1")
        assert refusal.value.code == 400
        refusal.value.close()
