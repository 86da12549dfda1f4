"""Saved searches for tests: for everything, unless a query says otherwise."""

import factory

from core import clock
from marketplace.models import SavedSearch
from marketplace.selectors.saved_searches import reading_of, scope_of

__all__ = ["SavedSearchFactory"]


class SavedSearchFactory(factory.django.DjangoModelFactory):
    """A search that tells its owner of new matches."""

    class Meta:
        model = SavedSearch

    owner = factory.SubFactory("users.tests.factories.UserFactory")
    name = factory.Sequence(lambda n: f"search number {n}")
    query = factory.LazyFunction(dict)
    scope_id = factory.LazyAttribute(lambda search: (scope := scope_of(search.query)) and scope.id)
    reading = factory.LazyAttribute(lambda search: reading_of(search.query))
    created_at = factory.LazyFunction(clock.now)
    updated_at = factory.SelfAttribute("created_at")
