"""The demo data's chapter about money: a refund, a dispute, and a case in every state."""

from datetime import timedelta

import pytest

from core import clock
from marketplace.demo.loader import TALKS, Loader
from marketplace.demo.people import ADMINS
from marketplace.enums import CaseStatus
from marketplace.models import Case, Dispute, GrantedPurchase, Purchase, Refund
from marketplace.tests.cases import bought
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_it_ends_with_everything_that_staff_may_meet(payments, tmp_path):
    for _ in range(4 + len(TALKS)):
        _, purchase, _ = bought(payments)
        GrantedPurchase.objects.create(purchase=purchase, granted_at=purchase.paid_at)
    told = Loader(data_dir=tmp_path, now=clock.now() + timedelta(days=10), say=print)
    told.people[ADMINS[0][0]] = UserFactory(admin=True, mfa=True)

    told.argue_about_money()

    assert set(Case.objects.values_list("status", flat=True)) == set(CaseStatus.values)
    assert sorted(Purchase.objects.exclude(status="PAID").values_list("status", flat=True)) == ["DISPUTED", "REFUNDED"]
    assert sorted(Refund.objects.values_list("status", "failure_code")) == [("FAILED", "declined"), ("SUCCEEDED", ""), ("SUCCEEDED", "")]
    assert Purchase.objects.filter(status="PAID", refunded_minor__gt=0).count() == 1
    assert Dispute.objects.get().evidence_text
