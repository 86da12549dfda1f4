"""Where an app above hears of what happens here: it registers a function in its `AppConfig.ready()`.

Functions run inside the transaction of the change, after this app's rows are written, so that their effect stands or
falls with it. They get keyword arguments only.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar
from uuid import UUID

Listener = TypeVar("Listener", bound=Callable[..., None])


class ReviewListener(Protocol):
    """Told how a tune's own rating changes: add `rating_delta` to its sum and `count_delta` to its count."""

    def __call__(self, *, tune_id: UUID, rating_delta: int, count_delta: int) -> None: ...


class StandingListener(Protocol):
    """Told when a tuner is suspended or reinstated, or gains or loses the badge."""

    def __call__(self, *, tuner_id: UUID, active: bool, verified: bool) -> None: ...


_reviews: list[ReviewListener] = []
_standing: list[StandingListener] = []


def on_review(listener: ReviewListener) -> ReviewListener:
    """Register for changes of published reviews."""
    return _add(_reviews, listener)


def on_standing(listener: StandingListener) -> StandingListener:
    """Register for changes of a tuner's standing."""
    return _add(_standing, listener)


def tell_review(*, tune_id: UUID, rating_delta: int, count_delta: int) -> None:
    """Called by the services of this app."""
    for listener in _reviews:
        listener(tune_id=tune_id, rating_delta=rating_delta, count_delta=count_delta)


def tell_standing(*, tuner_id: UUID, active: bool, verified: bool) -> None:
    """Called by the services of this app."""
    for listener in _standing:
        listener(tuner_id=tuner_id, active=active, verified=verified)


def _add(listeners: list[Listener], listener: Listener) -> Listener:
    if listener not in listeners:
        listeners.append(listener)
    return listener
