"""What the list of payouts is narrowed by."""

import pytest

from core.testing.http import client_for
from marketplace.tests.factories import PayoutFactory


@pytest.mark.django_db
def test_payouts_of_a_currency_and_a_status():
    euros = PayoutFactory(paid=True)
    PayoutFactory(account=euros.account, paid=True, currency="USD")
    PayoutFactory(account=euros.account)
    PayoutFactory(paid=True)  # somebody else's
    tuner = client_for(euros.tuner.user)

    def found(**params):
        answer = tuner.get("marketplace/payouts/", params)
        assert answer.status_code == 200, answer.content
        return sorted((row["currency"], row["status"]) for row in answer.json()["results"])

    assert len(found()) == 3
    assert found(currency="USD") == [("USD", "PAID")]
    assert found(currency="EUR", status="PAID") == [("EUR", "PAID")]
    assert found(currency="USD", status="FAILED") == []
    assert tuner.get("marketplace/payouts/", {"status": "LOST"}).status_code == 400
