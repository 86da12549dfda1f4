"""When a tuner is paid, from how much on, and what stands in the way. Pure: nothing here reads or writes."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from marketplace.enums import PayoutAccountState, PayoutBlocker
from marketplace.models import PayoutAccount
from marketplace.money import SMALLEST_PRICE_MINOR
from tuners.models import TunerProfile

if TYPE_CHECKING:
    from marketplace.payments import Account

PAYOUT_EVERY = timedelta(days=7)
PAYOUT_OFFSET = timedelta(days=4, hours=6)  # weeks are counted from Thursday, 1 January 1970: Mondays at 06:00 UTC
GIVE_UP_AFTER = timedelta(days=7)
# Refusals that may become something else by themselves: funds that are not available at the provider yet.
TRY_LATER = frozenset({"balance_insufficient", "insufficient_funds"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_run_after(at: datetime) -> datetime:
    """When the schedule makes payouts next."""
    since = at - PAYOUT_OFFSET - _EPOCH
    return _EPOCH + PAYOUT_OFFSET + (since // PAYOUT_EVERY + 1) * PAYOUT_EVERY


def minimum_of(tuner: TunerProfile, currency: str) -> int:
    """The smallest payout in a currency: the tuner's, which is in EUR, times what the smallest payments in both compare by."""
    smallest = SMALLEST_PRICE_MINOR.get(currency, SMALLEST_PRICE_MINOR["EUR"])
    return max(1, tuner.minimum_payout_minor * smallest // SMALLEST_PRICE_MINOR["EUR"])


def blockers_of(*, tuner: TunerProfile, is_blocked: bool, mfa_enabled: bool, account: PayoutAccount | None) -> list[str]:
    """Why nothing is paid out to this tuner now; empty when it is. The order is that of PayoutBlocker."""
    blockers = []
    if is_blocked:
        blockers.append(PayoutBlocker.ACCOUNT_BLOCKED)
    if not mfa_enabled:
        blockers.append(PayoutBlocker.MFA_REQUIRED)
    if not tuner.is_active:
        blockers.append(PayoutBlocker.TUNER_SUSPENDED)
    if account is None:
        blockers.append(PayoutBlocker.PAYOUT_ACCOUNT_REQUIRED)
    elif account.state != PayoutAccountState.ACTIVE:
        blockers.append(PayoutBlocker.PAYOUT_ACCOUNT_INCOMPLETE)
    return [blocker.value for blocker in blockers]


def state_of(account: "Account") -> PayoutAccountState:
    """What the provider's words about an account mean here."""
    if account.transfers_active and account.payouts_enabled:
        return PayoutAccountState.ACTIVE
    return PayoutAccountState.RESTRICTED if account.details_submitted else PayoutAccountState.ONBOARDING
