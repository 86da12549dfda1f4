from core.endpoints import Endpoint
from core.permissions import Authenticated, Public, TunerOrCreator
from marketplace.serializers import purchasing as shapes
from marketplace.views import purchasing as views

PURCHASE = "marketplace/purchases/<uuid:purchase>/"
BUYING = (
    "already_owned", "price_changed", "own_tune", "not_for_sale", "fitment_mismatch", "acknowledgement_required", "region_blocked",
    "attestation_required", "not_found",
)  # fmt: skip

ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "GET", "marketplace/purchases/", views.PurchaseListView, "list_purchases", "List my purchases",
        access=Authenticated, scope="buyer", query=shapes.PurchaseListQuery, response=shapes.PurchaseOutput, paginated=True, synced=True,
    ),
    Endpoint(
        "POST", "marketplace/purchases/", views.PurchaseListView, "create_purchase", "Buy a tune",
        access=Authenticated, scope="buyer", request=shapes.PurchaseInput, response=shapes.PurchaseOutput, status=201, repeat_status=200,
        problems=BUYING, limit="purchases_account", idempotency="required", audit="purchase.begun",
    ),
    Endpoint(
        "GET", PURCHASE, views.PurchaseView, "get_purchase", "Read one of my purchases",
        access=Authenticated, scope="buyer", response=shapes.PurchaseOutput,
    ),
    Endpoint(
        "GET", f"{PURCHASE}receipt/", views.PurchaseReceiptView, "get_purchase_receipt", "Read the receipt of a purchase",
        access=Authenticated, scope="buyer", response=shapes.ReceiptOutput, problems=("purchase_not_paid",),
    ),
    Endpoint(
        "POST", f"{PURCHASE}sync/", views.PurchaseSyncView, "sync_purchase", "Ask the payment provider now",
        access=Authenticated, scope="buyer", response=shapes.PurchaseOutput, limit="purchases_account",
    ),
    Endpoint(
        "POST", f"{PURCHASE}cancel/", views.PurchaseCancelView, "cancel_purchase", "Cancel a pending purchase",
        access=Authenticated, scope="buyer", response=shapes.PurchaseOutput, problems=("invalid_transition",),
        limit="purchases_account", audit="purchase.canceled",
    ),
    Endpoint(
        "POST", f"{PURCHASE}license/release/", views.LicenseReleaseView, "release_license", "Free a license for another vehicle",
        access=Authenticated, scope="buyer", request=shapes.LicenseReleaseInput, response=shapes.LicenseOutput,
        problems=("license_not_bound", "license_release_too_soon"), audit="license.released",
    ),
    Endpoint(
        "POST", "marketplace/payments/webhooks/stripe/", views.StripeWebhookView, "receive_stripe_event",
        "Take an event of the payment provider",
        access=Public, response=shapes.EventReceivedOutput, problems=("invalid_signature",),
    ),
    Endpoint(
        "GET", "marketplace/sales/", views.SaleListView, "list_sales", "List my sales",
        access=TunerOrCreator, scope="tuner_of", query=shapes.SaleListQuery, response=shapes.SaleOutput, paginated=True,
    ),
    Endpoint(
        "GET", "marketplace/sales/summary/", views.SalesSummaryView, "summarise_sales", "Add my sales up",
        access=TunerOrCreator, scope="tuner_of", query=shapes.SalesSummaryQuery, response=shapes.SalesSummaryOutput,
    ),
]  # fmt: skip
