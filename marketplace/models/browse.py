from typing import ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q

__all__ = ["BrowseRow", "SearchPhrase", "SearchRow", "SearchWord", "TrendRow"]


class BrowseRow(models.Model):
    """A listed tune under one make, one model, or one model with one of its hardware numbers, with everything its lists filter
    and order by.

    Rows exist only while the tune is listed; the trigger `marketplace_refresh_tunes` makes, changes and deletes them.
    Unique (scope, tune), or a page would show a tune twice.
    """

    class Scope(models.TextChoices):
        MAKE = "MAKE", "Make"
        MODEL = "MODEL", "Model"
        ECU = "ECU", "Model and hardware number"

    pk = models.CompositePrimaryKey("scope_id", "tune_id")
    scope_id = models.UUIDField(help_text="Id of the make or the model, or `marketplace_ecu_scope` of a hardware number and a model.")
    scope = models.CharField(max_length=5, choices=Scope)
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.CASCADE, related_name="browse_rows")
    years = ArrayField(models.SmallIntegerField())
    published_at = models.DateTimeField()
    currency = models.CharField(max_length=3)
    price_minor = models.PositiveIntegerField()
    rating_milli = models.IntegerField(null=True)
    rating_score = models.IntegerField()
    popularity = models.PositiveIntegerField()
    kind = models.CharField(max_length=10)
    category = models.CharField(max_length=12)
    emissions_class = models.CharField(max_length=18)
    fuel_octane = models.PositiveSmallIntegerField(null=True)
    fuel_scale = models.CharField(max_length=3)
    tuner_id = models.UUIDField()

    class Meta:
        indexes = [
            # browse by make and model, one for each order; the year is tested inside the index
            models.Index(fields=["scope_id", "-published_at", "-tune"], name="browserow_newest", include=["years"]),
            models.Index(fields=["scope_id", "currency", "price_minor", "tune"], name="browserow_price", include=["years"]),
            models.Index(fields=["scope_id", "-rating_score", "-tune"], name="browserow_rating", include=["years"]),
            models.Index(fields=["scope_id", "-popularity", "-tune"], name="browserow_popular", include=["years"]),
            models.Index(fields=["scope_id", "category", "emissions_class", "kind"], name="browserow_facets"),  # counts, to 1,001 at most
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.scope_id}"


class TrendRow(models.Model):
    """How much a tune on sale is taken up now: among everything, among its make's tunes, and among its model's.

    Written by `services.trending.refresh_trends` alone, on the schedule; rows exist for tunes that somebody took up lately.
    """

    EVERYTHING: ClassVar[UUID] = UUID(int=0)  # the scope of the list without make and model

    pk = models.CompositePrimaryKey("scope_id", "tune_id")
    scope_id = models.UUIDField(help_text="Id of the make or the model; zeros for everything.")
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.CASCADE, related_name="trend_rows")
    kind = models.CharField(max_length=10)
    score = models.IntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["scope_id", "-score", "-tune"], name="trendrow_trending", include=["kind"]),  # the list
        ]

    def __str__(self) -> str:
        return f"trend of {self.tune_id}"


class SearchRow(models.Model):
    """The words of one listed tune: title, makes, models and their aliases, tuner, category, tags, codes, years, description.

    Kept by the same trigger as browse rows; the document is built by the text-search configuration `revsync_search`.
    """

    tune = models.OneToOneField("marketplace.Tune", on_delete=models.CASCADE, primary_key=True, related_name="search_row")
    document = SearchVectorField()
    marks = ArrayField(models.TextField(), db_default=[], help_text="Its lists and its values of filters, each as “name:value”.")
    popularity = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [
            # search, with the filters that go with it; pending lists would slow the first reader
            GinIndex(fields=["document", "marks"], name="searchrow_words", fastupdate=False),
            models.Index(fields=["-popularity", "-tune"], name="searchrow_popular"),  # a common word: the most popular candidates first
        ]

    def __str__(self) -> str:
        return f"words of {self.tune_id}"


class SearchWord(models.Model):
    """A word that some listed tune has had: where a misspelt one finds its neighbours. Never deleted by a listing's end."""

    word = models.CharField(max_length=64, primary_key=True)

    class Meta:
        indexes = [
            GinIndex(OpClass("word", name="gin_trgm_ops"), name="searchword_trigrams"),  # neighbours of a misspelt word
            models.Index(OpClass("word", name="text_pattern_ops"), name="searchword_prefix"),
        ]

    def __str__(self) -> str:
        return self.word


class SearchPhrase(models.Model):
    """Something to offer while a rider types: a make, a model, a tuner or a title that some listed tune has had."""

    class Kind(models.TextChoices):
        MAKE = "MAKE", "Make"
        MODEL = "MODEL", "Model"
        TUNER = "TUNER", "Tuner"
        TUNE = "TUNE", "Tune"

    pk = models.CompositePrimaryKey("kind", "key", "text")  # "R1" is the end of more than one maker's name
    kind = models.CharField(max_length=5, choices=Kind)
    key = models.CharField(max_length=160, help_text="The text without case, accents, spaces and hyphens.")
    text = models.CharField(max_length=210)

    class Meta:
        constraints = [models.CheckConstraint(name="searchphrase_key_not_empty", condition=~Q(key=""))]
        indexes = [
            models.Index("kind", OpClass("key", name="text_pattern_ops"), name="searchphrase_prefix"),  # suggest by prefix
            GinIndex(OpClass("key", name="gin_trgm_ops"), name="searchphrase_trigrams"),  # suggest with a typo
        ]

    def __str__(self) -> str:
        return self.text
