"""Hardware number and calibration id, where an image states them.

Three ways, in this order of trust: labelled strings (`HW:…`, `CALID=…`), part numbers whose shape alone names them
(ten digits that start 0261 or 0281 for an ECU, 1037 for its software), and, when a caller claims a value, that value
itself somewhere in the image. Nothing found says nothing: many images state neither.
"""

import re

from garage.ecu_images.report import Detected

VALUE = rb"([0-9A-Z][0-9A-Z._/-]{3,31})(?![0-9A-Za-z._/-])"
HARDWARE_LABEL = re.compile(rb"(?<![A-Z0-9])(?:HW(?:[ _-]?(?:NO|NR|ID|NUMBER))?|HARDWARE(?:[ _-]?(?:NO|NUMBER))?)\s?[:=#]\s?" + VALUE)
CALIBRATION_LABEL = re.compile(rb"(?<![A-Z0-9])(?:CAL(?:[ _-]?ID)?|CALID|CALIBRATION(?:[ _-]?ID)?|CVN[ _-]?ID)\s?[:=#]\s?" + VALUE)
HARDWARE_SHAPE = re.compile(rb"(?<![0-9])(02[68]1[0-9]{6})(?![0-9])")
CALIBRATION_SHAPE = re.compile(rb"(?<![0-9])(1037[0-9]{6})(?![0-9])")


def detect(image: bytes) -> Detected:
    """What the image states; the first statement of each kind counts."""
    hardware = HARDWARE_LABEL.search(image) or HARDWARE_SHAPE.search(image)
    calibration = CALIBRATION_LABEL.search(image) or CALIBRATION_SHAPE.search(image)
    return Detected(
        hardware_number=hardware[1].decode("ascii") if hardware else None,
        hardware_number_offset=hardware.start(1) if hardware else None,
        calibration_id=calibration[1].decode("ascii") if calibration else None,
        calibration_id_offset=calibration.start(1) if calibration else None,
    )


def find_stated(image: bytes, value: str) -> int | None:
    """Where the image holds this value as ASCII text of its own, or None."""
    found = re.search(rb"(?<![0-9A-Za-z])" + re.escape(value.encode("ascii", "replace")) + rb"(?![0-9A-Za-z])", image)
    return found.start() if found else None


def normalise(value: str) -> str:
    """Part numbers are written with and without blanks, dots and dashes: compare them without."""
    return re.sub(r"[\s._/-]", "", value).upper()
