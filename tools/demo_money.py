#!/usr/bin/env python
"""Play a year of money against the stand-in payment server, prove the ledger, and draw the balances.

    make demo-money            (python tools/with_test_settings.py --servers python tools/demo_money.py)

The clock is simulated: every service takes the moment it acts at. The provider is a real process that is really asked. Three
tuners sell: one steadily, one in the season, and one who has no more sales when the disputes of old ones are lost. There are
refunds at once, disputes won and lost, claw-backs of what was paid out long ago, a payout that comes back, and a balance below
zero that later sales make good. It ends with `ledger_verify` and draws docs/images/money-year.svg.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "revsync_backend.settings")

import django

django.setup()

import logging

from django.conf import settings
from django.core.management import call_command
from django.db.models import Sum

from core import idempotency
from core.testing.payments import StandIn
from marketplace import payments
from marketplace.enums import PaymentAttemptState, PayoutStatus
from marketplace.models import LedgerEntry, LedgerSet, PaymentAttempt, Payout, Purchase
from marketplace.money import amount_text
from marketplace.selectors.payouts import get_balance
from marketplace.services import disputes, payout_accounts, payouts, refunds, settlement
from marketplace.tests.factories import PaymentAttemptFactory, PurchaseFactory, TuneFactory
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

FIRST = datetime(2026, 1, 5, 7, tzinfo=UTC)  # a Monday, an hour after the schedule's slot
WEEKS = 52
CURRENCY = "EUR"
PRICE_MINOR = 14_900


@dataclass
class Seller:
    """One tuner, what they sell in each week, and how their balance went."""

    name: str
    sales_in: Any  # week → how many
    disputed_share: float
    profile: Any = None
    tune: Any = None
    weeks: list[dict[str, int]] = field(default_factory=list)
    payouts: list[tuple[int, int, str]] = field(default_factory=list)  # week, amount, how it ended


def sellers() -> list[Seller]:
    return [
        Seller("Steady Works", lambda week: 2, 0.08),
        Seller("Season Tuning", lambda week: 4 if 10 <= week <= 30 else week % 2, 0.06),
        Seller("Gone Quiet", lambda week: 3 if week < 18 else (2 if week >= 46 else 0), 0.4),
    ]


class Year:
    """The story: each week sells, gives back, argues and pays."""

    def __init__(self, provider: StandIn, seed: int) -> None:
        self.provider, self.dice = provider, random.Random(seed)
        self.open_disputes: list[tuple[int, Purchase]] = []  # week of the verdict
        self.to_dispute: list[tuple[int, Purchase]] = []
        self.counts: dict[str, int] = {}
        self.buyers = [UserFactory() for _ in range(12)]

    def note(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def open(self, seller: Seller) -> None:
        user = UserFactory(tuner=True, mfa=True)
        seller.profile = TunerProfileFactory(user=user, business_name=seller.name, created_at=FIRST)
        seller.tune = TuneFactory(published=True, tuner=seller.profile, price_minor=PRICE_MINOR, title=f"Stage 1 by {seller.name}")
        account, url, _ = payout_accounts.open_onboarding(user=user, at=FIRST)
        self.provider.onboard(url, "complete")
        payout_accounts.recheck_account(account_id=account.account_id, at=FIRST)

    def week(self, number: int, all_sellers: list[Seller]) -> None:
        monday = FIRST + timedelta(weeks=number)
        self.pay(number, all_sellers, at=monday)
        for seller in all_sellers:
            for _ in range(seller.sales_in(number)):
                self.sell(seller, number, at=monday + timedelta(days=self.dice.randint(0, 5), hours=self.dice.randint(1, 20)))
        self.argue(number, at=monday + timedelta(days=6))
        for seller in all_sellers:
            balance = get_balance(tuner_id=seller.profile.pk, currency=CURRENCY, at=monday + timedelta(days=6, hours=22))
            seller.weeks.append(
                {"held": balance.held_minor, "available": balance.available_minor, "negative": balance.negative_minor}
            )

    def sell(self, seller: Seller, week: int, *, at: datetime) -> None:
        purchase = PurchaseFactory(tune=seller.tune, buyer=self.dice.choice(self.buyers), created_at=at)
        PaymentAttemptFactory(purchase=purchase, created_at=at)
        settlement.open_payment(purchase_id=purchase.pk, at=at)
        intent_id = PaymentAttempt.objects.get(purchase=purchase).intent_id
        self.provider.choose(str(intent_id), "succeed")
        purchase = settlement.settle_purchase(purchase_id=purchase.pk, at=at)
        self.note("sales")
        if self.dice.random() < 0.08:
            self.give_back(purchase, at=at + timedelta(hours=self.dice.randint(1, 72)))
        elif self.dice.random() < seller.disputed_share:
            self.to_dispute.append((week + self.dice.randint(5, 16), purchase))

    def give_back(self, purchase: Purchase, *, at: datetime) -> None:
        claim = idempotency.begin(actor_id=purchase.buyer_id, operation="demo", key=None, fingerprint=b"", at=at)
        refund = refunds.request_refund(buyer=purchase.buyer, purchase_id=purchase.pk, reason="Wrong bike.", claim=claim, at=at)
        refunds.send_refund(refund_id=refund.pk, at=at)
        self.note("refunds")

    def argue(self, week: int, *, at: datetime) -> None:
        for _, purchase in [each for each in self.to_dispute if each[0] <= week]:
            self.provider.choose(self.intent_of(purchase), "dispute")
            self.follow(purchase, at=at)
            self.open_disputes.append((week + 6, purchase))
            self.note("disputes")
        self.to_dispute = [each for each in self.to_dispute if each[0] > week]
        for _, purchase in [each for each in self.open_disputes if each[0] <= week]:
            verdict = "dispute_won" if self.dice.random() < 0.35 else "dispute_lost"
            self.provider.choose(self.intent_of(purchase), verdict)
            self.follow(purchase, at=at)
            self.note(verdict.replace("dispute_", "disputes "))
        self.open_disputes = [each for each in self.open_disputes if each[0] > week]

    def intent_of(self, purchase: Purchase) -> str:
        return str(PaymentAttempt.objects.get(purchase=purchase, state=PaymentAttemptState.SUCCEEDED).intent_id)

    def follow(self, purchase: Purchase, *, at: datetime) -> None:
        """What the webhook would do: read the dispute and apply it."""
        intent_id = self.intent_of(purchase)
        truth = next(each for each in payments.list_disputes(intent_id=intent_id))
        disputes.apply_dispute(truth=truth, at=at)

    def pay(self, week: int, all_sellers: list[Seller], *, at: datetime) -> None:
        payouts.reconcile_payouts(at=at)
        payouts.make_payouts(at=at)
        for payout in Payout.objects.filter(status=PayoutStatus.PENDING).order_by("created_at"):
            sent = payouts.continue_payout(payout_id=payout.pk, at=at)
            if sent.bank_payout_id is None:
                continue
            fails = week == 20 and payout.tuner_id == all_sellers[0].profile.pk
            self.provider.act("payout_fails" if fails else "payout_arrives", sent.bank_payout_id)
            ended = payouts.continue_payout(payout_id=payout.pk, at=at + timedelta(hours=2))
            self.note(f"payouts {ended.status.lower()}")
            seller = next(each for each in all_sellers if each.profile.pk == payout.tuner_id)
            seller.payouts.append((week, ended.amount_minor, ended.status))


# The picture

WIDTH, PANEL, LEFT, TOP, GAP = 960, 190, 90, 56, 34
COLOURS = {"held": "#b9c6da", "available": "#3f6fb5", "negative": "#b3261e", "paid": "#2e7d32", "failed": "#b3261e"}


def draw(all_sellers: list[Seller], totals: dict[str, int]) -> str:
    height = TOP + len(all_sellers) * (PANEL + GAP) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12">',
        f'<title>A year of balances</title><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="26" font-size="17" font-weight="600">A year of balances, week by week</text>',
        f'<text x="{LEFT}" y="44" fill="#555">Held (light) and available above the line, owed to the platform below it; a dot is a payout, '
        "a ring one that came back.</text>",
    ]
    for number, seller in enumerate(all_sellers):
        parts += panel(seller, TOP + 16 + number * (PANEL + GAP))
    legend = " · ".join(f"{name} {amount_text(amount, CURRENCY)}" for name, amount in totals.items())
    parts += [f'<text x="{LEFT}" y="{height - 18}" fill="#333">Platform after the year: {legend}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def panel(seller: Seller, top: float) -> Iterator[str]:
    highest = max([each["held"] + each["available"] for each in seller.weeks] + [amount for _, amount, _ in seller.payouts] + [1])
    lowest = max(each["negative"] for each in seller.weeks)
    scale = PANEL / (highest + lowest)
    zero = top + highest * scale
    step = (WIDTH - LEFT - 30) / (WEEKS - 1)

    def x(week: float) -> float:
        return LEFT + week * step

    def area(lower: list[float], upper: list[float], colour: str) -> str:
        there = " ".join(f"{x(week):.1f},{zero - value * scale:.1f}" for week, value in enumerate(upper))
        back = " ".join(f"{x(week):.1f},{zero - value * scale:.1f}" for week, value in reversed(list(enumerate(lower))))
        return f'<polygon points="{there} {back}" fill="{colour}"/>'

    nothing = [0.0] * len(seller.weeks)
    available = [float(each["available"]) for each in seller.weeks]
    both = [each["available"] + each["held"] + 0.0 for each in seller.weeks]
    yield f'<text x="{LEFT}" y="{top - 6:.1f}" font-weight="600">{seller.name}</text>'
    yield area(nothing, available, COLOURS["available"])
    yield area(available, both, COLOURS["held"])
    yield area(nothing, [-each["negative"] + 0.0 for each in seller.weeks], COLOURS["negative"])
    yield f'<line x1="{LEFT}" y1="{zero:.1f}" x2="{x(WEEKS - 1):.1f}" y2="{zero:.1f}" stroke="#333"/>'
    for value in (highest, 0, -lowest) if lowest else (highest, 0):
        yield f'<text x="{LEFT - 8}" y="{zero - value * scale + 4:.1f}" text-anchor="end" fill="#555">{value / 100:,.0f} €</text>'
    for week, amount, status in seller.payouts:
        look = f'fill="{COLOURS["paid"]}"' if status == PayoutStatus.PAID else f'fill="none" stroke="{COLOURS["failed"]}" stroke-width="2"'
        yield f'<circle cx="{x(week):.1f}" cy="{zero - amount * scale:.1f}" r="3.5" {look}/>'


def totals_of_platform() -> dict[str, int]:
    sums = dict(LedgerEntry.objects.values_list("account").annotate(Sum("amount_minor")).order_by())
    return {
        "fees": sums.get("PLATFORM_FEE", 0),
        "provider's fees": sums.get("PROVIDER_FEE", 0),
        "losses": sums.get("LOSSES", 0),
        "paid out": sums.get("PAYOUTS", 0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Play a year of money and draw the balances.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/images/money-year.svg")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    with tempfile.TemporaryDirectory(prefix="revsync-money-") as directory:
        provider = StandIn(Path(directory))
        settings.STRIPE_API_BASE = provider.url
        try:
            return play(provider, options)
        finally:
            provider.stop()


def play(provider: StandIn, options: argparse.Namespace) -> int:
    year, everybody = Year(provider, options.seed), sellers()
    for seller in everybody:
        year.open(seller)
    for number in range(options.weeks):
        year.week(number, everybody)
        print(f"\rweek {number + 1} of {options.weeks}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for what, count in sorted(year.counts.items()):
        print(f"{count:5} {what}")
    print(f"{LedgerSet.objects.count():5} ledger sets, {LedgerEntry.objects.count()} entries")
    for seller in everybody:
        last = seller.weeks[-1]
        lowest = max(each["negative"] for each in seller.weeks)
        print(
            f"{seller.name}: held {amount_text(last['held'], CURRENCY)}, available {amount_text(last['available'], CURRENCY)}, "
            f"most ever owed {amount_text(lowest, CURRENCY)}, payouts {len(seller.payouts)}"
        )
    if options.weeks == WEEKS:
        options.picture.write_text(draw(everybody, totals_of_platform()), encoding="utf-8")
        print(f"drawn: {options.picture.relative_to(ROOT) if options.picture.is_relative_to(ROOT) else options.picture}")
    call_command("ledger_verify")
    return 0


if __name__ == "__main__":
    sys.exit(main())
