"""A rider frees a license for another vehicle, once a year."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from core.models import AuditEvent
from core.testing.http import client_for
from core.testing.races import race
from marketplace.enums import LicenseState
from marketplace.exceptions import LicenseNotBound, LicenseReleaseTooSoon, PurchaseNotFound
from marketplace.models import License
from marketplace.services.licenses import release_license
from marketplace.tests.factories import LicenseFactory
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def release(license, *, holder=None, at=NOW):
    return release_license(holder=holder or license.holder, purchase_id=license.purchase_id, reason="new ECU", at=at)


@pytest.mark.django_db
class TestReleaseLicense:
    def test_frees_the_vehicle_and_remembers_when(self):
        license = LicenseFactory(bound=True, purchase__vehicle_identity_hashes=["ab"])

        release(license)

        license.refresh_from_db()
        assert (license.state, license.vehicle_id, license.vehicle_identity_hashes) == (LicenseState.UNBOUND, None, [])
        assert license.released_by_holder_at == NOW
        assert AuditEvent.objects.get(act="license.released").reason == "new ECU"

    @pytest.mark.parametrize("state", [{}, {"reserved": True}, {"suspended": True}, {"revoked": True}])
    def test_refuses_what_is_not_bound(self, state):
        with pytest.raises(LicenseNotBound):
            release(LicenseFactory(**state))

    @pytest.mark.parametrize(("days", "allowed"), [(364, False), (365, True)])
    def test_allows_one_release_in_365_days(self, days, allowed):
        license = LicenseFactory(bound=True, released_by_holder_at=NOW - timedelta(days=days))

        if allowed:
            release(license)
        else:
            with pytest.raises(LicenseReleaseTooSoon) as refusal:
                release(license)
            assert refusal.value.members["available_at"] == NOW + timedelta(days=1)

    def test_hides_another_riders_license(self):
        with pytest.raises(PurchaseNotFound):
            release(LicenseFactory(bound=True), holder=UserFactory())

    @pytest.mark.parametrize(
        ("change", "constraint"),
        [
            ({"vehicle_id": None}, "license_bound_iff_vehicle_and_time"),
            ({"bound_at": None}, "license_bound_iff_vehicle_and_time"),
            ({"state": LicenseState.SUSPENDED}, "license_suspended_iff_returns_somewhere"),
            ({"state": LicenseState.REVOKED}, "license_revoked_iff_time"),
        ],
    )
    def test_postgres_refuses_a_half_bound_license(self, change, constraint):
        license = LicenseFactory(bound=True)

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            License.objects.filter(pk=license.pk).update(**change)

    def test_over_http(self):
        license = LicenseFactory(bound=True)
        url = f"marketplace/purchases/{license.purchase_id}/license/release/"
        client = client_for(license.holder)

        answers = [client.post(url, body) for body in ({"reason": "new ECU"}, {"reason": "new ECU"}, {}, {"reason": "x\u0000"})]

        assert [answer.status_code for answer in answers] == [200, 409, 400, 400]
        assert answers[0].json() == {"state": "UNBOUND", "vehicle": None, "reserved_until": None}
        assert answers[1].json()["code"] == "license_not_bound"


@pytest.mark.django_db(transaction=True)
class TestTwoReleasesAtOnce:
    """Two phones of one rider: one release wins, and one audit row tells of it."""

    def test_one_wins(self):
        license = LicenseFactory(bound=True)

        assert race(lambda: release(license)) == ["license_not_bound", "ok"]
        assert AuditEvent.objects.filter(act="license.released").count() == 1

    def test_control_without_the_lock_both_win(self):
        license = LicenseFactory(bound=True)

        assert race(lambda: release(license), row_locks=False) == ["ok", "ok"]
