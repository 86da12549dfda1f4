"""Pages for browsers: what a signed link opens, and where the provider's onboarding leads back to."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from core.exceptions import DomainError
from marketplace import documents, statements
from marketplace.enums import PurchaseStatus
from marketplace.exceptions import StatementNotFound
from marketplace.money import amount_text
from marketplace.selectors.payouts import get_statement
from marketplace.selectors.purchasing import get_receipt
from users.models import User

HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


@require_safe
def document(request: HttpRequest, token: str) -> HttpResponse:
    """A receipt or a statement, for whoever has the link of the last ten minutes."""
    opened = documents.opened_by(token)
    owner = opened and User.objects.filter(pk=opened.owner_id, deleted_at=None).first()
    if opened is None or owner is None:
        return _too_old(request)
    try:
        response = _statement(owner, opened.name) if opened.kind == "statement" else _receipt(request, owner, opened.name)
    except DomainError:  # what the link named is not theirs any more
        return _too_old(request)
    return _unseen(response)


@require_safe
def payout_return(request: HttpRequest) -> HttpResponse:
    """Where the onboarding leads: the app knows the state, this page only says where to go on."""
    if "again" in request.GET:
        title, text = "This link was used already", "Open the payout account in the app again: it makes a new link."
    else:
        title, text = "You can go back to the app", "The app shows what the payment provider makes of your details."
    return _page(request, title, text)


def _too_old(request: HttpRequest) -> HttpResponse:
    return _page(request, "This link is too old", "It opened for ten minutes. Open the document in the app again.", status=404)


def _page(request: HttpRequest, title: str, text: str, *, status: int = 200) -> HttpResponse:
    return _unseen(render(request, "marketplace/page.html", {"title": title, "text": text}, status=status))


def _unseen(response: HttpResponse) -> HttpResponse:
    """Kept by nobody, and the address told to nobody."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


def _statement(owner: User, name: str) -> HttpResponse:
    """Raises: TunerNotFound, PayoutNotFound, StatementNotFound."""
    rows = get_statement(owner, name)
    file_name = f"revsync-statement-{name}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
    return HttpResponse(statements.to_csv(rows), content_type="text/csv; charset=utf-8", headers=headers)


def _receipt(request: HttpRequest, owner: User, name: str) -> HttpResponse:
    """Raises: PurchaseNotFound, PurchaseNotPaid, StatementNotFound."""
    try:
        receipt = get_receipt(owner, UUID(name))
    except ValueError as wrong:
        raise StatementNotFound from wrong
    return render(request, "marketplace/receipt.html", _facts(receipt))


def _facts(receipt: dict[str, Any]) -> dict[str, Any]:
    def text(amount_minor: int) -> str:
        return amount_text(amount_minor, receipt["currency"])

    rate = receipt["tax_rate_basis_points"]
    return {
        "title": f"Receipt {receipt['number']}",
        "receipt": receipt,
        "status": PurchaseStatus(receipt["status"]).label,
        "net": text(receipt["net_of_tax_minor"]),
        "tax": text(receipt["tax_minor"]),
        "tax_rate": f"{rate / 100:g} %" if rate else "",
        "total": text(receipt["amount_minor"]),
        "left": text(receipt["amount_minor"] - receipt["refunded_minor"]),
        "refunds": [{**refund, "amount": text(refund["amount_minor"])} for refund in receipt["refunds"]],
    }
