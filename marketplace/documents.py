"""Links to documents that a browser opens: a receipt as a page, a statement as CSV. Signed, for ten minutes, for what its owner asked.

The API speaks JSON and wants a token in a header; a browser has none. Whoever has the link sees the document, as with every
presigned link, so it is short-lived and nothing is cached or told to the next page.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing

SALT = "revsync.documents"
OPENS_FOR_SECONDS = 600


@dataclass(frozen=True)
class Document:
    """What a link opens: `kind` (receipt, statement), whose it is, and which one."""

    kind: str
    owner_id: UUID
    name: str


def link_to(kind: str, *, owner_id: UUID, name: Any) -> str:
    """A link to a document, for the one who may see it."""
    token = signing.dumps([kind, str(owner_id), str(name)], salt=SALT)
    return f"{settings.PUBLIC_BASE_URL}/documents/{token}"


def opened_by(token: str) -> Document | None:
    """What a link's token opens; None for one that is forged or too old."""
    try:
        kind, owner_id, name = signing.loads(token, salt=SALT, max_age=OPENS_FOR_SECONDS)
        return Document(kind, UUID(owner_id), name)
    except (signing.BadSignature, ValueError, TypeError):
        return None
