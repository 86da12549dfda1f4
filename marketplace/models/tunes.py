from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Case, F, Q, Value, When

from core.ids import new_id
from garage.enums import VehicleKind
from marketplace.enums import EmissionsClass, TuneCategory, TuneStatus, TuneSuspensionReason

__all__ = ["Favorite", "Tune", "TuneViews"]

# A tune's place in the order by rating: as if five riders had given 3.8 before, so that one five-star review does not win.
PRIOR_REVIEWS = 5
PRIOR_RATING_MILLI = 3800


class TuneQuerySet(models.QuerySet):
    def of_tuner_user(self, user) -> "TuneQuerySet":
        """Listings whose tuner is this account."""
        return self.filter(tuner__user_id=user.pk)

    def listed(self) -> "TuneQuerySet":
        """What everybody may see: published, its tuner active, with at least one PUBLISHED version."""
        return self.filter(listed=True)

    def public(self) -> "TuneQuerySet":
        """What a link still opens: listed, or archived or without a version on sale, but never a draft or suspended one."""
        return self.filter(status__in=[TuneStatus.PUBLISHED, TuneStatus.ARCHIVED])


class Tune(models.Model):
    """One listing of a tuner: what riders browse, buy and review. Its files are in its versions.

    DRAFT until its first version is published, then PUBLISHED; its tuner may archive it, staff may suspend it. Price
    and words may change, `tuner` never. `release_counter` only rises. The fields below `latest_version` are kept by
    the trigger `marketplace_refresh_tunes` (migration 0002) and are never written by services; counters are written
    with `F()`. Deleted by its tuner only while nobody owns it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tuner = models.ForeignKey("tuners.TunerProfile", on_delete=models.PROTECT, related_name="tunes")
    status = models.CharField(max_length=9, choices=TuneStatus, default=TuneStatus.DRAFT)
    title = models.CharField(max_length=120)
    description = models.TextField(max_length=10_000, blank=True, default="")
    kind = models.CharField(max_length=10, choices=VehicleKind)
    category = models.CharField(max_length=12, choices=TuneCategory)
    price_minor = models.PositiveIntegerField(help_text="Minor units, taxes included; 0 is free.")
    currency = models.CharField(max_length=3)
    requirements = models.JSONField(default=dict, blank=True, help_text="Default for versions that state none.")
    dyno = models.JSONField(null=True, blank=True)
    images = models.JSONField(default=list, blank=True, help_text="[{key, width, height}] in the public bucket.")

    rating_sum = models.PositiveIntegerField(default=0)
    rating_count = models.PositiveIntegerField(default=0)
    rating_milli = models.GeneratedField(
        expression=Case(When(rating_count=0, then=Value(None)), default=F("rating_sum") * 1000 / F("rating_count")),
        output_field=models.IntegerField(null=True),
        db_persist=True,
    )
    rating_score = models.GeneratedField(
        expression=(F("rating_sum") * 1000 + PRIOR_REVIEWS * PRIOR_RATING_MILLI) / (F("rating_count") + PRIOR_REVIEWS),
        output_field=models.IntegerField(),
        db_persist=True,
    )
    download_count = models.PositiveIntegerField(default=0)
    flash_count = models.PositiveIntegerField(default=0)
    flash_success_count = models.PositiveIntegerField(default=0)
    popularity = models.PositiveIntegerField(default=0, help_text="Recomputed by the schedule from the counters.")

    release_counter = models.PositiveIntegerField(default=0)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_from = models.CharField(max_length=9, choices=TuneStatus, blank=True, default="")
    suspension_reason = models.CharField(max_length=13, choices=TuneSuspensionReason, blank=True, default="")
    suspension_note = models.TextField(blank=True, default="")

    latest_version = models.ForeignKey("marketplace.TuneVersion", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    latest_version_at = models.DateTimeField(null=True, blank=True, help_text="When that one was published.")
    listed = models.BooleanField(default=False)
    emissions_class = models.CharField(max_length=18, choices=EmissionsClass, blank=True, default="")
    fuel_octane = models.PositiveSmallIntegerField(null=True, blank=True)
    fuel_scale = models.CharField(max_length=3, blank=True, default="")
    fitment_summary = ArrayField(models.TextField(), default=list, blank=True)
    calibration_ids_after = ArrayField(
        models.CharField(max_length=64), default=list, blank=True, help_text="What an ECU reports after any version ever published."
    )

    objects = TuneQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="tune_status_known", condition=Q(status__in=TuneStatus.values)),
            models.CheckConstraint(name="tune_kind_known", condition=Q(kind__in=VehicleKind.values)),
            models.CheckConstraint(name="tune_category_known", condition=Q(category__in=TuneCategory.values)),
            models.CheckConstraint(name="tune_currency_shape", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(
                name="tune_published_at_iff_ever_published",  # a draft in the order "newest" would show before its review
                condition=(
                    Q(status=TuneStatus.DRAFT, published_at__isnull=True)
                    | Q(status__in=[TuneStatus.PUBLISHED, TuneStatus.ARCHIVED], published_at__isnull=False)
                    | Q(status=TuneStatus.SUSPENDED)
                ),
            ),
            models.CheckConstraint(
                name="tune_archived_at_iff_archived",
                condition=(
                    Q(status=TuneStatus.ARCHIVED, archived_at__isnull=False)
                    | Q(status__in=[TuneStatus.DRAFT, TuneStatus.PUBLISHED], archived_at__isnull=True)
                    | Q(status=TuneStatus.SUSPENDED)
                ),
            ),
            models.CheckConstraint(
                name="tune_suspension_complete",  # lifting a suspension must know where to return, and the tuner why it was
                condition=(
                    Q(status=TuneStatus.SUSPENDED, suspended_at__isnull=False)
                    & Q(suspended_from__in=[TuneStatus.DRAFT, TuneStatus.PUBLISHED, TuneStatus.ARCHIVED])
                    & Q(suspension_reason__in=TuneSuspensionReason.values)
                )
                | (
                    ~Q(status=TuneStatus.SUSPENDED)
                    & Q(suspended_at__isnull=True, suspended_from="", suspension_reason="", suspension_note="")
                ),
            ),
            models.CheckConstraint(
                name="tune_rating_sum_possible",  # a lost update between two reviews would leave an average over 5
                condition=Q(rating_sum__gte=F("rating_count"), rating_sum__lte=F("rating_count") * 5),
            ),
            models.CheckConstraint(
                name="tune_flash_success_not_over_count", condition=Q(flash_success_count__lte=F("flash_count"))
            ),
            models.CheckConstraint(
                name="tune_listed_only_when_published",  # a suspended tune in a list could be bought
                condition=Q(listed=False) | Q(status=TuneStatus.PUBLISHED, latest_version__isnull=False),
            ),
        ]
        indexes = [
            # one for each order of the list without make and model
            models.Index(fields=["-published_at", "-id"], name="tune_newest", condition=Q(listed=True)),
            models.Index(fields=["currency", "price_minor", "id"], name="tune_price", condition=Q(listed=True)),
            models.Index(fields=["-rating_score", "-id"], name="tune_rating", condition=Q(listed=True)),
            models.Index(fields=["-popularity", "-id"], name="tune_popular", condition=Q(listed=True)),
            # facets, counted to 1,001 at most
            models.Index(fields=["category", "emissions_class", "kind"], name="tune_facets", condition=Q(listed=True)),
            # a tuner's page and own listings
            models.Index(fields=["tuner", "-published_at", "-id"], name="tune_of_tuner", condition=Q(listed=True)),
            models.Index(  # what is new of followed tuners
                fields=["tuner", "-latest_version_at", "-id"], name="tune_followed", condition=Q(listed=True)
            ),
            models.Index(fields=["tuner", "-created_at", "-id"], name="tune_own_newest"),
            GinIndex(  # what may fit an ECU that this tune is in
                fields=["calibration_ids_after"], name="tune_calibration_after", condition=Q(listed=True), fastupdate=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.status})"

    @property
    def is_free(self) -> bool:
        return self.price_minor == 0

    @property
    def announcement(self) -> str:
        """What it is called and what it is for, as news tell of it. Not by whom: who leaves is forgotten, news are kept."""
        fits = ", ".join(self.fitment_summary[:3])
        return f"“{self.title}” for {fits}" if fits else f"“{self.title}”"


class Favorite(models.Model):
    """One account has marked one tune. Deleted with either.

    `known_price_minor` is the lowest price that the person knows: what it cost when they marked it, then what they were told. Empty
    in rows older than this, whose person is told of no price.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="favorite_tunes")
    tune = models.ForeignKey(Tune, on_delete=models.CASCADE, related_name="favorites")
    created_at = models.DateTimeField()
    known_price_minor = models.PositiveIntegerField(null=True, blank=True)
    known_currency = models.CharField(max_length=3, blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "tune"], name="favorite_once"),  # a double tap is one favourite
        ]
        indexes = [
            models.Index(fields=["user", "-created_at", "-id"], name="favorite_own_newest"),  # the rider's list
            models.Index(fields=["created_at"], name="favorite_trend"),  # what was marked lately
        ]

    def __str__(self) -> str:
        return f"favorite {self.id}"


class TuneViews(models.Model):
    """How often one tune was looked at on one day (UTC): a number, and nobody in it.

    Web workers add what they counted, a set at a time (`services.analytics`). Deleted with its tune, and when it is two years old.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tune = models.ForeignKey(Tune, on_delete=models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    views = models.PositiveIntegerField()

    class Meta:
        verbose_name_plural = "tune views"
        constraints = [
            # two workers that flush at once add to one row; also what a tuner's report reads
            models.UniqueConstraint(fields=["tune", "day"], name="tune_views_once_a_day"),
        ]
        indexes = [
            models.Index(fields=["day"], name="tune_views_to_forget"),
        ]

    def __str__(self) -> str:
        return f"views of {self.day}"
