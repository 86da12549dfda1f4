"""The reference app: what a phone does between its owner, our public API and the ECU. It goes on wherever it was interrupted.

What it writes, and how it gets out of trouble while it writes, is in `flasher`, which knows no network.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import verify_download

from vbench.api import Api, ApiRefused, Offline
from vbench.flasher import Flasher, Refused, text_of
from vbench.phone import Phone
from vbench.wire import EcuFacts

DOWNLOAD_TRIES = 6
LARGEST_FILE_BYTES = 16 * 1024 * 1024
UPLOAD_SECONDS = 60
ANOTHER_GRANT_MAY_HELP = ("expired_ticket", "bad_signature", "tampered")


class App(Flasher):
    """The app with a network. `read_code` and `pay` are its owner at mail and browser."""

    def __init__(
        self,
        phone: Phone,
        ecu: tuple[str, int],
        *,
        api: Api,
        read_code: Callable[[str], str],
        pay: Callable[[str], None],
        **more: Any,
    ) -> None:
        super().__init__(phone, ecu, **more)
        self.api, self._read_code, self._pay = api, read_code, pay

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
            try:
                self.flash()
            except Refused as refusal:
                if refusal.code not in ANOTHER_GRANT_MAY_HELP:
                    raise
                self.phone.keep(grant=None, grant_key=None, downloaded=None)
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
            self.phone.keep(read_at=text_of(self.clock()))
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
        purchase = self.api.call("POST", f"marketplace/purchases/{phone['purchase']}/sync/")  # perhaps it was paid before we died
        if purchase["status"] == "PENDING":
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
            if refusal.code == "already_owned":
                return {"id": refusal.problem["purchase_id"]}
            if refusal.code != "acknowledgement_required" or not set(refusal.problem["required_reasons"]) <= set(accepts):
                raise
            wish |= {"acknowledged_reasons": refusal.problem["required_reasons"]}
            return self.api.call("POST", "marketplace/purchases/", wish, key=self.phone.made("acknowledged_purchase_key"))

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
        if not self.has_way_back(EcuFacts(**phone["readout"])):
            phone.keep(restore_ticket=None)
            raise Refused("stock_backup_required", "what came back is not the way back to this image")
        self.point("stock-saved")

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
        until = time.monotonic() + UPLOAD_SECONDS
        while (seen := self.api.call("GET", f"uploads/{upload['id']}/"))["status"] not in ("READY", "REFUSED"):
            if time.monotonic() > until:
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
        """The newest roots and status that can be reached, kept only if they are genuine.

        Whoever sits in the network can send anything: what does not verify must not take the place of what did, neither for
        the next flash nor for the way back. Without a network those that are there have to do.
        """
        phone = self.phone
        try:
            roots = self._genuine_roots()
            phone.keep(later_roots=roots)
            status = self.api.call("GET", "trust/status/")
            root = verify_download.walk_roots(phone["root"], roots)
            seen = verify_download.check_status(status, root=root, seen_version=phone["seen_status_version"] or 0, at=self.at())
            phone.keep(status=status, seen_status_version=seen["version"])
        except (Offline, ApiRefused, verify_download.Refused):
            pass

    def _genuine_roots(self) -> list[Any]:
        """The successors of the root that the app ships with, as far as each is signed by the one before."""
        roots = list(self.phone["later_roots"] or [])
        shipped = verify_download.walk_roots(self.phone["root"], [])
        while True:
            try:
                found = self.api.call("GET", f"trust/root/{shipped.version + len(roots) + 1}/")
                verify_download.walk_roots(self.phone["root"], [*roots, found])
            except (ApiRefused, verify_download.Refused):
                return roots
            roots.append(found)

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

    def flash(self) -> str:
        """As `Flasher.flash`, with the newest status that can be reached."""
        self.refresh_trust()
        return super().flash()

    def take_rescue(self, token: str) -> None:
        """On a phone that knows nothing: the stock image and its restore ticket, by the code of a rescue link."""
        rescue = self.api.call("POST", "garage/rescue/", {"token": token})
        file = rescue["stock_file"]
        data = self.api.get_file(file["url"], have=b"", largest=file["size_bytes"])
        self.phone.keep_file("stock.bin", data)
        self.phone.keep(restore_ticket=rescue["restore_ticket"], stock_format=file["format"])

    def send_reports(self) -> None:
        """Tell what happened, perhaps days later. Sent twice it is one report, so it is forgotten only after the answer."""
        while reports := self.phone["reports"]:
            self.api.call("POST", "marketplace/flashes/", reports[0])
            self.point("reported")
            self.phone.keep(reports=reports[1:])
