"""What several tests play: registering, signing in, reading codes from mails."""

import re
from typing import Any

from django.core import mail

from core.testing.http import ApiClient
from core.testing.tasks import run_all
from users.tests.factories import PASSWORD

DEVICE = {"installation_id": "phone-1", "name": "Anna's phone", "platform": "android", "app_version": "1.2.0"}


def mails_to(address: str) -> list[Any]:
    """Run what is queued; the mails to one address, oldest first."""
    run_all()
    return [message for message in mail.outbox if message.to == [address]]


def code_for(address: str) -> str:
    """The code of the newest mail to an address."""
    found = re.search(r"^    (\d{6})$", mails_to(address)[-1].body, re.MULTILINE)
    assert found, "The mail has no code."
    return found[1]


def wrong(code: str) -> str:
    """Six digits that are not the code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


def register(address: str = "anna@example.com", **fields: str) -> str:
    """Ask for an account; answers the challenge's id."""
    body = {"email": address, "password": PASSWORD, "display_name": "Anna", "terms_version": "2026-11-01", **fields}
    answer = ApiClient().post("auth/register/", body)
    assert answer.status_code == 202, answer.json()
    return answer.json()["challenge_id"]


def log_in(address: str, password: str = PASSWORD, device: dict | None = DEVICE, **extra: Any) -> Any:
    """Try to sign in; the answer."""
    body = {"email": address, "password": password} | ({"device": device} if device else {})
    return ApiClient().post("auth/login/", body, **extra)


def bearer(access: str) -> ApiClient:
    """A client with that access token."""
    client = ApiClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return client


def refresh(token: str) -> Any:
    """Try to refresh; the answer."""
    return ApiClient().post("auth/refresh/", {"refresh": token})
