"""The second factor: authenticator apps and recovery codes."""

from datetime import datetime

from django.db import transaction

from core import audit, crypto, limits, mfa
from users import policies, selectors
from users.enums import NoticeType
from users.exceptions import CodeWrong, MfaAlreadyEnabled, MfaNotEnabled, MfaRequiredByRole, TotpNotPending
from users.models import RecoveryCode, TotpDevice, User, UserDevice
from users.services.notices import notify


def enrol_totp(*, user: User, at: datetime) -> tuple[str, str]:
    """Start an enrolment: (secret, otpauth link), shown once. Called by the person. A pending one is replaced.

    Locks the user row. Raises: MfaAlreadyEnabled.
    """
    secret = mfa.new_secret()
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if owner.mfa_enabled:
            raise MfaAlreadyEnabled
        TotpDevice.objects.filter(user=owner, confirmed_at=None).delete()
        TotpDevice.objects.create(user=owner, secret=secret, created_at=at)
    return secret, mfa.provisioning_uri(secret, account=owner.email)


def confirm_totp(*, user: User, code: str, session: UserDevice | None, at: datetime) -> list[str]:
    """Turn the second factor on with the first code; answers the recovery codes, shown once. Called by the person.

    Locks the user row. Not idempotent. Counts wrong codes.

    Raises: MfaAlreadyEnabled, TotpNotPending, CodeWrong, RateLimited.
    """
    limits.hit("mfa_tries", user.pk, at=at)
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if owner.mfa_enabled:
            raise MfaAlreadyEnabled
        device = TotpDevice.objects.filter(user=owner, confirmed_at=None).first()
        if device is None:
            raise TotpNotPending
        step = mfa.matching_step(device.secret, code, at=at, after_step=device.last_step)
        if step is None:
            raise CodeWrong.at("/code")
        TotpDevice.objects.filter(pk=device.pk).update(confirmed_at=at, last_step=step)
        User.objects.filter(pk=owner.pk).update(mfa_enabled_at=at, updated_at=at)
        recovery_codes = replace_recovery_codes(owner, at=at)
        audit.record(act="mfa.enabled", actor_id=user.pk, subject_id=user.pk, session_id=session.pk if session else None, at=at)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            title="The second factor is on",
            body="From now on signing in asks for a code of your authenticator app. Keep the recovery codes somewhere safe.",
            at=at,
        )
    limits.release("mfa_tries", user.pk)
    user.mfa_enabled_at = at
    return recovery_codes


def disable_totp(*, user: User, session: UserDevice | None, at: datetime) -> None:
    """Turn the second factor off and delete the recovery codes. Called by the person, stepped up. Locks the user row.

    Raises: MfaNotEnabled, MfaRequiredByRole (admins).
    """
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if not owner.mfa_enabled:
            raise MfaNotEnabled
        if policies.must_keep_second_factor(owner):
            raise MfaRequiredByRole
        TotpDevice.objects.filter(user=owner).delete()
        RecoveryCode.objects.filter(user=owner).delete()
        User.objects.filter(pk=owner.pk).update(mfa_enabled_at=None, updated_at=at)
        audit.record(act="mfa.disabled", actor_id=user.pk, subject_id=user.pk, session_id=session.pk if session else None, at=at)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            severity="warning",
            title="The second factor is off",
            body="Signing in no longer asks for a code. If this was not you, change your password now.",
            at=at,
        )
    user.mfa_enabled_at = None


def renew_recovery_codes(*, user: User, session: UserDevice | None, at: datetime) -> list[str]:
    """Ten fresh recovery codes, shown once; the old ones are void. Called by the person, stepped up. Locks the user row.

    Raises: MfaNotEnabled.
    """
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if not owner.mfa_enabled:
            raise MfaNotEnabled
        recovery_codes = replace_recovery_codes(owner, at=at)
        audit.record(
            act="mfa.recovery_codes_renewed", actor_id=user.pk, subject_id=user.pk, session_id=session.pk if session else None, at=at
        )
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            title="New recovery codes",
            body="Your recovery codes were replaced. The old ones no longer work.",
            at=at,
        )
    return recovery_codes


def verify_second_factor(*, user: User, code: str, at: datetime) -> bool:
    """Whether this is a code of the person's authenticator, or one of the recovery codes, not used before; uses it up.

    Never call it inside a transaction: wrong codes stay counted. Conditional updates, so that a code works once under
    parallel use. Raises: RateLimited.
    """
    limits.hit("mfa_tries", user.pk, at=at)
    is_right = _use_totp_code(user, code, at=at) or _use_recovery_code(user, code, at=at)
    if is_right:
        limits.release("mfa_tries", user.pk)
    return is_right


def _use_totp_code(user: User, code: str, *, at: datetime) -> bool:
    device = selectors.find_confirmed_totp(user)
    if device is None:
        return False
    step = mfa.matching_step(device.secret, code, at=at, after_step=device.last_step)
    if step is None:
        return False
    return bool(TotpDevice.objects.filter(pk=device.pk, last_step__lt=step).update(last_step=step))


def _use_recovery_code(user: User, code: str, *, at: datetime) -> bool:
    unused = RecoveryCode.objects.filter(user=user, code_hash__in=crypto.keyed_hashes(*_recovery_facts(code)), used_at=None)
    if not user.mfa_enabled:
        return False
    with transaction.atomic():
        if not unused.update(used_at=at):
            return False
        left = RecoveryCode.objects.filter(user=user, used_at=None).count()
        audit.record(act="mfa.recovery_code_used", actor_id=user.pk, subject_id=user.pk, at=at, left=left)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            severity="warning",
            title="A recovery code was used",
            body=f"Somebody signed in or confirmed an act with one of your recovery codes; {left} are left. "
            "If this was not you, change your password.",
            at=at,
        )
    return True


def _recovery_facts(code: str) -> tuple[str, str]:
    """Purpose and value of the hash that is kept of a recovery code."""
    return "recovery_code", mfa.fold_recovery_code(code)


def replace_recovery_codes(user: User, *, at: datetime) -> list[str]:
    """Delete the old set, keep hashes of a new one and answer it. For services that hold the user row's lock."""
    codes = mfa.new_recovery_codes()
    RecoveryCode.objects.filter(user=user).delete()
    hashes = [crypto.keyed_hash(*_recovery_facts(code)) for code in codes]
    RecoveryCode.objects.bulk_create([RecoveryCode(user=user, code_hash=code_hash, created_at=at) for code_hash in hashes])
    return codes
