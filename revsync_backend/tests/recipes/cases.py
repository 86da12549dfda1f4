"""Refunds and cases."""

from core.ids import new_id
from core.testing.matrix import Call
from core.uploads.enums import UploadPurpose
from core.uploads.tests.factories import UploadFactory
from marketplace.enums import CaseKind
from marketplace.tests.factories import CaseFactory, PurchaseFactory, sold
from revsync_backend.tests.recipes import recipe, refusal


def _file(kit):
    return str(UploadFactory(owner_id=kit.user.pk, purpose=UploadPurpose.CASE_FILE, ready=True).pk)


def _seen_by_staff(kit):
    """Staff see every case, so to an admin another's is no missing one."""
    return kit.role == "admin"


@recipe("list_refunds")
def _(kit, world):
    return Call(path={"purchase": kit.purchase.pk})


@recipe("create_refund")
def _(kit, world):
    return Call(path={"purchase": sold(buyer=kit.user, tune=world.tune).pk}, body={"reason": "Bought by mistake."})


@recipe("list_cases")
def _(kit, world):
    return Call(open_refs=("?purchase",))


@recipe("create_case")
def _(kit, world):
    body = {"purchase": str(kit.purchase.pk), "kind": "OTHER", "text": "It idles roughly.", "attachments": [_file(kit)]}
    return Call(body=body, refs=("/purchase", "/attachments/0"))


@recipe("get_case")
def _(kit, world):
    return Call(path={"case": CaseFactory(purchase=kit.purchase).pk}, shared=_seen_by_staff(kit))


@recipe("create_case_message")
def _(kit, world):
    body = {"id": str(new_id()), "text": "With 98 octane it runs well.", "attachments": [_file(kit)]}
    case = CaseFactory(purchase=kit.purchase)
    return Call(path={"case": case.pk}, body=body, refs=("/attachments/0",), open_refs=("/id",), shared=_seen_by_staff(kit))


# Refusals


@refusal("create_refund", "purchase_charged_back")
def _(kit, world):
    return Call(path={"purchase": PurchaseFactory(buyer=kit.user, tune=world.tune, charged_back=True).pk}, body={})


@refusal("create_case", "purchase_not_paid")
def _(kit, world):
    return Call(body={"purchase": str(PurchaseFactory(buyer=kit.user, tune=world.tune).pk), "kind": CaseKind.OTHER, "text": "When?"})
