"""What the signer process signs, and what it refuses: each role its own documents, with times and bounds of their own.

Pure, and without Django: whoever has the web server has the port to these rules, and not the keys behind them.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.signing.payloads import LARGEST_INTEGER, SCHEMA, decode_payload, encode_payload
from core.signing.roles import PayloadType, Role, may_sign

CLOCK_DIFFERENCE = timedelta(minutes=10)
TICKET_LIFETIME = timedelta(hours=72)
STATUS_LIFETIME = timedelta(hours=72)
RESTORE_LIFETIME = timedelta(days=180)
STATUS_AHEAD_SECONDS = 24 * 3600  # its version is a clock that may have been wrong, but not for long
APPROVAL_LIFETIME = timedelta(days=7)
APPROVAL_TYPE = "release-approval"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What each document must say; more is allowed, for a format may grow.
MEMBERS: dict[PayloadType, frozenset[str]] = {
    PayloadType.RELEASE: _names(
        "tune_version_id tune_file_id tune_id version release_counter tuner_id channel file image fitments calibration_id_after "
        "replaces_calibration_ids requirements emissions_class review"
    ),
    PayloadType.TICKET: _names(
        "ticket_id purchase_id buyer vehicle_id channel identity ecu release_payload_sha256 file_sha256 file_size_bytes device_key "
        "status_version_min expires_at"
    ),
    PayloadType.STATUS: _names("version stopped counter_floors min_app blocked_app_versions revoked_keyids expires_at"),
    PayloadType.STOP_LIFT: _names("stop_id tune_version_id"),
    PayloadType.RESTORE_TICKET: _names("vehicle_id identity hardware_number image_sha256 image_size_bytes expires_at"),
}


class Refused(Exception):
    """The signer does not sign this; the text says why, in words that name nothing of the document."""


class ApprovalMissing(Refused):
    """It would, with a reviewer's approval of exactly this."""


@dataclass(frozen=True)
class Said:
    """What the newest status document said that the signer signed, and what it lifted since: no stop may be forgotten."""

    stopped: Mapping[str, str] = field(default_factory=dict)  # version, file and hash → since when
    floors: Mapping[str, int] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()
    lifted: Mapping[str, str] = field(default_factory=dict)  # version → when its newest lifting was approved


@dataclass(frozen=True)
class Circumstances:
    """What the signer knows besides the document."""

    env: str
    now: datetime
    status_version: int  # the highest that it ever signed
    was_signed_before: bool  # this very payload, by this role
    reviewers: Mapping[str, bytes] | None = None  # name → public key; None: approvals are not asked for
    said: Said = field(default_factory=Said)
    may_be_old: bool = False  # development's demo data is a history


def check(role: Role, payload_type: PayloadType, data: bytes, *, approval: str, seen: Circumstances) -> dict[str, Any]:
    """The payload, if `role` may sign it now. Raises: Refused, ApprovalMissing."""
    if role is Role.ROOT or not may_sign(role, payload_type):
        raise Refused(f"the role {role} signs no {payload_type.document_type} here")
    try:
        payload = decode_payload(data)
        canonical = encode_payload(payload) == data
    except (ValueError, TypeError, RecursionError) as trouble:
        raise Refused("the payload is not canonical JSON") from trouble
    if not canonical:
        raise Refused("the payload is not canonical JSON")
    missing = MEMBERS[payload_type] - payload.keys()
    if missing:
        raise Refused(f"members are missing: {', '.join(sorted(missing))}")
    if (payload.get("_type"), payload.get("schema"), payload.get("env")) != (payload_type.document_type, SCHEMA, seen.env):
        raise Refused("the payload is another document, of another format or of another environment")
    issued_at = _moment(payload.get("issued_at"))
    if issued_at > seen.now + CLOCK_DIFFERENCE:
        raise Refused("it is issued in the future")
    match payload_type:
        case PayloadType.RELEASE:
            _check_release(role, payload, issued_at, approval=approval, seen=seen)
        case PayloadType.TICKET:  # may be signed again while it is good: the same bytes for a phone that lost the answer
            expires_at = _check_lifetime(payload, issued_at, TICKET_LIFETIME)
            if expires_at <= seen.now and not seen.may_be_old:
                raise Refused("it has expired")
        case PayloadType.RESTORE_TICKET:
            _check_lifetime(payload, issued_at, RESTORE_LIFETIME)
            _check_fresh(issued_at, seen)
        case PayloadType.STATUS:
            _check_lifetime(payload, issued_at, STATUS_LIFETIME)
            _check_fresh(issued_at, seen)
            version = _count(payload["version"])
            if version <= seen.status_version and not seen.was_signed_before:
                raise Refused("the status version does not rise")
            if version > max(int(seen.now.timestamp()), seen.status_version) + STATUS_AHEAD_SECONDS:
                raise Refused("the status version is far ahead of the clock")
            if seen.reviewers is not None:
                _check_nothing_forgotten(payload, seen.said)
        case PayloadType.STOP_LIFT:
            _check_fresh(issued_at, seen)
            if seen.reviewers is not None:
                _check_approval(approval, payload, seen)
                of = str(payload["tune_version_id"])
                if any(stop.split()[0] == of and approved_at(approval) < since for stop, since in seen.said.stopped.items()):
                    raise ApprovalMissing("the approval is older than the stop: approve its lifting again")
    return payload


def claims_sha256(payload: Mapping[str, Any]) -> str:
    """The hash of what a reviewer approves: a release, or a lifting, without the moment and the note of its approval."""
    return hashlib.sha256(encode_payload({name: payload[name] for name in payload if name not in ("issued_at", "review")})).hexdigest()


def said_by(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be remembered of a status document. Raises: Refused for one that is malformed."""
    try:
        return {
            "stopped": {
                " ".join(str(entry[name]) for name in ("tune_version_id", "id", "sha256")): str(entry["since"])
                for entry in payload["stopped"]
            },
            "floors": {str(tune): _count(floor) for tune, floor in payload["counter_floors"].items()},
            "revoked": sorted(str(keyid) for keyid in payload["revoked_keyids"]),
        }
    except (KeyError, TypeError, AttributeError) as trouble:
        raise Refused("the lists of the status document are malformed") from trouble


def approved_at(approval: str) -> str:
    """When an approval that was checked was given, as a document states times."""
    return str(decode_payload(_unbase64(approval.strip().split(".")[1]))["approved_at"])


def _check_nothing_forgotten(payload: dict[str, Any], said: Said) -> None:
    now = said_by(payload)
    for stop, since in said.stopped.items():  # phones go by file and hash: another one in their place is no stop of them
        if stop not in now["stopped"] and said.lifted.get(stop.split()[0], "") < since:
            raise Refused("it forgets a stop that nobody lifted")
    if any(now["floors"].get(tune, 0) < floor for tune, floor in said.floors.items()) or said.revoked - set(now["revoked"]):
        raise Refused("it forgets a counter floor or a revoked key")


def _check_release(role: Role, payload: dict[str, Any], issued_at: datetime, *, approval: str, seen: Circumstances) -> None:
    if role is Role.TEST_RELEASE:
        if (payload["channel"], payload["release_counter"], payload["review"]) != ("test", None, None):
            raise Refused("the test key signs releases of the test channel only")
    else:
        if payload["channel"] != "public" or _count(payload["release_counter"]) < 1:
            raise Refused("the release key signs counted releases of the public channel only")
        approved = payload["review"].get("approved_sha256") if isinstance(payload["review"], dict) else None
        stated = payload["file"].get("sha256") if isinstance(payload["file"], dict) else None
        if not isinstance(approved, list) or not stated or stated not in approved:
            raise Refused("its file is not among those that were approved")
    if seen.was_signed_before:
        return  # a rotated key signs once more what was signed here; nothing new comes in this way
    _check_fresh(issued_at, seen)
    if role is Role.RELEASE and seen.reviewers is not None:
        _check_approval(approval, payload, seen)


def _check_approval(approval: str, payload: dict[str, Any], seen: Circumstances) -> None:
    """A reviewer signed, on their own machine, the hash of everything that this release or lifting claims."""
    assert seen.reviewers is not None
    try:
        version, body, name, signature = approval.strip().split(".")
        statement = _unbase64(body)
        public = Ed25519PublicKey.from_public_bytes(seen.reviewers[name])
        public.verify(_unbase64(signature), b"revsync-approval " + statement)
        said = decode_payload(statement)
        approved_at = _moment(said.get("approved_at"))
    except KeyError as unknown:
        raise ApprovalMissing("the approval is not of a reviewer that the signer knows") from unknown
    except (ValueError, InvalidSignature) as trouble:
        raise ApprovalMissing("a reviewer's approval is needed, and this is none") from trouble
    if (version, said.get("_type"), said.get("env")) != ("v1", APPROVAL_TYPE, seen.env):
        raise ApprovalMissing("the approval is of another kind")
    if not seen.now - APPROVAL_LIFETIME < approved_at <= seen.now + CLOCK_DIFFERENCE:
        raise ApprovalMissing("the approval is too old")
    if claims_sha256(payload) not in (said.get("claims") or ()):
        raise ApprovalMissing("the approval is of something else: look at the version again")


def read_reviewers(text: str) -> dict[str, bytes]:
    """Names and public keys, from JSON as `tools/approve_release.py make-key` prints it. Raises: ValueError."""
    reviewers = {name: base64.b64decode(public, validate=True) for name, public in json.loads(text).items()}
    if any(len(public) != 32 or not re.fullmatch(r"[a-z0-9-]{1,40}", name) for name, public in reviewers.items()):
        raise ValueError("a reviewer is a short name and a public key of 32 bytes")
    return reviewers


def _check_lifetime(payload: dict[str, Any], issued_at: datetime, longest: timedelta) -> datetime:
    expires_at = _moment(payload["expires_at"])
    if not issued_at < expires_at <= issued_at + longest:
        raise Refused("it would live longer than such a document may")
    return expires_at


def _check_fresh(issued_at: datetime, seen: Circumstances) -> None:
    if issued_at < seen.now - CLOCK_DIFFERENCE and not seen.may_be_old:
        raise Refused("it was not issued just now")


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_INTEGER:
        raise Refused("a number is none")
    return value


def _moment(text: Any) -> datetime:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text):
        raise Refused("a time is none")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as trouble:
        raise Refused("a time is none") from trouble


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as trouble:
        raise ValueError("not base64") from trouble
