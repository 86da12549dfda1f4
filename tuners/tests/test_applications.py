"""From a draft to a profile, and the loops in between."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from core import clock
from core.exceptions import PermissionRefused, StaleRevision
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from tuners import selectors, services
from tuners.enums import ApplicationStatus, TunerKind
from tuners.exceptions import (
    AlreadyTuner,
    ApplicationCoolingDown,
    ApplicationExists,
    ApplicationIncomplete,
    ApplicationNotEditable,
    ApplicationNotFound,
    ApplicationNotInReview,
    ApplicationNotSubmittable,
    CertificationsUndecided,
    OwnApplication,
    StaffMayNotApply,
)
from tuners.models import TunerApplication, TunerProfile
from tuners.tests.factories import TunerApplicationFactory, TunerCertificationFactory, TunerProfileFactory
from users.enums import Role
from users.models import Notice
from users.tests.factories import UserFactory

NOW = clock.now()
BODY = {
    "kind": "TUNER",
    "business_name": "Nordschleife Maps",
    "country": "DE",
    "website": "https://nordschleife.example",
    "experience": "Ten years.",
    "specialities": ["TRACK", "STREET"],
}


def start(applicant, *, at=NOW, **changes):
    return services.start_application(applicant=applicant, at=at, **{**BODY, **changes})


def submit(applicant, *, at=NOW):
    return services.submit_application(applicant=applicant, at=at)


def approve(application, *, actor=None, at=NOW):
    return services.approve_application(
        application_id=application.pk, actor=actor or UserFactory(admin=True), reason="Documents are in order.", at=at
    )


def submitted_with_documents(**traits):
    application = TunerApplicationFactory(submitted=True, **traits)
    TunerCertificationFactory(owner=application.applicant, accepted=True)
    return application


@pytest.mark.django_db
class TestStart:
    def test_makes_a_draft(self):
        application = start(UserFactory())

        assert (application.status, application.revision) == (ApplicationStatus.DRAFT, 1)
        assert AuditEvent.objects.filter(act="tuner_application.started", subject_id=application.pk).count() == 1

    @pytest.mark.parametrize(
        ("traits", "refusal"), [({"tuner": True}, AlreadyTuner), ({"creator": True}, AlreadyTuner), ({"admin": True}, StaffMayNotApply)]
    )
    def test_is_for_riders_only(self, traits, refusal):
        with pytest.raises(refusal):
            start(UserFactory(**traits))

    def test_refuses_a_second_one(self):
        application = TunerApplicationFactory()

        with pytest.raises(ApplicationExists):
            start(application.applicant)

    @pytest.mark.parametrize(("seconds", "allowed"), [(-1, False), (0, True)])
    def test_takes_a_rejected_one_up_again_after_thirty_days(self, seconds, allowed):
        application = TunerApplicationFactory(rejected=True)
        at = application.may_reapply_at + timedelta(seconds=seconds)

        if allowed:
            again = start(application.applicant, at=at, business_name="A new name")
            assert (again.pk, again.status, again.decision_reason, again.business_name) == (application.pk, "DRAFT", "", "A new name")
        else:
            with pytest.raises(ApplicationCoolingDown) as refusal:
                start(application.applicant, at=at)
            assert refusal.value.members == {"may_reapply_at": application.may_reapply_at}


@pytest.mark.django_db
class TestChangeAndSubmit:
    @pytest.mark.parametrize(
        ("trait", "editable"), [(None, True), ("info_requested", True), ("submitted", False), ("rejected", False), ("approved", False)]
    )
    def test_only_a_draft_or_one_sent_back_can_be_changed(self, trait, editable):
        application = TunerApplicationFactory(**({trait: True} if trait else {}))

        if editable:
            services.change_application(applicant=application.applicant, at=NOW, business_name="Other")
            application.refresh_from_db()
            assert (application.business_name, application.revision) == ("Other", 2)
        else:
            with pytest.raises(ApplicationNotEditable):
                services.change_application(applicant=application.applicant, at=NOW, business_name="Other")

    def test_a_stale_revision_is_refused_with_the_current_one(self):
        application = TunerApplicationFactory(revision=3)

        with pytest.raises(StaleRevision) as refusal:
            services.change_application(applicant=application.applicant, at=NOW, revision=2, business_name="Other")
        assert refusal.value.members == {"current": 3}

    def test_a_tuner_needs_a_document_that_may_still_be_accepted(self):
        application = TunerApplicationFactory()
        TunerCertificationFactory(owner=application.applicant, refused=True)
        TunerCertificationFactory(owner=application.applicant, expired=True)

        with pytest.raises(ApplicationIncomplete) as refusal:
            submit(application.applicant)
        assert [error.code for error in refusal.value.errors] == ["certification_required"]

    def test_a_creator_may_apply_without_documents(self):
        assert submit(TunerApplicationFactory(kind=TunerKind.CREATOR).applicant).status == ApplicationStatus.SUBMITTED

    @pytest.mark.parametrize("trait", ["submitted", "rejected", "approved"])
    def test_refuses_from_other_states(self, trait):
        application = TunerApplicationFactory(**{trait: True})
        TunerCertificationFactory(owner=application.applicant)

        with pytest.raises(ApplicationNotSubmittable):
            submit(application.applicant)

    def test_coming_back_with_information_keeps_the_place_in_the_queue(self):
        application = TunerApplicationFactory(info_requested=True)
        TunerCertificationFactory(owner=application.applicant)
        TunerApplicationFactory(submitted=True)

        again = submit(application.applicant)

        assert (again.queued_at, again.submitted_at, again.decided_at) == (application.queued_at, NOW, None)
        assert selectors.queue_position(again) == 1

    def test_hides_that_others_have_applications(self):
        with pytest.raises(ApplicationNotFound):
            submit(UserFactory())


@pytest.mark.django_db
class TestApprove:
    def test_gives_role_profile_and_badge_and_tells_the_applicant(self):
        application = submitted_with_documents()

        profile = approve(application)

        application.refresh_from_db()
        application.applicant.refresh_from_db()
        assert (application.status, application.applicant.role) == (ApplicationStatus.APPROVED, Role.TUNER)
        assert (profile.business_name, profile.verified, profile.verified_at) == (application.business_name, True, NOW)
        assert AuditEvent.objects.filter(act="tuner_application.approved", subject_id=application.pk).count() == 1
        assert Notice.objects.filter(user=application.applicant, type="APPLICATION").count() == 1

    def test_a_creator_gets_no_badge(self):
        application = TunerApplicationFactory(submitted=True, kind=TunerKind.CREATOR)

        profile = approve(application)

        application.applicant.refresh_from_db()
        assert (profile.kind, profile.verified, application.applicant.role) == (TunerKind.CREATOR, False, Role.CREATOR)

    @pytest.mark.parametrize("documents", [[], [{}], [{"refused": True}], [{"accepted": True, "expired": True}], [{"accepted": True}, {}]])
    def test_waits_for_every_verdict_and_one_valid_document(self, documents):
        application = TunerApplicationFactory(submitted=True)
        for traits in documents:
            TunerCertificationFactory(owner=application.applicant, **traits)

        with pytest.raises(CertificationsUndecided):
            approve(application)
        assert not TunerProfile.objects.filter(user=application.applicant).exists()

    @pytest.mark.parametrize("trait", [None, "info_requested", "rejected", "approved"])
    def test_refuses_what_is_not_in_review(self, trait):
        application = TunerApplicationFactory(**({trait: True} if trait else {}))

        with pytest.raises(ApplicationNotInReview):
            approve(application)

    @pytest.mark.parametrize("decide", [services.approve_application, services.reject_application, services.request_information])
    def test_nobody_decides_on_their_own(self, decide):
        admin = UserFactory(admin=True)
        application = TunerApplicationFactory(submitted=True, applicant=admin)

        with pytest.raises(OwnApplication):
            decide(application_id=application.pk, actor=admin, reason="Fine.", at=NOW)

    @pytest.mark.parametrize("decide", [services.approve_application, services.reject_application, services.request_information])
    def test_only_staff_decide(self, decide):
        application = submitted_with_documents()

        with pytest.raises(PermissionRefused):
            decide(application_id=application.pk, actor=UserFactory(tuner=True), reason="Fine.", at=NOW)

    def test_postgres_refuses_a_decision_on_oneself(self):
        application = TunerApplicationFactory(approved=True)

        with pytest.raises(IntegrityError, match="tunerapplication_never_own_decision"), transaction.atomic():
            TunerApplication.objects.filter(pk=application.pk).update(decided_by_id=application.applicant_id)

    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [
            ({"status": "APPROVED"}, "tunerapplication_times_fit_status"),
            ({"status": "LOST"}, "tunerapplication_times_fit_status"),
            ({"decided_by_id": None}, "tunerapplication_decided_iff_by_somebody"),
            ({"decision_reason": ""}, "tunerapplication_refusal_has_reason"),
            ({"may_reapply_at": None}, "tunerapplication_rejected_iff_rests"),
        ],
    )
    def test_postgres_refuses_half_states(self, changes, constraint):
        application = TunerApplicationFactory(**({} if "status" in changes else {"rejected": True}))

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            TunerApplication.objects.filter(pk=application.pk).update(**changes)


@pytest.mark.django_db
class TestRefuse:
    def test_asking_for_more_tells_what_is_missing(self):
        application = TunerApplicationFactory(submitted=True)

        services.request_information(application_id=application.pk, actor=UserFactory(admin=True), reason="Page two is missing.", at=NOW)

        application.refresh_from_db()
        assert (application.status, application.decision_reason) == (ApplicationStatus.INFO_REQUESTED, "Page two is missing.")
        assert Notice.objects.get(user=application.applicant).body == "Page two is missing."
        assert selectors.standing_of(application, at=NOW)["reasons"] == [
            {"code": "information_requested", "detail": "Page two is missing.", "certification": None}
        ]

    def test_a_rejected_one_rests_for_thirty_days(self):
        application = TunerApplicationFactory(submitted=True)

        services.reject_application(application_id=application.pk, actor=UserFactory(admin=True), reason="Copied texts.", at=NOW)

        application.refresh_from_db()
        assert (application.status, application.may_reapply_at) == (ApplicationStatus.REJECTED, NOW + timedelta(days=30))


@pytest.mark.django_db
class TestOverHttp:
    def test_the_loop_from_draft_to_queue(self, django_assert_num_queries):
        api = client_for(UserFactory())
        assert api.get("tuners/application/").status_code == 404

        made = api.post("tuners/application/", BODY)
        assert (made.status_code, made.json()["status"], made.json()["specialities"]) == (201, "DRAFT", ["STREET", "TRACK"])
        incomplete = api.post("tuners/application/submit/")
        assert (incomplete.status_code, incomplete.json()["errors"][0]["pointer"]) == (409, "/certifications")
        TunerCertificationFactory(owner=api.user)
        changed = api.patch("tuners/application/", {"business_name": "Ring Maps"}, headers={"If-Match": '"1"'})
        assert (changed.status_code, changed.json()["business_name"], changed.json()["revision"]) == (200, "Ring Maps", 2)
        assert api.patch("tuners/application/", {"country": "AT"}, headers={"If-Match": '"1"'}).json()["current"] == 2
        sent = api.post("tuners/application/submit/")
        assert (sent.status_code, sent.json()["status"], sent.json()["queue_position"]) == (200, "SUBMITTED", 1)
        with django_assert_num_queries(5):  # session, application, refused documents, place, median
            assert api.get("tuners/application/").json()["status"] == "SUBMITTED"

    def test_the_median_wait_counts_the_last_ninety_days(self):
        for hours in (10, 20, 60):
            TunerApplicationFactory(approved=True, submitted_at=NOW - timedelta(hours=hours), decided_at=NOW)
        long_ago = NOW - timedelta(days=91)
        TunerApplicationFactory(approved=True, submitted_at=long_ago - timedelta(hours=900), decided_at=long_ago)
        application = TunerApplicationFactory(submitted=True)

        answer = client_for(application.applicant).get("tuners/application/").json()

        assert (answer["median_wait_hours"], answer["queue_position"], answer["reasons"]) == (20.0, 1, [])

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"kind": "ADMIN"}, "/kind"),
            ({"country": "Germany"}, "/country"),
            ({"website": "http://plain.example"}, "/website"),
            ({"website": "javascript:alert(1)"}, "/website"),
            ({"specialities": []}, "/specialities"),
            ({"specialities": ["MAGIC"]}, "/specialities/0"),
            ({"business_name": " "}, "/business_name"),
            ({"status": "APPROVED"}, "/status"),
        ],
    )
    def test_bad_input_is_named_and_changes_nothing(self, change, pointer):
        api = client_for(UserFactory())

        answer = api.post("tuners/application/", {**BODY, **change})

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
        assert not TunerApplication.objects.exists()

    def test_a_repeat_with_the_same_key_makes_one(self):
        api = client_for(UserFactory())
        headers = {"Idempotency-Key": "apply-1"}

        first, second = (api.post("tuners/application/", BODY, headers=headers) for _ in range(2))

        assert (first.status_code, second.status_code, second.headers["Idempotency-Replayed"]) == (201, 201, "true")
        assert first.json()["id"] == second.json()["id"]

    def test_needs_a_person(self):
        assert ApiClient().get("tuners/application/").status_code == 401

    def test_an_approved_tuner_sees_their_application_and_can_not_start_another(self):
        profile = TunerProfileFactory()
        TunerApplicationFactory(approved=True, applicant=profile.user)
        api = client_for(profile.user)

        assert api.get("tuners/application/").json()["status"] == "APPROVED"
        assert api.post("tuners/application/", BODY).json()["code"] == "already_tuner"


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    """Two taps, or two admins: one row, one profile, one decision."""

    def test_two_starts_make_one_draft(self):
        applicant = UserFactory()

        assert race(lambda: start(applicant)) == ["application_exists", "ok"]
        assert TunerApplication.objects.count() == 1

    def test_two_admins_decide_once(self):
        application = submitted_with_documents()
        admin = UserFactory(admin=True)

        assert race(lambda: approve(application, actor=admin)) == ["application_not_in_review", "ok"]
        assert AuditEvent.objects.filter(act="tuner_application.approved").count() == 1

    def test_control_without_the_lock_both_decide(self):
        application = TunerApplicationFactory(submitted=True)
        admin = UserFactory(admin=True)

        def reject():
            services.reject_application(application_id=application.pk, actor=admin, reason="Copied texts.", at=NOW)

        assert race(reject, row_locks=False) == ["ok", "ok"]
        assert AuditEvent.objects.filter(act="tuner_application.rejected").count() == 2
