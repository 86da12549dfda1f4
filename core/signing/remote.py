"""The signing port's second adapter: a signer in a process of its own, over a Unix socket. See `core.signing.signer`.

Frames are a length of four bytes and JSON. Every wait has an end, and while the signer does not answer one caller at a
time finds out whether it is over.
"""

import base64
import json
import socket
import time
from typing import Any

from core.exceptions import InvalidInput, ServiceUnavailable
from core.outage import Gate, StillAway
from core.signing.errors import SigningNotReady
from core.signing.roles import PayloadType, Role

ANSWER_WITHIN_SECONDS = 2.0
LARGEST_FRAME_BYTES = 24 * 1024 * 1024  # a status document of tens of thousands of stops
RETRY_AFTER_SECONDS = 5

_gate = Gate()


class RemoteSigner:
    """Asks the signer behind `path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def sign(self, role: Role, payload_type: PayloadType, payload: bytes, *, approval: str = "") -> list[dict[str, str]]:
        """Raises: InvalidInput at /approval, SigningNotReady (it refused), ServiceUnavailable."""
        question = {
            "role": role.value,
            "payload_type": payload_type.value,
            "payload": base64.b64encode(payload).decode(),
            "approval": approval,
        }
        answer = self._ask(question)
        if "signatures" in answer:
            return answer["signatures"]
        if "approval" in answer:
            raise InvalidInput.at("/approval", "approval_required", f"The signer did not sign: {answer['approval']}.")
        if "busy" in answer:
            raise ServiceUnavailable("signing", retry_after_seconds=RETRY_AFTER_SECONDS)
        raise SigningNotReady(f"The signer refused: {answer.get('refused', 'it gave no reason')}.")

    def root_version(self) -> int:
        """Which root it works by. For `doctor`. Raises: ServiceUnavailable, SigningNotReady (it refused)."""
        answer = self._ask({"root_version": True})
        if "root_version" not in answer:
            raise SigningNotReady(f"The signer refused: {answer.get('refused', 'it gave no reason')}.")
        return answer["root_version"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            with _gate.passing():
                try:
                    answer = _exchange(self.path, question)
                except (OSError, ValueError) as trouble:
                    _gate.note(good=False)
                    raise ServiceUnavailable("signing", retry_after_seconds=RETRY_AFTER_SECONDS) from trouble
                _gate.note(good=True)
                return answer
        except StillAway:
            raise ServiceUnavailable("signing", retry_after_seconds=RETRY_AFTER_SECONDS) from None


def _exchange(path: str, question: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_WITHIN_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(ANSWER_WITHIN_SECONDS)
        channel.connect(path)
        send_frame(channel, question, deadline=deadline)
        return receive_frame(channel, deadline=deadline)


def send_frame(channel: socket.socket, content: dict[str, Any], *, deadline: float) -> None:
    """Raises: OSError, TimeoutError among it."""
    data = json.dumps(content).encode()
    channel.settimeout(_left(deadline))
    channel.sendall(len(data).to_bytes(4, "big") + data)


def receive_frame(channel: socket.socket, *, deadline: float) -> dict[str, Any]:
    """Raises: OSError (TimeoutError among it), ValueError for what is no frame of ours."""
    size = int.from_bytes(_receive(channel, 4, deadline), "big")
    if size > LARGEST_FRAME_BYTES:
        raise ValueError("a frame is too large")
    content = json.loads(_receive(channel, size, deadline))
    if not isinstance(content, dict):
        raise ValueError("a frame is an object")
    return content


def _receive(channel: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        channel.settimeout(_left(deadline))
        part = channel.recv(min(size - len(data), 1 << 16))
        if not part:
            raise ConnectionError("the other side hung up")
        data += part
    return bytes(data)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time is left")
    return left
