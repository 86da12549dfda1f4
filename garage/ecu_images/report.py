"""What an inspection says: findings, what was detected, and the verdict that follows from them."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

INFO = "info"
WARNING = "warning"
ERROR = "error"

PASS = "pass"  # noqa: S105 (a verdict)
REFUSED = "refused"

BIN = "BIN"
INTEL_HEX = "INTEL_HEX"
S_RECORD = "S_RECORD"
UNKNOWN_FORMAT = "UNKNOWN"

FORMATS = (BIN, INTEL_HEX, S_RECORD)


@dataclass(frozen=True)
class Finding:
    """One thing that an inspection noticed. An `error` refuses the file; `offset` is a byte offset in the file as sent
    for text formats and for files that are no image, and in the decoded image otherwise."""

    rule: str
    severity: str
    message: str
    offset: int | None = None


@dataclass(frozen=True)
class Image:
    """The decoded bytes: where they start in the ECU's address space, how many, and their hash."""

    base: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Detected:
    """What the image states about itself, and where."""

    hardware_number: str | None = None
    hardware_number_offset: int | None = None
    calibration_id: str | None = None
    calibration_id_offset: int | None = None


@dataclass(frozen=True)
class Inspection:
    """The whole report on one file. Plain data: it travels as JSON out of the child process and into the database."""

    format: str
    size_bytes: int
    sha256: str
    image: Image | None = None
    detected: Detected = Detected()
    statistics: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> str:
        return REFUSED if any(finding.severity == ERROR for finding in self.findings) else PASS

    @property
    def passed(self) -> bool:
        return self.verdict == PASS

    def with_findings(self, *findings: Finding) -> "Inspection":
        return replace(self, findings=self.findings + findings)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings], "verdict": self.verdict}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Inspection":
        return cls(
            format=data["format"],
            size_bytes=data["size_bytes"],
            sha256=data["sha256"],
            image=Image(**data["image"]) if data.get("image") else None,
            detected=Detected(**data.get("detected", {})),
            statistics=data.get("statistics", {}),
            findings=tuple(Finding(**finding) for finding in data.get("findings", ())),
        )
