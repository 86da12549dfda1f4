"""Riders who buy, pay, download and give back without rest, and write down each request before it is sent and each answer after.

They behave as an app should: the same idempotency key until there is an answer, a pause after 503, a fresh access token when the old
one is refused. They do not give up before `PATIENCE_SECONDS`, and then say so in the journal.
"""

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

PATIENCE_SECONDS = 150
ANSWER_SECONDS = 40
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Line:
    """One line of the journal: a request, or what became of it (status 0: no answer)."""

    at: float
    client: str
    number: int
    what: str
    method: str
    path: str
    key: str = ""
    status: int | None = None
    retry_after: str = ""
    code: str = ""
    body: Any = None


class Journal:
    """Lines in memory and, before anything goes on, in a file."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", buffering=1)
        self.lines: list[Line] = []
        self.lock = threading.Lock()
        self.numbers = iter(range(1, 1 << 62))

    def number(self) -> int:
        with self.lock:
            return next(self.numbers)

    def write(self, line: Line) -> None:
        text = json.dumps(line.__dict__, separators=(",", ":"))
        with self.lock:
            self.lines.append(line)
            self.file.write(text + "\n")

    def close(self) -> None:
        self.file.close()


class GaveUp(Exception):
    """No useful answer within the patience of a person."""


@dataclass
class Client:
    """One rider's app."""

    base_url: str
    buyer: dict[str, Any]
    journal: Journal
    attestation: str
    chance: random.Random
    stop: threading.Event
    drop_replies: int = 0  # of each request, so many times before the answer is read
    access: str = ""
    unexpected: list[str] = field(default_factory=list)

    def ask(self, what: str, method: str, url: str, body: Any = None, *, key: str = "", form: bool = False, expect: Iterable[int]) -> Any:
        """Until an answer among `expect`; returns (status, body). Raises GaveUp."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        dropped = 0
        while time.monotonic() < deadline:
            status, answer, retry_after = self._send(what, method, url, body, key=key, form=form, drop=dropped < self.drop_replies)
            dropped += 1
            if status in expect:
                return status, answer
            if status == 401 and what == "refresh":
                time.sleep(1)  # whose clock is wrong will not believe it
            elif status == 401 and not form:
                self.sign_in()
            elif status not in (0, 429, 503) and not (status == 409 and answer.get("code") == "idempotency_in_progress"):
                self.unexpected.append(f"{method} {url}: {status} {json.dumps(answer)[:300]}")
                raise GaveUp(f"{what}: {status}")
            time.sleep(min(2.0, float(retry_after or 0)) or self.chance.uniform(0.1, 0.5))
        raise GaveUp(f"{what}: no answer in {PATIENCE_SECONDS} s")

    def sign_in(self) -> None:
        """A fresh access token; the refresh token stays good until its successor was used, so a lost answer costs nothing."""
        _, answer = self.ask("refresh", "POST", "/api/v1/auth/refresh/", {"refresh": self.buyer["refresh"]}, expect=(200,))
        self.buyer["refresh"], self.access = answer["refresh"], answer["access"]

    def _send(
        self, what: str, method: str, url: str, body: Any, *, key: str, form: bool, drop: bool
    ) -> tuple[int, dict[str, Any], str]:
        target = urlsplit(url if url.startswith("http") else self.base_url + url)
        headers = {"Connection": "close"}
        if key:
            headers["Idempotency-Key"] = key
        if self.access and not form and "refresh" not in what:
            headers["Authorization"] = f"Bearer {self.access}"
        data = None
        if body is not None:
            headers["Content-Type"] = FORM if form else "application/json"
            data = urlencode(body) if form else json.dumps(body)
        number, asked = self.journal.number(), {"client": self.buyer["id"], "what": what, "method": method, "path": target.path, "key": key}
        self.journal.write(Line(time.time(), number=number, **asked))
        status, answer, retry_after = 0, {}, ""
        connection = http.client.HTTPConnection(target.netloc, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, target.path, body=data, headers=headers)
            if not drop:
                response = connection.getresponse()
                text = response.read()
                status, retry_after = response.status, response.headers.get("Retry-After", "")
                if "json" in response.headers.get("Content-Type", ""):
                    answer = json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            status = 0
        finally:
            connection.close()
        kept = {name: answer[name] for name in ("id", "status", "code", "refunded_minor") if name in answer}
        self.journal.write(
            Line(time.time(), number=number, status=status, retry_after=retry_after, code=str(answer.get("code", "")), body=kept, **asked)
        )
        return status, answer, retry_after

    # What riders do

    def live(self) -> None:
        """Each wish in turn, until all are had or the end is asked for."""
        self.sign_in()
        for wish in self.buyer["wishes"]:
            if self.stop.is_set():
                return
            try:
                self._want(wish)
            except GaveUp as given_up:
                self.journal.write(
                    Line(time.time(), self.buyer["id"], self.journal.number(), "gave_up", "", "", body=str(given_up))
                )  # fmt: skip

    def _want(self, wish: dict[str, Any]) -> None:
        purchase = self._buy(wish)
        page = (purchase["payment"] or {}).get("sandbox_url", "")
        for _ in range(3):
            if purchase["status"] != "PENDING":
                break
            choice = self.chance.random()
            if choice < 0.08:
                purchase = self._end(purchase)
            else:
                disputes = 0.2 <= choice < 0.26
                self._pay(purchase, "decline" if choice < 0.2 else "dispute" if disputes else "succeed")
                purchase = self._await_payment(purchase)
                if disputes:
                    if self.chance.random() < 0.7:
                        self._decide(page, self.chance.choice(("dispute_won", "dispute_lost")))
                    return
        if purchase["status"] == "PAID" and self.chance.random() < 0.5:
            body = {"vehicle": wish["vehicle"]}
            path = f"/api/v1/marketplace/purchases/{purchase['id']}/downloads/"
            self.ask("download", "POST", path, body, key=uuid.uuid4().hex, expect=(201,))
        elif purchase["status"] == "PAID" and self.chance.random() < 0.5:
            path = f"/api/v1/marketplace/purchases/{purchase['id']}/refunds/"
            self.ask("refund", "POST", path, {"reason": "CHANGED_MIND"}, key=uuid.uuid4().hex, expect=(200, 201))

    def _buy(self, wish: dict[str, Any]) -> dict[str, Any]:
        body = {
            "tune": wish["tune"],
            "vehicle": wish["vehicle"],
            "expected_price_minor": wish["price_minor"],
            "currency": wish["currency"],
            "attestation": {"text_version": self.attestation, "accepted": True},
        }
        key = uuid.uuid4().hex
        status, answer = self.ask("buy", "POST", "/api/v1/marketplace/purchases/", body, key=key, expect=(200, 201, 409))
        while status == 409 and answer.get("code") == "idempotency_in_progress":
            time.sleep(1)  # at most a minute: whoever held the key was killed
            status, answer = self.ask("buy", "POST", "/api/v1/marketplace/purchases/", body, key=key, expect=(200, 201, 409))
        if status == 409 and answer["code"] == "acknowledgement_required":
            body["acknowledged_reasons"] = answer["required_reasons"]
            _, answer = self.ask("buy", "POST", "/api/v1/marketplace/purchases/", body, key=uuid.uuid4().hex, expect=(200, 201))
        elif status == 409:
            self.unexpected.append(f"buy: 409 {json.dumps(answer)[:300]}")
            raise GaveUp("buy: 409")
        return answer

    def _pay(self, purchase: dict[str, Any], outcome: str) -> None:
        """At the payment server's page. 409 there: it was paid already, by a try whose answer was lost."""
        self.ask("pay", "POST", purchase["payment"]["sandbox_url"], {"outcome": outcome}, form=True, expect=(200, 303, 404, 409))

    def _decide(self, page: str, outcome: str) -> None:
        """What the bank decides of a dispute, at the payment server's page."""
        self.ask("bank", "POST", page, {"outcome": outcome}, form=True, expect=(200, 303, 404, 409))

    def _await_payment(self, purchase: dict[str, Any]) -> dict[str, Any]:
        path = f"/api/v1/marketplace/purchases/{purchase['id']}/"
        if self.chance.random() < 0.3:
            return self.ask("sync", "POST", f"{path}sync/", expect=(200,))[1]
        for _ in range(8):
            _, purchase = self.ask("look", "GET", path, expect=(200,))
            if purchase["status"] != "PENDING":
                break
            time.sleep(self.chance.uniform(0.1, 0.4))
        return purchase

    def _end(self, purchase: dict[str, Any]) -> dict[str, Any]:
        path = f"/api/v1/marketplace/purchases/{purchase['id']}/"
        self.ask("cancel", "POST", f"{path}cancel/", key=uuid.uuid4().hex, expect=(200, 409))
        return self.ask("look", "GET", path, expect=(200,))[1]


class Load:
    """So many clients at once, each living through buyer after buyer, until there are none or the end is asked for."""

    def __init__(self, at_once: int, buyers: list[dict[str, Any]], make: Callable[[dict[str, Any], threading.Event], Client]) -> None:
        self.waiting, self.make, self.stop = list(buyers), make, threading.Event()
        self.clients: list[Client] = []
        self.failures: list[str] = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._live, name=f"client-{number}", daemon=True) for number in range(at_once)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop.set()
        self.join()

    def join(self) -> None:
        """Wait until each client has finished what it is doing."""
        for thread in self.threads:
            thread.join()

    @property
    def is_over(self) -> bool:
        """Whether nobody buys any more."""
        return not any(thread.is_alive() for thread in self.threads)

    def _live(self) -> None:
        while not self.stop.is_set():
            with self.lock:
                if not self.waiting:
                    return
                client = self.make(self.waiting.pop(), self.stop)
                self.clients.append(client)
            try:
                client.live()
            except GaveUp as given_up:
                self.failures.append(str(given_up))
            except Exception as trouble:
                self.failures.append(f"{type(trouble).__name__}: {trouble}")
