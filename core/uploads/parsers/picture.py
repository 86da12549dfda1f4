
"""Child process: read a picture, bound its pixels before decoding, and write it anew without metadata.

    picture.py <path> <promised content type> <longest side> <target>

Runs alone (`python -I`), imports nothing of ours and answers with one JSON object.
"""

import json
import resource
import sys

CPU_SECONDS, MEMORY_BYTES, FILE_BYTES = 20, 1024 * 1024 * 1024, 32 * 1024 * 1024
MAX_PIXELS, MAX_SIDE = 40_000_000, 12_000
TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}  # MPO: a phone's JPEG with a second one in it


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def refuse(code: str, detail: str) -> dict:
    return {"reasons": [{"code": code, "detail": detail}]}


def inspect(path: str, content_type: str, longest_side: int, target: str) -> dict:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # judged here, before anything is decoded
    seen = sniff(path)
    try:
        picture = Image.open(path, formats=["JPEG", "PNG", "WEBP"])
    except Exception:
        if seen != content_type:
            return refuse("type_mismatch", f"This is not {content_type}: it looks like {seen or 'something unknown'}.")
        return refuse("unreadable", "This picture can't be read.")
    with picture:
        actual = TYPES[picture.format or ""]
        if actual != content_type:
            return refuse("type_mismatch", f"This is {actual}, not {content_type}.")
        width, height = picture.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            return refuse(
                "too_many_pixels", f"A picture has at most 40 megapixels and {MAX_SIDE} pixels a side; this one is {width} × {height}."
            )
        try:
            picture.draft("RGB", (longest_side, longest_side))  # JPEG decodes at a smaller scale where it can
            picture.load()
            upright = turned(eight_bits(picture), ImageOps)
            has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            clean = upright.convert("RGBA" if has_alpha else "RGB")
        except Exception:
            return refuse("unreadable", "This picture is damaged or cut off.")
    clean.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    fresh = Image.new(clean.mode, clean.size)  # pixels only: no Exif, no profile, no comment, nothing appended
    fresh.paste(clean)
    fresh.save(target, "WEBP", quality=82, method=4)
    return {"reasons": [], "details": {"width": fresh.width, "height": fresh.height, "original_width": width, "original_height": height}}


def eight_bits(picture):
    """Greys of 16 or 32 bits scaled down; converting would cut them off, which is white."""
    return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L") if picture.mode.startswith("I") else picture


def turned(picture, ImageOps):
    """As its Exif orientation says, unless that is nonsense."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def sniff(path: str) -> str:
    """What the first bytes say the file is, for the refusal's sentence."""
    import puremagic

    try:
        return puremagic.magic_file(path)[0].mime_type
    except Exception:
        return ""


if __name__ == "__main__":
    try:
        import puremagic  # noqa: F401
        from PIL import Image  # noqa: F401

        limit()
    except Exception as error:
        sys.stderr.write(repr(error))
        sys.exit(70)
    json.dump(inspect(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]), sys.stdout)
