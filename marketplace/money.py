"""Amounts as people read them. Computing is done in integers of the minor unit, everywhere."""

from collections.abc import Sequence

DECIMALS = dict.fromkeys(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"], 0
) | dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3)  # ISO 4217; every other currency has two

# What tunes are sold in, and the smallest price in each: below it the payment provider takes no payment
# (https://docs.stripe.com/currencies). A free tune is no payment.
SMALLEST_PRICE_MINOR = {
    "AUD": 50, "BHD": 200, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30, "HUF": 17500, "INR": 50,
    "JPY": 50, "KRW": 50, "KWD": 200, "MXN": 1000, "NOK": 300, "NZD": 50, "PLN": 200, "RON": 200, "SEK": 300, "SGD": 50, "THB": 1000,
    "USD": 50,
}  # fmt: skip


def amount_text(amount_minor: int, currency: str) -> str:
    """14900 EUR → "149.00 EUR", 4900 JPY → "4,900 JPY"."""
    decimals = DECIMALS.get(currency, 2)
    sign, amount_minor = ("-", -amount_minor) if amount_minor < 0 else ("", amount_minor)
    whole, part = divmod(amount_minor, 10**decimals)
    return f"{sign}{whole:,}{f'.{part:0{decimals}d}' if decimals else ''} {currency}"


def divide(amount_minor: int, shares: Sequence[int]) -> list[int]:
    """Divide an amount in proportion to whole shares, by largest remainders: the parts sum up to it exactly.

    Each part is its exact quotient rounded up or down, so an amount up to the sum of the shares takes from none more than it
    is, and all of it takes each whole. Of equal remainders the earlier one is rounded up. Raises: ValueError for a negative
    amount or share, or shares that sum to nothing.
    """
    total = sum(shares)
    if amount_minor < 0 or min(shares, default=0) < 0 or total == 0:
        raise ValueError(f"{amount_minor} can't be divided by {list(shares)}")
    parts, remainders = zip(*(divmod(amount_minor * share, total) for share in shares), strict=True)
    parts = list(parts)
    largest_first = sorted(range(len(shares)), key=lambda place: (-remainders[place], place))
    for place in largest_first[: amount_minor - sum(parts)]:
        parts[place] += 1
    return parts
