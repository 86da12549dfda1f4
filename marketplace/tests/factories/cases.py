"""Sold purchases with their books, and what becomes of them: refunds, disputes, cases."""

from datetime import timedelta
from typing import Any

import factory

from core import clock
from core.ids import new_id
from marketplace.enums import (
    CaseAuthor,
    CaseKind,
    CaseResolution,
    CaseStatus,
    DisputeStatus,
    PaymentAttemptState,
    RefundCause,
    RefundStatus,
)
from marketplace.models import Case, CaseAttachment, CaseMessage, Dispute, Purchase, Refund
from marketplace.services.books import book_sale
from marketplace.tests.factories.purchasing import PaymentAttemptFactory, PurchaseFactory


def sold(**values: Any) -> Purchase:
    """A paid purchase as the settlement leaves one: with license, successful payment and booked sale."""
    purchase = PurchaseFactory(paid=True, **values)
    PaymentAttemptFactory(purchase=purchase, open=True, state=PaymentAttemptState.SUCCEEDED, ended_at=purchase.paid_at)
    book_sale(purchase=purchase, at=purchase.paid_at)
    return purchase


class CaseFactory(factory.django.DjangoModelFactory):
    """An OPEN case of a paid purchase about something else, with the rider's first message. Trait: `resolved`."""

    class Meta:
        model = Case
        skip_postgeneration_save = True

    class Params:
        resolved = factory.Trait(
            status=CaseStatus.RESOLVED,
            due_at=None,
            resolution=CaseResolution.SOLVED,
            resolution_reason="It worked after a restart.",
            resolved_at=factory.SelfAttribute("created_at"),
        )

    purchase = factory.SubFactory(PurchaseFactory, paid=True)
    kind = CaseKind.OTHER
    opened_by_id = factory.SelfAttribute("purchase.buyer_id")
    due_at = factory.LazyAttribute(lambda case: case.created_at + timedelta(hours=72))
    created_at = factory.LazyFunction(clock.now)
    updated_at = factory.SelfAttribute("created_at")
    first_message = factory.PostGeneration(lambda case, create, extracted, **_: CaseMessageFactory(case=case) and None)


class CaseMessageFactory(factory.django.DjangoModelFactory):
    """The rider writes."""

    class Meta:
        model = CaseMessage

    case = factory.SubFactory(CaseFactory)
    author = CaseAuthor.RIDER
    author_user = factory.SelfAttribute("case.purchase.buyer")
    text = "It idles roughly since the flash."
    fingerprint = bytes(32)
    created_at = factory.LazyFunction(clock.now)


class CaseAttachmentFactory(factory.django.DjangoModelFactory):
    """A picture beside a message, of which no bytes are stored."""

    class Meta:
        model = CaseAttachment

    message = factory.SubFactory(CaseMessageFactory)
    upload_id = factory.LazyFunction(new_id)
    storage_key = factory.LazyAttribute(lambda attachment: f"uploads/{attachment.upload_id}")
    name = "log.png"
    content_type = "image/png"
    size_bytes = 1
    sha256 = "ab" * 32


class RefundFactory(factory.django.DjangoModelFactory):
    """A wish for all of a purchase that staff must decide, with its case. Trait: `succeeded` (its purchase is yours to set)."""

    class Meta:
        model = Refund

    class Params:
        succeeded = factory.Trait(
            status=RefundStatus.SUCCEEDED,
            cause=RefundCause.REQUEST,
            case=None,
            provider_refund_id=factory.Sequence(lambda n: f"re_made_{n}"),
            reserved_at=factory.SelfAttribute("created_at"),
            ended_at=factory.SelfAttribute("created_at"),
        )

    purchase = factory.SubFactory(PurchaseFactory, paid=True)
    case = factory.SubFactory(CaseFactory, purchase=factory.SelfAttribute("..purchase"), kind=CaseKind.REFUND)
    cause = RefundCause.CASE
    amount_minor = factory.SelfAttribute("purchase.amount_minor")
    currency = factory.SelfAttribute("purchase.currency")
    asked_by_id = factory.SelfAttribute("purchase.buyer_id")
    created_at = factory.LazyFunction(clock.now)


class DisputeFactory(factory.django.DjangoModelFactory):
    """An open dispute of a disputed purchase; books nothing."""

    class Meta:
        model = Dispute

    purchase = factory.SubFactory(PurchaseFactory, disputed=True)
    provider_dispute_id = factory.LazyFunction(lambda: f"du_{new_id().hex}")
    intent_id = factory.LazyFunction(lambda: f"pi_{new_id().hex}")
    status = DisputeStatus.NEEDS_RESPONSE
    reason = "fraudulent"
    amount_minor = factory.SelfAttribute("purchase.amount_minor")
    currency = factory.SelfAttribute("purchase.currency")
    evidence_due_at = factory.LazyAttribute(lambda dispute: dispute.opened_at + timedelta(days=9))
    opened_at = factory.LazyFunction(clock.now)
    applied_at = factory.SelfAttribute("opened_at")
    checked_at = factory.SelfAttribute("opened_at")
