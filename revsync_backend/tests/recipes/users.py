"""auth/ and users/."""

from datetime import timedelta

from core import clock, mfa, tokens
from core.testing.matrix import Call
from revsync_backend.tests.recipes import recipe
from revsync_backend.tests.world import agreed
from users import codes, services
from users.models import DataExport
from users.tests.factories import PASSWORD, TOTP_SECRET, UserDeviceFactory

NEW_PASSWORD = "seven-slow-herons-wade"


def code_now(kit) -> str:
    return mfa.code_of(TOTP_SECRET, at=clock.now())


@recipe("register")
def _(kit, world):
    return Call(body={"email": "nina@example.com", "password": PASSWORD, "display_name": "Nina", "terms_version": agreed("terms")})


def _registration():
    return services.request_registration(
        email="nina@example.com", password=PASSWORD, display_name="Nina", terms_version=agreed("terms"), at=clock.now()
    )


@recipe("verify_email")
def _(kit, world):
    challenge = _registration()
    return Call(body={"challenge_id": challenge.pk, "code": codes.code_of(challenge)}, open_refs=("/challenge_id",))


@recipe("resend_challenge")
def _(kit, world):
    return Call(path={"challenge": _registration().pk})


@recipe("log_in")
def _(kit, world):
    return Call(body={"email": kit.user.email, "password": PASSWORD})


@recipe("verify_mfa")
def _(kit, world):
    admin = world.kit("admin").user
    outcome = services.log_in(email=admin.email, password=PASSWORD, device=services.DeviceInfo(), peer="127.0.0.1", at=clock.now())
    return Call(body={"mfa_token": outcome.mfa_token, "code": code_now(kit)})


@recipe("step_up")
def _(kit, world):
    return Call(body={"password": PASSWORD})


@recipe("refresh_tokens")
def _(kit, world):
    return Call(body={"refresh": tokens.mint_refresh(UserDeviceFactory(user=kit.user))})


@recipe("change_password")
def _(kit, world):
    return Call(body={"current_password": PASSWORD, "new_password": NEW_PASSWORD})


@recipe("request_password_reset")
def _(kit, world):
    return Call(body={"email": kit.user.email})


@recipe("confirm_password_reset")
def _(kit, world):
    challenge = services.request_password_reset(email=kit.user.email, at=clock.now())
    body = {"challenge_id": challenge.pk, "code": codes.code_of(challenge), "new_password": NEW_PASSWORD}
    return Call(body=body, open_refs=("/challenge_id",))


@recipe("request_email_change")
def _(kit, world):
    return Call(body={"email": f"new-{kit.user.email}"})


@recipe("confirm_email_change")
def _(kit, world):
    challenge = services.request_email_change(user=kit.user, session=kit.device, email=f"new-{kit.user.email}", at=clock.now())
    return Call(body={"challenge_id": challenge.pk, "code": codes.code_of(challenge)}, refs=("/challenge_id",))


@recipe("enrol_totp")
def _(kit, world):
    return Call(refused=(409, "mfa_already_enabled") if kit.user.mfa_enabled else None)


@recipe("confirm_totp")
def _(kit, world):
    if kit.user.mfa_enabled:
        return Call(body={"code": "000000"}, refused=(409, "mfa_already_enabled"))
    secret, _uri = services.enrol_totp(user=kit.user, at=clock.now())
    return Call(body={"code": mfa.code_of(secret, at=clock.now())})


@recipe("disable_totp")
def _(kit, world):
    if kit.role == "admin":
        return Call(refused=(403, "mfa_required_by_role"))
    return Call(refused=None if kit.user.mfa_enabled else (409, "mfa_not_enabled"))


@recipe("renew_recovery_codes")
def _(kit, world):
    return Call(refused=None if kit.user.mfa_enabled else (409, "mfa_not_enabled"))


@recipe("change_me")
def _(kit, world):
    return Call(body={"display_name": "Another name"})


@recipe("change_my_profile")
def _(kit, world):
    from core.uploads.tests.factories import UploadFactory

    upload = UploadFactory(owner_id=kit.user.pk, purpose="AVATAR", ready=True, content_type="image/jpeg")
    return Call(body={"bio": "I ride.", "upload_id": upload.pk}, refs=("/upload_id",))


@recipe("change_my_device")
def _(kit, world):
    return Call(path={"device": kit.other_device.pk}, body={"name": "The blue phone"})


@recipe("revoke_my_device")
def _(kit, world):
    return Call(path={"device": kit.other_device.pk})


@recipe("change_notification_preferences")
def _(kit, world):
    return Call(body={"social": {"mail": False}})


@recipe("read_my_notice")
def _(kit, world):
    return Call(path={"notice": kit.notice.pk})


@recipe("get_user")
def _(kit, world):
    return Call(path={"user": world.tuner.user_id})


@recipe("delete_me")
def _(kit, world):
    return Call(query={"stock_files_saved": "true"}, refused=(409, "account_deletion_blocked") if kit.profile is not None else None)


@recipe("get_my_export")
def _(kit, world):
    """One that can be fetched; where it lies nobody asks."""
    export = services.request_export(user=kit.user, at=clock.now())
    ready = {"ready_at": clock.now(), "expires_at": clock.now() + timedelta(days=1), "size_bytes": 9, "sha256": "ab" * 32}
    DataExport.objects.filter(pk=export.pk).update(state="READY", storage_key="exports/made.zip", **ready)
    return Call(path={"export": export.pk})
