"""What this app knows about a person, for the profile's figures and the data export."""

from typing import Any
from uuid import UUID

from tuners.enums import ReviewState
from tuners.models import (
    ReviewReport,
    SuspensionAppeal,
    TunerApplication,
    TunerCertification,
    TunerFollow,
    TunerProfile,
    TunerReview,
)
from users.privacy import Provider

PROFILE_COLUMNS = ("kind", "business_name", "country", "website", "about", "experience", "specialities", "status", "created_at")
APPLICATION_COLUMNS = (
    "kind",
    "business_name",
    "country",
    "website",
    "experience",
    "specialities",
    "status",
    "decision_reason",
    "submitted_at",
    "decided_at",
    "created_at",
)
CERTIFICATION_COLUMNS = ("type", "issuer", "number", "expires_on", "file_name", "verdict", "verdict_reason", "created_at")
REVIEW_COLUMNS = ("tune_id", "rating", "text", "state", "created_at", "edited_at")


def stats(user_id: UUID) -> dict[str, int]:
    """How many public reviews a person wrote, and how many tuners they follow."""
    return {
        "reviews": TunerReview.objects.filter(buyer_id=user_id, state=ReviewState.PUBLISHED).count(),
        "followed_tuners": TunerFollow.objects.filter(follower_id=user_id).count(),
    }


def export(user_id: UUID) -> dict[str, Any]:
    """Everything that the person gave this app."""
    return {
        "tuner_profile": list(TunerProfile.objects.filter(user_id=user_id).values(*PROFILE_COLUMNS)),
        "tuner_application": list(TunerApplication.objects.filter(applicant_id=user_id).values(*APPLICATION_COLUMNS)),
        "certifications": list(TunerCertification.objects.filter(owner_id=user_id).order_by("pk").values(*CERTIFICATION_COLUMNS)),
        "reviews": list(TunerReview.objects.filter(buyer_id=user_id).order_by("pk").values(*REVIEW_COLUMNS)),
        "review_reports": list(
            ReviewReport.objects.filter(reporter_id=user_id).order_by("pk").values("review_id", "reason", "text", "state", "created_at")
        ),
        "follows": list(TunerFollow.objects.filter(follower_id=user_id).order_by("pk").values("tuner_id", "created_at")),
        "appeals": list(
            SuspensionAppeal.objects.filter(tuner__user_id=user_id).order_by("pk").values("text", "state", "decision_reason", "created_at")
        ),
    }


PROVIDER = Provider(name="tuners", stats=stats, export=export)
