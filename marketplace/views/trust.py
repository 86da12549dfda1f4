from rest_framework.response import Response

from core import signing
from core.pagination import Key, Ordering
from core.renderers import utc_text
from core.views import ApiView
from marketplace.models import Download, Flash
from marketplace.selectors import grants as grant_reads
from marketplace.selectors import trust as reads
from marketplace.serializers.trust import RecallOutput
from marketplace.services import flashes, grants, status, stops, tuner_tickets

NEWEST_DOWNLOAD = Ordering("newest", Key("id", desc=True))
NEWEST_FLASH = Ordering("newest", Key("received_at", desc=True), Key("id", desc=True))


def grant_shape(grant: grants.Grant) -> dict:
    """The grant of the contract; hot, so without a serializer (a test holds it to the declared one)."""
    return {
        "id": grant.pk,
        "version": grant.version_id,
        "file": grant.file,
        "url": grant.url,
        "url_expires_at": utc_text(grant.url_expires_at),
        "size_bytes": grant.file["size_bytes"],
        "sha256": grant.file["sha256"],
        "release": grant.release,
        "ticket": grant.ticket,
        "ticket_blockers": grant.ticket_blockers,
    }


def download_shape(download: Download) -> dict:
    """One row of the trail."""
    ticket = getattr(download, "flash_ticket", None)
    return {
        "id": download.pk,
        "kind": download.kind,
        "outcome": download.outcome,
        "code": download.code or None,
        "grant": download.grant_id,
        "vehicle": download.vehicle_id,
        "version": download.version_id,
        "version_number": download.version.version if download.version else None,
        "file": download.file_id,
        "ticket_id": ticket.pk if ticket else None,
        "ticket_expires_at": utc_text(ticket.expires_at) if ticket else None,
        "ticket_blockers": download.ticket_blockers,
        "app_version": download.app_version,
        "created_at": utc_text(download.created_at),
    }


class DownloadListView(ApiView):
    def post(self, request, purchase):
        """The newest published file that fits the vehicle (or the best one of `version`), with its signed release.

        `ticket` is null with `ticket_blockers` until a flash would be safe: `ecu_readout_required` (send the read-out),
        `reflash_stock_first`, `stock_backup_required` (save the stock file, or accept that none can be made),
        `vehicle_identity_required` (give a VIN or a frame number), `license_reserved` (another vehicle's ticket is out),
        `unreported_tickets` (two tickets ran out without a report: open a case). Download with the link within 60 seconds;
        ranges work, and `…/link/` gives a fresh one. A refusal is noted in the trail, with its code.
        """
        body = self.body()
        wish = grants.Request(
            buyer=request.user,
            purchase_id=purchase,
            vehicle_id=body["vehicle"],
            version_id=body.get("version"),
            device_key=body["device_key"],
            app_version=request.auth.app_version,
            session_id=request.auth.pk,
        )
        return self.create_once(
            lambda claim: grants.grant_download(wish, claim=claim, at=self.at),
            render=grant_shape,
            find=lambda download_id: _renew(self, download_id),
            atomic=False,
        )

    def get(self, request, purchase):
        """Every grant, fresh link and refusal of one of your purchases, newest first."""
        return self.page(grant_reads.list_downloads(request.user, purchase), NEWEST_DOWNLOAD, render=download_shape)


class DownloadLinkView(ApiView):
    def post(self, request, download):
        """A fresh link for a grant, after all its checks again, with the same ticket while that is good."""
        return Response(grant_shape(_renew(self, download)))


def _renew(view: ApiView, download_id) -> grants.Grant:
    session = view.request.auth
    return grants.renew_link(
        buyer=view.request.user, download_id=download_id, app_version=session.app_version, session_id=session.pk, at=view.at
    )


class TestTicketView(ApiView):
    def post(self, request, version):
        """A ticket for your own vehicle and your own version, before it is published: the same shape as a download's.

        The version was inspected and is not decided yet. Release and ticket are of the channel `test`, which a phone takes
        for this vehicle only. What keeps a rider from a ticket keeps you from one too (`ticket_blocked`). Report the flash
        as any other: it counts for nobody's statistics, and reviewers see it.
        """
        body = self.body()
        return self.create_once(
            lambda claim: tuner_tickets.issue_test_ticket(
                author=request.user,
                version_id=version,
                vehicle_id=body["vehicle"],
                device_key=body["device_key"],
                claim=claim,
                at=self.at,
            ),
            render=grant_shape,
            find=lambda ticket_id: tuner_tickets.find_test_ticket(author=request.user, ticket_id=ticket_id, at=self.at),
            atomic=False,
        )


class FlashListView(ApiView):
    def get(self, request):
        """Your flash reports, newest first."""
        params = self.params()
        return self.page(reads.list_flashes(request.user, vehicle_id=params.get("vehicle")), NEWEST_FLASH, params=params)

    def post(self, request):
        """Report how a flash went, also days later and after its ticket ran out. Sent twice it is one report.

        A success binds the license to the vehicle; a failed write frees it again. Report every attempt: two tickets that
        run out unreported within a year end at staff.
        """
        body = self.body()
        return self.create_once(
            lambda claim: flashes.report_flash(reporter=request.user, at=self.at, **body),
            render=lambda reported: self.endpoint.response(_flash_of(reported)).data,
            find=lambda flash_id: reads.list_flashes(request.user).get(pk=flash_id),
            status=lambda reported: 201 if getattr(reported, "created", True) else 200,
        )


def _flash_of(reported: flashes.Reported | Flash) -> Flash:
    return reported.flash if isinstance(reported, flashes.Reported) else reported


class InstalledCheckView(ApiView):
    def post(self, request):
        """What became of the files that are installed, by their hashes: ask when the app starts."""
        return Response({"results": _rendered(reads.check_installed(request.user, self.body()["sha256"]))})


def _rendered(results: list[dict]) -> list[dict]:
    return [{**row, "recall": RecallOutput(row["recall"]).data if row["recall"] else None} for row in results]


class RecallAcknowledgeView(ApiView):
    def post(self, request, recall):
        """Say that you have read a hold or recall of a version that you downloaded or flashed."""
        acknowledgement = stops.acknowledge_stop(rider=request.user, stop_id=recall, at=self.at)
        shape = reads.recall_shape(acknowledgement.stop, acknowledged_at=acknowledgement.acknowledged_at)
        return Response(self.endpoint.response(shape).data)


class RootView(ApiView):
    def get(self, request, number):
        """One root document, as a bare envelope. It never changes. Walk from the one that the app shipped with to the newest."""
        return Response(signing.root_envelope(number), headers={"Cache-Control": "public, max-age=31536000, immutable"})


class StatusView(ApiView):
    def get(self, request):
        """The newest status document, as a bare envelope: which releases are stopped. Ask often; it is small and cacheable."""
        return Response(status.get_status(at=self.at).envelope, headers={"Cache-Control": "public, max-age=60"})
