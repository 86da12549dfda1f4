"""When a tuner is paid, from how much on, what stands in the way, and how a transfer names what it pays.

Pure: nothing here reads or writes.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

# The provider keeps 50 values of 500 characters beside a transfer (https://docs.stripe.com/api/metadata); other things stand there too.
MARK_CHARACTERS = 8
MARKS_A_VALUE = 500 // MARK_CHARACTERS
MARKS_AT_MOST = 40 * MARKS_A_VALUE

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


@dataclass(frozen=True)
class PackedLines:
    """What a transfer says of the lines of its payout: a short mark of each, while they are not too many, and a hash over all."""

    marks: tuple[str, ...]
    sha256: str

    def is_of(self, names: Sequence[str]) -> bool:
        """Whether these are all of them and no others."""
        return _digest(names) == self.sha256


def mark_of(name: str) -> str:
    """Six bytes that tell one entry of a tuner from the others."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()[:6]).decode()


def pack_lines(names: Sequence[str]) -> dict[str, str]:
    """What is written beside a payout's transfer, so that a database that lost the payout finds its lines again.

    `names` are those of `selectors.payouts`: the provider knows them too. The order does not matter; a repeat says the same.
    """
    marks = sorted(mark_of(name) for name in names) if len(names) <= MARKS_AT_MOST else []
    values = ("".join(marks[first : first + MARKS_A_VALUE]) for first in range(0, len(marks), MARKS_A_VALUE))
    packed = {f"lines_{number:02}": value for number, value in enumerate(values)}
    return {"lines": str(len(names)), "lines_sha256": _digest(names), **packed}


def unpack_lines(metadata: Mapping[str, str]) -> PackedLines | None:
    """What `pack_lines` wrote; None beside a transfer that was made before it did."""
    if "lines_sha256" not in metadata:
        return None
    packed = "".join(metadata[name] for name in sorted(metadata) if name.startswith("lines_") and name != "lines_sha256")
    marks = tuple(packed[first : first + MARK_CHARACTERS] for first in range(0, len(packed), MARK_CHARACTERS))
    return PackedLines(marks, metadata["lines_sha256"])


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
