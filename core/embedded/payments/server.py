"""The HTTP side: routes of the API, the page for people, and the switches."""

import base64
import contextlib
import functools
import hmac
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core.embedded.payments import balance, connect, disputes, faults, idempotency, intents, page, refunds
from core.embedded.payments.clerk import ACTS, Clerk
from core.embedded.payments.events import Courier
from core.embedded.payments.store import Store, Transaction
from core.embedded.payments.wire import MAX_BODY_BYTES, ApiError, ApiRequest, ApiResponse, object_id, parse_form, require_known

logger = logging.getLogger("payments.server")

Handler = Callable[..., Any]
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def _list(kind: str, *filters: str) -> Handler:
    """A list in the shape of https://docs.stripe.com/api/pagination."""

    def handler(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
        require_known(request.params, "limit", "starting_after", "ending_before", "created", "expand", *filters)
        having = {name: str(request.params[name]) for name in filters if name in request.params and name != "payment_intent"}
        rows, has_more = tx.page(
            kind, request.params, parent=request.params.get("payment_intent"), account=request.account, having=having
        )
        return {"object": "list", "url": request.path, "has_more": has_more, "data": rows}

    return handler


def _get(kind: str) -> Handler:
    """One object by its id."""

    def handler(tx: Transaction, request: ApiRequest, object_id: str) -> dict[str, Any]:
        require_known(request.params, "expand")
        return tx.get(kind, object_id, account=request.account)

    return handler


def _call(handler: Handler, request: ApiRequest, arguments: tuple[str, ...], tx: Transaction) -> Any:
    return handler(tx, request, *arguments)


ROUTES: list[tuple[str, re.Pattern[str], Handler]] = [
    (method, re.compile(f"^/v1/{pattern}$"), handler)
    for method, pattern, handler in (
        ("POST", r"payment_intents", intents.create),
        ("GET", r"payment_intents", _list("payment_intent")),
        ("GET", r"payment_intents/([\w-]+)", intents.retrieve),
        ("POST", r"payment_intents/([\w-]+)", intents.update),
        ("POST", r"payment_intents/([\w-]+)/confirm", intents.confirm),
        ("POST", r"payment_intents/([\w-]+)/cancel", intents.cancel),
        ("GET", r"charges/([\w-]+)", _get("charge")),
        ("GET", r"charges", _list("charge", "payment_intent")),
        ("POST", r"refunds", refunds.create),
        ("GET", r"refunds", _list("refund", "payment_intent")),
        ("GET", r"refunds/([\w-]+)", _get("refund")),
        ("GET", r"disputes", _list("dispute", "payment_intent")),
        ("GET", r"disputes/([\w-]+)", _get("dispute")),
        ("POST", r"disputes/([\w-]+)", disputes.update),
        ("POST", r"disputes/([\w-]+)/close", disputes.close),
        ("POST", r"accounts", connect.create_account),
        ("GET", r"accounts", _list("account")),
        ("GET", r"accounts/([\w-]+)", _get("account")),
        ("POST", r"account_links", connect.create_link),
        ("POST", r"transfers", connect.create_transfer),
        ("GET", r"transfers", _list("transfer", "destination", "transfer_group")),
        ("GET", r"transfers/([\w-]+)", _get("transfer")),
        ("POST", r"transfers/([\w-]+)/reversals", connect.reverse_transfer),
        ("GET", r"transfers/([\w-]+)/reversals", connect.list_reversals),
        ("POST", r"payouts", connect.create_payout),
        ("GET", r"payouts", _list("payout", "status")),
        ("GET", r"payouts/([\w-]+)", _get("payout")),
        ("GET", r"balance", balance.retrieve),
        ("GET", r"balance_transactions", _list("balance_transaction", "currency", "source", "type")),
        ("GET", r"balance_transactions/([\w-]+)", _get("balance_transaction")),
        ("GET", r"events", _list("event")),
        ("GET", r"events/([\w-]+)", _get("event")),
    )
]


class PaymentServer(ThreadingHTTPServer):
    """One thread a connection; all share one store and one courier."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], *, store: Store, secret_key: str, public_url: str, webhook_url: str, webhook_secret: str
    ) -> None:
        self.store, self.secret_key, self.public_url = store, secret_key, public_url.rstrip("/")
        self.courier = Courier(store, url=webhook_url, secret=webhook_secret) if webhook_url else None
        self.clerk = Clerk(store, done=self.wake_courier)
        super().__init__(address, RequestHandler)

    def server_bind(self) -> None:
        """As the base class, without its look-up of the machine's name, which may ask a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def wake_courier(self) -> None:
        """There may be events to deliver."""
        if self.courier:
            self.courier.wake.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        logger.debug("connection of %s ended", client_address)


class RequestHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: PaymentServer
    protocol_version = "HTTP/1.1"
    server_version = "RevSyncPaymentsStandIn"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 75

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        try:
            body = self._body()
            path = urlsplit(self.path).path
            if path == "/healthz":
                self._answer(ApiResponse(200, {"status": "ok"}))
            elif path.startswith("/pay/"):
                self._answer_page(*self._pay_page(path.removeprefix("/pay/").rstrip("/"), body))
            elif path.startswith("/onboarding/"):
                self._answer_page(*self._onboarding_page(path.removeprefix("/onboarding/").rstrip("/"), body))
            else:
                self._require_key()
                if path.startswith("/_stand-in/"):
                    self._serve_switch(path, body)
                else:
                    self._serve_api(path, body)
        except ApiError as error:
            self._answer(ApiResponse(error.status, error.body))
        except Exception:
            logger.exception("unexpected trouble")
            self._answer(ApiResponse(500, {"error": {"type": "api_error", "message": "An unknown error occurred"}}))

    def _serve_api(self, path: str, body: bytes) -> None:
        fault = faults.take(self.server.store, path)
        mode = fault.get("mode")
        if mode == "down":
            self._cut()
            return
        if mode == "rate_limit":
            raise ApiError(429, "Too many requests hit the API too quickly.", code="rate_limit")
        if mode == "error":
            raise ApiError(500, "Sorry, something went wrong on our side.", kind="api_error")
        query = urlsplit(self.path).query
        try:
            params = parse_form(body.decode() if self.command == "POST" else query)
        except UnicodeDecodeError as wrong:
            raise ApiError(400, "The body is not UTF-8.") from wrong
        request = ApiRequest(
            method=self.command,
            path=path,
            params=params,
            raw=body,
            key=self.headers.get("Idempotency-Key") if self.command == "POST" else None,
            api_version=self.headers.get("Stripe-Version", ""),
            account=self._account(),
            public_url=self.server.public_url,
        )
        if mode == "error_saved":
            failure = ApiResponse(500, {"error": {"type": "api_error", "message": "Sorry, something went wrong on our side."}})
            idempotency.save_failure(self.server.store, request, failure)
            self._answer(failure)
            return
        response = self._dispatch(request, delay_seconds=fault["seconds"] if mode == "slow" else 0)
        self.server.wake_courier()
        if mode == "time_out_after":
            time.sleep(fault["seconds"])
        if mode in ("time_out_after", "cut_after"):
            self._cut()
        else:
            self._answer(response)

    def _dispatch(self, request: ApiRequest, *, delay_seconds: float) -> ApiResponse:
        known = False
        for method, pattern, handler in ROUTES:
            match = pattern.match(request.path)
            known = known or match is not None
            if match and method == request.method:
                act = functools.partial(_call, handler, request, match.groups())
                return idempotency.run(self.server.store, request, act, delay_seconds=delay_seconds)
        if known:
            raise ApiError(405, f"Unsupported method {request.method} for {request.path}.")
        raise ApiError(404, f"Unrecognized request URL ({request.method}: {request.path[:200]}).")

    def _serve_switch(self, path: str, body: bytes) -> None:
        try:
            given = json.loads(body or b"{}")
        except ValueError as wrong:
            raise ApiError(400, "The body is not JSON.") from wrong
        if path == "/_stand-in/faults" and self.command in ("POST", "DELETE"):
            answer = faults.set_fault(self.server.store, given) if self.command == "POST" else faults.clear_fault(self.server.store)
        elif path == "/_stand-in/webhooks" and self.command == "POST":
            answer = faults.set_webhooks(self.server.store, given)
        elif path == "/_stand-in/later" and self.command == "POST":
            answer = faults.set_later(self.server.store, given)
        elif path == "/_stand-in/act" and self.command == "POST":
            answer = self._act(str(given.get("act")), str(given.get("id")))
        elif path == "/_stand-in/deliveries" and self.command == "GET":
            with self.server.store.transaction() as tx:
                rows = tx.db.execute("SELECT event, attempts, delivered, answer FROM deliveries ORDER BY rowid").fetchall()
            answer = {"deliveries": [dict(zip(("event", "attempts", "delivered", "answer"), row, strict=True)) for row in rows]}
        else:
            raise ApiError(404, "There is no such switch.")
        self._answer(ApiResponse(200, answer))

    def _act(self, act: str, object_id: str) -> dict[str, Any]:
        """Have time or a bank do one of `clerk.ACTS` to an object now."""
        if act not in ACTS:
            raise ApiError(400, f"act is one of {', '.join(ACTS)}")
        with self.server.store.transaction() as tx:
            ACTS[act](tx, object_id)
        self.server.wake_courier()
        return {"act": act, "id": object_id}

    def _onboarding_page(self, code: str, body: bytes) -> tuple[int, str, dict[str, str]]:
        """The page behind an account link, and where it leads; a second visit or a late one leads to `refresh_url`."""
        with self.server.store.transaction() as tx:
            link = tx.find("account_link", code)
            if link is None:
                return 404, page.error_page("No such page", "Check the address: there is no such link."), {}
            account = tx.get("account", link["account"])
            headers = {"Content-Security-Policy": page.policy_for_leaving_to(link["return_url"])}
            if self.command == "POST":
                outcome = (parse_qs(body.decode(errors="replace")).get("outcome") or [""])[0]
                if outcome not in connect.ONBOARDING:
                    return 400, page.error_page("Unknown choice", f"outcome is one of {', '.join(connect.ONBOARDING)}."), {}
                if not link["opened"] or link["finished"]:
                    return 303, "", {"Location": link["refresh_url"]}
                connect.onboard(tx, account["id"], outcome)
                tx.save({**link, "finished": True})
                self.server.wake_courier()
                return 303, "", {"Location": link["return_url"]}
            if link["opened"] or link["expires_at"] < time.time():
                return 303, "", {"Location": link["refresh_url"]}
            tx.save({**link, "opened": True})
            return 200, page.onboarding_page(account), headers

    def _pay_page(self, intent_id: str, body: bytes) -> tuple[int, str, dict[str, str]]:
        """Status, HTML and headers of the page after what the person chose, if they chose something."""
        with self.server.store.transaction() as tx:
            intent = tx.find("payment_intent", intent_id)
        if intent is None:
            return 404, page.error_page("No such payment", "Check the address: there is no such payment."), {}
        notice = ""
        if self.command == "POST":
            outcome = (parse_qs(body.decode(errors="replace")).get("outcome") or [""])[0]
            if outcome not in page.OUTCOMES:
                return 400, page.error_page("Unknown choice", f"outcome is one of {', '.join(page.OUTCOMES)}."), {}
            try:
                self._choose(intent, outcome)
            except ApiError as refusal:
                return 409, page.error_page("Not possible now", str(refusal)), {}
            self.server.wake_courier()
            if outcome != "abandon":
                return 303, "", {"Location": f"{self.server.public_url}/pay/{intent['id']}"}
            notice = "You left without paying. You can close this page."
        with self.server.store.transaction() as tx:
            intent = tx.get("payment_intent", intent["id"])
            dispute = disputes.find_open(tx, intent["id"])
            given_back = tx.children("refund", intent["id"])
        return 200, page.pay_page(intent, dispute=dispute, refunds=given_back, notice=notice), {}

    def _choose(self, intent: dict[str, Any], outcome: str) -> None:
        """Do what the person chose; raises ApiError when the intent's state does not allow it."""
        with self.server.store.transaction() as tx:
            request = ApiRequest(method="POST", path=f"/v1/payment_intents/{intent['id']}/confirm", params={}, raw=b"")
            intent = tx.get("payment_intent", intent["id"])
            if outcome == "abandon":
                return
            if outcome in page.OF_REFUNDS:
                self._treat_refunds(tx, intent, outcome)
            elif outcome in ("dispute_won", "dispute_lost"):
                dispute = disputes.find_open(tx, intent["id"])
                if dispute is None:
                    raise ApiError(409, "This payment has no open dispute.")
                disputes.decide(tx, dispute["id"], won=outcome == "dispute_won")
            elif outcome in ("dispute", "inquiry") and intent["status"] == "succeeded":
                disputes.open_dispute(tx, None, intent, inquiry=outcome == "inquiry")
            elif outcome in page.DECLINES:
                reason = "authentication" if intent["status"] == "requires_action" else page.DECLINES[outcome]
                try:
                    intents.act(tx, request, intent["id"], reason)
                except ApiError as declined:
                    if declined.status != 402:  # a decline has been written: it must not roll back
                        raise
            else:
                intents.act(tx, request, intent["id"], outcome)

    def _treat_refunds(self, tx: Transaction, intent: dict[str, Any], outcome: str) -> None:
        """Say what becomes of the refunds to come, or of the newest one."""
        if intent["status"] != "succeeded":
            raise ApiError(409, "This payment is not paid.")
        if outcome in ("refunds_wait", "refunds_fail"):
            tx.set_setting(f"refunds:{intent['id']}", outcome.removeprefix("refunds_"))
            return
        alive = [refund for refund in tx.children("refund", intent["id"]) if refund["status"] in ("pending", "succeeded")]
        if not alive or (outcome == "refund_done" and alive[-1]["status"] != "pending"):
            raise ApiError(409, "This payment has no such refund.")
        (refunds.succeed if outcome == "refund_done" else refunds.fail)(tx, alive[-1]["id"])

    def _account(self) -> str:
        """The connected account that the call is made for (https://docs.stripe.com/connect/authentication)."""
        account: str = self.headers.get("Stripe-Account", "")
        if account:
            with self.server.store.transaction() as tx:
                if tx.find("account", account) is None:
                    raise ApiError(403, f"The provided key does not have access to account '{account[:40]}'.", code="account_invalid")
        return account

    def _require_key(self) -> None:
        """Bearer or basic, as of https://docs.stripe.com/api/authentication."""
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given).decode().partition(":")[0]
            except ValueError:
                given = ""
        if not given:
            raise ApiError(401, "You did not provide an API key.")
        if not hmac.compare_digest(given.encode(), self.server.secret_key.encode()):
            raise ApiError(401, f"Invalid API Key provided: {given[:7]}****")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise ApiError(411, "Send a Content-Length.")
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise ApiError(413, "The body is too large.")
        return self.rfile.read(int(length))

    def _answer(self, response: ApiResponse) -> None:
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store", "Request-Id": object_id("req"), **response.headers}
        if version := self.headers.get("Stripe-Version"):
            headers["Stripe-Version"] = version
        if key := self.headers.get("Idempotency-Key"):
            headers["Idempotency-Key"] = key
        self._send(response.status, json.dumps(response.body, indent=2).encode(), headers)

    def _answer_page(self, status: int, html: str, headers: dict[str, str]) -> None:
        self._send(status, html.encode(), {"Content-Type": "text/html; charset=utf-8", **PAGE_HEADERS, **headers})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value.replace("\r", "").replace("\n", ""))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        """End the connection without an answer, so that the client sees a reset."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def serve(server: PaymentServer) -> None:
    """Serve until `shutdown()`; starts the courier, stops it at the end and closes the store."""
    server.clerk.start()
    if server.courier:
        server.courier.start()
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()
        server.clerk.stopping.set()
        server.clerk.join(timeout=3)
        if server.courier:
            server.courier.stop()
            server.courier.join(timeout=3)
        server.store.close()


def stop_soon(server: PaymentServer) -> None:
    """Ask a running server to end; safe in a signal handler (`shutdown()` itself would wait for the loop that it interrupts)."""
    threading.Thread(target=server.shutdown, daemon=True).start()
