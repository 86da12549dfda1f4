"""Switches that make the server misbehave as a real one does. They are kept in its storage, so a restart keeps them.

`POST /_stand-in/faults` (with the secret key) sets one: `{"mode": "…", "seconds": 5, "times": 3, "path": "/v1/refunds"}`;
`times` null means until switched off, `path` is a prefix. `DELETE` switches off. The modes:

- `down`: the connection is cut before anything is read as a call
- `slow`: acts after `seconds`, holding its idempotency key meanwhile
- `rate_limit`: 429 before acting (https://docs.stripe.com/rate-limits)
- `error`: 500 before acting, not saved
- `error_saved`: 500 without acting, saved under the idempotency key and replayed (https://docs.stripe.com/api/idempotent_requests)
- `time_out_after`: acts, then stays silent for `seconds` and cuts
- `cut_after`: acts, then cuts the connection at once

`share` (0 to 1) makes it a matter of chance how many calls meet the fault.

`POST /_stand-in/webhooks` sets `{"off": true, "repeat": 2, "shuffle": true, "delay": 30}` (seconds, for events from now on).
`POST /_stand-in/later` sets `{"seconds": 3, "available_after": 0, "payouts_fail": "account_closed"}`: how long "later" is
for refunds, payouts and verifications, when received money becomes available, and how payouts made from now on fail.
"""

import random
from typing import Any

from core.embedded.payments.store import Store, Transaction
from core.embedded.payments.wire import ApiError

MODES = ("down", "slow", "rate_limit", "error", "error_saved", "time_out_after", "cut_after")
LATER_SECONDS = 3


def set_fault(store: Store, body: dict[str, Any]) -> dict[str, Any]:
    """Turn a fault on; raises ApiError 400 for one that is not known."""
    times = body.get("times")
    seconds, share = body.get("seconds", 5), body.get("share", 1)
    numbers = isinstance(times, int | None) and isinstance(seconds, int | float) and isinstance(share, int | float)
    if body.get("mode") not in MODES or not numbers:
        raise ApiError(400, f"mode is one of {', '.join(MODES)}; seconds, times and share are numbers")
    fault = {"mode": body["mode"], "seconds": seconds, "times": times, "share": share, "path": str(body.get("path", "/v1/"))}
    with store.transaction() as tx:
        tx.set_setting("fault", fault)
    return fault


def clear_fault(store: Store) -> dict[str, Any]:
    """Behave again."""
    with store.transaction() as tx:
        tx.set_setting("fault", {})
    return {}


def set_webhooks(store: Store, body: dict[str, Any]) -> dict[str, Any]:
    """Turn the delivery's switches."""
    switches = {
        "off": bool(body.get("off")),
        "repeat": int(body.get("repeat", 0)),
        "shuffle": bool(body.get("shuffle")),
        "delay": float(body.get("delay", 0)),
    }
    with store.transaction() as tx:
        tx.set_setting("webhooks", switches)
    return switches


def set_later(store: Store, body: dict[str, Any]) -> dict[str, Any]:
    """Say what time and banks do."""
    switches = {
        "seconds": float(body.get("seconds", LATER_SECONDS)),
        "available_after": float(body.get("available_after", 0)),
        "payouts_fail": str(body.get("payouts_fail", "")),
    }
    with store.transaction() as tx:
        tx.set_setting("later", switches)
    return switches


def later_seconds(tx: Transaction) -> float:
    """How long "later" is now."""
    return float(tx.setting("later", {}).get("seconds", LATER_SECONDS))


def take(store: Store, path: str) -> dict[str, Any]:
    """The fault that this call meets, or `{}`; counts down one that is limited."""
    with store.transaction() as tx:
        fault = tx.setting("fault", {})
        if not fault or not path.startswith(fault["path"]) or random.random() >= fault.get("share", 1):  # noqa: S311  (chance)
            return {}
        if fault["times"] is not None:
            if fault["times"] <= 0:
                return {}
            tx.set_setting("fault", {**fault, "times": fault["times"] - 1})
        return fault
