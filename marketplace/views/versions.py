"""Versions: a tuner's road to publication, and everybody's history."""

from rest_framework.response import Response

from core.views import ApiView
from marketplace.enums import InspectionVerdict
from marketplace.selectors import versions as selectors
from marketplace.selectors.tunes import get_public_tune
from marketplace.serializers.versions import ChangesOutput, OwnVersionOutput, VersionOutput
from marketplace.services import inspection, stops, versions
from marketplace.services.inspection import detected_of


class TuneVersionListView(ApiView):
    def get(self, request, tune):
        """A tune's history, newest first: what is on sale, on hold, recalled or withdrawn. Its tuner sees all the rest too."""
        found = get_public_tune(tune, request.user)
        return self.page(selectors.list_versions(found, request.user), selectors.NEWEST_VERSION)

    def post(self, request, tune):
        """Make a version of uploaded files. It is inspected at once (`VALIDATING`), then `VALIDATED` or `INVALID`."""
        facts = self.body()
        files = facts.pop("files")
        facts.setdefault("requirements", None)
        return self.create_once(
            lambda _claim: versions.create_version(author=request.user, tune_id=tune, facts=facts, files=files, at=self.at),
            render=lambda version: own_version(request.user, version.pk, at=self.at),
            find=lambda version_id: selectors.get_own_version(request.user, version_id),
        )


class VersionDetailView(ApiView):
    def get(self, request, version):
        """One version. Its tuner sees the inspection's findings and where it stands in the review, too."""
        found = selectors.get_version(version, request.user)
        if selectors.is_own(found, request.user):
            return Response(own_version(request.user, version, at=self.at, found=found))
        return Response(VersionOutput(found).data)

    def patch(self, request, version):
        """Change the words and claims of a version that is neither in review nor published. Files never change."""
        versions.update_version(author=request.user, version_id=version, changes=self.body(), revision=self.revision(), at=self.at)
        return Response(own_version(request.user, version, at=self.at))

    def delete(self, request, version):
        """Delete a version that was never published; its number is free again."""
        versions.delete_version(author=request.user, version_id=version, at=self.at)
        return Response(status=204)


class VersionSubmitView(ApiView):
    def post(self, request, version):
        """Put an inspected version into the review queue."""
        versions.submit_version(author=request.user, version_id=version, at=self.at)
        return Response(own_version(request.user, version, at=self.at))


class VersionCancelReviewView(ApiView):
    def post(self, request, version):
        """Take a version out of the review queue again."""
        versions.cancel_review(author=request.user, version_id=version, at=self.at)
        return Response(own_version(request.user, version, at=self.at))


class VersionWithdrawView(ApiView):
    def post(self, request, version):
        """Stop selling a published version. Whoever owns it keeps it."""
        versions.withdraw_version(author=request.user, version_id=version, at=self.at)
        return Response(own_version(request.user, version, at=self.at))


class VersionHoldView(ApiView):
    def post(self, request, version):
        """Stop all new downloads and flashes of a published version at once. Staff lift the hold."""
        stops.hold_own_version(author=request.user, version_id=version, at=self.at, **self.body())
        return Response(own_version(request.user, version, at=self.at))


class InspectionView(ApiView):
    def post(self, request):
        """Ask what the inspection would say of an upload, and what its image states about itself. Nothing is kept.

        The same code as the real inspection: with the `fitments` and `tags` that the version is going to claim, the same verdict
        and findings. Of an upload that was refused you get what it was refused for. With a stock image of yours, what changed.
        """
        body = self.body()
        examined = inspection.inspect_upload(
            author=request.user,
            upload_id=body["upload_id"],
            hardware_number=body.get("hardware_number"),
            fitments=body.get("fitments", ()),
            calibration_id_after=body.get("calibration_id_after"),
            tags=body.get("tags", ()),
            stock_image_id=body.get("stock_image"),
            at=self.at,
        )
        report = examined.report
        return Response(
            {
                "verdict": InspectionVerdict.PASS if examined.passed else InspectionVerdict.REFUSED,
                "findings": examined.findings_as_dicts(),
                "detected": detected_of(report),
                "change_summary": inspection.change_summary([examined.xray]),
                "changes": examined.xray and ChangesOutput(examined.xray).data,
                "format": report.format,
                "sha256": report.sha256,
                "size_bytes": report.size_bytes,
            }
        )


def own_version(author, version_id, *, at, found=None) -> dict:
    """An own version with inspection and review, read anew."""
    version = found or selectors.get_own_version(author, version_id)
    return OwnVersionOutput(version, context={"standings": selectors.standings_of([version], at=at)}).data
