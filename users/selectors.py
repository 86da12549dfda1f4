"""Reads about accounts."""

import uuid
from datetime import datetime

from django.db.models import QuerySet

from core import storage
from users.enums import MAIL_NOT_OPTIONAL, ExportState, NoticeCategory
from users.exceptions import DeviceNotFound, ExportNotFound, NoticeNotFound, UserNotFound
from users.models import DataExport, Notice, NotificationPreference, TotpDevice, User, UserDevice, UserProfile


def find_user(email: str) -> User | None:
    """The account of a normalised address."""
    return User.objects.filter(email=email).first()


def get_public_user(user_id: uuid.UUID) -> User:
    """A person as others see them, with the profile. Raises: UserNotFound (missing or closed)."""
    user = User.objects.select_related("profile").filter(pk=user_id, is_active=True).first()
    if user is None:
        raise UserNotFound
    return user


def get_profile(user: User) -> UserProfile:
    """The person's own profile: it was made with the account."""
    return UserProfile.objects.get(user=user)


def is_mfa_enabled(user: User) -> bool:
    """Whether a second factor is asked from this person."""
    return user.mfa_enabled


def find_confirmed_totp(user: User) -> TotpDevice | None:
    """The authenticator that is in force."""
    return TotpDevice.objects.filter(user=user, confirmed_at__isnull=False).first()


def has_installation(email: str, installation_id: str) -> bool:
    """Whether somebody signed in to this account on this installation before."""
    return UserDevice.objects.filter(user__email=email, installation_id=installation_id).exists()


def list_devices(user: User, *, at: datetime) -> QuerySet[UserDevice]:
    """The live sessions of a person."""
    return UserDevice.objects.live(at).filter(user=user)


def get_device(user: User, device_id: uuid.UUID, *, at: datetime) -> UserDevice:
    """One live session of the person. Raises: DeviceNotFound (missing, ended, or somebody else's)."""
    device = list_devices(user, at=at).filter(pk=device_id).first()
    if device is None:
        raise DeviceNotFound
    return device


def list_notices(user: User, *, unread: bool | None = None) -> QuerySet[Notice]:
    """What a person was told; only the unread or the read part if asked."""
    notices = Notice.objects.filter(user=user)
    return notices if unread is None else notices.filter(read_at__isnull=unread)


def get_notice(user: User, notice_id: uuid.UUID) -> Notice:
    """One notice of the person. Raises: NoticeNotFound."""
    notice = Notice.objects.filter(user=user, pk=notice_id).first()
    if notice is None:
        raise NoticeNotFound
    return notice


def find_open_export(user: User) -> DataExport | None:
    """The export that is being made for a person."""
    return DataExport.objects.filter(user=user, state__in=(ExportState.QUEUED, ExportState.RUNNING)).first()


def get_export(user: User, export_id: uuid.UUID) -> DataExport:
    """One export of the person. Raises: ExportNotFound (missing, or somebody else's)."""
    export = DataExport.objects.filter(user=user, pk=export_id).first()
    if export is None:
        raise ExportNotFound
    return export


def get_notification_preferences(user_id: uuid.UUID) -> dict[str, dict[str, bool]]:
    """For each category whether mail and push are on, and whether mail can be turned off."""
    stored = {row.category: row for row in NotificationPreference.objects.filter(user_id=user_id)}
    return {
        category.value.lower(): {
            "mail": stored[category].mail if category in stored else True,
            "push": stored[category].push if category in stored else True,
            "mail_optional": category not in MAIL_NOT_OPTIONAL,
        }
        for category in NoticeCategory
    }


def avatar_url(profile: UserProfile) -> str | None:
    """Where the picture is public; None without one."""
    return storage.public_url(profile.avatar_key) if profile.avatar_key else None
