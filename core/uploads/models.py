"""The table of uploads."""

from django.db import models
from django.db.models import Q

from core.ids import new_id
from core.uploads.enums import UploadPurpose, UploadState


class Upload(models.Model):
    """One file that somebody promised to send, and what became of it.

    `name, size_bytes, sha256, content_type` are the owner's promise; they never change and are true of the bytes once
    the upload is READY. `storage_key` names the quarantined object until then and the checked one afterwards (in the
    public bucket for pictures, see `UploadRule`); pictures and scans are stored re-encoded, and `details` says what is
    stored. `used_at` is set once, by the resource that takes the file over; an upload that nobody used is deleted with
    its object when `expires_at` has passed. A used row stays as the record of what was checked; `gone_at` is when its
    object was deleted, and until then the object counts for its owner's quota.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner_id = models.UUIDField()
    purpose = models.CharField(max_length=16, choices=UploadPurpose)
    state = models.CharField(max_length=8, choices=UploadState, default=UploadState.PENDING)
    name = models.CharField(max_length=200)
    size_bytes = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    content_type = models.CharField(max_length=100)
    storage_key = models.CharField(max_length=200)
    reasons = models.JSONField(default=list)  # [{"code", "detail"}], of a refused one
    details = models.JSONField(default=dict)  # what the check found out
    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="upload_purpose_known", condition=Q(purpose__in=UploadPurpose.values)),
            models.CheckConstraint(name="upload_state_known", condition=Q(state__in=UploadState.values)),
            models.CheckConstraint(name="upload_not_empty", condition=Q(size_bytes__gte=1)),
            models.CheckConstraint(name="upload_sha256_is_lowercase_hex", condition=Q(sha256__regex=r"^[0-9a-f]{64}$")),
            models.CheckConstraint(
                name="upload_times_agree_with_state",  # a CHECKING row without its time would never be found stuck
                condition=(
                    Q(state=UploadState.PENDING, completed_at__isnull=True, checked_at__isnull=True)
                    | Q(state=UploadState.CHECKING, completed_at__isnull=False, checked_at__isnull=True)
                    | Q(state__in=[UploadState.READY, UploadState.REFUSED], completed_at__isnull=False, checked_at__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="upload_only_ready_is_used",  # an unchecked file must never reach a resource
                condition=Q(used_at__isnull=True) | Q(state=UploadState.READY),
            ),
            models.CheckConstraint(
                name="upload_refused_iff_reasons",  # nobody is refused without a word
                condition=(Q(state=UploadState.REFUSED) & ~Q(reasons=[])) | (~Q(state=UploadState.REFUSED) & Q(reasons=[])),
            ),
        ]
        indexes = [
            models.Index(fields=["owner_id"], name="upload_unused_of_owner", condition=Q(used_at__isnull=True)),  # the quota
            models.Index(fields=["expires_at"], name="upload_sweep", condition=Q(used_at__isnull=True)),  # the hourly sweep
            models.Index(fields=["owner_id", "purpose"], name="upload_kept_of_owner", condition=Q(gone_at__isnull=True)),  # the quota
            models.Index(fields=["storage_key"], name="upload_by_object"),  # whose object was deleted
        ]

    def __str__(self) -> str:
        return f"upload {self.id} ({self.purpose}, {self.state})"
