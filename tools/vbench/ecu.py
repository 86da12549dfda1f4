"""A simulated ECU behind a real TCP socket: flash memory that behaves like flash memory, a bootloader, and faults by switches.

Erasing sets bytes to 0xFF, writing can only clear bits, power can go at any block and leaves what was done so far. At a start
the bootloader looks whether the image is whole (its checksums, and its hardware number: see `stated`); if not, it stays in
`recovery` and knows neither calibration nor VIN. What the ECU counts is the truth by which a run is judged, not what the app says.
"""

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Any, Self

from vbench.wire import NUMBER, Command, FrameDamaged, LineLost, Status, pack, receive

ERASED = 0xFF
FAULTS = {
    "power-before": "power goes before the block is touched",
    "power-half": "power goes when half of the block is done",
    "power-after": "power goes after the block, before the answer",
    "cut-before": "the cable is pulled before the ECU does it",
    "cut-after": "the cable is pulled after the ECU did it",
    "hang-before": "the ECU hangs and does nothing",
    "hang-after": "the ECU does it and then hangs",
    "damaged-question": "a bit of the question flips on the wire",
    "damaged-answer": "a bit of the answer flips on the wire",
    "bad-cell": "the block does not keep a bit that was written",
    "mismatch": "the ECU says that its checksum is wrong",
    "wrong-size": "the ECU says that the image is not of its size",
}


@dataclass
class Fault:
    """A switch: what goes wrong at which command and block, how often, and after how many times that went well.

    `block` None: at whichever comes.
    """

    kind: str
    command: Command
    block: int | None = None
    times: int = 1
    skip: int = 0

    def strikes(self, kind: str, command: int, block: int | None) -> bool:
        if self.times < 1 or (self.kind, self.command) != (kind, command) or self.block not in (None, block):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Counters:
    """How often flash memory was really touched."""

    reads: int = 0
    erases: int = 0
    writes: int = 0
    starts: int = 0


class _PowerLost(Exception):
    """Nothing more happens until the next start."""


class _Silent(Exception):
    """Cable pulled, or hung: no answer to this question."""


@dataclass
class VirtualEcu:
    """One ECU. `flash` may be looked at from outside: it is what a person with a soldering iron would read."""

    flash: bytearray
    hardware_number: str
    serial: str | None
    vin: str | None
    block_bytes: int = 16_384
    port: int = 0
    can_be_read: bool = True
    tells_serial_in_recovery: bool = True
    claimed_hardware_number: str | None = None  # switch: what it reports instead of its own
    claimed_size_bytes: int | None = None
    claimed_calibration_id: str | None = None
    says: bytes | None = None  # its whole identification
    faults: list[Fault] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    mode: str = "off"
    programmed: set[tuple[int, bytes]] = field(default_factory=set)  # (block, SHA-256) of everything that was ever written

    def __post_init__(self) -> None:
        self._listener: socket.socket | None = None
        self._unplugged = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="virtual-ecu")
        self.start()

    @property
    def blocks(self) -> int:
        return len(self.flash) // self.block_bytes

    # Bootloader

    def start(self) -> None:
        """Power on or reset: the application runs if its image is whole."""
        self.counters.starts += 1
        is_whole = checksums_are_right(self.flash) and stated(self.flash, "HWNO") == self.hardware_number
        self.mode = "application" if is_whole else "recovery"

    def facts(self) -> dict[str, Any]:
        runs = self.mode == "application"
        calibration_id = self.claimed_calibration_id or stated(self.flash, "CALID")
        return {
            "hardware_number": self.claimed_hardware_number or self.hardware_number,
            "serial": self.serial if runs or self.tells_serial_in_recovery else None,
            "vin": self.vin if runs else None,
            "calibration_id": calibration_id if runs else None,
            "image_size_bytes": self.claimed_size_bytes or len(self.flash),
            "block_bytes": self.block_bytes,
            "mode": self.mode,
        }

    # Commands

    def _answer(self, command: int, payload: bytes) -> tuple[Status, bytes]:
        if command == Command.IDENTIFY:
            return Status.OK, json.dumps(self.facts()).encode() if self.says is None else self.says
        if command == Command.READ and len(payload) == NUMBER.size:
            return self._read(NUMBER.unpack(payload)[0])
        if command == Command.ERASE and len(payload) == NUMBER.size:
            return self._erase(NUMBER.unpack(payload)[0])
        if command == Command.WRITE and len(payload) > NUMBER.size:
            return self._write(NUMBER.unpack(payload[: NUMBER.size])[0], payload[NUMBER.size :])
        if command == Command.VERIFY and len(payload) == 32:
            is_said_to_differ = self._strikes("mismatch", command)
            is_same = hashlib.sha256(self.flash).digest() == payload and not is_said_to_differ
            return (Status.OK if is_same else Status.MISMATCH), b""
        if command == Command.RESET and not payload:
            return Status.OK, b""
        return Status.UNKNOWN_COMMAND, b""

    def _read(self, block: int) -> tuple[Status, bytes]:
        if not self.can_be_read:
            return Status.NOT_ALLOWED, b""
        if block >= self.blocks:
            return Status.NO_SUCH_BLOCK, b""
        self._power(Command.READ, block, lambda part: None)
        self.counters.reads += 1
        return Status.OK, bytes(self.flash[block * self.block_bytes : (block + 1) * self.block_bytes])

    def _erase(self, image_size_bytes: int) -> tuple[Status, bytes]:
        if image_size_bytes != len(self.flash) or self._strikes("wrong-size", Command.ERASE):
            return Status.WRONG_SIZE, b""
        self.counters.erases += 1
        self.mode = "recovery"

        def erase(begin: int, end: int) -> None:
            self.flash[begin:end] = bytes([ERASED]) * (end - begin)

        for block in range(self.blocks):
            self._power(Command.ERASE, block, erase)
        return Status.OK, b""

    def _write(self, block: int, data: bytes) -> tuple[Status, bytes]:
        if block >= self.blocks:
            return Status.NO_SUCH_BLOCK, b""
        if len(data) != self.block_bytes:
            return Status.WRONG_SIZE, b""
        self.counters.writes += 1
        self.mode = "recovery"
        self.programmed.add((block, hashlib.sha256(data).digest()))
        base = block * self.block_bytes

        def program(begin: int, end: int) -> None:
            old = int.from_bytes(self.flash[begin:end], "big")
            new = old & int.from_bytes(data[begin - base : end - base], "big")
            self.flash[begin:end] = new.to_bytes(end - begin, "big")

        self._power(Command.WRITE, block, program)
        if self._strikes("bad-cell", Command.WRITE, block):
            self.flash[base + 5] ^= 0x10
        return Status.OK, b""

    def _power(self, command: Command, block: int, work: Any) -> None:
        """Do the work on a block, or the part of it that the power lasts for."""
        begin, end = block * self.block_bytes, (block + 1) * self.block_bytes
        if self._strikes("power-before", command, block):
            raise _PowerLost
        if self._strikes("power-half", command, block):
            if command != Command.READ:
                work(begin, begin + self.block_bytes // 2)
            raise _PowerLost
        if command != Command.READ:
            work(begin, end)
        if self._strikes("power-after", command, block):
            raise _PowerLost

    def _strikes(self, kind: str, command: int, block: int | None = None) -> bool:
        return any(fault.strikes(kind, command, block) for fault in self.faults)

    # Line

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._unplugged.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self.address, timeout=1).close()
        self._thread.join(5)
        if self._listener is not None:
            self._listener.close()

    @property
    def address(self) -> tuple[str, int]:
        assert self._listener is not None
        host, port = self._listener.getsockname()
        return host, port

    def _serve(self) -> None:
        assert self._listener is not None
        while not self._unplugged.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line:
                line.settimeout(30)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    while self._serve_one(line):
                        pass
                except _PowerLost:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.start()
                except (LineLost, OSError):
                    pass

    def _serve_one(self, line: socket.socket) -> bool:
        """Answer one question; False closes the line. Raises LineLost, _PowerLost."""
        try:
            command, payload = receive(line)
            block = NUMBER.unpack(payload[: NUMBER.size])[0] if command in _OF_A_BLOCK and len(payload) >= NUMBER.size else None
            if self._strikes("damaged-question", command, block):
                raise FrameDamaged(command)
        except FrameDamaged as damage:
            line.sendall(pack(damage.command, bytes([Status.DAMAGED])))
            return True
        if self._strikes("cut-before", command, block):
            return False
        if self._strikes("hang-before", command, block):
            return _hang(line)
        if command not in _WORKS_ON_BLOCKS and self._strikes("power-before", command):
            raise _PowerLost
        status, data = self._answer(command, payload)
        if command not in _WORKS_ON_BLOCKS and self._strikes("power-after", command):
            raise _PowerLost
        if command == Command.RESET:
            self.start()
        if self._strikes("cut-after", command, block):
            return False
        if self._strikes("hang-after", command, block):
            return _hang(line)
        frame = bytearray(pack(command, bytes([status]) + data))
        if self._strikes("damaged-answer", command, block):
            frame[-5] ^= 0x04
        line.sendall(frame)
        return True


_OF_A_BLOCK = (Command.READ, Command.WRITE)
_WORKS_ON_BLOCKS = (Command.READ, Command.WRITE, Command.ERASE)


def _hang(line: socket.socket) -> bool:
    """Say nothing until the other side gives up."""
    while line.recv(65_536):
        pass
    return False


# What an image says of itself: lines of text, and checksums in its last 16 bytes.


def stated(image: bytes | bytearray, name: str) -> str | None:
    """`HWNO` or `CALID` of an image."""
    found = re.search(name.encode() + rb"=([0-9A-Z._/-]{4,32});", image)
    return found[1].decode() if found else None


def checksums_are_right(image: bytes | bytearray) -> bool:
    """Whether code and calibration have the sums, and their complements, that stand at the image's end."""
    size = len(image)
    parts = (image[: size * 5 // 8], image[size * 3 // 4 : size - 16])
    sums = [sum(struct.unpack(f">{len(part) // 4}I", part)) & 0xFFFFFFFF for part in parts]
    return struct.unpack(">4I", image[-16:]) == tuple(value for each in sums for value in (each, each ^ 0xFFFFFFFF))
