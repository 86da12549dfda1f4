"""The wire between app and ECU: frames over TCP, and the app's end of it.

A question and its answer are one frame each:

    "RB"  command  length   payload   CRC-32
     2       1        4     length       4      bytes; numbers are big-endian

The CRC is that of zlib over everything before it. A payload has at most 65,540 bytes. An answer carries the command of its
question and begins its payload with one byte of status. One question at a time; after any trouble the line is closed and
opened anew, so a late answer is never taken for another one.

    command   question                       answer
    IDENTIFY  nothing                        JSON: hardware_number, serial, vin, calibration_id, image_size_bytes, block_bytes, mode
    READ      block (4 bytes)                the block
    ERASE     image size (4 bytes)           nothing, once all blocks are erased
    WRITE     block (4 bytes), its bytes     nothing
    VERIFY    SHA-256 of the image           nothing; MISMATCH when the flash memory holds something else
    RESET     nothing                        nothing, then the ECU starts anew
"""

import enum
import json
import socket
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Self

MAGIC = b"RB"
HEAD = struct.Struct(">2sBI")
CRC = struct.Struct(">I")
NUMBER = struct.Struct(">I")
LARGEST_BLOCK = 65_536
LARGEST_PAYLOAD = LARGEST_BLOCK + NUMBER.size
LARGEST_IMAGE = 4 * 1024 * 1024
TRIES_OF_A_FRAME = 3


class Command(enum.IntEnum):
    """What can be asked of an ECU."""

    IDENTIFY = 1
    READ = 2
    ERASE = 3
    WRITE = 4
    VERIFY = 5
    RESET = 6


class Status(enum.IntEnum):
    """How an ECU answers."""

    OK = 0
    DAMAGED = 1
    UNKNOWN_COMMAND = 2
    NOT_ALLOWED = 3
    WRONG_SIZE = 4
    NO_SUCH_BLOCK = 5
    MISMATCH = 6


class LineLost(Exception):
    """No answer came, or no sensible one. Whether the ECU did what was asked is not known."""


class FrameDamaged(Exception):
    """The frame's CRC is not that of its bytes."""

    def __init__(self, command: int) -> None:
        super().__init__("damaged")
        self.command = command


class EcuRefused(Exception):
    """The ECU understood and said no."""

    def __init__(self, command: Command, status: Status) -> None:
        super().__init__(f"{command.name}: {status.name}")
        self.command, self.status = command, status


def pack(command: int, payload: bytes) -> bytes:
    """A frame."""
    body = HEAD.pack(MAGIC, command, len(payload)) + payload
    return body + CRC.pack(zlib.crc32(body))


def receive(line: socket.socket) -> tuple[int, bytes]:
    """(command, payload) of the next frame. Raises LineLost (closed, silent, not a frame) and FrameDamaged."""
    head = _exactly(line, HEAD.size)
    magic, command, length = HEAD.unpack(head)
    if magic != MAGIC or length > LARGEST_PAYLOAD:
        raise LineLost("this is no frame")
    rest = _exactly(line, length + CRC.size)
    if zlib.crc32(head + rest[:length]) != CRC.unpack(rest[length:])[0]:
        raise FrameDamaged(command)
    return command, rest[:length]


def _exactly(line: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        try:
            part = line.recv(count - len(data))
        except OSError as error:
            raise LineLost(str(error)) from error
        if not part:
            raise LineLost("the line was closed")
        data += part
    return bytes(data)


@dataclass(frozen=True)
class EcuFacts:
    """What an ECU says of itself. In `recovery` its bootloader answers, which does not know the calibration.

    Raises ValueError for sizes that no ECU has: what comes over a wire is not believed.
    """

    hardware_number: str
    image_size_bytes: int
    block_bytes: int
    mode: str
    serial: str | None = None
    vin: str | None = None
    calibration_id: str | None = None

    def __post_init__(self) -> None:
        are_sizes = 0 < self.block_bytes <= LARGEST_BLOCK and 0 < self.image_size_bytes <= LARGEST_IMAGE
        if not are_sizes or self.image_size_bytes % self.block_bytes:
            raise ValueError("an image is made of whole blocks")


class EcuLine:
    """The app's end. Opens on first use; every method raises LineLost or EcuRefused."""

    def __init__(self, address: tuple[str, int], *, patience_seconds: float = 5.0) -> None:
        self.address, self.patience_seconds = address, patience_seconds
        self._line: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def identify(self) -> EcuFacts:
        try:
            facts: dict[str, Any] = json.loads(self._ask(Command.IDENTIFY))
            return EcuFacts(**{name: facts[name] for name in EcuFacts.__dataclass_fields__})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LineLost("the ECU's identification can't be read") from error

    def read(self, block: int) -> bytes:
        return self._ask(Command.READ, NUMBER.pack(block))

    def erase(self, image_size_bytes: int) -> None:
        self._ask(Command.ERASE, NUMBER.pack(image_size_bytes))

    def write(self, block: int, data: bytes) -> None:
        self._ask(Command.WRITE, NUMBER.pack(block) + data)

    def holds(self, sha256: bytes) -> bool:
        """Whether the flash memory holds exactly this image."""
        try:
            self._ask(Command.VERIFY, sha256)
        except EcuRefused as refusal:
            if refusal.status != Status.MISMATCH:
                raise
            return False
        return True

    def reset(self) -> None:
        self._ask(Command.RESET)
        self.close()

    def _ask(self, command: Command, payload: bytes = b"") -> bytes:
        """Ask, and ask again when the ECU says that the question arrived damaged: then it did nothing."""
        for _ in range(TRIES_OF_A_FRAME):
            try:
                line = self._opened()
                line.sendall(pack(command, payload))
                answered, answer = receive(line)
                if answered != command or not answer:
                    raise LineLost("that is the answer to another question")
                status = Status(answer[0])
            except (OSError, FrameDamaged, LineLost, ValueError) as error:
                self.close()
                raise LineLost(f"{command.name}: {error or type(error).__name__}") from error
            if status == Status.OK:
                return answer[1:]
            if status != Status.DAMAGED:
                raise EcuRefused(command, status)
        self.close()
        raise LineLost(f"{command.name}: damaged {TRIES_OF_A_FRAME} times")

    def _opened(self) -> socket.socket:
        if self._line is None:
            self._line = socket.create_connection(self.address, timeout=self.patience_seconds)
            self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._line
