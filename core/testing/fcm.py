"""A server that stands in for Google: gives access tokens for assertions that it checks, and takes messages. With faults."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "revsync-test"


class FcmServer:
    """`answers` are taken one by one: (status, body, headers), "cut", "slow" or "hang up"; then everything succeeds."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.answers: list = []
        self.token_answers: list = []
        self.messages: list[dict] = []
        self.assertions: list[dict] = []
        self.valid: set[str] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/token":
                    server.give_token(self, body)
                else:
                    server.take_message(self, body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def account(self) -> dict[str, str]:
        """The JSON key of a service account, as Google's console gives it."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "key-1",
            "private_key": pem,
            "client_email": f"push@{PROJECT}.iam.gserviceaccount.example",
            "token_uri": f"{self.url}/token",
        }

    def give_token(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.token_answers and not self._fails(request, self.token_answers.pop(0)):
            return
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        try:
            claims = jwt.decode(form["assertion"], self.key.public_key(), algorithms=["RS256"], audience=f"{self.url}/token", leeway=3600)
        except jwt.PyJWTError:
            self._answer(request, 400, {"error": "invalid_grant"})
            return
        self.assertions.append({**claims, **jwt.get_unverified_header(form["assertion"]), "grant_type": form["grant_type"]})
        token = f"access-{len(self.assertions)}"
        self.valid.add(token)
        self._answer(request, 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def take_message(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.answers and not self._fails(request, self.answers.pop(0)):
            return
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.valid:
            self._answer(request, 401, error("UNAUTHENTICATED"))
            return
        self.messages.append({"path": request.path, **json.loads(body)})
        self._answer(request, 200, {"name": f"projects/{PROJECT}/messages/{len(self.messages)}"})

    def _fails(self, request: BaseHTTPRequestHandler, fault) -> bool:
        """Whether to go on all the same."""
        if fault == "slow":
            time.sleep(1.0)
            return True
        if fault == "hang up":
            request.connection.close()
        elif fault == "cut":
            request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"name": "proj')
            request.wfile.flush()
        else:
            status, content, *headers = fault
            self._answer(request, status, content, *headers)
        request.close_connection = True
        return False

    def _answer(self, request: BaseHTTPRequestHandler, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def error(status: str, code: str | None = None) -> dict:
    """An error as FCM writes it, with what was sent in its message."""
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    return {"error": {"code": 400, "status": status, "message": "The token secret-token-1 is not good", "details": details}}


@contextmanager
def serving() -> Iterator[FcmServer]:
    server = FcmServer()
    try:
        yield server
    finally:
        server.stop()
