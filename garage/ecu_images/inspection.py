"""The inspection itself: one function from bytes to a report. The dry run and the real one are this same code."""

import hashlib
from collections.abc import Iterable

from garage.ecu_images import identification, limits, records, sniffing, statistics, xray
from garage.ecu_images.report import (
    BIN,
    ERROR,
    INFO,
    INTEL_HEX,
    UNKNOWN_FORMAT,
    WARNING,
    Detected,
    Finding,
    Image,
    Inspection,
)
from garage.ecu_images.xray import XRay

GAP_BYTE = b"\xff"  # what erased flash memory reads

FORMAT_NAMES = {BIN: "a raw binary", INTEL_HEX: "Intel HEX", "S_RECORD": "S-record"}


def inspect_bytes(data: bytes, *, name: str = "") -> Inspection:
    """Everything that can be said about a file without knowing what it is offered for.

    Never raises for what is in the file: whatever is wrong is a finding of severity `error`, and the verdict follows.
    """
    report, image = _decode(data, name=name)
    if image is None:
        return report
    detected = identification.detect(image)
    shares = statistics.measure(image)
    return Inspection(
        format=report.format,
        size_bytes=report.size_bytes,
        sha256=report.sha256,
        image=report.image,
        detected=detected,
        statistics=shares,
        findings=report.findings + tuple(_judge_identity(detected)) + tuple(_judge_statistics(shares, len(image))),
    )


def decoded_image(data: bytes, *, name: str = "") -> tuple[int, bytes] | None:
    """(base address, image) of a file that decodes, else None. Gaps between records are filled as erased memory."""
    report, image = _decode(data, name=name)
    return None if image is None or report.image is None else (report.image.base, image)


def xray_bytes(base: bytes, data: bytes) -> XRay | Finding:
    """What a file's image changes in the image of another one; a warning that says why they can't be compared.

    Both were inspected before, so records are read once here, not by two readers that must agree.
    """
    stock, image = _image_of(base), _image_of(data)
    if stock is None or image is None:
        what = "stock image" if stock is None else "image"
        return Finding("not_compared", WARNING, f"The {what} can't be decoded, so nothing was compared.")
    if len(stock) != len(image):
        message = f"The stock image has {len(stock):,} bytes, this one {len(image):,}: they are of different ECUs."
        return Finding("not_compared", WARNING, message)
    return xray.compare(stock, image, base_sha256=hashlib.sha256(stock).hexdigest())


def _image_of(data: bytes) -> bytes | None:
    kind = sniffing.detect_format(data[: sniffing.HEAD_BYTES])
    if kind == BIN:
        return data if limits.MIN_IMAGE_BYTES <= len(data) <= limits.MAX_IMAGE_BYTES else None
    scan = records.scan_intel_hex if kind == INTEL_HEX else records.scan_s_record
    try:
        return scan(data.removeprefix(sniffing.BYTE_ORDER_MARK), keep=True).image(GAP_BYTE)
    except records.RecordRefused:
        return None


def compare_claims(
    report: Inspection,
    *,
    hardware_numbers: Iterable[str] = (),
    calibration_ids: Iterable[str] = (),
    image_size_bytes: int | None = None,
) -> list[Finding]:
    """Hold what somebody claims against what the image states. Pure, for services: the report's own findings stay.

    A wrong size is an error (a wrong-sized write kills an ECU); a stated hardware number that is not among the claimed
    ones is an error too; another calibration id is a warning, because a tuned image usually carries its own.
    """
    findings: list[Finding] = []
    if report.image is None:
        return findings
    if image_size_bytes is not None and report.image.size_bytes != image_size_bytes:
        findings.append(
            Finding(
                "image_size_differs",
                ERROR,
                f"The decoded image has {report.image.size_bytes:,} bytes, but {image_size_bytes:,} are claimed.",
            )
        )
    claimed_hardware = [value for value in hardware_numbers if value]
    stated = report.detected.hardware_number
    if claimed_hardware and stated and identification.normalise(stated) not in map(identification.normalise, claimed_hardware):
        findings.append(
            Finding(
                "hardware_number_differs",
                ERROR,
                f"The image states hardware number {stated}, which is not among the claimed ones ({', '.join(sorted(claimed_hardware))}).",
                report.detected.hardware_number_offset,
            )
        )
    claimed_calibrations = [value for value in calibration_ids if value]
    stated = report.detected.calibration_id
    if claimed_calibrations and stated and identification.normalise(stated) not in map(identification.normalise, claimed_calibrations):
        findings.append(
            Finding(
                "calibration_id_differs",
                WARNING,
                f"The image states calibration id {stated}, which is not among the claimed ones.",
                report.detected.calibration_id_offset,
            )
        )
    return findings


def _decode(data: bytes, *, name: str) -> tuple[Inspection, bytes | None]:
    blank = Inspection(format=UNKNOWN_FORMAT, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    if not data:
        return blank.with_findings(Finding("empty_file", ERROR, "The file is empty.")), None
    if len(data) > limits.MAX_FILE_BYTES:
        message = f"The file has {len(data):,} bytes; at most {limits.MAX_FILE_BYTES:,} are accepted."
        return blank.with_findings(Finding("file_too_large", ERROR, message)), None
    head = data[: sniffing.HEAD_BYTES]
    if other := sniffing.find_non_image(head, name=name):
        return blank.with_findings(Finding("not_an_image", ERROR, f"This is no ECU image but {other}.", 0)), None
    kind = sniffing.detect_format(head)
    known = Inspection(format=kind, size_bytes=blank.size_bytes, sha256=blank.sha256)
    if kind == BIN:
        base, image, notes = 0, data, []
    else:
        try:
            base, image, notes = _decode_records(data.removeprefix(sniffing.BYTE_ORDER_MARK), kind)
        except records.RecordRefused as refusal:
            return known.with_findings(refusal.finding), None
    if len(image) > limits.MAX_IMAGE_BYTES:
        message = f"The image has {len(image):,} bytes; at most {limits.MAX_IMAGE_BYTES:,} are possible."
        return known.with_findings(Finding("image_too_large", ERROR, message)), None
    if len(image) < limits.MIN_IMAGE_BYTES:
        message = f"The image has only {len(image):,} bytes; no engine computer's is below {limits.MIN_IMAGE_BYTES:,}."
        return known.with_findings(Finding("image_too_small", ERROR, message)), None
    if len(image) % 1024:
        notes.append(Finding("size_unusual", WARNING, f"The image has {len(image):,} bytes, which is no multiple of 1,024."))
    return (
        Inspection(
            format=kind,
            size_bytes=known.size_bytes,
            sha256=known.sha256,
            image=Image(base=base, size_bytes=len(image), sha256=hashlib.sha256(image).hexdigest()),
            findings=(Finding("format_read", INFO, f"The file was read as {FORMAT_NAMES[kind]}."), *notes),
        ),
        image,
    )


def _decode_records(data: bytes, kind: str) -> tuple[int, bytes, list[Finding]]:
    scan, add = (records.scan_intel_hex, "add_ihex") if kind == INTEL_HEX else (records.scan_s_record, "add_srec")
    layout = scan(data)
    import bincopy  # only the child decodes text; the application that imports this module should not pay for it

    decoder = bincopy.BinFile()
    try:
        getattr(decoder, add)(data.decode("ascii"))
        image = bytes(decoder.as_binary(padding=GAP_BYTE))
    except (bincopy.Error, UnicodeDecodeError) as error:
        raise records.RecordRefused("record_malformed", "The records can't be decoded.") from error
    if decoder.minimum_address != layout.base or len(image) != layout.span_bytes:
        raise records.RecordRefused("record_malformed", "Two readings of the file disagree, so the image is not certain.")
    notes = []
    if layout.fragments > 1:
        filled = layout.span_bytes - layout.data_bytes
        message = f"The data lies in {layout.fragments} pieces; {filled:,} bytes between them were filled as erased memory (0xFF)."
        notes.append(Finding("gaps_filled", INFO, message))
    return layout.base, image, notes


def _judge_identity(detected: Detected) -> list[Finding]:
    findings = []
    if detected.hardware_number:
        message = f"The image states hardware number {detected.hardware_number}."
        findings.append(Finding("hardware_number_found", INFO, message, detected.hardware_number_offset))
    else:
        findings.append(Finding("hardware_number_not_found", INFO, "No hardware number was found in the image."))
    if detected.calibration_id:
        message = f"The image states calibration id {detected.calibration_id}."
        findings.append(Finding("calibration_id_found", INFO, message, detected.calibration_id_offset))
    else:
        findings.append(Finding("calibration_id_not_found", INFO, "No calibration id was found in the image."))
    return findings


def _judge_statistics(shares: dict[str, float], size_bytes: int) -> list[Finding]:
    if shares["blank_share"] >= 0.995:
        return [Finding("blank_image", ERROR, "The image is blank: nearly all of its bytes are 0x00 or 0xFF.")]
    if shares["repeated_share"] >= 0.95 and size_bytes >= 8 * statistics.BLOCK_BYTES:
        return [Finding("repeated_content", ERROR, "The image is one short block again and again.")]
    findings = []
    if shares["blank_share"] >= 0.9:
        findings.append(Finding("mostly_blank", WARNING, f"{shares['blank_share']:.0%} of the image is blank."))
    if shares["repeated_share"] >= 0.45:
        findings.append(Finding("repeated_content", WARNING, "Large parts of the image occur more than once."))
    if shares["scrambled_share"] >= 0.9:
        findings.append(Finding("looks_encrypted", WARNING, "The image looks encrypted or compressed: no ECU can run it as it is."))
    return findings
