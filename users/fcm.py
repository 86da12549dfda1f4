"""Firebase Cloud Messaging, HTTP v1: the adapter of the push port for Android, and through Apple's service for iOS.

A service account's key signs an assertion (RFC 7523), Google answers it with an access token for an hour, and each message
is one POST to `projects/{id}/messages:send`. Which answer means what follows Google's page of FCM error codes.
"""

import json
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import requests
import structlog
import urllib3
from django.conf import settings

from core import clock
from core.exceptions import ServiceUnavailable
from users.push import Message, Outcome, PushRefused

log = structlog.get_logger("users.push")

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TIMEOUT_SECONDS = (5, 10)
RENEW_BEFORE = timedelta(minutes=5)
PATIENCE_SECONDS, LONGEST_PATIENCE_SECONDS = 30, 3600
BODY_BYTES = 2000  # FCM takes 4096 bytes in all
ANSWER_BYTES = 64 * 1024
NEEDED = ("project_id", "client_email", "private_key", "private_key_id", "token_uri")
TOKEN_IS_USELESS = frozenset({"UNREGISTERED", "NOT_FOUND", "SENDER_ID_MISMATCH"})


class CredentialsUnusable(Exception):
    """The service account's file is missing, or is not one."""


@dataclass(frozen=True)
class ServiceAccount:
    """What the downloaded JSON key of a service account holds, as far as it is needed."""

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str
    token_uri: str

    def __repr__(self) -> str:  # the key must not reach a traceback
        return f"<service account of {self.project_id}>"


@dataclass(frozen=True)
class _AccessToken:
    value: str
    renew_at: datetime


_tokens: dict[ServiceAccount, _AccessToken] = {}
_lock = threading.Lock()


class FcmPush:
    """The adapter. Access tokens are kept in the process's memory only."""

    def __init__(self) -> None:
        self.account = read_service_account()

    def send(self, *, push_token: str, message: Message) -> Outcome:
        """Send one message to one phone. A refused access token is renewed once.

        Raises: ServiceUnavailable("push"), PushRefused.
        """
        url = f"{settings.FCM_API_BASE}/v1/projects/{quote(self.account.project_id, safe='')}/messages:send"
        body = _body(push_token, message)
        answer = self._post(url, body)
        if answer.status_code == 401:
            forget_access_token(self.account)
            answer = self._post(url, body)
        return _judge(answer, message)

    def _post(self, url: str, body: dict[str, Any]) -> requests.Response:
        authorization = f"Bearer {get_access_token(self.account)}"
        return _call(url, json=body, headers={"Authorization": authorization})


def read_service_account() -> ServiceAccount:
    """The account of FCM_SERVICE_ACCOUNT_FILE. Raises: CredentialsUnusable."""
    try:
        content = json.loads(Path(settings.FCM_SERVICE_ACCOUNT_FILE).read_text())
    except (OSError, ValueError) as error:
        raise CredentialsUnusable(f"FCM_SERVICE_ACCOUNT_FILE can't be read: {type(error).__name__}") from None
    missing = [name for name in NEEDED if not isinstance(content, dict) or not isinstance(content.get(name), str) or not content[name]]
    if missing:
        raise CredentialsUnusable(f"FCM_SERVICE_ACCOUNT_FILE is no key of a service account: {', '.join(missing)} missing")
    return ServiceAccount(**{name: content[name] for name in NEEDED})


def get_access_token(account: ServiceAccount) -> str:
    """The one that is kept, or a new one when it ends within minutes. Raises: ServiceUnavailable("push"), PushRefused."""
    with _lock:  # one renewal for all threads
        kept = _tokens.get(account)
        if kept is None or kept.renew_at <= clock.now():
            kept = _tokens[account] = _ask_for_access_token(account)
    return kept.value


def forget_access_token(account: ServiceAccount) -> None:
    """Ask for a new one with the next message."""
    with _lock:
        _tokens.pop(account, None)


def _ask_for_access_token(account: ServiceAccount) -> _AccessToken:
    now = clock.now()
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(hours=1)).timestamp()),
    }
    try:
        assertion = jwt.encode(claims, account.private_key, algorithm="RS256", headers={"kid": account.private_key_id})
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise PushRefused(f"the private key of the service account can't sign: {type(error).__name__}") from None
    answer = _call(account.token_uri, data={"grant_type": GRANT_TYPE, "assertion": assertion})
    if _is_passing(answer):
        raise ServiceUnavailable("push", retry_after_seconds=_patience(answer))
    content = _content(answer)
    value, seconds = content.get("access_token"), content.get("expires_in")
    if answer.status_code != 200 or not isinstance(value, str) or not isinstance(seconds, int):
        raise PushRefused(f"no access token was given: {answer.status_code} {_word(content.get('error'))}")
    return _AccessToken(value=value, renew_at=now + timedelta(seconds=seconds) - RENEW_BEFORE)


def _call(url: str, **what: Any) -> requests.Response:
    """One POST, no redirect followed. Raises: ServiceUnavailable("push") when no whole answer came in time."""
    try:
        with requests.post(url, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True, **what) as answer:
            answer._content = answer.raw.read(ANSWER_BYTES, decode_content=True)
            return answer
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        log.warning("push_unreachable", error=type(error).__name__)
        raise ServiceUnavailable("push", retry_after_seconds=PATIENCE_SECONDS) from None  # its text may hold what was sent


def _judge(answer: requests.Response, message: Message) -> Outcome:
    if answer.status_code == 200:
        return Outcome.SENT
    if _is_passing(answer):
        log.warning("push_postponed", key=message.key, status=answer.status_code)
        raise ServiceUnavailable("push", retry_after_seconds=_patience(answer))
    reason = _reason(answer)
    if reason in TOKEN_IS_USELESS:
        log.info("push_token_gone", key=message.key, reason=reason)
        return Outcome.GONE
    if answer.status_code == 400:
        log.error("push_given_up", key=message.key, reason=reason)
        return Outcome.REFUSED
    raise PushRefused(f"{answer.status_code} {reason}")


def _is_passing(answer: requests.Response) -> bool:
    return answer.status_code == 429 or answer.status_code >= 500


def _patience(answer: requests.Response) -> int:
    """How long the service asks us to wait, in seconds or until a date; half a minute when it does not say."""
    asked = answer.headers.get("Retry-After", "")
    if asked.isascii() and asked.isdigit():
        seconds = int(asked[:9])
    else:
        try:
            seconds = int((parsedate_to_datetime(asked) - clock.now()).total_seconds())
        except (TypeError, ValueError):
            seconds = PATIENCE_SECONDS
    return max(1, min(seconds, LONGEST_PATIENCE_SECONDS))


def _reason(answer: requests.Response) -> str:
    """FCM's own code where there is one, else the status of Google's error."""
    error = _content(answer).get("error")
    if not isinstance(error, dict):
        return "?"
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("errorCode"), str):
            return _word(detail["errorCode"])
    return _word(error.get("status"))


def _content(answer: requests.Response) -> dict[str, Any]:
    try:
        content = json.loads(answer.content)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _word(text: Any) -> str:
    """A code that may be logged: what else stands in an answer may repeat what was sent."""
    return text if isinstance(text, str) and len(text) <= 40 and text.replace("_", "").isalnum() else "?"


def _body(push_token: str, message: Message) -> dict[str, Any]:
    text = message.body.encode()[:BODY_BYTES].decode(errors="ignore")
    return {
        "message": {
            "token": push_token,
            "notification": {"title": message.title, "body": text if text == message.body else f"{text}…"},
            "data": message.data,
            "android": {
                "priority": "HIGH" if message.urgent else "NORMAL",
                "notification": {"tag": message.key},
            },
            "apns": {"headers": {"apns-priority": "10" if message.urgent else "5", "apns-collapse-id": message.key}},
        }
    }
