"""The virus scanner's port: clamd's own protocol over TCP or a Unix socket, or none, said explicitly.

`SCANNER` is `clamd://host:port`, `clamd:///path/of/socket`, `off-accepted` (the operator knows), or `off`
(development and tests). When clamd does not answer, the file waits: nothing passes unscanned.
"""

import re
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from core.exceptions import ServiceUnavailable

CONNECT_SECONDS, ANSWER_SECONDS = 3, 60
CHUNK_BYTES = 128 * 1024


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


def is_enabled() -> bool:
    return settings.SCANNER.startswith("clamd:")


def scan(path: Path) -> ScanResult:
    """Have the file scanned. Raises: ServiceUnavailable("scanner") when it does not answer as it should."""
    if not is_enabled():
        return ScanResult(scanned=False)
    with _connected() as connection:
        connection.sendall(b"zINSTREAM\0")
        with path.open("rb") as file:
            for chunk in iter(partial(file.read, CHUNK_BYTES), b""):
                connection.sendall(struct.pack("!I", len(chunk)) + chunk)
        connection.sendall(struct.pack("!I", 0))
        answer = _answer(connection)
    if answer == "stream: OK":
        return ScanResult(scanned=True)
    if found := re.fullmatch(r"stream: (.+) FOUND", answer):
        return ScanResult(scanned=True, malware=found[1][:200])
    raise ServiceUnavailable("scanner", retry_after_seconds=30)  # a size limit below ours, an error: not scanned


def get_status() -> ScannerStatus:
    """Version and age of the signatures. Raises: ServiceUnavailable("scanner")."""
    if not is_enabled():
        return ScannerStatus(enabled=False)
    with _connected() as connection:
        connection.sendall(b"zVERSION\0")
        answer = _answer(connection)
    version, _, rest = answer.partition("/")
    stamp = rest.partition("/")[2]
    try:
        signatures_at = datetime.strptime(stamp.strip(), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        signatures_at = None
    return ScannerStatus(enabled=True, version=version, signatures_at=signatures_at)


class _connected:
    """A connection whose every failure is the scanner's outage."""

    def __enter__(self) -> socket.socket:
        address = urlsplit(settings.SCANNER)
        try:
            if address.hostname:
                self.socket = socket.create_connection((address.hostname, address.port or 3310), timeout=CONNECT_SECONDS)
            else:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.settimeout(CONNECT_SECONDS)
                self.socket.connect(address.path)
        except OSError as error:
            raise ServiceUnavailable("scanner", retry_after_seconds=30) from error
        self.socket.settimeout(ANSWER_SECONDS)
        return self.socket

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self.socket.close()
        if isinstance(error, OSError):
            raise ServiceUnavailable("scanner", retry_after_seconds=30) from error


def _answer(connection: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\0") and len(data) < 4096:
        part = connection.recv(1024)
        if not part:
            break
        data += part
    return data.rstrip(b"\0\n").decode(errors="replace")
