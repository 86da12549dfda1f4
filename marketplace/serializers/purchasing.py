from datetime import date

from django.core.validators import MaxValueValidator, MinValueValidator
from rest_framework import serializers

from core.serializers import (
    CleanCharField,
    CurrencyField,
    Input,
    Output,
    PageQuery,
    StrictBooleanField,
    StrictIntegerField,
    UtcDateTimeField,
)
from marketplace.enums import LicenseState, PurchaseStatus, RefundStatus
from marketplace.selectors.purchasing import SALES_BY
from marketplace.serializers.tunes import TuneRowOutput

# Input


class AttestationInput(Input):
    text_version = serializers.CharField(max_length=32, help_text="Of the attestation that the rider was shown.")
    accepted = StrictBooleanField()


class PurchaseInput(Input):
    tune = serializers.UUIDField()
    vehicle = serializers.UUIDField(help_text="One of your own vehicles.")
    expected_price_minor = StrictIntegerField(
        min_value=0, max_value=100_000_000, help_text="The price that the rider saw. It only guards against a changed one."
    )
    currency = CurrencyField()
    attestation = AttestationInput(required=False, help_text="Required: without it the answer is `attestation_required`.")
    acknowledged_reasons = serializers.ListField(
        child=serializers.RegexField(r"\A[a-z_]{1,40}\Z"),
        max_length=40,
        required=False,
        default=list,
        help_text="Exactly the unknown codes of the verdict, in any order.",
    )


class PurchaseListQuery(PageQuery):
    updated_since = serializers.DateTimeField(required=False, help_text="`synced_until` of the last answer: what changed since.")
    status = serializers.ChoiceField(PurchaseStatus.choices, required=False)


class LicenseReleaseInput(Input):
    reason = CleanCharField(max_length=500)


class SaleListQuery(PageQuery):
    tune = serializers.UUIDField(required=False, help_text="Sales of this tune only.")
    currency = CurrencyField(required=False, help_text="Sales in this currency only.")


class PeriodQuery(Input):
    """Whole days in UTC, both ends included."""

    def get_fields(self):
        days = {"from": "First day, UTC; default: 29 days before `to`.", "to": "Last day, UTC; default: today."}
        return {**super().get_fields(), **{name: _day(text) for name, text in days.items()}}

    def validate(self, attrs):
        if "from" in attrs and "to" in attrs and attrs["from"] > attrs["to"]:
            raise serializers.ValidationError({"from": "`from` is after `to`."}, code="invalid")
        return attrs


def _day(help_text: str) -> serializers.DateField:
    """A day that one can count from and to."""
    known = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2199, 12, 31))]
    return serializers.DateField(required=False, help_text=help_text, validators=known)


class SalesSummaryQuery(PeriodQuery):
    by = serializers.ChoiceField(SALES_BY, default="day")
    currency = CurrencyField(required=False, help_text="Default: that of the newest sale.")


# Output: declared for the schema; the hot ones are rendered by their selectors and a test compares the two


class PurchasedTuneOutput(TuneRowOutput):
    """The tune as lists show it today, under the title that it was bought by."""

    title = serializers.CharField(help_text="As it was when it was bought.")
    price_minor = serializers.IntegerField(help_text="Today's; what was paid is `amount_minor`.")
    fitment = None


class LicenseOutput(Output):
    state = serializers.ChoiceField(LicenseState.choices)
    vehicle = serializers.UUIDField(allow_null=True, source="vehicle_id")
    reserved_until = UtcDateTimeField(allow_null=True)


class PaymentOutput(Output):
    provider = serializers.CharField()
    client_secret = serializers.CharField(
        allow_null=True, help_text="For the app's payment sheet; null until the provider answered (`sync` asks again)."
    )
    publishable_key = serializers.CharField()
    sandbox_url = serializers.CharField(allow_null=True, help_text="The stand-in's page for people; null in production.")


class PurchaseOutput(Output):
    id = serializers.UUIDField()
    number = serializers.CharField()
    tune = PurchasedTuneOutput()
    vehicle = serializers.UUIDField()
    status = serializers.ChoiceField(PurchaseStatus.choices)
    amount_minor = serializers.IntegerField()
    tax_minor = serializers.IntegerField(help_text="Contained in the amount.")
    currency = serializers.CharField()
    refunded_minor = serializers.IntegerField()
    license = LicenseOutput(allow_null=True)
    payment = PaymentOutput(allow_null=True, help_text="Null when free or no longer PENDING.")
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    paid_at = UtcDateTimeField(allow_null=True)
    expires_at = UtcDateTimeField(allow_null=True, help_text="While PENDING: until when it can be paid.")
    refundable_until = UtcDateTimeField(allow_null=True, help_text="Until when a refund is given at once; null after the first download.")


class ReceiptSellerOutput(Output):
    id = serializers.UUIDField()
    name = serializers.CharField()
    country = serializers.CharField()


class ReceiptPlatformOutput(Output):
    name = serializers.CharField()
    address = serializers.CharField(allow_null=True)
    tax_id = serializers.CharField(allow_null=True)


class ReceiptRefundOutput(Output):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(RefundStatus.choices)
    amount_minor = serializers.IntegerField()
    at = UtcDateTimeField()


class ReceiptBuyerOutput(Output):
    display_name = serializers.CharField()
    country = serializers.CharField(allow_null=True)


class ReceiptItemOutput(Output):
    tune = serializers.UUIDField()
    title = serializers.CharField()
    vehicle = serializers.UUIDField()
    vehicle_name = serializers.CharField()


class ReceiptAttestationOutput(Output):
    text_version = serializers.CharField()
    sha256 = serializers.CharField()
    accepted_at = UtcDateTimeField()


class ReceiptOutput(Output):
    number = serializers.CharField()
    purchase = serializers.UUIDField()
    status = serializers.ChoiceField(PurchaseStatus.choices)
    issued_at = UtcDateTimeField()
    seller = ReceiptSellerOutput()
    platform = ReceiptPlatformOutput()
    buyer = ReceiptBuyerOutput()
    item = ReceiptItemOutput()
    amount_minor = serializers.IntegerField()
    net_of_tax_minor = serializers.IntegerField()
    tax_minor = serializers.IntegerField()
    tax_rate_basis_points = serializers.IntegerField()
    tax_country = serializers.CharField(allow_null=True)
    refunded_minor = serializers.IntegerField()
    refunds = ReceiptRefundOutput(many=True, help_text="What was given back or is on its way, oldest first.")
    currency = serializers.CharField()
    html_url = serializers.CharField(help_text="The same as a page, to read, print or keep. The link opens for ten minutes.")
    attestation = ReceiptAttestationOutput()
    acknowledged_reasons = serializers.ListField(child=serializers.CharField())


class EventReceivedOutput(Output):
    received = serializers.BooleanField()


class SoldTuneOutput(Output):
    id = serializers.UUIDField()
    title = serializers.CharField()


class SaleOutput(Output):
    purchase = serializers.UUIDField()
    number = serializers.CharField()
    tune = SoldTuneOutput()
    status = serializers.ChoiceField(PurchaseStatus.choices)
    amount_minor = serializers.IntegerField()
    tax_minor = serializers.IntegerField()
    fee_minor = serializers.IntegerField()
    net_minor = serializers.IntegerField(help_text="Your share: amount without tax and fee, before refunds.")
    refunded_minor = serializers.IntegerField()
    currency = serializers.CharField()
    country = serializers.CharField(allow_null=True, help_text="The buyer's.")
    paid_at = UtcDateTimeField()


class SalesTotalOutput(Output):
    sales = serializers.IntegerField(help_text="How many were sold, free ones too.")
    gross_minor = serializers.IntegerField()
    tax_minor = serializers.IntegerField()
    fee_minor = serializers.IntegerField()
    refunded_minor = serializers.IntegerField()
    net_minor = serializers.IntegerField()


class SalesRowOutput(SalesTotalOutput):
    key = serializers.CharField(allow_null=True, help_text="A day, a tune's id or a country; null where the country is not known.")
    label = serializers.CharField(allow_null=True, help_text="The tune's title.")


class SalesSummaryOutput(Output):
    currency = serializers.CharField()
    by = serializers.ChoiceField(SALES_BY)
    rows = SalesRowOutput(many=True)
    total = SalesTotalOutput()

    def get_fields(self):
        return {**super().get_fields(), "from": serializers.DateField(), "to": serializers.DateField()}
