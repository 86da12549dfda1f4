"""X-ray: what one image changes in another, coarsely. It tells where and how much, never a byte.

Whoever reads a report must not be able to rebuild an image from it. So places are rounded to kilobytes, sizes to a few
classes, and of text and checksums there are only counts. Compared are decoded images of one size; nothing here imports
anything but the standard library, because it runs in the child process.
"""

import struct
import zlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from garage.ecu_images.report import ERROR, INFO, WARNING, Finding

CALM_BYTES = 16  # so many equal bytes end a region: two map cells side by side are one change
GRAIN_BYTES = 1024  # places are told this exactly
CELLS = 256  # of the picture
LOOKED_AT = 512  # regions whose surroundings are classified; a tune has a few dozen
LISTED = 64
MOST_REGIONS = 20_000  # what follows counts as one: such an image is another image, not a tune
MOST_CANDIDATES = 20_000
WINDOW_BYTES = 256
TEXT_BYTES = 8

TINY, SMALL, MEDIUM, LARGE = "tiny", "small", "medium", "large"
SIZE_CLASSES = ((8, TINY), (64, SMALL), (4096, MEDIUM))

MAPS, CODE, BLANK, TEXT, CHECKSUM, OTHER = "maps", "code", "blank", "text", "checksum", "other"
UNTOUCHED = "."
LETTERS = {MAPS: "m", CODE: "c", BLANK: "b", TEXT: "t", CHECKSUM: "k", OTHER: "o"}

PRINTABLE = frozenset(range(0x20, 0x7F))
LARGE_CHANGE = 0.25


@dataclass(frozen=True)
class Region:
    """One changed place, rounded: the kilobyte in which it begins, its size class, what it lies in."""

    kilobyte: int
    size: str
    kind: str


@dataclass(frozen=True)
class XRay:
    """What an image changes in a base image.

    `regions` is how many separate places; `share` of all bytes lies in them, with two digits. `sizes` and `kinds` count
    the regions; kinds beyond the first `LOOKED_AT` are not looked at and count as `other`. `checksums` says of words that
    look like checksums: `changed` (how many), `kept` (that stayed although something else changed), `broken` (no longer
    agree with their complement). `listed` are the largest regions, `picture` is one letter for each 1/256 of the image.
    """

    base_sha256: str
    size_bytes: int
    regions: int
    share: float
    sizes: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    listed: tuple[Region, ...] = ()
    picture: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"listed": [asdict(region) for region in self.listed]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "XRay":
        return cls(**data | {"listed": tuple(Region(**region) for region in data["listed"])})


def compare(base: bytes, image: bytes, *, base_sha256: str) -> XRay:
    """The X-ray of two images of the same size. Raises ValueError for different sizes: the difference has no meaning."""
    size = len(base)
    if size != len(image):
        raise ValueError("only images of the same size can be compared")
    regions = _regions(base, image)
    words = _checksum_words(base, image)
    kinds = _kinds_of(regions, base, image, words)
    changed = sum(end - start for start, end in regions)
    sizes = Counter(_size_class(end - start) for start, end in regions)
    largest = sorted(range(len(regions)), key=lambda at: (regions[at][0] - regions[at][1], at))[:LISTED]
    return XRay(
        base_sha256=base_sha256,
        size_bytes=size,
        regions=len(regions),
        share=_two_digits(changed / size) if size else 0.0,
        sizes=dict(sizes),
        kinds=dict(Counter(kinds)),
        checksums=dict(Counter(words.values())),
        listed=tuple(
            Region(regions[at][0] // GRAIN_BYTES, _size_class(regions[at][1] - regions[at][0]), kinds[at]) for at in sorted(largest)
        ),
        picture=_picture(regions, kinds, size),
    )


def judge(xray: XRay) -> list[Finding]:
    """What a tuner and a reviewer should notice in it. Only an image without any change is refused."""
    if not xray.regions:
        return [Finding("unchanged", ERROR, "This image is the stock image that it was compared with: nothing was changed.")]
    findings = [Finding("compared_with_stock", INFO, f"Against the stock image: {summary(xray)}")]
    if xray.share >= LARGE_CHANGE:
        findings.append(Finding("large_change", WARNING, "A large part of the image was changed: is it the right stock image?"))
    if xray.kinds.get(CODE):
        findings.append(Finding("code_changed", WARNING, "Bytes that look like program code were changed, not only maps."))
    if xray.checksums.get("broken"):
        findings.append(Finding("checksum_broken", WARNING, "A checksum in the image no longer agrees with its complement."))
    elif xray.checksums.get("kept") and not xray.checksums.get("changed"):
        findings.append(Finding("checksum_kept", WARNING, "Nothing that looks like a checksum was changed, although the data was."))
    return findings


def summary(xray: XRay) -> str:
    """What everybody may read: classes, no figures that tell one image from another."""
    if not xray.regions:
        return "Nothing was changed."
    parts = [f"{_many(xray.regions)} changed, {_portion(xray.share)} of the image"]
    where = [word for kind, word in ((MAPS, "maps"), (CODE, "program code"), (BLANK, "unused memory")) if xray.kinds.get(kind)]
    if where:
        parts.append(f"in {' and '.join(where)}")
    if xray.kinds.get(TEXT):
        parts.append("texts changed")
    if xray.checksums.get("changed"):
        parts.append("checksums adjusted")
    return "; ".join(parts) + "."


def _many(count: int) -> str:
    for most, words in ((1, "One place"), (5, "A few places"), (20, "Up to 20 places"), (100, "Up to 100 places")):
        if count <= most:
            return words
    return "More than 100 places"


def _portion(share: float) -> str:
    for most, words in ((0.01, "less than 1 %"), (0.05, "1 to 5 %"), (0.25, "5 to 25 %")):
        if share < most:
            return words
    return "more than 25 %"


def _two_digits(share: float) -> float:
    return float(f"{share:.2g}")


def _size_class(size: int) -> str:
    return next((name for most, name in SIZE_CLASSES if size <= most), LARGE)


def _regions(base: bytes, image: bytes) -> list[tuple[int, int]]:
    """Changed places in rising order: bytes that differ, joined over fewer than `CALM_BYTES` equal ones."""
    regions: list[tuple[int, int]] = []
    differs = (int.from_bytes(base, "big") ^ int.from_bytes(image, "big")).to_bytes(len(base), "big")
    calm, at = bytes(CALM_BYTES), 0
    for piece in differs.split(calm):
        filled = piece.lstrip(b"\0")
        if filled:
            start = at + len(piece) - len(filled)
            end = start + len(filled.rstrip(b"\0"))
            if len(regions) < MOST_REGIONS:
                regions.append((start, end))
            else:
                regions[-1] = regions[-1][0], end
        at += len(piece) + CALM_BYTES
    return regions


def _checksum_words(base: bytes, image: bytes) -> dict[int, str]:
    """Where 32-bit words look like checksums in the base, and what became of each: changed, kept or broken.

    Two signs: a word that is followed by its complement, and one that is the CRC-32 or the sum of all that stands before
    it at the end of the image. Words of erased or blank memory are none.
    """
    found: dict[int, str] = {}
    for at in _complement_pairs(base):
        pair = image[at : at + 8]
        if not _is_pair(pair):
            found[at] = "broken"
        else:
            found[at] = "changed" if pair != base[at : at + 8] else "kept"
    at = len(base) - 4
    if at > 0 and at not in found and at - 4 not in found and base[at:] in _sums(base[:at]):
        right = image[at:] in _sums(image[:at])
        found[at] = "broken" if not right else "changed" if image[at:] != base[at:] else "kept"
    return found


def _complement_pairs(image: bytes) -> list[int]:
    """Offsets of aligned words that are followed by their complement. By whole-image arithmetic: a loop would be slow."""
    size = len(image) - len(image) % 4
    if size < 8:
        return []
    # word[i] ^ word[i + 1] is all ones exactly for such pairs
    number = int.from_bytes(image[:size], "big")
    folded = (number ^ (number >> 32)) & ((1 << (8 * size - 32)) - 1)
    crossed = folded.to_bytes(size - 4, "big")
    ones, pairs, at = b"\xff\xff\xff\xff", [], -1
    for _ in range(MOST_CANDIDATES):
        at = crossed.find(ones, at + 1)
        if at < 0 or len(pairs) == LISTED:
            break
        if at % 4 == 0 and image[at : at + 4] not in (bytes(4), ones):
            pairs.append(at)
    return pairs


def _is_pair(pair: bytes) -> bool:
    return len(pair) == 8 and int.from_bytes(pair[:4], "big") ^ int.from_bytes(pair[4:], "big") == 0xFFFFFFFF


def _sums(part: bytes) -> set[bytes]:
    crc = zlib.crc32(part)
    whole = part[: len(part) - len(part) % 4]
    sums = [sum(struct.unpack(f"{order}{len(whole) // 4}I", whole)) & 0xFFFFFFFF for order in "<>"]
    return {value.to_bytes(4, order) for value in (crc, *sums) for order in ("big", "little")} - {bytes(4), b"\xff" * 4}


def _kinds_of(regions: list[tuple[int, int]], base: bytes, image: bytes, words: dict[int, str]) -> list[str]:
    checksums = {at // 16 for at in words}
    kinds = []
    for number, (start, end) in enumerate(regions):
        if number >= LOOKED_AT:
            kinds.append(OTHER)
        elif end - start <= 16 and {start // 16, (end - 1) // 16} & checksums:
            kinds.append(CHECKSUM)
        else:
            kinds.append(_surroundings(base, image, start, end))
    return kinds


def _surroundings(base: bytes, image: bytes, start: int, end: int) -> str:
    """What the bytes around a change look like: text, erased memory, maps, code."""
    if _is_text(base, start, end) and _is_text(image, start, end):
        return TEXT
    middle = (start + min(end, start + WINDOW_BYTES)) // 2
    low = max(0, min(middle - WINDOW_BYTES // 2, len(base) - WINDOW_BYTES)) & ~1
    window = base[low : low + WINDOW_BYTES]
    if max(window.count(0x00), window.count(0xFF)) >= 0.9 * len(window):
        return BLANK
    if _is_smooth(window):
        return MAPS
    return CODE if len(set(window)) >= 24 else OTHER


def _is_text(image: bytes, start: int, end: int) -> bool:
    """Letters, with the zeros that pad them, in a run of letters that is a word and not a chance."""
    if end - start > WINDOW_BYTES or not PRINTABLE.issuperset(image[start:end].rstrip(b"\0")):
        return False
    first, last = start, start
    while first > 0 and image[first - 1] in PRINTABLE and start - first < WINDOW_BYTES:
        first -= 1
    while last < len(image) and image[last] in PRINTABLE and last - start < WINDOW_BYTES:
        last += 1
    return last - first >= TEXT_BYTES


def _is_smooth(window: bytes) -> bool:
    """Maps hold neighbours that differ little, as words of either order or as bytes; code does not."""
    for order in ">", "<":
        if _calm_share(struct.unpack(f"{order}{len(window) // 2}H", window[: len(window) // 2 * 2]), 0x10000) >= 0.7:
            return True
    return _calm_share(window, 0x100) >= 0.8


def _calm_share(values: bytes | tuple[int, ...], values_end: int) -> float:
    """How many steps from one value to the next are below a fortieth of the whole range."""
    steps = list(pairwise(values))
    return sum(abs(left - right) * 40 < values_end for left, right in steps) / len(steps) if steps else 0.0


def _picture(regions: list[tuple[int, int]], kinds: list[str], size: int) -> str:
    """One letter for each 1/256 of the image: what was changed there, the most telling kind first."""
    cells = [UNTOUCHED] * CELLS
    order = {LETTERS[kind]: position for position, kind in enumerate((CODE, MAPS, TEXT, CHECKSUM, OTHER, BLANK))}
    for (start, end), kind in zip(regions, kinds, strict=True):
        for cell in range(start * CELLS // size, (end - 1) * CELLS // size + 1):
            letter = LETTERS[kind]
            if cells[cell] == UNTOUCHED or order[letter] < order[cells[cell]]:
                cells[cell] = letter
    return "".join(cells)
