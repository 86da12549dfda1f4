"""Accounts, sessions, challenges, second factors, notices."""

from datetime import date, datetime

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from core import clock
from core.fields import EncryptedTextField
from core.ids import new_id
from users.enums import ChallengeKind, ExperienceLevel, NoticeCategory, NoticeSeverity, Platform, Role, SessionEnd, StepUpMethod
from users.managers import UserDeviceQuerySet, UserManager
from users.normalise import normalise_email, normalise_password

CHALLENGE_TRIES = 5


class User(AbstractUser):
    """One person (or the platform's staff member), known by an e-mail address that was verified before the row was made.

    The row is never deleted: purchases and reviews point here. `deleted_at` is set once, when the person deletes the account:
    nothing that identifies them is left then, and a trigger refuses to write it again. `is_active` is false for a closed account,
    `blocked_at` is set
    while staff keep somebody out: a blocked person still signs in, but only what the endpoint table opens to them answers.
    `session_epoch` is part of the admin cookie's hash, so raising it ends all of them. `mfa_enabled_at` is set with the
    confirmed TotpDevice, in the same transaction.
    """

    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    date_joined = None  # type: ignore[assignment]

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    display_name = models.CharField(max_length=60)
    role = models.CharField(max_length=7, choices=Role, default=Role.RIDER)
    blocked_at = models.DateTimeField(null=True, blank=True)
    blocked_reason = models.CharField(max_length=500, blank=True, default="")
    deleted_at = models.DateTimeField(null=True, blank=True)
    mfa_enabled_at = models.DateTimeField(null=True, blank=True)
    session_epoch = models.PositiveIntegerField(default=0)
    terms_version = models.CharField(max_length=32, blank=True, default="")
    terms_accepted_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["display_name"]

    objects = UserManager()

    class Meta:
        constraints = [
            # two rows for one mailbox would be two accounts for one person, and a way to squat
            models.CheckConstraint(name="user_email_lower_case", condition=Q(email=Lower("email"))),
            models.CheckConstraint(name="user_role_known", condition=Q(role__in=Role.values)),
            # staff rights without the role (or the role without them) would be an admin nobody sees in the list
            models.CheckConstraint(
                name="user_admin_iff_staff",
                condition=Q(role=Role.ADMIN, is_staff=True) | (~Q(role=Role.ADMIN) & Q(is_staff=False)),
            ),
            models.CheckConstraint(name="user_superuser_is_staff", condition=Q(is_superuser=False) | Q(is_staff=True)),
            models.CheckConstraint(
                name="user_blocked_iff_reason",
                condition=Q(blocked_at__isnull=True, blocked_reason="") | (Q(blocked_at__isnull=False) & ~Q(blocked_reason="")),
            ),
            # whoever deletes an account is nobody afterwards: no sign-in, no rights
            models.CheckConstraint(
                name="user_deleted_is_inactive", condition=Q(deleted_at__isnull=True) | Q(is_active=False, role=Role.RIDER)
            ),
        ]
        indexes = [
            models.Index(name="user_role_created", fields=["role", "-created_at"]),  # the admin's list of people
        ]

    def __str__(self) -> str:
        return f"{self.display_name} ({self.get_role_display()})"

    @property
    def mfa_enabled(self) -> bool:
        """Whether a second factor is asked at log-in."""
        return self.mfa_enabled_at is not None

    @property
    def member_since(self) -> date:
        """The day the account was made."""
        return self.created_at.date()

    @property
    def is_blocked(self) -> bool:
        """Whether staff keep this person out."""
        return self.blocked_at is not None

    @property
    def is_tuner(self) -> bool:
        """Whether the role has a tuner profile; the profile's own state says if it is suspended."""
        return self.role in (Role.TUNER, Role.CREATOR)

    def get_full_name(self) -> str:
        """The name that others see."""
        return self.display_name

    def get_short_name(self) -> str:
        """The name that others see."""
        return self.display_name

    def clean(self) -> None:
        """Fold the address for forms, as the manager does."""
        self.email = normalise_email(self.email) or self.email

    def set_password(self, raw_password: str | None) -> None:
        """Hash the password as one spelling of its characters, so that all keyboards agree."""
        super().set_password(normalise_password(raw_password))

    def check_password(self, raw_password: str) -> bool:
        """Compare in the same spelling."""
        return super().check_password(normalise_password(raw_password))

    def _get_session_auth_hash(self, secret: str | bytes | None = None) -> str:
        return super()._get_session_auth_hash(secret=secret) + f":{self.session_epoch}"  # type: ignore[misc]


class UserProfile(models.Model):
    """What a person tells about themselves: one row per user, made with the account. Stats are computed, never stored here."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="profile")
    bio = models.CharField(max_length=1000, blank=True, default="")
    location = models.CharField(max_length=120, blank=True, default="")
    country = models.CharField(max_length=2, blank=True, default="")
    experience_level = models.CharField(max_length=12, choices=ExperienceLevel, blank=True, default="")
    avatar_key = models.CharField(max_length=200, blank=True, default="")
    revision = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(name="userprofile_experience_known", condition=Q(experience_level__in=["", *ExperienceLevel.values])),
            # regional blocks are judged by it: free text would slip through
            models.CheckConstraint(name="userprofile_country_alpha2", condition=Q(country="") | Q(country__regex=r"^[A-Z]{2}$")),
        ]

    def __str__(self) -> str:
        return f"profile of {self.user_id}"


class UserDevice(models.Model):
    """One session: an installation of the app on which somebody signed in.

    The refresh token's claims follow from the row (`generation`, `rotated_at`, `expires_at`), so the same token can be
    made again. `generation` rises by one with each rotation; tokens below `login_generation` belong to an earlier log-in
    on the same installation and are simply dead. The parent of the live token is answered with that same live token until
    `current_used_at` is set, one day at most. Never un-ended: a new log-in on the installation starts the row anew.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    installation_id = models.CharField(max_length=128, null=True, blank=True)
    name = models.CharField(max_length=80, blank=True, default="")
    platform = models.CharField(max_length=7, choices=Platform, blank=True, default="")
    app_version = models.CharField(max_length=32, blank=True, default="")
    push_token = models.CharField(max_length=512, blank=True, default="")
    generation = models.PositiveIntegerField(default=1)
    login_generation = models.PositiveIntegerField(default=1)
    signed_in_at = models.DateTimeField(default=clock.now)
    rotated_at = models.DateTimeField(default=clock.now)
    current_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(default=clock.now)
    last_ip = models.GenericIPAddressField(null=True, blank=True)
    stepped_up_at = models.DateTimeField(null=True, blank=True)
    stepped_up_with = models.CharField(max_length=8, choices=StepUpMethod, blank=True, default="")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=21, choices=SessionEnd, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = UserDeviceQuerySet.as_manager()

    class Meta:
        constraints = [
            # the same installation reuses its row: two rows would be two sessions nobody can tell apart in the list
            models.UniqueConstraint(name="userdevice_one_per_installation", fields=["user", "installation_id"]),
            models.CheckConstraint(name="userdevice_platform_known", condition=Q(platform__in=["", *Platform.values])),
            models.CheckConstraint(
                name="userdevice_generations_rise",
                condition=Q(login_generation__gte=1) & Q(generation__gte=F("login_generation")),
            ),
            models.CheckConstraint(name="userdevice_expires_after_sign_in", condition=Q(expires_at__gt=F("signed_in_at"))),
            models.CheckConstraint(
                name="userdevice_revoked_iff_reason",
                condition=Q(revoked_at__isnull=True, revoked_reason="") | Q(revoked_at__isnull=False, revoked_reason__in=SessionEnd.values),
            ),
            models.CheckConstraint(
                name="userdevice_step_up_iff_method",
                condition=Q(stepped_up_at__isnull=True, stepped_up_with="")
                | Q(stepped_up_at__isnull=False, stepped_up_with__in=StepUpMethod.values),
            ),
        ]
        indexes = [
            models.Index(name="userdevice_of_user", fields=["user", "-created_at", "-id"]),  # the device list
        ]

    def __str__(self) -> str:
        return f"device {self.id}"

    def is_live(self, at: datetime) -> bool:
        """Whether the session still authenticates."""
        return self.revoked_at is None and at < self.expires_at

    def is_stepped_up(self, at: datetime) -> bool:
        """Whether its person was confirmed again within the last minutes."""
        return self.stepped_up_at is not None and at < self.stepped_up_at + settings.STEP_UP_LIFETIME


class Challenge(models.Model):
    """A question that only the owner of a mailbox (or of a second factor) can answer, once.

    `pending` holds what will happen, encrypted: no account exists before its address is verified. A decoy (it says so there)
    stands for an address whose being known or not must not show; no code opens it. The six digits
    follow from the id by HMAC and are stored nowhere. `tries` counts every guess, committed before the guess is judged.
    Deleted a day after its end.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=14, choices=ChallengeKind)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="challenges")
    address_hash = models.BinaryField(max_length=32)
    pending = EncryptedTextField(blank=True, default="")
    tries = models.PositiveSmallIntegerField(default=0)
    expires_at = models.DateTimeField()
    consumed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(name="challenge_kind_known", condition=Q(kind__in=ChallengeKind.values)),
            # a sixth guess would be worth more than the other five: Postgres refuses to count it
            models.CheckConstraint(name="challenge_five_tries", condition=Q(tries__lte=CHALLENGE_TRIES)),
            models.CheckConstraint(name="challenge_expires_after_creation", condition=Q(expires_at__gt=F("created_at"))),
        ]
        indexes = [
            models.Index(name="challenge_to_sweep", fields=["expires_at"]),
        ]

    def __str__(self) -> str:
        return f"challenge {self.id} ({self.kind})"


class TotpDevice(models.Model):
    """One authenticator app. Pending until its first code is given; a person has at most one of each kind.

    `last_step` is the newest time step whose code was used: neither it nor an older one is accepted again.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="totp_devices")
    secret = EncryptedTextField()
    last_step = models.BigIntegerField(default=0)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="totpdevice_one_confirmed", fields=["user"], condition=Q(confirmed_at__isnull=False)),
            models.UniqueConstraint(name="totpdevice_one_pending", fields=["user"], condition=Q(confirmed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"authenticator {self.id}"


class RecoveryCode(models.Model):
    """One way back in without the authenticator, good once. Only its keyed hash is kept; a new set deletes the old one."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    code_hash = models.BinaryField(max_length=32)
    used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="recoverycode_once_per_user", fields=["user", "code_hash"]),
        ]

    def __str__(self) -> str:
        return f"recovery code {self.id}"


class Notice(models.Model):
    """One thing that a person should know, kept in the app and, if they want it, mailed and pushed. Only `read_at` changes,
    and, once each, `mailed_at` and `pushed_at` (its pushes were queued). With a `dedupe_key` it is told at most once, however
    often its cause is worked through.

    What is not urgent waits until `batch_due_at` and then leaves in one mail and one push with what else waits for the same
    person in its category: those share a `batch_id`. `by_mail` is false for what is never mailed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notices")
    type = models.CharField(max_length=40)
    category = models.CharField(max_length=9, choices=NoticeCategory)
    severity = models.CharField(max_length=13, choices=NoticeSeverity, default=NoticeSeverity.INFO)
    title = models.CharField(max_length=160)
    body = models.TextField(max_length=4000)
    link_resource = models.CharField(max_length=40, blank=True, default="")
    link_id = models.UUIDField(null=True, blank=True)
    dedupe_key = models.CharField(max_length=160, null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    read_at = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)
    pushed_at = models.DateTimeField(null=True, blank=True)
    by_mail = models.BooleanField(default=True, db_default=True)
    batch_due_at = models.DateTimeField(null=True, blank=True)
    batch_id = models.UUIDField(null=True, blank=True)

    class Meta:
        constraints = [
            # a task that runs twice must not tell twice
            models.UniqueConstraint(name="notice_once", fields=["user", "dedupe_key"]),
            models.CheckConstraint(name="notice_type_is_a_code", condition=Q(type__regex=r"^[A-Z][A-Z_]{1,39}$")),
            models.CheckConstraint(name="notice_category_known", condition=Q(category__in=NoticeCategory.values)),
            models.CheckConstraint(name="notice_severity_known", condition=Q(severity__in=NoticeSeverity.values)),
            models.CheckConstraint(
                name="notice_link_whole_or_absent",
                condition=Q(link_resource="", link_id__isnull=True) | (~Q(link_resource="") & Q(link_id__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(name="notice_of_user", fields=["user", "-created_at", "-id"]),  # the list in the app
            models.Index(name="notice_waiting", fields=["batch_due_at"], condition=Q(batch_due_at__isnull=False)),  # what is collected
            models.Index(name="notice_of_batch", fields=["batch_id"], condition=Q(batch_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"notice {self.id} ({self.type})"


class NotificationPreference(models.Model):
    """Whether one category reaches a person by mail and by push. No row means both do. Security and safety mails can't be
    turned off."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notification_preferences")
    category = models.CharField(max_length=9, choices=NoticeCategory)
    mail = models.BooleanField(default=True)
    push = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="notificationpreference_one_per_category", fields=["user", "category"]),
            models.CheckConstraint(name="notificationpreference_category_known", condition=Q(category__in=NoticeCategory.values)),
            models.CheckConstraint(
                name="notificationpreference_safety_stays_on",
                condition=~Q(category__in=[NoticeCategory.SECURITY, NoticeCategory.SAFETY]) | Q(mail=True),
            ),
        ]

    def __str__(self) -> str:
        return f"preference {self.category} of {self.user_id}"


from users.privacy_models import AccountDeletion, DataExport  # noqa: E402, F401  (tables of their own page)
