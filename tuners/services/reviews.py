"""Reviews: a verified buyer's word, the tuner's reply, reports, moderation and the one appeal against it.

Locks are taken in this order: the people concerned, review, its reports and appeals, tuner profile, then whatever listens
(the tune's own aggregate). People come first because a deletion holds its person and then changes that person's rows, while
we hold such rows and then tell the person: the two would wait for each other.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q

from core import audit
from core.exceptions import StaleRevision
from tuners import listeners, policies
from tuners.enums import ReportState, ReviewAppealState, ReviewState
from tuners.exceptions import (
    AlreadyReported,
    AlreadyReviewed,
    NothingToAppeal,
    OwnReview,
    OwnTuner,
    ReportAlreadyDecided,
    ReportNotFound,
    ReviewAppealAlreadyDecided,
    ReviewAppealExists,
    ReviewAppealNotFound,
    ReviewHidden,
    ReviewNotFound,
    ReviewNotHidden,
    ReviewNotPublished,
    TunerNotFound,
    TunerSuspended,
)
from tuners.models import ReviewAppeal, ReviewReport, TunerProfile, TunerReview, TunerReviewEdit
from users.enums import NoticeType
from users.models import User
from users.services import notify

READ_IT = "Open it to read what it says."  # a notice would keep words that are changed, taken back or hidden

_PEOPLE = """
SELECT person.id FROM users_user person
 WHERE person.id = %(actor)s OR person.id IN (
       SELECT review.buyer_id FROM tuners_tunerreview review WHERE review.id = %(review)s
       UNION SELECT tuner.user_id FROM tuners_tunerreview review JOIN tuners_tunerprofile tuner ON tuner.id = review.tuner_id
              WHERE review.id = %(review)s
       UNION SELECT report.reporter_id FROM tuners_reviewreport report WHERE report.review_id = %(review)s)
 ORDER BY person.id
   FOR KEY SHARE OF person
"""


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
    vehicle_year: int | None = None,
    vehicle_label: str = "",
    hardware_number: str = "",
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
                    vehicle_year=vehicle_year,
                    vehicle_label=vehicle_label,
                    hardware_number=hardware_number,
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
            body=vehicle_label or READ_IT,
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

    Called by its author. Locks the review, then the profile. What was reported or appealed and not decided is moot.

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
        review.reports.filter(state=ReportState.OPEN).update(state=ReportState.MOOT, decided_at=at)
        review.appeals.filter(state=ReviewAppealState.OPEN).update(state=ReviewAppealState.MOOT, decided_at=at)
        if was_published:
            _count(review, rating_delta=-review.rating, count_delta=-1)
        audit.record(act="review.deleted", actor_id=author.pk, subject_id=review.pk, at=at)


def reply_to_review(*, user: User, review_id: UUID, text: str, at: datetime) -> TunerReview:
    """Answer a published review of oneself; a later answer replaces the first.

    Called by the tuner. Locks the review. Idempotent. Tells the author the first time.

    Raises: ReviewNotFound (missing, not published, or of another tuner), TunerSuspended.
    """
    with transaction.atomic():
        _hold_people(review_id, user)
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
                body=READ_IT,
                link={"resource": "review", "id": review.pk},
                dedupe_key=f"review-reply:{review.pk}",
                at=at,
                mail=False,
            )
    return review


def report_review(*, reporter: User, review_id: UUID, reason: str, text: str, at: datetime) -> ReviewReport:
    """Tell staff that a published review breaks the rules. Not idempotent: a second report is refused, until its author changes
    what staff decided about.

    Called by anyone signed in but its author. Locks the review, so that a report of a review that is hidden at the same
    moment is either decided with it or refused.

    Raises: ReviewNotFound (missing or not published), OwnReview, AlreadyReported.
    """
    with transaction.atomic():
        _hold_people(review_id, reporter)
        review = TunerReview.objects.select_for_update(no_key=True).filter(pk=review_id, state=ReviewState.PUBLISHED).first()
        if review is None:
            raise ReviewNotFound
        if review.buyer_id == reporter.pk:
            raise OwnReview
        earlier = review.reports.made_by(reporter).first()
        if earlier is not None and not policies.may_report_again(earlier, review):
            raise AlreadyReported
        report = ReviewReport.objects.create(review=review, reporter=reporter, reason=reason, text=text, created_at=at)
        audit.record(act="review.reported", actor_id=reporter.pk, subject_id=review.pk, at=at, code=reason)
    return report


def hide_review(*, review_id: UUID, actor: User, reason: str, at: datetime) -> TunerReview:
    """Take a review off the public lists and out of the ratings; open reports of it are upheld, reporters' appeals accepted.

    Called by an admin who is not its author. Locks the review, its reports, then the profile. Tells the author and who
    reported it.

    Raises: ReviewNotFound, PermissionRefused, OwnApplication, ReviewNotPublished.
    """
    with transaction.atomic():
        review = _lock_for_staff(review_id, actor)
        if review.state != ReviewState.PUBLISHED:
            raise ReviewNotPublished
        review.state, review.hidden_at, review.hidden_reason, review.updated_at = ReviewState.HIDDEN, at, reason, at
        review.revision += 1
        review.save(update_fields=["state", "hidden_at", "hidden_reason", "updated_at", "revision"])
        appealed = [appeal.report_id for appeal in _accept_appeals(review, by_reporters=True, actor=actor, reason=reason, at=at)]
        upheld = list(review.reports.filter(Q(state=ReportState.OPEN) | Q(pk__in=appealed)))
        review.reports.filter(pk__in=[report.pk for report in upheld]).update(
            state=ReportState.UPHELD, decided_at=at, decided_by_id=actor.pk, decision_reason=reason
        )
        _count(review, rating_delta=-review.rating, count_delta=-1)
        audit.record(act="review.hidden", actor_id=actor.pk, subject_id=review.pk, at=at, reason=reason)
        notify(
            user_id=review.buyer_id,
            type=NoticeType.REVIEW,
            title="Your review was hidden",
            body=f"{reason} You can appeal once.",
            link={"resource": "review", "id": review.pk},
            dedupe_key=f"review-hidden:{review.pk}:{at.isoformat()}",
            at=at,
        )
        _tell_reporters(upheld, title="The review that you reported was hidden", body=reason, at=at)
    return review


def restore_review(*, review_id: UUID, actor: User, reason: str, at: datetime) -> TunerReview:
    """Publish a hidden review again and count it; its author's appeal is thereby accepted.

    Called by an admin who is not its author. Locks the review, its appeal, then the profile. Tells the author, and whose
    report had hidden it.

    Raises: ReviewNotFound, PermissionRefused, OwnApplication, ReviewNotHidden.
    """
    with transaction.atomic():
        review = _lock_for_staff(review_id, actor)
        if review.state != ReviewState.HIDDEN:
            raise ReviewNotHidden
        _accept_appeals(review, by_reporters=False, actor=actor, reason=reason, at=at)
        overturned = list(review.reports.filter(state=ReportState.UPHELD, decided_at=review.hidden_at))
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
        _tell_reporters(overturned, title="The review that you reported is public again", body=reason, at=at)
    return review


def uphold_report(*, report_id: UUID, actor: User, reason: str, at: datetime) -> TunerReview:
    """Agree with a report: its review is hidden, and with it every open report of the same review is upheld.

    Called by an admin. Locks as `hide_review`.

    Raises: ReportNotFound, ReportAlreadyDecided, and what `hide_review` raises.
    """
    with transaction.atomic():
        report = _lock_report(report_id, actor)
        return hide_review(review_id=report.review_id, actor=actor, reason=reason, at=at)


def dismiss_report(*, report_id: UUID, actor: User, reason: str, at: datetime) -> ReviewReport:
    """Disagree with a report; the review stays. Tells the reporter, who may appeal once.

    Called by an admin who did not write the review. Locks the review, then the report.

    Raises: ReportNotFound, PermissionRefused, OwnApplication, ReportAlreadyDecided.
    """
    with transaction.atomic():
        report = _lock_report(report_id, actor)
        policies.ensure_may_decide(actor, about=report.review.buyer_id)
        report.state, report.decided_at, report.decided_by_id, report.decision_reason = ReportState.DISMISSED, at, actor.pk, reason
        report.save(update_fields=["state", "decided_at", "decided_by_id", "decision_reason"])
        audit.record(act="review_report.dismissed", actor_id=actor.pk, subject_id=report.pk, at=at, reason=reason)
        _tell_reporters([report], title="The review that you reported stays", body=f"{reason} You can appeal once.", at=at)
    return report


def appeal_review_decision(*, user: User, review_id: UUID, text: str, at: datetime) -> ReviewAppeal:
    """Say one's word against a decision about a review, once: its author against its hiding, a reporter against the dismissal
    of their report.

    Called by whom the decision went against. Locks the review. Not idempotent: a second call is refused.

    Raises: ReviewNotFound (missing, deleted, or hidden and none of theirs), NothingToAppeal, ReviewAppealExists.
    """
    with transaction.atomic():
        _hold_people(review_id, user)
        review = TunerReview.objects.of_concern_to(user).select_for_update(no_key=True).filter(pk=review_id).first()
        if review is None:
            raise ReviewNotFound
        report = review.reports.made_by(user).first()
        against_at = _went_against(user, review, report)
        if against_at is None:
            raise NothingToAppeal
        if review.appeals.filter(report=report, against_at=against_at).exists():
            raise ReviewAppealExists
        appeal = ReviewAppeal.objects.create(
            review=review, report=report, appellant=user, against_at=against_at, text=text, created_at=at
        )
        audit.record(act="review_appeal.made", actor_id=user.pk, subject_id=appeal.pk, at=at, review_id=review.pk)
    return appeal


def decide_review_appeal(*, appeal_id: UUID, accepted: bool, actor: User, reason: str, at: datetime) -> ReviewAppeal:
    """Decide an appeal. Accepting turns the decision around: the review is public again, or hidden.

    Called by an admin who neither wrote the review nor the appeal. Locks the review, then the appeal. Not idempotent.
    Tells who appealed, and who else is concerned.

    Raises: ReviewAppealNotFound, PermissionRefused, OwnApplication, ReviewAppealAlreadyDecided.
    """
    review_id = ReviewAppeal.objects.filter(pk=appeal_id).values_list("review_id", flat=True).first()
    if review_id is None:
        raise ReviewAppealNotFound
    with transaction.atomic():
        _lock_for_staff(review_id, actor)
        appeal = ReviewAppeal.objects.select_for_update(no_key=True).get(pk=appeal_id)
        policies.ensure_may_decide(actor, about=appeal.appellant_id)
        if appeal.state != ReviewAppealState.OPEN:
            raise ReviewAppealAlreadyDecided
        if accepted:
            (hide_review if appeal.report_id else restore_review)(review_id=review_id, actor=actor, reason=reason, at=at)
            appeal.refresh_from_db()
            return appeal
        _end_appeal(appeal, ReviewAppealState.REJECTED, actor=actor, reason=reason, at=at)
        notify(
            user_id=appeal.appellant_id,
            type=NoticeType.REVIEW,
            title="Your appeal was rejected",
            body=reason,
            link={"resource": "review", "id": review_id},
            dedupe_key=f"review-appeal-rejected:{appeal.pk}",
            at=at,
        )
    return appeal


def mark_refund(*, buyer_id: UUID, tune_id: UUID, is_refunded: bool, is_counted: bool, at: datetime) -> None:
    """Note on a buyer's review of a tune whether they got the money back, and whether the ratings still count it.

    Called by the marketplace when a purchase was refunded, charged back, or bought anew. Locks the review, then the profile.
    Idempotent; nothing where there is no review.
    """
    with transaction.atomic():
        reviews = TunerReview.objects.select_for_update(no_key=True).exclude(state=ReviewState.DELETED)
        review = reviews.filter(buyer_id=buyer_id, tune_id=tune_id).first()
        if review is None or (review.is_refunded, review.is_counted) == (is_refunded, is_counted):
            return
        was_counted = review.is_counted
        review.is_refunded, review.is_counted = is_refunded, is_counted
        review.save(update_fields=["is_refunded", "is_counted"])
        if review.state == ReviewState.PUBLISHED and was_counted != is_counted:
            sign = 1 if is_counted else -1
            _move(review, rating_delta=sign * review.rating, count_delta=sign)
        act = "review.refund_marked" if is_refunded else "review.refund_unmarked"
        audit.record(act=act, actor_id=None, subject_id=review.pk, at=at, is_counted=is_counted)


def _hold_people(review_id: UUID, actor: User) -> None:
    """Keep author, tuner and reporters of a review, and who acts, from being deleted until the transaction ends. Stops nothing else."""
    with connection.cursor() as cursor:
        cursor.execute(_PEOPLE, {"review": review_id, "actor": actor.pk})


def _lock_own(author: User, review_id: UUID) -> TunerReview:
    _hold_people(review_id, author)
    review = (
        TunerReview.objects.select_for_update(no_key=True).filter(pk=review_id, buyer=author).exclude(state=ReviewState.DELETED).first()
    )
    if review is None:
        raise ReviewNotFound
    return review


def _lock_for_staff(review_id: UUID, actor: User) -> TunerReview:
    _hold_people(review_id, actor)
    review = TunerReview.objects.select_for_update(no_key=True).filter(pk=review_id).first()
    if review is None:
        raise ReviewNotFound
    policies.ensure_may_decide(actor, about=review.buyer_id)
    return review


def _lock_report(report_id: UUID, actor: User) -> ReviewReport:
    """The open report, after its review was locked: every mover of reports holds the review first."""
    review_id = ReviewReport.objects.filter(pk=report_id).values_list("review_id", flat=True).first()
    if review_id is None:
        raise ReportNotFound
    _hold_people(review_id, actor)
    review = TunerReview.objects.select_for_update(no_key=True).get(pk=review_id)
    report = ReviewReport.objects.select_for_update(no_key=True).get(pk=report_id)
    report.review = review
    if report.state != ReportState.OPEN:
        raise ReportAlreadyDecided
    return report


def _went_against(user: User, review: TunerReview, report: ReviewReport | None) -> datetime | None:
    """When it was decided against this person, if what was decided then still stands."""
    if review.buyer_id == user.pk:
        return review.hidden_at
    if report is not None and report.state == ReportState.DISMISSED and review.state == ReviewState.PUBLISHED:
        return report.decided_at
    return None


def _accept_appeals(review: TunerReview, *, by_reporters: bool, actor: User, reason: str, at: datetime) -> list[ReviewAppeal]:
    """What a decision turns around need not be appealed any more: the open appeals that wanted it."""
    appeals = list(review.appeals.filter(state=ReviewAppealState.OPEN, report__isnull=not by_reporters).order_by("pk"))
    for appeal in appeals:
        _end_appeal(appeal, ReviewAppealState.ACCEPTED, actor=actor, reason=reason, at=at)
    return appeals


def _end_appeal(appeal: ReviewAppeal, state: ReviewAppealState, *, actor: User, reason: str, at: datetime) -> None:
    appeal.state, appeal.decided_at, appeal.decided_by_id, appeal.decision_reason = state, at, actor.pk, reason
    appeal.save(update_fields=["state", "decided_at", "decided_by_id", "decision_reason"])
    audit.record(
        act=f"review_appeal.{state.lower()}", actor_id=actor.pk, subject_id=appeal.pk, at=at, reason=reason, review_id=appeal.review_id
    )


def _tell_reporters(reports: Iterable[ReviewReport], *, title: str, body: str, at: datetime) -> None:
    """Tell who made these reports, each once."""
    for report in {report.reporter_id: report for report in reports}.values():
        notify(
            user_id=report.reporter_id,
            type=NoticeType.REVIEW,
            title=title,
            body=body,
            link={"resource": "review", "id": report.review_id},
            dedupe_key=f"review-report:{report.pk}:{at.isoformat()}",
            at=at,
        )


def _count(review: TunerReview, *, rating_delta: int, count_delta: int) -> None:
    """Count a change of a published review, if it counts."""
    if review.is_counted:
        _move(review, rating_delta=rating_delta, count_delta=count_delta)


def _move(review: TunerReview, *, rating_delta: int, count_delta: int) -> None:
    """Move the tuner's aggregate and tell whoever keeps the tune's."""
    TunerProfile.objects.filter(pk=review.tuner_id).update(
        rating_sum=F("rating_sum") + rating_delta, review_count=F("review_count") + count_delta
    )
    listeners.tell_review(tune_id=review.tune_id, rating_delta=rating_delta, count_delta=count_delta)
