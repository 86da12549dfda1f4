"""What remains of an account that was deleted, and the copies of their data that people ask for."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from core import clock
from core.fields import EncryptedTextField
from core.ids import new_id
from users.enums import ExportState

OPEN_STATES = (ExportState.QUEUED, ExportState.RUNNING)


class AccountDeletion(models.Model):
    """One deleted account: what its person was told, and what proves later that nothing has come back. Never deleted.

    `user_id` is the opaque id under which the books go on; no foreign key, so that the row can be written again after a
    restored backup lost it. `trace_hashes` are keyed hashes of what identified the person, under the key that
    `hash_key_id` names. `objects` are the stored objects still to be deleted; once the worker is done only their keyed
    hashes are kept. `farewell_address` holds the address, encrypted, until the receipt was mailed (and a line
    for each other one to which mails had gone).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user_id = models.UUIDField(unique=True)
    deleted_at = models.DateTimeField()
    receipt = models.JSONField()
    hash_key_id = models.CharField(max_length=16)
    trace_hashes = ArrayField(models.CharField(max_length=64))
    objects_left = models.JSONField(default=list)  # [{"key", "bucket"}]
    object_hashes = ArrayField(models.CharField(max_length=64), default=list)
    objects_deleted_at = models.DateTimeField(null=True, blank=True)
    farewell_address = EncryptedTextField(null=True)
    mailed_at = models.DateTimeField(null=True, blank=True)
    copied_at = models.DateTimeField(null=True, blank=True, help_text="When storage had its copy, which outlives a restored database.")

    class Meta:
        constraints = [
            # an address that stays although its mail has left would be what the person asked us to forget
            models.CheckConstraint(
                name="accountdeletion_address_until_mailed", condition=Q(farewell_address__isnull=True) | Q(mailed_at__isnull=True)
            ),
            models.CheckConstraint(
                name="accountdeletion_no_object_left_when_done", condition=Q(objects_deleted_at__isnull=True) | Q(objects_left=[])
            ),
        ]
        indexes = [models.Index(name="accountdeletion_newest", fields=["-deleted_at", "-id"])]  # the admin's list, and the verifier's walk

    def __str__(self) -> str:
        return f"deletion of {self.user_id}"


class DataExport(models.Model):
    """One copy of everything that a person gave or caused, made by the worker: QUEUED → RUNNING → READY → EXPIRED, or FAILED.

    `storage_key` is written before the object is stored, so that no object is ever without a row that names it. The object goes
    at `expires_at`; the row a month later, or with the account.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="data_exports")
    state = models.CharField(max_length=7, choices=ExportState, default=ExportState.QUEUED)
    progress_percent = models.PositiveSmallIntegerField(default=0)
    storage_key = models.CharField(max_length=200, blank=True, default="")
    size_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now)
    ready_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="dataexport_state_known", condition=Q(state__in=ExportState.values)),
            models.CheckConstraint(name="dataexport_percent", condition=Q(progress_percent__lte=100)),
            # a double tap, or two phones, would read a large account twice
            models.UniqueConstraint(name="dataexport_one_open", fields=["user"], condition=Q(state__in=OPEN_STATES)),
            models.CheckConstraint(
                name="dataexport_ready_is_complete",
                condition=~Q(state=ExportState.READY)
                | (Q(ready_at__isnull=False, expires_at__isnull=False, size_bytes__isnull=False) & ~Q(storage_key="") & ~Q(sha256="")),
            ),
        ]
        indexes = [
            models.Index(name="dataexport_of_user", fields=["user", "-created_at"]),
            models.Index(name="dataexport_to_sweep", fields=["created_at"]),  # what expires, fails or goes
        ]

    def __str__(self) -> str:
        return f"export {self.id} ({self.state})"
