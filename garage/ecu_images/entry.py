"""The door between uploads and the inspection: the one module of this package that knows the application."""

from pathlib import Path

from core.uploads.inspection import Reason, Verdict
from garage.ecu_images.child import run_inspection
from garage.ecu_images.report import ERROR


def inspect(path: Path, *, name: str, content_type: str) -> Verdict:
    """Inspect an uploaded TUNE_FILE or STOCK_FILE in a process of its own; `details` is the whole report.

    The declared content type says nothing about an ECU image and is not looked at.
    """
    report = run_inspection(path, name=name)
    reasons = tuple(Reason(finding.rule, finding.message) for finding in report.findings if finding.severity == ERROR)
    return Verdict(reasons=reasons, details=report.to_dict())
