"""The reference app: what a phone does between its owner, our public API and the ECU. It goes on wherever it was interrupted.

Three rules carry it. What it is about to do stands in the phone's journal before it does it. Nothing is erased before
`verify_download` said yes to these very bytes, this ticket and this ECU. And whoever began to write ends with the tune or
with the stock image, however often cable, power, network or the app itself give up in between.
"""

import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from verify_download import Readout, Verdict, decode_base64, moment, parse_json, verify_flash, verify_restore

from vbench.api import Api, ApiRefused, Offline
from vbench.phone import Phone
from vbench.wire import EcuFacts, EcuLine, EcuRefused, LineLost

APP_VERSION = "1.0.0"
TRIES_TO_WRITE = 3
TRIES_TO_RESTORE = 5
TRIES_TO_READ = 3
DOWNLOAD_TRIES = 6
LARGEST_FILE_BYTES = 16 * 1024 * 1024


class Refused(Exception):
    """Something says no, and nothing is written. `code` is that of a check, of a problem, or of a blocker of the ticket."""

    def __init__(self, code: str, why: str = "") -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


class NotDone(Exception):
    """The vehicle must not be started: neither tune nor stock image is in it yet. The next start of the app goes on."""


def _nothing(point: str) -> None:
    """Where tests kill the app."""


class App:
    """An app on a phone beside a vehicle. `clock` is the phone's, `read_code` and `pay` are its owner at mail and browser."""

    def __init__(
        self,
        phone: Phone,
        ecu: tuple[str, int],
        *,
        api: Api | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        read_code: Callable[[str], str] | None = None,
        pay: Callable[[str], None] | None = None,
        app_version: str = APP_VERSION,
        carries_on: bool = True,
        patience_seconds: float = 5.0,
        on_point: Callable[[str], None] = _nothing,
    ) -> None:
        self.phone, self.ecu_address, self.clock = phone, ecu, clock
        self._api, self._read_code, self._pay = api, read_code, pay
        self.app_version = app_version
        self.carries_on, self.patience_seconds, self.point = carries_on, patience_seconds, on_point

    @property
    def api(self) -> Api:
        if self._api is None:
            raise Offline("this phone has no network")
        return self._api

    def ecu(self) -> EcuLine:
        return EcuLine(self.ecu_address, patience_seconds=self.patience_seconds)

    def at(self) -> datetime:
        """Now; a clock that is behind is corrected by the time at which the newest known status was made."""
        status = self.phone["status"]
        issued_at = moment(parse_json(decode_base64(status["payload"]))["issued_at"]) if status else None
        return max(self.clock(), issued_at) if issued_at else self.clock()

    # The whole way, from a new phone to a reported flash

    def run(self, rider: dict[str, Any]) -> str:
        """Go the whole way, or what is left of it; how it ended. `rider` knows address, vehicle and which tune."""
        if self.phone["write"] is not None:  # an interrupted write goes before everything else
            self.settle()
        if self.phone["ended"] is None:
            self.sign_in(rider)
            self.add_vehicle(rider)
            self.buy(rider)
            self.save_stock(rider)
            self.get_ticket()
            self.download()
            self.flash()
        self.send_reports()
        return str(self.phone["ended"])

    def sign_in(self, rider: dict[str, Any]) -> None:
        """Register, or log in if an earlier try made the account already."""
        phone = self.phone
        if phone["refresh"] is not None:
            return
        meta = self.api.call("GET", "meta/")
        phone.keep(attestation=meta["texts"]["attestation"]["version"], no_read_back=meta["texts"]["no_read_back"]["version"])
        device = {"installation_id": phone.made("installation"), "name": "My phone", "platform": "android", "app_version": self.app_version}
        if phone["challenge"] is None:
            body = {
                "email": rider["email"],
                "password": rider["password"],
                "display_name": "Robin",
                "terms_version": meta["texts"]["terms"]["version"],
            }
            phone.keep(challenge=self.api.call("POST", "auth/register/", body)["challenge_id"])
            self.point("registered")
        session = self._verify_email(rider, device)
        phone.keep(access=session["access"], refresh=session["refresh"])
        self.point("signed-in")

    def _verify_email(self, rider: dict[str, Any], device: dict[str, Any]) -> Any:
        assert self._read_code is not None
        while True:
            try:
                body = {"challenge_id": self.phone["challenge"], "code": self._read_code(rider["email"]), "device": device}
                return self.api.call("POST", "auth/verify-email/", body)
            except ApiRefused as refusal:
                if refusal.code == "challenge_over":  # the answer to an earlier try got lost: the account exists
                    body = {"email": rider["email"], "password": rider["password"], "device": device}
                    return self.api.call("POST", "auth/login/", body)
                if refusal.code != "challenge_code_wrong" or not refusal.problem["tries_left"]:
                    raise
                time.sleep(1)  # of an earlier mail: the rider looks for a newer one

    def add_vehicle(self, rider: dict[str, Any]) -> None:
        """The vehicle with the VIN that its ECU reports, and the read-out."""
        phone = self.phone
        if phone["readout"] is not None:
            return
        facts = self.identify()
        vehicle = {"id": phone.made("vehicle"), **rider["vehicle"], **({"vin": facts.vin} if facts.vin else {})}
        self.api.call("POST", "garage/vehicles/", vehicle)
        self.point("vehicle-added")
        self.send_readout(facts)

    def send_readout(self, facts: EcuFacts) -> None:
        """Tell the garage what the ECU says, which tells back with what calibration it left the factory."""
        if facts.calibration_id is None:
            raise Refused("ecu_readout_required", "the ECU does not run: what is in it is not known")
        if self.phone["read_at"] is None:
            self.phone.keep(read_at=_text(self.clock()))
        body = {
            "hardware_number": facts.hardware_number,
            "calibration_id": facts.calibration_id,
            "serial": facts.serial,
            "image_size_bytes": facts.image_size_bytes,
            "read_at": self.phone["read_at"],
        }
        self.api.call("PUT", f"garage/vehicles/{self.phone['vehicle']}/ecu/", body)
        vehicle = self.api.call("GET", f"garage/vehicles/{self.phone['vehicle']}/")
        known = {"market": vehicle["market"], "year": vehicle["year"], "stock_calibration_id": vehicle["ecu"]["stock_calibration_id"]}
        self.phone.keep(readout=asdict(facts), known=known, read_at=None)
        self.point("readout-sent")

    def buy(self, rider: dict[str, Any]) -> None:
        """The tune that the rider chose, with their word on the attestation; paid in the browser."""
        phone = self.phone
        if phone["paid"]:
            return
        if phone["purchase"] is None:
            tune = rider.get("tune") or self.choose("unknown" if "accepts_unknown" in rider else "match")
            wish = {
                "tune": tune["id"],
                "vehicle": phone["vehicle"],
                "expected_price_minor": tune["price_minor"],
                "currency": tune["currency"],
                "attestation": {"text_version": phone["attestation"], "accepted": True},
            }
            purchase = self._begin_purchase(wish, accepts=rider.get("accepts_unknown", []))
            phone.keep(purchase=purchase["id"], tune=tune["id"])
            self.point("purchase-begun")
        purchase = self.api.call("GET", f"marketplace/purchases/{phone['purchase']}/")
        if purchase["status"] == "PENDING":
            assert self._pay is not None
            self._pay(purchase["payment"]["sandbox_url"])  # in production: Stripe's payment sheet with payment.client_secret
            self.point("paid")
            purchase = self.api.call("POST", f"marketplace/purchases/{phone['purchase']}/sync/")
        if purchase["status"] != "PAID":
            raise Refused("purchase_not_paid", purchase["status"])
        phone.keep(paid=True)

    def choose(self, verdict: str) -> dict[str, Any]:
        """The first paid tune of which this is known."""
        page = self.api.call("GET", "marketplace/tunes/", vehicle=self.phone["vehicle"], verdict=verdict, free="false")
        if not page["results"]:
            raise Refused("nothing_fits")
        return dict(page["results"][0])

    def _begin_purchase(self, wish: dict[str, Any], *, accepts: list[str]) -> Any:
        """What is not known of the vehicle is asked for, and the rider says of each whether that is all right."""
        try:
            return self.api.call("POST", "marketplace/purchases/", wish, key=self.phone.made("purchase_key"))
        except ApiRefused as refusal:
            if refusal.code != "acknowledgement_required" or not set(refusal.problem["required_reasons"]) <= set(accepts):
                raise
            wish |= {"acknowledged_reasons": refusal.problem["required_reasons"]}
            self.phone.keep(purchase_key=None)
            return self.api.call("POST", "marketplace/purchases/", wish, key=self.phone.made("purchase_key"))

    def save_stock(self, rider: dict[str, Any]) -> None:
        """Read what is in the ECU, keep it on the phone and in the vault, and its restore ticket on the phone.

        Only while the ECU runs and was not written by us: half-erased memory is no way back. An ECU that does not let itself be
        read leaves the rider without; the server then gives no ticket, unless the tune's ECU can't be read and the rider consented.
        """
        phone = self.phone
        if phone["restore_ticket"] is not None or phone["accepts_no_way_back"]:
            return
        if phone.file("stock.bin") is None:
            image = self.read_image()
            if image is None:
                if rider.get("accepts_no_way_back"):
                    body = {"text_version": phone["no_read_back"], "accepted": True}
                    self.api.call("POST", f"garage/vehicles/{phone['vehicle']}/no-read-back/", body)
                    phone.keep(accepts_no_way_back=True)
                return
            phone.keep_file("stock.bin", image)
            self.point("stock-read")
        image = phone.file("stock.bin")
        assert image is not None
        if phone["stock_upload"] is None:
            phone.keep(stock_upload=self._upload(image))
            self.point("stock-uploaded")
        path = f"garage/vehicles/{phone['vehicle']}/stock-files/"
        try:
            saved = self.api.call("POST", path, {"upload_id": phone["stock_upload"]}, key=phone.made("stock_key"))
        except ApiRefused as refusal:
            if refusal.code != "stock_file_exists":
                raise
            saved = self.api.call("GET", f"{path}{refusal.problem['stock_file_id']}/")
        phone.keep(restore_ticket=saved["restore_ticket"], stock_format=saved["format"])
        self.point("stock-saved")

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

    def _upload(self, image: bytes) -> str:
        promise = {
            "purpose": "STOCK_FILE",
            "name": "stock.bin",
            "size_bytes": len(image),
            "sha256": hashlib.sha256(image).hexdigest(),
            "content_type": "application/octet-stream",
        }
        upload = self.api.call("POST", "uploads/", promise, key=self.phone.made("upload_key"))
        if upload["status"] == "PENDING":
            self.api.put_file(upload["upload"], image)
            self.api.call("POST", f"uploads/{upload['id']}/complete/")
        until = datetime.now(UTC).timestamp() + 60
        while (seen := self.api.call("GET", f"uploads/{upload['id']}/"))["status"] not in ("READY", "REFUSED"):
            if datetime.now(UTC).timestamp() > until:
                raise Offline("the upload is not checked yet")
            time.sleep(0.3)
        if seen["status"] == "REFUSED":
            raise Refused("stock_file_refused", str(seen["reasons"]))
        return str(upload["id"])

    def get_ticket(self) -> None:
        """Release, ticket and what is still allowed. All of it is checked later, offline."""
        phone = self.phone
        if phone["grant"] is not None:
            return
        body = {"vehicle": phone["vehicle"], "device_key": phone.made("device_key")}
        path = f"marketplace/purchases/{phone['purchase']}/downloads/"
        grant = self.api.call("POST", path, body, key=phone.made("grant_key"))
        if grant["ticket"] is None:
            phone.keep(grant_key=None)  # asked again, it may be another answer
            raise Refused(grant["ticket_blockers"][0], "no ticket yet")
        phone.keep(grant={name: grant[name] for name in ("id", "url", "release", "ticket", "size_bytes")})
        self.point("granted")

    def refresh_trust(self) -> None:
        """The newest roots and status that can be reached; without a network those that are there have to do."""
        phone = self.phone
        try:
            roots = list(phone["later_roots"] or [])
            shipped = parse_json(decode_base64(phone["root"]["payload"]))["version"]
            while True:
                try:
                    roots.append(self.api.call("GET", f"trust/root/{shipped + len(roots) + 1}/"))
                except ApiRefused:
                    break
            phone.keep(later_roots=roots, status=self.api.call("GET", "trust/status/"))
        except Offline:
            pass

    def download(self) -> None:
        """The file, in as many pieces as the line allows."""
        phone = self.phone
        if phone["downloaded"]:
            return
        size, url, data = phone["grant"]["size_bytes"], phone["grant"]["url"], b""
        for attempt in range(DOWNLOAD_TRIES):
            self.point(f"download-{attempt}")
            try:
                if attempt:
                    url = self.api.call("POST", f"marketplace/downloads/{phone['grant']['id']}/link/")["url"]
                data = self.api.get_file(url, have=data, largest=min(size, LARGEST_FILE_BYTES))
            except Offline:
                continue
            if len(data) >= size:
                break
        if len(data) < size:
            raise Offline("the download did not come to its end")
        phone.keep_file("tune.bin", data)
        phone.keep(downloaded=True)
        self.point("downloaded")

    def take_rescue(self, token: str) -> None:
        """On a phone that knows nothing: the stock image and its restore ticket, by the code of a rescue link."""
        rescue = self.api.call("POST", "garage/rescue/", {"token": token})
        file = rescue["stock_file"]
        data = self.api.get_file(file["url"], have=b"", largest=file["size_bytes"])
        self.phone.keep_file("stock.bin", data)
        self.phone.keep(restore_ticket=rescue["restore_ticket"], stock_format=file["format"])

    # Judging, without a network

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
            has_way_back=phone["restore_ticket"] is not None or bool(phone["accepts_no_way_back"]),
            at=self.at(),
        )
        if verdict.seen_status_version > (phone["seen_status_version"] or 0):
            phone.keep(seen_status_version=verdict.seen_status_version)
        return verdict

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

    # Writing, without a network

    def flash(self) -> str:
        """Write the tune if everything agrees. How it ended: SUCCEEDED, RESTORED or FAILED_BEFORE_WRITE.

        Raises Refused, before anything is erased, LineLost, and NotDone when it was begun and the ECU is gone.
        """
        self.refresh_trust()
        facts = self.identify()
        verdict = self.judge_flash(facts)
        if verdict.code != "ok":
            raise Refused(verdict.code, verdict.why)
        if facts.serial != self.phone["readout"]["serial"]:  # an ECU that tells no VIN is known by its serial number only
            raise Refused("wrong_vehicle", "this is not the ECU that was read out")
        assert verdict.ticket is not None
        self.phone.keep(write={"what": "tune", "before": asdict(facts), "ticket_id": verdict.ticket["ticket_id"], "erased": False})
        self.point("before-erase")
        return self.settle()

    def restore(self) -> str:
        """Put the stock image back because the rider wants it. Raises Refused, LineLost, NotDone."""
        facts = self.identify()
        verdict = self.judge_restore(facts)
        if verdict.code != "ok":
            raise Refused(verdict.code, verdict.why)
        ticket_id = (self.phone["last_write"] or {}).get("ticket_id")
        self.phone.keep(write={"what": "stock", "before": asdict(facts), "ticket_id": ticket_id, "erased": False})
        return self.settle()

    def settle(self) -> str:
        """Bring a write that was begun to its end: the tune, or the stock image. Raises NotDone, Refused for a foreign ECU."""
        write = self.phone["write"]
        if write["what"] == "tune":
            outcome = self._write_tune(write)
            if outcome in ("SUCCEEDED", "FAILED_BEFORE_WRITE"):
                return self._end(write, outcome)
            if self.phone["restore_ticket"] is None:
                raise NotDone("the write failed, and there is no stock file: connect again")
            self._book(write, outcome)
            write = {**write, "what": "stock"}
            self.phone.keep(write=write)
            self.point("going-back")
        self._write_stock(write)
        return self._end(write, "RESTORED")

    def _write_tune(self, write: dict[str, Any]) -> str:
        """SUCCEEDED, or what a report calls the failure."""
        outcome = "FAILED_DURING_WRITE"
        was_interrupted = write["erased"]
        goes_back = not self.carries_on and self.phone["restore_ticket"] is not None
        for attempt in range(TRIES_TO_WRITE):
            self.point(f"attempt-{attempt}")
            if (attempt or was_interrupted) and write["erased"] and goes_back:
                break
            try:
                with self.ecu() as ecu:
                    verdict = self.judge_flash(_continued(self._same_ecu(ecu, write), write))
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
            if not write["erased"]:
                write["erased"] = True
                self.phone.keep(write=write)
            ecu.erase(len(image))
            for block in range(len(image) // block_bytes):
                self.point(f"write-{write['what']}-{block}")
                ecu.write(block, image[block * block_bytes : (block + 1) * block_bytes])
            if not ecu.holds(sha256):
                return False
        ecu.reset()
        return True

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
            "flashed_at": _text(self.clock()),
        }
        self.phone.keep(reports=[*(self.phone["reports"] or []), report], **facts)

    def send_reports(self) -> None:
        """Tell what happened, perhaps days later. Sent twice it is one report, so it is forgotten only after the answer."""
        while reports := self.phone["reports"]:
            self.api.call("POST", "marketplace/flashes/", reports[0])
            self.point("reported")
            self.phone.keep(reports=reports[1:])


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


def _state(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    if facts is None or facts["calibration_id"] is None:
        return None
    return {name: facts[name] for name in ("hardware_number", "calibration_id", "image_size_bytes")}


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
