
"""Child process: read a PDF and refuse what could do something when a person opens it.

    document.py <path>

Runs alone (`python -I`), imports nothing of ours and answers with one JSON object. The bytes stay as they are, so
everything that is not plain PDF from the first to the last byte is refused.
"""

import json
import resource
import sys

CPU_SECONDS, MEMORY_BYTES = 20, 1024 * 1024 * 1024
MAX_OBJECTS, MAX_PAGES, MAX_TRAILING_BYTES = 50_000, 300, 1024
ACTIVE = {
    "/JavaScript": ("pdf_javascript", "This PDF contains JavaScript."),
    "/JS": ("pdf_javascript", "This PDF contains JavaScript."),
    "/Launch": ("pdf_launch_action", "This PDF starts a program when it is opened."),
    "/ImportData": ("pdf_launch_action", "This PDF loads data when it is opened."),
    "/SubmitForm": ("pdf_submit_action", "This PDF sends form data somewhere."),
    "/EmbeddedFile": ("pdf_embedded_file", "This PDF contains another file."),
    "/EmbeddedFiles": ("pdf_embedded_file", "This PDF contains another file."),
    "/GoToE": ("pdf_embedded_file", "This PDF contains another file."),
    "/GoToR": ("pdf_launch_action", "This PDF opens another file."),
    "/RichMedia": ("pdf_rich_media", "This PDF contains a media player."),
    "/Rendition": ("pdf_rich_media", "This PDF contains a media player."),
    "/Movie": ("pdf_rich_media", "This PDF contains a media player."),
    "/Sound": ("pdf_rich_media", "This PDF contains a media player."),
    "/3D": ("pdf_rich_media", "This PDF contains a media player."),
    "/XFA": ("pdf_active_form", "This PDF contains an active form."),
}
# Long enough never to stand in compressed bytes by chance: looked for in the raw file too, where an older revision of an object,
# which this reader passes over, might still be read by another.
RAW = [name for name in ACTIVE if len(name) >= 7]


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def refuse(code: str, detail: str) -> dict:
    return {"reasons": [{"code": code, "detail": detail}]}


def inspect(path: str) -> dict:
    import puremagic
    from pypdf import PdfReader

    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(b"%PDF-"):
        try:
            seen = puremagic.magic_string(data[:4096])[0].mime_type
        except Exception:
            seen = ""
        return refuse("type_mismatch", f"This is not a PDF: it looks like {seen or 'something unknown'}.")
    end = data.rfind(b"%%EOF")
    if end < 0:
        return refuse("unreadable", "This PDF is cut off: its end is missing.")
    if len(data[end + 5 :].strip(b"\r\n\0 ")) > 0 and len(data) - end - 5 > MAX_TRAILING_BYTES:
        return refuse("pdf_trailing_data", "Something else is appended to this PDF.")
    try:
        reader = PdfReader(path, strict=False)
        if reader.is_encrypted:
            return refuse("pdf_encrypted", "This PDF is encrypted, so nobody can check it. Send it without a password.")
        pages = len(reader.pages)
        found = walk(reader)
    except RecursionError:
        return refuse("unreadable", "This PDF is nested too deep.")
    except Exception:
        return refuse("unreadable", "This PDF can't be read: it is damaged.")
    found |= {ACTIVE[name] for name in RAW if name.encode() in data}
    if pages == 0:
        return refuse("unreadable", "This PDF has no page.")
    if pages > MAX_PAGES:
        return refuse("too_many_pages", f"A document has at most {MAX_PAGES} pages; this one has {pages}.")
    if found:
        return {"reasons": [{"code": code, "detail": detail} for code, detail in sorted(found)]}
    return {"reasons": [], "details": {"pages": pages}}


def walk(reader) -> set[tuple[str, str]]:
    """Look at every name in every object of the file, reachable or not, inside object streams too."""
    from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject, NameObject

    references = [(number, generation) for generation, numbers in reader.xref.items() for number in numbers]
    references += [(number, 0) for number in reader.xref_objStm]
    if len(references) > MAX_OBJECTS:
        raise ValueError("too many objects")
    found: set[tuple[str, str]] = set()
    stack = [reader.trailer]
    seen = 0
    for number, generation in references:
        if number:
            stack.append(reader.get_object(IndirectObject(number, generation, reader)))
    while stack:
        value = stack.pop()
        seen += 1
        if seen > MAX_OBJECTS * 40:
            raise ValueError("too many values")
        if isinstance(value, NameObject) and value in ACTIVE:
            found.add(ACTIVE[value])
        elif isinstance(value, DictionaryObject):
            for key in value:
                if key in ACTIVE:
                    found.add(ACTIVE[key])
            stack.extend(item for item in (dict.__getitem__(value, key) for key in value) if not isinstance(item, IndirectObject))
        elif isinstance(value, ArrayObject):
            stack.extend(item for item in list.__iter__(value) if not isinstance(item, IndirectObject))
    return found


if __name__ == "__main__":
    try:
        import logging

        import puremagic  # noqa: F401
        import pypdf  # noqa: F401

        logging.disable(logging.CRITICAL)
        limit()
    except Exception as error:
        sys.stderr.write(repr(error))
        sys.exit(70)
    json.dump(inspect(sys.argv[1]), sys.stdout)
