"""The root documents of this installation."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings

from core.signing.errors import RootMissing, SigningNotReady
from core.signing.rootfiles import DEVELOPMENT, PRODUCTION, RootDocument, roots_in


def environment_name() -> str:
    """`env` of every document: what production signs never verifies in development, and the other way round."""
    return PRODUCTION if settings.IS_PRODUCTION else DEVELOPMENT


def roots_directory() -> Path:
    return Path(settings.SIGNING_KEYS_DIR) / "roots"


def root_envelope(number: int) -> dict[str, Any]:
    """The bare envelope of root `number`, as it was written. Raises RootMissing."""
    from core.signing.keyfiles import ensure_development_keys

    ensure_development_keys()
    try:
        return json.loads((roots_directory() / f"{number}.json").read_bytes())
    except FileNotFoundError:
        raise RootMissing from None


def current_root() -> RootDocument:
    """The newest root document of this installation.

    Development makes one, with its keys, on the first call. Raises SigningNotReady in production when there is none, or
    when it is a development root.
    """
    return all_roots()[0]


def all_roots() -> tuple[RootDocument, ...]:
    """Every root document of this installation, the newest first. Raises as `current_root` does."""
    from core.signing.keyfiles import ensure_development_keys

    ensure_development_keys()
    roots = roots_in(roots_directory())
    if settings.IS_PRODUCTION and roots[0].env != PRODUCTION:
        raise SigningNotReady("The root document is one of development. Production needs its own keys and root.")
    return roots
