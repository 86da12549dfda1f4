"""The people around the app on a development system: a rider with mail and browser, and staff at the admin site."""

import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

import requests

WAIT_SECONDS = 60
YEAR_CODES = "123456789ABCDEFGHJKLMNPRSTVWXY"  # the tenth character of a VIN, from 2001 on
LETTERS = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def new_rider(vehicle: dict[str, Any]) -> dict[str, Any]:
    """Somebody with an address and a motorcycle."""
    return {
        "email": f"bench-{secrets.token_hex(6)}@example.com",
        "password": "four calm words " + secrets.token_hex(4),
        "vehicle": {name: vehicle[name] for name in ("kind", "make", "model", "year", "market")} | {"fuel": {"octane": 98, "scale": "RON"}},
    }


def new_vin(wmi: str, year: int) -> str:
    """A VIN that nobody has, its check digit right."""
    text = f"{wmi}DEM{secrets.randbelow(90) + 10}0{YEAR_CODES[year - 2001]}A{secrets.randbelow(1_000_000):06d}"
    total = sum(weight * (int(sign) if sign.isdigit() else LETTERS[sign]) for sign, weight in zip(text, WEIGHTS, strict=True))
    return text[:8] + "0123456789X"[total % 11] + text[9:]


def read_code(mail: Path, address: str) -> str:
    """The six digits in the newest mail to an address."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        for path in sorted(mail.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)[:30]:
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            if address in text and (match := re.search(r"^\s*([0-9]{6})\s*$", text, re.MULTILINE)):
                return match.group(1)
        time.sleep(0.1)
    raise TimeoutError(f"no mail with a code for {address}")


def pay(page: str) -> None:
    """Press the button of the stand-in's payment page."""
    answer = requests.post(page, data={"outcome": "succeed"}, timeout=30)
    answer.raise_for_status()


def stock_images(data: Path) -> list[dict[str, Any]]:
    """The demo's vehicles, each with its stock image."""
    return list(json.loads((data / "demo" / "stock" / "index.json").read_text()))


class Staff:
    """An admin at the admin site. Not the app's business: the bench needs a hold and a recall."""

    def __init__(self, base_url: str, data: Path) -> None:
        from demo_journey import Journey
        from demo_tuner_journey import Admin

        self._admin = Admin(Journey(base_url, data, quiet=True))
        self._is_in = False

    def decide(self, version: str, name: str, **fields: Any) -> None:
        if not self._is_in:
            self._admin.log_in()
            self._is_in = True
        self._admin.decide(f"marketplace/tuneversion/{version}", name, **fields)
