"""What a file is, by its content first and by its name second.

A tune must be an image. Everything that tuners have lying beside images (definition and project files, archives,
setup programs, papers) is recognised and named, so that the refusal says what was sent instead of "invalid file".
"""

import re
from pathlib import PurePath

from garage.ecu_images.report import BIN, INTEL_HEX, S_RECORD

HEX_RECORD = re.compile(rb"\s*:[0-9A-Fa-f]{10}")
S_RECORD_START = re.compile(rb"\s*S[0-9][0-9A-Fa-f]{8}")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# (offset, bytes, what it is)
MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"\x1f\x8b\x08", "a gzip archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 archive"),
    (0, b"MSCF\x00\x00\x00\x00", "a Windows cabinet archive"),
    (0, b"!<arch>\n", "a code library archive"),
    (0, b"\xed\xab\xee\xdb", "a software package"),
    (257, b"ustar", "a tar archive"),
    (32769, b"CD001", "a disc image"),
    (0, b"\x7fELF", "a Linux program (ELF)"),
    (0, b"\xfe\xed\xfa\xce", "a macOS program"),
    (0, b"\xfe\xed\xfa\xcf", "a macOS program"),
    (0, b"\xce\xfa\xed\xfe", "a macOS program"),
    (0, b"\xcf\xfa\xed\xfe", "a macOS program"),
    (0, b"\xca\xfe\xba\xbe", "a Java class or a macOS program"),
    (0, b"dex\n03", "an Android program"),
    (0, b"\x00asm\x01\x00\x00\x00", "a WebAssembly program"),
    (0, b"#!", "a script"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"{\\rtf", "a rich text document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document or an installer"),
    (0, b"SQLite format 3\x00", "a database"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff\xe0", "a JPEG picture"),
    (0, b"\xff\xd8\xff\xe1", "a JPEG picture"),
    (0, b"\xff\xd8\xff\xdb", "a JPEG picture"),
    (0, b"GIF87a", "a GIF picture"),
    (0, b"GIF89a", "a GIF picture"),
    (0, b"II*\x00", "a TIFF picture"),
    (0, b"MM\x00*", "a TIFF picture"),
    (4, b"ftyp", "a video or a HEIC picture"),
    (0, b"OggS\x00", "an audio file"),
    (0, b"ID3\x03", "an audio file"),
    (0, b"ID3\x04", "an audio file"),
)

# Content of definition and project files: anywhere in the first bytes.
DEFINITION_CONTENT: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"WinOLS File"), "a WinOLS project or map pack (.ols, .kp): it describes maps and can't be flashed"),
    (re.compile(rb"<\s*XDFFORMAT", re.IGNORECASE), "a TunerPro definition (.xdf): it describes maps and can't be flashed"),
    (re.compile(rb"ASAP2_VERSION|A2ML_VERSION|/begin\s+PROJECT"), "an ASAP2 description (.a2l): it describes maps and can't be flashed"),
    (re.compile(rb"<\s*roms?\s*>|<\s*rom\s+base", re.IGNORECASE), "an XML map definition: it describes maps and can't be flashed"),
    (re.compile(rb"<\s*ODX[\s>]|<\s*ASAM-ODX", re.IGNORECASE), "an ODX container: extract the flash image from it first"),
)

NAMED_DEFINITIONS = {
    ".xdf": "a TunerPro definition (.xdf): it describes maps and can't be flashed",
    ".adx": "a TunerPro data definition (.adx): it describes live data and can't be flashed",
    ".a2l": "an ASAP2 description (.a2l): it describes maps and can't be flashed",
    ".aml": "an ASAP2 description part (.aml): it can't be flashed",
    ".kp": "a WinOLS map pack (.kp): it describes maps and can't be flashed",
    ".ols": "a WinOLS project (.ols): export the image from it as .bin, Intel HEX or S-record",
    ".olsx": "a WinOLS project (.olsx): export the image from it as .bin, Intel HEX or S-record",
    ".dam": "a DAMOS description (.dam): it describes maps and can't be flashed",
    ".drt": "an ECM driver (.drt): it describes maps and can't be flashed",
    ".odx": "an ODX container (.odx): extract the flash image from it first",
}

NAMED_OTHERS = {
    ".zip": "a ZIP archive",
    ".rar": "a RAR archive",
    ".7z": "a 7-Zip archive",
    ".gz": "a gzip archive",
    ".tar": "a tar archive",
    ".exe": "a Windows program",
    ".dll": "a Windows program library",
    ".msi": "a Windows installer",
    ".apk": "an Android program",
    ".jar": "a Java program",
    ".elf": "a program with symbols (.elf): export the image from it as .bin, Intel HEX or S-record",
    ".pdf": "a PDF document",
    ".png": "a PNG picture",
    ".jpg": "a JPEG picture",
    ".jpeg": "a JPEG picture",
    ".csv": "a table",
    ".txt": "a text",
}

HEAD_BYTES = 64 * 1024
PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n\f"


def find_non_image(head: bytes, *, name: str = "") -> str | None:
    """What the file is when it is certainly no image, as the end of a sentence ("a ZIP archive"); else None.

    `head` is its first 64 KiB. Content decides; the name only when content says nothing.
    """
    if head[:2] == b"MZ" and _is_windows_program(head):
        return "a Windows program"
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return "a picture, sound or video"
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "a bzip2 archive"
    for offset, magic, what in MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return what
    start = head.removeprefix(BYTE_ORDER_MARK)[:4096]
    for pattern, what in DEFINITION_CONTENT:
        if pattern.search(start):
            return what
    suffix = PurePath(name).suffix.lower()
    if suffix in NAMED_DEFINITIONS:
        return NAMED_DEFINITIONS[suffix]
    if _is_record_text(head):
        return None
    if suffix in NAMED_OTHERS:
        return NAMED_OTHERS[suffix]
    return _find_text(head)


def detect_format(head: bytes) -> str:
    """BIN, INTEL_HEX or S_RECORD, by content alone: a name never makes a file into another one."""
    text = head.removeprefix(BYTE_ORDER_MARK)
    if HEX_RECORD.match(text):
        return INTEL_HEX
    if S_RECORD_START.match(text):
        return S_RECORD
    return BIN


def _is_record_text(head: bytes) -> bool:
    return detect_format(head) != BIN


def _is_windows_program(head: bytes) -> bool:
    """An image may well start with the letters MZ; a program also has its second header where the first one says."""
    at = int.from_bytes(head[0x3C:0x40], "little")
    return head[at : at + 4] == b"PE\x00\x00" or head[at : at + 2] in (b"NE", b"LE", b"LX") or b"cannot be run in DOS mode" in head[:512]


def _find_text(head: bytes) -> str | None:
    """Images are binary; a file whose whole start is printable is a text of some kind."""
    if not head or head.translate(None, PRINTABLE):
        return None
    start = head.removeprefix(BYTE_ORDER_MARK).lstrip()[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if start.startswith(b"<"):
        return "an XML file"
    if start.startswith((b"{", b"[")):
        return "a JSON file"
    if start.startswith((b":", b"s0", b"s1", b"s2", b"s3")):
        return "a text that starts like Intel HEX or S-record, but its first line is no record"
    return "a text file"
