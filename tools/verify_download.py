#!/usr/bin/env python3
"""May this file be flashed, or put back? The check of docs/trust.md, from the documents alone.

    verify_download.py flash   --root root.json --status status.json --grant grant.json --file tune.bin --readout ecu.json …
    verify_download.py restore --root root.json --stock-file stock-file.json --file stock.bin --readout ecu.json
    verify_download.py vectors docs/vectors

It is an example for whoever writes the check on another platform, and it judges our own signer in CI: so it shares no
code with it. It needs Python 3.11 and the package `cryptography`, and talks to nobody. Exit status 0 means yes, 1 means
no (the code is printed), 2 that the question was not understood.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ROLES = ("root", "release", "test_release", "ticket", "restore", "status")
CHANNEL_OF_ROLE = {"release": "public", "test_release": "test"}
LARGEST_INTEGER = 2**53 - 1
LARGEST_IMAGE_BYTES = 4 * 1024 * 1024
LARGEST_FILE_BYTES = 16 * 1024 * 1024
GAP_BYTE = 0xFF  # what erased flash memory reads

Json = dict[str, Any]


class Refused(Exception):
    """The answer is no; `code` says at which check."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code
        self.why = why


class Malformed(Exception):
    """A document is not what the format allows. The check that reads it turns this into its own code."""


# Reading: strict, because two readers that understand one document differently are a hole.


def parse_json(data: bytes) -> Json:
    """A JSON object without repeated members, fractions, exponents or integers that a double can't hold. Raises Malformed."""

    def members(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Malformed("a member occurs twice")
        return found

    def integer(text: str) -> int:
        if len(text) > 17 or abs(int(text)) > LARGEST_INTEGER:
            raise Malformed("an integer is too large")
        return int(text)

    def refuse(text: str) -> Any:
        raise Malformed(f"{text} is no integer")

    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=members, parse_int=integer, parse_float=refuse, parse_constant=refuse)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Malformed("this is not JSON") from error
    if not isinstance(value, dict):
        raise Malformed("this is no JSON object")
    return value


def decode_base64(text: Any) -> bytes:
    """Bytes from base64 as RFC 4648 writes it: padded, no blanks, one spelling only. Raises Malformed."""
    if not isinstance(text, str):
        raise Malformed("base64 is text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("this is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Malformed("this base64 is not canonical")
    return data


def want(payload: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """The member `name`, which has to be of `kind`; true and false are no integers. Raises Malformed."""
    value = payload.get(name) if isinstance(payload, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in (kind if isinstance(kind, tuple) else (kind,))):
        raise Malformed(f"{name} is missing or of another kind")
    return value


def texts(payload: Any, name: str) -> list[str]:
    """A list of texts. Raises Malformed."""
    values = want(payload, name, list)
    if not all(isinstance(value, str) for value in values):
        raise Malformed(f"{name} holds something else than text")
    return values


def moment(text: Any) -> datetime:
    """A time to the second in UTC: 2026-06-01T12:00:00Z and nothing else. Raises Malformed."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text):
        raise Malformed("a time is not written as YYYY-MM-DDTHH:MM:SSZ")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise Malformed("there is no such time") from error


# Envelopes


@dataclass(frozen=True)
class Root:
    """A root document that is well formed: whose word counts, and how many of them it takes."""

    version: int
    env: str
    expires_at: datetime
    keys: dict[str, bytes]
    roles: dict[str, tuple[tuple[str, ...], int]]

    @classmethod
    def of(cls, payload: Json) -> "Root":
        """Raises Malformed, also when a key serves two roles or stands twice."""
        version = want(payload, "version", int)
        keys: dict[str, bytes] = {}
        for keyid, entry in want(payload, "keys", dict).items():
            if want(entry, "scheme", str) != "ed25519":
                raise Malformed("a key is of another scheme")
            keys[keyid] = decode_base64(entry.get("public"))
            if len(keys[keyid]) != 32:
                raise Malformed("a public key has 32 bytes")
        if version < 1 or len(set(keys.values())) != len(keys):
            raise Malformed("the version is below 1, or one key has two names")
        roles: dict[str, tuple[tuple[str, ...], int]] = {}
        for role in ROLES:
            entry = want(want(payload, "roles", dict), role, dict)
            keyids, threshold = texts(entry, "keyids"), want(entry, "threshold", int)
            if len(set(keyids)) != len(keyids) or not 1 <= threshold <= len(keyids) or not set(keyids) <= set(keys):
                raise Malformed(f"the role {role} can't be fulfilled")
            roles[role] = (tuple(keyids), threshold)
        named = [keyid for keyids, _ in roles.values() for keyid in keyids]
        if len(set(named)) != len(named):
            raise Malformed("a key serves two roles")
        return cls(version, want(payload, "env", str), moment(payload.get("expires_at")), keys, roles)


def open_envelope(envelope: Any, *, kind: str, root: Root, role: str, without: Iterable[str] = ()) -> tuple[bytes, Json]:
    """The payload's bytes and what they say, if enough distinct keys of `role` signed them. Raises Malformed.

    The bytes that were verified are the bytes that are parsed: the envelope is read once. Keys in `without` don't count.
    """
    media_type = f"application/vnd.revsync.{kind}.v1+json"
    if want(envelope, "payloadType", str) != media_type:
        raise Malformed(f"this is no {kind}")
    body = decode_base64(envelope.get("payload"))
    message = b"DSSEv1 %d %b %d %b" % (len(media_type), media_type.encode(), len(body), body)
    keyids, threshold = root.roles[role]
    signers: set[str] = set()
    for signature in want(envelope, "signatures", list):
        keyid = want(signature, "keyid", str)
        if keyid in keyids and keyid not in without and _is_signed(root.keys[keyid], signature.get("sig"), message):
            signers.add(keyid)
    if len(signers) < threshold:
        raise Malformed(f"{len(signers)} of {threshold} signatures of the role {role} hold")
    payload = parse_json(body)
    if want(payload, "_type", str) != kind or want(payload, "schema", str).split(".")[0] != "1":
        raise Malformed("the payload is another document, or of a later format")
    if want(payload, "env", str) != root.env:
        raise Malformed("the document belongs to another environment")
    moment(payload.get("issued_at"))
    return body, payload


def _is_signed(public: bytes, signature: Any, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(decode_base64(signature), message)
    except (InvalidSignature, Malformed, ValueError):
        return False
    return True


# Files


def decode_image(data: bytes, form: str) -> tuple[int, bytes]:
    """(base address, image) of a file; gaps between records read as erased memory. Raises Malformed."""
    if form == "BIN":
        return 0, data
    if form == "INTEL_HEX":
        pieces = list(_intel_hex(data))
    elif form == "S_RECORD":
        pieces = list(_s_records(data))
    else:
        raise Malformed("the file is of an unknown format")
    pieces.sort(key=lambda piece: piece[0])
    if not pieces:
        raise Malformed("the file has no data")
    base, end = pieces[0][0], max(start + len(part) for start, part in pieces)
    if end - base > LARGEST_IMAGE_BYTES:
        raise Malformed("the records are too far apart")
    image, reached = bytearray([GAP_BYTE]) * (end - base), base
    for start, part in pieces:
        if start < reached:
            raise Malformed("two records write one address")
        image[start - base : start - base + len(part)] = part
        reached = start + len(part)
    return base, bytes(image)


def _record(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text)
    except binascii.Error as error:
        raise Malformed("a record is not hexadecimal") from error


def _intel_hex(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset, ended = 0, False
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        text = line.strip()
        if not text:
            continue
        record = _record(text[1:]) if text[:1] == b":" and not ended else b""
        if len(record) < 5 or record[0] != len(record) - 5 or sum(record) & 0xFF:
            raise Malformed("a record is damaged")
        kind, body = record[3], record[4:-1]
        if kind == 0:
            if body:
                yield offset + int.from_bytes(record[1:3], "big"), body
        elif kind == 1:
            ended = True
        elif kind in (2, 4) and len(body) == 2:
            offset = int.from_bytes(body, "big") << (4 if kind == 2 else 16)
        elif kind not in (3, 5):
            raise Malformed("a record is of no known kind")
    if not ended:
        raise Malformed("the end record is missing")


def _s_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    widths = {"0": 2, "1": 2, "2": 3, "3": 4, "5": 2, "6": 3, "7": 4, "8": 3, "9": 2}
    ended = False
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        text = line.strip()
        if not text:
            continue
        kind = text[1:2].decode("ascii", "replace")
        width = widths.get(kind) if text[:1] == b"S" and not ended else None
        record = _record(text[2:]) if width else b""
        if width is None or len(record) < width + 2 or record[0] != len(record) - 1 or sum(record) & 0xFF != 0xFF:
            raise Malformed("a record is damaged")
        if kind in "123":
            if body := record[1 + width : -1]:
                yield int.from_bytes(record[1 : 1 + width], "big"), body
        elif kind in "789":
            ended = True
    if not ended:
        raise Malformed("the end record is missing")


# The checks, in the order of docs/trust.md


@dataclass(frozen=True)
class Readout:
    """What the app read from the ECU just now, and what it knows of the vehicle. None: not known."""

    hardware_number: str | None = None
    calibration_id: str | None = None
    image_size_bytes: int | None = None
    vin: str | None = None
    serial: str | None = None
    frame_number: str | None = None
    stock_calibration_id: str | None = None
    stock_image_sha256: str | None = None
    market: str | None = None
    year: int | None = None

    @classmethod
    def of(cls, facts: Json) -> "Readout":
        """From JSON; members that are not known here are left alone."""
        return cls(**{name: value for name, value in facts.items() if name in cls.__dataclass_fields__})


@dataclass
class Verdict:
    """What came out: `code` is "ok" or the first check that failed; warnings stop nothing."""

    code: str
    why: str = ""
    warnings: list[str] = field(default_factory=list)
    seen_status_version: int = 0  # the highest that is known now, whatever the answer: to be kept for the next question
    # With "ok" only: write these bytes and no others, and trust these documents, instead of decoding file and envelope again.
    image: bytes | None = None
    release: Json | None = None
    ticket: Json | None = None


def walk_roots(pinned: Any, later: Iterable[Any]) -> Root:
    """The newest root, from the one that the app ships with over each successor. Raises Refused (bad_root)."""
    try:
        root = _self_signed(pinned)
        for envelope in later:
            successor = _self_signed(envelope)
            open_envelope(envelope, kind="root", root=root, role="root")
            if successor.version != root.version + 1:
                raise Malformed("a root was left out")
            root = successor
    except Malformed as trouble:
        raise Refused("bad_root", str(trouble)) from trouble
    return root


def _self_signed(envelope: Any) -> Root:
    root = Root.of(parse_json(decode_base64(want(envelope, "payload", str))))
    open_envelope(envelope, kind="root", root=root, role="root")
    return root


def check_status(envelope: Any, *, root: Root, seen_version: int, at: datetime) -> Json:
    """The status document. Raises Refused (bad_signature, rollback, expired_status)."""
    try:
        _, status = open_envelope(envelope, kind="status", root=root, role="status")
        expires_at = moment(status.get("expires_at"))
        version = want(status, "version", int)
        want(status, "counter_floors", dict)
        texts(status, "revoked_keyids")
        texts(status, "blocked_app_versions")
        want(status, "min_app", str)
        for stop in want(status, "stopped", list):
            for name in ("id", "sha256", "state"):
                want(stop, name, str)
    except Malformed as trouble:
        raise Refused("bad_signature", f"status: {trouble}") from trouble
    if version < seen_version:
        raise Refused("rollback", f"a newer status document was seen: {seen_version}")
    if at >= expires_at:
        raise Refused("expired_status", f"it was good until {status['expires_at']}")
    return status


def check_app(status: Json, app_version: str) -> None:
    """Raises Refused (app_version_blocked), also when the app does not know its own version."""
    mine, needed = _numbers(app_version), _numbers(status["min_app"])
    if mine is None or needed is None or mine < needed or app_version in status["blocked_app_versions"]:
        raise Refused("app_version_blocked", f"at least {status['min_app']} is needed")


def _numbers(version: str) -> tuple[int, ...] | None:
    """(1, 4, 0) of "1.4.0" and "1.4"; what follows a hyphen or a plus does not count."""
    core = re.split(r"[-+]", version, maxsplit=1)[0]
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){0,2}", core):
        return None
    return tuple(int(part) for part in (core + ".0.0").split(".")[:3])


def check_release(envelope: Any, *, root: Root, status: Json) -> tuple[bytes, Json, str]:
    """(payload bytes, payload, role that signed). Raises Refused (bad_signature, recalled, on_hold, rollback)."""
    try:
        role = "release"
        try:
            body, release = open_envelope(envelope, kind="tune-release", root=root, role=role, without=status["revoked_keyids"])
        except Malformed:
            role = "test_release"
            body, release = open_envelope(envelope, kind="tune-release", root=root, role=role, without=status["revoked_keyids"])
        for name in ("tune_file_id", "tune_id", "channel"):
            want(release, name, str)
        for name in ("size_bytes", "sha256", "format"):
            want(want(release, "file", dict), name, int if name == "size_bytes" else str)
        for name in ("base", "size_bytes", "sha256"):
            want(want(release, "image", dict), name, str if name == "sha256" else int)
        counter = want(release, "release_counter", (int, type(None)))
        floor = status["counter_floors"].get(release["tune_id"], 0)
        if not isinstance(floor, int) or isinstance(floor, bool) or (role == "release" and counter is None):
            raise Malformed("the counter is missing")
        texts(release, "replaces_calibration_ids")
        for row in want(release, "fitments", list):
            for name in ("markets", "hardware_numbers", "calibration_ids"):
                texts(row, name)
            for name in ("image_size_bytes", "year_from", "year_to"):
                want(row, name, int)
    except Malformed as trouble:
        raise Refused("bad_signature", f"release: {trouble}") from trouble
    states = {stop["state"] for stop in status["stopped"] if _is_stopped(stop, release)}
    if states - {"on_hold"}:  # a state of a later format is worse than a hold until it is known
        raise Refused("recalled", "this release must not be flashed any more")
    if states:
        raise Refused("on_hold", "this release must not be flashed for now")
    if counter is not None and counter < floor:
        raise Refused("rollback", f"releases of this tune below {floor} are no longer flashed")
    return body, release, role


def _is_stopped(stop: Json, release: Json) -> bool:
    return stop["id"] == release["tune_file_id"] or stop["sha256"] == release["file"]["sha256"]


def check_ticket(
    envelope: Any, *, root: Root, status: Json, release: Json, release_body: bytes, release_role: str, device_key: str | None, at: datetime
) -> Json:
    """Raises Refused (bad_signature, expired_ticket, rollback, wrong_channel, wrong_device, tampered)."""
    try:
        _, ticket = open_envelope(envelope, kind="flash-ticket", root=root, role="ticket", without=status["revoked_keyids"])
        expires_at = moment(ticket.get("expires_at"))
        for name in ("channel", "release_payload_sha256", "file_sha256"):
            want(ticket, name, str)
        for name in ("file_size_bytes", "status_version_min"):
            want(ticket, name, int)
        bound_to = want(ticket, "device_key", (str, type(None)))
        for name in ("kind", "salt", "tag"):
            want(want(ticket, "identity", dict), name, str)
        for name in ("hardware_number", "calibration_id"):
            want(want(ticket, "ecu", dict), name, str)
        want(ticket["ecu"], "image_size_bytes", int)
    except Malformed as trouble:
        raise Refused("bad_signature", f"ticket: {trouble}") from trouble
    if at >= expires_at:
        raise Refused("expired_ticket", f"it was good until {ticket['expires_at']}")
    if status["version"] < ticket["status_version_min"]:
        raise Refused("rollback", f"the ticket wants status {ticket['status_version_min']} or newer")
    if not ticket["channel"] == release["channel"] == CHANNEL_OF_ROLE[release_role]:
        raise Refused("wrong_channel", "release, ticket and the role that signed must be of one channel")
    if bound_to is not None and bound_to != device_key:
        raise Refused("wrong_device", "this ticket is for another phone")
    same = (
        ticket["release_payload_sha256"] == hashlib.sha256(release_body).hexdigest()
        and ticket["file_sha256"] == release["file"]["sha256"]
        and ticket["file_size_bytes"] == release["file"]["size_bytes"]
    )
    if not same:
        raise Refused("tampered", "release and ticket speak of different files")
    return ticket


def check_file(chunks: Iterable[bytes], release: Json) -> bytes:
    """Size and hash of the file as it comes in, then of the image in it, which is returned. Raises Refused (tampered)."""
    stated, image = release["file"], release["image"]
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > min(stated["size_bytes"], LARGEST_FILE_BYTES):  # never more than was signed
            raise Refused("tampered", "the file is longer than it was signed")
    if len(data) != stated["size_bytes"] or hashlib.sha256(data).hexdigest() != stated["sha256"]:
        raise Refused("tampered", "the file is not the one that was signed")
    try:
        base, decoded = decode_image(bytes(data), stated["format"])
    except Malformed as trouble:
        raise Refused("tampered", str(trouble)) from trouble
    if (base, len(decoded), hashlib.sha256(decoded).hexdigest()) != (image["base"], image["size_bytes"], image["sha256"]):
        raise Refused("tampered", "the image in the file is not the one that was signed")
    return decoded


def check_ecu(readout: Readout, *, release: Json, ticket: Json) -> None:
    """The ECU is the ticket's, and stands with all its facts in one row of the fitments. Raises Refused (wrong_ecu)."""
    ecu = ticket["ecu"]
    if (readout.hardware_number, readout.calibration_id, readout.image_size_bytes) != (
        ecu["hardware_number"],
        ecu["calibration_id"],
        ecu["image_size_bytes"],
    ):
        raise Refused("wrong_ecu", "this is not the ECU, or not the software, that the ticket was given for: read it again")
    if not any(_fits(readout, row, release["replaces_calibration_ids"]) for row in release["fitments"]):
        raise Refused("wrong_ecu", "no single fitment has this hardware number, calibration and image size together")
    if release["image"]["size_bytes"] != readout.image_size_bytes:
        raise Refused("wrong_ecu", "the image is not as large as the ECU's")


def _fits(readout: Readout, row: Json, replaced: list[str]) -> bool:
    if readout.hardware_number not in row["hardware_numbers"] or readout.image_size_bytes != row["image_size_bytes"]:
        return False
    if readout.market is not None and row["markets"] and readout.market not in row["markets"]:
        return False
    if readout.year is not None and not row["year_from"] <= readout.year <= row["year_to"]:
        return False
    if readout.calibration_id in row["calibration_ids"]:
        return True
    # The ECU carries a version of this very tune: then the calibration that the maker gave it tells which file is right.
    return readout.calibration_id in replaced and readout.stock_calibration_id in row["calibration_ids"]


def check_identity(readout: Readout, identity: Json, *, must_report: bool) -> None:
    """Raises Refused (wrong_vehicle). What the ECU does not report is not compared, but what must be there is."""
    known = {
        "VIN": readout.vin,
        "FRAME_NUMBER": readout.frame_number,
        "ECU_SERIAL": readout.serial,
        "STOCK_IMAGE": readout.stock_image_sha256,
    }
    if identity["kind"] not in known:
        raise Refused("wrong_vehicle", "the kind of identity is not known")
    value = known[identity["kind"]]
    if value is None:
        if must_report and identity["kind"] in ("ECU_SERIAL", "STOCK_IMAGE"):
            raise Refused("wrong_vehicle", f"{identity['kind']} was not reported")
        return
    if hashlib.sha256((identity["salt"] + value).encode()).hexdigest() != identity["tag"]:
        raise Refused("wrong_vehicle", "this is another vehicle")


def verify_flash(
    *,
    pinned_root: Any,
    later_roots: Iterable[Any] = (),
    status: Any,
    seen_status_version: int = 0,
    app_version: str,
    release: Any,
    ticket: Any,
    device_key: str | None = None,
    file: Iterable[bytes],
    readout: Readout,
    has_way_back: bool,
    at: datetime,
) -> Verdict:
    """Whether the file may be written to the ECU. `has_way_back`: its stock image is saved, or its owner accepted that there is none."""
    try:
        root = walk_roots(pinned_root, later_roots)
        if at >= root.expires_at:
            raise Refused("expired_root", "a newer root is needed")
        state = check_status(status, root=root, seen_version=seen_status_version, at=at)
        seen_status_version = state["version"]
        check_app(state, app_version)
        release_body, released, role = check_release(release, root=root, status=state)
        permit = check_ticket(
            ticket,
            root=root,
            status=state,
            release=released,
            release_body=release_body,
            release_role=role,
            device_key=device_key,
            at=at,
        )
        image = check_file(file, released)
        check_ecu(readout, release=released, ticket=permit)
        check_identity(readout, permit["identity"], must_report=True)
        if not has_way_back:
            raise Refused("stock_backup_required", "save the stock image first, or accept that there is none")
    except Refused as refusal:
        return Verdict(refusal.code, refusal.why, seen_status_version=seen_status_version)
    return Verdict("ok", seen_status_version=seen_status_version, image=image, release=released, ticket=permit)


def verify_restore(
    *, pinned_root: Any, later_roots: Iterable[Any] = (), restore_ticket: Any, file: bytes, format: str, readout: Readout, at: datetime
) -> Verdict:
    """Whether the stock image may be written back. Age only warns: nobody's way home ends because a phone was offline."""
    warnings = []
    try:
        root = walk_roots(pinned_root, later_roots)
        if at >= root.expires_at:
            warnings.append("expired_root")
        try:
            _, ticket = open_envelope(restore_ticket, kind="restore-ticket", root=root, role="restore")
            if at >= moment(ticket.get("expires_at")):
                warnings.append("expired_ticket")
            for name in ("hardware_number", "image_sha256"):
                want(ticket, name, str)
            want(ticket, "image_size_bytes", int)
            for name in ("kind", "salt", "tag"):
                want(want(ticket, "identity", dict), name, str)
        except Malformed as trouble:
            raise Refused("bad_signature", f"restore ticket: {trouble}") from trouble
        try:
            _, image = decode_image(file, format)
        except Malformed as trouble:
            raise Refused("tampered", str(trouble)) from trouble
        if len(image) != ticket["image_size_bytes"] or hashlib.sha256(image).hexdigest() != ticket["image_sha256"]:
            raise Refused("tampered", "this is not the stock image that was saved")
        if readout.hardware_number != ticket["hardware_number"]:
            raise Refused("wrong_ecu", "the image is another ECU's")
        if readout.image_size_bytes not in (None, ticket["image_size_bytes"]):
            raise Refused("wrong_ecu", "the image is not as large as the ECU's")
        # What is in the ECU now is no stock image: an identity by it can't be compared, and must not stop the way back.
        check_identity(replace(readout, stock_image_sha256=None), ticket["identity"], must_report=False)
    except Refused as refusal:
        return Verdict(refusal.code, refusal.why, warnings)
    return Verdict("ok", warnings=warnings, image=image, ticket=ticket)


# Vectors and the command line


def run_vector(vector: Json) -> Verdict:
    """The verdict on one vector of docs/vectors (its README says what the members mean)."""
    given = vector["input"]
    common = {
        "pinned_root": given["pinned_root"],
        "later_roots": given["later_roots"],
        "readout": Readout.of(given["readout"]),
        "at": moment(given["at"]),
    }
    file = decode_base64(given["file"])
    if vector["check"] == "restore":
        return verify_restore(restore_ticket=given["restore_ticket"], file=file, format=given["format"], **common)
    names = ("status", "seen_status_version", "app_version", "release", "ticket", "device_key", "has_way_back")
    chunks = [file[start : start + 1000] for start in range(0, len(file), 1000)]
    return verify_flash(file=chunks, **{name: given[name] for name in names}, **common)


def find_vectors(directory: Path) -> Iterator[tuple[str, Json]]:
    """(file name, vector) of every vector in a directory."""
    for path in sorted(directory.glob("[0-9]*.json")):
        yield path.name, json.loads(path.read_text())


def _run_vectors(directory: Path) -> int:
    wrong = 0
    codes: dict[str, int] = {}
    for name, vector in find_vectors(directory):
        verdict = run_vector(vector)
        expected = (vector["expected"]["code"], vector["expected"].get("warnings", []))
        codes[expected[0]] = codes.get(expected[0], 0) + 1
        if (verdict.code, verdict.warnings) != expected:
            wrong += 1
            print(f"{name}: {verdict.code} {verdict.warnings} ({verdict.why}) instead of {expected}")
        elif (verdict.image is None) != (verdict.code != "ok") or not _is_signed_image(verdict):
            wrong += 1
            print(f"{name}: {verdict.code}, with another image than the one that was signed")
    total = sum(codes.values())
    print(f"{total - wrong} of {total} vectors as expected: {', '.join(f'{code} {count}' for code, count in sorted(codes.items()))}")
    return 0 if total and not wrong else 1


def _is_signed_image(verdict: Verdict) -> bool:
    if verdict.image is None or verdict.ticket is None:
        return verdict.image is None and verdict.ticket is None
    signed = verdict.release["image"]["sha256"] if verdict.release else verdict.ticket["image_sha256"]
    return hashlib.sha256(verdict.image).hexdigest() == signed


def _read(path: Path) -> Json:
    return json.loads(path.read_bytes())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="May this file be flashed, or put back? docs/trust.md says what is checked.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("flash", "restore"):
        command = commands.add_parser(name)
        command.add_argument("--root", type=Path, required=True, help="the root document that the app ships with")
        command.add_argument("--later-root", type=Path, action="append", default=[], help="its successors, in their order")
        command.add_argument("--file", type=Path, required=True)
        command.add_argument(
            "--readout", type=Path, required=True, help="JSON: hardware_number, calibration_id, image_size_bytes, vin, serial …"
        )
        command.add_argument("--at", help="judge as of this time (YYYY-MM-DDTHH:MM:SSZ) instead of now")
        if name == "flash":
            command.add_argument("--status", type=Path, required=True)
            command.add_argument("--grant", type=Path, required=True, help="the answer of …/downloads/, with release and ticket")
            command.add_argument("--seen-status-version", type=int, default=0)
            command.add_argument("--app-version", required=True)
            command.add_argument("--device-key", help="thumbprint of the phone's own key")
            command.add_argument("--has-way-back", action="store_true", help="the stock image is saved, or its lack was accepted")
        else:
            command.add_argument("--stock-file", type=Path, required=True, help="the answer of …/stock-files/{id}/, with restore_ticket")
            command.add_argument("--format", default="BIN", choices=["BIN", "INTEL_HEX", "S_RECORD"])
    commands.add_parser("vectors").add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "vectors":
        return _run_vectors(options.directory)
    common = {
        "pinned_root": _read(options.root),
        "later_roots": [_read(path) for path in options.later_root],
        "readout": Readout.of(_read(options.readout)),
        "at": moment(options.at) if options.at else datetime.now(UTC),
    }
    if options.command == "restore":
        ticket = _read(options.stock_file)["restore_ticket"]
        verdict = verify_restore(restore_ticket=ticket, file=options.file.read_bytes(), format=options.format, **common)
    else:
        grant = _read(options.grant)
        with options.file.open("rb") as file:
            verdict = verify_flash(
                status=_read(options.status),
                seen_status_version=options.seen_status_version,
                app_version=options.app_version,
                release=grant["release"],
                ticket=grant["ticket"],
                device_key=options.device_key,
                has_way_back=options.has_way_back,
                file=iter(lambda: file.read(65_536), b""),
                **common,
            )
    print(verdict.code + (f": {verdict.why}" if verdict.why else "") + "".join(f"\nwarning: {text}" for text in verdict.warnings))
    return 0 if verdict.code == "ok" else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, KeyError, TypeError, ValueError, Malformed) as trouble:
        print(f"verify_download: {type(trouble).__name__}: {trouble}", file=sys.stderr)
        sys.exit(2)
