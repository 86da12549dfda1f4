"""The filters of discovery. Values arrive validated; each condition is one index."""

import django_filters
from django.db.models import QuerySet

from tuners.models import TunerProfile
from tuners.names import make_key, name_key
from tuners.search import MAX_WORDS, meanings_of


class TunerFilter(django_filters.FilterSet):
    """What `GET tuners/` can be narrowed by."""

    q = django_filters.CharFilter(method="filter_words")
    speciality = django_filters.CharFilter(method="filter_speciality")
    make = django_filters.CharFilter(method="filter_make")
    country = django_filters.CharFilter()
    min_rating = django_filters.NumberFilter(field_name="rating", lookup_expr="gte")
    verified = django_filters.BooleanFilter()

    class Meta:
        model = TunerProfile
        fields: list[str] = []

    def filter_words(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        """Every word stands somewhere in the name, the makes or the specialities, or is a slip away from one that does;
        text that folds to nothing finds nothing."""
        words = name_key(value).split()[:MAX_WORDS]
        return queryset.filter(*meanings_of(words)) if words else queryset.none()

    def filter_speciality(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        return queryset.filter(specialities__contains=[value])

    def filter_make(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        return queryset.filter(make_keys__contains=[make_key(value)])
