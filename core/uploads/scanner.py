"""The virus scanner's port: clamd's own protocol over TCP or a Unix socket, or none, said explicitly.

`SCANNER` is `clamd://host:port`, `clamd:///path/of/socket`, `off-accepted` (the operator knows), or `off`
(development and tests). When clamd does not answer, the file waits: nothing passes unscanned. A file that is longer than
its StreamMaxLength would wait for ever: that is told apart, and `doctor` sends a stream as long as the largest upload.
"""

import re
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from core.exceptions import ServiceUnavailable

CONNECT_SECONDS, SCAN_SECONDS, STATUS_SECONDS = 3, 60, 3  # the latter two for a whole conversation, however it trickles
CHUNK_BYTES = 128 * 1024
SIGNATURES_GROW_OLD = timedelta(days=7)


@dataclass(frozen=True)
class ScanResult:
    """`scanned` is False when scanning is off; `malware` is the finding's name, or empty."""

    scanned: bool
    malware: str = ""


@dataclass(frozen=True)
class ScannerStatus:
    """What the scanner says of itself; `signatures_at` is None when it is off."""

    enabled: bool
    version: str = ""
    signatures_at: datetime | None = None


class StreamTooLong(Exception):
    """The scanner takes no stream as long as this one."""


def is_enabled() -> bool:
    return settings.SCANNER.startswith("clamd:")


def scan(path: Path) -> ScanResult:
    """Have the file scanned. Raises: ServiceUnavailable("scanner") when it does not answer as it should, StreamTooLong."""
    if not is_enabled():
        return ScanResult(scanned=False)
    with path.open("rb") as file:
        return _scan(iter(partial(file.read, CHUNK_BYTES), b""))


def try_longest(*, size_bytes: int) -> None:
    """Have so many zeros scanned, as long as the largest upload. Raises: ServiceUnavailable("scanner"), StreamTooLong."""
    chunk = bytes(CHUNK_BYTES)
    _scan(chunk[: size_bytes - start] for start in range(0, size_bytes, CHUNK_BYTES))


def _scan(chunks: Iterable[bytes]) -> ScanResult:
    """One stream and what is said of it. Who stops it in its middle says why, and hangs up."""
    is_whole = False
    with _conversation(seconds=SCAN_SECONDS) as clamd:
        try:
            clamd.send(b"zINSTREAM\0")
            for chunk in chunks:
                clamd.send(struct.pack("!I", len(chunk)) + chunk)
                if clamd.has_said_something():
                    break
            else:
                clamd.send(struct.pack("!I", 0))
                is_whole = True
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = clamd.answer()
    if answer == "stream: OK" and is_whole:
        return ScanResult(scanned=True)
    if found := re.fullmatch(r"stream: (.+) FOUND", answer):
        return ScanResult(scanned=True, malware=found[1][:200])
    if answer.startswith("INSTREAM size limit exceeded"):
        raise StreamTooLong
    raise ServiceUnavailable("scanner", retry_after_seconds=30)  # an error: not scanned


def get_status() -> ScannerStatus:
    """Version and age of the signatures; somebody waits for it. Raises: ServiceUnavailable("scanner")."""
    if not is_enabled():
        return ScannerStatus(enabled=False)
    with _conversation(seconds=STATUS_SECONDS) as clamd:
        clamd.send(b"zVERSION\0")
        answer = clamd.answer()
    version, _, rest = answer.partition("/")
    stamp = rest.partition("/")[2]
    try:
        signatures_at = datetime.strptime(stamp.strip(), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        signatures_at = None
    return ScannerStatus(enabled=True, version=version, signatures_at=signatures_at)


def find_trouble(*, at: datetime) -> str | None:
    """One sentence for staff: nothing is scanned, files wait, or the signatures are old (scanning goes on)."""
    try:
        status = get_status()
    except ServiceUnavailable:
        return "The virus scanner does not answer: uploaded files wait until it does."
    if not status.enabled:
        return "Uploaded files are not scanned for malware: no scanner is configured."
    if status.signatures_at is None or at - status.signatures_at > SIGNATURES_GROW_OLD:
        return "The virus scanner's signatures are older than seven days. Scanning goes on; let freshclam update them."
    return None


class _Clamd:
    """One conversation; it ends when its time is over, whoever dawdles."""

    def __init__(self, connection: socket.socket, *, ends_at: float) -> None:
        self._connection, self._ends_at = connection, ends_at

    def _in_time(self) -> socket.socket:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection

    def send(self, data: bytes) -> None:
        self._in_time().sendall(data)

    def has_said_something(self) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(0))

    def answer(self) -> str:
        data = b""
        while not data.endswith(b"\0") and len(data) < 4096:
            part = self._in_time().recv(1024)
            if not part:
                break
            data += part
        return data.rstrip(b"\0\n").decode(errors="replace")


@contextmanager
def _conversation(*, seconds: float) -> Iterator[_Clamd]:
    """Connected; every failure in between is the scanner's outage."""
    address = urlsplit(settings.SCANNER)
    try:
        with (
            socket.socket(socket.AF_UNIX)
            if not address.hostname
            else socket.create_connection((address.hostname, address.port or 3310), timeout=CONNECT_SECONDS) as connection
        ):
            if not address.hostname:
                connection.settimeout(CONNECT_SECONDS)
                connection.connect(address.path)
            yield _Clamd(connection, ends_at=time.monotonic() + seconds)
    except OSError as error:
        raise ServiceUnavailable("scanner", retry_after_seconds=30) from error
