#!/usr/bin/env python
"""Play how a tuner comes to sell: apply with documents, be asked for more, be approved, upload, be reviewed, be found.

    python tools/demo_tuner_journey.py --base-url http://127.0.0.1:8000 --data-dir .data

The admin's part goes through the admin site's own forms, with password and authenticator code.
"""

import base64
import json
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from demo_journey import PASSWORD, TIMEOUT_SECONDS, Journey, JourneyFailed, choose_stock_image, parse_options, register
from django_otp.oath import TOTP
from pypdf import PdfWriter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from garage.ecu_images import generator


def totp_code(secret: str) -> str:
    """The authenticator's six digits now."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return f"{TOTP(key).token():06d}"


class Admin:
    """A person at the admin site: cookies, forms, CSRF tokens."""

    def __init__(self, journey: Journey) -> None:
        self.journey, self.session = journey, requests.Session()

    def log_in(self) -> None:
        accounts = json.loads((self.journey.data_dir / "demo.json").read_text())
        account = next(row for row in accounts if row["role"] == "ADMIN")
        form = {"username": account["email"], "password": account["password"], "code": totp_code(account["totp_secret"]), "next": "/admin/"}
        self._submit("/admin/login/", form)

    def decide(self, path: str, name: str, **fields: Any) -> None:
        """Press one of the buttons of a row: `path` is its page below /admin/."""
        self._submit(f"/admin/{path}/decide/{name}/", fields)

    def _submit(self, path: str, fields: dict[str, Any]) -> None:
        url = self.journey.base_url + path
        page = self.session.get(url, timeout=TIMEOUT_SECONDS)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        if page.status_code != 200 or token is None:
            raise JourneyFailed(f"GET {path}: {page.status_code}")
        answer = self.session.post(
            url,
            data={**fields, "csrfmiddlewaretoken": token.group(1)},
            headers={"Referer": url},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        self.journey.say(f"POST   {path}  →  {answer.status_code}")
        if answer.status_code != 302:
            text = " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())
            raise JourneyFailed(f"POST {path}: {answer.status_code} {text[-600:]}")


def document(title: str) -> bytes:
    """A one-page PDF."""
    writer = PdfWriter()
    writer.add_blank_page(width=595, height=842)
    writer.add_metadata({"/Title": title})
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def enrol_second_factor(journey: Journey) -> None:
    journey.chapter("Turns the second factor on: nobody publishes without one")
    journey.call("POST", "auth/step-up/", {"password": PASSWORD}, expect=204)
    enrolment = journey.call("POST", "auth/mfa/totp/", expect=200)
    journey.call("POST", "auth/mfa/totp/confirm/", {"code": totp_code(enrolment["secret"])}, expect=200)


def apply(journey: Journey) -> str:
    journey.chapter("Applies as a tuner, with documents")
    body = {
        "kind": "TUNER",
        "business_name": f"Harbour Dyno {secrets.token_hex(3)}",
        "country": "DE",
        "experience": "Nine years of calibration work on Japanese motorcycles; own dyno.",
        "specialities": ["STREET", "DYNO_TUNING"],
    }
    application = journey.call("POST", "tuners/application/", body, expect=201, idempotent=True)
    for kind in ("BUSINESS_REGISTRATION", "INSURANCE"):
        add_document(journey, kind)
    submitted = journey.call("POST", "tuners/application/submit/", expect=200)
    journey.check("the application is in the queue", submitted["status"] == "SUBMITTED")
    return application["id"]


def add_document(journey: Journey, kind: str) -> None:
    upload_id = journey.upload("CERTIFICATION", f"{kind.lower()}.pdf", document(kind), "application/pdf")
    journey.call(
        "POST",
        "tuners/certifications/",
        {
            "upload_id": upload_id,
            "type": kind,
            "issuer": "City of Hamburg",
            "number": "HRB 1234",
            "expires_on": f"{datetime.now(UTC).year + 2}-12-31",
        },
        expect=201,
        idempotent=True,
    )


def be_approved(journey: Journey, admin: Admin, application_id: str) -> None:
    journey.chapter("Staff ask for more, then approve")
    page = f"tuners/tunerapplication/{application_id}"
    admin.decide(page, "request-information", reason="Please add a trade qualification.")
    state = journey.call("GET", "tuners/application/", expect=200)
    journey.check("the applicant reads what is missing", state["status"] == "INFO_REQUESTED")
    add_document(journey, "TRADE_QUALIFICATION")
    journey.call("POST", "tuners/application/submit/", expect=200)
    for certification in journey.call("GET", "tuners/certifications/", expect=200)["results"]:
        admin.decide(f"tuners/tunercertification/{certification['id']}", "accept", reason="Checked with the register.")
    admin.decide(page, "approve", reason="Complete, and checked by telephone.")
    me = journey.call("GET", "users/me/", expect=200)
    journey.check("the role has changed, on the very next request", me["role"] == "TUNER")


def upload_version(journey: Journey, stock: dict) -> tuple[str, str]:
    journey.chapter("Uploads a tune")
    original = (journey.data_dir / "demo" / "stock" / stock["file"]).read_bytes()
    after = f"HD{secrets.token_hex(3).upper()}"
    tuned = generator.make_tuned(original, seed=after, calibration_id=after)
    upload_id = journey.upload("TUNE_FILE", f"{after}.bin", tuned, "application/octet-stream")
    dry_run = journey.call(
        "POST", "marketplace/inspections/", {"upload_id": upload_id, "hardware_number": stock["hardware_number"]}, expect=200
    )
    journey.check("the dry run finds what the image states", dry_run["detected"]["hardware_number"] == stock["hardware_number"])
    tune = journey.call(
        "POST",
        "marketplace/tunes/",
        {
            "title": f"{stock['model']} harbour map {after}",
            "description": "Even idle, full throttle in every mode.",
            "kind": stock["kind"],
            "category": "STAGE_1",
            "price_minor": 9900,
            "currency": "EUR",
            "requirements": {"fuel": {"octane": 95, "scale": "RON"}, "flash_methods": ["OBD"], "read_back": "YES"},
        },
        expect=201,
        idempotent=True,
    )
    version = journey.call(
        "POST",
        f"marketplace/tunes/{tune['id']}/versions/",
        {
            "version": "1.0.0",
            "changelog": "First release.",
            "emissions_class": "UNCHANGED",
            "files": [
                {
                    "upload_id": upload_id,
                    "calibration_id_after": after,
                    "fitments": [
                        {
                            "make": stock["make"],
                            "model": stock["model"],
                            "year_from": stock["year"],
                            "year_to": stock["year"] + 2,
                            "markets": [stock["market"]],
                            "hardware_numbers": [stock["hardware_number"]],
                            "calibration_ids": [stock["calibration_id"]],
                            "image_size_bytes": stock["image_size_bytes"],
                        }
                    ],
                }
            ],
        },
        expect=201,
        idempotent=True,
    )

    def inspected() -> Any:
        current = journey.quietly("GET", f"marketplace/versions/{version['id']}/")
        return current if current["status"] != "VALIDATING" else None

    result = journey.wait_for("the inspection", inspected)
    journey.check(f"the inspection passes ({result['inspection']['verdict']})", result["status"] == "VALIDATED")
    journey.call("POST", f"marketplace/versions/{version['id']}/submit/", expect=200)
    return tune["id"], version["id"]


def be_published(journey: Journey, admin: Admin, tune_id: str, version_id: str, stock: dict) -> None:
    journey.chapter("Staff look at file, findings and fitments, approve the hash and publish")
    hashes = [file["sha256"] for file in journey.call("GET", f"marketplace/versions/{version_id}/", expect=200)["files"]]
    admin.decide(
        f"marketplace/tuneversion/{version_id}", "publish", approved_sha256=hashes, reason="Maps only; checksums right; fitment agrees."
    )
    journey.chapter("And a rider finds it")
    page = journey.call("GET", "marketplace/tunes/", expect=200, make=stock["make"], model=stock["model"], year=stock["year"])
    journey.check("it is the newest in the list", page["results"][0]["id"] == tune_id)


def main() -> int:
    options = parse_options(__doc__.splitlines()[0])
    journey = Journey(options.base_url, options.data_dir, quiet=options.quiet)
    started = time.monotonic()
    try:
        stock = choose_stock_image(options.data_dir)
        register(journey)
        admin = Admin(journey)
        admin.log_in()
        enrol_second_factor(journey)
        be_approved(journey, admin, apply(journey))
        tune_id, version_id = upload_version(journey, stock)
        be_published(journey, admin, tune_id, version_id, stock)
    except (JourneyFailed, requests.RequestException, OSError, KeyError, StopIteration) as problem:
        print(f"\nThe tuner's journey failed: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 1
    print(f"\nThe tuner's journey: {journey.calls} calls in {time.monotonic() - started:.1f} s, everything as promised.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
