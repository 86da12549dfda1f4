"""The mails to a person: plain text, one thing each. A leaf: it is called from tasks, outside transactions."""

import smtplib
from collections.abc import Sequence
from email.utils import formataddr, parseaddr
from string import Template
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from users import codes
from users.enums import ChallengeKind
from users.models import Challenge, Notice, User

_SIGNATURE = "\n\n-- \nRevSync\n$base_url\n"

REGISTER = (
    "Confirm your address",
    (
        "Hello $name,\n\nthis code confirms your e-mail address and opens your RevSync account:\n\n    $code\n\n"
        "It is good for 15 minutes and one use. If you did not ask for it, do nothing: no account exists until the code is given."
    ),
)
KNOWN_ADDRESS = (
    "Somebody tried to register with your address",
    (
        "Hello $name,\n\nsomebody, perhaps you, tried to open a RevSync account with this e-mail address. "
        "There is one already: sign in with it, "
        "or reset its password if you forgot it.\n\nIf it was not you, there is nothing to do: nothing was changed."
    ),
)
PASSWORD_RESET = (
    "Reset your password",
    (
        "Hello $name,\n\nthis code sets a new password for your RevSync account:\n\n    $code\n\n"
        "It is good for 15 minutes and one use. If you did not ask for it, do nothing: your password stays as it is."
    ),
)
EMAIL_CHANGE = (
    "Confirm your new address",
    (
        "Hello $name,\n\nthis code makes this the e-mail address of your RevSync account:\n\n    $code\n\n"
        "It is good for 15 minutes and one use. If you did not ask for it, do nothing."
    ),
)
ADDRESS_IN_USE = (
    "Somebody tried to use your address",
    (
        "Hello $name,\n\nthe owner of another RevSync account tried to change its e-mail address to this one. "
        "It is yours, so nothing was changed.\n\n"
        "If that was you, close one of the two accounts or use another address."
    ),
)
ADDRESS_CHANGED = (
    "Your e-mail address was changed",
    (
        "Hello $name,\n\nyour RevSync account has another e-mail address from now on, and this one no longer signs in.\n\n"
        "If this was not you, answer this mail at once: somebody had both your password and your session."
    ),
)
DELETION_RECEIPT = (
    "Your account was deleted",
    (
        "Hello,\n\nyour RevSync account was deleted on $date, as you asked. This is the last mail to you; this address is forgotten "
        "once it has left.\n\nThis is gone:\n\n$goes\n\nThis stays:\n\n$stays\n\n"
        "If it was not you, answer this mail at once: somebody had your session and your password or code."
    ),
)
NOTICE = ("$title", "Hello $name,\n\n$body")
NOTICES = ("$title and $more more", "Hello $name,\n\n$news\n\nAll of it stands in the app, which also turns these mails off.")

LISTED_IN_A_MAIL = 20
QUOTED_OF_EACH = 300


class MailUnsure(Exception):
    """The mail server was handed a message and did not say what became of it."""


def send_challenge(challenge: Challenge, *, pending: dict[str, Any], owner_of_address: User | None) -> None:
    """Mail the code of a challenge; of a decoy, what the owner of the address should know. An unknown address gets nothing."""
    if "decoy" in pending:
        if owner_of_address is not None:
            template = KNOWN_ADDRESS if challenge.kind == ChallengeKind.REGISTER else ADDRESS_IN_USE
            send(owner_of_address.email, template, name=owner_of_address.display_name)
        return
    template = {
        ChallengeKind.REGISTER: REGISTER,
        ChallengeKind.PASSWORD_RESET: PASSWORD_RESET,
        ChallengeKind.EMAIL_CHANGE: EMAIL_CHANGE,
    }[ChallengeKind(challenge.kind)]
    name = challenge.user.display_name if challenge.user is not None else pending["display_name"]
    send(pending["email"], template, name=name, code=codes.code_of(challenge))


def send_address_changed(user: User, *, old_email: str) -> None:
    """Tell the address that signs in no longer."""
    send(old_email, ADDRESS_CHANGED, name=user.display_name)


def send_notices(notices: Sequence[Notice]) -> None:
    """Mail what the app shows: one notice, or several of one person in one mail. Sent again, it has the same Message-ID."""
    first = notices[0]
    message_id = f"notice.{first.pk}"
    if len(notices) == 1:
        send(first.user.email, NOTICE, message_id=message_id, name=first.user.display_name, title=first.title, body=first.body)
        return
    news = [f"* {notice.title}\n{_indent(notice.body)}" for notice in notices[:LISTED_IN_A_MAIL]]
    if len(notices) > LISTED_IN_A_MAIL:
        news.append(f"… and {len(notices) - LISTED_IN_A_MAIL} more")
    send(
        first.user.email,
        NOTICES,
        message_id=message_id,
        name=first.user.display_name,
        title=first.title,
        more=str(len(notices) - 1),
        news="\n\n".join(news),
    )


def _indent(text: str) -> str:
    short = text if len(text) <= QUOTED_OF_EACH else f"{text[:QUOTED_OF_EACH].rstrip()} …"
    return "\n".join(f"  {line}".rstrip() for line in short.splitlines())


def send_deletion_receipt(address: str, receipt: dict[str, Any]) -> None:
    """Tell what went and what stays, why and until when."""
    goes = [f"- {entry['what'].replace('_', ' ')} ({entry['rows']}): {entry['how']}" for entry in receipt["goes"]]
    stays = [
        f"- {entry['what'].replace('_', ' ')} ({entry['rows']}): {entry['why']}; until {entry['until'] or entry['ends']}"
        for entry in receipt["stays"]
    ]
    nothing = "- nothing"
    send(address, DELETION_RECEIPT, date=receipt["deleted_at"][:10], goes="\n".join(goes) or nothing, stays="\n".join(stays) or nothing)


def send(address: str, template: tuple[str, str], *, message_id: str = "", **values: str) -> None:
    """Fill in and hand over one message. Raises what the mail server answers, so that the task is tried again.

    Raises: MailUnsure when the message was handed over and no answer came: it may have been taken.
    """
    subject, body = template
    everything = {"base_url": settings.PUBLIC_BASE_URL, **values}
    name, sender = parseaddr(settings.DEFAULT_FROM_EMAIL)
    subject = " ".join(Template(subject).substitute(everything).split())
    headers = {"Message-ID": f"<{message_id}@{sender.partition('@')[2] or 'localhost'}>"} if message_id else {}
    _hand_over(
        EmailMessage(
            subject=subject,
            body=Template(body + _SIGNATURE).substitute(everything),
            from_email=formataddr((name, sender)),
            to=[address],
            headers=headers,
        )
    )


def _hand_over(message: EmailMessage) -> None:
    server = get_connection()
    server.open()
    try:
        server.send_messages([message])
    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, ConnectionRefusedError):
        raise  # it said no
    except (smtplib.SMTPException, OSError) as silence:
        raise MailUnsure from silence
    finally:
        server.close()
