"""Every call that moves money, with every fault of the provider: it ends in the provider's truth, done once at most."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core import clock
from marketplace import payments as gateway

FAULTS = {
    "down": {"times": 2},
    "slow": {"seconds": 0.9, "times": 1},
    "rate_limit": {"times": 2},
    "error": {"times": 2},
    "error_saved": {"times": 1},
    "time_out_after": {"seconds": 0.9, "times": 2},
    "cut_after": {"times": 2},
}
AMOUNTS = {"EUR": 14900, "JPY": 4900, "KWD": 4900}  # 2, 0 and 3 decimals: minor units all the same


@pytest.fixture(autouse=True)
def impatient(payments, monkeypatch):
    """Time-outs as short as a test may wait for."""
    monkeypatch.setattr(gateway.client, "READ_TIMEOUT_SECONDS", 0.4)
    monkeypatch.setattr(gateway.client, "_local", type("Local", (), {})())


def paid(payments, *, amount_minor=14900, currency="EUR", outcome="succeed"):
    """A paid intent's id."""
    intent = gateway.create_intent(key=uuid.uuid4().hex, amount_minor=amount_minor, currency=currency, description="x", metadata={})
    payments.choose(intent.id, outcome)
    return intent.id


def onboarded(payments):
    """An account that may be paid."""
    account = gateway.create_account(key=uuid.uuid4().hex, country="DE", email="t@example.test", metadata={})
    url, _ = gateway.create_onboarding_link(account_id=account.id, refresh_url="http://t.test/a", return_url="http://t.test/b")
    payments.onboard(url, "complete")
    return account.id


@dataclass
class Operation:
    """One call: `act(key)` makes it, `found()` is what the provider's list has of it."""

    path: str
    act: Callable[[str], Any]
    found: Callable[[], list[Any]]


def _intent(payments, mark):
    since = clock.now()
    params = {"amount_minor": 14900, "currency": "EUR", "description": "x", "metadata": {"purchase": mark}}
    return Operation(
        "/v1/payment_intents",
        lambda key: gateway.create_intent(key=key, **params),
        lambda: gateway.find_intents(purchase_id=mark, since=since),
    )


def _cancel(payments, mark):
    intent = gateway.create_intent(key=mark, amount_minor=14900, currency="EUR", description="x", metadata={})
    return Operation(
        f"/v1/payment_intents/{intent.id}/cancel",
        lambda key: gateway.cancel_intent(intent.id),
        lambda: [each for each in [gateway.get_intent(intent.id)] if each.is_canceled],
    )


def _refund(payments, mark):
    intent_id = paid(payments)
    return Operation(
        "/v1/refunds",
        lambda key: gateway.create_refund(key=key, intent_id=intent_id, amount_minor=900, metadata={"refund": mark}),
        lambda: list(gateway.list_refunds(intent_id=intent_id)),
    )


def _evidence(payments, mark):
    (dispute,) = gateway.list_disputes(intent_id=paid(payments, outcome="dispute"))
    texts = {"product_description": "a tune", "uncategorized_text": mark}
    return Operation(
        f"/v1/disputes/{dispute.id}",
        lambda key: gateway.send_evidence(key=key, dispute_id=dispute.id, evidence=texts, submit=True),
        lambda: [None] * gateway.get_dispute(dispute.id).submissions,
    )


def _acceptance(payments, mark):
    (dispute,) = gateway.list_disputes(intent_id=paid(payments, outcome="dispute"))
    return Operation(
        f"/v1/disputes/{dispute.id}/close",
        lambda key: gateway.accept_dispute(dispute_id=dispute.id),
        lambda: [each for each in [gateway.get_dispute(dispute.id)] if each.is_lost],
    )


def _account(payments, mark):
    return Operation(
        "/v1/accounts",
        lambda key: gateway.create_account(key=key, country="DE", email="t@example.test", metadata={"tuner": mark}),
        lambda: [each for each in gateway.list_accounts() if each.metadata.get("tuner") == mark],
    )


def _transfer(payments, mark):
    account_id = onboarded(payments)
    paid(payments)
    params = {"account_id": account_id, "amount_minor": 1000, "currency": "EUR", "group": mark, "metadata": {"payout": mark}}
    return Operation(
        "/v1/transfers",
        lambda key: gateway.create_transfer(key=key, **params),
        lambda: list(gateway.list_transfers(group=mark)),
    )


def _reversal(payments, mark):
    account_id = onboarded(payments)
    paid(payments)
    made = gateway.create_transfer(key=mark, account_id=account_id, amount_minor=1000, currency="EUR", group=mark, metadata={})
    return Operation(
        f"/v1/transfers/{made.id}/reversals",
        lambda key: gateway.reverse_transfer(key=key, transfer_id=made.id, amount_minor=400, metadata={"clawback": mark}),
        lambda: list(gateway.list_transfer_reversals(made.id)),
    )


def _payout(payments, mark):
    account_id = onboarded(payments)
    paid(payments)
    gateway.create_transfer(key=mark, account_id=account_id, amount_minor=1000, currency="EUR", group=mark, metadata={})
    params = {"account_id": account_id, "amount_minor": 600, "currency": "EUR", "metadata": {"payout": mark}}
    return Operation(
        "/v1/payouts",
        lambda key: gateway.create_payout(key=key, **params),
        lambda: list(gateway.list_payouts(account_id=account_id)),
    )


OPERATIONS = {
    "intent": _intent,
    "cancel": _cancel,
    "refund": _refund,
    "evidence": _evidence,
    "acceptance": _acceptance,
    "account": _account,
    "transfer": _transfer,
    "reversal": _reversal,
    "payout": _payout,
}


def finish(operation, mark):
    """What every caller does: the same key while the provider is away, the list when the key is no use, then another key."""
    attempt = 1
    for _ in range(20):
        try:
            return operation.act(f"{mark}-{attempt}")
        except gateway.ProviderUnavailable:
            time.sleep(0.1)
        except gateway.ProviderUnsure:
            found = operation.found()
            if found:
                return found[0]
            attempt += 1
    raise AssertionError("it never ended")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_ends_once_whatever_the_provider_does(payments, name, fault):
    mark = uuid.uuid4().hex
    operation = OPERATIONS[name](payments, mark)
    payments.switch("faults", mode=fault, path=operation.path, **FAULTS[fault])

    finish(operation, mark)

    payments.behave()
    assert len(operation.found()) == 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_provider_that_is_away_is_away_and_nothing_happened(payments, settings, name):
    operation = OPERATIONS[name](payments, uuid.uuid4().hex)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"

    with pytest.raises(gateway.ProviderUnavailable):
        operation.act("x")

    settings.STRIPE_API_BASE = payments.url
    assert operation.found() == []


@pytest.mark.parametrize("currency", AMOUNTS)
def test_amounts_are_minor_units_on_the_whole_way(payments, currency):
    amount = AMOUNTS[currency]
    account_id, intent_id = onboarded(payments), paid(payments, amount_minor=amount, currency=currency)
    charge = gateway.find_charge(intent_id)
    source = {"currency": currency, "group": intent_id, "metadata": {}, "source_charge_id": charge.id}

    transfer = gateway.create_transfer(key=uuid.uuid4().hex, account_id=account_id, amount_minor=amount - 1, **source)
    payout = gateway.create_payout(key=uuid.uuid4().hex, account_id=account_id, amount_minor=3, currency=currency, metadata={})
    refund = gateway.create_refund(key=uuid.uuid4().hex, intent_id=intent_id, amount_minor=1, metadata={})

    assert [each.amount_minor for each in (transfer, payout, refund)] == [amount - 1, 3, 1]
    assert {each.currency for each in (transfer, payout, refund)} == {currency}
    assert (charge.amount_minor, charge.currency, charge.fee_currency, charge.fee_minor > 0) == (amount, currency, currency, True)
    assert gateway.get_balance(account_id=account_id).available == {currency: amount - 4}


class TestAnswers:
    def test_a_refund_that_fails_later(self, payments):
        refund = gateway.create_refund(key=uuid.uuid4().hex, intent_id=paid(payments), amount_minor=900, metadata={"refund": "1"})
        payments.act("refund_fails", refund.id)

        failed = gateway.get_refund(refund.id)

        assert (refund.is_succeeded, failed.is_failed, failed.failure_reason) == (True, True, "expired_or_canceled_card")
        assert (failed.metadata["refund"], failed.amount_minor, failed.currency) == ("1", 900, "EUR")

    @pytest.mark.parametrize(("outcome", "property"), [("dispute_won", "is_won"), ("dispute_lost", "is_lost")])
    def test_a_dispute_and_its_end(self, payments, outcome, property):
        intent_id = paid(payments, outcome="dispute")
        (opened,) = gateway.list_disputes(intent_id=intent_id)
        payments.choose(intent_id, outcome)

        ended = gateway.get_dispute(opened.id)

        assert (opened.is_open, opened.needs_response, opened.withdrawn_minor, opened.fee_minor) == (True, True, 14900, 2000)
        assert (ended.is_open, getattr(ended, property), ended.withdrawn_minor) == (False, True, 0 if ended.is_won else 14900)

    def test_what_is_over_answers_as_it_is(self, payments):
        intent_id = paid(payments, outcome="dispute")
        (dispute,) = gateway.list_disputes(intent_id=intent_id)
        payments.choose(intent_id, "dispute_won")

        assert gateway.accept_dispute(dispute_id=dispute.id).is_won
        assert gateway.send_evidence(key="late", dispute_id=dispute.id, evidence={"uncategorized_text": "x"}, submit=True).is_won

    def test_an_account_before_and_after(self, payments):
        made = gateway.create_account(key=uuid.uuid4().hex, country="JP", email="t@example.test", metadata={"tuner": "7"})
        rejected, _ = gateway.create_onboarding_link(account_id=made.id, refresh_url="http://t.test/a", return_url="http://t.test/b")
        payments.onboard(rejected, "reject")

        found = gateway.get_account(made.id)

        assert (made.payouts_enabled, made.transfers_active, made.default_currency) == (False, False, "JPY")
        assert made.requirements_due
        assert (found.payouts_enabled, found.disabled_reason, found.metadata["tuner"]) == (False, "rejected.other", "7")

    def test_refusals_carry_the_providers_code(self, payments):
        intent_id, account_id = paid(payments), onboarded(payments)
        gateway.create_refund(key=uuid.uuid4().hex, intent_id=intent_id, amount_minor=14900, metadata={})
        calls = {
            "charge_already_refunded": lambda: gateway.create_refund(
                key=uuid.uuid4().hex, intent_id=intent_id, amount_minor=1, metadata={}
            ),
            "balance_insufficient": lambda: gateway.create_payout(
                key=uuid.uuid4().hex, account_id=account_id, amount_minor=1, currency="EUR", metadata={}
            ),
            "resource_missing": lambda: gateway.get_transfer("tr_missing"),
        }
        for code, call in calls.items():
            with pytest.raises(gateway.ProviderRefused) as refusal:
                call()
            assert refusal.value.code == code
        with pytest.raises(gateway.UnknownToProvider):
            gateway.get_refund("re_missing")

    def test_missed_events_are_listed(self, payments):
        since = clock.now()
        intent_id = paid(payments)

        told = [event for event in gateway.list_events(since=since) if event.intent_id == intent_id]

        assert ("payment_intent.succeeded", 14900, "EUR") in [(event.type, event.amount_minor, event.currency) for event in told]
