"""What must not be flashed, and what must not be put back: each case ends with the ECU as it was, not once erased or written."""

import base64
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from vbench.ecu import VirtualEcu
from vbench.flasher import Flasher, NotDone, Refused
from vbench.matrix import World
from vbench.phone import Phone
from vbench.report import RESTORED, UNTOUCHED, Outcomes, Run
from vbench.wire import LineLost

NONSENSE = {"hardware_number": 1, "serial": [], "vin": {}, "calibration_id": None, "image_size_bytes": 1, "block_bytes": 1, "mode": 7}


@dataclass
class Case:
    """One thing that is not as it must be. `spoil` changes what the phone holds, `ecu` are switches of the ECU."""

    what: str
    code: str
    spoil: Callable[[Phone], object] = lambda phone: None
    ecu: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    block: int | None = None


def body_of(envelope: dict[str, Any]) -> dict[str, Any]:
    """What an envelope's payload says."""
    return dict(json.loads(base64.b64decode(envelope["payload"])))


class Refusals:
    """`other` is another rider's phone with the same tune for their own bike."""

    def __init__(self, world: World, other: Phone, outcomes: Outcomes) -> None:
        self.world, self.other, self.outcomes = world, other, outcomes
        self.app: type[Flasher] = Flasher

    def run(self, app: type[Flasher] = Flasher) -> None:
        """All cases. `app` is another one for a control."""
        self.app = app
        for case in self._of_flashes():
            self.try_one("flash", case)
        for case in self._of_restores():
            self.try_one("restore", case)
        for case in self._no_reasons():
            self._put_back(case)

    # Cases

    def _of_flashes(self) -> Iterator[Case]:
        world, other = self.world, self.other
        yield Case("another hardware number is reported", "wrong_ecu", ecu={"claimed_hardware_number": "ZZZ-0000A-00"})
        yield Case("another image size is reported", "wrong_ecu", ecu={"claimed_size_bytes": 2 * len(world.stock)})
        yield Case("another calibration is in the ECU", "wrong_ecu", ecu={"claimed_calibration_id": "XX999E9"})
        yield Case("the ECU does not run when the app comes", "wrong_ecu", ecu={"image": half_erased(world)})
        yield Case("another VIN is reported", "wrong_vehicle", ecu={"vin": "JYADEM11XMA000001"})
        yield Case("another ECU that tells no VIN", "wrong_vehicle", ecu={"vin": None, "serial": "ANOTHER-SERIAL"})
        yield Case("the ticket ran out", "expired_ticket", app={"clock": lambda: self._expiry("ticket")})
        yield Case("the status is four days old", "expired_status", app={"clock": lambda: self._expiry("status")})
        yield Case("a newer status was seen before", "rollback", spoil=_saw_a_newer_status)
        yield Case("there is no status", "bad_signature", spoil=lambda phone: phone.keep(status=None))
        yield Case("there is no ticket", "bad_signature", spoil=_in_grant(ticket=None))
        yield Case("the ticket of another rider", "wrong_device", spoil=_in_grant(ticket=other["grant"]["ticket"]))
        yield Case(
            "all of another rider's papers",
            "wrong_ecu" if other["readout"]["hardware_number"] != world.hardware_number else "wrong_vehicle",
            spoil=lambda phone: phone.keep(grant=other["grant"], device_key=other["device_key"]),
        )
        yield Case("another phone's key", "wrong_device", spoil=lambda phone: phone.keep(device_key="another-phone-0001"))
        yield Case("a restore ticket instead of the ticket", "bad_signature", spoil=_swap("ticket", "restore_ticket"))
        yield Case("a root that signs nothing is added", "bad_root", spoil=lambda phone: phone.keep(later_roots=[_flipped(phone["root"])]))
        yield Case("the same root again as its successor", "bad_root", spoil=lambda phone: phone.keep(later_roots=[phone["root"]]))
        yield Case("an app that does not know its version", "app_version_blocked", app={"app_version": "nightly"})
        yield Case("no stock file, no consent", "stock_backup_required", spoil=lambda phone: phone.keep(restore_ticket=None))
        for what, spoil in (
            ("a bit of the stock image flipped", _file("stock.bin", _flip_at(len(world.stock) // 2))),
            ("a bit of the restore ticket flipped", lambda phone: phone.keep(restore_ticket=_flipped(phone["restore_ticket"]))),
            ("the restore ticket of another rider", lambda phone: phone.keep(restore_ticket=other["restore_ticket"])),
        ):
            yield Case(f"a way back that is none: {what}", "stock_backup_required", spoil=spoil)
        for said in (b"", b"{}", b"[]", b"\xff\xfe", b"[" * 60_000, json.dumps({**NONSENSE, "block_bytes": 0}).encode()):
            yield Case("the ECU talks nonsense", "LineLost", ecu={"says": said})
        for name in ("ticket", "release"):
            yield Case(f"a bit of the {name} flipped", "bad_signature", spoil=_in_grant_by(name, _flipped))
            yield Case(f"the {name} is signed by nobody", "bad_signature", spoil=_in_grant_by(name, _unsigned))
            yield Case(f"the {name} says more than was signed", "bad_signature", spoil=_in_grant_by(name, _rewritten))
        yield Case("a bit of the status flipped", "bad_signature", spoil=lambda phone: phone.keep(status=_flipped(phone["status"])))
        yield Case("the stock image as tune", "tampered", spoil=lambda phone: phone.keep_file("tune.bin", world.stock))
        yield Case("a byte more than was signed", "tampered", spoil=_file("tune.bin", lambda data: data + b"\xff"))
        yield Case("no file", "tampered", spoil=_file("tune.bin", lambda data: b""))
        for block in range(world.blocks):
            at = block * len(world.tune) // world.blocks
            yield Case("a bit of the file flipped", "tampered", spoil=_file("tune.bin", _flip_at(at)), block=block)
            yield Case("the file ends early", "tampered", spoil=_file("tune.bin", _cut_at(at)), block=block)

    def _of_restores(self) -> Iterator[Case]:
        world, other = self.world, self.other
        yield Case("another hardware number is reported", "wrong_ecu", ecu={"claimed_hardware_number": "ZZZ-0000A-00"})
        yield Case("another image size is reported", "wrong_ecu", ecu={"claimed_size_bytes": 2 * len(world.stock)})
        yield Case("another VIN is reported", "wrong_vehicle", ecu={"vin": "JYADEM11XMA000001"})
        own = Phone(world.phone)
        for what, code, ticket in (
            ("the restore ticket of another rider", "wrong_vehicle", other["restore_ticket"]),
            ("a flash ticket instead", "bad_signature", own["grant"]["ticket"]),
            ("a bit of the restore ticket flipped", "bad_signature", _flipped(own["restore_ticket"])),
            ("a restore ticket signed by nobody", "bad_signature", _unsigned(own["restore_ticket"])),
        ):
            yield Case(what, code, spoil=partial(Phone.keep, restore_ticket=ticket))
        yield Case("the tune as stock image", "tampered", spoil=lambda phone: phone.keep_file("stock.bin", world.tune))
        for block in range(world.blocks):
            at = block * world.block_bytes
            yield Case("a bit of the stock image flipped", "tampered", spoil=_file("stock.bin", _flip_at(at)), block=block)
            yield Case("the stock image ends early", "tampered", spoil=_file("stock.bin", _cut_at(at)), block=block)

    def _no_reasons(self) -> Iterator[Case]:
        """What stops no restore."""

        def years_later() -> datetime:
            return self._expiry("status") + timedelta(days=800)

        yield Case("the restore ticket and the root ran out", "", app={"clock": years_later})
        yield Case("there is no status and no network", "", spoil=lambda phone: phone.keep(status=None))
        yield Case("an app that does not know its version", "", app={"app_version": "nightly"})
        yield Case("the ECU tells neither VIN nor serial", "", ecu={"vin": None, "serial": None})
        yield Case("another key, another phone", "", spoil=lambda phone: phone.keep(device_key="another-phone-0001", grant=None))

    def _expiry(self, name: str) -> datetime:
        """The moment at which the phone's ticket, or status, is no longer good."""
        phone = Phone(self.world.phone)
        envelope = phone["status"] if name == "status" else phone["grant"]["ticket"]
        return datetime.fromisoformat(body_of(envelope)["expires_at"])

    # Trying them

    def try_one(self, chapter: str, case: Case) -> None:
        world = self.world
        image = {"flash": world.stock, "restore": world.tune}[chapter]
        switches = dict(case.ecu)
        image = switches.pop("image", image)
        with world.ecu(image, **switches) as ecu:
            code = self._refusal(chapter, case, ecu)
            wrong = world.judge(ecu, UNTOUCHED, before=image)
            if not wrong and code != case.code:
                wrong = f"it was refused with {code} instead of {case.code}"
            self.outcomes.add(Run(f"{case.what}: `{case.code}`", f"{chapter} refused", UNTOUCHED, case.block, wrong))

    def _refusal(self, chapter: str, case: Case, ecu: VirtualEcu) -> str:
        phone = self.world.copy()
        case.spoil(phone)
        app = self.app(Phone(phone.directory), ecu.address, **case.app)
        try:
            return "not: " + (app.flash() if chapter == "flash" else app.restore())
        except Refused as refusal:
            return refusal.code
        except LineLost:
            return "LineLost"
        except NotDone as trouble:
            return f"not: {trouble}"

    def _put_back(self, case: Case) -> None:
        world = self.world
        with world.ecu(world.tune, **case.ecu) as ecu:
            phone = world.copy()
            case.spoil(phone)
            said = self.app(Phone(phone.directory), ecu.address, **case.app).restore()
            wrong = world.judge(ecu, RESTORED) if said == "RESTORED" else f"it ended as {said}"
            self.outcomes.add(Run(case.what, "restored all the same", RESTORED, case.block, wrong))


def half_erased(world: World) -> bytes:
    """What an interrupted write of somebody else left."""
    return bytes([0xFF]) * (len(world.stock) // 2) + world.stock[len(world.stock) // 2 :]


def _in_grant(**changes: Any) -> Callable[[Phone], None]:
    return lambda phone: phone.keep(grant=phone["grant"] | changes)


def _in_grant_by(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Phone], None]:
    return lambda phone: phone.keep(grant=phone["grant"] | {name: change(phone["grant"][name])})


def _saw_a_newer_status(phone: Phone) -> None:
    phone.keep(seen_status_version=body_of(phone["status"])["version"] + 1)


def _swap(name: str, source: str) -> Callable[[Phone], None]:
    return lambda phone: phone.keep(grant=phone["grant"] | {name: phone[source]})


def _file(name: str, change: Callable[[bytes], bytes]) -> Callable[[Phone], None]:
    return lambda phone: phone.keep_file(name, change(phone.file(name) or b""))


def _flip_at(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]


def _cut_at(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at]


def _flipped(envelope: dict[str, Any]) -> dict[str, Any]:
    """One bit of the payload is another one."""
    body = bytearray(base64.b64decode(envelope["payload"]))
    body[len(body) // 2] ^= 0x01
    return envelope | {"payload": base64.b64encode(body).decode()}


def _unsigned(envelope: dict[str, Any]) -> dict[str, Any]:
    return envelope | {"signatures": []}


def _rewritten(envelope: dict[str, Any]) -> dict[str, Any]:
    """A payload that says something else, under the signatures of before."""
    body = body_of(copy.deepcopy(envelope)) | {"expires_at": "2099-01-01T00:00:00Z", "calibration_id_after": None}
    return envelope | {"payload": base64.b64encode(json.dumps(body, sort_keys=True).encode()).decode()}
