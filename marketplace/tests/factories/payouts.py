"""Payout accounts and payouts for tests."""

import factory

from core import clock
from core.ids import new_id
from marketplace.enums import LedgerAccount, LedgerCause, PayoutAccountState, PayoutStatus
from marketplace.models import LedgerEntry, LedgerSet, Payout, PayoutAccount, PayoutLine
from marketplace.services.books import book_payout, book_payout_failed

__all__ = ["PayoutAccountFactory", "PayoutFactory"]


class PayoutAccountFactory(factory.django.DjangoModelFactory):
    """An account that can be paid. Trait: `opening`."""

    class Meta:
        model = PayoutAccount

    class Params:
        opening = factory.Trait(state=PayoutAccountState.OPENING, account_id=None)

    tuner = factory.SubFactory("tuners.tests.factories.TunerProfileFactory")
    account_id = factory.Sequence(lambda n: f"acct_{n:016d}")
    state = PayoutAccountState.ACTIVE
    created_at = factory.LazyFunction(clock.now)


class PayoutFactory(factory.django.DjangoModelFactory):
    """A payout on its way, of one sum that staff booked to the tuner. Traits: `paid`, `failed`."""

    class Meta:
        model = Payout

    class Params:
        paid = factory.Trait(
            status=PayoutStatus.PAID,
            transfer_id=factory.Sequence(lambda n: f"tr_{n:024d}"),
            bank_payout_id=factory.Sequence(lambda n: f"po_{n:024d}"),
            arrived_at=factory.SelfAttribute("created_at"),
        )
        failed = factory.Trait(status=PayoutStatus.FAILED, failure_code="account_closed", failed_at=factory.SelfAttribute("created_at"))

    account = factory.SubFactory(PayoutAccountFactory)
    tuner = factory.SelfAttribute("account.tuner")
    currency = "EUR"
    amount_minor = 8_500
    created_at = factory.LazyFunction(clock.now)

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        """With its line and its booking: without them Postgres refuses it."""
        payout = super()._create(model_class, *args, **kwargs)
        facts = {"currency": payout.currency, "at": payout.created_at}
        given = LedgerSet.objects.create(cause=LedgerCause.ADJUSTMENT, cause_id=new_id(), **facts)
        LedgerEntry.objects.create(set=given, account=LedgerAccount.LOSSES, amount_minor=-payout.amount_minor, **facts)
        share = LedgerEntry.objects.create(
            set=given,
            account=LedgerAccount.TUNER,
            tuner=payout.tuner,
            amount_minor=payout.amount_minor,
            available_at=payout.created_at,
            **facts,
        )
        PayoutLine.objects.create(payout=payout, entry=share, released_at=payout.failed_at)
        book_payout(payout=payout, at=payout.created_at)
        if payout.status == PayoutStatus.FAILED:
            book_payout_failed(payout=payout, at=payout.failed_at)
        return payout
