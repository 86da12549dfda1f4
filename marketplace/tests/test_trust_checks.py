"""What operators and people are told about the trust documents."""

from datetime import timedelta

import pytest

from core import clock
from marketplace import trust_checks, trust_privacy
from marketplace.models import StopAcknowledgement, VersionStop
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


class TestPrivacy:
    def test_export_has_what_the_rider_did_and_no_identity(self):
        ride = ride_for()
        ride.report(ride.ticket())

        exported = trust_privacy.FLASHES.export(ride.buyer.pk)

        assert [len(exported[name]) for name in ("downloads", "flash_tickets", "flashes")] == [1, 1, 1]
        assert ride.vehicle.vin not in str(exported)
        assert trust_privacy.FLASHES.stats(ride.buyer.pk) == {"flashes": 1}

    def test_erasing_keeps_the_logs_and_says_why(self):
        ride = ride_for()
        ride.grant()
        stop = stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Lean.", at=ride.at)
        stops.acknowledge_stop(rider=ride.buyer, stop_id=stop.pk, at=ride.at)

        receipt = trust_privacy.FLASHES.erase(ride.buyer.pk)

        assert receipt["goes"] == {"acknowledgements of recalls": 1}
        assert not StopAcknowledgement.objects.exists()
        assert len(trust_privacy.FLASHES.export(ride.buyer.pk)["downloads"]) == 1
