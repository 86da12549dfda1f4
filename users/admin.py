"""Accounts for staff: found, read, given a role, blocked, signed out. Never edited, never made, never deleted."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core import clock
from core.admin_base import Decision, Panel, ReadOnlyAdmin, chosen_from, link_to, links_about, mark, size
from core.admin_site import site
from core.models import AuditEvent
from users import services
from users.enums import ExportState, Role
from users.models import (
    Challenge,
    Notice,
    NotificationPreference,
    RecoveryCode,
    TotpDevice,
    User,
    UserDevice,
    UserProfile,
)
from users.privacy_models import AccountDeletion, DataExport

EXPORT_KINDS = {ExportState.READY: "good", ExportState.FAILED: "bad"}
ROLE_KINDS = {Role.ADMIN: "bad", Role.TUNER: "good", Role.CREATOR: "good"}


@admin.register(User, site=site)
class UserAdmin(ReadOnlyAdmin):
    icon, rank = "person", 10
    list_display = ("display_name", "email", "coloured_role", "standing", "second_factor", "created_at")
    list_filter = ("role", "is_active", ("blocked_at", admin.EmptyFieldListFilter), ("mfa_enabled_at", admin.EmptyFieldListFilter))
    search_fields = ("email", "display_name")
    search_help_text = "An id, an e-mail address or a name."
    ordering = ("-created_at", "-pk")
    concealed = ("password", "is_superuser", "is_staff", "is_active", "session_epoch")
    computed = ("standing",)
    decisions = (
        Decision(
            name="role",
            label="Give another role",
            explanation="Bites on the person's next request and ends their admin cookies. Tuners and creators are made by "
            "approving an application, which also makes their profile: this is for riders and admins.",
            act=lambda user, *, actor, reason, at, role: services.set_role(user=user, role=role, actor=actor, reason=reason, at=at),
            fields={"role": chosen_from([(Role.RIDER, "Rider"), (Role.ADMIN, "Admin")])},
            reason_help="Kept in the audit log and told to the person.",
            done="The role was changed.",
        ),
        Decision(
            name="sessions",
            label="End all sessions",
            explanation="Signs the person out on every device and from this site.",
            act=lambda user, *, actor, reason, at: services.end_sessions_by_staff(user=user, actor=actor, reason=reason, at=at),
            reason_help="Kept in the audit log and told to the person.",
            done="All sessions were ended.",
        ),
        Decision(
            name="block",
            label="Block",
            explanation="Keeps the person out from the next request on. Their own data and the way back to stock stay open to them.",
            act=lambda user, *, actor, reason, at: services.block_user(user=user, actor=actor, reason=reason, at=at),
            applies=lambda user: not user.is_blocked and user.role != Role.ADMIN,
            danger=True,
            reason_help="Kept in the audit log and told to the person.",
            done="The account is blocked.",
        ),
        Decision(
            name="unblock",
            label="Unblock",
            explanation="Lets the person in again.",
            act=lambda user, *, actor, reason, at: services.unblock_user(user=user, actor=actor, reason=reason, at=at),
            applies=lambda user: user.is_blocked,
            done="The account is open again.",
        ),
    )

    @admin.display(description="Role", ordering="role")
    def coloured_role(self, user: User) -> Any:
        return mark(user.get_role_display(), ROLE_KINDS.get(Role(user.role), "neutral"))

    @admin.display(description="Standing")
    def standing(self, user: User) -> Any:
        if user.is_blocked:
            return mark("Blocked", "bad")
        return mark("Open", "good") if user.is_active else mark("Closed")

    @admin.display(description="Second factor", boolean=True)
    def second_factor(self, user: User) -> bool:
        return user.mfa_enabled

    def panels(self, request: HttpRequest, row: User) -> list[Panel]:
        at = clock.now()
        sessions = UserDevice.objects.filter(user=row).order_by("-last_seen_at")[:20]
        events = AuditEvent.objects.filter(subject_id=row.pk).order_by("-pk")[:20]
        return [
            Panel("Elsewhere", ("Lists of what names this person",), [(links_about(row, site),)]),
            Panel(
                "Sessions",
                ("Device", "State", "Last seen", "App"),
                [
                    (
                        link_to(session, session.name or str(session.pk)),
                        mark("Live", "good") if session.is_live(at) else mark(session.get_revoked_reason_display() or "Expired"),
                        session.last_seen_at,
                        session.app_version,
                    )
                    for session in sessions
                ],
            ),
            Panel(
                "What happened",
                ("When", "What", "Why"),
                [(link_to(event, f"{event.at:%Y-%m-%d %H:%M}"), event.act, event.reason) for event in events],
            ),
        ]


class _OfPersonAdmin(ReadOnlyAdmin):
    list_select_related = ("user",)

    @admin.display(description="Person", ordering="user")
    def person(self, row: Any) -> Any:
        return link_to(row.user, row.user.display_name)


@admin.register(UserProfile, site=site)
class UserProfileAdmin(_OfPersonAdmin):
    icon, rank = "badge", 20
    list_display = ("person", "country", "experience_level", "location", "updated_at")
    list_filter = ("experience_level",)
    search_fields = ("user__display_name", "user__email", "location")
    ordering = ("-pk",)


@admin.register(UserDevice, site=site)
class UserDeviceAdmin(_OfPersonAdmin):
    icon, rank = "devices", 30
    list_display = ("person", "name", "platform", "app_version", "state", "last_seen_at")
    list_filter = ("platform", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("user__display_name", "user__email", "name")
    concealed = ("push_token",)
    ordering = ("-created_at", "-pk")

    @admin.display(description="State")
    def state(self, device: UserDevice) -> Any:
        return mark("Live", "good") if device.is_live(clock.now()) else mark("Ended")


@admin.register(Notice, site=site)
class NoticeAdmin(_OfPersonAdmin):
    icon, rank = "notifications", 40
    list_display = ("created_at", "person", "type", "title", "severity", "read_at", "mailed_at", "pushed_at")
    list_filter = ("type", "severity")
    search_fields = ("title", "user__email")
    ordering = ("-created_at", "-pk")


@admin.register(NotificationPreference, site=site)
class NotificationPreferenceAdmin(_OfPersonAdmin):
    icon, rank = "tune", 50
    list_display = ("person", "category", "mail", "push")
    list_filter = ("category", "mail", "push")
    search_fields = ("user__email", "user__display_name")
    ordering = ("-pk",)


@admin.register(Challenge, site=site)
class ChallengeAdmin(ReadOnlyAdmin):
    """What waits in it is encrypted, and its code is stored nowhere."""

    icon, rank = "mark_email_unread", 60
    list_display = ("created_at", "kind", "person", "tries", "expires_at", "consumed_at")
    list_filter = ("kind",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("-created_at", "-pk")

    @admin.display(description="Person")
    def person(self, challenge: Challenge) -> Any:
        return link_to(challenge.user, challenge.user.display_name) if challenge.user else "–"


@admin.register(TotpDevice, site=site)
class TotpDeviceAdmin(_OfPersonAdmin):
    """The secret is encrypted and never shown."""

    icon, rank, plural = "phonelink_lock", 70, "Authenticators"
    list_display = ("person", "confirmed_at", "created_at")
    search_fields = ("user__email", "user__display_name")
    concealed = ("last_step",)
    ordering = ("-created_at", "-pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("secret")


@admin.register(RecoveryCode, site=site)
class RecoveryCodeAdmin(_OfPersonAdmin):
    icon, rank = "password", 80
    list_display = ("person", "used_at", "created_at")
    list_filter = (("used_at", admin.EmptyFieldListFilter),)
    search_fields = ("user__email", "user__display_name")
    ordering = ("-created_at", "-pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("code_hash")


@admin.register(DataExport, site=site)
class DataExportAdmin(_OfPersonAdmin):
    """Staff see that it was made; the file is its person's alone."""

    icon, rank = "archive", 90
    list_display = ("created_at", "person", "coloured_state", "readable_size", "ready_at", "expires_at")
    list_filter = ("state",)
    search_fields = ("user__email", "user__display_name")
    ordering = ("-created_at", "-pk")
    concealed = ("storage_key",)

    @admin.display(description="State", ordering="state")
    def coloured_state(self, export: DataExport) -> Any:
        return mark(export.get_state_display(), EXPORT_KINDS.get(ExportState(export.state), "neutral"))

    @admin.display(description="Size", ordering="size_bytes")
    def readable_size(self, export: DataExport) -> str:
        return size(export.size_bytes)


@admin.register(AccountDeletion, site=site)
class AccountDeletionAdmin(ReadOnlyAdmin):
    """The receipt of a deleted account: who it was is not kept."""

    icon, rank = "person_off", 100
    list_display = ("deleted_at", "user_id", "objects_deleted_at", "mailed_at", "copied_at")
    list_filter = (("objects_deleted_at", admin.EmptyFieldListFilter), ("mailed_at", admin.EmptyFieldListFilter))
    search_help_text = "The id that the account had."
    ordering = ("-deleted_at", "-pk")
    concealed = ("trace_hashes", "object_hashes")
