"""A verified buyer's word, the reply, reports, moderation, and numbers that stay exact."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction

from core import clock
from core.exceptions import PermissionRefused, StaleRevision
from core.ids import new_id
from core.models import AuditEvent
from core.testing.http import client_for
from core.testing.races import race, without_index
from tuners import listeners, services
from tuners.enums import ReportState, ReviewState
from tuners.exceptions import (
    AlreadyReported,
    AlreadyReviewed,
    OwnApplication,
    OwnReview,
    OwnTuner,
    ReportAlreadyDecided,
    ReviewHidden,
    ReviewNotFound,
    ReviewNotHidden,
    ReviewNotPublished,
)
from tuners.models import TunerFollow, TunerReview, TunerReviewEdit
from tuners.services.reviews import READ_IT
from tuners.tests.factories import ReviewReportFactory, TunerProfileFactory, TunerReviewFactory
from users.models import Notice
from users.tests.factories import UserFactory

NOW = clock.now()


def post(author, tuner, *, tune_id=None, rating=5):
    return services.post_review(
        author=author, tuner_id=tuner.pk, tune_id=tune_id or new_id(), tune_version_id=new_id(), rating=rating, text="Good.", at=NOW
    )


def figures(tuner):
    tuner.refresh_from_db()
    return tuner.rating_sum, tuner.review_count


@pytest.fixture
def told():
    """What a listener of the marketplace would hear."""
    heard = []

    def listener(*, tune_id, rating_delta, count_delta):
        heard.append((tune_id, rating_delta, count_delta))

    kept = list(listeners._reviews)
    listeners._reviews[:] = [listener]
    yield heard
    listeners._reviews[:] = kept


@pytest.mark.django_db
class TestPost:
    def test_counts_for_the_tuner_and_the_tune(self, told):
        tuner = TunerProfileFactory()

        review = post(UserFactory(), tuner, rating=4)

        assert figures(tuner) == (4, 1)
        assert told == [(review.tune_id, 4, 1)]
        assert Notice.objects.filter(user=tuner.user, type="REVIEW").count() == 1

    def test_is_one_per_buyer_and_tune(self):
        tuner, buyer, tune_id = TunerProfileFactory(), UserFactory(), new_id()
        first = post(buyer, tuner, tune_id=tune_id)

        with pytest.raises(AlreadyReviewed) as refusal:
            post(buyer, tuner, tune_id=tune_id)
        assert refusal.value.members == {"review_id": first.pk}
        post(buyer, tuner)
        assert figures(tuner) == (10, 2)

    def test_is_not_for_oneself(self):
        tuner = TunerProfileFactory()

        with pytest.raises(OwnTuner):
            post(tuner.user, tuner)

    def test_after_deleting_it_another_can_be_posted_but_not_after_it_was_hidden(self):
        tuner = TunerProfileFactory()
        deleted, hidden = TunerReviewFactory(tuner=tuner), TunerReviewFactory(tuner=tuner, hidden=True)
        for review in (deleted, hidden):
            services.delete_review(author=review.buyer, review_id=review.pk, at=NOW)

        post(deleted.buyer, tuner, tune_id=deleted.tune_id)
        with pytest.raises(AlreadyReviewed):
            post(hidden.buyer, tuner, tune_id=hidden.tune_id)

    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [
            ({"rating": 0}, "tunerreview_rating_1_to_5"),
            ({"rating": 6}, "tunerreview_rating_1_to_5"),
            ({"state": "HIDDEN"}, "tunerreview_times_fit_state"),
            ({"reply": "Thanks"}, "tunerreview_reply_iff_time"),
        ],
    )
    def test_postgres_refuses(self, changes, constraint):
        review = TunerReviewFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            TunerReview.objects.filter(pk=review.pk).update(**changes)


@pytest.mark.django_db
class TestChange:
    def test_moves_the_numbers_by_the_difference_and_keeps_what_it_said(self, told):
        review = TunerReviewFactory(rating=2, text="Poor.")

        services.edit_review(author=review.buyer, review_id=review.pk, rating=5, text="They fixed it.", at=NOW)

        assert figures(review.tuner) == (5, 1)
        assert told == [(review.tune_id, 3, 0)]
        assert list(TunerReviewEdit.objects.values_list("rating", "text")) == [(2, "Poor.")]

    def test_the_same_again_changes_nothing(self):
        review = TunerReviewFactory()

        services.edit_review(author=review.buyer, review_id=review.pk, rating=review.rating, text=review.text, at=NOW)

        review.refresh_from_db()
        assert (review.revision, review.edited_at) == (1, None)

    def test_refuses_a_stale_revision_a_hidden_one_and_a_foreign_one(self):
        review, hidden = TunerReviewFactory(revision=2), TunerReviewFactory(hidden=True)

        with pytest.raises(StaleRevision):
            services.edit_review(author=review.buyer, review_id=review.pk, rating=1, revision=1, at=NOW)
        with pytest.raises(ReviewHidden):
            services.edit_review(author=hidden.buyer, review_id=hidden.pk, rating=1, at=NOW)
        with pytest.raises(ReviewNotFound):
            services.edit_review(author=UserFactory(), review_id=review.pk, rating=1, at=NOW)

    def test_no_notice_keeps_words_that_may_be_taken_back(self):
        author, tuner = UserFactory(), TunerProfileFactory()
        review = services.post_review(
            author=author, tuner_id=tuner.pk, tune_id=new_id(), tune_version_id=new_id(), rating=1, text="Words of anger.", at=NOW,
            vehicle_label="Yamaha MT-09 2021",
        )  # fmt: skip
        services.reply_to_review(user=tuner.user, review_id=review.pk, text="More anger.", at=NOW)

        said = dict(Notice.objects.values_list("user", "body"))

        assert said == {tuner.user_id: "Yamaha MT-09 2021", author.pk: READ_IT}

    def test_deleting_takes_text_history_and_numbers(self):
        review = TunerReviewFactory(replied=True)
        services.edit_review(author=review.buyer, review_id=review.pk, rating=1, at=NOW)

        services.delete_review(author=review.buyer, review_id=review.pk, at=NOW)

        review.refresh_from_db()
        assert (review.state, review.text, review.reply) == (ReviewState.DELETED, "", "")
        assert figures(review.tuner) == (0, 0)
        assert not TunerReviewEdit.objects.exists()
        with pytest.raises(ReviewNotFound):
            services.delete_review(author=review.buyer, review_id=review.pk, at=NOW)


@pytest.mark.django_db
class TestModeration:
    def test_hiding_and_restoring_moves_the_numbers_and_tells_the_author(self, told):
        review, admin = TunerReviewFactory(rating=3), UserFactory(admin=True)

        services.hide_review(review_id=review.pk, actor=admin, reason="Insult.", at=NOW)
        assert figures(review.tuner) == (0, 0)
        services.restore_review(review_id=review.pk, actor=admin, reason="It was irony.", at=NOW)

        assert figures(review.tuner) == (3, 1)
        assert told == [(review.tune_id, -3, -1), (review.tune_id, 3, 1)]
        assert Notice.objects.filter(user=review.buyer).count() == 2
        acts = AuditEvent.objects.filter(subject_id=review.pk).order_by("pk").values_list("act", "reason")
        assert list(acts) == [("review.hidden", "Insult."), ("review.restored", "It was irony.")]

    def test_refuses_what_is_so_already(self):
        admin = UserFactory(admin=True)

        with pytest.raises(ReviewNotPublished):
            services.hide_review(review_id=TunerReviewFactory(hidden=True).pk, actor=admin, reason="Insult.", at=NOW)
        with pytest.raises(ReviewNotHidden):
            services.restore_review(review_id=TunerReviewFactory().pk, actor=admin, reason="Fine.", at=NOW)

    def test_upholding_one_report_upholds_all_of_that_review(self):
        report = ReviewReportFactory()
        other = ReviewReportFactory(review=report.review)

        services.uphold_report(report_id=report.pk, actor=UserFactory(admin=True), reason="Insult.", at=NOW)

        for row in (report, other):
            row.refresh_from_db()
            assert row.state == ReportState.UPHELD
        with pytest.raises(ReportAlreadyDecided):
            services.dismiss_report(report_id=other.pk, actor=UserFactory(admin=True), reason="No.", at=NOW)

    def test_dismissing_leaves_the_review(self):
        report = ReviewReportFactory()

        services.dismiss_report(report_id=report.pk, actor=UserFactory(admin=True), reason="A fair opinion.", at=NOW)

        report.refresh_from_db()
        assert (report.state, report.review.state) == (ReportState.DISMISSED, ReviewState.PUBLISHED)

    def test_is_for_staff_and_not_about_oneself(self):
        admin = UserFactory(admin=True)
        own = TunerReviewFactory(buyer=admin)

        with pytest.raises(OwnApplication):
            services.hide_review(review_id=own.pk, actor=admin, reason="Mine.", at=NOW)
        with pytest.raises(PermissionRefused):
            services.hide_review(review_id=own.pk, actor=own.tuner.user, reason="Unfair.", at=NOW)


@pytest.mark.django_db
class TestReplyAndReport:
    def test_the_tuner_replies_and_the_author_hears_once(self):
        review = TunerReviewFactory()
        api = client_for(review.tuner.user)

        answers = [api.post(f"tuners/reviews/{review.pk}/reply/", {"text": text}) for text in ("Thank you.", "Thanks!")]

        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[1].json()["reply"]["text"] == "Thanks!"
        assert Notice.objects.filter(user=review.buyer).count() == 1

    def test_nobody_else_replies(self):
        review = TunerReviewFactory()

        assert client_for(TunerProfileFactory().user).post(f"tuners/reviews/{review.pk}/reply/", {"text": "Hm."}).status_code == 404
        assert client_for(review.buyer).post(f"tuners/reviews/{review.pk}/reply/", {"text": "Hm."}).status_code == 403

    def test_a_suspended_tuner_does_not_reply(self):
        review = TunerReviewFactory(tuner=TunerProfileFactory(suspended=True))

        answer = client_for(review.tuner.user).post(f"tuners/reviews/{review.pk}/reply/", {"text": "Hm."})

        assert (answer.status_code, answer.json()["code"]) == (403, "tuner_suspended")

    def test_a_report_is_made_once_and_not_by_the_author(self):
        review = TunerReviewFactory()
        api = client_for(UserFactory())

        made = api.post(f"tuners/reviews/{review.pk}/report/", {"reason": "ABUSE", "text": "He calls us names."})

        assert (made.status_code, made.json()["state"]) == (201, "OPEN")
        assert api.post(f"tuners/reviews/{review.pk}/report/", {"reason": "SPAM"}).json()["code"] == AlreadyReported.code
        assert client_for(review.buyer).post(f"tuners/reviews/{review.pk}/report/", {"reason": "SPAM"}).json()["code"] == OwnReview.code

    def test_hidden_and_deleted_ones_are_not_there(self):
        api = client_for(UserFactory())
        for trait in ("hidden", "deleted"):
            review = TunerReviewFactory(**{trait: True})
            assert api.post(f"tuners/reviews/{review.pk}/report/", {"reason": "SPAM"}).status_code == 404


@pytest.mark.django_db
class TestOverHttp:
    def test_own_review_is_changed_and_deleted(self):
        review = TunerReviewFactory(rating=4)
        api = client_for(review.buyer)

        changed = api.patch(f"tuners/reviews/{review.pk}/", {"rating": 2}, headers={"If-Match": '"1"'})

        assert (changed.status_code, changed.json()["rating"], changed.json()["revision"]) == (200, 2, 2)
        assert changed.json()["edited_at"] is not None
        assert changed.json()["author"] == {"id": str(review.buyer_id), "display_name": review.buyer.display_name}
        assert api.patch(f"tuners/reviews/{review.pk}/", {"rating": 3}, headers={"If-Match": '"1"'}).status_code == 412
        assert api.delete(f"tuners/reviews/{review.pk}/").status_code == 204
        assert api.patch(f"tuners/reviews/{review.pk}/", {"rating": 3}).status_code == 404

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"rating": 0}, "/rating"),
            ({"rating": "5"}, "/rating"),
            ({"rating": True}, "/rating"),
            ({"state": "PUBLISHED"}, "/state"),
            ({"text": "a\u202eb"}, "/text"),
        ],
    )
    def test_bad_input_is_named(self, body, pointer):
        review = TunerReviewFactory()

        answer = client_for(review.buyer).patch(f"tuners/reviews/{review.pk}/", body)

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)

    def test_somebody_elses_is_not_found(self):
        review = TunerReviewFactory()
        api = client_for(UserFactory())

        assert api.patch(f"tuners/reviews/{review.pk}/", {"rating": 1}).status_code == 404
        assert api.delete(f"tuners/reviews/{review.pk}/").status_code == 404


@pytest.mark.django_db(transaction=True)
class TestManyAtOnce:
    """The aggregates are what riders choose by: no writer's effect is lost or counted twice."""

    def test_fifty_writers_leave_exact_numbers(self):
        tuner = TunerProfileFactory()
        buyers = UserFactory.create_batch(50)

        def write(number):
            try:
                review = post(buyers[number], tuner, rating=number % 5 + 1)
                if number % 5 == 0:
                    services.edit_review(author=buyers[number], review_id=review.pk, rating=5, at=NOW)
                if number % 10 == 1:
                    services.delete_review(author=buyers[number], review_id=review.pk, at=NOW)
                services.follow_tuner(follower=buyers[number], tuner_id=tuner.pk, at=NOW)
            finally:
                connection.close()

        with ThreadPoolExecutor(max_workers=50) as pool:
            list(pool.map(write, range(50)))

        kept = list(TunerReview.objects.published().values_list("rating", flat=True))
        assert figures(tuner) == (sum(kept), len(kept)) == (sum(kept), 45)
        assert tuner.follower_count == TunerFollow.objects.count() == 50

    def test_two_edits_at_once_leave_the_last_rating(self):
        review = TunerReviewFactory(rating=1)

        assert race(lambda: services.edit_review(author=review.buyer, review_id=review.pk, rating=5, at=NOW)) == ["ok", "ok"]
        assert figures(review.tuner) == (5, 1)

    def test_control_without_the_lock_the_rating_is_counted_twice(self):
        review = TunerReviewFactory(rating=1)
        TunerReviewFactory(tuner=review.tuner, rating=1)

        race(lambda: services.edit_review(author=review.buyer, review_id=review.pk, rating=3, at=NOW), row_locks=False)

        assert figures(review.tuner) == (6, 2)  # 1 + 1 + 2 + 2: the true sum is 4

    def test_twenty_taps_are_one_review(self):
        tuner, buyer, tune_id = TunerProfileFactory(), UserFactory(), new_id()

        outcomes = race(lambda: post(buyer, tuner, tune_id=tune_id), times=20)

        assert outcomes == ["already_reviewed"] * 19 + ["ok"]
        assert figures(tuner) == (5, 1)

    def test_control_without_the_constraint_two_taps_are_two_voices(self):
        tuner, buyer, tune_id = TunerProfileFactory(), UserFactory(), new_id()

        with without_index("tunerreview_one_per_buyer_and_tune", TunerReview):
            assert race(lambda: post(buyer, tuner, tune_id=tune_id)) == ["ok", "ok"]
            assert figures(tuner) == (10, 2)

    def test_twenty_taps_are_one_follower(self):
        tuner, rider = TunerProfileFactory(), UserFactory()

        race(lambda: services.follow_tuner(follower=rider, tuner_id=tuner.pk, at=NOW), times=20)

        tuner.refresh_from_db()
        assert tuner.follower_count == 1

    def test_two_admins_hide_once(self):
        review, admin = TunerReviewFactory(rating=4), UserFactory(admin=True)

        outcomes = race(lambda: services.hide_review(review_id=review.pk, actor=admin, reason="Insult.", at=NOW))

        assert outcomes == ["ok", "review_not_published"]
        assert figures(review.tuner) == (0, 0)
