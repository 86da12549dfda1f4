"""How each operation is exercised: one recipe for each that takes an object, a body or a required parameter.

A recipe gets the things of one person (`Kit`) and the `World`, makes ready what the call needs beyond them, and answers
the `Call` that succeeds when this person sends it. Two more tables stand beside it: how a list is filled (`lists`) and
how a refusal is reached that the app's own tests do not reach by a request (`refusal`): every declared code is, somewhere.

    @recipe("update_mod")
    def _(kit, world):
        return Call(path={"vehicle": kit.vehicle.pk, "mod": kit.mod.pk}, body={"notes": "With its own mapping."})

    @refusal("change_review", "review_hidden")
    def _(kit, world):
        return Call(path={"review": TunerReviewFactory(buyer=kit.user, hidden=True).pk}, body={"rating": 5})
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from core.testing.matrix import Recipe

RECIPES: dict[str, Recipe] = {}
REFUSALS: dict[tuple[str, str], Recipe] = {}
MODULES = ("platform", "users", "tuners", "garage", "tunes", "discovery", "purchasing", "trust", "cases", "payouts")


def recipe(*names: str) -> Callable[[Recipe], Recipe]:
    """The recipe of these operations."""

    def note(function: Recipe) -> Recipe:
        for name in names:
            if name in RECIPES:
                raise ValueError(f"{name} has two recipes")
            RECIPES[name] = function
        return function

    return note


def refusal(name: str, *codes: str) -> Callable[[Recipe], Recipe]:
    """How an operation comes to be refused with this code: makes that state and answers the call that meets it."""

    def note(function: Recipe) -> Recipe:
        for code in codes:
            if (name, code) in REFUSALS:
                raise ValueError(f"{name} reaches {code} twice")
            REFUSALS[name, code] = function
        return function

    return note


def load() -> dict[str, Recipe]:
    """All recipes; imported late, when Django is set up."""
    for module in MODULES:
        import_module(f"{__name__}.{module}")
    return RECIPES


def refusals() -> dict[tuple[str, str], Recipe]:
    """By operation and code: how a refusal is met that the app's own tests do not meet by a request."""
    load()
    return REFUSALS


def plain(kit: Any, world: Any) -> Any:
    """Of an operation that needs nothing but a caller."""
    from core.testing.matrix import Call

    return Call()


def recipe_for(name: str) -> Recipe:
    """The recipe of an operation, or the plain one."""
    return load().get(name, plain)
