"""Accounts: how one comes to be, how its password, address, role and standing change."""

import uuid
from datetime import datetime

from django.db import IntegrityError, transaction

from core import audit, limits, mfa
from core.exceptions import InvalidInput, StaleRevision
from core.tasks import enqueue
from users import passwords, selectors
from users.enums import ChallengeKind, NoticeType, Role, SessionEnd
from users.exceptions import (
    AccountIsDeleted,
    AccountStateUnchanged,
    AdminNotBlockable,
    ChallengeOver,
    CurrentPasswordWrong,
    EmailTaken,
    EmailUnchanged,
    LastActiveAdmin,
    RoleUnchanged,
)
from users.models import Challenge, TotpDevice, User, UserDevice, UserProfile
from users.services.challenges import address_hash, answer_challenge, consume, consume_open_ones, open_challenge, pending_of
from users.services.mfa import replace_recovery_codes
from users.services.notices import notify
from users.services.sessions import DeviceInfo, confirm_password, end_all_sessions, start_session
from users.services.staff import lock_admins


def request_registration(*, email: str, password: str, display_name: str, terms_version: str, at: datetime) -> Challenge:
    """Open a registration: everything waits, encrypted, in a challenge. Anyone may call; no account exists until the code comes.

    A known address takes the same steps and the same time, but its challenge is a decoy and its owner is told instead.
    Queues the mail. Raises: InvalidInput (password), RateLimited (three mails an hour to one address).
    """
    passwords.ensure_acceptable(password, email=email, display_name=display_name)
    count_mail(email, at=at)
    pending: dict[str, object] = {
        "email": email,
        "password": passwords.hashed(password),
        "display_name": display_name,
        "terms_version": terms_version,
        "terms_accepted_at": at.isoformat(),
    }
    if selectors.find_user(email) is not None:
        pending = {"decoy": True, "email": email}
    return open_challenge(kind=ChallengeKind.REGISTER, email=email, user=None, pending=pending, at=at)


def verify_email(*, challenge_id: uuid.UUID, code: str, device: DeviceInfo, peer: str, at: datetime) -> UserDevice:
    """Make the account and its first session. Whoever has challenge and code, once; five tries. Not inside a transaction.

    Raises: ChallengeOver (also when the address was verified elsewhere meanwhile), ChallengeCodeWrong.
    """
    challenge = answer_challenge(challenge_id=challenge_id, kind=ChallengeKind.REGISTER, code=code, at=at)
    pending = pending_of(challenge)
    try:
        with transaction.atomic():
            consume(challenge, at=at)
            user = User.objects.create(
                email=pending["email"],
                password=pending["password"],
                display_name=pending["display_name"],
                terms_version=pending["terms_version"],
                terms_accepted_at=datetime.fromisoformat(pending["terms_accepted_at"]),
                created_at=at,
                updated_at=at,
            )
            UserProfile.objects.create(user=user, updated_at=at)
            audit.record(act="user.registered", actor_id=user.pk, subject_id=user.pk, at=at, terms_version=user.terms_version)
            return start_session(user=user, device=device, peer=peer, at=at, first=True)
    except IntegrityError as taken:
        if "user_email" not in str(taken):
            raise
        raise ChallengeOver from taken


def update_user(*, user: User, changes: dict[str, str], revision: int | None, at: datetime) -> User:
    """Change the display name, or accept newer terms. Called by the person. Locks the user row. Idempotent.

    Raises: StaleRevision.
    """
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if revision is not None and owner.revision != revision:
            raise StaleRevision(current=owner.revision)
        if "display_name" in changes:
            owner.display_name = changes["display_name"]
        if "terms_version" in changes and changes["terms_version"] != owner.terms_version:
            owner.terms_version, owner.terms_accepted_at = changes["terms_version"], at
            audit.record(act="user.terms_accepted", actor_id=user.pk, subject_id=user.pk, at=at, terms_version=owner.terms_version)
        owner.revision += 1
        owner.updated_at = at
        owner.save(update_fields=["display_name", "terms_version", "terms_accepted_at", "revision", "updated_at"])
    return owner


def change_password(*, session: UserDevice, current_password: str, new_password: str, at: datetime) -> None:
    """Replace the password; every other session ends, this one stays. Called by the person, not inside a transaction.

    Locks the user row, so that of two who know the old password at once one changes it.

    Raises: CurrentPasswordWrong (also when it was changed meanwhile), InvalidInput (the new one), RateLimited.
    """
    user = session.user
    confirm_password(user=user, password=current_password, pointer="/current_password", at=at)
    passwords.ensure_acceptable(new_password, email=user.email, display_name=user.display_name, pointer="/new_password")
    encoded = passwords.hashed(new_password)
    with transaction.atomic():
        if User.objects.select_for_update(no_key=True).get(pk=user.pk).password != user.password:
            raise CurrentPasswordWrong.at("/current_password")
        _store_password(user, encoded, at=at)
        end_all_sessions(user=user, reason=SessionEnd.PASSWORD_CHANGED, actor_id=user.pk, except_session=session, at=at)
        audit.record(act="password.changed", actor_id=user.pk, subject_id=user.pk, session_id=session.pk, at=at)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            severity="warning",
            title="Your password was changed",
            body="Your password was changed and all other sessions were ended. If this was not you, reset it now.",
            at=at,
        )


def request_password_reset(*, email: str, at: datetime) -> Challenge:
    """Open a reset for whatever address. Anyone may call; an unknown or closed one gets a decoy and no mail.

    Raises: RateLimited (three mails an hour to one address).
    """
    count_mail(email, at=at)
    user = selectors.find_user(email)
    if user is not None and not user.is_active:
        user = None
    pending = {"email": email} if user is not None else {"decoy": True}
    return open_challenge(kind=ChallengeKind.PASSWORD_RESET, email=email, user=user, pending=pending, at=at)


def confirm_password_reset(*, challenge_id: uuid.UUID, code: str, new_password: str, at: datetime) -> None:
    """Set a new password with the mailed code; every session ends. Whoever has challenge and code, once; five tries.

    The second factor stays on. Locks the user row. Not inside a transaction.

    Raises: InvalidInput (password), ChallengeOver, ChallengeCodeWrong.
    """
    passwords.ensure_acceptable(new_password, pointer="/new_password")
    challenge = answer_challenge(challenge_id=challenge_id, kind=ChallengeKind.PASSWORD_RESET, code=code, at=at)
    user = User.objects.get(pk=challenge.user_id)
    if not user.is_active:
        raise ChallengeOver
    passwords.ensure_acceptable(new_password, email=user.email, display_name=user.display_name, pointer="/new_password")
    encoded = passwords.hashed(new_password)
    with transaction.atomic():
        consume(challenge, at=at)
        _store_password(user, encoded, at=at)
        end_all_sessions(user=user, reason=SessionEnd.PASSWORD_RESET, actor_id=user.pk, at=at)
        audit.record(act="password.reset", actor_id=user.pk, subject_id=user.pk, at=at)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            severity="warning",
            title="Your password was reset",
            body="A new password was set with a code from your mailbox, and all sessions were ended.",
            at=at,
        )
    limits.reset("login_failures_account", user.email)


def request_email_change(*, user: User, email: str, session: UserDevice, at: datetime) -> Challenge:
    """Open a change of address; the code goes to the new one and the old one is told. Called by the person, stepped up.

    An address that somebody has gets a decoy. Not in a transaction. Raises: EmailUnchanged, RateLimited (each call mails the
    old address as well, so an account has its own limit).
    """
    if email == user.email:
        raise EmailUnchanged.at("/email")
    limits.hit("email_changes_account", user.pk, at=at)
    count_mail(email, at=at)
    is_free = selectors.find_user(email) is None
    with transaction.atomic():
        challenge = open_challenge(
            kind=ChallengeKind.EMAIL_CHANGE,
            email=email,
            user=user,
            pending={"email": email} if is_free else {"decoy": True, "email": email},
            at=at,
        )
        audit.record(act="email.change_requested", actor_id=user.pk, subject_id=user.pk, session_id=session.pk, at=at)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            severity="warning",
            title="A change of your e-mail address was asked for",
            body="Somebody signed in to your account wants to use another e-mail address. "
            "If this was not you, change your password now: that cancels it.",
            at=at,
        )
    return challenge


def confirm_email_change(*, user: User, challenge_id: uuid.UUID, code: str, session: UserDevice, at: datetime) -> User:
    """Put the new address in force; the old one is told by mail. Called by the person, stepped up; five tries. Not in a transaction.

    Locks the user row. Queues users.tasks.send_address_changed_mail.

    Raises: ChallengeOver (also when the address was taken meanwhile), ChallengeCodeWrong.
    """
    challenge = answer_challenge(challenge_id=challenge_id, kind=ChallengeKind.EMAIL_CHANGE, code=code, user=user, at=at)
    email = pending_of(challenge)["email"]
    try:
        with transaction.atomic():
            owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
            consume(challenge, at=at)
            consume_open_ones(owner, at=at)
            farewell = _farewell_challenge(owner, at=at)
            owner.email, owner.revision, owner.updated_at = email, owner.revision + 1, at
            owner.save(update_fields=["email", "revision", "updated_at"])
            audit.record(act="email.changed", actor_id=user.pk, subject_id=user.pk, session_id=session.pk, at=at)
            enqueue("users.tasks.send_address_changed_mail", challenge_id=farewell.pk)
            notify(
                user_id=user.pk,
                type=NoticeType.SECURITY,
                title="Your e-mail address was changed",
                body="This address is the one you sign in with from now on.",
                at=at,
            )
    except IntegrityError as taken:
        if "user_email" not in str(taken):
            raise
        raise ChallengeOver from taken
    return owner


def set_role(*, user: User, role: str, actor: User | None, reason: str, at: datetime) -> User:
    """Give a person another role. Called by admins and by the approval of an application; `actor` None is the command line.

    Locks the user row, and all admins' when one of them is demoted. Admin cookies of the person end; the role is read
    from the row in each request, so it bites at once. Audited and told to the person.

    Raises: InvalidInput (no reason), RoleUnchanged, LastActiveAdmin, AccountIsDeleted.
    """
    _ensure_reason(reason)
    with transaction.atomic():
        if role != Role.ADMIN and User.objects.filter(pk=user.pk, role=Role.ADMIN).exists():
            _ensure_another_admin(user)
        person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if person.deleted_at is not None:
            raise AccountIsDeleted
        old = person.role
        if old == role:
            raise RoleUnchanged
        person.role = Role(role)
        person.is_staff = person.is_superuser = role == Role.ADMIN
        person.session_epoch += 1
        person.updated_at = at
        person.save(update_fields=["role", "is_staff", "is_superuser", "session_epoch", "updated_at"])
        audit.record(
            act="user.role_changed",
            actor_id=actor.pk if actor else None,
            subject_id=person.pk,
            at=at,
            reason=reason,
            old=str(old),
            new=str(role),
        )
        notify(
            user_id=person.pk,
            type=NoticeType.ROLE,
            title=f"You are now {Role(role).label.lower() if role != Role.ADMIN else 'an admin'} on RevSync",
            body=f"Your role was changed from {Role(old).label} to {Role(role).label}. Reason: {reason}",
            at=at,
        )
    user.role, user.is_staff, user.is_superuser, user.session_epoch = (
        person.role,
        person.is_staff,
        person.is_superuser,
        person.session_epoch,
    )
    return person


def block_user(*, user: User, actor: User, reason: str, at: datetime) -> User:
    """Keep a person out from the next request on; own data and the way back to stock stay open. Called by admins.

    Locks the user row. Raises: InvalidInput (no reason), AdminNotBlockable, AccountStateUnchanged, AccountIsDeleted.
    """
    _ensure_reason(reason)
    with transaction.atomic():
        person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if person.deleted_at is not None:
            raise AccountIsDeleted
        if person.role == Role.ADMIN:
            raise AdminNotBlockable
        if person.is_blocked:
            raise AccountStateUnchanged
        person.blocked_at, person.blocked_reason, person.updated_at = at, reason[:500], at
        person.save(update_fields=["blocked_at", "blocked_reason", "updated_at"])
        audit.record(act="user.blocked", actor_id=actor.pk, subject_id=person.pk, at=at, reason=reason)
        notify(
            user_id=person.pk,
            type=NoticeType.ACCOUNT,
            severity="warning",
            title="Your account was blocked",
            body=f"Staff blocked your account. Reason: {reason} Your stock files stay within reach by their rescue links.",
            at=at,
        )
    return person


def unblock_user(*, user: User, actor: User, reason: str, at: datetime) -> User:
    """Let a blocked person in again. Called by admins. Locks the user row.

    Raises: InvalidInput (no reason), AccountStateUnchanged, AccountIsDeleted.
    """
    _ensure_reason(reason)
    with transaction.atomic():
        person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if person.deleted_at is not None:
            raise AccountIsDeleted
        if not person.is_blocked:
            raise AccountStateUnchanged
        person.blocked_at, person.blocked_reason, person.updated_at = None, "", at
        person.save(update_fields=["blocked_at", "blocked_reason", "updated_at"])
        audit.record(act="user.unblocked", actor_id=actor.pk, subject_id=person.pk, at=at, reason=reason)
        notify(
            user_id=person.pk,
            type=NoticeType.ACCOUNT,
            title="Your account is open again",
            body=f"The block was lifted. Reason: {reason}",
            at=at,
        )
    return person


def create_account(*, email: str, password: str, display_name: str, terms_version: str, at: datetime) -> User:
    """Make a rider whose address needs no proof: for the demo data and the command line, never for the API.

    Raises: InvalidInput (password), EmailTaken.
    """
    passwords.ensure_acceptable(password, email=email, display_name=display_name)
    try:
        with transaction.atomic():
            user = User.objects.create(
                email=email,
                password=passwords.hashed(password),
                display_name=display_name,
                terms_version=terms_version,
                terms_accepted_at=at,
                created_at=at,
                updated_at=at,
            )
            UserProfile.objects.create(user=user, updated_at=at)
            audit.record(act="user.registered", actor_id=None, subject_id=user.pk, at=at, terms_version=terms_version)
    except IntegrityError as taken:
        raise EmailTaken from taken
    return user


def enrol_by_operator(*, user: User, at: datetime) -> tuple[str, list[str]]:
    """Turn the second factor on without a first code: (secret, recovery codes), to be handed over once. For the command line and
    the demo data, never for the API. Replaces what was there. Locks the user row.
    """
    secret = mfa.new_secret()
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        TotpDevice.objects.filter(user=owner).delete()
        TotpDevice.objects.create(user=owner, secret=secret, confirmed_at=at, created_at=at)
        User.objects.filter(pk=owner.pk).update(mfa_enabled_at=at, updated_at=at)
        recovery_codes = replace_recovery_codes(owner, at=at)
        audit.record(act="mfa.enabled", actor_id=None, subject_id=user.pk, at=at)
    user.mfa_enabled_at = at
    return secret, recovery_codes


def create_admin(*, email: str, password: str, display_name: str, at: datetime) -> tuple[User, str, list[str]]:
    """Make an admin with the second factor on: (user, TOTP secret, recovery codes), both shown once. For the command line.

    Raises: InvalidInput (password), EmailTaken.
    """
    with transaction.atomic():
        user = create_account(email=email, password=password, display_name=display_name, terms_version="", at=at)
        set_role(user=user, role=Role.ADMIN, actor=None, reason="Made with manage.py create_admin", at=at)
        secret, recovery_codes = enrol_by_operator(user=user, at=at)
    return user, secret, recovery_codes


def count_mail(email: str, *, at: datetime) -> None:
    """Count one more mail that somebody else may cause to an address, known or not. Raises: RateLimited."""
    limits.hit("mails_address", address_hash(email).hex(), at=at)


def _store_password(user: User, encoded: str, *, at: datetime) -> None:
    User.objects.filter(pk=user.pk).update(password=encoded, updated_at=at)
    consume_open_ones(user, at=at)


def _farewell_challenge(user: User, *, at: datetime) -> Challenge:
    """Where the old address waits, encrypted, for its last mail: it must stand neither in a task row nor with the account."""
    return open_challenge(
        kind=ChallengeKind.EMAIL_CHANGE, email=user.email, user=user, pending={"old_email": user.email}, at=at, consumed=True
    )


def _ensure_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput.at("/reason", "required", "Say why: it is kept, and told to the person.")


def _ensure_another_admin(user: User) -> None:
    """Two admins who demote each other at once must not both succeed."""
    if not lock_admins() - {user.pk}:
        raise LastActiveAdmin
