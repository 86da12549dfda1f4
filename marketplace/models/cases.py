from django.conf import settings
from django.db import models
from django.db.models import Q

from core.ids import new_id
from marketplace.enums import CaseAuthor, CaseKind, CaseResolution, CaseStatus

__all__ = ["Case", "CaseAttachment", "CaseMessage"]


class CaseQuerySet(models.QuerySet):
    def visible_to(self, user) -> "CaseQuerySet":
        """A rider's own, those about a tuner's sales, and all of them for staff with their second factor on."""
        if user.is_staff and user.mfa_enabled:
            return self
        return self.filter(Q(purchase__buyer_id=user.pk) | Q(purchase__tuner__user_id=user.pk))

    def open(self) -> "CaseQuerySet":
        """All but resolved ones."""
        return self.exclude(status=CaseStatus.RESOLVED)


class Case(models.Model):
    """A conversation about one purchase among its buyer, its tuner and staff.

    OPEN until somebody answers, then waiting for one of the three, with a due date; a date that passes brings it to staff
    (`escalated_at`). RESOLVED by staff, with what was decided and why. `flash_id` names the failed flash that opened it.
    Never deleted: what was decided about money stays with the books.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    purchase = models.ForeignKey("marketplace.Purchase", on_delete=models.PROTECT, related_name="cases")
    kind = models.CharField(max_length=13, choices=CaseKind)
    status = models.CharField(max_length=13, choices=CaseStatus, default=CaseStatus.OPEN)
    opened_by_id = models.UUIDField(null=True, blank=True, help_text="Empty: the system.")
    flash_id = models.UUIDField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    reminded_at = models.DateTimeField(null=True, blank=True, help_text="When the one who must answer was reminded of this due date.")
    escalated_at = models.DateTimeField(null=True, blank=True, help_text="When a due date passed and staff took over.")
    resolution = models.CharField(max_length=14, choices=CaseResolution, blank=True, default="")
    resolution_reason = models.TextField(max_length=4000, blank=True, default="")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects = CaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="case_one_open",  # two conversations about one thing would be decided twice
                fields=["purchase", "kind"],
                condition=~Q(status=CaseStatus.RESOLVED),
            ),
            models.CheckConstraint(name="case_kind_known", condition=Q(kind__in=CaseKind.values)),
            models.CheckConstraint(name="case_status_known", condition=Q(status__in=CaseStatus.values)),
            models.CheckConstraint(
                name="case_resolved_iff_decided",  # nobody is refused without a word, and nothing open lacks a date
                condition=Q(
                    status=CaseStatus.RESOLVED, resolved_at__isnull=False, due_at__isnull=True, resolution__in=CaseResolution.values
                )
                | (~Q(status=CaseStatus.RESOLVED) & Q(resolved_at__isnull=True, due_at__isnull=False, resolution="")),
            ),
        ]
        indexes = [
            models.Index(fields=["purchase", "-id"], name="case_of_purchase"),
            models.Index(fields=["due_at"], name="case_due", condition=~Q(status=CaseStatus.RESOLVED)),  # reminders and escalation
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display().lower()} of {self.purchase.number} ({self.get_status_display().lower()})"


class CaseMessage(models.Model):
    """One message of a case. Append-only; its id may be client-made, so that a phone can send it again."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="messages")
    author = models.CharField(max_length=6, choices=CaseAuthor)
    author_user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    text = models.TextField(max_length=4000)
    fingerprint = models.BinaryField(max_length=32)  # of the body: the same one again is answered, another is refused
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="casemessage_author_known", condition=Q(author__in=CaseAuthor.values)),
            models.CheckConstraint(
                name="casemessage_system_iff_nobody",
                condition=Q(author=CaseAuthor.SYSTEM, author_user__isnull=True)
                | (~Q(author=CaseAuthor.SYSTEM) & Q(author_user__isnull=False)),
            ),
        ]
        indexes = [models.Index(fields=["case", "created_at", "id"], name="casemessage_of_case")]

    def __str__(self) -> str:
        return f"{self.get_author_display()}, {self.created_at:%Y-%m-%d %H:%M}"


class CaseAttachment(models.Model):
    """A checked file of a message, seen by those of its case through short links only."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    message = models.ForeignKey(CaseMessage, on_delete=models.PROTECT, related_name="attachments")
    upload_id = models.UUIDField(unique=True)
    storage_key = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    size_bytes = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "position"], name="caseattachment_position_once")]

    def __str__(self) -> str:
        return self.name or "a file"
