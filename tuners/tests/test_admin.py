"""Staff's decisions on tuners: each through its service, with a reason, and refused as the service refuses."""

import pytest

from core import storage
from core.models import AuditEvent
from core.testing.admin import admin_client, decide, list_of, list_queries, page_of
from tuners.enums import AppealState, ApplicationStatus, CertificationVerdict, ReportState, ReviewState, TunerStatus
from tuners.models import (
    ReviewReport,
    SuspensionAppeal,
    TunerApplication,
    TunerCertification,
    TunerFollow,
    TunerProfile,
    TunerReview,
)
from tuners.tests.factories import (
    ReviewReportFactory,
    SuspensionAppealFactory,
    TunerApplicationFactory,
    TunerCertificationFactory,
    TunerFollowFactory,
    TunerProfileFactory,
    TunerReviewFactory,
)
from users.tests.factories import UserFactory

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def admin():
    return UserFactory(admin=True, mfa=True)


@pytest.fixture
def client(admin):
    return admin_client(admin)


@pytest.mark.django_db
class TestApplications:
    def test_from_the_queue_over_the_documents_to_approval(self, client, admin):
        application = TunerApplicationFactory(submitted=True)
        document = TunerCertificationFactory(owner=application.applicant)

        assert application.business_name in list_of(client, TunerApplication, status__exact="SUBMITTED")
        assert document.file_name in page_of(client, application)
        too_early = decide(client, application, "approve", reason="Fine.")
        assert (too_early.status_code, "Decide on each certification first" in too_early.content.decode()) == (200, True)
        assert decide(client, document, "accept", reason="Checked with the chamber.").status_code == 302
        assert decide(client, application, "approve", reason="All in order.").status_code == 302

        application.refresh_from_db()
        document.refresh_from_db()
        assert (application.status, application.decided_by_id) == (ApplicationStatus.APPROVED, admin.pk)
        assert document.verdict == CertificationVerdict.ACCEPTED
        assert TunerProfile.objects.get(user=application.applicant).verified
        assert AuditEvent.objects.get(act="tuner_application.approved").reason == "All in order."

    @pytest.mark.parametrize(
        ("name", "status"), [("request-information", ApplicationStatus.INFO_REQUESTED), ("reject", ApplicationStatus.REJECTED)]
    )
    def test_other_decisions_need_a_reason(self, client, name, status):
        application = TunerApplicationFactory(submitted=True)

        assert decide(client, application, name).status_code == 200
        application.refresh_from_db()
        assert application.status == ApplicationStatus.SUBMITTED
        assert decide(client, application, name, reason="Page two is missing.").status_code == 302

        application.refresh_from_db()
        assert (application.status, application.decision_reason) == (status, "Page two is missing.")

    def test_nobody_decides_on_their_own(self, client, admin):
        application = TunerApplicationFactory(submitted=True, applicant=admin)

        answer = decide(client, application, "reject", reason="Mine.")

        application.refresh_from_db()
        assert (answer.status_code, application.status) == (200, ApplicationStatus.SUBMITTED)
        assert "You can&#x27;t decide on your own" in answer.content.decode()

    def test_a_direct_post_changes_nothing(self, client):
        application = TunerApplicationFactory(submitted=True)

        answer = client.post(f"/admin/tuners/tunerapplication/{application.pk}/change/", {"status": "APPROVED", "business_name": "Mine"})

        application.refresh_from_db()
        assert (answer.status_code, application.status) == (403, ApplicationStatus.SUBMITTED)

    def test_what_people_wrote_is_escaped(self, client):
        application = TunerApplicationFactory(submitted=True, business_name=HOSTILE, experience=HOSTILE)
        TunerCertificationFactory(owner=application.applicant, issuer=HOSTILE, number=HOSTILE, file_name=HOSTILE)

        for html in (list_of(client, TunerApplication), page_of(client, application), list_of(client, TunerCertification)):
            assert HOSTILE not in html
            assert "&lt;img src=x" in html

    def test_buttons_follow_the_state(self, client):
        assert "/decide/approve/" in page_of(client, TunerApplicationFactory(submitted=True))
        assert "/decide/" not in page_of(client, TunerApplicationFactory(approved=True))


@pytest.mark.django_db
class TestDocuments:
    def test_opening_leads_to_a_short_link_and_is_audited(self, client, admin):
        document = TunerCertificationFactory()
        storage.put_bytes(document.storage_key, b"%PDF-1.7 x", "application/pdf")

        answer = client.get(f"/admin/tuners/tunercertification/{document.pk}/file/")

        assert answer.status_code == 302
        assert "X-Amz-Expires=60" in answer.headers["Location"]
        assert AuditEvent.objects.filter(act="tuner_certification.opened", actor_id=admin.pk, subject_id=document.pk).count() == 1
        assert "X-Amz" not in page_of(client, document)

    def test_a_refused_one_keeps_its_reason(self, client):
        document = TunerCertificationFactory()

        decide(client, document, "refuse", reason="Not readable.")

        document.refresh_from_db()
        assert (document.verdict, document.verdict_reason) == (CertificationVerdict.REFUSED, "Not readable.")


@pytest.mark.django_db
class TestSuspensions:
    def test_suspend_and_reinstate(self, client):
        tuner = TunerProfileFactory()

        assert decide(client, tuner, "suspend", reason="Two bricked ECUs.", cause="NONSENSE").status_code == 200
        assert decide(client, tuner, "suspend", reason="Two bricked ECUs.", cause="SAFETY").status_code == 302
        tuner.refresh_from_db()
        assert (tuner.status, tuner.suspension_reason, tuner.suspension_note) == (TunerStatus.SUSPENDED, "SAFETY", "Two bricked ECUs.")
        assert decide(client, tuner, "reinstate", reason="Our mistake.").status_code == 302
        tuner.refresh_from_db()
        assert tuner.status == TunerStatus.ACTIVE

    @pytest.mark.parametrize(
        ("name", "state", "status"),
        [("accept", AppealState.ACCEPTED, TunerStatus.ACTIVE), ("reject", AppealState.REJECTED, TunerStatus.SUSPENDED)],
    )
    def test_appeals(self, client, name, state, status):
        appeal = SuspensionAppealFactory()

        decide(client, appeal, name, reason="We looked again.")

        appeal.refresh_from_db()
        appeal.tuner.refresh_from_db()
        assert (appeal.state, appeal.tuner.status) == (state, status)


@pytest.mark.django_db
class TestReviews:
    def test_hide_and_restore(self, client):
        review = TunerReviewFactory()

        decide(client, review, "hide", reason="Insult.")
        review.refresh_from_db()
        assert review.state == ReviewState.HIDDEN
        decide(client, review, "restore", reason="Irony.")
        review.refresh_from_db()
        assert review.state == ReviewState.PUBLISHED

    @pytest.mark.parametrize(
        ("name", "state", "review_state"),
        [("uphold", ReportState.UPHELD, ReviewState.HIDDEN), ("dismiss", ReportState.DISMISSED, ReviewState.PUBLISHED)],
    )
    def test_reports(self, client, name, state, review_state):
        report = ReviewReportFactory()

        decide(client, report, name, reason="We read it.")

        report.refresh_from_db()
        report.review.refresh_from_db()
        assert (report.state, report.review.state) == (state, review_state)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "make"),
    [
        (TunerApplication, TunerApplicationFactory),
        (TunerCertification, TunerCertificationFactory),
        (TunerProfile, TunerProfileFactory),
        (SuspensionAppeal, SuspensionAppealFactory),
        (TunerReview, TunerReviewFactory),
        (ReviewReport, ReviewReportFactory),
        (TunerFollow, TunerFollowFactory),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_list_asks_as_much_for_twenty_rows_as_for_two(client, model, make):
    make.create_batch(2)
    few = list_queries(client, model)
    make.create_batch(18)

    assert list_queries(client, model) == few
