"""Infrastructure tables: they name people and things by id only, without foreign keys upward."""

from django.db import models
from django.db.models import Q

from core.ids import new_id


class AuditEvent(models.Model):
    """One act of money, access, moderation or administration. Append-only: a trigger refuses every change."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    at = models.DateTimeField()
    act = models.CharField(max_length=80)
    actor_id = models.UUIDField(null=True)  # None: the system
    subject_id = models.UUIDField(null=True)
    session_id = models.UUIDField(null=True)
    reason = models.CharField(max_length=2000, blank=True)
    facts = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["subject_id", "-id"], name="audit_of_subject"),  # admin: what happened to this row
            models.Index(fields=["actor_id", "-id"], name="audit_of_actor"),  # admin: what this person did
        ]

    def __str__(self) -> str:
        return f"{self.act} at {self.at:%Y-%m-%d %H:%M:%S}"


class IdempotencyRecord(models.Model):
    """One `Idempotency-Key` of one actor for one operation; `resource_id` is what it made, once it did. Kept for 24 h."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    actor_id = models.UUIDField()
    operation = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    lease_id = models.UUIDField()
    lease_expires_at = models.DateTimeField()
    resource_id = models.UUIDField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            # two parallel requests with one key: one of them inserts
            models.UniqueConstraint(fields=["actor_id", "operation", "key"], name="idempotency_one_per_key"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="idempotency_expiry")]

    def __str__(self) -> str:
        return f"{self.operation} ({self.id})"


class LimitCounter(models.Model):
    """How often `name` happened for one key in the running window. The key is stored as a keyed hash."""

    name = models.CharField(max_length=40)
    key_hash = models.BinaryField(max_length=32)
    window_ends_at = models.DateTimeField()
    count = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name", "key_hash"], name="limit_one_per_key"),  # the upsert's target
            models.CheckConstraint(condition=Q(count__gte=0), name="limit_counts_from_zero"),  # zero: every hit was taken back
        ]
        indexes = [models.Index(fields=["window_ends_at"], name="limit_expiry")]

    def __str__(self) -> str:
        return f"{self.name}: {self.count}"


from core.tasks.models import DeadTask, ScheduleEntry, TaskWorker  # noqa: E402, F401  (tables of core's packages)
from core.uploads.models import Upload  # noqa: E402, F401
