"""Entry points of accounts and sessions: read the body, one domain call, answer."""

import uuid
from typing import Any

from rest_framework.response import Response

from core import tokens
from core.pagination import Key, Ordering
from core.peer import peer_address
from core.views import ApiView
from users import privacy, selectors, services
from users.enums import SessionEnd
from users.models import UserDevice
from users.serializers import (
    ChallengeOutput,
    DeletionPlanOutput,
    DeletionReceiptOutput,
    DeviceOutput,
    ExportOutput,
    NoticeOutput,
    NotificationPreferencesOutput,
    ProfileOutput,
    PublicUserOutput,
    UserOutput,
)

NEWEST = Ordering("newest", Key("created_at", desc=True), Key("id", desc=True))


class BareView(ApiView):
    """For calls that bring their own proof: an expired access token beside it must not get in the way."""

    authentication_classes: list[type] = []


def session_of(session: UserDevice, *, at: Any) -> dict[str, Any]:
    """Both tokens, the person and the device: what every way of signing in answers."""
    return {
        "access": tokens.mint_access(session, at=at),
        "refresh": tokens.mint_refresh(session),
        "user": UserOutput(session.user).data,
        "device": DeviceOutput(session).data,
    }


def device_info(body: dict[str, Any]) -> services.DeviceInfo:
    """The device of a body, or an unnamed one."""
    return services.DeviceInfo(**body.get("device", {}))


class RegisterView(BareView):
    def post(self, request: Any) -> Response:
        """Open a registration. A code goes to the address, and **no account exists until it is given** to auth/verify-email/.

        The answer is the same for a known address; its owner is told by mail.
        """
        challenge = services.request_registration(**self.body(), at=self.at)
        return Response(ChallengeOutput(challenge).data, status=202)


class VerifyEmailView(BareView):
    def post(self, request: Any) -> Response:
        """Give the code of the mail: the account is made and signed in. A code is good for 15 minutes, one use and five tries."""
        body = self.body()
        session = services.verify_email(
            challenge_id=body["challenge_id"], code=body["code"], device=device_info(body), peer=peer_address(request), at=self.at
        )
        return Response(session_of(session, at=self.at))


class ChallengeResendView(BareView):
    def post(self, request: Any, challenge: uuid.UUID) -> Response:
        """Send the mail again, with the same code. At most three mails an hour go to one address."""
        services.resend_challenge(challenge_id=challenge, at=self.at)
        return Response({"challenge_id": challenge}, status=202)


class LoginView(BareView):
    def post(self, request: Any) -> Response:
        """Sign in. With the second factor on the answer is `mfa_required` and an `mfa_token`.

        The same `installation_id` uses its device row again; tokens of its earlier sign-in are dead from then on.
        """
        body = self.body()
        outcome = services.log_in(
            email=body["email"], password=body["password"], device=device_info(body), peer=peer_address(request), at=self.at
        )
        if outcome.session is None:
            return Response({"mfa_required": True, "mfa_token": outcome.mfa_token})
        return Response({"mfa_required": False, **session_of(outcome.session, at=self.at)})


class MfaVerifyView(BareView):
    def post(self, request: Any) -> Response:
        """Finish a sign-in with a code of the authenticator, or with a recovery code."""
        session = services.verify_mfa(**self.body(), peer=peer_address(request), at=self.at)
        return Response(session_of(session, at=self.at))


class RefreshView(BareView):
    def post(self, request: Any) -> Response:
        """Change a refresh token for new tokens. Keep the new one before you use it, then forget the old one.

        When the answer is lost, send the old one again: until its successor was first used (24 h at most) the same
        successor is answered. Any other used token ends the session.
        """
        session = services.refresh_session(token=self.body()["refresh"], peer=peer_address(request), at=self.at)
        return Response({"access": tokens.mint_access(session, at=self.at), "refresh": tokens.mint_refresh(session)})


class StepUpView(ApiView):
    def post(self, request: Any) -> Response:
        """Confirm on this session that it is you, by password or by code: opens the calls marked step-up for five minutes."""
        body = self.body()
        services.step_up(session=request.auth, password=body.get("password"), code=body.get("code"), at=self.at)
        return Response(status=204)


class LogoutView(ApiView):
    def post(self, request: Any) -> Response:
        """End this session. An admin's browser sessions end too."""
        services.log_out(session=request.auth, at=self.at)
        return Response(status=204)


class LogoutAllView(ApiView):
    def post(self, request: Any) -> Response:
        """End every session of mine, this one and an admin's browser sessions too."""
        services.end_all_sessions(user=request.user, reason=SessionEnd.LOGGED_OUT_EVERYWHERE, actor_id=request.user.pk, at=self.at)
        return Response(status=204)


class PasswordChangeView(ApiView):
    def post(self, request: Any) -> Response:
        """Change the password. All other sessions end; this one stays."""
        services.change_password(session=request.auth, **self.body(), at=self.at)
        return Response(status=204)


class PasswordResetView(BareView):
    def post(self, request: Any) -> Response:
        """Ask for a code to set a new password with. The answer is the same whether the address is known or not."""
        challenge = services.request_password_reset(**self.body(), at=self.at)
        return Response(ChallengeOutput(challenge).data, status=202)


class PasswordResetConfirmView(BareView):
    def post(self, request: Any) -> Response:
        """Set a new password with the mailed code. All sessions end; a second factor stays on."""
        services.confirm_password_reset(**self.body(), at=self.at)
        return Response(status=204)


class EmailChangeView(ApiView):
    def post(self, request: Any) -> Response:
        """Ask for another address. A code goes to the new one; the old one is told."""
        challenge = services.request_email_change(user=request.user, session=request.auth, **self.body(), at=self.at)
        return Response(ChallengeOutput(challenge).data, status=202)


class EmailChangeConfirmView(ApiView):
    def post(self, request: Any) -> Response:
        """Give the code: from now on the new address signs in."""
        user = services.confirm_email_change(user=request.user, session=request.auth, **self.body(), at=self.at)
        return Response(UserOutput(user).data)


class TotpView(ApiView):
    def post(self, request: Any) -> Response:
        """Start enrolling an authenticator app: its secret, shown once. It is on after auth/mfa/totp/confirm/."""
        secret, uri = services.enrol_totp(user=request.user, at=self.at)
        return Response({"secret": secret, "otpauth_uri": uri})


class TotpConfirmView(ApiView):
    def post(self, request: Any) -> Response:
        """Turn the second factor on with the authenticator's first code. Answers the recovery codes, shown once."""
        codes = services.confirm_totp(user=request.user, session=request.auth, **self.body(), at=self.at)
        return Response({"recovery_codes": codes})


class TotpDisableView(ApiView):
    def post(self, request: Any) -> Response:
        """Turn the second factor off. Admins can't."""
        services.disable_totp(user=request.user, session=request.auth, at=self.at)
        return Response(status=204)


class RecoveryCodesView(ApiView):
    def post(self, request: Any) -> Response:
        """Ten new recovery codes, shown once; the old ones are void."""
        return Response({"recovery_codes": services.renew_recovery_codes(user=request.user, session=request.auth, at=self.at)})


class MeView(ApiView):
    def get(self, request: Any) -> Response:
        """My account. Answers blocked accounts too, with the reason."""
        return Response(UserOutput(request.user).data)

    def patch(self, request: Any) -> Response:
        """Change the display name, or agree to newer terms."""
        user = services.update_user(user=request.user, changes=self.body(), revision=self.revision(), at=self.at)
        return Response(UserOutput(user).data)


    def delete(self, request: Any) -> Response:
        """Delete the account. Everything of it is dead with the answer, which says what went and what stays; it is mailed too.

        Refused while something must be wound down first, and until the stock files were offered: GET users/me/deletion/ tells both
        beforehand. Files are deleted within half an hour.
        """
        deletion = services.delete_account(user=request.user, session=request.auth, **self.params(), at=self.at)
        return Response(DeletionReceiptOutput(deletion).data)


class DeletionPlanView(ApiView):
    def get(self, request: Any) -> Response:
        """What deleting the account would do, were it done now. Changes nothing."""
        return Response(DeletionPlanOutput(services.plan_deletion(user=request.user, at=self.at)).data)


class ExportListView(ApiView):
    def post(self, request: Any) -> Response:
        """Ask for a copy of everything I gave or caused. The worker makes it; poll users/me/exports/{id}/, or wait for the notice."""
        return self.create_once(
            lambda claim: services.request_export(user=request.user, at=self.at),
            render=lambda export: ExportOutput(services.OpenedExport(export)).data,
            find=lambda export_id: selectors.get_export(request.user, export_id),
        )


class ExportView(ApiView):
    def get(self, request: Any, export: uuid.UUID) -> Response:
        """How far the copy is; once READY, with a fresh link of a minute, for 24 hours."""
        return Response(ExportOutput(services.open_export(user=request.user, export_id=export, at=self.at)).data)


class MyProfileView(ApiView):
    def get(self, request: Any) -> Response:
        """My profile, with figures computed now."""
        return self._answer(selectors.get_profile(request.user))

    def patch(self, request: Any) -> Response:
        """Change my profile; what is not sent stays. `upload_id` is a picture's, null takes it away."""
        changes = dict(self.body())
        avatar = changes.pop("upload_id", services.KEEP_AVATAR)
        profile = services.update_profile(user=request.user, changes=changes, avatar_upload_id=avatar, revision=self.revision(), at=self.at)
        return self._answer(profile)

    def _answer(self, profile: Any) -> Response:
        return Response(ProfileOutput(profile, context={"stats": privacy.stats_of(profile.user_id)}).data)


class DeviceListView(ApiView):
    def get(self, request: Any) -> Response:
        """The devices that are signed in, newest first."""
        return self.page(selectors.list_devices(request.user, at=self.at), NEWEST, context={"session_id": request.auth.pk})


class DeviceView(ApiView):
    def patch(self, request: Any, device: uuid.UUID) -> Response:
        """Rename a device, or set its push token."""
        changed = services.update_device(user=request.user, device_id=device, changes=self.body(), at=self.at)
        return Response(DeviceOutput(changed, context={"session_id": request.auth.pk}).data)

    def delete(self, request: Any, device: uuid.UUID) -> Response:
        """End a device's session: its tokens fail from the next request on."""
        services.revoke_device(user=request.user, device_id=device, session=request.auth, at=self.at)
        return Response(status=204)


class NotificationPreferencesView(ApiView):
    def get(self, request: Any) -> Response:
        """For each category whether mail and push are on."""
        return Response(NotificationPreferencesOutput(selectors.get_notification_preferences(request.user.pk)).data)

    def patch(self, request: Any) -> Response:
        """Turn mail and push on and off by category. Mails about security and safety can't be turned off."""
        preferences = services.update_notification_preferences(user=request.user, changes=self.body())
        return Response(NotificationPreferencesOutput(preferences).data)


class NoticeListView(ApiView):
    def get(self, request: Any) -> Response:
        """What I was told, newest first."""
        params = self.params()
        return self.page(selectors.list_notices(request.user, unread=params["unread"]), NEWEST, params=params)


class NoticeReadView(ApiView):
    def post(self, request: Any, notice: uuid.UUID) -> Response:
        """Note that I have read it. Repeating it changes nothing."""
        return Response(NoticeOutput(services.mark_notice_read(user=request.user, notice_id=notice, at=self.at)).data)


class PublicUserView(ApiView):
    def get(self, request: Any, user: uuid.UUID) -> Response:
        """What others see of a person."""
        return Response(PublicUserOutput(selectors.get_public_user(user)).data)
