"""Reviews: a verified buyer's word, the tuner's reply, reports and moderation.

Locks are taken in this order: review, then tuner profile, then whatever listens (the tune's own aggregate).
"""

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from core import audit
from core.exceptions import StaleRevision
from tuners import listeners, policies
from tuners.enums import ReportState, ReviewState
from tuners.exceptions import (
    AlreadyReported,
    AlreadyReviewed,
    OwnReview,
    OwnTuner,
    ReportAlreadyDecided,
    ReportNotFound,
    ReviewHidden,
    ReviewNotFound,
    ReviewNotHidden,
    ReviewNotPublished,
    TunerNotFound,
    TunerSuspended,
)
from tuners.models import ReviewReport, TunerProfile, TunerReview, TunerReviewEdit
from users.enums import NoticeType
from users.models import User
from users.services import notify


def post_review(
    *,
    author: User,
    tuner_id: UUID,
    tune_id: UUID,
    tune_version_id: UUID,
    rating: int,
    text: str,
    at: datetime,
    vehicle_model_id: UUID | None = None,
    vehicle_label: str = "",
) -> TunerReview:
    """Publish a buyer's review of a tune and count it for tuner and tune.

    Called by the marketplace, which has checked that the author bought the tune. Locks the profile while it counts.
    Not idempotent: a second one is refused. Tells the tuner.

    Raises: TunerNotFound, OwnTuner, AlreadyReviewed (`review_id`).
    """
    tuner = TunerProfile.objects.filter(pk=tuner_id).first()
    if tuner is None:
        raise TunerNotFound
    if tuner.user_id == author.pk:
        raise OwnTuner
    with transaction.atomic():
        try:
            with transaction.atomic():
                review = TunerReview.objects.create(
                    tuner=tuner,
                    buyer=author,
                    tune_id=tune_id,
                    tune_version_id=tune_version_id,
                    vehicle_model_id=vehicle_model_id,
                    vehicle_label=vehicle_label,
                    rating=rating,
                    text=text,
                    created_at=at,
                    updated_at=at,
                )
        except IntegrityError as exc:
            earlier = TunerReview.objects.filter(buyer=author, tune_id=tune_id).order_by("-pk").first()
            if earlier is None:
                raise
            raise AlreadyReviewed(review_id=earlier.pk) from exc
        _count(review, rating_delta=rating, count_delta=1)
        audit.record(act="review.posted", actor_id=author.pk, subject_id=review.pk, at=at, tuner_id=tuner_id, rating=rating)
        notify(
            user_id=tuner.user_id,
            type=NoticeType.REVIEW,
            title=f"New review: {rating} of 5",
            body=text or "Without a text.",
            link={"resource": "review", "id": review.pk},
            dedupe_key=f"review:{review.pk}",
            at=at,
            mail=False,
        )
    return review


def edit_review(
    *, author: User, review_id: UUID, at: datetime, rating: int | None = None, text: str | None = None, revision: int | None = None
) -> TunerReview:
    """Change one's own review; what it said before is kept for staff.

    Called by its author. Locks the review, then the profile: the old rating that is taken back must be the one that
    stands. Idempotent: the same content again changes nothing.

    Raises: ReviewNotFound (missing, deleted or someone else's), ReviewHidden, StaleRevision (`current`).
    """
    with transaction.atomic():
        review = _lock_own(author, review_id)
        if review.state == ReviewState.HIDDEN:
            raise ReviewHidden
        if revision is not None and revision != review.revision:
            raise StaleRevision(current=review.revision)
        new_rating, new_text = rating or review.rating, review.text if text is None else text
        if (new_rating, new_text) == (review.rating, review.text):
            return review
        TunerReviewEdit.objects.create(review=review, rating=review.rating, text=review.text, replaced_at=at)
        rating_delta = new_rating - review.rating
        review.rating, review.text = new_rating, new_text
        review.edited_at = review.updated_at = at
        review.revision += 1
        review.save(update_fields=["rating", "text", "edited_at", "updated_at", "revision"])
        if rating_delta:
            _count(review, rating_delta=rating_delta, count_delta=0)
        audit.record(act="review.edited", actor_id=author.pk, subject_id=review.pk, at=at, rating=new_rating)
    return review


def delete_review(*, author: User, review_id: UUID, at: datetime) -> None:
    """Take one's own review back; its text and its history are gone, a hidden one still stands in the way of another.

    Called by its author. Locks the review, then the profile.

    Raises: ReviewNotFound (missing, deleted or someone else's).
    """
    with transaction.atomic():
        review = _lock_own(author, review_id)
        was_published = review.state == ReviewState.PUBLISHED
        review.edits.all().delete()
        review.state, review.text, review.reply, review.replied_at = ReviewState.DELETED, "", "", None
        review.deleted_at = review.updated_at = at
        review.revision += 1
        review.save(update_fields=["state", "text", "reply", "replied_at", "deleted_at", "updated_at", "revision"])
        if was_published:
            _count(review, rating_delta=-review.rating, count_delta=-1)
        audit.record(act="review.deleted", actor_id=author.pk, subject_id=review.pk, at=at)


def reply_to_review(*, user: User, review_id: UUID, text: str, at: datetime) -> TunerReview:
    """Answer a published review of oneself; a later answer replaces the first.

    Called by the tuner. Locks the review. Idempotent. Tells the author the first time.

    Raises: ReviewNotFound (missing, not published, or of another tuner), TunerSuspended.
    """
    with transaction.atomic():
        review = (
            TunerReview.objects.select_for_update(no_key=True, of=("self",))
            .select_related("tuner")
            .filter(pk=review_id, state=ReviewState.PUBLISHED, tuner__user=user)
            .first()
        )
        if review is None:
            raise ReviewNotFound
        if not review.tuner.is_active:
            raise TunerSuspended
        is_first = not review.reply
        review.reply, review.replied_at = text, at
        review.save(update_fields=["reply", "replied_at"])
        audit.record(act="review.replied", actor_id=user.pk, subject_id=review.pk, at=at)
        if is_first:
            notify(
                user_id=review.buyer_id,
                type=NoticeType.REVIEW,
                title=f"{review.tuner.business_name} replied to your review",
                body=text,
                link={"resource": "review", "id": review.pk},
                dedupe_key=f"review-reply:{review.pk}",
                at=at,
                mail=False,
            )
    return review


def report_review(*, reporter: User, review_id: UUID, reason: str, text: str, at: datetime) -> ReviewReport:
    """Tell staff that a published review breaks the rules. Not idempotent: a second report is refused.

    Called by anyone signed in but its author. Locks the review, so that a report of a review that is hidden at the same
    moment is either decided with it or refused.

    Raises: ReviewNotFound (missing or not published), OwnReview, AlreadyReported.
    """
    with transaction.atomic():
        review = TunerReview.objects.select_for_update(no_key=True).filter(pk=review_id, state=ReviewState.PUBLISHED).first()
        if review is None:
            raise ReviewNotFound
        if review.buyer_id == reporter.pk:
            raise OwnReview
        try:
            with transaction.atomic():
                report = ReviewReport.objects.create(review=review, reporter=reporter, reason=reason, text=text, created_at=at)
        except IntegrityError as exc:
            raise AlreadyReported from exc
        audit.record(act="review.reported", actor_id=reporter.pk, subject_id=review.pk, at=at, code=reason)
    return report


def hide_review(*, review_id: UUID, actor: User, reason: str, at: datetime) -> TunerReview:
    """Take a review off the public lists and out of the ratings; open reports of it are upheld.

    Called by an admin who is not its author. Locks the review, its reports, then the profile. Tells the author.

    Raises: ReviewNotFound, PermissionRefused, OwnApplication, ReviewNotPublished.
    """
    with transaction.atomic():
        review = _lock_for_staff(review_id, actor)
        if review.state != ReviewState.PUBLISHED:
            raise ReviewNotPublished
        review.state, review.hidden_at, review.hidden_reason, review.updated_at = ReviewState.HIDDEN, at, reason, at
        review.revision += 1
        review.save(update_fields=["state", "hidden_at", "hidden_reason", "updated_at", "revision"])
        review.reports.filter(state=ReportState.OPEN).update(
            state=ReportState.UPHELD, decided_at=at, decided_by_id=actor.pk, decision_reason=reason
        )
        _count(review, rating_delta=-review.rating, count_delta=-1)
        audit.record(act="review.hidden", actor_id=actor.pk, subject_id=review.pk, at=at, reason=reason)
        notify(
            user_id=review.buyer_id,
            type=NoticeType.REVIEW,
            title="Your review was hidden",
            body=reason,
            link={"resource": "review", "id": review.pk},
            dedupe_key=f"review-hidden:{review.pk}:{at.isoformat()}",
            at=at,
        )
    return review


def restore_review(*, review_id: UUID, actor: User, reason: str, at: datetime) -> TunerReview:
    """Publish a hidden review again and count it.

    Called by an admin who is not its author. Locks the review, then the profile. Tells the author.

    Raises: ReviewNotFound, PermissionRefused, OwnApplication, ReviewNotHidden.
    """
    with transaction.atomic():
        review = _lock_for_staff(review_id, actor)
        if review.state != ReviewState.HIDDEN:
            raise ReviewNotHidden
        review.state, review.hidden_at, review.hidden_reason, review.updated_at = ReviewState.PUBLISHED, None, "", at
        review.revision += 1
        review.save(update_fields=["state", "hidden_at", "hidden_reason", "updated_at", "revision"])
        _count(review, rating_delta=review.rating, count_delta=1)
        audit.record(act="review.restored", actor_id=actor.pk, subject_id=review.pk, at=at, reason=reason)
        notify(
            user_id=review.buyer_id,
            type=NoticeType.REVIEW,
            title="Your review is public again",
            body=reason,
            link={"resource": "review", "id": review.pk},
            dedupe_key=f"review-restored:{review.pk}:{at.isoformat()}",
            at=at,
        )
    return review


def uphold_report(*, report_id: UUID, actor: User, reason: str, at: datetime) -> TunerReview:
    """Agree with a report: its review is hidden, and with it every open report of the same review is upheld.

    Called by an admin. Locks as `hide_review`.

    Raises: ReportNotFound, ReportAlreadyDecided, and what `hide_review` raises.
    """
    with transaction.atomic():
        report = _lock_report(report_id)
        return hide_review(review_id=report.review_id, actor=actor, reason=reason, at=at)


def dismiss_report(*, report_id: UUID, actor: User, reason: str, at: datetime) -> ReviewReport:
    """Disagree with a report; the review stays.

    Called by an admin who did not write the review. Locks the review, then the report.

    Raises: ReportNotFound, PermissionRefused, OwnApplication, ReportAlreadyDecided.
    """
    with transaction.atomic():
        report = _lock_report(report_id)
        policies.ensure_may_decide(actor, about=report.review.buyer_id)
        report.state, report.decided_at, report.decided_by_id, report.decision_reason = ReportState.DISMISSED, at, actor.pk, reason
        report.save(update_fields=["state", "decided_at", "decided_by_id", "decision_reason"])
        audit.record(act="review_report.dismissed", actor_id=actor.pk, subject_id=report.pk, at=at, reason=reason)
    return report


def _lock_own(author: User, review_id: UUID) -> TunerReview:
    review = (
        TunerReview.objects.select_for_update(no_key=True).filter(pk=review_id, buyer=author).exclude(state=ReviewState.DELETED).first()
    )
    if review is None:
        raise ReviewNotFound
    return review


def _lock_for_staff(review_id: UUID, actor: User) -> TunerReview:
    review = TunerReview.objects.select_for_update(no_key=True).filter(pk=review_id).first()
    if review is None:
        raise ReviewNotFound
    policies.ensure_may_decide(actor, about=review.buyer_id)
    return review


def _lock_report(report_id: UUID) -> ReviewReport:
    """The open report, after its review was locked: every mover of reports holds the review first."""
    review_id = ReviewReport.objects.filter(pk=report_id).values_list("review_id", flat=True).first()
    if review_id is None:
        raise ReportNotFound
    review = TunerReview.objects.select_for_update(no_key=True).get(pk=review_id)
    report = ReviewReport.objects.select_for_update(no_key=True).get(pk=report_id)
    report.review = review
    if report.state != ReportState.OPEN:
        raise ReportAlreadyDecided
    return report


def _count(review: TunerReview, *, rating_delta: int, count_delta: int) -> None:
    """Move the tuner's aggregate and tell whoever keeps the tune's."""
    TunerProfile.objects.filter(pk=review.tuner_id).update(
        rating_sum=F("rating_sum") + rating_delta, review_count=F("review_count") + count_delta
    )
    listeners.tell_review(tune_id=review.tune_id, rating_delta=rating_delta, count_delta=count_delta)
