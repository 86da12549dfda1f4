"""What the tests of payouts share: sales that are booked, a tuner who can be paid, and money at the provider."""

import json
import urllib.request
from datetime import timedelta
from typing import Any

from core import clock
from core.ids import new_id
from core.testing.payments import SECRET_KEY
from marketplace import payments as gateway
from marketplace.enums import LicenseState, PurchaseStatus
from marketplace.models import License, PayoutAccount
from marketplace.services import books, payout_accounts
from marketplace.tests.factories import PurchaseFactory, RefundFactory, TuneFactory
from tuners.tests.factories import TunerProfileFactory

LONG_AGO = timedelta(days=40)  # beyond the hold period


def sell(tune: Any, *, amount_minor: int = 10_000, ago: timedelta = LONG_AGO, **facts: Any) -> Any:
    """A paid purchase of a tune with its booking, some time ago; the tuner's share is the amount but 15 %."""
    at = clock.now() - ago
    purchase = PurchaseFactory(paid=True, tune=tune, amount_minor=amount_minor, created_at=at, **facts)
    books.book_sale(purchase=purchase, at=at)
    return purchase


def give_back(purchase: Any, amount_minor: int, *, at: Any = None, **facts: Any) -> Any:
    """A refund of a part with its booking, as the refund's service leaves it."""
    at = at or clock.now()
    row = RefundFactory(purchase=purchase, succeeded=True, amount_minor=amount_minor, created_at=at, **facts)
    purchase.refunded_minor += amount_minor
    if purchase.refunded_minor == purchase.captured_minor:
        purchase.status = PurchaseStatus.REFUNDED
        License.objects.filter(purchase=purchase).update(state=LicenseState.REVOKED, revoked_at=at)
    purchase.save(update_fields=["refunded_minor", "status"])
    return books.book_refund(purchase=purchase, refund_id=row.pk, amount_minor=amount_minor, at=at)


def fund(payments: Any, *, amount_minor: int = 10_000_000, currency: str = "EUR") -> None:
    """Money of buyers at the provider, available to the platform."""
    intent = gateway.create_intent(
        key=str(new_id()), amount_minor=amount_minor, currency=currency, description="Money of buyers", metadata={"purchase": str(new_id())}
    )
    assert payments.choose(intent.id, "succeed")[0] == 200


def onboarded_tuner(payments: Any, *, outcome: str = "complete", **facts: Any) -> Any:
    """A tuner with a payout account at the provider, as their visit to the onboarding page left it."""
    tuner = TunerProfileFactory(**facts)
    onboard(payments, tuner, outcome)
    return tuner


def onboard(payments: Any, tuner: Any, outcome: str = "complete") -> PayoutAccount:
    """Go through the onboarding, and let us hear of it."""
    row, url, _ = payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
    payments.onboard(url, outcome)
    payout_accounts.recheck_account(account_id=row.account_id, at=clock.now())
    return PayoutAccount.objects.get(tuner=tuner)


def payable(payments: Any, *, sales: int = 2, **facts: Any) -> tuple[Any, list[Any]]:
    """A tuner who can be paid, and sales of theirs that are out of the hold period."""
    tuner = onboarded_tuner(payments, **facts)
    tune = TuneFactory(published=True, tuner=tuner)
    return tuner, [sell(tune) for _ in range(sales)]


def events_of(payments: Any, account_id: str = "") -> list[dict[str, Any]]:
    """The events of a tuner's account at the provider (of the platform without one), newest first."""
    headers = {"Authorization": f"Bearer {SECRET_KEY}", **({"Stripe-Account": account_id} if account_id else {})}
    with urllib.request.urlopen(urllib.request.Request(f"{payments.url}/v1/events?limit=100", headers=headers), timeout=30) as answer:
        return json.load(answer)["data"]
