from core.endpoints import Endpoint
from core.permissions import Authenticated
from core.serializers import PageQuery
from marketplace.serializers import cases as shapes
from marketplace.views import cases as views

REFUNDS = "marketplace/purchases/<uuid:purchase>/refunds/"
CASES = "marketplace/cases/"

ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "GET", REFUNDS, views.RefundListView, "list_refunds", "List the refunds of a purchase",
        access=Authenticated, scope="buyer", query=PageQuery, response=shapes.RefundOutput, paginated=True,
    ),
    Endpoint(
        "POST", REFUNDS, views.RefundListView, "create_refund", "Ask for a refund",
        access=Authenticated, scope="buyer", request=shapes.RefundInput, response=shapes.RefundOutput, status=201, repeat_status=200,
        problems=("purchase_not_paid", "nothing_to_refund", "already_refunded", "purchase_disputed", "purchase_charged_back"),
        limit="purchases_account", idempotency="required", audit="refund.reserved",
    ),
    Endpoint(
        "GET", CASES, views.CaseListView, "list_cases", "List my cases",
        access=Authenticated, scope="party", query=shapes.CaseListQuery, response=shapes.CaseRowOutput, paginated=True,
    ),
    Endpoint(
        "POST", CASES, views.CaseListView, "create_case", "Open a case",
        access=Authenticated, scope="party", request=shapes.CaseInput, response=shapes.CaseOutput, status=201,
        problems=("purchase_not_paid", "case_already_open", "not_found"), limit="case_messages_account", idempotency="honoured",
        audit="case.opened",
    ),
    Endpoint(
        "GET", f"{CASES}<uuid:case>/", views.CaseView, "get_case", "Read a case",
        access=Authenticated, scope="party", response=shapes.CaseOutput,
    ),
    Endpoint(
        "POST", f"{CASES}<uuid:case>/messages/", views.CaseMessageListView, "create_case_message", "Write in a case",
        access=Authenticated, scope="party", request=shapes.CaseMessageInput, response=shapes.CaseMessageOutput, status=201,
        problems=("case_resolved", "id_taken"), limit="case_messages_account", idempotency="honoured", audit="case.answered",
    ),
]  # fmt: skip
