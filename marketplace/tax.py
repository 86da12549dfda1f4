"""Tax as data: an engine says what part of a tax-inclusive price is tax. Which engine is right, a person decides."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TaxQuote:
    """The tax contained in a price, in the price's minor units, and the country whose tax it is."""

    tax_minor: int = 0
    rate_basis_points: int = 0
    country: str = ""


class TaxEngine(Protocol):
    """Where a platform owes tax on its sellers' sales, an engine with those rules takes the place of NoTax."""

    def quote(self, *, amount_minor: int, currency: str, buyer_country: str, seller_country: str) -> TaxQuote:
        """The tax in a price that already includes it."""


class NoTax:
    """Collects none; remembers the buyer's country, so that books made today can be read with tomorrow's rules."""

    def quote(self, *, amount_minor: int, currency: str, buyer_country: str, seller_country: str) -> TaxQuote:
        """Nothing, in the buyer's country."""
        return TaxQuote(country=buyer_country)


engine: TaxEngine = NoTax()
