"""The endpoints of accounts and sessions."""

from dataclasses import replace

from core.endpoints import Endpoint
from core.permissions import Authenticated, AuthenticatedEvenIfBlocked, Public
from core.serializers import PageQuery
from users import serializers, views
from users.examples import EXAMPLES

CODE = ("challenge_code_wrong", "challenge_over")

_ROWS: list[Endpoint] = [
    Endpoint(
        "POST", "auth/register/", views.RegisterView, "register", "Open a registration",
        access=Public, request=serializers.RegisterInput, response=serializers.ChallengeOutput, status=202,
        limit="registrations_peer",
    ),
    Endpoint(
        "POST", "auth/verify-email/", views.VerifyEmailView, "verify_email", "Give the code and be signed in",
        access=Public, request=serializers.VerifyEmailInput, response=serializers.SessionOutput, problems=CODE,
        limit="challenge_tries_peer", audit="user.registered",
    ),
    Endpoint(
        "POST", "auth/challenges/<uuid:challenge>/resend/", views.ChallengeResendView, "resend_challenge", "Send a code again",
        access=Public, response=serializers.ChallengeOutput, status=202, problems=("challenge_over",), limit="challenge_tries_peer",
    ),
    Endpoint(
        "POST", "auth/login/", views.LoginView, "log_in", "Sign in",
        access=Public, request=serializers.LoginInput, response=serializers.LoginOutput, problems=("invalid_credentials",),
        audit="session.started",
    ),
    Endpoint(
        "POST", "auth/mfa/verify/", views.MfaVerifyView, "verify_mfa", "Finish signing in with the second factor",
        access=Public, request=serializers.MfaVerifyInput, response=serializers.SessionOutput,
        problems=("mfa_code_wrong", "mfa_token_over"), limit="challenge_tries_peer", audit="session.started",
    ),
    Endpoint(
        "POST", "auth/step-up/", views.StepUpView, "step_up", "Confirm that it is me",
        access=AuthenticatedEvenIfBlocked, request=serializers.StepUpInput, status=204, problems=("current_password_wrong", "code_wrong"),
        audit="session.stepped_up",
    ),
    Endpoint(
        "POST", "auth/refresh/", views.RefreshView, "refresh_tokens", "Change a refresh token for new tokens",
        access=Public, request=serializers.RefreshInput, response=serializers.TokensOutput, problems=("token_invalid",),
    ),
    Endpoint(
        "POST", "auth/logout/", views.LogoutView, "log_out", "End this session",
        access=AuthenticatedEvenIfBlocked, status=204, audit="session.ended",
    ),
    Endpoint(
        "POST", "auth/logout-all/", views.LogoutAllView, "log_out_everywhere", "End all my sessions",
        access=AuthenticatedEvenIfBlocked, status=204, audit="session.ended",
    ),
    Endpoint(
        "POST", "auth/password/change/", views.PasswordChangeView, "change_password", "Change my password",
        access=AuthenticatedEvenIfBlocked, request=serializers.PasswordChangeInput, status=204, problems=("current_password_wrong",),
        audit="password.changed",
    ),
    Endpoint(
        "POST", "auth/password/reset/", views.PasswordResetView, "request_password_reset", "Ask for a password reset",
        access=Public, request=serializers.AddressInput, response=serializers.ChallengeOutput, status=202, limit="challenge_tries_peer",
    ),
    Endpoint(
        "POST", "auth/password/reset/confirm/", views.PasswordResetConfirmView, "confirm_password_reset",
        "Set a new password with the code",
        access=Public, request=serializers.PasswordResetConfirmInput, status=204, problems=CODE, limit="challenge_tries_peer",
        audit="password.reset",
    ),
    Endpoint(
        "POST", "auth/email/change/", views.EmailChangeView, "request_email_change", "Ask for another e-mail address",
        access=Authenticated, request=serializers.AddressInput, response=serializers.ChallengeOutput, status=202,
        problems=("email_unchanged",), step_up=True, audit="email.change_requested",
    ),
    Endpoint(
        "POST", "auth/email/change/confirm/", views.EmailChangeConfirmView, "confirm_email_change", "Put the new address in force",
        access=Authenticated, request=serializers.ChallengeAnswerInput, response=serializers.UserOutput, problems=CODE, step_up=True,
        audit="email.changed",
    ),
    Endpoint(
        "POST", "auth/mfa/totp/", views.TotpView, "enrol_totp", "Start enrolling an authenticator",
        access=Authenticated, response=serializers.TotpOutput, problems=("mfa_already_enabled",), step_up=True,
    ),
    Endpoint(
        "POST", "auth/mfa/totp/confirm/", views.TotpConfirmView, "confirm_totp", "Turn the second factor on",
        access=Authenticated, request=serializers.CodeInput, response=serializers.RecoveryCodesOutput,
        problems=("code_wrong", "mfa_already_enabled", "totp_not_pending"), step_up=True, audit="mfa.enabled",
    ),
    Endpoint(
        "POST", "auth/mfa/totp/disable/", views.TotpDisableView, "disable_totp", "Turn the second factor off",
        access=Authenticated, status=204, problems=("mfa_not_enabled", "mfa_required_by_role"), step_up=True, audit="mfa.disabled",
    ),
    Endpoint(
        "POST", "auth/mfa/recovery-codes/", views.RecoveryCodesView, "renew_recovery_codes", "New recovery codes",
        access=Authenticated, response=serializers.RecoveryCodesOutput, problems=("mfa_not_enabled",), step_up=True,
        audit="mfa.recovery_codes_renewed",
    ),
    Endpoint(
        "GET", "users/me/", views.MeView, "get_me", "My account",
        access=AuthenticatedEvenIfBlocked, scope="owner", response=serializers.UserOutput,
    ),
    Endpoint(
        "PATCH", "users/me/", views.MeView, "change_me", "Change my account",
        access=Authenticated, scope="owner", request=serializers.UserInput, response=serializers.UserOutput, revisioned=True,
    ),
    Endpoint(
        "DELETE", "users/me/", views.MeView, "delete_me", "Delete my account",
        access=AuthenticatedEvenIfBlocked, scope="owner", query=serializers.DeletionQuery, response=serializers.DeletionReceiptOutput,
        problems=("account_deletion_blocked", "stock_files_offered"), step_up=True, audit="account.deleted",
    ),
    Endpoint(
        "GET", "users/me/deletion/", views.DeletionPlanView, "plan_my_deletion", "What deleting my account would do",
        access=AuthenticatedEvenIfBlocked, scope="owner", response=serializers.DeletionPlanOutput,
    ),
    Endpoint(
        "POST", "users/me/exports/", views.ExportListView, "request_my_export", "Ask for a copy of my data",
        access=AuthenticatedEvenIfBlocked, scope="owner", response=serializers.ExportOutput, status=201, idempotency="honoured",
        problems=("export_in_progress",), limit="exports_account", audit="export.requested",
    ),
    Endpoint(
        "GET", "users/me/exports/<uuid:export>/", views.ExportView, "get_my_export", "A copy of my data",
        access=AuthenticatedEvenIfBlocked, scope="owner", response=serializers.ExportOutput, problems=("service_unavailable",),
        audit="export.opened",
    ),
    Endpoint(
        "GET", "users/me/profile/", views.MyProfileView, "get_my_profile", "My profile",
        access=Authenticated, scope="owner", response=serializers.ProfileOutput,
    ),
    Endpoint(
        "PATCH", "users/me/profile/", views.MyProfileView, "change_my_profile", "Change my profile",
        access=Authenticated, scope="owner", request=serializers.ProfileInput, response=serializers.ProfileOutput, revisioned=True,
    ),
    Endpoint(
        "GET", "users/me/devices/", views.DeviceListView, "list_my_devices", "My devices",
        access=AuthenticatedEvenIfBlocked, scope="owner", query=PageQuery, response=serializers.DeviceOutput, paginated=True,
    ),
    Endpoint(
        "PATCH", "users/me/devices/<uuid:device>/", views.DeviceView, "change_my_device", "Rename a device or set its push token",
        access=Authenticated, scope="owner", request=serializers.DeviceChangeInput, response=serializers.DeviceOutput,
    ),
    Endpoint(
        "DELETE", "users/me/devices/<uuid:device>/", views.DeviceView, "revoke_my_device", "End a device's session",
        access=AuthenticatedEvenIfBlocked, scope="owner", status=204, audit="session.ended",
    ),
    Endpoint(
        "GET", "users/me/notification-preferences/", views.NotificationPreferencesView, "get_notification_preferences",
        "How I want to be told", access=Authenticated, scope="owner", response=serializers.NotificationPreferencesOutput,
    ),
    Endpoint(
        "PATCH", "users/me/notification-preferences/", views.NotificationPreferencesView, "change_notification_preferences",
        "Change how I want to be told", access=Authenticated, scope="owner", request=serializers.NotificationPreferencesInput,
        response=serializers.NotificationPreferencesOutput,
    ),
    Endpoint(
        "GET", "users/me/notices/", views.NoticeListView, "list_my_notices", "What I was told",
        access=AuthenticatedEvenIfBlocked, scope="owner", query=serializers.NoticeListQuery, response=serializers.NoticeOutput,
        paginated=True,
    ),
    Endpoint(
        "POST", "users/me/notices/<uuid:notice>/read/", views.NoticeReadView, "read_my_notice", "Note that I read a notice",
        access=AuthenticatedEvenIfBlocked, scope="owner", response=serializers.NoticeOutput,
    ),
    Endpoint(
        "GET", "users/<uuid:user>/", views.PublicUserView, "get_user", "What others see of a person",
        access=Authenticated, response=serializers.PublicUserOutput,
    ),
]

ENDPOINTS: list[Endpoint] = [replace(row, examples=EXAMPLES.get(row.name, ())) for row in _ROWS]
