from datetime import timedelta
from typing import ClassVar

from rest_framework.response import Response

from core.views import ApiView
from garage.sync import synced_until
from marketplace.selectors import purchasing as reads
from marketplace.serializers.purchasing import LicenseOutput
from marketplace.services import licenses, purchasing, webhooks

SUMMARY_DAYS = 30


class PurchaseListView(ApiView):
    def get(self, request):
        """Your purchases, newest first, in every state.

        A purchase is never deleted: a cancelled or expired one is its own tombstone. Send `synced_until` back as
        `updated_since` to get only what changed, on the purchase or on its license.
        """
        params = self.params()
        until = synced_until()  # before the rows: nothing that commits in between may be missed
        rows, following = reads.list_purchase_shapes(
            request.user,
            updated_since=params.get("updated_since"),
            status=params.get("status"),
            cursor=params.get("cursor"),
            page_size=params["page_size"],
            bound_to=self.bound_to(),
        )
        return Response({"next": self.next_url(following), "results": rows, "synced_until": until})

    def post(self, request):
        """Buy a tune for one of your vehicles. A free one is PAID at once; else pay with the app's payment sheet.

        201 for a new purchase, 200 when an unexpired PENDING one of yours for the same tune and vehicle is continued.
        When the payment provider does not answer it is 503: repeat the same request, and the same purchase goes on.
        """
        body = self.body()
        attestation = body.get("attestation") or {}
        wish = purchasing.Wish(
            tune_id=body["tune"],
            vehicle_id=body["vehicle"],
            expected_price_minor=body["expected_price_minor"],
            currency=body["currency"],
            attestation_version=attestation.get("text_version", ""),
            attestation_accepted=attestation.get("accepted", False),
            acknowledged_reasons=body["acknowledged_reasons"],
        )
        return self.create_once(
            lambda claim: purchasing.begin_purchase(buyer=request.user, wish=wish, claim=claim, at=self.at),
            render=lambda purchase: reads.purchase_shape(request.user, purchase.pk),
            find=lambda purchase_id: purchasing.resume_purchase(
                buyer=request.user,
                purchase_id=purchase_id,
                operation=self.endpoint.name,
                key=request.headers["Idempotency-Key"],
                at=self.at,
            ),
            status=lambda purchase: 201 if purchase.is_new else 200,
            atomic=False,
        )


class PurchaseView(ApiView):
    def get(self, request, purchase):
        """One of your purchases, with its license and, while it is PENDING, what the payment sheet needs."""
        return Response(reads.purchase_shape(request.user, purchase))


class PurchaseReceiptView(ApiView):
    def get(self, request, purchase):
        """The receipt of a paid purchase, as things were when it was bought."""
        return Response(reads.get_receipt(request.user, purchase))


class PurchaseSyncView(ApiView):
    def post(self, request, purchase):
        """Ask the payment provider now what became of a payment: for the moment after the payment sheet closed."""
        purchasing.sync_purchase(buyer=request.user, purchase_id=purchase, at=self.at)
        return Response(reads.purchase_shape(request.user, purchase))


class PurchaseCancelView(ApiView):
    def post(self, request, purchase):
        """Give a PENDING purchase up. Its payment is cancelled at the provider first; had it succeeded, it is PAID."""
        purchasing.cancel_purchase(buyer=request.user, purchase_id=purchase, at=self.at)
        return Response(reads.purchase_shape(request.user, purchase))


class LicenseReleaseView(ApiView):
    def post(self, request, purchase):
        """Free the license for another vehicle, once a year: after a replaced ECU or a sold bike."""
        license = licenses.release_license(holder=request.user, purchase_id=purchase, at=self.at, **self.body())
        return Response(LicenseOutput(license).data)


class StripeWebhookView(ApiView):
    parser_classes: ClassVar = []
    authentication_classes: ClassVar = []
    reads_raw_body = True

    def post(self, request):
        """Take a signed event of the payment provider. A repeat is taken too, and changes nothing."""
        webhooks.receive_event(payload=request.body, signature=request.headers.get("Stripe-Signature", ""), at=self.at)
        return Response({"received": True})


class SaleListView(ApiView):
    def get(self, request):
        """Your sales, newest first. Who bought stays between the buyer and RevSync."""
        params = self.params()
        rows, following = reads.list_sale_shapes(
            request.user,
            tune_id=params.get("tune"),
            currency=params.get("currency"),
            cursor=params.get("cursor"),
            page_size=params["page_size"],
            bound_to=self.bound_to(),
        )
        return Response({"next": self.next_url(following), "results": rows})


class SalesSummaryView(ApiView):
    def get(self, request):
        """Your sales in one currency, added up by day, tune or country, exactly as the books have them."""
        params = self.params()
        last = params.get("to") or self.at.date()
        first = params.get("from") or last - timedelta(days=SUMMARY_DAYS - 1)
        currency = params.get("currency") or reads.currency_of_sales(request.user)
        return Response(
            reads.summarise_sales(request.user, by=params["by"], period=reads.Period(first=first, last=last), currency=currency)
        )
