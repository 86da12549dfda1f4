"""ECU images: what a file is, whether it really decodes, what it says about itself.

The inspection of a file that a stranger sent runs in a child process with hard limits (`garage.ecu_images.child`),
which must start in a few milliseconds and must never hold the application: so nothing here imports Django, except
`garage.ecu_images.entry`, the application's door, which no other module of the package imports.
"""

from garage.ecu_images.child import run_inspection, run_xray
from garage.ecu_images.inspection import compare_claims, decoded_image, inspect_bytes
from garage.ecu_images.report import Detected, Finding, Image, Inspection
from garage.ecu_images.xray import XRay

__all__ = [
    "Detected",
    "Finding",
    "Image",
    "Inspection",
    "XRay",
    "compare_claims",
    "decoded_image",
    "inspect_bytes",
    "run_inspection",
    "run_xray",
]
