"""The port to push services. Which adapter stands behind it is the setting `PUSH_BACKEND`."""

from collections.abc import Sequence
from typing import Protocol

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

log = structlog.get_logger(__name__)


class PushPort(Protocol):
    """What an adapter of a push service does."""

    def send(self, *, push_tokens: Sequence[str], title: str, body: str, data: dict[str, str]) -> None:
        """Hand one message to the service for each token. Raises on failure, so that the task is tried again."""


class LogPush:
    """The default where no push service is set up: says in the log how many messages would have left."""

    def send(self, *, push_tokens: Sequence[str], title: str, body: str, data: dict[str, str]) -> None:
        """Log the number of devices; nothing of the message."""
        log.info("push", devices=len(push_tokens), notice=data.get("notice"))


def port() -> PushPort:
    """The adapter that the settings name."""
    return import_string(getattr(settings, "PUSH_BACKEND", "users.push.LogPush"))()
