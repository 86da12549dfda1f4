"""Reads of cases and refunds. What is between others is the same as what is missing."""

from uuid import UUID

from django.db.models import Prefetch, QuerySet

from marketplace.exceptions import CaseNotFound
from marketplace.models import Case, CaseAttachment, CaseMessage, Refund
from marketplace.selectors.purchasing import get_own_purchase
from users.models import User


def list_cases(user: User, *, status: str | None = None, purchase_id: UUID | None = None) -> QuerySet[Case]:
    """Cases of a person's purchases and sales; all of them for staff. One query a page."""
    cases = Case.objects.visible_to(user).select_related("purchase")
    if status is not None:
        cases = cases.filter(status=status)
    return cases if purchase_id is None else cases.filter(purchase_id=purchase_id)


def get_case(user: User, case_id: UUID) -> Case:
    """One of them with its messages, oldest first, and their files. Three queries. Raises: CaseNotFound."""
    files = Prefetch("attachments", CaseAttachment.objects.order_by("position"))
    messages = Prefetch("messages", CaseMessage.objects.order_by("created_at", "id").prefetch_related(files))
    case = Case.objects.visible_to(user).select_related("purchase").prefetch_related(messages).filter(pk=case_id).first()
    if case is None:
        raise CaseNotFound
    return case


def get_message(user: User, message_id: UUID) -> CaseMessage:
    """A message of a case that the person sees, with its files. Raises: CaseNotFound."""
    message = (
        CaseMessage.objects.filter(case__in=Case.objects.visible_to(user)).prefetch_related("attachments").filter(pk=message_id).first()
    )
    if message is None:
        raise CaseNotFound
    return message


def list_refunds(buyer: User, purchase_id: UUID) -> QuerySet[Refund]:
    """The refunds of an own purchase. Two queries a page. Raises: PurchaseNotFound."""
    return Refund.objects.filter(purchase=get_own_purchase(buyer, purchase_id))
