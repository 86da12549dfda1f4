from core.endpoints import Endpoint
from core.permissions import ActiveTuner, Authenticated, AuthenticatedEvenIfBlocked, Public
from marketplace.serializers import trust as shapes
from marketplace.views import trust as views

# A grant is of a paid purchase, and stays one: what was paid is refunded, disputed or charged back, never unpaid again.
AGAIN = (
    "license_revoked", "license_suspended", "version_recalled", "version_on_hold", "fitment_mismatch",
    "vehicle_mismatch", "integrity_error", "app_version_blocked", "grant_refused",
)  # fmt: skip
REFUSALS = ("purchase_not_paid", *AGAIN)

ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "POST", "marketplace/purchases/<uuid:purchase>/downloads/", views.DownloadListView, "create_download", "Download a tune",
        access=Authenticated, scope="buyer", request=shapes.DownloadInput, response=shapes.GrantOutput, status=201,
        problems=REFUSALS, limit="grants_account", idempotency="honoured", audit="download.granted",
    ),
    Endpoint(
        "GET", "marketplace/purchases/<uuid:purchase>/downloads/", views.DownloadListView, "list_downloads", "Read the trail of a purchase",
        access=Authenticated, scope="buyer", query=shapes.PageQuery, response=shapes.DownloadOutput, paginated=True,
    ),
    Endpoint(
        "POST", "marketplace/downloads/<uuid:download>/link/", views.DownloadLinkView, "renew_download_link", "Get a fresh link",
        access=Authenticated, scope="buyer", response=shapes.GrantOutput, problems=AGAIN, limit="grants_account",
        audit="download.link_renewed",
    ),
    Endpoint(
        "POST", "marketplace/versions/<uuid:version>/test-tickets/", views.TestTicketView, "create_test_ticket", "Get a test ticket",
        access=ActiveTuner, scope="tuner_of", request=shapes.TestTicketInput, response=shapes.TestTicketOutput, status=201,
        problems=(
            "invalid_transition", "tune_suspended", "publish_blocked", "fitment_mismatch", "ticket_blocked", "integrity_error",
            "grant_refused",
        ),
        limit="grants_account", idempotency="honoured", audit="test_ticket.issued",
    ),
    Endpoint(
        "GET", "marketplace/flashes/", views.FlashListView, "list_flashes", "List my flash reports",
        access=Authenticated, scope="owner", query=shapes.FlashListQuery, response=shapes.FlashOutput, paginated=True,
    ),
    Endpoint(
        "POST", "marketplace/flashes/", views.FlashListView, "report_flash", "Report a flash",
        access=AuthenticatedEvenIfBlocked, scope="owner", request=shapes.FlashInput, response=shapes.FlashOutput, status=201,
        problems=("id_taken", "not_found"), idempotency="honoured", audit="flash.reported",
    ),
    Endpoint(
        "POST", "marketplace/installed/check/", views.InstalledCheckView, "check_installed", "Check installed files",
        access=AuthenticatedEvenIfBlocked, request=shapes.InstalledCheckInput, response=shapes.InstalledCheckOutput,
    ),
    Endpoint(
        "POST", "marketplace/recalls/<uuid:recall>/acknowledge/", views.RecallAcknowledgeView, "acknowledge_recall", "Acknowledge a recall",
        access=AuthenticatedEvenIfBlocked, scope="owner", response=shapes.RecallOutput,
    ),
    Endpoint(
        "GET", "trust/root/<int:number>/", views.RootView, "get_root", "Read a root document",
        access=Public, response=shapes.EnvelopeOutput, cache="public", tags=("trust",),
    ),
    Endpoint(
        "GET", "trust/status/", views.StatusView, "get_status", "Read the status document",
        access=Public, response=shapes.EnvelopeOutput, cache="public", tags=("trust",),
    ),
]  # fmt: skip
