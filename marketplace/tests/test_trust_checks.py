"""What operators and people are told about the trust documents."""

from datetime import timedelta

import pytest

from core import clock
from marketplace import trust_checks
from marketplace.models import VersionStop
from marketplace.services import status, stops
from marketplace.tests.factories import ride_for
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def levels():
    return [finding.level for finding in trust_checks.check_status()]


class TestChecks:
    def test_an_installation_without_a_document_is_ready_but_told(self):
        assert trust_checks.find_status_trouble() is None
        assert levels() == ["warn"]

    def test_a_fresh_document_is_fine(self):
        status.publish_status(at=clock.now())

        assert trust_checks.find_status_trouble() is None
        assert levels() == ["ok"]

    def test_an_old_document_is_trouble(self):
        status.publish_status(at=clock.now() - timedelta(hours=4))

        assert "due every hour" in trust_checks.find_status_trouble()
        assert levels()[0] == "wrong"

    def test_a_stop_that_was_edited_away_is_named(self):
        ride, admin = ride_for(), UserFactory(admin=True)
        stops.hold_version(actor=admin, version_id=ride.version.pk, reason="Knock.", at=ride.at)
        status.publish_status(at=ride.at)
        VersionStop.objects.update(lifted_at=ride.at, lifted_by=admin, lift_envelope={"payloadType": "x"})

        findings = list(trust_checks.check_status())
        assert (findings[-1].level, "without a signed lifting" in findings[-1].text) == ("wrong", True)
