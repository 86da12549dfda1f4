"""Documents, their verdicts, and the badge that stands on them."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from core import clock, storage
from core.exceptions import InvalidInput
from core.models import AuditEvent
from core.testing.http import client_for
from core.testing.tasks import run_all
from core.uploads.enums import UploadPurpose
from tuners import services
from tuners.enums import CertificationVerdict
from tuners.exceptions import (
    ApplicationRequired,
    CertificationAlreadyJudged,
    CertificationInUse,
    CertificationNotFound,
    OwnApplication,
    TooManyCertifications,
)
from tuners.models import TunerCertification
from tuners.policies import MAX_CERTIFICATIONS
from tuners.tests.factories import TunerApplicationFactory, TunerCertificationFactory, TunerProfileFactory
from users.models import Notice
from users.tests.factories import UserFactory

NOW = clock.now()


@pytest.fixture
def upload_for():
    from core.uploads.tests.factories import UploadFactory

    def make(owner, **traits):
        return UploadFactory(owner_id=owner.pk, **{"purpose": UploadPurpose.CERTIFICATION, "ready": True, **traits})

    return make


def add(owner, upload, **changes):
    fields = {"type": "INSURANCE", "issuer": "Allianz", "expires_on": NOW.date() + timedelta(days=365)}
    return services.add_certification(owner=owner, upload_id=upload.pk, at=NOW, **{**fields, **changes})


@pytest.mark.django_db
class TestAdd:
    def test_takes_the_upload_over(self, upload_for):
        applicant = TunerApplicationFactory().applicant
        upload = upload_for(applicant)

        certification = add(applicant, upload)

        upload.refresh_from_db()
        assert (certification.sha256, certification.verdict) == (upload.sha256, CertificationVerdict.PENDING)
        assert upload.used_at == NOW

    def test_an_upload_serves_once(self, upload_for):
        applicant = TunerApplicationFactory().applicant
        upload = upload_for(applicant)
        add(applicant, upload)

        with pytest.raises(InvalidInput) as refusal:
            add(applicant, upload)
        assert refusal.value.errors[0].pointer == "/upload_id"

    def test_somebody_elses_upload_is_refused(self, upload_for):
        with pytest.raises(InvalidInput):
            add(TunerApplicationFactory().applicant, upload_for(UserFactory()))
        assert not TunerCertification.objects.exists()

    def test_an_upload_for_something_else_is_refused(self, upload_for):
        applicant = TunerApplicationFactory().applicant

        with pytest.raises(InvalidInput):
            add(applicant, upload_for(applicant, purpose=UploadPurpose.CASE_FILE))

    def test_a_document_of_yesterday_is_refused(self, upload_for):
        applicant = TunerApplicationFactory().applicant

        with pytest.raises(InvalidInput) as refusal:
            add(applicant, upload_for(applicant), expires_on=NOW.date() - timedelta(days=1))
        assert refusal.value.errors[0].pointer == "/expires_on"

    def test_needs_an_application_or_a_profile(self, upload_for):
        rider, tuner = UserFactory(), TunerProfileFactory().user

        with pytest.raises(ApplicationRequired):
            add(rider, upload_for(rider))
        assert add(tuner, upload_for(tuner)).owner_id == tuner.pk

    def test_stops_at_twenty(self, upload_for):
        applicant = TunerApplicationFactory().applicant
        TunerCertificationFactory.create_batch(MAX_CERTIFICATIONS, owner=applicant)

        with pytest.raises(TooManyCertifications):
            add(applicant, upload_for(applicant))


@pytest.mark.django_db
class TestRemove:
    def test_removes_row_and_file(self):
        certification = TunerCertificationFactory()
        storage.put_bytes(certification.storage_key, b"%PDF-1.7", "application/pdf")

        services.remove_certification(owner=certification.owner, certification_id=certification.pk, at=NOW)
        assert storage.head(certification.storage_key) is not None
        run_all()

        assert storage.head(certification.storage_key) is None
        assert not TunerCertification.objects.exists()

    def test_keeps_an_accepted_one(self):
        certification = TunerCertificationFactory(accepted=True)

        with pytest.raises(CertificationInUse):
            services.remove_certification(owner=certification.owner, certification_id=certification.pk, at=NOW)

    def test_keeps_all_while_the_application_is_in_review(self):
        application = TunerApplicationFactory(submitted=True)
        certification = TunerCertificationFactory(owner=application.applicant)

        with pytest.raises(CertificationInUse):
            services.remove_certification(owner=application.applicant, certification_id=certification.pk, at=NOW)

    def test_hides_somebody_elses(self):
        with pytest.raises(CertificationNotFound):
            services.remove_certification(owner=UserFactory(), certification_id=TunerCertificationFactory().pk, at=NOW)


@pytest.mark.django_db
class TestVerdicts:
    def test_each_is_told_and_audited_and_final(self):
        admin, certification = UserFactory(admin=True), TunerCertificationFactory()

        services.refuse_certification(certification_id=certification.pk, actor=admin, reason="Not readable.", at=NOW)

        certification.refresh_from_db()
        assert (certification.verdict, certification.judged_by_id) == (CertificationVerdict.REFUSED, admin.pk)
        assert Notice.objects.filter(user=certification.owner, type="CERTIFICATION").count() == 1
        assert AuditEvent.objects.filter(act="tuner_certification.refused", reason="Not readable.").count() == 1
        with pytest.raises(CertificationAlreadyJudged):
            services.accept_certification(certification_id=certification.pk, actor=admin, reason="Fine.", at=NOW)

    def test_nobody_judges_their_own(self):
        admin = UserFactory(admin=True)

        with pytest.raises(OwnApplication):
            services.accept_certification(certification_id=TunerCertificationFactory(owner=admin).pk, actor=admin, reason="Fine.", at=NOW)

    def test_postgres_refuses_a_verdict_by_nobody(self):
        certification = TunerCertificationFactory(accepted=True)

        with pytest.raises(IntegrityError, match="tunercertification_judged_iff_verdict"), transaction.atomic():
            TunerCertification.objects.filter(pk=certification.pk).update(judged_by_id=None)


@pytest.mark.django_db
class TestBadge:
    def test_lapses_the_day_after_the_last_document(self):
        profile = TunerProfileFactory()
        certification = TunerCertificationFactory(owner=profile.user, accepted=True, expires_on=NOW.date())

        assert services.renew_badges(at=NOW) == 0
        assert services.renew_badges(at=NOW + timedelta(days=1)) == 1

        profile.refresh_from_db()
        assert (profile.verified, profile.verified_at) == (False, None)
        titles = list(Notice.objects.filter(user=profile.user).order_by("created_at").values_list("title", flat=True))
        assert titles == ["A certification expires soon", "Your verified badge has lapsed"]
        assert certification.owner_id == profile.user_id

    def test_comes_back_with_an_accepted_renewal(self):
        profile = TunerProfileFactory(unverified=True)
        renewal = TunerCertificationFactory(owner=profile.user)

        services.accept_certification(certification_id=renewal.pk, actor=UserFactory(admin=True), reason="Renewed.", at=NOW)

        profile.refresh_from_db()
        assert profile.verified

    def test_a_creator_never_has_it(self):
        profile = TunerProfileFactory(creator=True)
        document = TunerCertificationFactory(owner=profile.user)

        services.accept_certification(certification_id=document.pk, actor=UserFactory(admin=True), reason="Fine.", at=NOW)

        profile.refresh_from_db()
        assert not profile.verified

    def test_a_reminder_comes_once(self):
        profile = TunerProfileFactory()
        TunerCertificationFactory(owner=profile.user, accepted=True, expires_on=NOW.date() + timedelta(days=20))

        services.renew_badges(at=NOW)
        services.renew_badges(at=NOW + timedelta(days=1))

        assert Notice.objects.filter(user=profile.user).count() == 1


@pytest.mark.django_db
class TestOverHttp:
    def test_added_listed_and_removed(self, upload_for, django_assert_num_queries):
        applicant = TunerApplicationFactory().applicant
        api = client_for(applicant)
        body = {"upload_id": str(upload_for(applicant).pk), "type": "INSURANCE", "issuer": "Allianz", "expires_on": "2099-05-01"}

        made = api.post("tuners/certifications/", body)
        TunerCertificationFactory()

        assert (made.status_code, made.json()["verdict"]) == (201, "PENDING")
        assert "storage_key" not in made.json()
        with django_assert_num_queries(2):  # session, page
            assert [row["id"] for row in api.get("tuners/certifications/").json()["results"]] == [made.json()["id"]]
        TunerCertificationFactory.create_batch(20, owner=applicant)
        with django_assert_num_queries(2):
            assert len(api.get("tuners/certifications/").json()["results"]) == 20
        assert api.delete(f"tuners/certifications/{made.json()['id']}/").status_code == 204
        assert api.delete(f"tuners/certifications/{made.json()['id']}/").status_code == 404
