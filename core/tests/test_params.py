"""Parameters are read by serializers that all requests share: none may leave anything behind for the next."""

from contextlib import suppress
from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from core.serializers import Input
from core.views import _reader
from revsync_backend.urls import all_endpoints

QUERIES = sorted({row.query for row in all_endpoints() if row.query is not None}, key=lambda query: query.__name__)
GIVEN = [{}, {"unknown": "1"}, {"page_size": "0"}, {"page_size": "7", "cursor": "c"}]


def state_of(reader: Input) -> dict[str, Any]:
    """All that a serializer and its fields hold; what they hold themselves is compared by identity."""
    return {name: dict(vars(part)) for name, part in {"": reader, **reader.fields}.items()}


def samples_of(reader: Input) -> list[dict[str, str]]:
    """Queries with one parameter each, right and wrong by turns, and all of them at once."""
    words = {name: str(next(iter(getattr(field, "choices", ["5"])))) for name, field in reader.fields.items()}
    return [*GIVEN, *({name: word} for name, word in words.items()), dict.fromkeys(words, "\x01"), words]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.__name__)
def test_reading_leaves_nothing_behind(query):
    reader = _reader(query)
    for given in samples_of(reader):  # what is worked out once is worked out now
        with suppress(ValidationError):
            reader.run_validation(dict(given))
    before = state_of(reader)
    for given in samples_of(reader):
        with suppress(ValidationError):
            reader.run_validation(dict(given))

    assert state_of(reader) == before
    assert _reader(query) is reader


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.__name__)
def test_a_shared_reader_reads_as_one_of_its_own(query):
    for given in samples_of(_reader(query)):
        assert read(_reader(query), given) == read(query(context={"in_query": True}), given)


def read(reader: Input, given: dict[str, str]) -> Any:
    try:
        return reader.run_validation(dict(given))
    except ValidationError as refused:
        return refused.detail


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.__name__)
def test_defaults_are_nothing_that_a_view_could_change(query):
    with suppress(ValidationError):  # some need a parameter
        defaults = _reader(query).run_validation({})
        assert all(value is None or isinstance(value, str | int | float | bool) for value in defaults.values())
