#!/usr/bin/env python
"""Record what the API really answers, as examples for its documentation: writes core/examples.json.

    make run        # in another terminal, with a fresh data directory: this changes its demo data
    python tools/record_examples.py --base-url http://127.0.0.1:8000 --data-dir .data

Plays a rider, a tuner, an applicant and a suspended tuner. Tokens, signatures, links and long texts are cut, lists are
shortened to two items.
"""

import argparse
import base64
import hashlib
import hmac
import io
import json
import re
import secrets
import struct
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml
from pypdf import PdfWriter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import demo_journey as play

from garage.ecu_images.generator import make_tuned

WRITTEN = ROOT / "core" / "examples.json"
HOST = "https://revsync.example"
TELLING = {"create_purchase": "payment", "create_download": "ticket"}  # an answer that has it shows more than one without
CUT = {"token", "access", "refresh", "mfa_token", "payload", "sig", "client_secret", "publishable_key"}


class Recorder(play.Journey):
    """Somebody at the API whose first success of each operation is kept, or the first that tells more."""

    kept: dict[str, dict[str, Any]] = {}
    operations: list[tuple[str, re.Pattern[str], str]] = []

    def learn_operations(self) -> None:
        """From the running server's own schema."""
        schema = yaml.safe_load(requests.get(f"{self.base_url}/api/schema/", timeout=60).content)
        for path, methods in schema["paths"].items():
            pattern = re.compile(re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(path.removeprefix("/api/v1/"))))
            for method, operation in methods.items():
                if isinstance(operation, dict) and "operationId" in operation:
                    self.operations.append((method.upper(), pattern, operation["operationId"]))
        self.operations.sort(key=lambda row: "[^" in row[1].pattern)  # fixed paths first

    def call(self, method: str, path: str, body: Any = None, *, expect: int, idempotent: bool = False, **params: Any) -> Any:
        answer = super().call(method, path, body, expect=expect, idempotent=idempotent, **params)
        if expect < 400:
            self.keep(method, path, body, expect, answer)
        return answer

    def quietly(self, method: str, path: str, **kwargs: Any) -> Any:
        return super().quietly(method, path, **kwargs)

    def keep(self, method: str, path: str, body: Any, status: int, answer: Any) -> None:
        name = next(name for verb, pattern, name in self.operations if verb == method and pattern.fullmatch(path))
        example: dict[str, Any] = {"status": status}
        if body is not None:
            example["request"] = tidy(body, self.base_url)
        if answer is not None:
            example["response"] = tidy(answer, self.base_url)
        member = TELLING.get(name)
        if name not in self.kept or (member and answer[member] and not self.kept[name]["response"][member]):
            self.kept[name] = example

    def sign_in(self, account: dict) -> None:
        """With the second factor, as a demo account."""
        self.token = None
        answer = self.call("POST", "auth/login/", {"email": account["email"], "password": account["password"]}, expect=200)
        if answer["mfa_required"]:
            code = {"mfa_token": answer["mfa_token"], "code": totp(account["totp_secret"])}
            answer = self.call("POST", "auth/mfa/verify/", code, expect=200)
        self.token = answer["access"]


def totp(secret: str) -> str:
    """RFC 6238 with SHA-1, six digits, 30 seconds."""
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


def tidy(value: Any, base_url: str, name: str = "") -> Any:
    """A value fit for print: no secrets, no machine's address, short."""
    if isinstance(value, dict):
        items = list(value.items())
        if name in {"enums", "limits"}:
            items = items[:3]
        return {key: tidy(inner, base_url, key) for key, inner in items}
    if isinstance(value, list):
        return [tidy(inner, base_url, name) for inner in value[:2]]
    if not isinstance(value, str):
        return value
    if name in CUT:
        return value[:12] + "…"
    if value.startswith("http"):
        parts = urlsplit(value)
        if "X-Amz-" in parts.query:
            return f"https://files.revsync.example{parts.path[:40]}…?X-Amz-Signature=…"
        value = re.sub(r"(cursor=|#)[^&]+", r"\1…", value)
        return value.replace(f"{parts.scheme}://{parts.netloc}", HOST, 1)
    if name == "password":
        return "four calm words"
    return value if len(value) <= 240 else value[:200] + "…"


def rider(me: Recorder, other: Recorder) -> None:
    """A new rider's whole way, and what there is beside it."""
    stock = play.choose_stock_image(me.data_dir)
    meta = play.register(me)
    vehicle = play.add_vehicle(me, stock)
    own = f"garage/vehicles/{vehicle['id']}/"
    me.call("GET", "garage/catalog/makes/", expect=200)
    me.call("POST", "garage/vin/decode/", {"vin": "JYARN66E9MA000007"}, expect=200)
    mod = me.call("POST", f"{own}mods/", {"category": "EXHAUST", "brand": "Akrapovič", "part": "Slip-on"}, expect=201, idempotent=True)
    me.call("GET", f"{own}mods/", expect=200)
    me.call("GET", f"{own}mods/{mod['id']}/", expect=200)
    me.call("PATCH", f"{own}mods/{mod['id']}/", {"notes": "With its own mapping."}, expect=200)
    me.call("DELETE", f"{own}mods/{mod['id']}/", expect=204)
    me.call("GET", f"{own}ecu/readouts/", expect=200)
    free, paid = play.browse(me, vehicle, stock)
    play.flash(me, meta, free, vehicle, stock)
    stock_files = me.call("GET", f"{own}stock-files/", expect=200)["results"]
    me.call("GET", f"{own}stock-files/{stock_files[0]['id']}/", expect=200)
    me.call("POST", "auth/step-up/", {"password": play.PASSWORD}, expect=204)
    rescue = me.call("POST", f"{own}rescue-links/", expect=201, idempotent=True)
    me.call("GET", f"{own}rescue-links/", expect=200)
    other.call("POST", "garage/rescue/", {"token": rescue["token"]}, expect=200)
    me.call("DELETE", f"{own}rescue-links/{rescue['id']}/", expect=204)
    first = me.call("GET", "marketplace/purchases/", expect=200)["results"][0]
    play.pay_and_review(me, meta, paid, vehicle)
    me.call("GET", "garage/vehicles/", expect=200)
    me.call("GET", own, expect=200)
    me.call("PATCH", own, {"odometer_km": 12480}, expect=200)
    me.call("POST", f"{own}no-read-back/", {"text_version": meta["texts"]["no_read_back"]["version"], "accepted": True}, expect=200)
    bought = f"marketplace/purchases/{first['id']}/"
    me.call("GET", bought, expect=200)
    trail = me.call("GET", f"{bought}downloads/", expect=200)["results"]
    grant = next(row for row in trail if row["outcome"] == "GRANTED" and row["kind"] == "GRANT")
    me.call("POST", f"marketplace/downloads/{grant['id']}/link/", expect=200)
    me.call("GET", "marketplace/flashes/", expect=200)
    installed = me.call("GET", f"marketplace/versions/{grant['version']}/", expect=200)["files"]
    me.call("POST", "marketplace/installed/check/", {"sha256": [file["sha256"] for file in installed]}, expect=200)
    me.call("POST", f"{bought}license/release/", {"reason": "The ECU was replaced by the dealer."}, expect=200)
    me.call("GET", "trust/root/1/", expect=200)
    for tune in (free, paid):
        me.call("PUT", f"marketplace/tunes/{tune['id']}/favorite/", expect=204)
    me.call("GET", "marketplace/favorites/", expect=200)
    me.call("DELETE", f"marketplace/tunes/{free['id']}/favorite/", expect=204)
    me.call("GET", "marketplace/tunes/facets/", expect=200, make=stock["make"])
    me.call("GET", "marketplace/tunes/suggest/", expect=200, q="yam")
    tuner = paid["tuner"]["id"]
    me.call("GET", "tuners/", expect=200)
    me.call("PUT", f"tuners/{tuner}/follow/", expect=204)
    me.call("GET", f"tuners/{tuner}/", expect=200)
    me.call("GET", "marketplace/tunes/followed/", expect=200)
    me.call("DELETE", f"tuners/{tuner}/follow/", expect=204)
    wanted = {"name": "Quickshifter for the road", "query": {"q": "quickshifter"}, "vehicle": vehicle["id"], "notify": True}
    search = me.call("POST", "marketplace/saved-searches/", wanted, expect=201, idempotent=True)
    me.call("GET", "marketplace/saved-searches/", expect=200)
    me.call("GET", f"marketplace/saved-searches/{search['id']}/", expect=200)
    me.call("PATCH", f"marketplace/saved-searches/{search['id']}/", {"notify": False}, expect=200)
    me.call("DELETE", f"marketplace/saved-searches/{search['id']}/", expect=204)
    me.call("GET", f"tuners/{tuner}/tunes/", expect=200)
    reviews = me.call("GET", f"marketplace/tunes/{paid['id']}/reviews/", expect=200)["results"]
    me.call("GET", f"tuners/reviews/{reviews[0]['id']}/", expect=200)
    me.call("PATCH", f"tuners/reviews/{reviews[0]['id']}/", {"rating": 4}, expect=200)
    me.call("GET", f"marketplace/tunes/{paid['id']}/same-bike/", expect=200, vehicle=vehicle["id"])
    me.call("GET", f"marketplace/tunes/{paid['id']}/similar/", expect=200)
    me.call("GET", "marketplace/tunes/trending/", expect=200)
    others = me.call("GET", "tuners/", expect=200)["results"]
    found = [row for one in others for row in me.quietly("GET", f"tuners/{one['id']}/reviews/")["results"]]
    theirs = next(row for row in found if row["id"] != reviews[0]["id"])
    me.call("POST", f"tuners/reviews/{theirs['id']}/report/", {"reason": "SPAM", "text": "An advertisement."}, expect=201)
    me.call("DELETE", f"tuners/reviews/{reviews[0]['id']}/", expect=204)
    give_up_a_purchase(me, meta, vehicle, {free["id"], paid["id"]})
    argue(me, meta, vehicle, {free["id"], paid["id"]}, about=first["id"])
    offer = me.call("POST", f"{own}transfer/", expect=201)
    me.call("DELETE", f"{own}transfer/", expect=204)
    offer = me.call("POST", f"{own}transfer/", expect=201)
    play.register(other)
    taken = other.call("POST", f"garage/transfers/{offer['id']}/accept/", {"code": offer["code"]}, expect=200)
    other.call("DELETE", f"garage/vehicles/{taken['id']}/", expect=204)


def give_up_a_purchase(me: Recorder, meta: dict, vehicle: dict, owned: set[str]) -> None:
    """Begin a purchase, ask the provider, cancel it."""
    page = me.call("GET", "marketplace/tunes/", expect=200, vehicle=vehicle["id"])
    tune = next(row for row in page["results"] if row["price_minor"] and row["id"] not in owned)
    pending = play.buy(me, tune, vehicle, meta, acknowledge=True)
    me.call("POST", f"marketplace/purchases/{pending['id']}/sync/", expect=200)
    me.call("POST", f"marketplace/purchases/{pending['id']}/cancel/", expect=200)


def argue(me: Recorder, meta: dict, vehicle: dict, owned: set[str], *, about: str) -> None:
    """Pay and want the money back; ask the tuner something."""
    page = me.call("GET", "marketplace/tunes/", expect=200, vehicle=vehicle["id"])
    tune = next(row for row in page["results"] if row["price_minor"] and row["id"] not in owned)
    purchase = play.buy(me, tune, vehicle, meta, acknowledge=True)
    path = f"marketplace/purchases/{purchase['id']}/"
    requests.post(purchase["payment"]["sandbox_url"], data={"outcome": "succeed"}, timeout=30)
    me.call("POST", f"{path}sync/", expect=200)
    me.call("POST", f"{path}refunds/", {"reason": "I bought it for the wrong bike."}, expect=201, idempotent=True)
    me.wait_for("the refund", lambda: me.quietly("GET", f"{path}refunds/")["results"][0]["status"] == "SUCCEEDED")
    me.call("GET", f"{path}refunds/", expect=200)
    question = {"purchase": about, "kind": "OTHER", "text": "Does the map keep the stock rev limiter?"}
    case = me.call("POST", "marketplace/cases/", question, expect=201, idempotent=True)
    more = {"text": "I ride it on the road only."}
    me.call("POST", f"marketplace/cases/{case['id']}/messages/", more, expect=201, idempotent=True)
    me.call("GET", "marketplace/cases/", expect=200)
    me.call("GET", f"marketplace/cases/{case['id']}/", expect=200)


def one_page(title: str) -> bytes:
    """A PDF document."""
    document, stream = PdfWriter(), io.BytesIO()
    document.add_blank_page(300, 200)
    document.add_metadata({"/Title": f"{title} {secrets.token_hex(4)}"})
    document.write(stream)
    return stream.getvalue()


def applicant(me: Recorder) -> None:
    """Apply as a tuner."""
    play.register(me)
    form = {
        "kind": "TUNER",
        "business_name": f"Kestrel Tuning {secrets.token_hex(2)}",
        "country": "DE",
        "experience": "Twelve years at the dyno.",
        "specialities": ["STREET", "DYNO_TUNING"],
    }
    me.call("POST", "tuners/application/", form, expect=201)
    me.call("PATCH", "tuners/application/", {"website": "https://kestrel.example"}, expect=200)
    papers = []
    for kind in ("BUSINESS_REGISTRATION", "INSURANCE"):
        upload = me.upload("CERTIFICATION", f"{kind.lower()}.pdf", one_page(kind), "application/pdf")
        body = {"upload_id": upload, "type": kind, "issuer": "Chamber of Commerce", "number": "HR-20771", "expires_on": "2030-12-31"}
        papers.append(me.call("POST", "tuners/certifications/", body, expect=201))
    me.call("GET", "tuners/certifications/", expect=200)
    me.call("DELETE", f"tuners/certifications/{papers[1]['id']}/", expect=204)
    me.call("POST", "tuners/application/submit/", expect=200)
    me.call("GET", "tuners/application/", expect=200)


def tuner(me: Recorder, account: dict) -> None:
    """A tuner's daily work."""
    me.sign_in(account)
    profile = me.call("GET", "tuners/me/", expect=200)
    me.call("PATCH", "tuners/me/", {"about": profile["about"] or "Fuelling that feels like stock, only better."}, expect=200)
    reviews = me.call("GET", f"tuners/{profile['id']}/reviews/", expect=200)["results"]
    if reviews:
        me.call("POST", f"tuners/reviews/{reviews[0]['id']}/reply/", {"text": "Thank you, ride safely."}, expect=200)
    me.call("GET", "marketplace/sales/", expect=200)
    me.call("GET", "marketplace/sales/summary/", expect=200, by="tune")
    me.call("GET", "marketplace/analytics/", expect=200, by="tune")
    me.call("GET", "marketplace/balance/", expect=200)
    payouts = me.call("GET", "marketplace/payouts/", expect=200)["results"]
    for payout in payouts[:1]:
        me.call("GET", f"marketplace/payouts/{payout['id']}/", expect=200)
    me.call("GET", "marketplace/statements/", expect=200)
    me.call("POST", "auth/step-up/", {"password": account["password"]}, expect=204)
    me.call("POST", "tuners/me/payout-account/", expect=200, idempotent=True)
    me.call("GET", "tuners/me/payout-account/", expect=200)
    listing = {
        "title": "Street map with quickshifter",
        "description": "Smooth fuelling below 4,000 rpm.",
        "kind": "MOTORCYCLE",
        "category": "STAGE_1",
        "price_minor": 14900,
        "currency": "EUR",
        "requirements": {"fuel": {"octane": 98, "scale": "RON"}, "flash_methods": ["OBD"], "read_back": "YES"},
    }
    tune = me.call("POST", "marketplace/tunes/", listing, expect=201, idempotent=True)
    me.call("PATCH", f"marketplace/tunes/{tune['id']}/", {"price_minor": 12900}, expect=200)
    stock = play.choose_stock_image(me.data_dir)
    image = make_tuned((me.data_dir / "demo" / "stock" / stock["file"]).read_bytes(), seed=secrets.token_hex(4), calibration_id="B7N21S1")
    upload = me.upload("TUNE_FILE", "mt09-street.bin", image, "application/octet-stream")
    me.call("POST", "marketplace/inspections/", {"upload_id": upload, "hardware_number": stock["hardware_number"]}, expect=200)
    fitment = {
        "make": stock["make"],
        "model": stock["model"],
        "year_from": stock["year"],
        "year_to": stock["year"],
        "markets": [stock["market"]],
        "hardware_numbers": [stock["hardware_number"]],
        "calibration_ids": [stock["calibration_id"]],
        "image_size_bytes": stock["image_size_bytes"],
    }
    release = {
        "version": "1.0.0",
        "changelog": "First release.",
        "emissions_class": "CLOSED_COURSE_ONLY",
        "files": [{"upload_id": upload, "fitments": [fitment], "calibration_id_after": "B7N21S1"}],
    }
    path = validated_version(me, tune, release)
    me.call("PATCH", path, {"changelog": "First release, measured on the dyno."}, expect=200)
    me.call("POST", f"{path}submit/", expect=200)
    me.call("GET", path, expect=200)
    me.call("POST", f"{path}cancel-review/", expect=200)
    me.call("DELETE", path, expect=204)
    me.call("DELETE", f"marketplace/tunes/{tune['id']}/", expect=204)
    try_out(me, listing, release, stock, image)
    on_sale = [row for row in me.call("GET", "tuners/me/tunes/", expect=200)["results"] if row["on_sale"] and row["status"] == "PUBLISHED"]
    sold = on_sale[0]
    me.call("POST", f"marketplace/tunes/{sold['id']}/archive/", expect=200)
    me.call("POST", f"marketplace/tunes/{sold['id']}/unarchive/", expect=200)
    me.call("POST", f"marketplace/versions/{sold['latest_version']['id']}/withdraw/", expect=200)
    reason = {"reason": "Idle hunts on cold starts; a corrected version follows."}
    me.call("POST", f"marketplace/versions/{on_sale[1]['latest_version']['id']}/hold/", reason, expect=200)


def validated_version(me: Recorder, tune: dict, release: dict) -> str:
    """Submit a version and wait for its inspection; its path."""
    version = me.call("POST", f"marketplace/tunes/{tune['id']}/versions/", release, expect=201, idempotent=True)
    path = f"marketplace/versions/{version['id']}/"
    me.wait_for("the inspection", lambda: me.quietly("GET", path)["status"] == "VALIDATED")
    return path


def try_out(me: Recorder, listing: dict, release: dict, stock: dict, image: bytes) -> None:
    """A tuner flashes the own vehicle before publication."""
    tune = me.call("POST", "marketplace/tunes/", listing, expect=201, idempotent=True)
    upload = me.upload("TUNE_FILE", "mt09-street.bin", image, "application/octet-stream")
    path = validated_version(me, tune, {**release, "files": [{**release["files"][0], "upload_id": upload}]})
    vehicle = play.add_vehicle(me, stock)
    original = (me.data_dir / "demo" / "stock" / stock["file"]).read_bytes()
    saved = me.upload("STOCK_FILE", stock["file"], original, "application/octet-stream")
    me.call("POST", f"garage/vehicles/{vehicle['id']}/stock-files/", {"upload_id": saved}, expect=201, idempotent=True)
    me.call("POST", f"{path}test-tickets/", {"vehicle": vehicle["id"]}, expect=201, idempotent=True)


def stopped_version(me: Recorder, accounts: list[dict]) -> None:
    """Somebody who is told of a recall says that they have read it."""
    for account in accounts:
        me.sign_in(account)
        hashes = set()
        for purchase in me.quietly("GET", "marketplace/purchases/")["results"]:
            for version in me.quietly("GET", f"marketplace/tunes/{purchase['tune']['id']}/versions/")["results"]:
                hashes |= {file["sha256"] for file in version["files"]} if version["status"] in {"ON_HOLD", "RECALLED"} else set()
        if not hashes:
            continue
        results = me.quietly("POST", "marketplace/installed/check/", json={"sha256": sorted(hashes)})["results"]
        recall = next((row["recall"] for row in results if row["recall"]), None)
        if recall:
            me.call("POST", f"marketplace/recalls/{recall['id']}/acknowledge/", expect=200)
            return


def payment_event(me: Recorder) -> None:
    """An event of a kind that changes nothing, signed as the provider does."""
    runtime = dict(line.split("=", 1) for line in (me.data_dir / "runtime.env").read_text().splitlines() if "=" in line)
    secret = runtime["STRIPE_WEBHOOK_SECRETS"].strip("'\"").split(",")[0]
    stamp = int(time.time())
    event = {"id": f"evt_{uuid.uuid4().hex}", "type": "ping", "created": stamp, "livemode": False, "data": {"object": {}}}
    body = json.dumps(event)
    signature = hmac.new(secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
    path = "marketplace/payments/webhooks/stripe/"
    headers = {"Stripe-Signature": f"t={stamp},v1={signature}", "Content-Type": "application/json"}
    answer = requests.post(f"{me.base_url}/api/v1/{path}", data=body, headers=headers, timeout=30)
    if answer.status_code != 200:
        raise play.JourneyFailed(f"{path}: {answer.status_code} {answer.text[:500]}")
    me.keep("POST", path, None, 200, answer.json())


def main() -> int:
    parser = argparse.ArgumentParser(description="Record what the API answers, as examples for its documentation.")
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--data-dir", type=Path, default=Path(".data"))
    parser.add_argument("--keep-going", action="store_true", help="write what was recorded although a part failed")
    options = parser.parse_args()
    accounts = json.loads((options.data_dir / "demo.json").read_text())

    def somebody() -> Recorder:
        return Recorder(options.base_url, options.data_dir, quiet=True)

    def having(role: str, about: str = "") -> list[dict]:
        return [account for account in accounts if account["role"] == role and account["about"] == about]

    somebody().learn_operations()
    parts = [
        ("rider", lambda: rider(somebody(), somebody())),
        ("applicant", lambda: applicant(somebody())),
        ("tuner", lambda: tuner(somebody(), having("TUNER")[0])),
        ("suspended tuner", lambda: suspended(somebody(), having("TUNER", "suspended")[0])),
        ("recall", lambda: stopped_version(somebody(), having("RIDER"))),
        ("payment event", lambda: payment_event(somebody())),
    ]
    failed = 0
    for name, act in parts:
        try:
            act()
        except (play.JourneyFailed, requests.RequestException, KeyError, StopIteration, IndexError) as problem:
            print(f"{name}: {type(problem).__name__}: {problem}", file=sys.stderr)
            failed = 1
    if not failed or options.keep_going:
        WRITTEN.write_text(json.dumps(dict(sorted(Recorder.kept.items())), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    names = {name for _verb, _pattern, name in Recorder.operations}
    print(f"{len(Recorder.kept)} of {len(names)} operations recorded; without: {', '.join(sorted(names - Recorder.kept.keys()))}")
    return failed


def suspended(me: Recorder, account: dict) -> None:
    """A suspended tuner appeals."""
    me.sign_in(account)
    me.call("POST", "tuners/me/appeal/", {"text": "The file in question was corrected; the log of the dyno run is attached."}, expect=201)


if __name__ == "__main__":
    sys.exit(main())
