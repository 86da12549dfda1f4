"""How each event moves money between the accounts. Pure: the books are written by it, and proved by it afterwards.

A posting is what each account gains, in minor units; every posting sums to zero. A sale's shares are tax, fee and the
tuner's part; what is given back or lost later is taken from what is left of them, in proportion, so that after the whole
amount each of them is zero again, whatever parts it came in.
"""

from dataclasses import astuple, dataclass

from marketplace.enums import LedgerAccount as Account
from marketplace.money import divide

Posting = dict[str, int]


@dataclass(frozen=True)
class Shares:
    """What is left of a sale in each account that it went to. `owed_minor` is what a returned refund left owed to the buyer."""

    tax_minor: int
    fee_minor: int
    tuner_minor: int
    owed_minor: int = 0

    @property
    def total_minor(self) -> int:
        """What is left of the sale itself."""
        return self.tax_minor + self.fee_minor + self.tuner_minor

    def after(self, posting: Posting) -> "Shares":
        """What is left once a posting was made."""
        moved = [posting.get(account, 0) for account in (Account.TAX_PAYABLE, Account.PLATFORM_FEE, Account.TUNER, Account.BUYER_OWED)]
        return Shares(*(left + change for left, change in zip(astuple(self), moved, strict=True)))


def post_sale(*, amount_minor: int, tax_minor: int, fee_minor: int) -> Posting:
    """The buyer's money becomes tax, fee and the tuner's share."""
    return _posting(
        {
            Account.BUYER_CLEARING: -amount_minor,
            Account.TAX_PAYABLE: tax_minor,
            Account.PLATFORM_FEE: fee_minor,
            Account.TUNER: amount_minor - tax_minor - fee_minor,
        }
    )


def post_refund(*, amount_minor: int, left: Shares) -> Posting:
    """Money goes back to the buyer out of what is left of each share. Raises: ValueError for more than is left."""
    if not 0 < amount_minor <= left.total_minor:
        raise ValueError(f"{amount_minor} can't be given back of {left.total_minor}")
    return _posting({Account.BUYER_CLEARING: amount_minor, **_taken(amount_minor, left)})


def post_refund_failed(*, amount_minor: int) -> Posting:
    """A refund came back to us: the sale stays undone, and the buyer is owed."""
    return _posting({Account.BUYER_CLEARING: -amount_minor, Account.BUYER_OWED: amount_minor})


def post_owed_paid(*, amount_minor: int, left: Shares) -> Posting:
    """What a buyer is owed was paid another way. Raises: ValueError for more than is owed."""
    if not 0 < amount_minor <= left.owed_minor:
        raise ValueError(f"{amount_minor} can't be paid of {left.owed_minor} owed")
    return _posting({Account.BUYER_OWED: -amount_minor, Account.BUYER_CLEARING: amount_minor})


def post_dispute_opened(*, amount_minor: int, fee_minor: int) -> Posting:
    """The bank takes the money back for now, and the provider its fee; the shares stay, and can't be paid out."""
    return _posting(
        {Account.BUYER_CLEARING: amount_minor + fee_minor, Account.DISPUTES: -amount_minor, Account.PROVIDER_FEE: -fee_minor}
    )


def post_dispute_won(*, amount_minor: int, fee_returned_minor: int) -> Posting:
    """The money comes back, and the fee where the provider returns it."""
    return _posting(
        {
            Account.BUYER_CLEARING: -amount_minor - fee_returned_minor,
            Account.DISPUTES: amount_minor,
            Account.PROVIDER_FEE: fee_returned_minor,
        }
    )


def post_dispute_lost(*, amount_minor: int, left: Shares) -> Posting:
    """What the bank kept is lost: first what was owed to this buyer anyway, then the shares, and the rest is the platform's."""
    owed = min(amount_minor, left.owed_minor)
    taken = min(amount_minor - owed, left.total_minor)
    return _posting(
        {
            Account.DISPUTES: amount_minor,
            Account.BUYER_OWED: -owed,
            Account.LOSSES: -(amount_minor - owed - taken),
            **_taken(taken, left),
        }
    )


def post_provider_fee(*, amount_minor: int) -> Posting:
    """The provider keeps a part of what it received for us."""
    return _posting({Account.BUYER_CLEARING: amount_minor, Account.PROVIDER_FEE: -amount_minor})


def post_payout(*, amount_minor: int) -> Posting:
    """The tuner's money leaves for their account."""
    return _posting({Account.TUNER: -amount_minor, Account.PAYOUTS: amount_minor})


def post_payout_failed(*, amount_minor: int) -> Posting:
    """It came back."""
    return _posting({Account.PAYOUTS: -amount_minor, Account.TUNER: amount_minor})


def post_parked(*, amount_minor: int, fee_returned_minor: int = 0) -> Posting:
    """Money came, or came back, and we don't know for what."""
    return _posting(
        {
            Account.BUYER_CLEARING: -amount_minor - fee_returned_minor,
            Account.SUSPENSE: amount_minor,
            Account.PROVIDER_FEE: fee_returned_minor,
        }
    )


def post_unparked(*, amount_minor: int, fee_minor: int = 0) -> Posting:
    """It went back, by a refund or with the fee of a dispute."""
    return _posting(
        {Account.SUSPENSE: -amount_minor, Account.BUYER_CLEARING: amount_minor + fee_minor, Account.PROVIDER_FEE: -fee_minor}
    )


def post_claimed(*, amount_minor: int, fee_minor: int) -> Posting:
    """Its purchase was found: what is left, and the fees of its disputes, are booked there."""
    return _posting(
        {Account.SUSPENSE: -amount_minor, Account.BUYER_CLEARING: amount_minor - fee_minor, Account.PROVIDER_FEE: fee_minor}
    )


def _taken(amount_minor: int, left: Shares) -> Posting:
    accounts = (Account.TAX_PAYABLE, Account.PLATFORM_FEE, Account.TUNER)
    shares = (left.tax_minor, left.fee_minor, left.tuner_minor)
    if not amount_minor:
        return {}
    return {account: -part for account, part in zip(accounts, divide(amount_minor, shares), strict=True)}


def _posting(moves: dict[str, int]) -> Posting:
    assert sum(moves.values()) == 0, moves
    return {str(account): amount_minor for account, amount_minor in moves.items() if amount_minor}
