"""What schemathesis is told about RevSync: who calls, and which failures are none (`schemathesis_exclusions.toml`).

Sessions are started by the service that a log-in calls, and stepped up: they are renewed before tokens and step-up end, and after
an operation that ends sessions.
"""

import atexit
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tools.schemathesis_settings")

import django

django.setup()

import schemathesis
from django.db import connection

from core import clock, tokens
from tools import schemathesis_exclusions as exclusions
from users.enums import StepUpMethod
from users.models import User, UserDevice
from users.services import sessions

ACCOUNT = os.environ.get("SCHEMATHESIS_ACCOUNT", "")  # its address; empty for somebody who is not signed in
RENEW_SECONDS = 120
ENDING = {"log_out", "log_out_everywhere", "change_password", "revoke_my_device", "confirm_password_reset", "refresh_tokens"}


class Caller:
    """The role's session. One at a time, with everything a session may have."""

    def __init__(self) -> None:
        self.token = ""
        self.renew_at = 0.0

    def current(self) -> str:
        if time.monotonic() > self.renew_at:
            self.token = _start_session()
            self.renew_at = time.monotonic() + RENEW_SECONDS
        return self.token

    def forget(self) -> None:
        self.renew_at = 0.0


def _start_session() -> str:
    """An access token; a useless one when the person has deleted the account."""
    at = clock.now()
    user = User.objects.filter(email=ACCOUNT).first()
    if user is None:
        return "nobody"
    session = sessions.start_session(user=user, device=sessions.DeviceInfo(name="schemathesis"), peer="127.0.0.1", at=at)
    UserDevice.objects.filter(pk=session.pk).update(stepped_up_at=at, stepped_up_with=StepUpMethod.PASSWORD)
    connection.close()
    return tokens.mint_access(session, at=at)


caller = Caller()

if ACCOUNT:

    @schemathesis.auth(refresh_interval=None)
    class SignedIn:
        def get(self, case, context):
            return caller.current()

        def set(self, case, data, context):
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def after_call(context, case, response):
    operation = case.operation.definition.raw["operationId"]
    exclusions.answers[f"{operation} {response.status_code}"] += 1
    if response.status_code == 401 or operation in ENDING:
        caller.forget()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    return not exclusions.is_excused(failure, response)


if counts := os.environ.get("SCHEMATHESIS_COUNTS"):
    atexit.register(exclusions.write, Path(counts))
