"""The stand-in payment server as a real process, for tests."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from core.embedded import ports

REPOSITORY = Path(__file__).parents[2]
SECRET_KEY = "sk_test_revsync"  # those of `core.testing.services`
WEBHOOK_SECRET = "whsec_test_revsync"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class StandIn:
    """The process; `kill()` is kill -9, `start()` starts it again on the same port and directory."""

    def __init__(self, directory: Path, *, webhook_url: str = "") -> None:
        self.port = ports.free_port()  # not one of those that connections get: it must be free again after a kill
        self.directory, self.webhook_url = directory, webhook_url
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait for its ready line."""
        environment = {**os.environ, "PAYMENTS_SECRET_KEY": SECRET_KEY, "PAYMENTS_WEBHOOK_SECRET": WEBHOOK_SECRET}
        command = [sys.executable, "-m", "core.embedded.payments", "--data", str(self.directory), "--port", str(self.port)]
        if self.webhook_url:
            command += ["--webhook-url", self.webhook_url]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        assert "ready" in self.process.stdout.readline()

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def switch(self, name: str, method: str = "POST", **body: Any) -> dict:
        """Turn a fault (`switch("faults", mode="down")`) or the delivery's switches; `method="DELETE"` turns faults off."""
        request = urllib.request.Request(
            f"{self.url}/_stand-in/{name}", data=json.dumps(body).encode(), method=method, headers={"Authorization": f"Bearer {SECRET_KEY}"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def behave(self) -> None:
        """No fault, events delivered, refunds, payouts and verifications ending after a while."""
        self.switch("faults", "DELETE")
        self.switch("webhooks")
        self.switch("later")

    def act(self, act: str, object_id: str) -> None:
        """What time or a bank does to an object: `act("refund_fails", "re_…")`, `act("payout_arrives", "po_…")`, `account_complete` …"""
        self.switch("act", act=act, id=object_id)

    def choose(self, intent_id: str, outcome: str) -> tuple[int, str]:
        """What a person does on the page: post the form and follow to the page that comes."""
        return self._post(f"{self.url}/pay/{intent_id}", outcome)

    def onboard(self, url: str, outcome: str) -> str:
        """What a tuner does at an account link: open it and, if it opens, post the form; where that leads."""
        opener = urllib.request.build_opener(_NoRedirect())
        try:
            with opener.open(url, timeout=30) as page:
                assert b"<form" in page.read()
            opener.open(urllib.request.Request(url, data=urllib.parse.urlencode({"outcome": outcome}).encode()), timeout=30)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.headers["Location"] or f"status {answer.code}"
        raise AssertionError("The page stayed.")

    def _post(self, url: str, outcome: str) -> tuple[int, str]:
        request = urllib.request.Request(url, data=urllib.parse.urlencode({"outcome": outcome}).encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def get(self, path: str) -> dict:
        """Read from its API: `get("events?limit=10")`."""
        request = urllib.request.Request(f"{self.url}/v1/{path}", headers={"Authorization": f"Bearer {SECRET_KEY}"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def intents_of(self, purchase_id: Any) -> list[dict]:
        """Every intent of a purchase, newest first."""
        return [row for row in self.get("payment_intents?limit=100")["data"] if row["metadata"].get("purchase") == str(purchase_id)]

    def events_of(self, intent_id: str) -> list[dict]:
        """Every event of a payment, oldest first."""
        rows = self.get("events?limit=100")["data"][::-1]
        return [row for row in rows if intent_id in (row["data"]["object"].get("id"), row["data"]["object"].get("payment_intent"))]
