"""Restore is blocked by nothing: each state that stops something else is made, and the bike gets home in each of them.

By both doors: the owner's vault, and a rescue code in the hands of somebody without an account. What comes is judged by
the verifier that shares no code with us, on the state's own day.
"""

import base64
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.db import transaction

from core import clock, signing
from core.exceptions import ServiceUnavailable
from core.testing.http import ApiClient, client_for
from core.uploads.tests.factories import stored_upload
from garage.models import StockFile, Vehicle
from garage.services import issue_rescue_link, make_rescue_link, offer_transfer, record_ecu_readout
from garage.tests.factories import RescueLinkFactory
from garage.tests.test_stock_files import stock_image, upload_of
from marketplace.enums import FlashOutcome, LicenseState, PurchaseStatus
from marketplace.models import AppVersionBlock, License, Purchase, StatusDocument, Tune, TuneVersion
from marketplace.services import flashes, moderation, status, stops, versions
from marketplace.tests.factories import ride_for
from marketplace.tests.test_verifier import readout_of
from tools.verify_download import Readout, verify_flash, verify_restore
from tuners import services as tuners
from users.models import UserDevice
from users.services import block_user
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

VIN = "JYARN53E1MA000001"


@pytest.fixture
def ride():
    """A rider whose tune is in the bike, with the stock image really stored, and a rescue code that was made before."""
    ride = ride_for(vehicle={"with_stock": False, "with_ecu": True, "vin": VIN})
    ride.client = client_for(ride.buyer, step_up=True)
    UserDevice.objects.filter(user=ride.buyer).update(app_version="1.0.0")
    ride.url = f"garage/vehicles/{ride.vehicle.pk}/stock-files/"
    upload = upload_of(ride.buyer, make=stored_upload)
    assert ride.client.post(ride.url, {"upload_id": str(upload.pk)}).status_code == 201
    ride.code = make_rescue_link(owner=ride.buyer, vehicle_id=ride.vehicle.pk, at=clock.now())[1]
    ride.ticket_of_grant = ride.ticket()
    ride.report(ride.ticket_of_grant)
    ride.admin = UserFactory(admin=True)
    return ride


def judge(ride, *, root, ticket, stored, at=None, readout=None):
    data = requests.get(stored["url"], timeout=10)
    assert data.status_code == 200
    return verify_restore(
        pinned_root=root,
        restore_ticket=ticket,
        file=data.content,
        format=stored["format"],
        readout=readout or readout_of(Vehicle.objects.get(pk=ride.vehicle.pk), vin=VIN),
        at=at or clock.now(),
    )


def gets_home(ride, *, at=None):
    """The owner's vault, the code made before, one made now by the owner and one by staff."""
    root = ApiClient().get("trust/root/1/").json()
    (listed,) = ride.client.get(ride.url).json()["results"]
    saved = ride.client.get(f"{ride.url}{listed['id']}/").json()
    assert judge(ride, root=root, ticket=saved["restore_ticket"], stored=saved, at=at).code == "ok"
    made = ride.client.post(f"garage/vehicles/{ride.vehicle.pk}/rescue-links/")
    assert made.status_code == 201, made.json()
    _, issued = issue_rescue_link(actor=ride.admin, vehicle_id=ride.vehicle.pk, reason="Stands beside the road.", at=clock.now())
    for token in (ride.code, made.json()["token"], issued):
        found = ApiClient().post("garage/rescue/", {"token": token})
        assert found.status_code == 200, found.json()
        body = found.json()
        assert judge(ride, root=body["root"], ticket=body["restore_ticket"], stored=body["stock_file"], at=at).code == "ok"


def of_purchase(state, **changes):
    def move(ride):
        Purchase.objects.filter(pk=ride.purchase.pk).update(status=state, **changes)

    return move


def of_license(state, **changes):
    def move(ride):
        facts = {name: clock.now() if value == "now" else value for name, value in changes.items()}
        License.objects.filter(purchase=ride.purchase).update(state=state, **facts)

    return move


def refund(ride):
    Purchase.objects.filter(pk=ride.purchase.pk).update(status=PurchaseStatus.REFUNDED, refunded_minor=ride.purchase.captured_minor)
    License.objects.filter(purchase=ride.purchase).update(state=LicenseState.REVOKED, revoked_at=clock.now())


def recall(ride, severity="restore_stock"):
    stops.recall_version(actor=ride.admin, version_id=ride.version.pk, severity=severity, reason="Bricks.", at=clock.now())


def withdraw(ride):
    versions.withdraw_version(author=ride.tune.tuner.user, version_id=ride.version.pk, at=clock.now())


def two_failures(ride):
    for outcome in (FlashOutcome.FAILED_DURING_WRITE, FlashOutcome.VERIFY_FAILED):
        ride.report(ride.ticket_of_grant, outcome)


def unreported(ride):
    License.objects.filter(purchase=ride.purchase).update(
        state=LicenseState.UNBOUND, vehicle_id=None, bound_at=None, vehicle_identity_hashes=[]
    )
    for day in (-9, -5):
        at = clock.now() + timedelta(days=day)
        ride.grant(at=at)
        flashes.expire_tickets(at=at + timedelta(hours=73))


def lose_status(ride):
    StatusDocument.objects.all().delete()


def expire_status(ride):
    status.publish_status(at=clock.now() - timedelta(days=30))


def block_app(ride):
    AppVersionBlock.objects.create(app_version="1.0.0", reason="Writes the wrong block.", blocked_at=clock.now())


def dealer_update(ride):
    record_ecu_readout(
        owner=ride.buyer,
        vehicle_id=ride.vehicle.pk,
        hardware_number=ride.vehicle.ecu.hardware_number,
        calibration_id="RSC-999-D1",
        image_size_bytes=ride.vehicle.ecu.image_size_bytes,
        read_at=clock.now(),
        at=clock.now(),
    )


def suspend_tune(ride):
    moderation.suspend_tune(tune_id=ride.tune.pk, actor=ride.admin, reason_code="MISLEADING", note="Not what it says.", at=clock.now())


def suspend_tuner(ride):
    tuners.suspend_tuner(tuner_id=ride.tune.tuner_id, actor=ride.admin, reason="CONDUCT", note="Under investigation.", at=clock.now())


STATES = {
    "nothing at all": lambda ride: None,
    "version on hold": lambda ride: stops.hold_version(actor=ride.admin, version_id=ride.version.pk, reason="Knock.", at=clock.now()),
    "version recalled": recall,
    "version withdrawn": withdraw,
    "tune archived": lambda ride: Tune.objects.filter(pk=ride.tune.pk).update(status="ARCHIVED", archived_at=clock.now()),
    "tune suspended": suspend_tune,
    "tuner suspended": suspend_tuner,
    "region blocked": lambda ride: TuneVersion.objects.filter(pk=ride.version.pk).update(blocked_regions=["EU", "US", "JP", "UK", "CA"]),
    "purchase refunded": refund,
    "purchase disputed": of_purchase(PurchaseStatus.DISPUTED, disputed_from=PurchaseStatus.PAID),
    "purchase charged back": of_purchase(PurchaseStatus.CHARGED_BACK),
    "license suspended": of_license(LicenseState.SUSPENDED, suspended_from=LicenseState.BOUND, suspended_at="now"),
    "license revoked": of_license(LicenseState.REVOKED, revoked_at="now"),
    "license free": of_license(LicenseState.UNBOUND, vehicle_id=None, bound_at=None, vehicle_identity_hashes=[]),
    "writes failed": two_failures,
    "tickets ran out unreported": unreported,
    "account blocked by staff": lambda ride: block_user(user=ride.buyer, actor=ride.admin, reason="Sold stolen files.", at=clock.now()),
    "status document lost": lose_status,
    "status document expired": expire_status,
    "app version blocked": block_app,
    "dealer update in the ECU": dealer_update,
    "vehicle offered to its next owner": lambda ride: offer_transfer(owner=ride.buyer, vehicle_id=ride.vehicle.pk, at=clock.now()),
}


@pytest.mark.parametrize("state", STATES)
def test_the_way_back_is_open(ride, state):
    STATES[state](ride)

    gets_home(ride)


def test_of_these_states_most_refuse_a_grant(ride):
    """The states are real: where a grant or a ticket must be refused it is, and the bike still gets home (above)."""
    refusing = {
        "version on hold",
        "version recalled",
        "purchase refunded",
        "purchase disputed",
        "purchase charged back",
        "license suspended",
        "license revoked",
        "app version blocked",
        "account blocked by staff",
        "dealer update in the ECU",
        "tickets ran out unreported",
    }
    for state in sorted(refusing):
        with transaction.atomic():
            STATES[state](ride)
            answer = ride.client.post(
                f"marketplace/purchases/{ride.purchase.pk}/downloads/",
                {"vehicle": str(ride.vehicle.pk)},
            )
            is_refused = answer.status_code >= 400 or answer.json()["ticket"] is None
            assert is_refused, (state, answer.status_code, answer.json())
            transaction.set_rollback(True)


def test_with_every_one_of_them_at_once(ride):
    for state in ("version recalled", "tune suspended", "tuner suspended", "purchase charged back", "license revoked", "writes failed"):
        STATES[state](ride)
    for state in ("app version blocked", "status document expired", "account blocked by staff"):
        STATES[state](ride)

    gets_home(ride)


@pytest.mark.parametrize("days", [179, 181, 400, 4000])
def test_documents_of_any_age_are_good_enough(ride, days):
    """Neither the restore ticket's date nor the root's stops a bike that stood in a shed: they warn."""
    gets_home(ride, at=clock.now() + timedelta(days=days))


def test_a_status_that_can_not_be_signed_stops_no_restore(ride, monkeypatch):
    def sign(role, *arguments, **options):
        if role != signing.Role.RESTORE:
            raise ServiceUnavailable("signing")
        return whole(role, *arguments, **options)

    whole = signing.sign
    monkeypatch.setattr(signing, "sign", sign)

    gets_home(ride)


class TestTheVaultIsNoBackDoor:
    def test_a_tune_of_ours_is_no_stock_image_in_any_format_it_may_come_in(self, ride):
        """Neither the rider's own tune, nor anybody else's, however it was packed."""
        content = requests.get(ride.grant().url, timeout=10).content
        upload = upload_of(ride.buyer, content, make=stored_upload, name="my original.bin")

        answer = ride.client.post(ride.url, {"upload_id": str(upload.pk)})

        assert (answer.status_code, StockFile.objects.count()) == (409, 1)
        assert answer.json()["code"] in ("stock_file_is_tune", "stock_file_mismatch")

    @pytest.mark.parametrize(
        ("changes", "code"),
        [({"hardware_number": "RSH-9999-Z"}, "hardware_number_mismatch"), ({"size": 524_288}, "image_size_mismatch")],
    )
    def test_an_image_of_a_foreign_ecu_is_refused(self, ride, changes, code):
        upload = upload_of(ride.buyer, stock_image(**changes), make=stored_upload)

        answer = ride.client.post(ride.url, {"upload_id": str(upload.pk)})

        assert (answer.status_code, answer.json()["code"]) == (409, "stock_file_mismatch")
        assert code in {error["code"] for error in answer.json()["errors"]}

    def test_a_shared_code_opens_one_vehicles_image_and_another_phone_refuses_to_write_it(self, ride):
        body = ApiClient().post("garage/rescue/", {"token": ride.code}).json()
        given = {"root": body["root"], "ticket": body["restore_ticket"], "stored": body["stock_file"]}

        def on(**facts):
            reads = {"hardware_number": body["vehicle"]["hardware_number"], "vin": VIN, **facts}
            return judge(ride, readout=Readout(**reads), **given).code

        assert on() == "ok"
        assert on(vin="JYARN53E1MA000002") == "wrong_vehicle"
        assert on(hardware_number="RSH-9999-Z") == "wrong_ecu"

    def test_what_a_code_opens_is_never_a_tune(self, ride):
        body = ApiClient().post("garage/rescue/", {"token": ride.code}).json()

        assert not {"release", "ticket", "ticket_blockers"} & body.keys()
        assert requests.get(body["stock_file"]["url"], timeout=10).content == stock_image()
        other = RescueLinkFactory()
        assert ApiClient().post("garage/rescue/", {"token": str(other.pk)}).status_code == 404  # an id is no code

    def test_a_stolen_restore_key_signs_no_flash(self, ride, settings):
        """Whoever has it can sign a way back for one vehicle and one image; no phone flashes a tune by it."""
        grant = ride.grant()
        data = requests.get(grant.url, timeout=10).content

        keyid = signing.keyid_of(ApiClient().post("garage/rescue/", {"token": ride.code}).json()["restore_ticket"])
        stolen = load_pem_private_key((Path(settings.SIGNING_KEYS_DIR) / "keys" / f"{keyid}.pem").read_bytes(), None)

        def sign(envelope):
            body, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
            signature = stolen.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body))
            return {**envelope, "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}]}

        common = {
            "pinned_root": signing.root_envelope(1),
            "status": status.publish_status(at=ride.at).envelope,
            "app_version": "1.0.0",
            "file": [data],
            "readout": readout_of(ride.vehicle, vin=VIN),
            "has_way_back": True,
            "at": ride.at,
        }
        by_theft = {
            "release": sign(grant.release),
            "ticket": sign(grant.ticket),
        }
        good = {"release": grant.release, "ticket": grant.ticket}
        assert verify_flash(**common, **good).code == "ok"
        for name, forged in by_theft.items():
            assert verify_flash(**common, **{**good, name: forged}).code == "bad_signature"
