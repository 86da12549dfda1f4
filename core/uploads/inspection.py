"""From received bytes to a verdict: the right parser for the purpose, run where a hostile file can do no harm.

Pictures and documents are read here. What only an upper app understands (ECU images) is read by the inspector that the
app registers when it is ready:

    inspection.register("TUNE_FILE", "garage.ecu_images.entry:inspect")

    def inspect(path: Path, *, name: str, content_type: str) -> Verdict
"""

import hashlib
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from core.uploads import sandbox
from core.uploads.enums import UploadPurpose
from core.uploads.rules import PICTURES, RULES


@dataclass(frozen=True)
class Reason:
    """Why a file is refused: a stable code and a sentence for the person."""

    code: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What an inspector found. No reasons: the file is good.

    `details` are kept with the upload. `replacement` is a file to store instead of the received one (a picture without
    its metadata), with its type.
    """

    reasons: tuple[Reason, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    replacement: Path | None = None
    replacement_type: str = ""


_inspectors: dict[str, str] = {}


def register(purpose: str, inspector: str) -> None:
    """Name the inspector ("module.path:function") of a purpose; the last one registered is asked."""
    if RULES[UploadPurpose(purpose)].parser != "registered":
        raise ValueError(f"{purpose} is inspected by core.")
    _inspectors[purpose] = inspector


def inspect(path: Path, *, purpose: str, name: str, content_type: str) -> Verdict:
    """Parse the file for its purpose. `path`'s directory is the caller's scratch and may receive a replacement.

    Raises: LookupError when nobody registered an inspector; whatever a registered inspector raises.
    """
    rule = RULES[UploadPurpose(purpose)]
    if rule.parser == "registered":
        module, _, function = _inspectors[purpose].partition(":")
        return getattr(import_module(module), function)(path, name=name, content_type=content_type)
    if content_type in PICTURES:
        return _inspect_picture(path, content_type=content_type, longest_side=rule.longest_side)
    return _inspect_document(path)


def _verdict(answer: sandbox.Answer) -> Verdict:
    if answer.failure:
        return Verdict(reasons=(Reason("unreadable", answer.failure),))
    return Verdict(reasons=tuple(Reason(**reason) for reason in answer.result["reasons"]), details=answer.result.get("details", {}))


def _inspect_picture(path: Path, *, content_type: str, longest_side: int) -> Verdict:
    replacement = path.with_name("picture.webp")
    verdict = _verdict(sandbox.run("picture", str(path), content_type, str(longest_side), str(replacement)))
    if verdict.reasons:
        return verdict
    return Verdict(details=verdict.details, replacement=replacement, replacement_type="image/webp")


def _inspect_document(path: Path) -> Verdict:
    return _verdict(sandbox.run("document", str(path)))


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a local file."""
    digest, total = hashlib.sha256(), 0
    with path.open("rb") as file:
        for chunk in iter(partial(file.read, 256 * 1024), b""):
            digest.update(chunk)
            total += len(chunk)
    return digest.hexdigest(), total
