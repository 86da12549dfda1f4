"""Reports of reviews, what staff decide of them, the one appeal against it, and the mark of a refunded buyer."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from core import clock, invariants
from core.exceptions import PermissionRefused
from core.models import AuditEvent
from core.testing.admin import admin_client, decide, list_of, list_queries, page_of
from core.testing.http import ApiClient, client_for
from core.testing.races import race, race_all, without_index
from tuners import review_checks, services
from tuners.enums import ReportState, ReviewAppealState, ReviewState
from tuners.exceptions import (
    NothingToAppeal,
    OwnApplication,
    ReviewAppealAlreadyDecided,
    ReviewAppealExists,
    ReviewNotFound,
)
from tuners.models import ReviewAppeal, ReviewReport, TunerReview
from tuners.tests.factories import ReviewAppealFactory, ReviewReportFactory, TunerReviewFactory
from users.models import Notice
from users.tests.factories import UserFactory

NOW = clock.now()


def staff():
    return UserFactory(admin=True, mfa=True)


def appeal(user, review, *, at=NOW):
    return services.appeal_review_decision(user=user, review_id=review.pk, text="Look again.", at=at)


def judge(row, *, accepted, actor=None, at=NOW):
    return services.decide_review_appeal(appeal_id=row.pk, accepted=accepted, actor=actor or staff(), reason="Looked again.", at=at)


def told(user):
    return list(Notice.objects.filter(user=user).order_by("created_at", "pk").values_list("title", "body"))


def figures(review):
    review.tuner.refresh_from_db()
    return review.tuner.rating_sum, review.tuner.review_count


def sound():
    """What `verify_invariants` proves of tuners."""
    names = ("tuners count their reviews", "reports and appeals of reviews are where their review is")
    found = dict(invariants.verify())
    assert {name: found[name] for name in names} == {name: [] for name in names}


@pytest.mark.django_db
class TestReports:
    def test_whoever_reported_is_told_what_was_decided_and_why(self):
        upheld, dismissed = ReviewReportFactory(), ReviewReportFactory()

        services.uphold_report(report_id=upheld.pk, actor=staff(), reason="Insult.", at=NOW)
        services.dismiss_report(report_id=dismissed.pk, actor=staff(), reason="A fair opinion.", at=NOW)

        assert told(upheld.reporter) == [("The review that you reported was hidden", "Insult.")]
        assert told(upheld.review.buyer) == [("Your review was hidden", "Insult. You can appeal once.")]
        assert told(dismissed.reporter) == [("The review that you reported stays", "A fair opinion. You can appeal once.")]
        assert told(dismissed.review.buyer) == []

    def test_what_the_author_deletes_is_moot(self):
        report = ReviewReportFactory()
        objection = ReviewAppealFactory(of_reporter=True, report__review=report.review)

        services.delete_review(author=report.review.buyer, review_id=report.review_id, at=NOW)

        report.refresh_from_db()
        objection.refresh_from_db()
        assert (report.state, objection.state) == (ReportState.MOOT, ReviewAppealState.MOOT)
        with pytest.raises(ReviewAppealAlreadyDecided):
            judge(objection, accepted=True)
        sound()

    def test_what_was_decided_is_reported_again_once_its_author_changed_it(self):
        report = ReviewReportFactory()
        review, api = report.review, client_for(report.reporter)

        def report_again():
            return api.post(f"tuners/reviews/{review.pk}/report/", {"reason": "ABUSE", "text": "Now it is worse."})

        def edit(text, at):
            services.edit_review(author=review.buyer, review_id=review.pk, text=text, at=at)

        edit("Changed before anybody decided.", NOW)
        assert report_again().json()["code"] == "already_reported", "the first one is still open"
        services.dismiss_report(report_id=report.pk, actor=staff(), reason="A fair opinion.", at=NOW + timedelta(hours=1))
        assert report_again().json()["code"] == "already_reported", "staff saw what it says"
        edit("An insult.", NOW + timedelta(hours=2))

        again = report_again()

        assert (again.status_code, report_again().status_code) == (201, 409)
        shown = api.get(f"tuners/reviews/{review.pk}/").json()["report"]
        assert (shown["id"], shown["state"]) == (again.json()["id"], "OPEN")
        with pytest.raises(NothingToAppeal):  # it is the new one that counts
            appeal(report.reporter, review)
        services.dismiss_report(report_id=again.json()["id"], actor=staff(), reason="Still fair.", at=NOW + timedelta(hours=3))
        assert appeal(report.reporter, review).report_id == UUID(again.json()["id"])
        sound()

    def test_who_reported_and_appealed_is_told_once_that_it_was_hidden(self):
        first = ReviewAppealFactory(of_reporter=True).report
        services.edit_review(author=first.review.buyer, review_id=first.review_id, text="An insult.", at=clock.now())
        second = services.report_review(reporter=first.reporter, review_id=first.review_id, reason="ABUSE", text="", at=clock.now())

        services.uphold_report(report_id=second.pk, actor=staff(), reason="Insult.", at=clock.now())

        assert told(first.reporter) == [("The review that you reported was hidden", "Insult.")]
        assert set(ReviewReport.objects.values_list("state", flat=True)) == {ReportState.UPHELD}
        sound()

    def test_staff_read_what_it_said_when_it_was_reported(self):
        review = TunerReviewFactory(text="An insult.")
        report = ReviewReportFactory(review=review)
        assert "when it was reported" not in page_of(admin_client(), report)

        services.edit_review(author=review.buyer, review_id=review.pk, text="Not so good.", at=clock.now())

        page = page_of(admin_client(), report)
        assert "when it was reported" in page and "An insult." in page and "Not so good." in page

        dismissed = ReviewAppealFactory(of_reporter=True)
        services.edit_review(author=dismissed.review.buyer, review_id=dismissed.review_id, text="Not so good.", at=clock.now())
        assert "when it was decided" in page_of(admin_client(), dismissed)

    def test_postgres_knows_one_open_report_of_each_person(self):
        report = ReviewReportFactory()

        with pytest.raises(IntegrityError, match="reviewreport_one_open_per_reporter"), transaction.atomic():
            ReviewReportFactory(review=report.review, reporter=report.reporter)

    def test_postgres_wants_a_reason(self):
        report, objection = ReviewReportFactory(), ReviewAppealFactory()

        with pytest.raises(IntegrityError, match="reviewreport_decision_has_reason"), transaction.atomic():
            ReviewReport.objects.filter(pk=report.pk).update(state="DISMISSED", decided_at=NOW, decided_by_id=staff().pk)
        with pytest.raises(IntegrityError, match="reviewappeal_decision_has_reason"), transaction.atomic():
            ReviewAppeal.objects.filter(pk=objection.pk).update(state="REJECTED", decided_at=NOW, decided_by_id=staff().pk)
        with pytest.raises(IntegrityError, match="reviewappeal_never_own_decision"), transaction.atomic():
            ReviewAppeal.objects.filter(pk=objection.pk).update(
                state="REJECTED", decided_at=NOW, decided_by_id=objection.appellant_id, decision_reason="Mine."
            )


@pytest.mark.django_db
class TestAppeals:
    def test_the_author_of_a_hidden_review_is_heard_and_it_counts_again(self):
        review = TunerReviewFactory(rating=2)
        report = ReviewReportFactory(review=review)
        services.uphold_report(report_id=report.pk, actor=staff(), reason="Insult.", at=NOW)
        assert figures(review) == (0, 0)

        objection = appeal(review.buyer, review)
        judge(objection, accepted=True, at=NOW + timedelta(hours=1))

        review.refresh_from_db()
        objection.refresh_from_db()
        assert (review.state, objection.state, figures(review)) == (ReviewState.PUBLISHED, ReviewAppealState.ACCEPTED, (2, 1))
        assert told(review.buyer)[-1] == ("Your review is public again", "Looked again.")
        assert told(report.reporter)[-1] == ("The review that you reported is public again", "Looked again.")
        acts = AuditEvent.objects.filter(subject_id=objection.pk).order_by("pk").values_list("act", flat=True)
        assert list(acts) == ["review_appeal.made", "review_appeal.accepted"]
        sound()

    def test_a_rejected_one_is_told_and_was_the_only_one(self):
        objection = ReviewAppealFactory()

        judge(objection, accepted=False)

        objection.refresh_from_db()
        assert (objection.state, objection.review.state) == (ReviewAppealState.REJECTED, ReviewState.HIDDEN)
        assert told(objection.appellant) == [("Your appeal was rejected", "Looked again.")]
        with pytest.raises(ReviewAppealExists):
            appeal(objection.appellant, objection.review)

    def test_the_reporter_of_a_dismissed_report_is_heard_and_then_the_author_once(self):
        report = ReviewReportFactory()
        services.dismiss_report(report_id=report.pk, actor=staff(), reason="A fair opinion.", at=NOW)

        judge(appeal(report.reporter, report.review), accepted=True)

        report.refresh_from_db()
        assert (report.state, report.review.state, figures(report.review)) == (ReportState.UPHELD, ReviewState.HIDDEN, (0, 0))
        assert told(report.review.buyer)[-1][0] == "Your review was hidden"
        judge(appeal(report.review.buyer, report.review), accepted=True, at=NOW + timedelta(hours=1))
        report.review.refresh_from_db()
        assert report.review.state == ReviewState.PUBLISHED
        for person in (report.reporter, report.review.buyer):
            with pytest.raises(NothingToAppeal):
                appeal(person, report.review)
        sound()

    def test_nothing_went_against_them(self):
        open_report = ReviewReportFactory()
        review = open_report.review

        for person in (review.buyer, open_report.reporter, review.tuner.user, UserFactory()):
            with pytest.raises(NothingToAppeal):
                appeal(person, review)

    def test_a_hidden_review_of_somebody_else_is_a_missing_one(self):
        hidden, deleted = TunerReviewFactory(hidden=True), TunerReviewFactory(deleted=True)

        for person, review in ((UserFactory(), hidden), (deleted.buyer, deleted)):
            with pytest.raises(ReviewNotFound):
                appeal(person, review)

    def test_what_staff_do_by_themselves_accepts_who_asked_for_it(self):
        of_author, of_reporter = ReviewAppealFactory(), ReviewAppealFactory(of_reporter=True)

        services.restore_review(review_id=of_author.review_id, actor=staff(), reason="It was irony.", at=NOW)
        services.hide_review(review_id=of_reporter.review_id, actor=staff(), reason="An insult after all.", at=NOW)

        for objection in (of_author, of_reporter):
            objection.refresh_from_db()
            assert objection.state == ReviewAppealState.ACCEPTED
        assert ReviewReport.objects.get().state == ReportState.UPHELD
        sound()

    def test_another_hiding_is_another_decision(self):
        objection = ReviewAppealFactory()
        judge(objection, accepted=True)
        services.hide_review(review_id=objection.review_id, actor=staff(), reason="Something else.", at=NOW + timedelta(days=1))

        again = appeal(objection.appellant, objection.review)

        assert again.against_at == NOW + timedelta(days=1)

    def test_nobody_decides_about_themselves_and_only_staff_do(self):
        own = ReviewAppealFactory(review=TunerReviewFactory(hidden=True, buyer=staff()))
        reported = ReviewAppealFactory(of_reporter=True, report__reporter=staff())

        for objection in (own, reported):
            with pytest.raises(OwnApplication):
                judge(objection, accepted=True, actor=objection.appellant)
        with pytest.raises(PermissionRefused):
            judge(own, accepted=True, actor=own.review.tuner.user)

    def test_over_http(self):
        objection = ReviewAppealFactory()
        hidden = TunerReviewFactory(hidden=True)
        url = f"tuners/reviews/{hidden.pk}/appeal/"
        api = client_for(hidden.buyer)

        made = api.post(url, {"text": "It was irony."})

        assert (made.status_code, made.json()["state"], made.json()["report"]) == (201, "OPEN", None)
        again = api.post(url, {"text": "Again."})
        assert (again.status_code, again.json()["code"]) == (409, "review_appeal_exists")
        assert api.post(url, {"text": ""}).status_code == 400
        assert client_for(objection.appellant).post(url, {"text": "Mine?"}).status_code == 404
        assert ApiClient().post(url, {"text": "Hm."}).status_code == 401

    def test_staff_decide_in_the_admin_with_a_reason(self):
        of_author, of_reporter, client = ReviewAppealFactory(), ReviewAppealFactory(of_reporter=True), admin_client()

        assert of_author.text in list_of(client, ReviewAppeal, state__exact="OPEN")
        assert of_author.review.hidden_reason in page_of(client, of_author)
        assert of_reporter.report.decision_reason in page_of(client, of_reporter)
        assert decide(client, of_author, "accept").status_code == 200, "asks for the reason"
        assert decide(client, of_author, "accept", reason="It was irony.").status_code == 302
        assert decide(client, of_reporter, "reject", reason="A fair opinion.").status_code == 302

        of_author.review.refresh_from_db()
        of_reporter.refresh_from_db()
        assert (of_author.review.state, of_reporter.state) == (ReviewState.PUBLISHED, ReviewAppealState.REJECTED)


@pytest.mark.django_db
class TestQueue:
    def test_what_is_due_first_comes_first_and_overdue_is_marked(self):
        spam = ReviewReportFactory(reason="SPAM", text="spam of yesterday", created_at=clock.now() - timedelta(hours=25))
        abuse = ReviewReportFactory(reason="ABUSE", text="abuse of today", created_at=clock.now() - timedelta(hours=20))
        late = ReviewReportFactory(reason="OTHER", text="something late", created_at=clock.now() - timedelta(hours=73))

        shown = list_of(admin_client(), ReviewReport, state__exact="OPEN")

        assert sorted((late, abuse, spam), key=lambda report: shown.index(report.text)) == [late, abuse, spam]
        assert shown.count("overdue since") == 1

    def test_what_is_overdue_is_told_to_who_runs_it_and_to_staff(self):
        def told_now():
            [finding], [gauge] = review_checks.check_reviews(), review_checks.ReviewsCollector().collect()
            front_page = admin_client().get("/admin/").content.decode()
            return finding.level, gauge.samples[0].value, "should have been decided by now" in front_page

        for hours, facts in ((71, {"reason": "SPAM"}), (23, {"reason": "ABUSE"}), (200, {"dismissed": True})):
            ReviewReportFactory(created_at=clock.now() - timedelta(hours=hours), **facts)
        ReviewAppealFactory(created_at=clock.now() - timedelta(hours=71))
        assert told_now() == ("ok", 0, False)

        ReviewReportFactory(reason="ABUSE", created_at=clock.now() - timedelta(hours=25))
        ReviewAppealFactory(created_at=clock.now() - timedelta(hours=73))

        assert told_now() == ("warn", 2, True)

    def test_its_list_takes_the_same_queries_for_more(self):
        client = admin_client()
        ReviewReportFactory()
        few = list_queries(client, ReviewReport)
        ReviewReportFactory.create_batch(5)

        assert list_queries(client, ReviewReport) == few

    def test_edits_are_for_staff(self):
        review = TunerReviewFactory(text="Poor, and he never answers.")
        services.edit_review(author=review.buyer, review_id=review.pk, text="They fixed it.", at=NOW)

        assert "Poor, and he never answers." in page_of(admin_client(), review)
        for api in (ApiClient(), client_for(review.tuner.user), client_for(review.buyer)):
            answer = api.get(f"tuners/reviews/{review.pk}/")
            assert "Poor" not in answer.content.decode() and answer.json()["edited_at"] is not None


@pytest.mark.django_db
class TestOneReview:
    def test_each_sees_what_concerns_them(self):
        report = ReviewReportFactory()
        services.uphold_report(report_id=report.pk, actor=staff(), reason="Insult.", at=NOW)
        review, url = report.review, f"tuners/reviews/{report.review_id}/"
        appeal(review.buyer, review)

        author, reporter = (client_for(user).get(url).json() for user in (review.buyer, report.reporter))

        assert (author["state"], author["hiding"]["reason"]) == ("HIDDEN", "Insult.")
        assert (author["appeal"]["state"], author["report"]) == ("OPEN", None)
        assert (reporter["hiding"], reporter["appeal"]) == (None, None)
        assert (reporter["report"]["state"], reporter["report"]["decision_reason"]) == ("UPHELD", "Insult.")
        for api in (ApiClient(), client_for(UserFactory()), client_for(review.tuner.user)):
            assert api.get(url).status_code == 404

    def test_a_published_one_is_everybodys_but_of_a_suspended_tuner(self):
        review, of_suspended = TunerReviewFactory(), TunerReviewFactory()
        services.suspend_tuner(tuner_id=of_suspended.tuner_id, actor=staff(), reason="CONDUCT", note="Rude.", at=NOW)

        shown = ApiClient().get(f"tuners/reviews/{review.pk}/")

        assert (shown.status_code, shown.json()["state"], shown.json()["hiding"]) == (200, "PUBLISHED", None)
        assert shown["Cache-Control"].startswith("public")
        assert ApiClient().get(f"tuners/reviews/{of_suspended.pk}/").status_code == 404
        assert client_for(of_suspended.buyer).get(f"tuners/reviews/{of_suspended.pk}/").status_code == 200

    def test_a_deleted_one_is_nobodys(self):
        review = TunerReviewFactory(deleted=True)

        assert client_for(review.buyer).get(f"tuners/reviews/{review.pk}/").status_code == 404

    @pytest.mark.parametrize("others", [0, 20])
    def test_takes_the_same_queries_however_many_reported_it(self, others, django_assert_num_queries):
        review = TunerReviewFactory()
        ReviewReportFactory.create_batch(others, review=review)
        api = client_for(review.buyer)
        api.get(f"tuners/reviews/{review.pk}/")

        with django_assert_num_queries(4):  # with the session's
            assert api.get(f"tuners/reviews/{review.pk}/").status_code == 200


@pytest.mark.django_db
class TestRefunded:
    def mark(self, review, *, is_refunded, is_counted):
        services.mark_refund(buyer_id=review.buyer_id, tune_id=review.tune_id, is_refunded=is_refunded, is_counted=is_counted, at=NOW)
        review.refresh_from_db()

    def test_it_is_marked_and_counts_on(self):
        review = TunerReviewFactory(rating=2)

        self.mark(review, is_refunded=True, is_counted=True)

        assert figures(review) == (2, 1)
        shown = ApiClient().get(f"tuners/{review.tuner_id}/reviews/").json()["results"][0]
        assert (shown["is_refunded"], shown["is_counted"]) == (True, True)

    def test_uncounted_it_is_read_and_not_counted_until_it_is_bought_anew(self):
        review = TunerReviewFactory(rating=5)

        for _ in range(2):
            self.mark(review, is_refunded=True, is_counted=False)
        assert figures(review) == (0, 0)
        assert ApiClient().get(f"tuners/reviews/{review.pk}/").json()["is_counted"] is False
        self.mark(review, is_refunded=False, is_counted=True)

        assert figures(review) == (5, 1)
        acts = AuditEvent.objects.filter(subject_id=review.pk).order_by("pk").values_list("act", flat=True)
        assert list(acts) == ["review.refund_marked", "review.refund_unmarked"]
        sound()

    def test_an_uncounted_one_moves_nothing_whatever_happens_to_it(self):
        review = TunerReviewFactory(uncounted=True, rating=1)

        services.edit_review(author=review.buyer, review_id=review.pk, rating=5, at=NOW)
        services.hide_review(review_id=review.pk, actor=staff(), reason="Spam.", at=NOW)
        assert figures(review) == (0, 0)
        self.mark(review, is_refunded=False, is_counted=True)
        assert figures(review) == (0, 0)
        services.restore_review(review_id=review.pk, actor=staff(), reason="No spam.", at=NOW)

        assert figures(review) == (5, 1)
        sound()

    def test_nobody_is_silenced_without_a_refund(self):
        with pytest.raises(IntegrityError, match="tunerreview_uncounted_only_when_refunded"), transaction.atomic():
            TunerReviewFactory(is_counted=False)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_twenty_taps_are_one_appeal(self):
        review = TunerReviewFactory(hidden=True)

        assert race(lambda: appeal(review.buyer, review), times=20) == ["ok"] + ["review_appeal_exists"] * 19
        assert ReviewAppeal.objects.count() == 1

    def test_control_without_the_lock_the_index_is_the_last_guard_and_without_it_two_taps_are_two(self):
        review = TunerReviewFactory(hidden=True)

        def two_taps():
            return race(lambda: appeal(review.buyer, review), row_locks=False, meet_after='FROM "tuners_reviewappeal"')

        with pytest.raises(IntegrityError, match="reviewappeal_one_per_hiding"):
            two_taps()
        ReviewAppeal.objects.all().delete()
        with without_index("reviewappeal_one_per_hiding", ReviewAppeal):
            assert two_taps() == ["ok", "ok"]
            assert ReviewAppeal.objects.count() == 2

    def test_two_admins_decide_once(self):
        objection = ReviewAppealFactory(review__rating=4)
        first, second = staff(), staff()

        outcomes = race_all([lambda actor=actor: judge(objection, accepted=True, actor=actor) for actor in (first, second)])

        assert outcomes == ["ok", "review_appeal_already_decided"]
        assert figures(objection.review) == (4, 1)

    def test_control_without_the_lock_it_is_decided_twice(self):
        objection, actor = ReviewAppealFactory(), staff()

        outcomes = race(
            lambda: judge(objection, accepted=False, actor=actor), row_locks=False, meet_after='"tuners_reviewappeal"."decision_reason"'
        )

        assert outcomes == ["ok", "ok"]
        assert AuditEvent.objects.filter(act="review_appeal.rejected").count() == 2

    def test_an_appeal_and_a_deletion_at_once_leave_nothing_open(self):
        review = TunerReviewFactory(hidden=True)

        race_all(
            [
                lambda: appeal(review.buyer, review),
                lambda: services.delete_review(author=review.buyer, review_id=review.pk, at=NOW),
            ]
        )

        assert TunerReview.objects.get().state == ReviewState.DELETED
        assert not ReviewAppeal.objects.filter(state=ReviewAppealState.OPEN).exists()
