from django.db import models
from django.db.models import Q

from core.ids import new_id
from marketplace.enums import XRayBase

__all__ = ["FileXRay"]


class FileXRay(models.Model):
    """What one tune file changes in another image, coarsely: in the stock image that its tuner named, or in the file of
    the version published before.

    Made by the inspection and never changed (a trigger); a reviewer sees all of `report` (`garage.ecu_images.xray`), riders
    the summary on the version. No bytes, and no places nearer than a kilobyte. Deleted with its file.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    file = models.ForeignKey("marketplace.TuneFile", on_delete=models.CASCADE, related_name="xrays")
    against = models.CharField(max_length=8, choices=XRayBase)
    base_label = models.CharField(max_length=14, blank=True, default="", help_text="The number of the earlier version.")
    base_sha256 = models.CharField(max_length=64)
    regions = models.PositiveIntegerField()
    share_basis_points = models.PositiveSmallIntegerField()
    changes_code = models.BooleanField()
    report = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "X-ray"
        constraints = [
            models.UniqueConstraint(name="filexray_once_per_base", fields=["file", "against"]),
            models.CheckConstraint(name="filexray_base_known", condition=Q(against__in=XRayBase.values)),
            models.CheckConstraint(name="filexray_base_is_sha256", condition=Q(base_sha256__regex=r"^[0-9a-f]{64}$")),
            models.CheckConstraint(name="filexray_share_is_one", condition=Q(share_basis_points__lte=10_000)),
        ]

    def __str__(self) -> str:
        return f"{self.file} against {self.get_against_display().lower()}"
