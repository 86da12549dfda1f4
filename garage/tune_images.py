"""Whether an image is a tune of ours: asked before one is kept as "stock", answered by the app that sells tunes.

The garage can't import the marketplace, so that registers its answer in AppConfig.ready(). Without the question a tune
could be uploaded as a stock file and flashed by a restore ticket, under our signature and past every recall.
"""

from collections.abc import Callable

_checks: list[Callable[[str], bool]] = []


def register(check: Callable[[str], bool]) -> None:
    """Add an answer: a function of the decoded image's SHA-256 (hex) that tells whether it is a tune's."""
    if check not in _checks:
        _checks.append(check)


def is_a_tune(image_sha256: str) -> bool:
    """Whether anybody knows this decoded image as a tune's."""
    return any(check(image_sha256) for check in _checks)
