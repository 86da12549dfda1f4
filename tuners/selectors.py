"""Reads of this app."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Aggregate, Case, Count, DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value, When

from core.pagination import Key, Ordering
from tuners import policies
from tuners.enums import (
    ApplicationStatus,
    CertificationVerdict,
    PublishBlocker,
    ReportState,
    ReviewAppealState,
    ReviewState,
    TunerStatus,
)
from tuners.exceptions import (
    AppealNotFound,
    ApplicationNotFound,
    CertificationNotFound,
    ReportNotFound,
    ReviewAppealNotFound,
    ReviewNotFound,
    TunerNotFound,
)
from tuners.models import (
    ReviewAppeal,
    ReviewReport,
    SuspensionAppeal,
    TunerApplication,
    TunerCertification,
    TunerFollow,
    TunerProfile,
    TunerReview,
)
from tuners.search import Reading, as_meant, as_typed, expression, expression_of_filters, words_of
from users.models import User

MEDIAN_OVER = timedelta(days=90)

# What `serializers.render_tuner` takes, in this order.
TUNER_COLUMNS = (
    "t.id, t.kind, t.business_name, t.country, t.specialities, t.makes, t.verified, t.rating::float8, t.review_count, t.follower_count"
)
TUNER_COLUMN_COUNT = 10
# Column and direction; the id settles ties in the same direction.
TUNER_ORDERINGS = {
    "rating": ("rating_order", "DESC"),
    "popular": ("follower_count", "DESC"),
    "name": ("name_key", "ASC"),
    "newest": ("created_at", "DESC"),
}
WALKED, WALK_ON = 500, 8  # what one tuner in twenty-five has fills a page from the first, what one in two hundred from the others
REASON_CODES: dict[str, str] = {ApplicationStatus.INFO_REQUESTED: "information_requested", ApplicationStatus.REJECTED: "rejected"}
REPORT_DUE_AT = F("created_at") + Case(  # until when a report should be decided, as `policies.due_at` says of one
    When(reason__in=policies.HARMFUL, then=Value(policies.DECIDE_HARM_WITHIN)),
    default=Value(policies.DECIDE_REPORTS_WITHIN),
    output_field=DurationField(),
)
NEWEST = Ordering("newest", Key("created_at", desc=True), Key("id", desc=True))


class Median(Aggregate):
    """The middle of a set of durations."""

    name = "median"
    template = "PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = DurationField()


@dataclass(frozen=True)
class TunerPage:
    """Rows of TUNER_COLUMNS and the position behind the last one, or None at the end."""

    rows: list[tuple]
    after: list[Any] | None


def list_tuners(filters: Mapping[str, Any], *, ordering: str, after: Sequence[Any] | None, page_size: int) -> TunerPage:
    """One page of the tuners that anyone may discover. `filters` are those of the API, validated.

    One query; three when a search finds nothing as it was typed and may mean something else.
    """
    if "q" not in filters:
        return _page(filters, "", ordering, after, page_size)
    words = words_of(filters["q"])
    if not words:
        return TunerPage([], None)
    typed = as_typed(words)
    if after is not None:  # a later page asks what the first one asked
        *after, reading = after if len(after) > 2 else [*after, typed]
        return _page(filters, expression(words, reading), ordering, after, page_size, *([] if reading == typed else [reading]))
    page = _page(filters, expression(words, typed), ordering, None, page_size)
    if page.rows or (meant := as_meant(words)) == typed:
        return page
    return _page(filters, expression(words, meant), ordering, None, page_size, meant)


def _page(
    filters: Mapping[str, Any], query: str, ordering: str, after: Sequence[Any] | None, page_size: int, *noted: Reading
) -> TunerPage:
    """A page; `noted`, how the search was read otherwise than typed, goes into its cursor."""
    sql, parameters = _statement(filters, query, ordering, after, page_size + 1)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    if len(rows) <= page_size:
        return TunerPage(rows, None)
    last = rows[page_size - 1]
    return TunerPage(rows[:page_size], [last[TUNER_COLUMN_COUNT], last[0], *noted])


def _statement(
    filters: Mapping[str, Any], query: str, ordering: str, after: Sequence[Any] | None, limit: int
) -> tuple[str, dict[str, Any]]:
    """The SQL of a page and its parameters.

    Conditions are first tried on the next WALKED tuners of the order: what many have fills the page from there. When what is found
    there promises a page in WALK_ON times as many, these are tried. Only then all that meet the conditions are looked up by index
    and sorted: they are few, or stand far behind.
    """
    column, direction = TUNER_ORDERINGS[ordering]
    parameters: dict[str, Any] = {"limit": limit}
    active = "t.status = 'ACTIVE'"
    if after is not None:
        active += f" AND (t.{column}, t.id) {'<' if direction == 'DESC' else '>'} (%(key)s, %(id)s)"
        parameters |= {"key": after[0], "id": after[1]}
    order = f"ORDER BY t.{column} {direction}, t.id {direction}"
    shown = f"{TUNER_COLUMNS}, t.{column}"
    if not (query := " & ".join(filter(None, [query, expression_of_filters(filters)]))):
        return f"SELECT {shown} FROM tuners_tunerprofile t WHERE {active} {order} LIMIT %(limit)s", parameters
    # From a subquery, so that Postgres can't tell how many meet it, and never reads all profiles for what it takes for many.
    met = "t.document @@ (SELECT %(query)s::tsquery)"
    parameters["query"] = query
    if "min_rating" in filters:
        met += " AND t.rating >= %(min_rating)s"
        parameters["min_rating"] = filters["min_rating"]

    def walk(count: int, needed: str) -> str:
        walked = f"SELECT * FROM tuners_tunerprofile t WHERE {active} AND {needed} {order} LIMIT {count}"
        return f"SELECT {shown} FROM ({walked}) AS t WHERE {met} {order} LIMIT %(limit)s"

    # What is not needed is not executed: each of these conditions is asked once, before the first row.
    near, further = "(SELECT count(*) FROM near)", "(SELECT count(*) FROM further)"
    sql = f"""
        WITH near AS MATERIALIZED ({walk(WALKED, "true")}),
             further AS MATERIALIZED ({walk(WALKED * WALK_ON, f"{near} < %(limit)s AND {near} * {WALK_ON} >= %(limit)s")}),
             met AS MATERIALIZED (SELECT t.id, t.{column} FROM tuners_tunerprofile t WHERE {active} AND {met})
        SELECT * FROM near WHERE {near} = %(limit)s
        UNION ALL
        SELECT * FROM further WHERE {further} = %(limit)s
        UNION ALL
        (SELECT {shown} FROM (SELECT * FROM met AS t {order} LIMIT %(limit)s) AS few JOIN tuners_tunerprofile t USING (id)
          WHERE {near} < %(limit)s AND {further} < %(limit)s {order})
    """
    return sql, parameters


def get_tuner(tuner_id: UUID) -> TunerProfile:
    """An active tuner. Raises: TunerNotFound (missing or suspended)."""
    profile = TunerProfile.objects.active().filter(pk=tuner_id).first()
    if profile is None:
        raise TunerNotFound
    return profile


def find_profile_of(user: User) -> TunerProfile | None:
    """A person's own profile in any state, or None."""
    return TunerProfile.objects.filter(user=user).first()


def get_profile_of(user: User) -> TunerProfile:
    """A person's own profile in any state. Raises: TunerNotFound."""
    profile = find_profile_of(user)
    if profile is None:
        raise TunerNotFound
    return profile


def is_following(user: User, tuner_id: UUID) -> bool:
    """Whether somebody follows a tuner."""
    return TunerFollow.objects.filter(follower=user, tuner_id=tuner_id).exists()


def list_reviews(tuner_id: UUID) -> QuerySet[TunerReview]:
    """A tuner's published reviews with their authors."""
    return TunerReview.objects.published().filter(tuner_id=tuner_id).select_related("buyer")


def list_reviews_of_tune(tune_id: UUID) -> QuerySet[TunerReview]:
    """A tune's published reviews with their authors."""
    return TunerReview.objects.published().filter(tune_id=tune_id).select_related("buyer")


def get_review(review_id: UUID) -> TunerReview:
    """A review with its author, in any state. For services' callers that hold its id by right."""
    return TunerReview.objects.select_related("buyer").get(pk=review_id)


def get_visible_review(review_id: UUID, viewer: User | None) -> TunerReview:
    """A review that this person may see, with what they have to do with it as `own_report` and `own_appeal`.

    Published ones of active tuners are everybody's; its author and who reported it see it hidden, too, and of a suspended
    tuner. One query, three when signed in. Raises: ReviewNotFound.
    """
    seen = Q(state=ReviewState.PUBLISHED, tuner__status=TunerStatus.ACTIVE)
    if viewer is not None:
        reported = Exists(ReviewReport.objects.filter(review=OuterRef("pk"), reporter=viewer))
        seen |= ~Q(state=ReviewState.DELETED) & (Q(buyer=viewer) | Q(reported))
    review = TunerReview.objects.filter(seen, pk=review_id).select_related("buyer").first()
    if review is None:
        raise ReviewNotFound
    report = appeal = None
    if viewer is not None:
        report = ReviewReport.objects.filter(review=review).made_by(viewer).first()
        appeal = ReviewAppeal.objects.filter(review=review, appellant=viewer).order_by("-created_at", "-pk").first()
    review.own_report, review.own_appeal = report, appeal  # type: ignore[attr-defined]
    return review


def count_overdue_decisions(*, at: datetime) -> int:
    """How many reports of reviews, and appeals about them, wait for longer than they should. One query, over what is open."""
    reports = ReviewReport.objects.filter(state=ReportState.OPEN).annotate(due_at=REPORT_DUE_AT).filter(due_at__lt=at)
    appeals = ReviewAppeal.objects.filter(state=ReviewAppealState.OPEN, created_at__lt=at - policies.DECIDE_APPEALS_WITHIN)
    return reports.values("pk").union(appeals.values("pk"), all=True).count()


def get_own_review_appeal(appellant: User, appeal_id: UUID) -> ReviewAppeal:
    """An appeal about a review that one made oneself. Raises: ReviewAppealNotFound."""
    appeal = ReviewAppeal.objects.filter(appellant=appellant, pk=appeal_id).first()
    if appeal is None:
        raise ReviewAppealNotFound
    return appeal


def get_application(applicant: User) -> TunerApplication:
    """One's own application. Raises: ApplicationNotFound."""
    application = TunerApplication.objects.filter(applicant=applicant).first()
    if application is None:
        raise ApplicationNotFound
    return application


def list_certifications(owner: User) -> QuerySet[TunerCertification]:
    """One's own documents."""
    return TunerCertification.objects.filter(owner=owner)


def queue_position(application: TunerApplication) -> int | None:
    """Its place in the queue, from 1; None when it is not in it."""
    if application.status != ApplicationStatus.SUBMITTED:
        return None
    ahead = Q(queued_at__lt=application.queued_at) | Q(queued_at=application.queued_at, pk__lte=application.pk)
    return TunerApplication.objects.filter(ahead, status=ApplicationStatus.SUBMITTED).count()


def median_wait_hours(*, at: datetime) -> float | None:
    """The median time from submission to decision over 90 days, in hours; None while nothing was decided."""
    decided = TunerApplication.objects.filter(decided_at__gt=at - MEDIAN_OVER).exclude(status=ApplicationStatus.DRAFT)
    wait = ExpressionWrapper(F("decided_at") - F("submitted_at"), output_field=DurationField())
    median = decided.aggregate(median=Median(wait))["median"]
    return None if median is None else round(median.total_seconds() / 3600, 1)


def publish_blockers(profile: TunerProfile, user: User, *, at: datetime) -> list[str]:
    """Why this tuner can't publish now; empty when they can. The order is that of PublishBlocker."""
    blockers = []
    if not user.mfa_enabled:
        blockers.append(PublishBlocker.MFA_REQUIRED)
    if not profile.is_active:
        blockers.append(PublishBlocker.TUNER_SUSPENDED)
    accepted = TunerCertification.objects.filter(owner_id=profile.user_id, verdict=CertificationVerdict.ACCEPTED).aggregate(
        all=Count("pk"), current=Count("pk", filter=Q(expires_on__gte=at.date()))
    )
    if accepted["all"] and not accepted["current"]:
        blockers.append(PublishBlocker.CERTIFICATION_EXPIRED)
    return [blocker.value for blocker in blockers]


def find_appeal(profile: TunerProfile) -> SuspensionAppeal | None:
    """The appeal against the present suspension, if there is one."""
    if profile.suspended_at is None:
        return None
    return SuspensionAppeal.objects.filter(tuner=profile, suspended_at=profile.suspended_at).first()


def standing_of(application: TunerApplication, *, at: datetime) -> dict[str, Any]:
    """What an applicant is told beside their own words: place, median wait and the reasons to act on."""
    reasons: list[dict[str, Any]] = []
    code = REASON_CODES.get(application.status)
    if code is not None:
        reasons.append({"code": code, "detail": application.decision_reason, "certification": None})
    reasons += [
        {"code": "certification_refused", "detail": row.verdict_reason, "certification": row.pk}
        for row in refused_certifications(application.applicant_id)
    ]
    return {"queue_position": queue_position(application), "median_wait_hours": median_wait_hours(at=at), "reasons": reasons}


def get_certification(owner: User, certification_id: UUID) -> TunerCertification:
    """One's own document. Raises: CertificationNotFound."""
    certification = TunerCertification.objects.filter(owner=owner, pk=certification_id).first()
    if certification is None:
        raise CertificationNotFound
    return certification


def get_own_report(reporter: User, report_id: UUID) -> ReviewReport:
    """A report that one made oneself. Raises: ReportNotFound."""
    report = ReviewReport.objects.filter(reporter=reporter, pk=report_id).first()
    if report is None:
        raise ReportNotFound
    return report


def get_own_appeal(user: User, appeal_id: UUID) -> SuspensionAppeal:
    """An appeal that one made oneself. Raises: AppealNotFound."""
    appeal = SuspensionAppeal.objects.filter(tuner__user=user, pk=appeal_id).first()
    if appeal is None:
        raise AppealNotFound
    return appeal


def refused_certifications(owner_id: UUID) -> list[TunerCertification]:
    """One's own documents that were refused, newest first: reasons to act on."""
    return list(TunerCertification.objects.filter(owner_id=owner_id, verdict=CertificationVerdict.REFUSED).order_by("-created_at", "-pk"))
