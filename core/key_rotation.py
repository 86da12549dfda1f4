"""Encrypting stored fields anew with the newest key, so that an older one can be taken out.

Rows are compared and swapped one by one: what somebody wrote meanwhile has the newest key already and is left alone. A run that
was stopped is begun again; what is done is recognised by being readable with the newest key alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.db import connection, models, transaction

from core.fields import EncryptedTextField

BATCH = 500


@dataclass
class Progress:
    """How far one column is: rows looked at, rows encrypted anew (or, when only counting, still under an older key)."""

    column: str
    seen: int = 0
    old: int = 0
    unreadable: int = 0


def encrypted_fields() -> list[tuple[type[models.Model], EncryptedTextField]]:
    """Every encrypted column of every table."""
    return [
        (model, field)
        for model in apps.get_models()
        if not model._meta.proxy
        for field in model._meta.concrete_fields
        if isinstance(field, EncryptedTextField)
    ]


def rotate(*, only_count: bool = False, batch: int = BATCH) -> Iterator[Progress]:
    """Go through every column, batch by batch; yields the progress after each batch. Not inside a transaction.

    With `only_count` nothing is written: zero old rows everywhere means that the older keys can go. A row that no key
    opens is counted as unreadable and left as it is.
    """
    keys = [Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS]
    for model, field in encrypted_fields():
        progress = Progress(f"{model._meta.label}.{field.name}")
        yield progress
        last: Any = None
        while rows := _read(model, field, after=last, limit=batch):
            with transaction.atomic():
                for pk, token in rows:
                    if _is_old(keys, bytes(token), progress) and not only_count:
                        _swap(model, field, pk, old=bytes(token), new=MultiFernet(keys).rotate(bytes(token)))
            last = rows[-1][0]
            progress.seen += len(rows)
            yield progress


def _read(model: type[models.Model], field: models.Field, *, after: Any, limit: int) -> list[tuple[Any, Any]]:
    quote = connection.ops.quote_name
    table, key, column = quote(model._meta.db_table), quote(model._meta.pk.column), quote(field.column)
    where, values = ("", []) if after is None else (f"AND {key} > %s", [after])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL {where} ORDER BY {key} LIMIT %s", [*values, limit])
        return cursor.fetchall()


def _is_old(keys: list[Fernet], token: bytes, progress: Progress) -> bool:
    """Whether an older key is needed to read a value; what none of them reads is counted apart."""
    try:
        keys[0].decrypt(token)
        return False
    except InvalidToken:
        pass
    try:
        MultiFernet(keys).decrypt(token)
    except InvalidToken:
        progress.unreadable += 1
        return False
    progress.old += 1
    return True


def _swap(model: type[models.Model], field: models.Field, pk: Any, *, old: bytes, new: bytes) -> None:
    """Replace the value that was read, and no other: one that was just written is newer than ours."""
    quote = connection.ops.quote_name
    table, key, column = quote(model._meta.db_table), quote(model._meta.pk.column), quote(field.column)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE {key} = %s AND {column} = %s", [new, pk, old])
