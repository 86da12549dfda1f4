"""The catalogue of makes and models. Fitments and vehicles point to it; `manage.py import_catalogue` fills it."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value

from core.ids import new_id
from garage.enums import CatalogSource, Market, UnlistedState, VehicleKind


class VehicleMake(models.Model):
    """A maker as riders name it ("Yamaha", "Mercedes-Benz").

    Made and renamed only by the catalogue's import; never deleted, because fitments and vehicles point below it.
    `folded` is its name as `garage.catalog.fold` writes it. A lower `rank` is more common on the road.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=60)
    folded = models.CharField(max_length=60, unique=True)  # one maker under one spelling, or a fitment splits in two
    rank = models.PositiveIntegerField()

    class Meta:
        ordering = ["rank", "folded"]
        constraints = [
            models.CheckConstraint(
                name="vehicle_make_folded_has_no_spaces",  # an unfolded name would never be found again
                condition=Q(folded__regex=r"^[a-z0-9]+$"),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MakeAlias(models.Model):
    """Another name of a maker ("VW", "Harley"). Belongs to the catalogue's import, which also deletes it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    make = models.ForeignKey(VehicleMake, on_delete=models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=60)
    folded = models.CharField(max_length=60, unique=True)  # an alias of two makers would match at random

    class Meta:
        verbose_name_plural = "make aliases"

    def __str__(self) -> str:
        return self.name


class VehicleModel(models.Model):
    """A model of a maker with the years it was sold in.

    Made and changed only by the catalogue's import; never deleted, because fitments and vehicles point to it. A model
    without `year_to` is still sold. `source` and `source_note` say where the row's facts come from. One that turned out to
    be another one's second name is `merged_into` that: nobody finds it any more, and what points to it is moved.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    make = models.ForeignKey(VehicleMake, on_delete=models.PROTECT, related_name="models")
    kind = models.CharField(max_length=10, choices=VehicleKind)
    name = models.CharField(max_length=80)
    folded = models.CharField(max_length=80)
    year_from = models.PositiveSmallIntegerField()
    year_to = models.PositiveSmallIntegerField(null=True)
    rank = models.PositiveIntegerField()
    source = models.CharField(max_length=5, choices=CatalogSource)
    source_note = models.CharField(max_length=300)
    merged_into = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        ordering = ["rank", "folded"]
        constraints = [
            models.CheckConstraint(
                name="vehicle_model_not_merged_into_itself", condition=Q(merged_into__isnull=True) | ~Q(merged_into=F("id"))
            ),
            models.UniqueConstraint(
                name="vehicle_model_once_per_make",  # "MT-09" and "MT09" as two rows would hide half of the tunes
                fields=["make", "folded"],
            ),
            models.CheckConstraint(name="vehicle_model_kind_known", condition=Q(kind__in=VehicleKind.values)),
            models.CheckConstraint(name="vehicle_model_source_known", condition=Q(source__in=CatalogSource.values)),
            models.CheckConstraint(
                name="vehicle_model_years_in_order",
                condition=Q(year_from__gte=1885) & (Q(year_to__isnull=True) | Q(year_to__gte=F("year_from"))),
            ),
            models.CheckConstraint(
                name="vehicle_model_folded_has_no_spaces",  # an unfolded name would never be found again
                condition=Q(folded__regex=r"^[a-z0-9]+$"),
            ),
        ]
        indexes = [
            models.Index(name="vehicle_model_by_folded", fields=["folded"]),  # a model typed without its maker
        ]

    def __str__(self) -> str:
        return f"{self.make_id and self.make.name} {self.name}"


class ModelAlias(models.Model):
    """Another name of a model ("Fireblade"). Belongs to the catalogue's import, which also deletes it; but for those that
    staff added when they merged what riders had typed (`by_staff`).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    make = models.ForeignKey(VehicleMake, on_delete=models.CASCADE, related_name="+")  # its model's, for the uniqueness below
    model = models.ForeignKey(VehicleModel, on_delete=models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=80)
    folded = models.CharField(max_length=80)
    by_staff = models.BooleanField(default=False, db_default=False)

    class Meta:
        verbose_name_plural = "model aliases"
        constraints = [
            models.UniqueConstraint(
                name="model_alias_once_per_make",  # an alias of two models of a maker would match at random
                fields=["make", "folded"],
            ),
        ]
        indexes = [models.Index(name="model_alias_by_folded", fields=["folded"])]

    def __str__(self) -> str:
        return self.name


class VehicleGeneration(models.Model):
    """The years in which a model stayed the same vehicle ("RN69", "Mk7"), as its maker or the trade names them.

    A year is of one generation at most; years between two are of none. Without `year_to` it is still sold; `markets` is
    empty where it was sold wherever the model was. Belongs to the catalogue's import, which also deletes it: what needs a
    vehicle's generation joins by model and year (`catalog.find_generation`), never by its id.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    model = models.ForeignKey(VehicleModel, on_delete=models.CASCADE, related_name="generations")
    name = models.CharField(max_length=40)
    year_from = models.PositiveSmallIntegerField()
    year_to = models.PositiveSmallIntegerField(null=True)
    markets = ArrayField(models.CharField(max_length=5, choices=Market), default=list, blank=True)
    source_note = models.CharField(max_length=300)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="vehicle_generation_name_once", fields=["model", "name"]),
            models.CheckConstraint(
                name="vehicle_generation_years_in_order",
                condition=Q(year_from__gte=1885) & (Q(year_to__isnull=True) | Q(year_to__gte=F("year_from"))),
            ),
            ExclusionConstraint(
                name="vehicle_generation_one_per_year",  # a year of two would count a rider twice among "bikes like yours"
                expressions=[
                    ("model", RangeOperators.EQUAL),
                    (Func(F("year_from"), F("year_to"), Value("[]"), function="int4range"), RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.name}"


class UnlistedName(models.Model):
    """A make and model that riders typed and the catalogue does not have, once for all of its spellings.

    Made when a vehicle with such a name is added or renamed. `make` and `model` are how the first of them spelled it.
    Merging points it to a model of the catalogue (`merged_into`): its vehicles follow, and so does whoever types it later.
    Another merge corrects it. Deleted by the schedule while it is open and no vehicle bears it any more.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=10, choices=VehicleKind)
    folded = models.CharField(max_length=150)
    make = models.CharField(max_length=60)
    model = models.CharField(max_length=80)
    state = models.CharField(max_length=6, choices=UnlistedState, default=UnlistedState.OPEN)
    merged_into = models.ForeignKey(VehicleModel, on_delete=models.PROTECT, null=True, related_name="+")
    merged_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "unlisted model"
        constraints = [
            models.UniqueConstraint(name="unlisted_name_once_per_kind", fields=["kind", "folded"]),  # two riders who type it at once
            models.CheckConstraint(name="unlisted_name_kind_known", condition=Q(kind__in=VehicleKind.values)),
            models.CheckConstraint(
                name="unlisted_name_merged_iff_model",
                condition=(
                    Q(state=UnlistedState.OPEN, merged_into__isnull=True, merged_at__isnull=True)
                    | Q(state=UnlistedState.MERGED, merged_into__isnull=False, merged_at__isnull=False)
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.make} {self.model}"
