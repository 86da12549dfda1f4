"""Events: recorded with the change that they tell of, then delivered signed until the receiver answers 2xx."""

import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from core.embedded.payments.store import Store, Transaction, timestamp
from core.embedded.payments.wire import ApiRequest, object_id

logger = logging.getLogger("payments.events")

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 300
GIVE_UP_SECONDS = 3 * 24 * 3600
DELIVERY_TIMEOUT_SECONDS = 10


def tell(tx: Transaction, kind: str, subject: dict[str, Any], request: ApiRequest | None = None, *, account: str = "") -> None:
    """Keep an event with a snapshot of its subject, and queue its delivery: in the transaction of the change.

    Follows https://docs.stripe.com/api/events/object (`data.object` is the object as it was at that moment) and, for
    what happens on a connected account, https://docs.stripe.com/connect/webhooks (`account` names it). What no call
    caused has the version of the newest event.
    """
    event = tx.add(
        {
            "id": object_id("evt"),
            "object": "event",
            **({"account": account} if account else {}),
            "api_version": (request.api_version if request else "") or _newest_version(tx),
            "created": timestamp(),
            "data": {"object": subject},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": request.key if request else None},
            "type": kind,
        },
        account=account,
    )
    due = time.time() + float(tx.setting("webhooks", {}).get("delay", 0))
    tx.db.execute("INSERT INTO deliveries (event, due) VALUES (?, ?)", (event["id"], due))


def _newest_version(tx: Transaction) -> str:
    row = tx.db.execute("SELECT body FROM objects WHERE kind = 'event' ORDER BY seq DESC LIMIT 1").fetchone()
    return json.loads(row[0])["api_version"] if row else ""


def signature_header(payload: str, secret: str, *, at: int) -> str:
    """`t=…,v1=…`: HMAC-SHA256 over "timestamp.payload" (https://docs.stripe.com/webhooks#verify-manually)."""
    mac = hmac.new(secret.encode(), f"{at}.{payload}".encode(), hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def delay_seconds(attempts: int) -> float:
    """How long to wait after so many failed attempts: doubling from half a second up to five minutes."""
    return min(FIRST_DELAY_SECONDS * 2 ** min(attempts, 20), LONGEST_DELAY_SECONDS)


class Courier(threading.Thread):
    """Delivers what is due, one after the other, and tries again until a 2xx or three days have passed.

    Follows https://docs.stripe.com/webhooks#retries: any other status, a redirect or no answer is a failure; each
    attempt is signed with its own time. Like Stripe it promises neither order nor single delivery.
    """

    def __init__(self, store: Store, *, url: str, secret: str) -> None:
        super().__init__(name="courier", daemon=True)
        self.store, self.url, self.secret = store, url, secret
        self.wake, self.stopping = threading.Event(), threading.Event()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def run(self) -> None:
        """Deliver until stopped."""
        while not self.stopping.is_set():
            if not self.deliver_due():
                self.wake.wait(0.25)
                self.wake.clear()

    def stop(self) -> None:
        """End after the present delivery."""
        self.stopping.set()
        self.wake.set()

    def deliver_due(self) -> bool:
        """Send the next due event, if there is one; whether there was."""
        with self.store.transaction() as tx:
            switches = tx.setting("webhooks", {})
            if switches.get("off"):
                return False
            order = "RANDOM()" if switches.get("shuffle") else "due"
            row = tx.db.execute(
                f"SELECT event, attempts FROM deliveries WHERE delivered IS NULL AND due <= ? ORDER BY {order} LIMIT 1", (time.time(),)
            ).fetchone()
            if row is None:
                return False
            event = tx.get("event", row[0], account=tx.owner(row[0]))
        accepted, answer = False, ""
        for _ in range(1 + int(switches.get("repeat", 0))):
            accepted, answer = self._send(event)
        with self.store.transaction() as tx:
            attempts = row[1] + 1
            if accepted or time.time() - event["created"] > GIVE_UP_SECONDS:
                tx.db.execute(
                    "UPDATE deliveries SET delivered = ?, attempts = ?, answer = ? WHERE event = ?",
                    (time.time(), attempts, answer, event["id"]),
                )
            else:
                logger.info("event %s (%s) not taken: %s; attempt %d", event["id"], event["type"], answer, attempts)
                tx.db.execute(
                    "UPDATE deliveries SET due = ?, attempts = ?, answer = ? WHERE event = ?",
                    (time.time() + delay_seconds(attempts), attempts, answer, event["id"]),
                )
        return True

    def _send(self, event: dict[str, Any]) -> tuple[bool, str]:
        payload = json.dumps(event, indent=2)
        request = urllib.request.Request(
            self.url,
            data=payload.encode(),
            method="POST",
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "RevSync-Payments-Stand-In/1.0",
                "Stripe-Signature": signature_header(payload, self.secret, at=timestamp()),
            },
        )
        try:
            with self.opener.open(request, timeout=DELIVERY_TIMEOUT_SECONDS) as response:
                return 200 <= response.status < 300, str(response.status)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return False, str(refusal.code)
        except (OSError, ValueError) as trouble:
            return False, type(trouble).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
