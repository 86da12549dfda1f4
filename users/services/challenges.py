"""Opening challenges, counting guesses, consuming them."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from core import crypto, limits
from core.tasks import enqueue
from users import codes, mail, selectors
from users.enums import ChallengeKind
from users.exceptions import ChallengeCodeWrong, ChallengeNotFound, ChallengeOver
from users.models import CHALLENGE_TRIES, Challenge, User

CODE_LIFETIME = timedelta(minutes=15)
MFA_LIFETIME = timedelta(minutes=5)
KEPT_AFTER_END = timedelta(days=1)


def address_hash(email: str) -> bytes:
    """What an address is matched by where it must not be stored."""
    return crypto.keyed_hash("address", email)


def open_challenge(
    *,
    kind: ChallengeKind,
    email: str,
    user: User | None,
    pending: dict[str, Any],
    at: datetime,
    lifetime: timedelta = CODE_LIFETIME,
    consumed: bool = False,
) -> Challenge:
    """Make a challenge and, unless it asks for a second factor, queue its mail. Called by services, inside a transaction or not.

    With `decoy` in `pending` no code opens it; a `consumed` one only keeps what is pending until it is swept.
    Queues users.tasks.send_challenge_mail.
    """
    with transaction.atomic():
        challenge = Challenge.objects.create(
            kind=kind,
            user=user,
            address_hash=address_hash(email),
            pending=json.dumps(pending),
            expires_at=at + lifetime,
            created_at=at,
            consumed_at=at if consumed else None,
        )
        if kind != ChallengeKind.MFA_LOGIN and not consumed:
            enqueue("users.tasks.send_challenge_mail", challenge_id=challenge.pk)
    return challenge


def count_guess(*, challenge_id: uuid.UUID, kind: ChallengeKind, user_id: uuid.UUID | None = None, at: datetime) -> Challenge:
    """Spend one of the five tries, before the guess is judged. Never call it inside a transaction: the count has to stay.

    One conditional UPDATE, so fifty parallel guesses spend five tries and no more. With `user_id` it must be theirs.

    Raises: ChallengeOver (missing, expired, used, spent, or somebody else's).
    """
    open_ones = Challenge.objects.filter(pk=challenge_id, kind=kind, consumed_at=None, expires_at__gt=at, tries__lt=CHALLENGE_TRIES)
    if user_id is not None:
        open_ones = open_ones.filter(user_id=user_id)
    if not open_ones.update(tries=F("tries") + 1):
        raise ChallengeOver
    return Challenge.objects.get(pk=challenge_id)


def answer_challenge(*, challenge_id: uuid.UUID, kind: ChallengeKind, code: str, user: User | None = None, at: datetime) -> Challenge:
    """The challenge, if this is its code; a try is spent either way. The caller consumes it with its effect.

    Raises: ChallengeOver, ChallengeCodeWrong (with `tries_left`).
    """
    challenge = count_guess(challenge_id=challenge_id, kind=kind, user_id=user.pk if user else None, at=at)
    if not codes.is_right(challenge, code):
        raise ChallengeCodeWrong(tries_left=CHALLENGE_TRIES - challenge.tries)
    return challenge


def pending_of(challenge: Challenge) -> dict[str, Any]:
    """What was kept until the code came."""
    return json.loads(challenge.pending)


def consume(challenge: Challenge, *, at: datetime) -> None:
    """Use it up, inside the transaction of its effect. Raises: ChallengeOver when a parallel request was first."""
    if not Challenge.objects.filter(pk=challenge.pk, consumed_at=None).update(consumed_at=at, pending=""):
        raise ChallengeOver


def consume_open_ones(user: User, *, at: datetime) -> None:
    """Close all open challenges of a person, when what they were opened for no longer holds."""
    Challenge.objects.filter(user=user, consumed_at=None).update(consumed_at=at, pending="")


def resend_challenge(*, challenge_id: uuid.UUID, at: datetime) -> None:
    """Queue the mail of an open challenge again. Anyone who has its id; the address's own mail limit counts.

    Raises: ChallengeNotFound, ChallengeOver, RateLimited.
    """
    challenge = Challenge.objects.filter(pk=challenge_id).exclude(kind=ChallengeKind.MFA_LOGIN).first()
    if challenge is None:
        raise ChallengeNotFound
    if challenge.consumed_at is not None or challenge.expires_at <= at or challenge.tries >= CHALLENGE_TRIES:
        raise ChallengeOver
    limits.hit("mails_address", bytes(challenge.address_hash).hex(), at=at)
    enqueue("users.tasks.send_challenge_mail", challenge_id=challenge.pk)


def send_challenge_mail(*, challenge_id: uuid.UUID | str, at: datetime) -> None:
    """Send what a challenge has to say, unless it ended meanwhile. Called by the worker, outside transactions."""
    challenge = Challenge.objects.select_related("user").filter(pk=challenge_id, consumed_at=None, expires_at__gt=at).first()
    if challenge is None:
        return
    pending = pending_of(challenge)
    owner = selectors.find_user(pending["email"]) if pending.get("decoy") and "email" in pending else None
    mail.send_challenge(challenge, pending=pending, owner_of_address=owner if owner is not None and owner.is_active else None)


def send_address_changed_mail(*, challenge_id: uuid.UUID | str) -> None:
    """Tell the old address; it is forgotten afterwards. Called by the worker, outside transactions. Idempotent."""
    challenge = Challenge.objects.select_related("user").filter(pk=challenge_id).first()
    if challenge is not None and challenge.user is not None and challenge.pending:
        mail.send_address_changed(challenge.user, old_email=pending_of(challenge)["old_email"])
        Challenge.objects.filter(pk=challenge.pk).update(pending="")


def sweep_challenges(*, at: datetime) -> int:
    """Delete challenges that ended a day ago; answers how many rows went. For the schedule; idempotent."""
    return Challenge.objects.filter(expires_at__lt=at - KEPT_AFTER_END).delete()[0]
