from rest_framework import serializers

from core.serializers import CurrencyField, Output, PageQuery, UtcDateTimeField
from marketplace.enums import CentState, LedgerCause, PayoutAccountState, PayoutBlocker, PayoutStatus

# Input


class BalanceQuery(PageQuery):
    currency = CurrencyField(required=False, help_text="Default: that of the newest sale.")
    state = serializers.ChoiceField(CentState.choices, required=False, help_text="Entries in this state only; the sums are of all.")


class PayoutListQuery(PageQuery):
    currency = CurrencyField(required=False, help_text="Payouts in this currency only.")
    status = serializers.ChoiceField(PayoutStatus.choices, required=False)


# Output


class PayoutAccountOutput(Output):
    """Where one is paid. Who one is, and the bank, only the payment provider knows."""

    state = serializers.ChoiceField(PayoutAccountState.choices, allow_null=True, help_text="Null: there is none yet.")
    requirements_due = serializers.ListField(child=serializers.CharField(), help_text="What the provider still asks for, in its words.")
    disabled_reason = serializers.CharField(allow_null=True, help_text="Why the provider can't pay, in its words.")
    payout_blockers = serializers.ListField(
        child=serializers.ChoiceField(PayoutBlocker.choices), help_text="What stands in the way of being paid, and of opening an account."
    )
    checked_at = UtcDateTimeField(allow_null=True, help_text="When the provider was asked last.")


class OnboardingOutput(PayoutAccountOutput):
    onboarding_url = serializers.CharField(help_text="The provider's page. It opens once, within minutes; it is stored nowhere.")
    expires_at = UtcDateTimeField()


class CauseOutput(Output):
    type = serializers.ChoiceField(LedgerCause.choices)
    purchase = serializers.UUIDField(allow_null=True)
    number = serializers.CharField(allow_null=True)


class CentsOutput(Output):
    """Cents with one cause and one state. Each cent that a sale brought stands in exactly one of them."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(CentState.choices)
    amount_minor = serializers.IntegerField()
    cause = CauseOutput()
    at = UtcDateTimeField()
    available_at = UtcDateTimeField(allow_null=True, help_text="When it is, or was, released; null while the sale is disputed.")
    payout = serializers.UUIDField(allow_null=True, help_text="What paid it out, or what a claw-back was set off against.")


class CentsPageOutput(Output):
    next = serializers.CharField(allow_null=True)
    results = CentsOutput(many=True)


class BalanceOutput(Output):
    currency = serializers.CharField()
    available_minor = serializers.IntegerField(help_text="What a payout would take now.")
    held_minor = serializers.IntegerField(help_text="Within the hold period, or disputed.")
    negative_minor = serializers.IntegerField(help_text="Owed to the platform; set off against what is earned next.")
    paid_minor = serializers.IntegerField(help_text="Of the entries that are PAID.")
    clawed_back_minor = serializers.IntegerField(help_text="Of the entries that are CLAWED_BACK.")
    carried_minor = serializers.IntegerField(
        help_text="Clawed back after it was paid out and not set off yet: entries that are AVAILABLE and this make available or negative."
    )
    minimum_payout_minor = serializers.IntegerField()
    next_payout_at = UtcDateTimeField(allow_null=True, help_text="Null while something stands in the way.")
    payout_blockers = serializers.ListField(child=serializers.ChoiceField(PayoutBlocker.choices))
    entries = CentsPageOutput()


class PayoutOutput(Output):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(PayoutStatus.choices)
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    failure_code = serializers.CharField(allow_null=True, help_text="Why it came back, in the provider's words.")
    created_at = UtcDateTimeField()
    arrived_at = UtcDateTimeField(allow_null=True)
    statement_url = serializers.CharField(help_text="What it paid, as CSV. The link opens for ten minutes.")


class StatementOutput(Output):
    month = serializers.CharField(help_text="As in 2026-07, UTC.")
    currency = serializers.CharField()
    share_minor = serializers.IntegerField(help_text="What your shares became by sales, refunds and disputes of that month.")
    paid_out_minor = serializers.IntegerField(help_text="What was paid out in it, without what came back.")
    statement_url = serializers.CharField(help_text="The month as CSV, all currencies. The link opens for ten minutes.")


class StatementsOutput(Output):
    results = StatementOutput(many=True)
