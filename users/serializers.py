"""What clients send and get. Nothing here writes."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.meta import agreed_text
from core.serializers import CleanCharField, CountryField, Input, Output, PageQuery, StrictBooleanField, UtcDateTimeField
from users import passwords, selectors
from users.enums import ExperienceLevel, ExportState, NoticeCategory, NoticeSeverity, Platform, Role
from users.models import User, UserDevice, UserProfile
from users.normalise import normalise_email

DEVICE_ID = r"\A[A-Za-z0-9._:{}-]{1,128}\Z"


class TextOnly(serializers.CharField):
    """A JSON string and nothing that could be read as one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class PasswordField(TextOnly):
    """Any Unicode, kept as it was typed. What is too short, long or common is the password policy's affair."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=1024, trim_whitespace=False, write_only=True, style={"input_type": "password"}, **kwargs)


@extend_schema_field({"type": "string", "format": "password", "maxLength": passwords.LONGEST})
class NewPasswordField(PasswordField):
    """A password to be set; the policy judges it."""


@extend_schema_field({"type": "string", "format": "email", "maxLength": 254})
class EmailAddressField(TextOnly):
    """An address, folded to the one spelling that is stored."""

    default_error_messages = {"invalid_email": "Enter an e-mail address, in plain ASCII."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=254, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        address = normalise_email(super().to_internal_value(data))
        if address is None:
            self.fail("invalid_email")
        return address


class SixDigitsField(serializers.RegexField):
    """The code of a mail."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(r"\A[0-9]{6}\Z", **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class TermsVersionField(TextOnly):
    """The version of the terms in force: an older one can't be agreed to."""

    default_error_messages = {"outdated": "These are not the terms in force; read them again from meta/."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=32, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        version = super().to_internal_value(data)
        if version != agreed_text("terms").version:
            self.fail("outdated")
        return version


class DeviceInput(Input):
    """The installation that signs in. Send the same `installation_id` again and its session row is used again."""

    installation_id = serializers.RegexField(DEVICE_ID, help_text="Random, made once when the app is installed.")
    name = CleanCharField(max_length=80, required=False, allow_blank=True, help_text="As its person knows it.")
    platform = serializers.ChoiceField(Platform.choices, required=False)
    app_version = serializers.RegexField(r"\A[0-9A-Za-z.+_-]{1,32}\Z", required=False)
    push_token = TextOnly(max_length=512, required=False, allow_blank=True)


class RegisterInput(Input):
    email = EmailAddressField()
    password = NewPasswordField(help_text="10 to 128 characters, none of the common ones.")
    display_name = CleanCharField(max_length=60, min_length=2)
    terms_version = TermsVersionField(help_text="From `texts.terms.version` of meta/.")


class VerifyEmailInput(Input):
    challenge_id = serializers.UUIDField()
    code = SixDigitsField()
    device = DeviceInput(required=False)


class LoginInput(Input):
    email = EmailAddressField()
    password = PasswordField()
    device = DeviceInput(required=False)


class MfaVerifyInput(Input):
    mfa_token = TextOnly()
    code = TextOnly(max_length=32, help_text="Of the authenticator, or a recovery code.")


class StepUpInput(Input):
    """Either of the two."""

    password = PasswordField(required=False)
    code = TextOnly(max_length=32, required=False, help_text="Of the authenticator, or a recovery code.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError("Send either password or code.", code="either_or")
        return attrs


class RefreshInput(Input):
    refresh = TextOnly()


class PasswordChangeInput(Input):
    current_password = PasswordField()
    new_password = NewPasswordField()


class AddressInput(Input):
    email = EmailAddressField()


class PasswordResetConfirmInput(Input):
    challenge_id = serializers.UUIDField()
    code = SixDigitsField()
    new_password = NewPasswordField()


class ChallengeAnswerInput(Input):
    challenge_id = serializers.UUIDField()
    code = SixDigitsField()


class CodeInput(Input):
    code = TextOnly(max_length=6)


class UserInput(Input):
    display_name = CleanCharField(max_length=60, min_length=2, required=False)
    terms_version = TermsVersionField(required=False, help_text="Agrees to newer terms.")


class ProfileInput(Input):
    bio = CleanCharField(max_length=1000, multiline=True, required=False, allow_blank=True)
    location = CleanCharField(max_length=120, required=False, allow_blank=True)
    country = CountryField(required=False, allow_blank=True, help_text="ISO 3166-1 alpha-2.")
    experience_level = serializers.ChoiceField(ExperienceLevel.choices, required=False, allow_blank=True)
    upload_id = serializers.UUIDField(required=False, allow_null=True, help_text="A READY upload for AVATAR; null takes the picture away.")


class DeviceChangeInput(Input):
    name = CleanCharField(max_length=80, required=False)
    push_token = TextOnly(max_length=512, required=False, allow_blank=True)


class ChannelsInput(Input):
    mail = StrictBooleanField(required=False)
    push = StrictBooleanField(required=False)


class NotificationPreferencesInput(Input):
    security = ChannelsInput(required=False, help_text=NoticeCategory.SECURITY.label)
    safety = ChannelsInput(required=False, help_text=NoticeCategory.SAFETY.label)
    purchases = ChannelsInput(required=False, help_text=NoticeCategory.PURCHASES.label)
    tuner = ChannelsInput(required=False, help_text=NoticeCategory.TUNER.label)
    social = ChannelsInput(required=False, help_text=NoticeCategory.SOCIAL.label)


class DeletionQuery(Input):
    stock_files_saved = serializers.BooleanField(
        required=False, default=False, help_text="Say true once the stock files and their restore tickets were fetched."
    )


class NoticeListQuery(PageQuery):
    unread = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Only unread (true) or only read (false) ones."
    )


class ChallengeOutput(Output):
    challenge_id = serializers.UUIDField(source="id")


class BlockOutput(Output):
    since = UtcDateTimeField(source="blocked_at")
    reason = serializers.CharField(source="blocked_reason")


class UserOutput(Output):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    display_name = serializers.CharField()
    role = serializers.ChoiceField(Role.choices)
    mfa_enabled = serializers.BooleanField()
    terms_version = serializers.CharField(help_text="The terms this person agreed to.")
    block = serializers.SerializerMethodField(help_text="Since when and why staff keep the account out; null in good standing.")
    created_at = UtcDateTimeField()
    revision = serializers.IntegerField()

    @extend_schema_field(BlockOutput(allow_null=True))
    def get_block(self, user: User) -> dict[str, Any] | None:
        return BlockOutput(user).data if user.is_blocked else None


class DeviceOutput(Output):
    id = serializers.UUIDField()
    installation_id = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    platform = serializers.ChoiceField(Platform.choices, allow_blank=True)
    app_version = serializers.CharField()
    current = serializers.SerializerMethodField(help_text="Whether this call was made on it.")
    last_seen_at = UtcDateTimeField()
    created_at = UtcDateTimeField()
    ip = serializers.IPAddressField(source="last_ip", allow_null=True)

    def get_current(self, device: UserDevice) -> bool:
        return device.pk == self.context.get("session_id", device.pk)


class TokensOutput(Output):
    access = serializers.CharField(help_text="For `Authorization: Bearer`, ten minutes.")
    refresh = serializers.CharField(help_text="For auth/refresh/; keep it in the system's key store.")


class SessionOutput(TokensOutput):
    user = UserOutput()
    device = DeviceOutput()


class LoginOutput(Output):
    """Either a session, or with the second factor on an `mfa_token` for auth/mfa/verify/."""

    mfa_required = serializers.BooleanField()
    mfa_token = serializers.CharField(required=False, help_text="Five minutes, five tries.")
    access = serializers.CharField(required=False)
    refresh = serializers.CharField(required=False)
    user = UserOutput(required=False)
    device = DeviceOutput(required=False)


class TotpOutput(Output):
    secret = serializers.CharField(help_text="Base32, for typing it in.")
    otpauth_uri = serializers.CharField(help_text="For a QR code.")


class RecoveryCodesOutput(Output):
    recovery_codes = serializers.ListField(child=serializers.CharField(), help_text="Shown once; each is good once.")


class ProfileOutput(Output):
    bio = serializers.CharField()
    location = serializers.CharField()
    country = serializers.CharField(allow_blank=True)
    experience_level = serializers.ChoiceField(ExperienceLevel.choices, allow_blank=True)
    avatar_url = serializers.SerializerMethodField()
    stats = serializers.SerializerMethodField(help_text="Computed figures, by name.")
    revision = serializers.IntegerField()
    updated_at = UtcDateTimeField()

    def get_avatar_url(self, profile: UserProfile) -> str | None:
        return selectors.avatar_url(profile)

    def get_stats(self, profile: UserProfile) -> dict[str, int]:
        return self.context["stats"]


class ChannelsOutput(Output):
    mail = serializers.BooleanField()
    push = serializers.BooleanField()
    mail_optional = serializers.BooleanField(help_text="Whether the mail can be turned off.")


class NotificationPreferencesOutput(Output):
    security = ChannelsOutput()
    safety = ChannelsOutput()
    purchases = ChannelsOutput()
    tuner = ChannelsOutput()
    social = ChannelsOutput()


class NoticeLinkOutput(Output):
    resource = serializers.CharField(source="link_resource")
    id = serializers.UUIDField(source="link_id")


class NoticeOutput(Output):
    id = serializers.UUIDField()
    type = serializers.CharField(help_text="RECALL, PURCHASE, … ; treat one you don't know as plain information.")
    severity = serializers.ChoiceField(NoticeSeverity.choices)
    title = serializers.CharField()
    body = serializers.CharField()
    link = serializers.SerializerMethodField(help_text="What it is about; null when there is nothing to open.")
    created_at = UtcDateTimeField()
    read_at = UtcDateTimeField(allow_null=True)

    @extend_schema_field(NoticeLinkOutput(allow_null=True))
    def get_link(self, notice: Any) -> dict[str, Any] | None:
        return NoticeLinkOutput(notice).data if notice.link_id else None


class PublicUserOutput(Output):
    id = serializers.UUIDField()
    display_name = serializers.CharField()
    avatar_url = serializers.SerializerMethodField()
    role = serializers.ChoiceField(Role.choices)
    member_since = serializers.DateField()

    def get_avatar_url(self, user: User) -> str | None:
        return selectors.avatar_url(user.profile)


class ErasedOutput(Output):
    what = serializers.CharField(help_text="As it is called in docs/privacy.md and in an export.")
    rows = serializers.IntegerField()
    how = serializers.CharField(help_text="`deleted`, or `blanked`: the row stays without what identifies anybody.")


class KeptOutput(Output):
    what = serializers.CharField()
    rows = serializers.IntegerField()
    why = serializers.CharField()
    until = serializers.DateField(allow_null=True, help_text="When it goes; null when `ends` says it in words.")
    ends = serializers.CharField(allow_null=True)


class DeletionReceiptOutput(Output):
    """What went with the account, what stays, why, and until when."""

    deleted_at = UtcDateTimeField()
    goes = ErasedOutput(many=True, source="receipt.goes")
    stays = KeptOutput(many=True, source="receipt.stays")


class BlockerOutput(Output):
    code = serializers.CharField(help_text="`purchases_pending`, `tunes_published`, … ; treat one you don't know by its `detail`.")
    detail = serializers.CharField()
    count = serializers.IntegerField()


class OfferedStockFileOutput(Output):
    id = serializers.UUIDField()
    vehicle = serializers.UUIDField()
    hardware_number = serializers.CharField()
    calibration_id = serializers.CharField()
    sha256 = serializers.CharField()
    size_bytes = serializers.IntegerField()
    path = serializers.CharField(help_text="GET it for a download link and the restore ticket.")


class DeletionPlanOutput(Output):
    """What deleting the account would do, were it done now."""

    blockers = BlockerOutput(many=True, help_text="What must be wound down first; the deletion is refused while there is any.")
    stock_files = OfferedStockFileOutput(many=True, help_text="Fetch them: no restore is possible without them afterwards.")
    goes = ErasedOutput(many=True, source="receipt.goes")
    stays = KeptOutput(many=True, source="receipt.stays")


class ExportOutput(Output):
    """A copy of one's data: a zip with `data.json` and the files that one brought."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(ExportState.choices, source="state")
    progress_percent = serializers.IntegerField(min_value=0, max_value=100)
    created_at = UtcDateTimeField()
    ready_at = UtcDateTimeField(allow_null=True)
    expires_at = UtcDateTimeField(allow_null=True, help_text="Until when it can be fetched; its file is deleted then.")
    size_bytes = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField(allow_null=True)
    url = serializers.CharField(allow_null=True, help_text="A fresh link with each GET, while READY. Send no Authorization beside it.")
    url_expires_at = UtcDateTimeField(allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Of an `OpenedExport`."""
        export = instance.export
        export.url, export.url_expires_at = instance.url, instance.url_expires_at
        return {**super().to_representation(export), "sha256": export.sha256 or None}
