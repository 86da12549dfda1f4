"""Predicates of this app. They look at rows that are loaded already and write nothing."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from core.exceptions import PermissionRefused
from tuners.enums import ApplicationStatus, CertificationVerdict, ReportReason, TunerKind
from tuners.exceptions import AlreadyTuner, OwnApplication, StaffMayNotApply
from tuners.models import ReviewReport, TunerApplication, TunerCertification, TunerProfile, TunerReview
from users.enums import Role
from users.models import User

COOL_DOWN = timedelta(days=30)
MAX_CERTIFICATIONS = 20
EDITABLE = frozenset({ApplicationStatus.DRAFT, ApplicationStatus.INFO_REQUESTED})
SUBMITTABLE = EDITABLE
DECIDE_REPORTS_WITHIN = timedelta(hours=72)
DECIDE_HARM_WITHIN = timedelta(hours=24)
DECIDE_APPEALS_WITHIN = timedelta(hours=72)
HARMFUL = frozenset({ReportReason.ABUSE, ReportReason.PERSONAL_DATA, ReportReason.ILLEGAL_ADVICE})  # it hurts as long as it is read


def ensure_may_apply(user: User) -> None:
    """Only riders apply. Raises: StaffMayNotApply, AlreadyTuner."""
    if user.role == Role.ADMIN:
        raise StaffMayNotApply
    if user.role != Role.RIDER:
        raise AlreadyTuner


def ensure_may_decide(actor: User, *, about: object) -> None:
    """Only an admin decides, and never about themselves (`about` is a user's id). Raises: PermissionRefused, OwnApplication."""
    if actor.role != Role.ADMIN or not actor.is_active:
        raise PermissionRefused
    if actor.pk == about:
        raise OwnApplication


def may_report_again(earlier: ReviewReport, review: TunerReview) -> bool:
    """What was decided about is not decided again; what its author has changed since is something else."""
    return earlier.decided_at is not None and review.edited_at is not None and review.edited_at > earlier.decided_at


def due_at(report: ReviewReport) -> datetime:
    """Until when a report should be decided."""
    return report.created_at + (DECIDE_HARM_WITHIN if report.reason in HARMFUL else DECIDE_REPORTS_WITHIN)


def is_current(certification: TunerCertification, *, at: datetime) -> bool:
    """Accepted, and not past its date; it counts on the day that it ends."""
    return certification.verdict == CertificationVerdict.ACCEPTED and certification.expires_on >= at.date()


def is_missing_certification(application: TunerApplication, certifications: Iterable[TunerCertification], *, at: datetime) -> bool:
    """A tuner applies with at least one document that may still be accepted; a creator may apply without."""
    usable = any(row.verdict != CertificationVerdict.REFUSED and row.expires_on >= at.date() for row in certifications)
    return application.kind == TunerKind.TUNER and not usable


def may_approve(application: TunerApplication, certifications: Iterable[TunerCertification], *, at: datetime) -> bool:
    """Every certification has its verdict, and a tuner has one that counts."""
    rows = list(certifications)
    if any(row.verdict == CertificationVerdict.PENDING for row in rows):
        return False
    return application.kind == TunerKind.CREATOR or any(is_current(row, at=at) for row in rows)


def deserves_badge(profile: TunerProfile, certifications: Iterable[TunerCertification], *, at: datetime) -> bool:
    """The verified badge is for tuners with a certification that counts today; creators never have one."""
    return profile.kind == TunerKind.TUNER and any(is_current(row, at=at) for row in certifications)
