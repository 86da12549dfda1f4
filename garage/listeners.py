"""Where an app above hears of what happens here: it registers a function in its `AppConfig.ready()`.

Functions run inside the transaction of the change, after this app's rows are written, so that their effect stands or
falls with it. They get keyword arguments only.
"""

from typing import Protocol

from garage.models import VehicleModel


class MergeListener(Protocol):
    """Told that a model of the catalogue is another one from now on: move what points to it. Called again until nothing does."""

    def __call__(self, *, model: VehicleModel, into: VehicleModel) -> None: ...


_merges: list[MergeListener] = []


def on_model_merged(listener: MergeListener) -> MergeListener:
    """Register for merged models; registering twice counts once."""
    if listener not in _merges:
        _merges.append(listener)
    return listener


def tell_model_merged(*, model: VehicleModel, into: VehicleModel) -> None:
    """Called by the catalogue's import."""
    for listener in _merges:
        listener(model=model, into=into)
