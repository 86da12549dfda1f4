"""Identifiers: UUID version 7, so that new rows land at the end of their index and tell nothing but their time."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A fresh time-ordered id, as the standard library's UUID (the plain `uuid_utils.UUID` fails Django's field)."""
    return uuid7()
