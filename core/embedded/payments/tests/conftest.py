"""The stand-in as a real process, and the official client talking to it."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import stripe

from core.testing.payments import SECRET_KEY, StandIn


class Receiver:
    """Keeps the events that it is sent; answers 500 as long as `failing` is above zero."""

    def __init__(self) -> None:
        receiver = self
        self.received: list[tuple[str, str, float]] = []
        self.failing = 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.received.append((body, self.headers["Stripe-Signature"], time.monotonic()))
                receiver.failing -= 1
                self.send_response(500 if receiver.failing >= 0 else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _, _ in self.received]

    def wait_for(self, count: int, *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} events came: {self.types()}"
            time.sleep(0.02)


class Server(StandIn):
    """The process with its receiver, and the official client."""

    def __init__(self, directory: Path, receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(directory, webhook_url=receiver.url)

    def client(self, *, retries: int = 0, timeout: float = 30, key: str = SECRET_KEY) -> stripe.StripeClient:
        return stripe.StripeClient(
            key, base_addresses={"api": self.url}, max_network_retries=retries, http_client=stripe.RequestsClient(timeout=timeout)
        )


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("payments"), Receiver())
    yield server
    assert server.stop() == 0


@pytest.fixture
def server(shared):
    """The running server, behaving well and with nothing received yet."""
    shared.behave()
    shared.receiver.received.clear()
    shared.receiver.failing = 0
    yield shared
    shared.behave()


@pytest.fixture
def own_server(tmp_path):
    """A server of the test's own, to be killed."""
    server = Server(tmp_path / "payments", Receiver())
    yield server
    if server.process.poll() is None:
        server.kill()


@pytest.fixture
def client(server):
    return server.client()
