"""The scan of Intel HEX and S-record files that comes before any decoder sees them.

It reads line by line without keeping the lines, checks shape, length field and checksum of every record, and knows
span, fragments and overlaps at the end. A decoder that is given a 512 MB gap allocates it, and one that is given
40,000 fragments needs minutes: so both are refused here, at the price of one pass.
"""

import io
from binascii import Error as HexError
from binascii import unhexlify
from dataclasses import dataclass, field

from garage.ecu_images import limits
from garage.ecu_images.report import ERROR, Finding


@dataclass(frozen=True)
class Layout:
    """Where the data of a scanned file lies. `end` is exclusive."""

    base: int
    end: int
    data_bytes: int
    fragments: int
    pieces: tuple[tuple[int, bytes | bytearray], ...] = field(default=(), repr=False, compare=False)

    def image(self, gap: bytes) -> bytes:
        """The bytes as this scan read them, with `gap` between the pieces."""
        image = bytearray(gap * self.span_bytes)
        for start, data in self.pieces:
            image[start - self.base : start - self.base + len(data)] = data
        return bytes(image)

    @property
    def span_bytes(self) -> int:
        return self.end - self.base


class RecordRefused(Exception):
    """The scan stopped: the finding says where and why."""

    def __init__(self, rule: str, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.finding = Finding(rule, ERROR, message, offset)


class _Runs:
    """Address ranges in file order, merged while they follow each other."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.ranges: list[list[int]] = []
        self.data: dict[int, bytearray] = {}  # by the number of its range
        self.data_bytes = 0
        self.lowest: int | None = None
        self.highest = 0
        self._last: list[int] = [-1, -1, -1]

    def add(self, start: int, data: bytes, offset: int) -> None:
        end = start + len(data)
        self.data_bytes += len(data)
        if start == self._last[1]:
            self._last[1] = end
        else:
            if len(self.ranges) >= limits.MAX_FRAGMENTS:
                raise RecordRefused(
                    "too_many_fragments", f"The data is scattered over more than {limits.MAX_FRAGMENTS} separate pieces.", offset
                )
            self._last = [start, end, len(self.ranges)]
            self.data[self._last[2]] = bytearray()
            self.ranges.append(self._last)
        if self.keep:
            self.data[self._last[2]] += data
        if self.lowest is None or start < self.lowest:
            self.lowest = start
        self.highest = max(self.highest, end)
        if self.highest - self.lowest > limits.MAX_IMAGE_BYTES:
            raise RecordRefused(
                "span_too_large",
                f"The records span {self.highest - self.lowest:,} bytes of addresses; at most {limits.MAX_IMAGE_BYTES:,} are possible.",
                offset,
            )

    def layout(self) -> Layout:
        if self.lowest is None:
            raise RecordRefused("no_data", "The file has no data record.")
        self.ranges.sort()
        fragments, reached = 0, None
        for start, end, _ in self.ranges:
            if reached is not None and start < reached:
                raise RecordRefused("records_overlap", f"Two records write the same address ({start:#x}), so the image is not certain.")
            if start != reached:
                fragments += 1
            reached = end
        pieces = tuple((start, self.data[number]) for start, _, number in self.ranges) if self.keep else ()
        return Layout(base=self.lowest, end=self.highest, data_bytes=self.data_bytes, fragments=fragments, pieces=pieces)


def _lines(text: bytes):
    """(offset, record without its line end) of each line that is not blank; refuses over-long ones before reading them."""
    if text.count(b"\n") > limits.MAX_LINES:
        raise RecordRefused("too_many_records", f"The file has more than {limits.MAX_LINES:,} lines.")
    stream = io.BytesIO(text)
    longest = limits.MAX_LINE_BYTES
    offset = 0
    while line := stream.readline(longest + 1):
        if len(line) > longest:
            raise RecordRefused("line_too_long", f"A line is longer than any record can be ({longest} characters).", offset)
        record = line.strip()
        if record:
            yield offset, record
        offset += len(line)


def scan_intel_hex(text: bytes, *, keep: bool = False) -> Layout:
    """Check every record of an Intel HEX file; raise RecordRefused at the first one that is not right. `keep` for `image`."""
    runs = _Runs(keep=keep)
    base = 0
    modes: set[int] = set()
    ended = False
    for offset, record in _lines(text):
        if ended:
            raise RecordRefused("data_after_end", "There is something after the end record.", offset)
        if record[0] != 0x3A:
            raise RecordRefused("record_malformed", "A line does not start with a colon.", offset)
        try:
            value = unhexlify(record[1:])
        except HexError:
            raise RecordRefused("record_malformed", "A record has characters that are not hexadecimal, or one too few.", offset) from None
        if len(value) < 5 or value[0] != len(value) - 5:
            raise RecordRefused("record_length", "A record is not as long as it says.", offset)
        if sum(value) & 0xFF:
            raise RecordRefused("record_checksum", "The checksum of a record is wrong: the file is damaged.", offset)
        kind = value[3]
        if kind == 0:
            if value[0]:
                runs.add(base + (value[1] << 8 | value[2]), value[4:-1], offset)
        elif kind == 1:
            if value[0]:
                raise RecordRefused("record_malformed", "The end record carries data.", offset)
            ended = True
        elif kind in (2, 4):
            if value[0] != 2:
                raise RecordRefused("record_length", "An address record must carry two bytes.", offset)
            modes.add(kind)
            if len(modes) > 1:
                raise RecordRefused("mixed_addressing", "The file mixes segment and linear addresses, so the image is not certain.", offset)
            base = (value[4] << 8 | value[5]) << (4 if kind == 2 else 16)
        elif kind in (3, 5):
            if value[0] != 4:
                raise RecordRefused("record_length", "A start address record must carry four bytes.", offset)
        else:
            raise RecordRefused("record_malformed", f"Record type {kind:02X} does not exist in Intel HEX.", offset)
    if not ended:
        raise RecordRefused("truncated", "The end record is missing: the file is cut off.", len(text))
    return runs.layout()


ADDRESS_BYTES = {0x30: 2, 0x31: 2, 0x32: 3, 0x33: 4, 0x35: 2, 0x36: 3, 0x37: 4, 0x38: 3, 0x39: 2}  # by the digit's byte
DATA_KINDS = frozenset(b"123")
COUNT_KINDS = frozenset(b"56")
END_KINDS = frozenset(b"789")


def scan_s_record(text: bytes, *, keep: bool = False) -> Layout:
    """Check every record of an S-record file; raise RecordRefused at the first one that is not right. `keep` for `image`."""
    runs = _Runs(keep=keep)
    records = 0
    ended = False
    for offset, record in _lines(text):
        if ended:
            raise RecordRefused("data_after_end", "There is something after the end record.", offset)
        width = ADDRESS_BYTES.get(record[1]) if len(record) > 1 and record[0] == 0x53 else None
        if width is None:
            raise RecordRefused("record_malformed", "A line is no S-record.", offset)
        try:
            value = unhexlify(record[2:])
        except HexError:
            raise RecordRefused("record_malformed", "A record has characters that are not hexadecimal, or one too few.", offset) from None
        if len(value) < width + 2 or value[0] != len(value) - 1:
            raise RecordRefused("record_length", "A record is not as long as it says.", offset)
        if sum(value) & 0xFF != 0xFF:
            raise RecordRefused("record_checksum", "The checksum of a record is wrong: the file is damaged.", offset)
        kind = record[1]
        address = int.from_bytes(value[1 : 1 + width], "big")
        if kind in DATA_KINDS:
            records += 1
            if data := value[1 + width : -1]:
                runs.add(address, data, offset)
        elif kind in COUNT_KINDS:
            if address != records & (0xFFFF if width == 2 else 0xFFFFFF):
                raise RecordRefused("record_count", f"The file says that it has {address} data records, but has {records}.", offset)
        elif kind in END_KINDS:
            ended = True
    if not ended:
        raise RecordRefused("truncated", "The end record is missing: the file is cut off.", len(text))
    return runs.layout()
