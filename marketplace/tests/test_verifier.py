"""What the server hands out, judged by the verifier that shares no code with it (tools/verify_download.py)."""

import hashlib
import json
from datetime import timedelta

import pytest
import requests

from core import signing
from garage.identity import vehicle_identity
from garage.models import StockFile
from garage.restore_tickets import sign_restore_ticket
from garage.tests.factories import EcuReadoutFactory
from marketplace.services import status, stops, stored_files
from marketplace.tests.factories import released_version, ride_for
from tools.verify_download import Readout, main, verify_flash, verify_restore
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _look_at_storage_again():
    stored_files.forget()


@pytest.fixture
def ride():
    return ride_for()


def as_json(envelope):
    """As it travels: through JSON."""
    return json.loads(json.dumps(envelope))


def readout_of(vehicle, **changes) -> Readout:
    ecu = vehicle.ecu
    facts = {
        "hardware_number": ecu.hardware_number,
        "calibration_id": ecu.calibration_id,
        "image_size_bytes": ecu.image_size_bytes,
        "vin": vehicle.vin,
        "stock_calibration_id": vehicle.stock_calibration_id,
        "market": vehicle.market,
        "year": vehicle.year,
    }
    return Readout(**facts | changes)


def judge(ride, grant, *, served=None, readout=None, at=None, state=None, **given):
    at = at or ride.at
    data = served if served is not None else requests.get(grant.url, timeout=10).content
    return verify_flash(
        pinned_root=as_json(signing.root_envelope(1)),
        status=as_json((state or status.publish_status(at=ride.at)).envelope),
        app_version="1.0.0",
        release=as_json(grant.release),
        ticket=as_json(grant.ticket),
        file=[data],
        readout=readout or readout_of(ride.vehicle),
        has_way_back=True,
        at=at,
        **given,
    )


def read_again(ride, calibration_id) -> None:
    """The rider's ECU says something else now."""
    ride.vehicle.ecu = EcuReadoutFactory(vehicle=ride.vehicle, calibration_id=calibration_id, read_at=ride.at)
    ride.vehicle.save(update_fields=["ecu"])


def test_a_grant_may_be_flashed(ride):
    verdict = judge(ride, ride.grant())

    assert (verdict.code, verdict.why) == ("ok", "")


def test_so_may_the_next_version_over_the_first(ride):
    ride.report(ride.ticket())
    released_version(ride.tune, version="2.0.0")
    read_again(ride, "RSC-210-T1")

    grant = ride.grant(at=ride.at + timedelta(minutes=5))

    assert grant.ticket_blockers == []
    assert judge(ride, grant, at=ride.at + timedelta(minutes=6)).code == "ok"


def test_an_older_version_over_a_newer_one_gets_no_ticket_that_a_phone_would_refuse(ride):
    first = ride.version
    released_version(ride.tune, version="2.0.0", file={"calibration_id_after": "RSC-210-T2"})
    read_again(ride, "RSC-210-T2")

    grant = ride.grant(version=first, at=ride.at + timedelta(minutes=5))

    assert (grant.ticket, grant.ticket_blockers) == (None, ["reflash_stock_first"])


def test_other_bytes_may_not(ride):
    grant = ride.grant()
    data = requests.get(grant.url, timeout=10).content

    assert judge(ride, grant, served=data[:-1] + bytes([data[-1] ^ 1])).code == "tampered"


def test_nor_another_vehicle_or_another_ecu(ride):
    grant = ride.grant()

    assert judge(ride, grant, readout=readout_of(ride.vehicle, vin="JYARN53E1MA000043")).code == "wrong_vehicle"
    assert judge(ride, grant, readout=readout_of(ride.vehicle, hardware_number="RSH-4711-B")).code == "wrong_ecu"


def test_nor_anything_that_was_stopped_meanwhile(ride):
    grant = ride.grant()
    stops.hold_version(actor=UserFactory(admin=True), version_id=ride.version.pk, reason="It runs lean.", at=ride.at)

    assert judge(ride, grant).code == "on_hold"


def test_nor_with_a_ticket_that_ran_out(ride):
    grant = ride.grant()

    later = ride.at + timedelta(hours=72)
    assert judge(ride, grant, at=later, state=status.publish_status(at=later)).code == "expired_ticket"


def test_the_way_back_holds_without_anything_else(ride):
    image = b"stock" * 1000
    stock_file = StockFile.objects.get(vehicle=ride.vehicle)
    stock_file.image_sha256, stock_file.image_size_bytes = hashlib.sha256(image).hexdigest(), len(image)
    ticket = sign_restore_ticket(vehicle=ride.vehicle, identity=vehicle_identity(ride.vehicle), stock_file=stock_file, at=ride.at)

    verdict = verify_restore(
        pinned_root=as_json(signing.root_envelope(1)),
        restore_ticket=as_json(ticket),
        file=image,
        format="BIN",
        readout=Readout(hardware_number=stock_file.hardware_number),
        at=ride.at + timedelta(days=4000),
    )
    assert (verdict.code, verdict.warnings) == ("ok", ["expired_root", "expired_ticket"])


def test_the_command_line_says_yes_and_no(ride, tmp_path, capsys):
    grant = ride.grant()
    (tmp_path / "tune.bin").write_bytes(requests.get(grant.url, timeout=10).content)
    (tmp_path / "grant.json").write_text(json.dumps({"release": grant.release, "ticket": grant.ticket}))
    (tmp_path / "root.json").write_text(json.dumps(signing.root_envelope(1)))
    (tmp_path / "status.json").write_text(json.dumps(status.publish_status(at=ride.at).envelope))
    (tmp_path / "ecu.json").write_text(json.dumps(vars(readout_of(ride.vehicle))))
    question = [
        *("flash", "--root", str(tmp_path / "root.json"), "--status", str(tmp_path / "status.json")),
        *("--grant", str(tmp_path / "grant.json"), "--file", str(tmp_path / "tune.bin")),
        *("--readout", str(tmp_path / "ecu.json"), "--app-version", "1.0.0", "--at", signing.utc_text(ride.at)),
    ]

    assert (main([*question, "--has-way-back"]), capsys.readouterr().out) == (0, "ok\n")
    assert (main(question), capsys.readouterr().out.split(":")[0]) == (1, "stock_backup_required")
