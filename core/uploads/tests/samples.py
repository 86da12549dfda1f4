"""Files for the tests: good ones and hostile ones, all made here."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, TextStringObject

from core.uploads.inspection import Reason, Verdict


def picture(fmt: str = "JPEG", *, size: tuple[int, int] = (64, 48), **options) -> bytes:
    """A small gradient; `exif=` and the like go to the encoder."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def picture_with_position() -> bytes:
    """A JPEG that tells where it was taken, turned by its Exif orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return picture(exif=exif, size=(64, 48))


def png_bomb(*, side: int = 30_000) -> bytes:
    """A PNG of a few kilobytes that would decode to gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    header = struct.pack("!IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("payload.html", "<script>alert(1)</script>")
    return buffer.getvalue()


def pdf(*, pages: int = 1) -> bytes:
    return _written(_writer(pages))


def pdf_with_javascript() -> bytes:
    writer = _writer()
    writer._root_object[NameObject("/OpenAction")] = DictionaryObject(
        {NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("app.alert('hello');")}
    )
    return _written(writer)


def pdf_with_launch() -> bytes:
    writer = _writer()
    action = DictionaryObject({NameObject("/S"): NameObject("/Launch"), NameObject("/F"): TextStringObject("calc.exe")})
    writer._root_object[NameObject("/OpenAction")] = action
    return _written(writer)


def pdf_with_hidden_javascript() -> bytes:
    """JavaScript in an annotation of a page, in an indirect object."""
    writer = _writer()
    action = writer._add_object(
        DictionaryObject({NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("app.alert(1)")})
    )
    annotation = writer._add_object(DictionaryObject({NameObject("/Type"): NameObject("/Annot"), NameObject("/A"): action}))
    writer.pages[0][NameObject("/Annots")] = ArrayObject([annotation])
    return _written(writer)


def pdf_with_attachment() -> bytes:
    writer = _writer()
    writer.add_attachment("payload.zip", archive())
    return _written(writer)


def pdf_encrypted() -> bytes:
    writer = _writer()
    writer.encrypt("secret")
    return _written(writer)


def _writer(pages: int = 1) -> PdfWriter:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(width=200, height=200)
    return writer


def _written(writer: PdfWriter) -> bytes:
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def inspect_sample(path: Path, *, name: str, content_type: str) -> Verdict:
    """An inspector as an upper app registers one: it refuses what begins with BAD."""
    data = path.read_bytes()
    if data.startswith(b"BAD"):
        return Verdict(reasons=(Reason("no_ecu_image", "This is no image of an ECU."),), details={"findings": [1]})
    return Verdict(details={"hardware_number": "HW-1", "name": name, "content_type": content_type})
