"""HTTP for tuners: each method makes one domain call."""

from datetime import datetime
from typing import Any

from rest_framework.response import Response

from core.pagination import decode_cursor, encode_cursor
from core.views import ApiView
from tuners import selectors, services
from tuners.models import TunerApplication, TunerProfile
from tuners.serializers import (
    AppealOutput,
    ApplicationOutput,
    CertificationOutput,
    OwnTunerProfileOutput,
    ReviewAppealOutput,
    ReviewDetailOutput,
    ReviewOutput,
    ReviewReportOutput,
    TunerDetailOutput,
    render_tuner,
)


class TunerListView(ApiView):
    def get(self, request):
        """Suspended tuners are not in the list. `rating` orders by an average that counts a few unknown votes as four
        stars, so that one single five does not lead it; `popular` orders by followers."""
        params = self.params()
        bound_to = f"{params['ordering']}|{self.bound_to()}"
        after = decode_cursor(params["cursor"], bound_to=bound_to) if "cursor" in params else None
        page = selectors.list_tuners(params, ordering=params["ordering"], after=after, page_size=params["page_size"])
        cursor = None if page.after is None else encode_cursor(page.after, bound_to=bound_to)
        return Response({"next": self.next_url(cursor), "results": [render_tuner(row) for row in page.rows]})


class TunerDetailView(ApiView):
    def get(self, request, tuner):
        """The public page of an active tuner; `viewer` is null unless signed in."""
        profile = selectors.get_tuner(tuner)
        viewer = None if request.user is None else {"is_following": selectors.is_following(request.user, tuner)}
        return Response(TunerDetailOutput(profile, context={"viewer": viewer}).data)


class TunerReviewListView(ApiView):
    def get(self, request, tuner):
        """Published reviews of all the tuner's tunes, newest first."""
        profile = selectors.get_tuner(tuner)
        return self.page(selectors.list_reviews(profile.pk), selectors.NEWEST)


class FollowView(ApiView):
    def put(self, request, tuner):
        """Follow a tuner. Repeating it changes nothing."""
        services.follow_tuner(follower=request.user, tuner_id=tuner, at=self.at)
        return Response(status=204)

    def delete(self, request, tuner):
        """Stop following. Repeating it changes nothing."""
        services.unfollow_tuner(follower=request.user, tuner_id=tuner)
        return Response(status=204)


class ReviewView(ApiView):
    def get(self, request, review):
        """One review. Its author sees it hidden, too, with the reason; who reported it sees what was decided."""
        found = selectors.get_visible_review(review, request.user)
        return Response(ReviewDetailOutput(found, context={"viewer": request.user}).data)

    def patch(self, request, review):
        """Change the rating or the text of one's own review. Staff keep what it said before."""
        services.edit_review(author=request.user, review_id=review, revision=self.revision(), at=self.at, **self.body())
        return Response(ReviewOutput(selectors.get_review(review)).data)

    def delete(self, request, review):
        """Take one's own review back; the ratings no longer count it."""
        services.delete_review(author=request.user, review_id=review, at=self.at)
        return Response(status=204)


class ReviewReplyView(ApiView):
    def post(self, request, review):
        """Answer a review of oneself in public. A later answer replaces the first."""
        services.reply_to_review(user=request.user, review_id=review, at=self.at, **self.body())
        return Response(ReviewOutput(selectors.get_review(review)).data)


class ReviewReportView(ApiView):
    def post(self, request, review):
        """Tell staff that a review breaks the rules. Once for each person and review; again when its author has changed it since staff
        decided."""
        body = self.body()
        return self.create_once(
            lambda _claim: services.report_review(reporter=request.user, review_id=review, at=self.at, **body),
            render=lambda report: ReviewReportOutput(report).data,
            find=lambda report_id: selectors.get_own_report(request.user, report_id),
        )


class ReviewAppealView(ApiView):
    def post(self, request, review):
        """Appeal against a decision, once: as author against the hiding, as reporter against the dismissal of the report.

        Staff decide; the answer comes as a notice and stands in the review's `appeal`.
        """
        body = self.body()
        return self.create_once(
            lambda _claim: services.appeal_review_decision(user=request.user, review_id=review, at=self.at, **body),
            render=lambda appeal: ReviewAppealOutput(appeal).data,
            find=lambda appeal_id: selectors.get_own_review_appeal(request.user, appeal_id),
        )


class ApplicationView(ApiView):
    def get(self, request):
        """One's own application: its state, its place in the queue, the median wait and the reasons to act on."""
        return Response(self._render(selectors.get_application(request.user)))

    def post(self, request):
        """Start an application as a draft. A rejected one is taken up again by the same call once it has rested."""
        body = self.body()
        return self.create_once(
            lambda _claim: services.start_application(applicant=request.user, at=self.at, **body),
            render=self._render,
            find=lambda _id: selectors.get_application(request.user),
        )

    def patch(self, request):
        """Change a draft, or an application that more information was asked for."""
        application = services.change_application(applicant=request.user, revision=self.revision(), at=self.at, **self.body())
        return Response(self._render(application))

    def _render(self, application: TunerApplication) -> dict[str, Any]:
        return render_application(application, at=self.at)


class ApplicationSubmitView(ApiView):
    def post(self, request):
        """Put the application into the queue. A tuner's needs at least one certification that is not refused or expired."""
        return Response(render_application(services.submit_application(applicant=request.user, at=self.at), at=self.at))


def render_application(application: TunerApplication, *, at: datetime) -> dict[str, Any]:
    """The application with its standing."""
    return ApplicationOutput(application, context={"standing": selectors.standing_of(application, at=at)}).data


class CertificationListView(ApiView):
    def get(self, request):
        """One's own certifications with their verdicts, newest first."""
        return self.page(selectors.list_certifications(request.user), selectors.NEWEST)

    def post(self, request):
        """Add a certification from a READY upload of purpose CERTIFICATION. Applicants and tuners; renewals too."""
        body = self.body()
        return self.create_once(
            lambda _claim: services.add_certification(owner=request.user, at=self.at, **body),
            render=lambda certification: CertificationOutput(certification).data,
            find=lambda certification_id: selectors.get_certification(request.user, certification_id),
        )


class CertificationView(ApiView):
    def delete(self, request, certification):
        """Remove a certification that is neither accepted nor under review, and its file."""
        services.remove_certification(owner=request.user, certification_id=certification, at=self.at)
        return Response(status=204)


class OwnProfileView(ApiView):
    def get(self, request):
        """One's own profile in any state; `publish_blockers` names what stands in the way of publishing."""
        return Response(self._render(selectors.get_profile_of(request.user)))

    def patch(self, request):
        """Change what the public page says. Name, kind and country were verified: ask staff to change those."""
        profile = services.change_profile(user=request.user, revision=self.revision(), at=self.at, **self.body())
        return Response(self._render(profile))

    def _render(self, profile: TunerProfile) -> dict[str, Any]:
        context = {
            "appeal": selectors.find_appeal(profile),
            "publish_blockers": selectors.publish_blockers(profile, self.request.user, at=self.at),
        }
        return OwnTunerProfileOutput(profile, context=context).data


class AppealView(ApiView):
    def post(self, request):
        """Appeal against the present suspension, once. Staff decide; the answer comes as a notice."""
        body = self.body()
        return self.create_once(
            lambda _claim: services.appeal_suspension(user=request.user, at=self.at, **body),
            render=lambda appeal: AppealOutput(appeal).data,
            find=lambda appeal_id: selectors.get_own_appeal(request.user, appeal_id),
        )
