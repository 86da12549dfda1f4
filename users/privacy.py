"""The one registry of personal data. Each app registers what it knows about a person in its AppConfig.ready():

    privacy.register(Provider(name="garage", stats=lambda user_id: {"vehicles": …}))

`stats` are the computed figures of the profile; `export` gives everything the person gave or caused as JSON values;
`erase` removes or anonymises it and answers with what goes and what stays.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Provider:
    """What one app tells about a person. `name` is unique; each callable takes the user's id."""

    name: str
    stats: Callable[[uuid.UUID], dict[str, int]] | None = None
    export: Callable[[uuid.UUID], dict[str, Any]] | None = None
    erase: Callable[..., dict[str, Any]] | None = None


_providers: dict[str, Provider] = {}


def register(provider: Provider) -> None:
    """Add an app's provider. Two of one name are a programming error."""
    if _providers.setdefault(provider.name, provider) is not provider:
        raise ValueError(f"Privacy provider {provider.name} is registered twice")


def providers() -> list[Provider]:
    """All of them, by name."""
    return [_providers[name] for name in sorted(_providers)]


def stats_of(user_id: uuid.UUID) -> dict[str, int]:
    """The computed figures of a person's profile, from every app."""
    figures: dict[str, int] = {}
    for provider in providers():
        if provider.stats is not None:
            figures.update(provider.stats(user_id))
    return figures
