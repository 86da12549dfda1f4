from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Cast, Concat, Left

from core.ids import new_id
from marketplace.enums import EmissionsClass, InspectionVerdict, ReviewReason, VersionStatus

__all__ = ["Fitment", "TuneFile", "TuneVersion"]

EVER_PUBLISHED = (VersionStatus.PUBLISHED, VersionStatus.ON_HOLD, VersionStatus.RECALLED, VersionStatus.WITHDRAWN)
STOPPED = (VersionStatus.ON_HOLD, VersionStatus.RECALLED)
UNDECIDED = (VersionStatus.VALIDATING, VersionStatus.INVALID, VersionStatus.VALIDATED, VersionStatus.IN_REVIEW)


def _number(part: int) -> Cast:
    return Cast(Func(F("version"), Value("."), Value(part), function="split_part"), models.BigIntegerField())


class TuneVersion(models.Model):
    """One reviewed release of a tune: its files, what they need, and the road to publication.

    VALIDATING until the worker has inspected the files, then INVALID or VALIDATED; IN_REVIEW when submitted; then
    PUBLISHED, CHANGES_REQUESTED or REJECTED. A published one may be ON_HOLD, RECALLED or WITHDRAWN. `files` never
    change; from publication on a trigger keeps number, requirements, emissions class and release counter too. An
    unpublished version may be deleted by its tuner, which frees its number; a published one goes only with a tune
    that nobody owns.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.CASCADE, related_name="versions")
    version = models.CharField(max_length=14, help_text="MAJOR.MINOR.PATCH")
    version_order = models.GeneratedField(
        expression=_number(1) * 100_000_000 + _number(2) * 10_000 + _number(3), output_field=models.BigIntegerField(), db_persist=True
    )
    status = models.CharField(max_length=17, choices=VersionStatus, default=VersionStatus.VALIDATING)
    changelog = models.TextField(max_length=5_000, blank=True, default="")
    change_summary = models.TextField(blank=True, default="", help_text="What changed against the stock image, coarsely.")
    emissions_class = models.CharField(max_length=18, choices=EmissionsClass)
    certification_number = models.CharField(max_length=60, blank=True, default="")
    blocked_regions = ArrayField(models.CharField(max_length=6), default=list, blank=True)
    tags = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    requirements = models.JSONField(default=dict)
    required_part_keys = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    forbidden_part_keys = ArrayField(models.CharField(max_length=80), default=list, blank=True)

    inspection_verdict = models.CharField(max_length=7, choices=InspectionVerdict, blank=True, default="")
    inspection_findings = models.JSONField(default=list, blank=True)
    inspected_at = models.DateTimeField(null=True, blank=True)

    submitted_at = models.DateTimeField(null=True, blank=True)
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    review_reason = models.CharField(max_length=19, choices=ReviewReason, blank=True, default="")
    review_note = models.TextField(blank=True, default="")
    approved_sha256 = ArrayField(models.CharField(max_length=64), default=list, blank=True)

    release_counter = models.PositiveIntegerField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True, help_text="Since when it is on hold or recalled.")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tune", "version"], name="tuneversion_number_once_per_tune"),  # two uploads of 1.4.0 at once
            models.UniqueConstraint(fields=["tune", "release_counter"], name="tuneversion_release_counter_once"),  # two publications
            models.CheckConstraint(
                name="tuneversion_number_is_semver",
                condition=Q(version__regex=r"^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$"),
            ),
            models.CheckConstraint(name="tuneversion_status_known", condition=Q(status__in=VersionStatus.values)),
            models.CheckConstraint(name="tuneversion_emissions_class_known", condition=Q(emissions_class__in=EmissionsClass.values)),
            models.CheckConstraint(
                name="tuneversion_certified_has_number",
                condition=~Q(emissions_class=EmissionsClass.CERTIFIED) | ~Q(certification_number=""),
            ),
            models.CheckConstraint(
                name="tuneversion_inspected_iff_verdict",  # an unread file must never reach a reviewer
                condition=(
                    Q(status=VersionStatus.VALIDATING, inspection_verdict="", inspected_at__isnull=True)
                    | Q(status=VersionStatus.INVALID, inspection_verdict=InspectionVerdict.REFUSED, inspected_at__isnull=False)
                    | (
                        ~Q(status__in=[VersionStatus.VALIDATING, VersionStatus.INVALID])
                        & Q(inspection_verdict=InspectionVerdict.PASS, inspected_at__isnull=False)
                    )
                ),
            ),
            models.CheckConstraint(
                name="tuneversion_submitted_at_agrees",  # the queue is ordered by it
                condition=(
                    Q(status__in=[VersionStatus.VALIDATING, VersionStatus.INVALID, VersionStatus.VALIDATED], submitted_at__isnull=True)
                    | ~Q(status__in=[VersionStatus.VALIDATING, VersionStatus.INVALID, VersionStatus.VALIDATED])
                    & Q(submitted_at__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="tuneversion_decision_complete",  # who decided and when belongs to every decision
                condition=(
                    Q(status__in=UNDECIDED, reviewer__isnull=True, decided_at__isnull=True, review_reason="")
                    | Q(
                        status__in=[VersionStatus.CHANGES_REQUESTED, VersionStatus.REJECTED],
                        reviewer__isnull=False,
                        decided_at__isnull=False,
                        review_reason__in=ReviewReason.values,
                    )
                    | Q(status__in=EVER_PUBLISHED, reviewer__isnull=False, decided_at__isnull=False, review_reason="")
                ),
            ),
            models.CheckConstraint(
                name="tuneversion_published_iff_counter_and_time",  # a release without counter could be rolled back
                condition=(
                    Q(status__in=EVER_PUBLISHED, published_at__isnull=False, release_counter__isnull=False)
                    | ~Q(status__in=EVER_PUBLISHED) & Q(published_at__isnull=True, release_counter__isnull=True)
                ),
            ),
            models.CheckConstraint(
                name="tuneversion_stopped_at_iff_stopped",
                condition=(
                    Q(status__in=STOPPED, stopped_at__isnull=False) | ~Q(status__in=STOPPED) & Q(stopped_at__isnull=True)
                ),
            ),
            models.CheckConstraint(
                name="tuneversion_withdrawn_at_iff_withdrawn",
                condition=(
                    Q(status=VersionStatus.WITHDRAWN, withdrawn_at__isnull=False)
                    | ~Q(status=VersionStatus.WITHDRAWN) & Q(withdrawn_at__isnull=True)
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["tune", "-version_order"], name="tuneversion_of_tune"),  # history, newest that matches
            models.Index(fields=["submitted_at", "id"], name="tuneversion_review_queue", condition=Q(status=VersionStatus.IN_REVIEW)),
            models.Index(fields=["-decided_at"], name="tuneversion_decided", condition=Q(decided_at__isnull=False)),  # median wait
        ]

    def __str__(self) -> str:
        return f"{self.tune.title} {self.version} ({self.status})"

    @property
    def was_published(self) -> bool:
        return self.published_at is not None


class TuneFile(models.Model):
    """One image of a version, exactly as it was reviewed: hash, size, decoded image, where the bytes lie.

    `sha256` and `size_bytes` are what the upload promised and was checked for; format and image follow from the
    inspection, `storage_key` from the promotion of those very bytes. A trigger refuses any change once the version is
    in review or was published. Deleted with its version.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    version = models.ForeignKey(TuneVersion, on_delete=models.CASCADE, related_name="files")
    position = models.PositiveSmallIntegerField(default=0)
    upload_id = models.UUIDField(null=True, blank=True, help_text="The upload it came by; core keeps those.")
    stock_upload_id = models.UUIDField(null=True, blank=True, help_text="The upload of the stock image that it was made from.")
    name = models.CharField(max_length=200)
    size_bytes = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    format = models.CharField(max_length=12, blank=True, default="")
    image_base = models.PositiveBigIntegerField(null=True, blank=True)
    image_size_bytes = models.PositiveIntegerField(null=True, blank=True)
    image_sha256 = models.CharField(max_length=64, blank=True, default="")
    storage_key = models.CharField(max_length=73, blank=True, default="")
    calibration_id_after = models.CharField(max_length=64, blank=True, default="")
    detected = models.JSONField(default=dict, blank=True)
    inspection_findings = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "position"], name="tunefile_position_once"),
            models.UniqueConstraint(fields=["version", "sha256"], name="tunefile_bytes_once_per_version"),  # one release per bytes
            models.CheckConstraint(name="tunefile_sha256_shape", condition=Q(sha256__regex=r"^[0-9a-f]{64}$")),
            models.CheckConstraint(
                name="tunefile_key_is_its_hash",  # a key that names other bytes would serve other bytes
                condition=Q(storage_key="") | Q(storage_key=Concat(Value("tunes/"), Left("sha256", 2), Value("/"), F("sha256"))),
            ),
            models.CheckConstraint(
                name="tunefile_image_whole_or_absent",
                condition=(
                    Q(image_base__isnull=True, image_size_bytes__isnull=True, image_sha256="")
                    | Q(image_base__isnull=False, image_size_bytes__gt=0, image_sha256__regex=r"^[0-9a-f]{64}$") & ~Q(format="")
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["sha256"], name="tunefile_sha256"),  # installed/check, copies of somebody's file
            # the same image in another format
            models.Index(fields=["image_sha256"], name="tunefile_image_sha256", condition=~Q(image_sha256="")),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:12]})"


class Fitment(models.Model):
    """A range of vehicles and ECUs that one file serves. Conditions of one row hold together, never across rows.

    Written with its file and never changed afterwards, except `live`, which a trigger keeps: true while the version is
    PUBLISHED and the tune listed. Tune and version are repeated from the file so that lists need no join.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    file = models.ForeignKey(TuneFile, on_delete=models.CASCADE, related_name="fitments")
    version = models.ForeignKey(TuneVersion, on_delete=models.CASCADE, related_name="fitments")
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.CASCADE, related_name="fitments")
    position = models.PositiveSmallIntegerField(default=0)
    make = models.ForeignKey("garage.VehicleMake", on_delete=models.PROTECT, related_name="+")
    model = models.ForeignKey("garage.VehicleModel", on_delete=models.PROTECT, related_name="+")
    make_name = models.CharField(max_length=80)
    model_name = models.CharField(max_length=120)
    year_from = models.PositiveSmallIntegerField()
    year_to = models.PositiveSmallIntegerField()
    markets = ArrayField(models.CharField(max_length=5))
    hardware_numbers = ArrayField(models.CharField(max_length=64))
    calibration_ids = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    image_size_bytes = models.PositiveIntegerField()
    live = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["file", "position"], name="fitment_position_once"),
            models.CheckConstraint(
                name="fitment_years_in_order",
                condition=Q(year_from__gte=1950, year_from__lte=F("year_to"), year_to__lte=2100),
            ),
            models.CheckConstraint(name="fitment_image_size_positive", condition=Q(image_size_bytes__gt=0)),
            models.CheckConstraint(  # without one it would be in no list of a vehicle that was read
                name="fitment_hardware_number_stated", condition=Q(hardware_numbers__len__gte=1)
            ),
        ]
        indexes = [
            models.Index(fields=["tune"], name="fitment_live_of_tune", condition=Q(live=True)),  # verdicts in lists
            GinIndex(fields=["hardware_numbers"], name="fitment_hardware", condition=Q(live=True), fastupdate=False),  # list by part number
            GinIndex(fields=["calibration_ids"], name="fitment_calibration", condition=Q(live=True), fastupdate=False),
            GinIndex(  # the few that may fit a vehicle, by all facts at once
                Func(
                    *("model_id", "year_from", "year_to", "markets", "hardware_numbers", "calibration_ids", "image_size_bytes"),
                    function="marketplace_fitment_facts",
                    output_field=ArrayField(models.TextField()),
                ),
                name="fitment_facts",
                condition=Q(live=True),
                fastupdate=False,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.make_name} {self.model_name} {self.year_from}-{self.year_to}"
