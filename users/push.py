"""The port to a push service: which adapter stands behind it follows from the settings."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

log = structlog.get_logger("users.push")


@dataclass(frozen=True)
class Message:
    """What a phone shows: the notice's words, and ids by which the app opens it. `urgent` wakes a sleeping phone.

    `key` is the same when one message is sent again: the phone then shows it once.
    """

    title: str
    body: str
    key: str
    urgent: bool = False
    data: dict[str, str] = field(default_factory=dict)


class Outcome(Enum):
    """What became of one message to one phone. GONE: nobody has this push token any more."""

    SENT = "sent"
    GONE = "gone"
    REFUSED = "refused"


class PushRefused(Exception):
    """The service refuses us, not the message: a person has to look at the credentials."""


class PushPort(Protocol):
    """What an adapter of a push service does."""

    def send(self, *, push_token: str, message: Message) -> Outcome:
        """Hand one message to the service for one phone. Never logs the token.

        Raises: ServiceUnavailable("push") when it should be tried again later, PushRefused.
        """


class NoPush:
    """Where no push service is set up: nothing is sent, and `doctor` says so."""

    def send(self, *, push_token: str, message: Message) -> Outcome:
        """Log that it would have been sent; nothing of token or message."""
        log.info("push_not_sent", key=message.key)
        return Outcome.SENT


def port() -> PushPort:
    """The adapter that the settings name."""
    return import_string(settings.PUSH_BACKEND)()
