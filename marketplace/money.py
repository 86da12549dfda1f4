"""Amounts as people read them. Computing is done in integers of the minor unit, everywhere."""

DECIMALS = dict.fromkeys(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"], 0
) | dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3)  # ISO 4217; every other currency has two


def amount_text(amount_minor: int, currency: str) -> str:
    """14900 EUR → "149.00 EUR", 4900 JPY → "4,900 JPY"."""
    decimals = DECIMALS.get(currency, 2)
    sign, amount_minor = ("-", -amount_minor) if amount_minor < 0 else ("", amount_minor)
    whole, part = divmod(amount_minor, 10**decimals)
    return f"{sign}{whole:,}{f'.{part:0{decimals}d}' if decimals else ''} {currency}"
