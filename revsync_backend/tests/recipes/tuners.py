"""tuners/."""

from core.testing.matrix import TUNER_ROLES, Call
from core.uploads.tests.factories import UploadFactory
from revsync_backend.tests.recipes import recipe, refusal
from tuners.models import SuspensionAppeal
from tuners.policies import MAX_CERTIFICATIONS
from tuners.tests.factories import ReviewAppealFactory, TunerApplicationFactory, TunerCertificationFactory, TunerReviewFactory

APPLICATION = {
    "kind": "TUNER",
    "business_name": "Bay Area Maps",
    "country": "US",
    "experience": "Six years at a dealership's dyno.",
    "specialities": ["STREET"],
}


@recipe("get_tuner_application")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user)
    return Call()


def _who_may_not_apply(kit):
    if kit.role == "admin":
        return 403, "permission_denied"
    return (409, "already_tuner") if kit.role in TUNER_ROLES else None


@recipe("start_tuner_application")
def _(kit, world):
    return Call(body=APPLICATION, refused=_who_may_not_apply(kit))


@recipe("change_tuner_application")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user)
    return Call(body={"experience": "Seven years."})


@recipe("submit_tuner_application")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user)
    TunerCertificationFactory(owner=kit.user)
    return Call(refused=_who_may_not_apply(kit))


@recipe("add_certification")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user)
    upload = UploadFactory(owner_id=kit.user.pk, ready=True)
    body = {"upload_id": upload.pk, "type": "INSURANCE", "issuer": "Allianz", "expires_on": "2099-01-01"}
    return Call(body=body, refs=("/upload_id",))


@recipe("remove_certification")
def _(kit, world):
    return Call(path={"certification": TunerCertificationFactory(owner=kit.user).pk})


@recipe("change_own_tuner_profile")
def _(kit, world):
    return Call(body={"about": "Measured on our own dyno."})


@recipe("appeal_suspension")
def _(kit, world):
    SuspensionAppeal.objects.filter(tuner=kit.profile).delete()
    return Call(body={"text": "The ECU had been opened before."}, refused=None if kit.role == "suspended" else (409, "tuner_not_suspended"))


@recipe("change_review")
def _(kit, world):
    return Call(path={"review": kit.review.pk}, body={"rating": 5})


@recipe("delete_review")
def _(kit, world):
    return Call(path={"review": kit.review.pk})


@recipe("reply_to_review")
def _(kit, world):
    return Call(path={"review": kit.received_review.pk}, body={"text": "Thank you."})


@recipe("get_review")
def _(kit, world):
    return Call(path={"review": world.reported_review.pk})


@recipe("appeal_review_decision")
def _(kit, world):
    return Call(path={"review": TunerReviewFactory(buyer=kit.user, hidden=True).pk}, body={"text": "It was irony."})


@recipe("report_review")
def _(kit, world):
    return Call(path={"review": world.reported_review.pk}, body={"reason": "ABUSE"})


@recipe("get_tuner", "list_tuner_reviews", "list_tunes_of_tuner", "follow_tuner", "unfollow_tuner")
def _(kit, world):
    return Call(path={"tuner": world.tuner.pk})


# Refusals


@refusal("appeal_review_decision", "nothing_to_appeal")
def _(kit, world):
    return Call(path={"review": kit.review.pk}, body={"text": "It was irony."})


@refusal("appeal_review_decision", "review_appeal_exists")
def _(kit, world):
    appeal = ReviewAppealFactory(review=TunerReviewFactory(buyer=kit.user, hidden=True))
    return Call(path={"review": appeal.review_id}, body={"text": "It was irony."})


@refusal("start_tuner_application", "application_cooling_down")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user, rejected=True)
    return Call(body=APPLICATION)


@refusal("change_tuner_application", "not_found")
def _(kit, world):
    return Call(body={"experience": "Seven years."})


@refusal("change_tuner_application", "application_not_editable")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user, submitted=True)
    return Call(body={"experience": "Seven years."})


@refusal("submit_tuner_application", "not_found")
def _(kit, world):
    return Call()


@refusal("submit_tuner_application", "application_not_submittable")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user, submitted=True)
    return Call()


def _certification(kit):
    upload = UploadFactory(owner_id=kit.user.pk, ready=True)
    return Call(body={"upload_id": upload.pk, "type": "INSURANCE", "issuer": "Allianz", "expires_on": "2099-01-01"})


@refusal("add_certification", "application_required")
def _(kit, world):
    return _certification(kit)


@refusal("add_certification", "too_many_certifications")
def _(kit, world):
    TunerApplicationFactory(applicant=kit.user)
    TunerCertificationFactory.create_batch(MAX_CERTIFICATIONS, owner=kit.user)
    return _certification(kit)


@refusal("remove_certification", "certification_in_use")
def _(kit, world):
    return Call(path={"certification": TunerCertificationFactory(owner=kit.user, accepted=True).pk})


@refusal("change_review", "review_hidden")
def _(kit, world):
    return Call(path={"review": TunerReviewFactory(buyer=kit.user, hidden=True).pk}, body={"rating": 5})
