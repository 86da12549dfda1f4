"""Operations on uploads."""

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from core.uploads import selectors, services
from core.uploads.serializers import render_upload
from core.views import ApiView


class UploadListView(ApiView):
    def post(self, request: Request) -> Response:
        """Promise a file and get a link to send it to.

        Then `PUT` the bytes to `upload.url` with exactly `upload.headers`, and call `complete/`.
        """
        body = self.body()
        return self.create_once(
            lambda claim: services.start_upload(owner_id=request.user.pk, at=self.at, claim=claim, **body),
            render=lambda upload: render_upload(upload, at=self.at, with_link=True),
            find=lambda upload_id: selectors.get_upload(owner_id=request.user.pk, upload_id=upload_id),
            atomic=False,
        )


class UploadView(ApiView):
    def get(self, request: Request, upload: UUID) -> Response:
        """Read an upload: whether it was checked, and why it was refused."""
        return Response(render_upload(selectors.get_upload(owner_id=request.user.pk, upload_id=upload), at=self.at))


class UploadRenewView(ApiView):
    def post(self, request: Request, upload: UUID) -> Response:
        """Get a new link for an upload that still waits for its bytes."""
        renewed = services.renew_upload(owner_id=request.user.pk, upload_id=upload, at=self.at)
        return Response(render_upload(renewed, at=self.at, with_link=True))


class UploadCompleteView(ApiView):
    def post(self, request: Request, upload: UUID) -> Response:
        """Say that the bytes are sent; they are checked in the background.

        Read the upload until it is `READY` or `REFUSED`. Calling it again is harmless.
        """
        completed = services.complete_upload(owner_id=request.user.pk, upload_id=upload, at=self.at)
        return Response(render_upload(completed, at=self.at), status=self.endpoint.status)
