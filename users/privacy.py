"""The one registry of personal data: what is held about a person, why, how long, how it is exported and how it is erased.

Each app registers what it knows in its `AppConfig.ready()`:

    privacy.register(Provider(name="garage", holdings=(Holding("garage.Vehicle", of="owner_id", …),)))

The registry is not a description beside the code: the export reads its rows from the holdings, the deletion of an account
deletes and blanks what they say, `manage.py privacy_verify` looks for what they forbid, and `docs/privacy.md` is written from
them. A test walks every table and fails for a column that looks personal and is neither in a holding nor excused.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from core.storage import PRIVATE, Bucket

EXPORT_CHUNK = 500
BOOKS_ARE_KEPT_FOR = timedelta(days=3653)


class AtDeletion(StrEnum):
    """What becomes of rows when their person deletes the account."""

    DELETED = "deleted"
    BLANKED = "blanked"
    KEPT = "kept"


@dataclass(frozen=True)
class Holding:
    """Rows of one table that belong to one person.

    `of` is the lookup from the row to the person's id. With BLANKED, `blank` says which fields get which value; whatever
    else could be personal must stand in `stays` (names separated by blanks), with the reason in `because` and the end in
    `until` or `ends`. `withheld` fields are not exported: they are hashes, keys of ours, or about somebody else.
    """

    model: str
    of: str
    section: str
    why: str
    at_deletion: AtDeletion
    kept_for: str = "as long as the account"
    blank: Mapping[str, Any] = field(default_factory=dict)
    stays: str = ""
    because: str = ""
    until: timedelta | None = None
    ends: str = ""
    withheld: str = ""

    def __post_init__(self) -> None:
        is_complete = bool(self.because and (self.until or self.ends)) or self.at_deletion == AtDeletion.DELETED
        if not is_complete or bool(self.blank) != (self.at_deletion == AtDeletion.BLANKED):
            raise ValueError(f"Holding {self.section}: say what is blanked, why the rest stays and until when")

    @property
    def table(self) -> type[Model]:
        return apps.get_model(self.model)

    def rows(self, user_id: uuid.UUID) -> QuerySet:
        """The person's rows."""
        return self.table._default_manager.filter(**{self.of: user_id})

    @property
    def covered_fields(self) -> set[str]:
        """The fields about which this holding says something: all of a row that is deleted."""
        if self.at_deletion == AtDeletion.DELETED:
            return {column.name for column in self.table._meta.concrete_fields}
        return {*self.blank, *self.stays.split()}

    def export(self, user_id: uuid.UUID) -> Iterator[dict[str, Any]]:
        """The person's rows as plain values, a few hundred at a time, so that a large account needs no more memory than a small one."""
        withheld = set(self.withheld.split())
        columns = [column.attname for column in self.table._meta.concrete_fields if column.name not in withheld]
        key = self.table._meta.pk.attname
        rows, last = self.rows(user_id).order_by("pk"), None
        while True:
            chunk = list((rows if last is None else rows.filter(pk__gt=last)).values("pk", *columns)[:EXPORT_CHUNK])
            for row in chunk:
                last = row.pop("pk")
                yield row if key in columns else {key: last, **row}
            if len(chunk) < EXPORT_CHUNK:
                return

    def erase(self, user_id: uuid.UUID) -> None:
        """Delete or blank the rows. Idempotent."""
        if self.at_deletion == AtDeletion.DELETED:
            self.rows(user_id).delete()
        elif self.at_deletion == AtDeletion.BLANKED:
            self._unblanked(user_id).update(**self.blank)

    def count_left(self, user_id: uuid.UUID) -> int:
        """How many rows still hold what a deletion takes away."""
        if self.at_deletion == AtDeletion.DELETED:
            return self.rows(user_id).count()
        return self._unblanked(user_id).count() if self.at_deletion == AtDeletion.BLANKED else 0

    def _unblanked(self, user_id: uuid.UUID) -> QuerySet:
        rows = self.rows(user_id)
        blanked = {(f"{name}__isnull" if value is None else name): value is None or value for name, value in self.blank.items()}
        return self.table._default_manager.filter(pk__in=rows.values("pk")).exclude(
            pk__in=rows.filter(**blanked).values("pk")
        )


@dataclass(frozen=True)
class Excuse:
    """Columns that look personal and are not; `fields` is a list of names separated by blanks, or `*`."""

    model: str
    fields: str
    reason: str


@dataclass(frozen=True)
class Blocker:
    """What must be wound down before an account can be deleted: a stable `code`, and what to do about it."""

    code: str
    detail: str
    count: int = 1


@dataclass(frozen=True)
class StoredFile:
    """An object in storage that a person brought. `name` is theirs; `id` names the row that it belongs to."""

    section: str
    id: str
    name: str
    key: str
    bucket: Bucket = PRIVATE
    is_exported: bool = True


@dataclass(frozen=True)
class Trace:
    """Something that identifies a person. Only its keyed hash outlives the account, to prove that it has not come back."""

    kind: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Provider:
    """What one app tells about a person. `name` is unique; each callable takes the user's id.

    `prepare` does what deleting and blanking rows can't: counters, tunes that nobody owns, words in search. It runs inside
    the deletion, with the person's row locked, before the holdings are erased in their order; it must be idempotent.
    `traces` are what identifies the person and nobody else, `find_traces` the same of everybody with the time of its row.
    `needed_keys` answers which of some objects somebody else's rows still refer to, once the person's own are gone.
    """

    name: str
    holdings: tuple[Holding, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    stats: Callable[[uuid.UUID], dict[str, int]] | None = None
    blockers: Callable[[uuid.UUID], Iterable[Blocker]] | None = None
    files: Callable[[uuid.UUID], Iterable[StoredFile]] | None = None
    traces: Callable[[uuid.UUID], Iterable[Trace]] | None = None
    find_traces: Callable[[], Iterable[tuple[datetime, Trace]]] | None = None
    offers: Callable[[uuid.UUID], Iterable[dict[str, Any]]] | None = None
    prepare: Callable[..., None] | None = None
    needed_keys: Callable[[set[str]], set[str]] | None = None


_providers: dict[str, Provider] = {}


def register(provider: Provider) -> None:
    """Add an app's provider. Two of one name are a programming error."""
    if _providers.setdefault(provider.name, provider) is not provider:
        raise ValueError(f"Privacy provider {provider.name} is registered twice")


def providers() -> list[Provider]:
    """All of them, in the order in which an account is erased: what stands above in the order of the apps goes first."""
    order = [config.name for config in apps.get_app_configs()]
    return sorted(_providers.values(), key=lambda provider: (-_place(provider, order), provider.name))


def _place(provider: Provider, order: list[str]) -> int:
    app = provider.holdings[0].model.split(".")[0] if provider.holdings else ""
    return order.index(app) if app in order else -1


def holdings() -> list[Holding]:
    """Every holding, in the order in which an account is erased."""
    return [holding for provider in providers() for holding in provider.holdings]


def excuses() -> list[Excuse]:
    """Every excuse."""
    return [excuse for provider in providers() for excuse in provider.excuses]


def stats_of(user_id: uuid.UUID) -> dict[str, int]:
    """The computed figures of a person's profile, from every app."""
    figures: dict[str, int] = {}
    for provider in sorted(_providers.values(), key=lambda provider: provider.name):
        if provider.stats is not None:
            figures.update(provider.stats(user_id))
    return figures


def blockers_of(user_id: uuid.UUID) -> list[Blocker]:
    """What stands in the way of deleting this account."""
    return [blocker for provider in providers() if provider.blockers for blocker in provider.blockers(user_id)]


def files_of(user_id: uuid.UUID) -> Iterator[StoredFile]:
    """Every object in storage that is the person's, each once."""
    seen: set[str] = set()
    for provider in providers():
        for file in provider.files(user_id) if provider.files else ():
            if file.key and file.key not in seen:
                seen.add(file.key)
                yield file


def traces_of(user_id: uuid.UUID) -> list[Trace]:
    """Everything that identifies the person, in every app."""
    return [trace for provider in providers() if provider.traces for trace in provider.traces(user_id) if trace.value]


def offers_to(user_id: uuid.UUID) -> list[dict[str, Any]]:
    """What the person should fetch before it is gone: the way back of their vehicles."""
    return [offer for provider in providers() if provider.offers for offer in provider.offers(user_id)]


def needed_keys(keys: set[str]) -> set[str]:
    """Those of some objects' keys that rows still refer to."""
    return set().union(*(provider.needed_keys(keys) for provider in providers() if provider.needed_keys)) if keys else set()
