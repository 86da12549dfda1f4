"""Made-up ECU images that look like real ones, from a seed: for demo data, tests and benchmarks.

No byte of anybody's firmware is in here. An image has the parts that inspection and reviewers look for: a vector table,
an identification string, code-like words, erased memory, a calibration area with maps and their axes, and checksums.
A tuned image differs from its stock image in map values, in the calibration id and in the calibration checksum only.

Layout of an image of S bytes (big-endian; S is a multiple of 64 KiB):

    0x000000          vector table, 256 addresses into the code
    0x000400          "RSGEN1;HWNO=<hardware number>;" padded with zeros to 64 bytes
    0x001000          code, up to 5/8 S
    5/8 S .. 3/4 S    erased memory (0xFF)
    3/4 S             "CALID=<calibration id>;" padded with zeros to 64 bytes
    3/4 S + 64        number of maps (2 bytes), then the maps: columns, rows (2 bytes each), column axis and row axis
                      (2 bytes a step, rising), values (2 bytes each, row by row); the rest is erased memory
    S - 16            checksum of the code, its complement, checksum of the calibration area, its complement
"""

import random
import re
import struct
from dataclasses import dataclass

KIBIBYTE = 1024
DEFAULT_SIZE_BYTES = 1024 * KIBIBYTE
GRANULE_BYTES = 64 * KIBIBYTE

HARDWARE_LINE_OFFSET = 0x400
LINE_BYTES = 64
CODE_OFFSET = 0x1000
CHECKSUM_BYTES = 16

STATED_VALUE = re.compile(r"[0-9A-Z][0-9A-Z._/-]{3,31}")

MAP_SHAPES = ((16, 16), (16, 12), (20, 16), (12, 12), (16, 8), (10, 10), (16, 1), (24, 18))


@dataclass(frozen=True)
class MapRegion:
    """One map of an image: where its values lie, and its shape."""

    values_offset: int
    columns: int
    rows: int

    @property
    def values_bytes(self) -> int:
        return 2 * self.columns * self.rows


@dataclass(frozen=True)
class ImageLayout:
    """The offsets at which a generated image of a given size states things."""

    size_bytes: int
    hardware_number_offset: int
    calibration_offset: int
    calibration_id_offset: int
    checksum_offset: int
    maps: tuple[MapRegion, ...]


def make_stock(*, seed: int | str, hardware_number: str, calibration_id: str, size: int = DEFAULT_SIZE_BYTES) -> bytes:
    """An original image: the same arguments always give the same bytes. `size` is in bytes, a multiple of 64 KiB up to 4 MiB.

    Raises ValueError for a size or for a number that no image could state.
    """
    if size % GRANULE_BYTES or not GRANULE_BYTES <= size <= 4096 * KIBIBYTE:
        raise ValueError("the size must be a multiple of 64 KiB up to 4 MiB")
    chance = random.Random(f"stock|{seed}|{hardware_number}|{calibration_id}|{size}")  # noqa: S311 (made-up images, no secret)
    image = bytearray(b"\xff" * size)
    code_end = size * 5 // 8
    image[CODE_OFFSET:code_end] = _code(chance, code_end - CODE_OFFSET)
    image[:HARDWARE_LINE_OFFSET] = struct.pack(">256I", *(chance.randrange(CODE_OFFSET, code_end, 4) for _ in range(256)))
    _write_line(image, HARDWARE_LINE_OFFSET, f"RSGEN1;HWNO={_stated(hardware_number)};")
    calibration_offset = size * 3 // 4
    _write_line(image, calibration_offset, f"CALID={_stated(calibration_id)};")
    _write_maps(image, calibration_offset + LINE_BYTES, chance)
    _write_checksums(image)
    return bytes(image)


def make_tuned(stock: bytes, *, seed: int | str, calibration_id: str | None = None, maps: int = 4, percent: int = 6) -> bytes:
    """A tuned image of a generated stock image: `maps` of its maps changed by up to `percent` in their upper half, where
    load and speed are high, the calibration id replaced (when one is given) and the calibration checksum set right."""
    layout = layout_of(stock)
    chance = random.Random(f"tuned|{seed}")  # noqa: S311 (made-up images, no secret)
    image = bytearray(stock)
    for region in chance.sample(layout.maps, min(maps, len(layout.maps))):
        strength = chance.uniform(0.4, 1.0) * percent / 100
        for row in range(region.rows):
            for column in range(region.columns):
                high = (row + 1) / region.rows * (column + 1) / region.columns
                if high < 0.25:
                    continue
                at = region.values_offset + 2 * (row * region.columns + column)
                value = int.from_bytes(image[at : at + 2], "big")
                changed = min(0xFFFF, value + max(1, round(value * strength * high)))
                image[at : at + 2] = changed.to_bytes(2, "big")
    if calibration_id is not None:
        _write_line(image, layout.calibration_offset, f"CALID={_stated(calibration_id)};")
    _write_checksums(image)
    return bytes(image)


def layout_of(image: bytes) -> ImageLayout:
    """Where a generated image has its parts. Raises ValueError for an image that is not of this generator."""
    if image[HARDWARE_LINE_OFFSET : HARDWARE_LINE_OFFSET + 12] != b"RSGEN1;HWNO=":
        raise ValueError("this image was not made by this generator")
    size = len(image)
    calibration_offset = size * 3 // 4
    at = calibration_offset + LINE_BYTES
    (count,) = struct.unpack_from(">H", image, at)
    at += 2
    maps = []
    for _ in range(count):
        columns, rows = struct.unpack_from(">HH", image, at)
        values_offset = at + 4 + 2 * (columns + rows)
        maps.append(MapRegion(values_offset, columns, rows))
        at = values_offset + 2 * columns * rows
    return ImageLayout(
        size_bytes=size,
        hardware_number_offset=HARDWARE_LINE_OFFSET + len("RSGEN1;HWNO="),
        calibration_offset=calibration_offset,
        calibration_id_offset=calibration_offset + len("CALID="),
        checksum_offset=size - CHECKSUM_BYTES,
        maps=tuple(maps),
    )


def checksums_are_right(image: bytes) -> bool:
    """Whether a generated image carries the checksums of its own content."""
    copy = bytearray(image)
    _write_checksums(copy)
    return bytes(copy) == image


def to_intel_hex(image: bytes, *, base: int = 0, record_bytes: int = 32) -> bytes:
    """The image as Intel HEX text with linear addresses."""
    lines = []
    upper = -1
    at = 0
    while at < len(image):
        address = base + at
        if address >> 16 != upper:
            upper = address >> 16
            lines.append(_hex_record(4, 0, upper.to_bytes(2, "big")))
        step = min(record_bytes, 0x10000 - (address & 0xFFFF))
        lines.append(_hex_record(0, address & 0xFFFF, image[at : at + step]))
        at += step
    lines.append(_hex_record(1, 0, b""))
    return b"\n".join(lines) + b"\n"


def to_srecord(image: bytes, *, base: int = 0, record_bytes: int = 32, header: bytes = b"revsync") -> bytes:
    """The image as S-record text with 32-bit addresses."""
    lines = [_s_record(b"0", b"\x00\x00", header)]
    lines += [_s_record(b"3", (base + at).to_bytes(4, "big"), image[at : at + record_bytes]) for at in range(0, len(image), record_bytes)]
    lines.append(_s_record(b"7", base.to_bytes(4, "big"), b""))
    return b"\n".join(lines) + b"\n"


def _stated(value: str) -> str:
    if not STATED_VALUE.fullmatch(value):
        raise ValueError(f"an image can't state {value!r}: 4 to 32 characters of A-Z, 0-9, dot, dash, slash, underscore")
    return value


def _write_line(image: bytearray, offset: int, text: str) -> None:
    image[offset : offset + LINE_BYTES] = text.encode("ascii").ljust(LINE_BYTES, b"\x00")


def _code(chance: random.Random, size: int) -> bytes:
    """Words of a made-up instruction set: few operations, registers used unevenly, small constants."""
    operations = [chance.randrange(256) for _ in range(40)]
    vocabulary = [
        bytes(
            (
                chance.choice(operations),
                chance.randrange(32) * 8,
                chance.choice((0, 0, 0, 1, 0xFF, chance.randrange(256))),
                chance.randrange(0, 256, 4),
            )
        )
        for _ in range(3000)
    ]
    weights = [1 / (rank + 8) for rank in range(len(vocabulary))]
    return b"".join(chance.choices(vocabulary, weights, k=size // 4))


def _write_maps(image: bytearray, offset: int, chance: random.Random) -> None:
    limit = len(image) - CHECKSUM_BYTES - 64
    at = offset + 2
    count = 0
    for _ in range(min(120, len(image) // (8 * KIBIBYTE))):
        columns, rows = chance.choice(MAP_SHAPES)
        size = 4 + 2 * (columns + rows) + 2 * columns * rows
        if at + size > limit:
            break
        speeds = _axis(chance, columns, 800, 900)
        loads = _axis(chance, rows, 10, 60)
        base, slope, bend = chance.randrange(200, 4000), chance.uniform(2, 40), chance.uniform(-8, 8)
        values = [
            max(
                0,
                min(
                    0xFFFF,
                    round(base + slope * (row + column) + bend * (row - rows / 2) ** 2 / rows * (column + 1) + chance.uniform(-2, 2)),
                ),
            )
            for row in range(rows)
            for column in range(columns)
        ]
        struct.pack_into(f">{2 + columns + rows + len(values)}H", image, at, columns, rows, *speeds, *loads, *values)
        at += size
        count += 1
    struct.pack_into(">H", image, offset, count)


def _axis(chance: random.Random, steps: int, start: int, widest: int) -> list[int]:
    axis = [start]
    for _ in range(steps - 1):
        axis.append(min(0xFFFF, axis[-1] + chance.randrange(max(1, widest // 3), widest)))
    return axis


def _write_checksums(image: bytearray) -> None:
    size = len(image)
    code = _checksum(image[: size * 5 // 8])
    calibration = _checksum(image[size * 3 // 4 : size - CHECKSUM_BYTES])
    struct.pack_into(">4I", image, size - CHECKSUM_BYTES, code, code ^ 0xFFFFFFFF, calibration, calibration ^ 0xFFFFFFFF)


def _checksum(part: bytes | bytearray) -> int:
    part = bytes(part) + b"\x00" * (-len(part) % 4)
    return sum(struct.unpack(f">{len(part) // 4}I", part)) & 0xFFFFFFFF


def _hex_record(kind: int, address: int, data: bytes) -> bytes:
    body = bytes((len(data), address >> 8, address & 0xFF, kind)) + data
    return b":" + (body + bytes((-sum(body) & 0xFF,))).hex().upper().encode()


def _s_record(kind: bytes, address: bytes, data: bytes) -> bytes:
    body = bytes((len(address) + len(data) + 1,)) + address + data
    return b"S" + kind + (body + bytes((~sum(body) & 0xFF,))).hex().upper().encode()
