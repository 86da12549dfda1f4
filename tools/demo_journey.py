#!/usr/bin/env python
"""Play a rider's whole journey against a running server, with plain HTTP, and print each step with its answer.

    python tools/demo_journey.py --base-url http://127.0.0.1:8000 --data-dir .data

It knows nothing but the API, the mail files and `demo.json`: what a person at a keyboard would have. Exit status 1 and
the failing step when anything is not as promised.
"""

import argparse
import base64
import hashlib
import html
import json
import re
import secrets
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

TIMEOUT_SECONDS = 30
WAIT_SECONDS = 60
PASSWORD = "four calm words " + secrets.token_hex(4)


class JourneyFailed(Exception):
    """A step was not answered as promised."""


class Journey:
    """One person at the API: their token, and a printed line for every call."""

    def __init__(self, base_url: str, data_dir: Path, *, quiet: bool = False) -> None:
        self.base_url, self.data_dir, self.quiet = base_url.rstrip("/"), data_dir, quiet
        self.token: str | None = None
        self.calls = 0

    def say(self, text: str = "") -> None:
        if not self.quiet:
            print(text, flush=True)

    def chapter(self, text: str) -> None:
        self.say(f"\n== {text}")

    def call(self, method: str, path: str, body: Any = None, *, expect: int, idempotent: bool = False, **params: Any) -> Any:
        """One call below /api/v1/; prints it and returns the parsed answer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if idempotent:
            headers["Idempotency-Key"] = str(uuid.uuid4())
        started = time.perf_counter()
        answer = requests.request(
            method, f"{self.base_url}/api/v1/{path}", json=body, params=params, headers=headers, timeout=TIMEOUT_SECONDS
        )
        self.calls += 1
        took_ms = (time.perf_counter() - started) * 1000
        parsed = answer.json() if answer.content else None
        query = "?" + "&".join(f"{name}={value}" for name, value in params.items()) if params else ""
        self.say(f"{method:6} {path}{query}  →  {answer.status_code}  ({took_ms:.0f} ms)")
        self.say(f"       {self._short(parsed)}")
        if answer.status_code != expect:
            raise JourneyFailed(f"{method} {path}: expected {expect}, got {answer.status_code}: {answer.text[:1000]}")
        return parsed

    @staticmethod
    def _short(parsed: Any) -> str:
        def hide(value: Any, name: str = "") -> Any:
            if isinstance(value, dict):
                return {key: hide(inner, key) for key, inner in value.items()}
            if isinstance(value, list):
                return [hide(inner, name) for inner in value[:2]] + (["…"] if len(value) > 2 else [])
            if name in {"access", "refresh", "client_secret", "url", "sandbox_url", "payload", "sig"} and isinstance(value, str):
                return value[:12] + "…"
            return value

        text = json.dumps(hide(parsed), ensure_ascii=False)
        return text if len(text) <= 320 else text[:317] + "…"

    def check(self, promise: str, kept: bool) -> None:
        self.say(f"       {'✓' if kept else '✗'} {promise}")
        if not kept:
            raise JourneyFailed(promise)

    def wait_for(self, what: str, probe: Any) -> Any:
        """Ask until `probe` answers something true."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = probe()
            if found:
                return found
            time.sleep(0.3)
        raise JourneyFailed(f"{what} did not happen within {WAIT_SECONDS} s")

    def quietly(self, method: str, path: str, **kwargs: Any) -> Any:
        """A call of a waiting loop: not printed."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, f"{self.base_url}/api/v1/{path}", headers=headers, timeout=TIMEOUT_SECONDS, **kwargs)
        self.calls += 1
        if answer.status_code >= 400:
            raise JourneyFailed(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def code_from_mail(self, address: str) -> str:
        """The six digits in the newest mail to an address, from the mail directory."""

        def probe() -> str | None:
            for mail in sorted((self.data_dir / "mail").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True):
                text = mail.read_text(encoding="utf-8", errors="replace") if mail.is_file() else ""
                if address in text and (match := re.search(r"^\s*([0-9]{6})\s*$", text, re.MULTILINE)):
                    return match.group(1)
            return None

        return self.wait_for(f"a mail with a code for {address}", probe)

    def upload(self, purpose: str, name: str, content: bytes, content_type: str) -> str:
        """The uploads protocol; returns the id of a READY upload."""
        started = self.call(
            "POST",
            "uploads/",
            {
                "purpose": purpose,
                "name": name,
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "content_type": content_type,
            },
            expect=201,
        )
        link = started["upload"]
        put = requests.put(link["url"], data=content, headers=link["headers"], timeout=TIMEOUT_SECONDS)
        self.say(f"PUT    (storage)  →  {put.status_code}  {len(content):,} bytes")
        self.check("storage takes the bytes", put.status_code == 200)
        self.call("POST", f"uploads/{started['id']}/complete/", expect=202)

        def probe() -> Any:
            upload = self.quietly("GET", f"uploads/{started['id']}/")
            return upload if upload["status"] in {"READY", "REFUSED"} else None

        upload = self.wait_for("the check of the upload", probe)
        self.check(f"the upload is READY ({upload['reasons'] or 'nothing to object to'})", upload["status"] == "READY")
        return started["id"]


def register(journey: Journey) -> dict:
    journey.chapter("A new rider registers")
    address = f"rider-{secrets.token_hex(5)}@example.com"
    meta = journey.call("GET", "meta/", expect=200)
    challenge = journey.call(
        "POST",
        "auth/register/",
        {"email": address, "password": PASSWORD, "display_name": "Robin", "terms_version": meta["texts"]["terms"]["version"]},
        expect=202,
    )
    code = journey.code_from_mail(address)
    journey.say(f"       the mail to {address} holds a code")
    device = {"installation_id": str(uuid.uuid4()), "name": "Robin's phone", "platform": "android", "app_version": "1.0.0"}
    session = journey.call(
        "POST", "auth/verify-email/", {"challenge_id": challenge["challenge_id"], "code": code, "device": device}, expect=200
    )
    journey.token = session["access"]
    tokens = journey.call("POST", "auth/refresh/", {"refresh": session["refresh"]}, expect=200)
    journey.token = tokens["access"]
    journey.call("GET", "users/me/", expect=200)
    return meta


def choose_stock_image(data_dir: Path) -> dict:
    """A stock image of a 2021 motorcycle for which the demo has both a free and a paid tune."""
    index = json.loads((data_dir / "demo" / "stock" / "index.json").read_text())
    return next(image for image in index if image["journey"])


def add_vehicle(journey: Journey, stock: dict) -> dict:
    journey.chapter("Adds a motorcycle from the catalogue and sends the ECU's read-out")
    models = journey.call("GET", "garage/catalog/models/", expect=200, make=stock["make"], q=stock["model"].lower().replace("-", ""))
    journey.check("the catalogue knows the model, however it is spelt", any(row["model"] == stock["model"] for row in models["results"]))
    vehicle = journey.call(
        "POST",
        "garage/vehicles/",
        {
            "kind": "MOTORCYCLE",
            "make": stock["make"],
            "model": stock["model"],
            "year": stock["year"],
            "market": stock["market"],
            "nickname": "Commuter",
            "fuel": {"octane": 98, "scale": "RON"},
        },
        expect=201,
        idempotent=True,
    )
    journey.call(
        "PUT",
        f"garage/vehicles/{vehicle['id']}/ecu/",
        {
            "hardware_number": stock["hardware_number"],
            "calibration_id": stock["calibration_id"],
            "serial": "S" + secrets.token_hex(6).upper(),
            "image_size_bytes": stock["image_size_bytes"],
            "read_at": now(),
        },
        expect=200,
    )
    return vehicle


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def browse(journey: Journey, vehicle: dict, stock: dict) -> tuple[dict, dict]:
    journey.chapter("Browses for it, with verdicts")
    page = journey.call(
        "GET", "marketplace/tunes/", expect=200, make=stock["make"], model=stock["model"], year=stock["year"], vehicle=vehicle["id"]
    )
    matching = [tune for tune in page["results"] if tune["fitment"]["verdict"] == "match"]
    free = next((tune for tune in matching if tune["price_minor"] == 0), None)
    paid = next((tune for tune in matching if tune["price_minor"] > 0), None)
    journey.check("there is a free and a paid tune that match", bool(free and paid))
    for tune in (free, paid):
        journey.call("GET", f"marketplace/tunes/{tune['id']}/", expect=200)
    journey.call("GET", f"marketplace/tunes/{paid['id']}/versions/", expect=200)
    journey.call("GET", f"tuners/{paid['tuner']['id']}/reviews/", expect=200)
    journey.call("GET", f"marketplace/tunes/{paid['id']}/fitment/", expect=200, vehicle=vehicle["id"])
    return free, paid


def buy(journey: Journey, tune: dict, vehicle: dict, meta: dict, *, acknowledge: bool = False) -> dict:
    """Buy with the attestation; with `acknowledge` the first try is refused and says what is unknown."""
    wish = {
        "tune": tune["id"],
        "vehicle": vehicle["id"],
        "expected_price_minor": tune["price_minor"],
        "currency": tune["currency"],
        "attestation": {"text_version": meta["texts"]["attestation"]["version"], "accepted": True},
    }
    if acknowledge:
        refusal = journey.call("POST", "marketplace/purchases/", wish, expect=409, idempotent=True)
        journey.check("the refusal says what to acknowledge", refusal["code"] == "acknowledgement_required")
        wish["acknowledged_reasons"] = refusal["required_reasons"]
    return journey.call("POST", "marketplace/purchases/", wish, expect=201, idempotent=True)


def download(journey: Journey, purchase: dict, vehicle: dict) -> dict:
    grant = journey.call(
        "POST", f"marketplace/purchases/{purchase['id']}/downloads/", {"vehicle": vehicle["id"]}, expect=201, idempotent=True
    )
    whole = requests.get(grant["url"], timeout=TIMEOUT_SECONDS)
    part = requests.get(grant["url"], headers={"Range": "bytes=1000-1999"}, timeout=TIMEOUT_SECONDS)
    journey.say(f"GET    (storage)  →  {whole.status_code}  {len(whole.content):,} bytes, and a range  →  {part.status_code}")
    journey.check("the size is as promised", len(whole.content) == grant["size_bytes"] == grant["file"]["size_bytes"])
    journey.check("the hash is as promised", hashlib.sha256(whole.content).hexdigest() == grant["sha256"] == grant["file"]["sha256"])
    journey.check("a range is that part of the file", part.status_code == 206 and part.content == whole.content[1000:2000])
    return grant


def flash(journey: Journey, meta: dict, free: dict, vehicle: dict, stock: dict) -> None:
    journey.chapter("Takes the free tune and downloads it")
    purchase = buy(journey, free, vehicle, meta)
    journey.check("a free tune is paid at once", purchase["status"] == "PAID")
    grant = download(journey, purchase, vehicle)
    journey.check(
        "no flash ticket without a saved stock file", grant["ticket"] is None and "stock_backup_required" in grant["ticket_blockers"]
    )

    journey.chapter("Saves the stock file, gets the ticket and reports the flash")
    content = (journey.data_dir / "demo" / "stock" / stock["file"]).read_bytes()
    upload_id = journey.upload("STOCK_FILE", stock["file"], content, "application/octet-stream")
    saved = journey.call("POST", f"garage/vehicles/{vehicle['id']}/stock-files/", {"upload_id": upload_id}, expect=201, idempotent=True)
    journey.check("with the way back: a restore ticket", bool(saved["restore_ticket"]))
    grant = download(journey, purchase, vehicle)
    journey.check("the flash ticket is there", grant["ticket"] is not None and grant["ticket_blockers"] == [])
    report = {
        "id": str(uuid.uuid4()),
        "ticket_id": json.loads(decode_payload(grant["ticket"]))["ticket_id"],
        "outcome": "SUCCEEDED",
        "ecu_before": {"hardware_number": stock["hardware_number"], "calibration_id": stock["calibration_id"]},
        "ecu_after": {"hardware_number": stock["hardware_number"], "calibration_id": grant["file"]["calibration_id_after"]},
        "app_version": "1.0.0",
        "flashed_at": now(),
    }
    flashed = journey.call("POST", "marketplace/flashes/", report, expect=201)
    journey.check("the license is bound to this bike", flashed["license_state"] == "BOUND")
    journey.call("GET", "trust/status/", expect=200)


def decode_payload(envelope: dict) -> bytes:
    return base64.b64decode(envelope["payload"])


def pay_and_review(journey: Journey, meta: dict, paid: dict, vehicle: dict) -> None:
    journey.chapter("Buys a paid tune, pays by hand and reviews it")
    journey.say("       (another tune is in the ECU now: this one can be bought, but the stock file goes back in before it is flashed)")
    purchase = buy(journey, paid, vehicle, meta, acknowledge=True)
    journey.check("it waits for the payment", purchase["status"] == "PENDING" and bool(purchase["payment"]["client_secret"]))
    page = requests.get(purchase["payment"]["sandbox_url"], timeout=TIMEOUT_SECONDS)
    title = re.search(r"<title>(.*?)</title>", page.text, re.DOTALL)
    journey.say(f"GET    (payment page)  →  {page.status_code}  “{html.unescape(title.group(1)).strip() if title else ''}”")
    paid_page = requests.post(purchase["payment"]["sandbox_url"], data={"outcome": "succeed"}, timeout=TIMEOUT_SECONDS)
    journey.check("the payment page takes the payment", paid_page.status_code == 200)

    def probe() -> Any:
        current = journey.quietly("GET", f"marketplace/purchases/{purchase['id']}/")
        return current if current["status"] == "PAID" else None

    settled = journey.wait_for("the webhook's work", probe)
    journey.say(f"       purchase {settled['number']} is {settled['status']}, paid at {settled['paid_at']}")
    journey.call("GET", f"marketplace/purchases/{purchase['id']}/receipt/", expect=200)
    download(journey, purchase, vehicle)
    journey.call("GET", f"marketplace/purchases/{purchase['id']}/downloads/", expect=200)
    journey.call(
        "POST",
        f"tuners/{paid['tuner']['id']}/reviews/",
        {"tune": paid["id"], "rating": 5, "text": "Pulls cleanly from 3,000 rpm, and the throttle is finally smooth."},
        expect=201,
        idempotent=True,
    )


def parse_options(description: str) -> argparse.Namespace:
    """The command line of both journeys."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--data-dir", type=Path, default=Path(".data"))
    parser.add_argument("--quiet", action="store_true", help="print the last line only")
    return parser.parse_args()


def main() -> int:
    options = parse_options(__doc__.splitlines()[0])
    journey = Journey(options.base_url, options.data_dir, quiet=options.quiet)
    started = time.monotonic()
    try:
        stock = choose_stock_image(options.data_dir)
        meta = register(journey)
        vehicle = add_vehicle(journey, stock)
        free, paid = browse(journey, vehicle, stock)
        flash(journey, meta, free, vehicle, stock)
        pay_and_review(journey, meta, paid, vehicle)
    except (JourneyFailed, requests.RequestException, OSError, KeyError, StopIteration) as problem:
        print(f"\nThe journey failed: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 1
    print(f"\nThe whole journey: {journey.calls} calls in {time.monotonic() - started:.1f} s, everything as promised.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
