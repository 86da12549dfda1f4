"""The e-mail backend of development: each message is a file in `<data dir>/mail/`, named by its time, readable as it is."""

import itertools
import os
import re
from collections.abc import Sequence
from email.parser import BytesHeaderParser
from email.utils import getaddresses
from pathlib import Path

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from core import clock

log = structlog.get_logger("revsync.mail")
_counter = itertools.count()


class FileMailBackend(BaseEmailBackend):
    """Writes `20261122T101500.123456Z-0000-….eml`: sorted by name is sorted by time, and no two are alike.

    A file appears whole, by renaming. The log names the file; neither recipient nor content reaches it.
    """

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write each message; answers how many."""
        directory = Path(settings.MAIL_DIR)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for message in email_messages:
            name = f"{clock.now():%Y%m%dT%H%M%S.%fZ}-{os.getpid()}-{next(_counter):04d}-{slug(message.subject)}.eml"
            unfinished = directory / f".{name}.part"
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(message.message().as_bytes(linesep="\n"))
            unfinished.rename(directory / name)
            log.info("mail_written", file=name)
        return len(email_messages)


def forget(address: str) -> int:
    """Delete the kept messages to one address; answers how many. Other backends keep nothing here."""
    if not settings.EMAIL_BACKEND.endswith(FileMailBackend.__name__):
        return 0
    forgotten = 0
    for path in Path(settings.MAIL_DIR).glob("*.eml"):
        with path.open("rb") as file:
            message = BytesHeaderParser().parse(file)
        if address in (parsed for _, parsed in getaddresses(message.get_all("To", []))):
            path.unlink(missing_ok=True)
            forgotten += 1
    return forgotten


def slug(subject: str) -> str:
    """The subject in a file name: letters only, so that a code in it would not show."""
    return "-".join(re.findall(r"[a-z]+", subject.lower()))[:60].strip("-") or "message"
