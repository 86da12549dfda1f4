"""Infrastructure tables: they name people and things by id only, without foreign keys upward."""

from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Length
from django.db.models.lookups import Exact

from core.ids import new_id


class AuditEvent(models.Model):
    """One act of money, access, moderation or administration. Append-only: a trigger refuses every change.

    `position` is the number of the transaction that wrote it, given by the database: rows of finished transactions are
    sealed in this order (see `core.audit.sealing`).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    position = models.BigIntegerField(
        db_default=Func(function="core_audit_position", output_field=models.BigIntegerField()), editable=False
    )
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
            models.Index(fields=["session_id", "-id"], name="audit_of_session"),  # admin: what a stolen session was used for
            models.Index(fields=["act", "-id"], name="audit_of_act"),  # admin: every act of a kind, and which kinds there are
            models.Index(fields=["position", "id"], name="audit_order"),  # sealing and its proof read in this order
        ]

    def __str__(self) -> str:
        return f"{self.act} at {self.at:%Y-%m-%d %H:%M:%S}"


class AuditSeal(models.Model):
    """One link of the hash chain over the audit log. Append-only.

    `entries` are id, position and hash of each row it seals, 56 bytes a row (`core.audit.rows`).
    """

    number = models.BigIntegerField(primary_key=True)  # of two sealers at once, the primary key lets one insert
    previous_hash = models.BinaryField(max_length=32, unique=True)  # a chain has no fork
    hash = models.BinaryField(max_length=32)
    sealed_at = models.DateTimeField()
    row_count = models.PositiveIntegerField()
    entries = models.BinaryField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.CheckConstraint(condition=Q(number__gte=1, row_count__gte=1), name="seal_counts_from_one"),
            models.CheckConstraint(condition=Exact(Length("entries"), F("row_count") * 56), name="seal_has_its_entries"),
        ]

    def __str__(self) -> str:
        return f"seal {self.number}"


class AuditHeadCopy(models.Model):
    """The chain was copied to storage up to a seal: which object holds it. Append-only."""

    last_number = models.BigIntegerField(primary_key=True)
    first_number = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)
    key = models.CharField(max_length=200)
    copied_at = models.DateTimeField()

    class Meta:
        ordering = ["-last_number"]
        verbose_name_plural = "audit head copies"
        constraints = [models.CheckConstraint(condition=Q(last_number__gte=F("first_number")), name="head_copy_runs_forward")]

    def __str__(self) -> str:
        return f"copy of seals {self.first_number} to {self.last_number}"


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
