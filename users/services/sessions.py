"""Log-in, refresh, log-out: the life of a session row."""

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F

from core import audit, limits, tokens
from core.authentication import find_session
from core.peer import limit_key as peer_key
from core.peer import storable_address
from core.tokens import TokenInvalid
from users import passwords, policies, selectors
from users.enums import ChallengeKind, NoticeType, SessionEnd, StepUpMethod
from users.exceptions import ChallengeOver, CodeWrong, CurrentPasswordWrong, DeviceNotFound, InvalidCredentials, MfaCodeWrong, MfaTokenOver
from users.models import Challenge, User, UserDevice
from users.services.challenges import MFA_LIFETIME, consume, count_guess, open_challenge, pending_of
from users.services.mfa import verify_second_factor
from users.services.notices import notify


@dataclass(frozen=True)
class DeviceInfo:
    """What an app says about the installation that signs in."""

    installation_id: str | None = None
    name: str = ""
    platform: str = ""
    app_version: str = ""
    push_token: str = ""


@dataclass(frozen=True)
class LogIn:
    """The outcome of a log-in: a session, or a token to bring the second factor with."""

    session: UserDevice | None = None
    mfa_token: str | None = None


def log_in(*, email: str, password: str, device: DeviceInfo, peer: str, at: datetime) -> LogIn:
    """Check address and password; start a session, or open the second factor's challenge. Anyone may call.

    Every call is counted first and taken back when it was right, so that parallel guesses can't outrun the limits: per
    account and per peer. An installation that signed in to this account before has one count of its own instead, so
    that nobody who fails elsewhere, not even behind the same address, locks it out. An unknown address takes the same
    steps and the same time. Never call it inside a transaction.

    Raises: RateLimited, InvalidCredentials.
    """
    counted = _failure_counts(email, device.installation_id, peer)
    for name, key in counted:
        limits.hit(name, key, at=at)
    user = selectors.find_user(email)
    is_right = passwords.verify(password, user.password if user is not None else None)
    if user is None or not is_right or not user.is_active:
        raise InvalidCredentials
    for name, key in counted:
        limits.release(name, key)
    if user.mfa_enabled:
        challenge = open_challenge(
            kind=ChallengeKind.MFA_LOGIN, email=email, user=user, pending=asdict(device), at=at, lifetime=MFA_LIFETIME
        )
        return LogIn(mfa_token=tokens.mint_mfa(user_id=user.pk, challenge_id=challenge.pk, at=at, expires_at=challenge.expires_at))
    return LogIn(session=start_session(user=user, device=device, peer=peer, at=at))


def _failure_counts(email: str, installation_id: str | None, peer: str) -> list[tuple[str, str]]:
    """The limits that a failed log-in counts on, each with its key."""
    if installation_id and selectors.has_installation(email, installation_id):
        return [("login_failures_account", f"{email}|{installation_id}")]
    return [("login_failures_peer", peer_key(peer)), ("login_failures_account", email)]


def verify_mfa(*, mfa_token: str, code: str, peer: str, at: datetime) -> UserDevice:
    """Finish a log-in with a code of the authenticator or a recovery code. Whoever has the mfa_token; five tries each.

    Never call it inside a transaction. Raises: MfaTokenOver, MfaCodeWrong, RateLimited.
    """
    try:
        claims = tokens.read(mfa_token, token_type=tokens.MFA, at=at)
        if claims.generation != tokens.MFA_GENERATION:
            raise TokenInvalid
        challenge = count_guess(challenge_id=claims.session_id, kind=ChallengeKind.MFA_LOGIN, user_id=claims.subject_id, at=at)
    except (TokenInvalid, ChallengeOver) as over:
        raise MfaTokenOver from over
    user = User.objects.get(pk=challenge.user_id)
    if not user.is_active or not user.mfa_enabled:
        raise MfaTokenOver
    if not verify_second_factor(user=user, code=code, at=at):
        raise MfaCodeWrong
    device = DeviceInfo(**pending_of(challenge))
    try:
        with transaction.atomic():
            consume(challenge, at=at)
            return start_session(user=user, device=device, peer=peer, at=at, second_factor=True)
    except ChallengeOver as over:
        raise MfaTokenOver from over


def start_session(
    *, user: User, device: DeviceInfo, peer: str, at: datetime, second_factor: bool = False, first: bool = False
) -> UserDevice:
    """Start a session for somebody who has proved who they are. The same installation reuses its row, whose older tokens
    are dead from then on. Locks the user row, so that a password changed since it was checked starts nothing, and the
    device row. It stands among the person's notices; of a new installation they are told by mail and push as well.
    Raises: InvalidCredentials.
    """
    with transaction.atomic():
        current = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if current.password != user.password or not current.is_active:
            raise InvalidCredentials
        session, is_new = _row_for(user, device, at=at)
        session.generation = session.login_generation = session.generation + (0 if is_new else 1)
        session.name, session.platform, session.app_version = device.name, device.platform, device.app_version
        session.push_token = device.push_token
        session.signed_in_at = session.rotated_at = session.current_used_at = session.last_seen_at = at
        session.expires_at = policies.session_end(at, at=at)
        session.last_ip = storable_address(peer)
        session.stepped_up_at, session.stepped_up_with = None, ""
        session.revoked_at, session.revoked_reason = None, ""
        session.save()
        _take_push_token(session)
        audit.record(
            act="session.started",
            actor_id=user.pk,
            subject_id=session.pk,
            session_id=session.pk,
            at=at,
            second_factor=second_factor,
            new_device=is_new,
        )
        if not first:
            notify(
                user_id=user.pk,
                type=NoticeType.SECURITY,
                title="A new device signed in" if is_new else "A known device signed in again",
                body=f"{device.name or 'A device'} signed in to your account. "
                "If this was not you, change your password and end its session.",
                link={"resource": "device", "id": session.pk},
                at=at,
                send=is_new,
            )
    session.user = current
    return session


def _row_for(user: User, device: DeviceInfo, *, at: datetime) -> tuple[UserDevice, bool]:
    fresh = {"expires_at": policies.session_end(at, at=at), "signed_in_at": at, "created_at": at}
    if not device.installation_id:
        return UserDevice(user=user, **fresh), True
    session, is_new = UserDevice.objects.get_or_create(user=user, installation_id=device.installation_id, defaults=fresh)
    return UserDevice.objects.select_for_update(no_key=True).get(pk=session.pk), is_new


def _take_push_token(session: UserDevice) -> None:
    """A push token is one phone's: whoever signed in on it before gets no more of it."""
    if session.push_token:
        UserDevice.objects.filter(push_token=session.push_token).exclude(pk=session.pk).update(push_token="")


def refresh_session(*, token: str, peer: str, at: datetime) -> UserDevice:
    """The session with its live tokens' generation: rotated by the live token, or unchanged for its parent.

    Rotation is one conditional UPDATE, so of parallel refreshes with one token one rotates and all get its result. The
    parent of the live token gets that token again until it was first used, for a day at most: its answer was lost. Any
    other used token ends the session, which is audited and mailed. Whoever has the token may call; never inside a transaction.

    Raises: TokenInvalid.
    """
    claims = tokens.read(token, token_type=tokens.REFRESH, at=at)
    session = _live_session(claims, at=at)
    if claims.generation == session.generation:
        expires_at = policies.session_end(session.signed_in_at, at=at)
        rotated = UserDevice.objects.filter(pk=session.pk, generation=claims.generation, revoked_at=None).update(
            generation=F("generation") + 1,
            rotated_at=at,
            current_used_at=None,
            last_seen_at=at,
            last_ip=storable_address(peer),
            expires_at=expires_at,
        )
        if rotated:
            session.generation, session.rotated_at, session.current_used_at, session.expires_at = (
                claims.generation + 1,
                at,
                None,
                expires_at,
            )
            return session
        session = _live_session(claims, at=at)
    if policies.may_answer_parent(session, generation=claims.generation, at=at):
        return session
    if session.login_generation <= claims.generation < session.generation:
        _end_for_reuse(session, generation=claims.generation, at=at)
    raise TokenInvalid


def _live_session(claims: tokens.Claims, *, at: datetime) -> UserDevice:
    session = find_session(claims)
    if session is None or not session.user.is_active or not session.is_live(at):
        raise TokenInvalid
    return session


def _end_for_reuse(session: UserDevice, *, generation: int, at: datetime) -> None:
    """A used token came back: either its thief or its owner holds the live one, so nobody keeps it."""
    with transaction.atomic():
        same_login = UserDevice.objects.filter(pk=session.pk, login_generation=session.login_generation)
        if not same_login.end(reason=SessionEnd.TOKEN_REUSED, at=at):
            return
        audit.record(
            act="session.token_reused",
            actor_id=session.user_id,
            subject_id=session.pk,
            session_id=session.pk,
            at=at,
            generation=generation,
            live_generation=session.generation,
        )
        notify(
            user_id=session.user_id,
            type=NoticeType.SECURITY,
            severity="warning",
            title="A session was ended",
            body=f"An old sign-in token of {session.name or 'one of your devices'} was used again, which happens when it was copied. "
            "The session was ended. Sign in again, and change your password if you have any doubt.",
            link={"resource": "device", "id": session.pk},
            at=at,
        )


def step_up(*, session: UserDevice, password: str | None, code: str | None, at: datetime) -> None:
    """Note on the session that its person was confirmed again, by password or by code. Called by the person, not in a transaction.

    A log-in that took the row over meanwhile is not confirmed by it. Raises: CurrentPasswordWrong, CodeWrong, RateLimited.
    """
    if code is not None:
        if not verify_second_factor(user=session.user, code=code, at=at):
            raise CodeWrong.at("/code")
        method = StepUpMethod.CODE
    else:
        confirm_password(user=session.user, password=password or "", pointer="/password", at=at)
        method = StepUpMethod.PASSWORD
    with transaction.atomic():
        same_login = UserDevice.objects.filter(pk=session.pk, login_generation=session.login_generation, revoked_at=None)
        same_login.update(stepped_up_at=at, stepped_up_with=method)
        audit.record(act="session.stepped_up", actor_id=session.user_id, subject_id=session.pk, at=at, method=str(method))


def confirm_password(*, user: User, password: str, pointer: str, at: datetime) -> None:
    """Check the password of somebody signed in; wrong ones are counted. Not in a transaction.

    Raises: CurrentPasswordWrong, RateLimited.
    """
    limits.hit("password_tries", user.pk, at=at)
    if not passwords.verify(password, user.password):
        raise CurrentPasswordWrong.at(pointer)
    limits.release("password_tries", user.pk)


def log_out(*, session: UserDevice, at: datetime) -> None:
    """End this session; an admin's cookies end too. Called by the person. Idempotent."""
    _end(UserDevice.objects.filter(pk=session.pk), user=session.user, reason=SessionEnd.LOGGED_OUT, actor_id=session.user_id, at=at)


def end_all_sessions(
    *, user: User, reason: SessionEnd, actor_id: uuid.UUID | None, at: datetime, except_session: UserDevice | None = None
) -> int:
    """End every session of a person (but one), and the admin's cookies. Called by services and by the person. Idempotent.

    Answers how many ended.
    """
    sessions = UserDevice.objects.filter(user=user)
    if except_session is not None:
        sessions = sessions.exclude(pk=except_session.pk)
    return _end(sessions, user=user, reason=reason, actor_id=actor_id, at=at)


def _end(sessions, *, user: User, reason: SessionEnd, actor_id: uuid.UUID | None, at: datetime) -> int:
    with transaction.atomic():
        ended = sessions.end(reason=reason, at=at)
        User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
        Challenge.objects.filter(user=user, kind=ChallengeKind.MFA_LOGIN, consumed_at=None).update(consumed_at=at, pending="")
        audit.record(act="session.ended", actor_id=actor_id, subject_id=user.pk, at=at, cause=str(reason), sessions=ended)
    return ended


def revoke_device(*, user: User, device_id: uuid.UUID, session: UserDevice, at: datetime) -> None:
    """End one of the person's own sessions, this one too. A second call finds nothing. Raises: DeviceNotFound."""
    with transaction.atomic():
        if not UserDevice.objects.live(at).filter(user=user, pk=device_id).end(reason=SessionEnd.REVOKED, at=at):
            raise DeviceNotFound
        audit.record(
            act="session.ended", actor_id=user.pk, subject_id=device_id, session_id=session.pk, at=at, cause=str(SessionEnd.REVOKED)
        )


def update_device(*, user: User, device_id: uuid.UUID, changes: dict[str, str], at: datetime) -> UserDevice:
    """Rename a device of one's own, or set its push token. Locks the device row. Idempotent. Raises: DeviceNotFound."""
    with transaction.atomic():
        device = UserDevice.objects.live(at).select_for_update(no_key=True).filter(user=user, pk=device_id).first()
        if device is None:
            raise DeviceNotFound
        for name, value in changes.items():
            setattr(device, name, value)
        device.save(update_fields=list(changes))
        if "push_token" in changes:
            _take_push_token(device)
    return device
