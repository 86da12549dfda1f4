"""Saved searches: kept by their owners, compared with what comes onto the lists, told of at most once for each tune.

Triggers note what changed (`ListingChange`). The schedule takes these notes, finds whose searches a tune came to match, and
makes a row for each pair; a second step tells owners what there is to tell, all matches of a search in one notice and one
notice an hour. So a publication waits for nobody, and several at once are one notice.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Lower

from core.exceptions import InvalidInput, StaleRevision
from garage.exceptions import VehicleNotFound
from garage.models import Vehicle
from marketplace.exceptions import SavedSearchNameTaken, SavedSearchNotFound, TooManySavedSearches
from marketplace.models import ListingChange, SavedSearch, SavedSearchMatch, Tune
from marketplace.policies.searches import MAX_SAVED_SEARCHES
from marketplace.selectors import saved_searches as selectors
from marketplace.selectors.saved_searches import Before
from marketplace.services.locks import hold_users
from users.enums import NoticeType
from users.models import User
from users.services import notify

TELL_EVERY = timedelta(hours=1)
CHANGES_AT_ONCE = 20
SEARCHES_AT_ONCE = 1000
TOLD_AT_ONCE = 100
NAMED = 10  # tunes in a notice; of more it says how many


def save_search(
    *, owner: User, name: str, query: dict[str, Any], vehicle_id: UUID | None = None, notify: bool = True, at: datetime
) -> SavedSearch:
    """Keep a search. `query` are the list's parameters, validated. Called by its owner. Locks the account.

    What matches already is no news. Raises: VehicleNotFound, InvalidInput (a verdict without a vehicle), TooManySavedSearches,
    SavedSearchNameTaken.
    """
    with transaction.atomic():
        _lock_account(owner)
        if SavedSearch.objects.filter(owner=owner).count() >= MAX_SAVED_SEARCHES:
            raise TooManySavedSearches
        search = SavedSearch(owner=owner, name=name, notify=notify, created_at=at, updated_at=at)
        _ensure_name_is_free(search)
        _ask(search, query=query, vehicle_id=vehicle_id)
        search.save(force_insert=True)
    return search


def change_search(*, owner: User, search_id: UUID, changes: dict[str, Any], revision: int | None, at: datetime) -> SavedSearch:
    """Change an own search; what is not in `changes` stays. Whoever asks something else, or wants to hear nothing, is not told
    of what matched before. Locks account and search. Raises: SavedSearchNotFound, StaleRevision, VehicleNotFound, InvalidInput,
    SavedSearchNameTaken.
    """
    with transaction.atomic():
        search = _lock(owner, search_id)
        _ensure_revision(search, revision)
        search.name = changes.get("name", search.name)
        _ensure_name_is_free(search)
        search.notify = changes.get("notify", search.notify)
        if changes.keys() & {"query", "vehicle"}:
            _ask(search, query=changes.get("query", search.query), vehicle_id=changes.get("vehicle", search.vehicle_id))
        if changes.keys() & {"query", "vehicle"} or not search.notify:
            SavedSearchMatch.objects.filter(search=search, told_at=None).delete()
        search.revision, search.updated_at = search.revision + 1, at
        search.save()
    return search


def delete_search(*, owner: User, search_id: UUID, revision: int | None) -> None:
    """Forget an own search. Locks account and search. Raises: SavedSearchNotFound, StaleRevision."""
    with transaction.atomic():
        search = _lock(owner, search_id)  # a match that is just being made waits, and finds no search
        _ensure_revision(search, revision)
        search.delete()


def _lock_account(owner: User) -> None:
    User.objects.select_for_update(no_key=True).get(pk=owner.pk)


def _lock(owner: User, search_id: UUID) -> SavedSearch:
    _lock_account(owner)
    search = SavedSearch.objects.select_for_update(no_key=True).filter(owner=owner, pk=search_id).first()
    if search is None:
        raise SavedSearchNotFound
    return search


def _ensure_revision(search: SavedSearch, revision: int | None) -> None:
    if revision is not None and revision != search.revision:
        raise StaleRevision(current=search.revision)


def _ensure_name_is_free(search: SavedSearch) -> None:
    others = SavedSearch.objects.alias(lowered=Lower("name")).filter(owner_id=search.owner_id).exclude(pk=search.pk)
    if others.filter(lowered=Lower(Value(search.name))).exists():  # as the constraint does: `iexact` compares capitals
        raise SavedSearchNameTaken


def _ask(search: SavedSearch, *, query: dict[str, Any], vehicle_id: UUID | None) -> None:
    if vehicle_id is not None and vehicle_id != search.vehicle_id:
        search.vehicle = Vehicle.objects.owned_by(search.owner).present().filter(pk=vehicle_id).first()
        if search.vehicle is None:
            raise VehicleNotFound
    elif vehicle_id is None:
        search.vehicle = None
    if vehicle_id is None and "verdict" in query:
        raise InvalidInput.at("/query/verdict", "needs_vehicle", "A verdict is about a `vehicle`.")
    scope = selectors.scope_of(query)
    search.query, search.reading = query, selectors.reading_of(query)
    search.scope_id = None if scope is None else scope.id


# Comparing

_HOLD = "SELECT id, revision FROM marketplace_savedsearch WHERE id = ANY(%s) ORDER BY id FOR SHARE"
_NOTE = """
INSERT INTO marketplace_savedsearchmatch (search_id, tune_id, matched_at)
SELECT s.id, t.id, %s FROM marketplace_savedsearch s CROSS JOIN marketplace_tune t
 WHERE s.id = ANY(%s) AND t.id = %s ORDER BY s.id FOR KEY SHARE
ON CONFLICT DO NOTHING
"""


def match_listing_changes(*, at: datetime) -> int:
    """Find the searches that tunes came to match since the last time; returns how many pairs are new. Called by the schedule.

    Takes the notes that no other worker has, some at a time, each time in one transaction: what is noted stays until it was
    compared. Idempotent; two workers at the same tune make one row of each pair. Holds the owners, then searches and tune: a
    search that was changed while it was compared is compared once more.
    """
    made = 0
    while True:
        with transaction.atomic():
            changes = list(ListingChange.objects.select_for_update(skip_locked=True).order_by("id")[:CHANGES_AT_ONCE])
            if not changes:
                return made
            changes.sort(key=lambda change: (change.tune_id, change.pk))  # one order for everybody who inserts
            for tune_id, of_tune in groupby(changes, key=lambda change: change.tune_id):
                made += _match(tune_id, list(of_tune), at=at)
            ListingChange.objects.filter(pk__in=[change.pk for change in changes]).delete()


def _match(tune_id: UUID, changes: Sequence[ListingChange], *, at: datetime) -> int:
    tune = Tune.objects.listed().select_related("tuner").filter(pk=tune_id).first()
    if tune is None:
        return 0
    before = None if any(change.newly_listed for change in changes) else _before(changes)
    made, candidates = 0, selectors.list_candidates(tune)
    for start in range(0, len(candidates), SEARCHES_AT_ONCE):
        revisions = dict(
            SavedSearch.objects.filter(pk__in=candidates[start : start + SEARCHES_AT_ONCE]).values_list("pk", "revision")
        )
        found = _news_for(revisions, tune_id, before)
        if found:
            hold_users(*SavedSearch.objects.filter(pk__in=found).values_list("owner_id", flat=True))  # before a row of theirs
            with connection.cursor() as cursor:
                cursor.execute(_HOLD, [list(found)])
                if changed := {search_id for search_id, revision in cursor.fetchall() if revision != revisions[search_id]}:
                    found = found - changed | _news_for(changed, tune_id, before)  # they may ask something else by now
                cursor.execute(_NOTE, [at, list(found), tune_id])
                made += cursor.rowcount
    return made


def _news_for(search_ids: Collection[UUID], tune_id: UUID, before: Before | None) -> set[UUID]:
    """Which of these searches the tune matches, and did not match before it changed."""
    found = selectors.find_matching(tune_id, search_ids)
    return found - selectors.find_matching(tune_id, found, before=before) if found and before is not None else found


def _before(changes: Sequence[ListingChange]) -> Before:
    priced = next((change for change in changes if change.price_minor_before is not None), None)
    return Before(
        version_ids=tuple(change.version_id for change in changes if change.version_id is not None),
        price_minor=None if priced is None else priced.price_minor_before,
        currency=None if priced is None else priced.currency_before,
    )


# Telling

_DUE = """
SELECT DISTINCT s.id, s.owner_id
  FROM marketplace_savedsearchmatch m
  JOIN marketplace_savedsearch s ON s.id = m.search_id AND s.notify AND (s.told_at IS NULL OR s.told_at <= %s)
  JOIN users_user person ON person.id = s.owner_id AND person.is_active AND person.blocked_at IS NULL
  LEFT JOIN garage_vehicle vehicle ON vehicle.id = s.vehicle_id
 WHERE m.told_at IS NULL AND (s.vehicle_id IS NULL OR vehicle.owner_id = s.owner_id AND vehicle.deleted_at IS NULL)
 ORDER BY s.id LIMIT %s
"""
_FORGET = """
DELETE FROM marketplace_savedsearchmatch m USING marketplace_tune t
 WHERE m.search_id = ANY(%s) AND m.told_at IS NULL AND t.id = m.tune_id AND NOT t.listed
"""
# The condition makes each match told once: of two workers the second finds nothing left.
_TELL = "UPDATE marketplace_savedsearchmatch SET told_at = %s WHERE search_id = ANY(%s) AND told_at IS NULL RETURNING search_id, tune_id"


def tell_matches(*, at: datetime) -> int:
    """Tell owners what came to match, all of a search in one notice, once an hour at most; returns how many were told.

    Called by the schedule. What was taken off the lists meanwhile is not told; should it come back, it is compared anew.
    Holds the owners, locks the searches.
    """
    told = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_DUE, [at - TELL_EVERY, TOLD_AT_ONCE])
            due = cursor.fetchall()
        if not due:
            return told
        told += _tell([search_id for search_id, _ in due], {owner_id for _, owner_id in due}, at=at)


def _tell(search_ids: list[UUID], owner_ids: set[UUID], *, at: datetime) -> int:
    with transaction.atomic():
        hold_users(*owner_ids)
        locked = SavedSearch.objects.select_for_update(no_key=True).filter(pk__in=search_ids).order_by("pk")
        searches = {search.pk: search for search in locked}
        with connection.cursor() as cursor:
            cursor.execute(_FORGET, [list(searches)])
            cursor.execute(_TELL, [at, list(searches)])
            news: dict[UUID, list[UUID]] = defaultdict(list)
            for search_id, tune_id in cursor.fetchall():
                news[search_id].append(tune_id)
        SavedSearch.objects.filter(pk__in=news).update(told_at=at)
        tunes = {tune_id for of_search in news.values() for tune_id in of_search}
        lines = {tune.pk: tune.announcement for tune in Tune.objects.filter(pk__in=tunes).only("title", "fitment_summary")}
        for search_id, tune_ids in news.items():
            search = searches[search_id]
            notify(
                user_id=search.owner_id,
                type=NoticeType.SAVED_SEARCH,
                title=f"New for “{search.name}”",
                body=_body([lines[tune_id] for tune_id in sorted(tune_ids)]),
                link={"resource": "saved_search", "id": search.pk},
                at=at,
            )
    return len(news)


def _body(lines: list[str]) -> str:
    more = len(lines) - NAMED
    return "\n".join(lines[:NAMED] + ([f"and {more} more."] if more > 0 else []))


# Names that the catalogue learns or merges


def refresh_scopes() -> int:
    """Look the searches' makes and models up again, since the catalogue changes; returns how many changed. Called by the schedule.

    A few queries for each different pair of names, however many searches have it.
    """
    changed = 0
    named = SavedSearch.objects.filter(query__has_key="make")
    for make, model in named.values_list("query__make", "query__model").distinct():
        scope = selectors.scope_of({"make": make, **({} if model is None else {"model": model})})
        same = named.filter(query__make=make)
        same = same.exclude(query__has_key="model") if model is None else same.filter(query__model=model)
        scope_id = None if scope is None else scope.id
        changed += same.exclude(scope_id=scope_id).update(scope_id=scope_id)
    return changed
