from rest_framework.response import Response

from core.pagination import Key, Ordering
from core.views import ApiView
from marketplace.models import CaseMessage
from marketplace.selectors import cases as reads
from marketplace.serializers.cases import CaseOutput
from marketplace.services import cases, refunds

NEWEST = Ordering("newest", Key("id", desc=True))


class RefundListView(ApiView):
    def get(self, request, purchase):
        """The refunds of one of your purchases, newest first."""
        return self.page(reads.list_refunds(request.user, purchase), NEWEST)

    def post(self, request, purchase):
        """Ask for the money back: all that is left of it.

        When nothing was ever downloaded and fourteen days have not passed it is promised at once (`promised_at`), and the
        license ends; a bank takes up to ten days. Otherwise `case` names where staff decide with you and the tuner. 201 for
        a new one; 200 when a refund of the purchase is open already, which is then answered.
        """
        reason = self.body()["reason"]
        return self.create_once(
            lambda claim: refunds.request_refund(buyer=request.user, purchase_id=purchase, reason=reason, claim=claim, at=self.at),
            render=lambda refund: self.endpoint.response(refund).data,
            find=lambda refund_id: reads.list_refunds(request.user, purchase).get(pk=refund_id),
            status=lambda refund: 201 if getattr(refund, "is_new", True) else 200,
            atomic=False,
        )


class CaseListView(ApiView):
    def get(self, request):
        """Cases about what you bought or sold, newest first, without their messages."""
        params = self.params()
        rows = reads.list_cases(request.user, status=params.get("status"), purchase_id=params.get("purchase"))
        return self.page(rows, NEWEST, params=params)

    def post(self, request):
        """Open a case about something that you bought or sold. Buyer, tuner and RevSync talk in it."""
        body = self.body()
        return self.create_once(
            lambda claim: cases.open_case(
                purchase_id=body["purchase"],
                kind=body["kind"],
                text=body["text"],
                upload_ids=body["attachments"],
                by=request.user,
                at=self.at,
            ),
            render=lambda case: _shape(self, case.pk),
            find=lambda case_id: reads.get_case(request.user, case_id),
        )


class CaseView(ApiView):
    def get(self, request, case):
        """One case with its messages, oldest first. Links to files are good for 60 seconds."""
        return Response(_shape(self, case))


class CaseMessageListView(ApiView):
    def post(self, request, case):
        """Write in a case, which then waits for somebody else. With an `id` of yours a message that is sent twice is one."""
        body = self.body()
        return self.create_once(
            lambda claim: cases.add_message(
                author=request.user,
                case_id=case,
                text=body["text"],
                upload_ids=body["attachments"],
                message_id=body.get("id"),
                at=self.at,
            ),
            render=lambda written: (
                self.endpoint.response(written if isinstance(written, CaseMessage) else written.message, context={"at": self.at}).data
            ),
            find=lambda message_id: reads.get_message(request.user, message_id),
            status=lambda written: 201 if getattr(written, "created", True) else 200,
        )


def _shape(view: ApiView, case_id) -> dict:
    return CaseOutput(reads.get_case(view.request.user, case_id), context={"at": view.at}).data
