"""The half of the app that needs no network: what may be written, writing it, and getting out of whatever goes wrong meanwhile.

Three rules carry it. What it is about to do stands in the phone's journal before it does it. Nothing is erased before
`verify_download` said yes to these very bytes, this ticket and this ECU. And whoever began to write ends with the tune or
with the stock image, however often cable, power or the app itself give up in between.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from verify_download import Readout, Verdict, decode_base64, moment, parse_json, verify_flash, verify_restore

from vbench.phone import Phone
from vbench.wire import EcuFacts, EcuLine, EcuRefused, LineLost

APP_VERSION = "1.0.0"
TRIES_TO_WRITE = 3
TRIES_TO_RESTORE = 5
TRIES_TO_READ = 3
OVERTAKEN = "OVERTAKEN"


class Refused(Exception):
    """Something says no, and nothing is written. `code` is that of a check, of a problem, or of a blocker of the ticket."""

    def __init__(self, code: str, why: str = "") -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


class NotDone(Exception):
    """The vehicle must not be started: neither tune nor stock image is in it yet. The next start of the app goes on."""


def _nothing(point: str) -> None:
    """Where the bench kills the app."""


class Flasher:
    """An app on a phone beside a vehicle. `clock` is the phone's; `carries_on` False: the rider wants back after any trouble."""

    def __init__(
        self,
        phone: Phone,
        ecu: tuple[str, int],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        app_version: str = APP_VERSION,
        carries_on: bool = True,
        patience_seconds: float = 5.0,
        on_point: Callable[[str], None] = _nothing,
    ) -> None:
        self.phone, self.ecu_address, self.clock, self.app_version = phone, ecu, clock, app_version
        self.carries_on, self.patience_seconds, self.point = carries_on, patience_seconds, on_point

    def ecu(self) -> EcuLine:
        return EcuLine(self.ecu_address, patience_seconds=self.patience_seconds)

    def at(self) -> datetime:
        """Now; a clock that is behind is corrected by the time at which the newest known status was made."""
        status = self.phone["status"]
        issued_at = moment(parse_json(decode_base64(status["payload"]))["issued_at"]) if status else None
        return max(self.clock(), issued_at) if issued_at else self.clock()

    # Reading

    def identify(self) -> EcuFacts:
        """What the ECU says of itself. Raises LineLost."""
        lost = LineLost("not tried")
        for _ in range(TRIES_TO_READ):
            try:
                with self.ecu() as ecu:
                    return ecu.identify()
            except LineLost as trouble:
                lost = trouble
        raise lost

    def read_image(self) -> bytes | None:
        """The whole flash memory, None when the ECU does not let itself be read. Raises LineLost, Refused."""
        image = bytearray()
        lost = LineLost("not tried")
        for _ in range(TRIES_TO_READ):
            try:
                with self.ecu() as ecu:
                    facts = ecu.identify()
                    if facts.mode != "application":
                        raise Refused("ecu_readout_required", "the ECU does not run: what is in it is no stock image")
                    for block in range(len(image) // facts.block_bytes, facts.image_size_bytes // facts.block_bytes):
                        image += ecu.read(block)
                    if not ecu.holds(hashlib.sha256(image).digest()):
                        image.clear()  # pieces of two images, or of one that changes
                        continue
                    return bytes(image)
            except EcuRefused:
                return None
            except LineLost as trouble:
                lost = trouble
        raise lost

    # Judging

    def judge_flash(self, facts: EcuFacts) -> Verdict:
        """Whether the downloaded file may be written to this ECU. The verdict carries the image to write."""
        phone = self.phone
        file = phone.file("tune.bin") or b""
        grant = phone["grant"] or {}
        verdict = verify_flash(
            pinned_root=phone["root"],
            later_roots=phone["later_roots"] or [],
            status=phone["status"],
            seen_status_version=phone["seen_status_version"] or 0,
            app_version=self.app_version,
            release=grant.get("release"),
            ticket=grant.get("ticket"),
            device_key=phone["device_key"],
            file=(file[start : start + 65_536] for start in range(0, len(file), 65_536)),
            readout=self._readout(facts),
            has_way_back=bool(phone["accepts_no_way_back"]) or self.has_way_back(facts),
            at=self.at(),
        )
        if verdict.seen_status_version > (phone["seen_status_version"] or 0):
            phone.keep(seen_status_version=verdict.seen_status_version)
        if verdict.code == "ok" and facts.serial != phone["readout"]["serial"]:
            # A ticket for a VIN does not bind an ECU that tells none: then its serial number must be that of the read-out.
            return Verdict("wrong_vehicle", "this is not the ECU that was read out", seen_status_version=verdict.seen_status_version)
        return verdict

    def has_way_back(self, facts: EcuFacts) -> bool:
        """Whether the stock image on this phone could be put back into this ECU: a damaged one is none."""
        return self.phone["restore_ticket"] is not None and self.judge_restore(facts).code == "ok"

    def judge_restore(self, facts: EcuFacts) -> Verdict:
        """Whether the stock image may be written back to this ECU."""
        return verify_restore(
            pinned_root=self.phone["root"],
            later_roots=self.phone["later_roots"] or [],
            restore_ticket=self.phone["restore_ticket"],
            file=self.phone.file("stock.bin") or b"",
            format=self.phone["stock_format"],
            readout=self._readout(facts),
            at=self.at(),
        )

    def _readout(self, facts: EcuFacts) -> Readout:
        stock = self.phone.file("stock.bin")
        return Readout(
            hardware_number=facts.hardware_number,
            calibration_id=facts.calibration_id,
            image_size_bytes=facts.image_size_bytes,
            vin=facts.vin,
            serial=facts.serial,
            stock_image_sha256=hashlib.sha256(stock).hexdigest() if stock else None,
            **(self.phone["known"] or {}),
        )

    # Writing

    def flash(self) -> str:
        """Write the tune if everything agrees. How it ended: SUCCEEDED, RESTORED, FAILED_BEFORE_WRITE or OVERTAKEN.

        Raises Refused, before anything is erased, LineLost, and NotDone when it was begun and the ECU is gone.
        """
        facts = self.identify()
        verdict = self.judge_flash(facts)
        if verdict.code != "ok":
            raise Refused(verdict.code, verdict.why)
        assert verdict.ticket is not None and verdict.release is not None
        write = {"what": "tune", "before": asdict(facts), "ticket_id": verdict.ticket["ticket_id"], "erased": False}
        self.phone.keep(write=write | {"calibration_id_after": verdict.release["calibration_id_after"]})
        self.point("before-erase")
        return self.settle()

    def restore(self) -> str:
        """Put the stock image back because the rider wants it. Raises Refused, LineLost, NotDone."""
        facts = self.identify()
        verdict = self.judge_restore(facts)
        if verdict.code != "ok":
            raise Refused(verdict.code, verdict.why)
        ticket_id = (self.phone["write"] or self.phone["last_write"] or {}).get("ticket_id")
        self.phone.keep(write={"what": "stock", "before": asdict(facts), "ticket_id": ticket_id, "erased": False})
        return self.settle()

    def settle(self) -> str:
        """Bring a write that was begun to its end: the tune, or the stock image. Raises NotDone, Refused for a foreign ECU."""
        write = self.phone["write"]
        if write["what"] == "tune":
            outcome = self._write_tune(write)
            if outcome == OVERTAKEN:
                self._book(write, "FAILED_DURING_WRITE", write=None, ended=OVERTAKEN)
                return OVERTAKEN
            if outcome in ("SUCCEEDED", "FAILED_BEFORE_WRITE"):
                return self._end(write, outcome)
            if self.phone["restore_ticket"] is None:
                raise NotDone("the write failed, and there is no stock file: connect again")
            write = {**write, "what": "stock"}
            self._book(write, outcome, write=write)
            self.point("going-back")
        self._write_stock(write)
        return self._end(write, "RESTORED")

    def _write_tune(self, write: dict[str, Any]) -> str:
        """SUCCEEDED, OVERTAKEN, or what a report calls the failure."""
        outcome = "FAILED_DURING_WRITE"
        was_interrupted = write["erased"]
        goes_back = not self.carries_on and self.phone["restore_ticket"] is not None
        for attempt in range(TRIES_TO_WRITE):
            self.point(f"attempt-{attempt}")
            if (attempt or was_interrupted) and write["erased"] and goes_back:
                break
            try:
                with self.ecu() as ecu:
                    facts = self._same_ecu(ecu, write)
                    if _is_overtaken(facts, write):
                        return OVERTAKEN
                    verdict = self.judge_flash(_continued(facts, write))
                    if verdict.code != "ok":
                        break
                    assert verdict.image is not None and verdict.release is not None
                    if not self._write(ecu, verdict.image, write):
                        outcome = "VERIFY_FAILED"
                        continue
                    facts = ecu.identify()
                    if facts.mode == "application" and facts.calibration_id == verdict.release["calibration_id_after"]:
                        write["after"] = asdict(facts)
                        return "SUCCEEDED"
                    outcome = "VERIFY_FAILED"
            except LineLost:
                outcome = "FAILED_DURING_WRITE"
            except EcuRefused:
                break
        return outcome if write["erased"] else "FAILED_BEFORE_WRITE"

    def _write_stock(self, write: dict[str, Any]) -> None:
        trouble = ""
        for _ in range(TRIES_TO_RESTORE):
            try:
                with self.ecu() as ecu:
                    verdict = self.judge_restore(self._same_ecu(ecu, write))
                    if verdict.code != "ok":
                        raise Refused(verdict.code, verdict.why)
                    assert verdict.image is not None
                    if self._write(ecu, verdict.image, write):
                        facts = ecu.identify()
                        if facts.mode == "application":
                            write["after"] = asdict(facts)
                            return
                    trouble = "the ECU does not hold what was written"
            except (LineLost, EcuRefused) as lost:
                trouble = str(lost)
        raise NotDone(f"do not start the engine, connect again: {trouble}")

    @staticmethod
    def _same_ecu(ecu: EcuLine, write: dict[str, Any]) -> EcuFacts:
        """What the ECU says. Raises Refused when it is another one than that at which the write was begun: that one still waits."""
        facts = ecu.identify()
        if facts.serial not in (None, write["before"]["serial"]):
            raise Refused("wrong_vehicle", "this is not the ECU at which the write was begun")
        return facts

    def _write(self, ecu: EcuLine, image: bytes, write: dict[str, Any]) -> bool:
        """Erase and write unless the image is there already, then start the ECU anew; whether it holds the image."""
        sha256 = hashlib.sha256(image).digest()
        if not ecu.holds(sha256):
            block_bytes = ecu.identify().block_bytes
            self._erase(ecu, len(image), write)
            for block in range(len(image) // block_bytes):
                self.point(f"write-{write['what']}-{block}")
                ecu.write(block, image[block * block_bytes : (block + 1) * block_bytes])
            if not ecu.holds(sha256):
                return False
        ecu.reset()
        return True

    def _erase(self, ecu: EcuLine, image_bytes: int, write: dict[str, Any]) -> None:
        """Kept before it is done: afterwards nobody can tell. Unless the ECU says no, then nothing was erased."""
        was_erased = write["erased"]
        write["erased"] = True
        self.phone.keep(write=write)
        try:
            ecu.erase(image_bytes)
        except EcuRefused:
            write["erased"] = was_erased
            self.phone.keep(write=write)
            raise

    # Reports

    def _end(self, write: dict[str, Any], outcome: str) -> str:
        self._book(write, outcome, write=None, last_write=write, ended=outcome)
        self.point("before-report")
        return outcome

    def _book(self, write: dict[str, Any], outcome: str, /, **facts: Any) -> None:
        """Keep a report to be sent, in one step with what follows from it."""
        if write["ticket_id"] is None:
            self.phone.keep(**facts)
            return
        report = {
            "id": str(uuid.uuid4()),
            "ticket_id": write["ticket_id"],
            "outcome": outcome,
            "ecu_before": _state(write["before"]),
            "ecu_after": _state(write.get("after")),
            "app_version": self.app_version,
            "flashed_at": text_of(self.clock()),
        }
        self.phone.keep(reports=[*(self.phone["reports"] or []), report], **facts)


def _continued(now: EcuFacts, write: dict[str, Any]) -> EcuFacts:
    """What to judge by while a write is going on: what the ECU is, and what was in it before we erased that.

    Only for the very ECU at which it was begun, by its serial number; an ECU that does not tell one is judged by what it tells,
    which is refused, and gets its stock image back.
    """
    before = EcuFacts(**write["before"])
    is_the_same = now.serial is not None and (now.serial, now.hardware_number) == (before.serial, before.hardware_number)
    if not write["erased"] or not is_the_same:
        return now
    return replace(now, calibration_id=before.calibration_id, vin=now.vin or before.vin)


def _is_overtaken(now: EcuFacts, write: dict[str, Any]) -> bool:
    """Whether the ECU runs something by now that is neither what was in it nor ours: a dealer was faster, and nothing is written."""
    is_ours = now.calibration_id in (write["before"]["calibration_id"], write["calibration_id_after"])
    return bool(write["erased"]) and now.mode == "application" and not is_ours


def _state(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    if facts is None or facts["calibration_id"] is None:
        return None
    return {name: facts[name] for name in ("hardware_number", "calibration_id", "image_size_bytes")}


def text_of(at: datetime) -> str:
    """A time as the API takes it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
