"""Own profile, suspension and the one appeal."""

import pytest
from django.db import IntegrityError, transaction

from core import clock
from core.exceptions import PermissionRefused
from core.models import AuditEvent
from core.testing.http import client_for
from core.testing.races import race
from tuners import listeners, services
from tuners.enums import AppealState, TunerStatus
from tuners.exceptions import AppealAlreadyDecided, AppealExists, OwnApplication, TunerAlreadySuspended, TunerNotSuspended
from tuners.models import SuspensionAppeal, TunerProfile
from tuners.tests.factories import SuspensionAppealFactory, TunerCertificationFactory, TunerProfileFactory
from users.models import Notice
from users.tests.factories import UserFactory

NOW = clock.now()


def suspend(tuner, *, actor=None):
    return services.suspend_tuner(
        tuner_id=tuner.pk, actor=actor or UserFactory(admin=True), reason="SAFETY", note="Two files bricked an ECU.", at=NOW
    )


def decide(appeal, accepted, *, actor=None):
    return services.decide_appeal(
        appeal_id=appeal.pk, accepted=accepted, actor=actor or UserFactory(admin=True), reason="We looked again.", at=NOW
    )


@pytest.fixture
def told():
    heard = []

    def listener(*, tuner_id, active, verified):
        heard.append((tuner_id, active, verified))

    kept = list(listeners._standing)
    listeners._standing[:] = [listener]
    yield heard
    listeners._standing[:] = kept


@pytest.mark.django_db
class TestSuspension:
    def test_says_why_and_since_when_and_tells_everybody_concerned(self, told):
        tuner = TunerProfileFactory()

        suspend(tuner)

        tuner.refresh_from_db()
        assert (tuner.status, tuner.suspension_reason, tuner.suspended_at) == (TunerStatus.SUSPENDED, "SAFETY", NOW)
        assert told == [(tuner.pk, False, True)]
        assert AuditEvent.objects.filter(act="tuner.suspended", subject_id=tuner.pk).count() == 1
        assert "bricked" in Notice.objects.get(user=tuner.user).body

    def test_bites_on_the_next_request_and_leaves_reading(self):
        tuner = TunerProfileFactory()
        api = client_for(tuner.user)
        assert api.patch("tuners/me/", {"about": "New."}).status_code == 200

        suspend(tuner)

        refused = api.patch("tuners/me/", {"about": "Newer."})
        assert (refused.status_code, refused.json()["code"]) == (403, "tuner_suspended")
        own = api.get("tuners/me/").json()
        assert (own["status"], own["suspension"]["reason"], own["publish_blockers"]) == ("SUSPENDED", "SAFETY", ["tuner_suspended"])

    def test_reinstating_clears_it_and_accepts_an_open_appeal(self, told):
        appeal = SuspensionAppealFactory()

        services.reinstate_tuner(tuner_id=appeal.tuner_id, actor=UserFactory(admin=True), reason="Our mistake.", at=NOW)

        appeal.refresh_from_db()
        assert (appeal.state, appeal.tuner.status, appeal.tuner.suspended_at) == (AppealState.ACCEPTED, TunerStatus.ACTIVE, None)
        assert told == [(appeal.tuner_id, True, True)]

    def test_refuses_what_is_so_already(self):
        with pytest.raises(TunerAlreadySuspended):
            suspend(TunerProfileFactory(suspended=True))
        with pytest.raises(TunerNotSuspended):
            services.reinstate_tuner(tuner_id=TunerProfileFactory().pk, actor=UserFactory(admin=True), reason="Fine.", at=NOW)

    def test_is_for_staff_and_not_about_oneself(self):
        admin = UserFactory(admin=True)

        with pytest.raises(OwnApplication):
            suspend(TunerProfileFactory(user=admin), actor=admin)
        with pytest.raises(PermissionRefused):
            suspend(TunerProfileFactory(), actor=TunerProfileFactory().user)

    def test_postgres_refuses_a_suspension_without_reason(self):
        tuner = TunerProfileFactory(suspended=True)

        with pytest.raises(IntegrityError, match="tunerprofile_suspended_iff"), transaction.atomic():
            TunerProfile.objects.filter(pk=tuner.pk).update(suspension_reason="")


@pytest.mark.django_db
class TestAppeal:
    def test_is_made_once_for_each_suspension(self):
        tuner = TunerProfileFactory(suspended=True)
        api = client_for(tuner.user)

        first, second = (api.post("tuners/me/appeal/", {"text": "The ECU had been opened before."}) for _ in range(2))

        assert (first.status_code, first.json()["state"]) == (201, "OPEN")
        assert (second.status_code, second.json()["code"]) == (409, AppealExists.code)
        assert api.get("tuners/me/").json()["appeal"]["state"] == "OPEN"

    def test_needs_a_suspension(self):
        answer = client_for(TunerProfileFactory().user).post("tuners/me/appeal/", {"text": "Why?"})

        assert (answer.status_code, answer.json()["code"]) == (409, TunerNotSuspended.code)

    def test_a_later_suspension_can_be_appealed_again(self):
        appeal = SuspensionAppealFactory()
        decide(appeal, True)
        suspend(appeal.tuner)

        services.appeal_suspension(user=appeal.tuner.user, text="Again.", at=NOW)

        assert SuspensionAppeal.objects.filter(tuner=appeal.tuner).count() == 2

    @pytest.mark.parametrize(("accepted", "status"), [(True, TunerStatus.ACTIVE), (False, TunerStatus.SUSPENDED)])
    def test_the_decision_is_final_and_told(self, accepted, status):
        appeal = SuspensionAppealFactory()

        decide(appeal, accepted)

        appeal.refresh_from_db()
        assert (appeal.state, appeal.tuner.status) == (AppealState.ACCEPTED if accepted else AppealState.REJECTED, status)
        assert Notice.objects.filter(user=appeal.tuner.user, type="SUSPENSION").count() == 1
        with pytest.raises(AppealAlreadyDecided):
            decide(appeal, not accepted)

    def test_nobody_decides_on_their_own(self):
        admin = UserFactory(admin=True)
        appeal = SuspensionAppealFactory(tuner=TunerProfileFactory(user=admin, suspended=True))

        with pytest.raises(OwnApplication):
            decide(appeal, True, actor=admin)


@pytest.mark.django_db
class TestOwnProfile:
    def test_shows_terms_and_blockers(self, django_assert_num_queries):
        tuner = TunerProfileFactory(user=UserFactory(tuner=True))
        TunerCertificationFactory(owner=tuner.user, accepted=True, expired=True)
        api = client_for(tuner.user)

        with django_assert_num_queries(3):  # session, profile, certifications
            own = api.get("tuners/me/").json()

        assert own["publish_blockers"] == ["mfa_required", "certification_expired"]
        assert (own["fee_basis_points"], own["hold_days"], own["minimum_payout_minor"]) == (1500, 14, 5000)
        assert (own["suspension"], own["appeal"]) == (None, None)

    def test_nothing_blocks_a_tuner_in_order(self):
        assert client_for(TunerProfileFactory().user).get("tuners/me/").json()["publish_blockers"] == []

    def test_what_was_verified_is_not_writable(self):
        tuner = TunerProfileFactory()
        api = client_for(tuner.user)

        for field in ("business_name", "country", "kind", "verified", "rating", "fee_basis_points", "status"):
            answer = api.patch("tuners/me/", {field: "X"})
            assert (answer.status_code, answer.json()["code"]) == (400, "unknown_field")

    def test_a_stale_revision_is_refused(self):
        api = client_for(TunerProfileFactory(revision=4).user)

        assert api.patch("tuners/me/", {"about": "New."}, headers={"If-Match": '"3"'}).json()["current"] == 4
        assert api.patch("tuners/me/", {"about": "New."}, headers={"If-Match": '"4"'}).json()["revision"] == 5

    def test_riders_have_none(self):
        assert client_for(UserFactory()).get("tuners/me/").status_code == 403


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_two_admins_suspend_once(self):
        tuner, admin = TunerProfileFactory(), UserFactory(admin=True)

        assert race(lambda: suspend(tuner, actor=admin)) == ["ok", "tuner_already_suspended"]

    def test_two_appeals_make_one(self):
        tuner = TunerProfileFactory(suspended=True)

        outcomes = race(lambda: services.appeal_suspension(user=tuner.user, text="Why?", at=NOW))

        assert outcomes == ["appeal_exists", "ok"]
