"""Connect: tuners' accounts at the provider, transfers to them, and payouts from there to their banks.

Separate charges and transfers (https://docs.stripe.com/connect/separate-charges-and-transfers): buyers pay the
platform, the platform transfers shares. A connected account's payouts are made by us (`manual`), never by themselves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marketplace.payments.client import call, moment, options, walk


@dataclass(frozen=True)
class Account:
    """A tuner's account. Money may be transferred when `transfers_active`, and reach their bank when `payouts_enabled`."""

    id: str
    country: str
    default_currency: str
    details_submitted: bool
    transfers_active: bool
    payouts_enabled: bool
    requirements_due: tuple[str, ...] = ()
    requirements_past_due: tuple[str, ...] = ()
    disabled_reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Transfer:
    """Money moved from the platform to an account; `reversed_minor` of it came back."""

    id: str
    account_id: str
    amount_minor: int
    reversed_minor: int
    currency: str
    created_at: datetime
    group: str = ""
    source_charge_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TransferReversal:
    """A part of a transfer that was taken back."""

    id: str
    transfer_id: str
    amount_minor: int
    currency: str
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Payout:
    """Money on its way from an account to a bank. `status` is pending, in_transit, paid, failed or canceled; a paid one may fail later."""

    id: str
    account_id: str
    status: str
    amount_minor: int
    currency: str
    created_at: datetime
    arrival_at: datetime | None
    failure_code: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_paid(self) -> bool:
        return self.status == "paid"

    @property
    def is_failed(self) -> bool:
        """The money is on the account again."""
        return self.status in ("failed", "canceled")

    @property
    def is_open(self) -> bool:
        return not self.is_paid and not self.is_failed


@dataclass(frozen=True)
class Balance:
    """What an account (or the platform) has at the provider, in minor units by currency."""

    available: Mapping[str, int]
    pending: Mapping[str, int]


def create_account(*, key: str, country: str, email: str, metadata: Mapping[str, str]) -> Account:
    """Make an Express account that may receive transfers once its owner was onboarded.

    Raises: ProviderUnavailable, ProviderUnsure, ProviderRefused.
    """
    params: dict[str, Any] = {
        "type": "express",
        "country": country,
        "email": email,
        "capabilities": {"transfers": {"requested": True}},
        "settings": {"payouts": {"schedule": {"interval": "manual"}}},
        "metadata": dict(metadata),
    }
    return _account(call(lambda client: client.v1.accounts.create(params, options(key=key))))


def get_account(account_id: str) -> Account:
    """The account as it is now. Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused."""
    return _account(call(lambda client: client.v1.accounts.retrieve(account_id)))


def list_accounts(*, since: datetime | None = None) -> Iterator[Account]:
    """Every connected account, newest first. Raises: ProviderUnavailable, ProviderRefused."""
    return map(_account, walk(lambda client, params: client.v1.accounts.list(params), {}, since=since))


def create_onboarding_link(*, account_id: str, refresh_url: str, return_url: str) -> tuple[str, datetime]:
    """A page where the owner tells the provider who they are, and until when the link opens it; once, for a few minutes.

    Return means "they left the page", not "they are done": read the account. `refresh_url` is where a used or old link leads.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused.
    """
    params: dict[str, Any] = {
        "account": account_id,
        "refresh_url": refresh_url,
        "return_url": return_url,
        "type": "account_onboarding",
        "collection_options": {"fields": "eventually_due"},
    }
    link = call(lambda client: client.v1.account_links.create(params))
    return link.url, moment(link.expires_at)


def create_transfer(
    *, key: str, account_id: str, amount_minor: int, currency: str, group: str, metadata: Mapping[str, str], source_charge_id: str = ""
) -> Transfer:
    """Move money of the platform to an account. With a source charge it works before that money is available.

    Refused codes worth knowing: balance_insufficient (later it may work: with a *new* key, a refusal is saved under the
    old one), insufficient_capabilities_for_transfer (the account may not receive). After ProviderUnsure find it with
    `list_transfers(group=…)` by its metadata before a new key is used.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderUnsure, ProviderRefused.
    """
    params: dict[str, Any] = {
        "amount": amount_minor,
        "currency": currency.lower(),
        "destination": account_id,
        "transfer_group": group,
        "metadata": dict(metadata),
        **({"source_transaction": source_charge_id} if source_charge_id else {}),
    }
    return _transfer(call(lambda client: client.v1.transfers.create(params, options(key=key))))


def get_transfer(transfer_id: str) -> Transfer:
    """The transfer as it is now. Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused."""
    return _transfer(call(lambda client: client.v1.transfers.retrieve(transfer_id)))


def list_transfers(*, group: str = "", account_id: str = "", since: datetime | None = None) -> Iterator[Transfer]:
    """Transfers, newest first: of a group, to an account, since a moment. Raises: ProviderUnavailable, ProviderRefused."""
    params = {**({"transfer_group": group} if group else {}), **({"destination": account_id} if account_id else {})}
    return map(_transfer, walk(lambda client, params: client.v1.transfers.list(params), params, since=since))


def reverse_transfer(*, key: str, transfer_id: str, amount_minor: int, metadata: Mapping[str, str]) -> TransferReversal:
    """Take a part of a transfer back; refused (balance_insufficient) when the account has not got it any more.

    After ProviderUnsure find it with `list_transfer_reversals` by its metadata before a new key is used.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderUnsure, ProviderRefused.
    """
    params = {"amount": amount_minor, "metadata": dict(metadata)}
    return _reversal(call(lambda client: client.v1.transfers.reversals.create(transfer_id, params, options(key=key))))


def list_transfer_reversals(transfer_id: str) -> Iterator[TransferReversal]:
    """What was taken back of a transfer, newest first. Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused."""
    return map(_reversal, walk(lambda client, params: client.v1.transfers.reversals.list(transfer_id, params), {}))


def create_payout(*, key: str, account_id: str, amount_minor: int, currency: str, metadata: Mapping[str, str]) -> Payout:
    """Send money of an account to its bank. After ProviderUnsure find it with `list_payouts` by its metadata.

    Refused codes worth knowing: balance_insufficient, payouts_not_allowed.

    Raises: ProviderUnavailable, ProviderUnsure, ProviderRefused.
    """
    params: dict[str, Any] = {"amount": amount_minor, "currency": currency.lower(), "metadata": dict(metadata)}
    return _payout(call(lambda client: client.v1.payouts.create(params, options(key=key, account=account_id))), account_id)


def get_payout(payout_id: str, *, account_id: str) -> Payout:
    """The payout as it is now. Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused."""
    return _payout(call(lambda client: client.v1.payouts.retrieve(payout_id, {}, options(account=account_id))), account_id)


def list_payouts(*, account_id: str, since: datetime | None = None) -> Iterator[Payout]:
    """An account's payouts, newest first. Raises: ProviderUnavailable, ProviderRefused."""
    rows = walk(lambda client, params: client.v1.payouts.list(params, options(account=account_id)), {}, since=since)
    return (_payout(row, account_id) for row in rows)


def get_balance(*, account_id: str = "") -> Balance:
    """What an account has at the provider; the platform without one. Raises: ProviderUnavailable, ProviderRefused."""
    row = call(lambda client: client.v1.balance.retrieve({}, options(account=account_id)))
    return Balance(
        available={part.currency.upper(): part.amount for part in row.available},
        pending={part.currency.upper(): part.amount for part in row.pending},
    )


def _metadata(row: Any) -> dict[str, str]:
    return row.metadata.to_dict() if row.metadata else {}


def _account(row: Any) -> Account:
    needs = row.requirements
    return Account(
        id=row.id,
        country=row.country or "",
        default_currency=(row.default_currency or "").upper(),
        details_submitted=bool(row.details_submitted),
        transfers_active=getattr(row.capabilities, "transfers", None) == "active",
        payouts_enabled=bool(row.payouts_enabled),
        requirements_due=tuple(needs.currently_due or ()) if needs else (),
        requirements_past_due=tuple(needs.past_due or ()) if needs else (),
        disabled_reason=str((needs.disabled_reason if needs else "") or "")[:80],
        metadata=_metadata(row),
    )


def _transfer(row: Any) -> Transfer:
    return Transfer(
        id=row.id,
        account_id=row.destination if isinstance(row.destination, str) else row.destination.id,
        amount_minor=row.amount,
        reversed_minor=row.amount_reversed or 0,
        currency=row.currency.upper(),
        created_at=moment(row.created),
        group=row.transfer_group or "",
        source_charge_id=row.source_transaction or "",
        metadata=_metadata(row),
    )


def _reversal(row: Any) -> TransferReversal:
    return TransferReversal(
        id=row.id,
        transfer_id=row.transfer,
        amount_minor=row.amount,
        currency=row.currency.upper(),
        created_at=moment(row.created),
        metadata=_metadata(row),
    )


def _payout(row: Any, account_id: str) -> Payout:
    return Payout(
        id=row.id,
        account_id=account_id,
        status=row.status,
        amount_minor=row.amount,
        currency=row.currency.upper(),
        created_at=moment(row.created),
        arrival_at=moment(row.arrival_date) if row.arrival_date else None,
        failure_code=str(row.failure_code or "")[:80],
        metadata=_metadata(row),
    )
