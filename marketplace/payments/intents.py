"""Payment intents: what a buyer pays with the app's payment sheet, and the charge that came of it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marketplace.payments.client import ProviderRefused, ProviderUnavailable, ProviderUnsure, UnknownToProvider, call, moment, options, walk


@dataclass(frozen=True)
class Intent:
    """A payment as the provider has it now."""

    id: str
    status: str
    amount_minor: int
    received_minor: int
    currency: str
    livemode: bool
    created_at: datetime
    client_secret: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    last_error_code: str = ""
    charge_id: str = ""

    @property
    def is_paid(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_canceled(self) -> bool:
        return self.status == "canceled"

    @property
    def is_live(self) -> bool:
        return not self.is_paid and not self.is_canceled


@dataclass(frozen=True)
class Charge:
    """The money of a paid intent: what came, what went back, and what the provider took for it."""

    id: str
    intent_id: str
    amount_minor: int
    refunded_minor: int
    currency: str
    is_disputed: bool
    fee_minor: int
    fee_currency: str


def create_intent(*, key: str, amount_minor: int, currency: str, description: str, metadata: Mapping[str, str]) -> Intent:
    """Ask for an intent. `key` makes a repeat answer with the same one.

    Raises: ProviderUnavailable, ProviderUnsure, ProviderRefused.
    """
    params = {
        "amount": amount_minor,
        "currency": currency.lower(),
        "description": description,
        "metadata": dict(metadata),
        "automatic_payment_methods": {"enabled": True},
    }
    return _intent(call(lambda client: client.v1.payment_intents.create(params, options(key=key))))


def get_intent(intent_id: str) -> Intent:
    """The intent as it is now. Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused."""
    return _intent(call(lambda client: client.v1.payment_intents.retrieve(intent_id)))


def cancel_intent(intent_id: str) -> Intent:
    """Cancel it; when it can't be cancelled any more, what it has become instead (paid, or cancelled already).

    It has no key of ours: twice is once by itself, and an error saved under a fixed key would be replayed for a day.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused.
    """
    try:
        return _intent(call(lambda client: client.v1.payment_intents.cancel(intent_id, {"cancellation_reason": "abandoned"})))
    except UnknownToProvider:
        raise
    except ProviderUnsure as trouble:  # the package sent the call twice, and the first one's error was saved
        raise ProviderUnavailable("the call failed") from trouble
    except ProviderRefused:
        return get_intent(intent_id)


def find_intents(*, purchase_id: str, since: datetime) -> list[Intent]:
    """Every intent of a purchase, newest first: the list is walked, because the provider's search lags behind.

    Raises: ProviderUnavailable, ProviderRefused.
    """
    return [intent for intent in list_intents(since=since) if intent.metadata.get("purchase") == purchase_id]


def list_intents(*, since: datetime) -> Iterator[Intent]:
    """Every intent made since a moment, newest first. Raises: ProviderUnavailable, ProviderRefused."""
    return map(_intent, walk(lambda client, params: client.v1.payment_intents.list(params), {}, since=since))


def find_charge(intent_id: str) -> Charge | None:
    """The successful charge of an intent with the provider's fee, or None.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused.
    """
    params = {"expand": ["latest_charge.balance_transaction"]}
    charge = call(lambda client: client.v1.payment_intents.retrieve(intent_id, params)).latest_charge
    if not charge or not charge.paid:
        return None
    movement = charge.balance_transaction  # none yet while the payment settles
    return Charge(
        id=charge.id,
        intent_id=intent_id,
        amount_minor=charge.amount,
        refunded_minor=charge.amount_refunded,
        currency=charge.currency.upper(),
        is_disputed=bool(charge.disputed),
        fee_minor=movement.fee if movement else 0,
        fee_currency=(movement.currency if movement else charge.currency).upper(),
    )


def _intent(row: Any) -> Intent:
    error = row.last_payment_error
    charge = row.latest_charge
    return Intent(
        id=row.id,
        status=row.status,
        amount_minor=row.amount,
        received_minor=row.amount_received or 0,
        currency=row.currency.upper(),
        livemode=bool(row.livemode),
        created_at=moment(row.created),
        client_secret=row.client_secret or "",
        metadata=row.metadata.to_dict() if row.metadata else {},
        last_error_code=((error.decline_code or error.code or "") if error else "")[:80],
        charge_id=(charge if isinstance(charge, str) else charge.id) if charge else "",
    )


def attestation_hash(*, text_version: str, sha256: str, at: datetime, buyer_id: Any) -> str:
    """One hash over what a buyer attested, as evidence beside the payment."""
    return hashlib.sha256(f"{text_version}\n{sha256}\n{at.isoformat()}\n{buyer_id}".encode()).hexdigest()
