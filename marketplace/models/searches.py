from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from core.ids import new_id
from marketplace.enums import SavedSearchPause

__all__ = ["ListingChange", "SavedSearch", "SavedSearchMatch"]


class SavedSearch(models.Model):
    """Filters of the list of tunes that somebody keeps, perhaps for one of their vehicles, and whether to tell of new matches.

    `query` holds the list's own parameters, validated. `scope_id` and `reading` follow from it: the make or model that its names
    mean, and its words as the list read them when it was saved. A vehicle that was deleted or handed over leaves the search
    there, silent. Deleted with its owner.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_searches", db_index=False)
    name = models.CharField(max_length=80)
    query = models.JSONField(default=dict)
    scope_id = models.UUIDField(null=True, blank=True, help_text="Make or model; empty without names, or with unknown ones.")
    reading = models.TextField(blank=True, default="", help_text="Its words as a tsquery.")
    vehicle = models.ForeignKey("garage.Vehicle", on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    notify = models.BooleanField(default=True)
    told_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "saved searches"
        constraints = [
            models.UniqueConstraint("owner", Lower("name"), name="savedsearch_name_once"),  # two that look alike in a list
            models.CheckConstraint(name="savedsearch_name_not_empty", condition=~Q(name="")),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="savedsearch_own_newest"),  # the rider's list
            models.Index(fields=["scope_id"], name="savedsearch_scope", condition=Q(notify=True)),  # whom a publication may concern
        ]

    def __str__(self) -> str:
        return f"saved search {self.id}"

    @property
    def names_are_unknown(self) -> bool:
        return "make" in self.query and self.scope_id is None

    @property
    def paused_reason(self) -> str | None:
        """Why it tells nothing though it should; reads the vehicle."""
        if self.vehicle is not None and (self.vehicle.owner_id != self.owner_id or self.vehicle.deleted_at is not None):
            return SavedSearchPause.VEHICLE_GONE
        if self.vehicle is not None and self.vehicle.catalog_model_id is None:
            return SavedSearchPause.MODEL_UNLISTED
        return SavedSearchPause.NAME_UNKNOWN if self.names_are_unknown else None


class SavedSearchMatch(models.Model):
    """A tune came to match a saved search. Made once for each pair, for good: that is what tells an owner once.

    `told_at` is empty until the owner is told. Deleted with either.
    """

    pk = models.CompositePrimaryKey("search_id", "tune_id")
    search = models.ForeignKey(SavedSearch, on_delete=models.CASCADE, related_name="matches", db_index=False)
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.CASCADE, related_name="+")
    matched_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "saved search matches"
        indexes = [
            models.Index(fields=["search"], name="savedsearchmatch_untold", condition=Q(told_at=None)),  # whom to tell
        ]

    def __str__(self) -> str:
        return f"match of {self.search_id}"


class ListingChange(models.Model):
    """Something about a listed tune that may make it match a search which it did not match before.

    Written by triggers, so that no writer can forget it: the tune came onto the lists, a version went on sale, the price
    changed. Deleted as soon as saved searches were compared. `tune_id` is no foreign key: a deletion must not wait for that.
    """

    id = models.BigAutoField(primary_key=True)
    tune_id = models.UUIDField()
    newly_listed = models.BooleanField()
    version_id = models.UUIDField(null=True)
    price_minor_before = models.PositiveIntegerField(null=True)
    currency_before = models.CharField(max_length=3, blank=True)
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"change of {self.tune_id}"
