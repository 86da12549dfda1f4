#!/usr/bin/env python3
"""Make docs/vectors/: what a verifier must say, case by case. `python tools/make_vectors.py` (make vectors).

Every run writes the same bytes: the keys follow from published seeds, Ed25519 signs without chance, and nothing looks at
the clock. The documents are made by the signer's own code, so that the vectors speak of what the server really signs; the
verifiers that are judged by them share none of it. These keys are for tests: everybody has them.
"""

import base64
import binascii
import copy
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.signing.keyring import envelope_of, keyid_for, public_bytes, root_payload
from core.signing.payloads import base_fields, encode_payload, utc_text
from core.signing.roles import PayloadType, Role

DIRECTORY = ROOT / "docs" / "vectors"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENV = "vectors"
VIN = "JYARN66E000012345"
SERIAL = "00AB12CD34"
FRAME = "RN66-0012345"
HARDWARE, CALIBRATION, AFTER, OLD_AFTER = "B7N-8591A-10", "B7N21E1", "RS-T1-140", "RS-T1-130"
MEDIA_TYPE = "application/vnd.revsync.{}.v1+json"

Json = dict[str, Any]
Patch = Callable[[Json], Any]


def seed_of(name: str) -> bytes:
    return hashlib.sha256(f"revsync vectors: {name}".encode()).digest()


def key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed_of(name))


KEY_NAMES = (
    *("root-a", "root-b", "root-c", "root-d", "release", "release-2", "test-release"),
    *("ticket", "ticket-2", "restore", "status", "status-2", "nobody"),
)
KEYS = {name: key(name) for name in KEY_NAMES}
FIRST_ROLES = {
    Role.ROOT: ["root-a", "root-b", "root-c"],
    Role.RELEASE: ["release"],
    Role.TEST_RELEASE: ["test-release"],
    Role.TICKET: ["ticket"],
    Role.RESTORE: ["restore"],
    Role.STATUS: ["status"],
}


def image(label: str, size_bytes: int = 1024) -> bytes:
    """Bytes that follow from a label."""
    blocks = (hashlib.sha256(f"{label} {number}".encode()).digest() for number in range(size_bytes // 32 + 1))
    return b"".join(blocks)[:size_bytes]


TUNED, STOCK = image("tuned"), image("stock")


def signed(payload: Json | bytes, payload_type: PayloadType | str, signers: list[str]) -> Json:
    """A DSSE envelope. Bytes are signed as they are: for payloads that no honest signer makes."""
    body = payload if isinstance(payload, bytes) else encode_payload(payload)
    return envelope_of(payload_type, body, [KEYS[name] for name in signers])


def root(
    version: int = 1,
    *,
    roles: dict[Role, list[str]] | None = None,
    signers: tuple[str, ...] = ("root-a", "root-b"),
    at: datetime = NOW - timedelta(days=30),
    patch: Patch | None = None,
) -> Json:
    roles = roles or FIRST_ROLES
    names = [name for role_names in roles.values() for name in role_names]
    payload = root_payload(
        version=version,
        env=ENV,
        at=at,
        keyids={role: [keyid_for(KEYS[name]) for name in role_names] for role, role_names in roles.items()},
        public_keys={keyid_for(KEYS[name]): public_bytes(KEYS[name]) for name in names},
    )
    return signed(patched(payload, patch), PayloadType.ROOT, list(signers))


def patched(payload: Json, patch: Patch | None) -> Json | bytes:
    """The payload after a change: the patch edits it in place, or answers what to sign instead."""
    payload = json.loads(encode_payload(payload))
    answer = patch(payload) if patch else None
    return payload if answer is None else answer


def identity(kind: str = "VIN", value: str = VIN, *, salt: str = "00112233445566778899aabbccddeeff") -> Json:
    return {"kind": kind, "salt": salt, "tag": hashlib.sha256((salt + value).encode()).hexdigest()}


def fitment(**changes: Any) -> Json:
    return {
        "make": "Yamaha",
        "model": "MT-09",
        "year_from": 2021,
        "year_to": 2023,
        "markets": ["EU", "UK"],
        "hardware_numbers": [HARDWARE],
        "calibration_ids": [CALIBRATION, "B7N21E2"],
        "image_size_bytes": 1024,
        **changes,
    }


def status_payload() -> Json:
    return {
        **base_fields(PayloadType.STATUS, env=ENV, issued_at=NOW - timedelta(minutes=20), expires_at=NOW + timedelta(hours=71, minutes=40)),
        "version": 1_780_313_000,
        "stopped": [],
        "counter_floors": {},
        "min_app": "1.0.0",
        "blocked_app_versions": [],
        "revoked_keyids": [],
    }


def release_payload(file: bytes, decoded: bytes, form: str, base: int) -> Json:
    return {
        **base_fields(PayloadType.RELEASE, env=ENV, issued_at=NOW - timedelta(days=3)),
        "tune_version_id": "01976000-0000-7000-8000-0000000000a1",
        "tune_file_id": "01976000-0000-7000-8000-0000000000f1",
        "tune_id": "01976000-0000-7000-8000-000000000001",
        "version": "1.4.0",
        "release_counter": 7,
        "tuner_id": "01976000-0000-7000-8000-0000000000b1",
        "channel": "public",
        "file": {"size_bytes": len(file), "sha256": sha256(file), "format": form},
        "image": {"base": base, "size_bytes": len(decoded), "sha256": sha256(decoded)},
        "fitments": [fitment()],
        "calibration_id_after": AFTER,
        "replaces_calibration_ids": [OLD_AFTER, AFTER],
        "requirements": {"fuel": {"octane": 95, "scale": "RON"}, "min_battery_mv": 12_400},
        "emissions_class": "CLOSED_COURSE_ONLY",
        "review": {"approved_sha256": [sha256(file)], "decided_at": utc_text(NOW - timedelta(days=3)), "reviewer": "ab" * 16},
    }


def ticket_payload(release: Json, body: bytes) -> Json:
    return {
        **base_fields(PayloadType.TICKET, env=ENV, issued_at=NOW - timedelta(hours=1), expires_at=NOW + timedelta(hours=71)),
        "ticket_id": "01976000-0000-7000-8000-0000000000c1",
        "purchase_id": None if release.get("channel") == "test" else "01976000-0000-7000-8000-0000000000d1",
        "buyer": "cd" * 16,
        "vehicle_id": "01976000-0000-7000-8000-0000000000e1",
        "channel": release.get("channel"),
        "identity": identity(),
        "ecu": {"hardware_number": HARDWARE, "calibration_id": CALIBRATION, "image_size_bytes": 1024},
        "release_payload_sha256": sha256(body),
        "file_sha256": release["file"]["sha256"],
        "file_size_bytes": release["file"]["size_bytes"],
        "device_key": None,
        "status_version_min": 1_780_313_000,
    }


def restore_payload() -> Json:
    return {
        **base_fields(PayloadType.RESTORE_TICKET, env=ENV, issued_at=NOW - timedelta(days=10), expires_at=NOW + timedelta(days=170)),
        "vehicle_id": "01976000-0000-7000-8000-0000000000e1",
        "identity": identity(),
        "hardware_number": HARDWARE,
        "image_sha256": sha256(STOCK),
        "image_size_bytes": len(STOCK),
    }


def readout(**changes: Any) -> Json:
    return {
        "hardware_number": HARDWARE,
        "calibration_id": CALIBRATION,
        "image_size_bytes": 1024,
        "vin": VIN,
        "serial": None,
        "frame_number": None,
        "stock_calibration_id": CALIBRATION,
        "stock_image_sha256": None,
        "market": "EU",
        "year": 2021,
        **changes,
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def flash(
    name: str,
    why: str,
    code: str = "ok",
    *,
    roots: list[Json] | None = None,
    status: Patch | None = None,
    release: Patch | None = None,
    ticket: Patch | None = None,
    signers: dict[str, list[str]] | None = None,
    types: dict[str, str] | None = None,
    file: bytes = TUNED,
    decoded: bytes | None = None,
    form: str = "BIN",
    base: int = 0,
    served: bytes | None = None,
    after: Patch | None = None,
    **given: Any,
) -> Json:
    """A case of `verify_flash`. Patches work on payloads before they are signed, `after` on the finished input."""
    by, kinds = signers or {}, types or {}
    signed_release = patched(release_payload(file, decoded if decoded is not None else file, form, base), release)
    body = signed_release if isinstance(signed_release, bytes) else encode_payload(signed_release)
    spoken = release_payload(file, decoded or file, form, base) if isinstance(signed_release, bytes) else signed_release
    first, *later = roots or [root()]
    case_input = {
        "at": utc_text(NOW),
        "pinned_root": first,
        "later_roots": later,
        "status": signed(patched(status_payload(), status), kinds.get("status", PayloadType.STATUS), by.get("status", ["status"])),
        "seen_status_version": 0,
        "app_version": "1.4.0",
        "release": signed(signed_release, kinds.get("release", PayloadType.RELEASE), by.get("release", ["release"])),
        "ticket": signed(
            patched(ticket_payload(spoken, body), ticket), kinds.get("ticket", PayloadType.TICKET), by.get("ticket", ["ticket"])
        ),
        "device_key": None,
        "file": base64.b64encode(file if served is None else served).decode(),
        "readout": readout(),
        "has_way_back": True,
        **given,
    }
    if after:
        after(case_input)
    return {"name": name, "check": "flash", "why": why, "input": case_input, "expected": {"code": code, "warnings": []}}


def restore(
    name: str,
    why: str,
    code: str = "ok",
    *,
    warnings: tuple[str, ...] = (),
    roots: list[Json] | None = None,
    ticket: Patch | None = None,
    signers: tuple[str, ...] = ("restore",),
    kind: PayloadType | str = PayloadType.RESTORE_TICKET,
    served: bytes = STOCK,
    form: str = "BIN",
    after: Patch | None = None,
    **given: Any,
) -> Json:
    """A case of `verify_restore`."""
    first, *later = roots or [root()]
    case_input = {
        "at": utc_text(NOW),
        "pinned_root": first,
        "later_roots": later,
        "restore_ticket": signed(patched(restore_payload(), ticket), kind, list(signers)),
        "file": base64.b64encode(served).decode(),
        "format": form,
        "readout": readout(calibration_id=AFTER),
        **given,
    }
    if after:
        after(case_input)
    return {"name": name, "check": "restore", "why": why, "input": case_input, "expected": {"code": code, "warnings": list(warnings)}}


# Small changes, by name


def put(*path: str, value: Any) -> Patch:
    """Set one member, however deep."""

    def patch(payload: Json) -> None:
        for step in path[:-1]:
            payload = payload[step]
        payload[path[-1]] = value

    return patch


def drop(*path: str) -> Patch:
    def patch(payload: Json) -> None:
        for step in path[:-1]:
            payload = payload[step]
        del payload[path[-1]]

    return patch


def both(*patches: Patch) -> Patch:
    def patch(payload: Json) -> None:
        for each in patches:
            each(payload)

    return patch


def raw(change: Callable[[bytes], bytes]) -> Patch:
    """Sign bytes that the signer's own encoder would never make."""
    return lambda payload: change(encode_payload(payload))


def stop(state: str, **changes: Any) -> Patch:
    entry = {
        "id": "01976000-0000-7000-8000-0000000000f1",
        "sha256": sha256(TUNED),
        "state": state,
        "severity": "stop_flash",
        "reason": "Runs lean above 9,000 rpm.",
        "since": utc_text(NOW - timedelta(days=1)),
        "replacement": None,
        **changes,
    }
    return put("stopped", value=[entry])


def flip(document: str, member: str) -> Patch:
    """Change one bit of an envelope's payload or of its first signature."""

    def patch(case_input: Json) -> None:
        holder = case_input[document] if member == "payload" else case_input[document]["signatures"][0]
        data = bytearray(base64.b64decode(holder[member]))
        data[len(data) // 2] ^= 1
        holder[member] = base64.b64encode(data).decode()

    return patch


def at(moment: datetime) -> str:
    return utc_text(moment)


# Text formats, written here because the vectors should not depend on a library's line lengths


def intel_hex(data: bytes, *, base: int = 0, end: str = "\n") -> bytes:
    lines, upper = [], None
    for start in range(0, len(data), 16):
        address = base + start
        if address >> 16 != upper:
            upper = address >> 16
            lines.append(_hex_record(0, 4, upper.to_bytes(2, "big")))
        lines.append(_hex_record(address & 0xFFFF, 0, data[start : start + 16]))
    return end.join([*lines, ":00000001FF", ""]).encode()


def _hex_record(address: int, kind: int, body: bytes) -> str:
    record = bytes([len(body)]) + address.to_bytes(2, "big") + bytes([kind]) + body
    return ":" + binascii.hexlify(record + bytes([-sum(record) & 0xFF])).decode().upper()


def s_records(data: bytes, *, base: int = 0) -> bytes:
    lines = [_s_record("0", 2, 0, b"revsync")]
    lines += [_s_record("3", 4, base + start, data[start : start + 32]) for start in range(0, len(data), 32)]
    return "\n".join([*lines, _s_record("7", 4, base, b""), ""]).encode()


def _s_record(kind: str, width: int, address: int, body: bytes) -> str:
    record = bytes([width + len(body) + 1]) + address.to_bytes(width, "big") + body
    return f"S{kind}" + binascii.hexlify(record + bytes([~sum(record) & 0xFF])).decode().upper()


# The cases


def root_cases() -> Iterator[Json]:
    second_roles = FIRST_ROLES | {Role.ROOT: ["root-b", "root-c", "root-d"], Role.RELEASE: ["release-2"], Role.TICKET: ["ticket-2"]}
    second = root(2, roles=second_roles, signers=("root-b", "root-c"))
    by_second = {"release": ["release-2"], "ticket": ["ticket-2"]}
    yield flash("root-renewed", "Root 2 is signed by two keys of root 1 and two of its own; its keys count from then on.",
                roots=[root(), second], signers=by_second)  # fmt: skip
    third = root(3, roles=second_roles, signers=("root-c", "root-d"))
    yield flash("root-renewed-twice", "A phone that missed a year walks over every root in between.",
                roots=[root(), second, third], signers=by_second)  # fmt: skip
    old = root(1, at=NOW - timedelta(days=700))
    yield flash("root-first-is-old", "That the shipped root expired does not matter once a younger one was reached.",
                roots=[old, second], signers=by_second)  # fmt: skip
    yield flash("root-later-format", "A member that this reader does not know is left alone.",
                roots=[root(patch=put("contact", value="https://example.org/"))])  # fmt: skip
    yield flash("root-three-signatures", "More signatures than are needed do no harm.", roots=[root(signers=("root-a", "root-b", "root-c"))])
    yield flash("root-and-stranger", "A signature by a key that the root does not name is not counted, and does no harm.",
                roots=[root(signers=("nobody", "root-a", "root-c"))])  # fmt: skip
    bad = "bad_root"
    yield flash("root-one-signature", "Two of three are needed.", bad, roots=[root(signers=("root-a",))])
    yield flash("root-one-twice", "One key that signs twice is one signer.", bad, roots=[root(signers=("root-a", "root-a"))])
    yield flash("root-signed-by-stranger", "Keys that the root does not name don't count.", bad, roots=[root(signers=("root-a", "nobody"))])
    yield flash("root-signed-by-online-key", "An online key of this very root is no root key.", bad, roots=[root(signers=("root-a", "status"))])
    yield flash("root-successor-unknown-to-first", "Root 2 must be signed by enough keys of root 1, too.", bad,
                roots=[root(), root(2, roles=second_roles | {Role.ROOT: ["root-d", "nobody"]}, signers=("root-d", "nobody"))])  # fmt: skip
    yield flash("root-successor-not-by-itself", "Root 2 must be signed by enough of its own keys.", bad,
                roots=[root(), root(2, roles=second_roles | {Role.ROOT: ["root-d", "nobody"]}, signers=("root-a", "root-b"))])  # fmt: skip
    yield flash("root-left-out", "Root 3 can't follow root 1.", bad, roots=[root(), root(3)])
    yield flash("root-same-again", "Root 1 does not follow root 1.", bad, roots=[root(), root()])
    yield flash("root-goes-back", "Root 1 does not follow root 2.", bad, roots=[root(2), root(1)])
    yield flash("root-of-another-environment", "A successor for another environment is none.", bad,
                roots=[root(), root(2, patch=put("env", value="dev"))])  # fmt: skip

    def twice(payload: Json) -> None:
        payload["roles"]["ticket"]["keyids"] = payload["roles"]["release"]["keyids"]

    yield flash("root-key-in-two-roles", "A key that serves two roles would let a ticket pass as a release.", bad, roots=[root(patch=twice)])

    def renamed(payload: Json) -> None:
        old_id = payload["roles"]["root"]["keyids"][0]
        payload["keys"]["another-name"] = payload["keys"][old_id]
        payload["roles"]["root"]["keyids"].append("another-name")

    yield flash("root-key-with-two-names", "One key under two ids would count twice.", bad, roots=[root(patch=renamed)])
    yield flash("root-role-missing", "All six roles must be there.", bad, roots=[root(patch=drop("roles", "restore"))])
    yield flash("root-threshold-zero", "A threshold of none is none.", bad, roots=[root(patch=put("roles", "ticket", "threshold", value=0))])
    yield flash("root-threshold-unreachable", "A role of one key can't need two.", bad,
                roots=[root(patch=put("roles", "ticket", "threshold", value=2))])  # fmt: skip
    yield flash("root-threshold-true", "True is no number.", bad, roots=[root(patch=put("roles", "ticket", "threshold", value=True))])

    def short(payload: Json) -> None:
        first = next(iter(payload["keys"].values()))
        first["public"] = base64.b64encode(b"\x01" * 31).decode()

    yield flash("root-key-too-short", "An Ed25519 key has 32 bytes.", bad, roots=[root(patch=short)])

    def other_scheme(payload: Json) -> None:
        next(iter(payload["keys"].values()))["scheme"] = "rsa"

    yield flash("root-key-of-another-scheme", "Nothing but Ed25519 is known here.", bad, roots=[root(patch=other_scheme)])
    yield flash("root-version-zero", "The first root is 1.", bad, roots=[root(patch=put("version", value=0))])
    yield flash("root-empty-object", "This is no envelope.", bad, after=put("pinned_root", value={}))
    yield flash("root-edited", "One bit of the payload was changed after it was signed.", bad, after=flip("pinned_root", "payload"))
    lasting = {"at": NOW - timedelta(days=365)}
    yield flash("root-expires-now", "A document is good before its expiry, and no longer at it.", "expired_root", roots=[root(**lasting)])
    yield flash("root-last-second", "One second before its expiry it is good.",
                roots=[root(at=NOW - timedelta(days=365) + timedelta(seconds=1))])  # fmt: skip
    yield flash("root-expired-long-ago", "Nobody signs with it any more.", "expired_root", roots=[old])
    yield flash("root-newest-expired", "It is the newest root whose age counts.", "expired_root",
                roots=[root(), root(2, at=NOW - timedelta(days=400))])  # fmt: skip


def status_cases() -> Iterator[Json]:
    version = status_payload()["version"]
    yield flash("status-seen-before", "The same status again is no step back.", seen_status_version=version)
    yield flash("status-older-than-seen", "A newer one was seen: somebody holds it back.", "rollback", seen_status_version=version + 1)
    yield flash("status-much-older-than-seen", "However much newer.", "rollback", seen_status_version=2**53 - 1)
    yield flash("status-older-than-the-ticket", "The ticket was given when a newer status was out.", "rollback",
                status=put("version", value=version - 1))  # fmt: skip
    yield flash("status-newer-than-the-ticket", "A newer one is welcome.", status=put("version", value=version + 999))
    yield flash("status-largest-version", "2^53-1 is the largest integer there is.", status=put("version", value=2**53 - 1))
    yield flash("status-expires-now", "At its expiry it is over.", "expired_status", at=at(NOW + timedelta(hours=71, minutes=40)),
                ticket=put("expires_at", value=at(NOW + timedelta(hours=72))))  # fmt: skip
    yield flash("status-last-second", "One second before, it is good.", at=at(NOW + timedelta(hours=71, minutes=39, seconds=59)),
                ticket=put("expires_at", value=at(NOW + timedelta(hours=72))))  # fmt: skip
    yield flash("status-expired-last-year", "It says nothing about today.", "expired_status", status=put("expires_at", value="2025-06-01T12:00:00Z"))
    refused = "bad_signature"
    yield flash("status-by-a-stranger", "Nobody's key.", refused, signers={"status": ["nobody"]})
    yield flash("status-by-the-ticket-key", "The key of another role.", refused, signers={"status": ["ticket"]})
    yield flash("status-unsigned", "No signature at all.", refused, signers={"status": []})
    yield flash("status-edited", "One bit of the payload was changed.", refused, after=flip("status", "payload"))
    yield flash("status-signature-edited", "One bit of the signature was changed.", refused, after=flip("status", "sig"))
    yield flash("status-is-a-ticket", "Another payload type, rightly signed by the status key.", refused,
                types={"status": PayloadType.TICKET.value})  # fmt: skip
    yield flash("status-type-inside", "The payload says that it is something else.", refused, status=put("_type", value="tune-release"))
    yield flash("status-of-another-environment", "Development's status says nothing in production.", refused, status=put("env", value="dev"))
    yield flash("status-later-major-format", "A major format that this reader can't know is refused.", refused, status=put("schema", value="2.0"))
    yield flash("status-later-minor-format", "A minor one is read.", status=both(put("schema", value="1.7"), put("news", value=["é", 1])))
    yield flash("status-version-missing", "Without a version nobody can tell old from new.", refused, status=drop("version"))
    yield flash("status-version-true", "True is no number.", refused, status=put("version", value=True))
    yield flash("status-fraction", "There are no fractions in a signed document.", refused,
                status=raw(lambda body: body.replace(b'"version":1780313000', b'"version":1780313000.0')))  # fmt: skip
    yield flash("status-exponent", "Nor exponents.", refused, status=raw(lambda body: body.replace(b'"version":1780313000', b'"version":2e9')))
    yield flash("status-integer-too-large", "2^53 is not every reader's 2^53.", refused,
                status=raw(lambda body: body.replace(b'"version":1780313000', b'"version":9007199254740992')))  # fmt: skip
    yield flash("status-member-twice", "Which of the two would count?", refused,
                status=raw(lambda body: body.replace(b'"min_app":', b'"min_app":"0.0.1","min_app":')))  # fmt: skip
    yield flash("status-not-utf-8", "Text is UTF-8.", refused, status=raw(lambda body: body.replace(b'"vectors"', b'"vectors\xff"')))
    yield flash("status-not-a-number", "NaN is no JSON.", refused, status=raw(lambda body: body.replace(b'"version":1780313000', b'"version":NaN')))
    yield flash("status-a-list", "A payload is an object.", refused, status=lambda _: b"[]")
    yield flash("status-time-with-offset", "Times are UTC, with Z.", refused, status=put("expires_at", value="2026-06-04T12:00:00+00:00"))
    yield flash("status-time-with-fraction", "Times are to the second.", refused, status=put("expires_at", value="2026-06-04T12:00:00.000Z"))
    yield flash("status-no-such-day", "There is no 31st of June.", refused, status=put("expires_at", value="2026-06-31T12:00:00Z"))
    yield flash("status-stop-without-hash", "A stop that names no hash is no stop.", refused,
                status=put("stopped", value=[{"id": "x", "state": "recalled"}]))  # fmt: skip
    blocked = "app_version_blocked"
    yield flash("app-just-new-enough", "The least version is enough.", status=put("min_app", value="1.4.0"))
    yield flash("app-too-old", "It is below the least.", blocked, status=put("min_app", value="1.4.1"))
    yield flash("app-compared-as-numbers", "1.10 is above 1.9: numbers, not letters.", status=put("min_app", value="1.9.0"), app_version="1.10.0")
    yield flash("app-compared-as-numbers-again", "And 1.9 is below 1.10.", blocked, status=put("min_app", value="1.10.0"), app_version="1.9.0")
    yield flash("app-short-version", "1.4 is 1.4.0.", status=put("min_app", value="1.4.0"), app_version="1.4")
    yield flash("app-with-build", "What follows a plus or a hyphen does not count.", status=put("min_app", value="1.4.0"), app_version="1.4.0+77")
    yield flash("app-blocked", "This one version wrote wrong bytes.", blocked, status=put("blocked_app_versions", value=["1.4.0", "1.2.2"]))
    yield flash("app-another-blocked", "Another one did.", status=put("blocked_app_versions", value=["1.3.9"]))
    yield flash("app-version-unknown", "An app that does not know its version does not flash.", blocked, app_version="")


def release_cases() -> Iterator[Json]:
    refused = "bad_signature"
    yield flash("release-of-another-time", "A release does not expire: what was paid for stays usable.",
                release=put("issued_at", value="2019-01-01T00:00:00Z"))  # fmt: skip
    yield flash("release-with-news", "Members that this reader does not know are left alone.",
                release=put("dyno", value={"gain_nm": 7, "remark": "Ω ñ 日本 🏍"}))  # fmt: skip
    yield flash("release-by-a-stranger", "Nobody's key.", refused, signers={"release": ["nobody"]})
    yield flash("release-by-the-ticket-key", "A stolen ticket key signs no release.", refused, signers={"release": ["ticket"]})
    yield flash("release-by-the-status-key", "Nor does the status key.", refused, signers={"release": ["status"]})
    yield flash("release-by-the-restore-key", "Nor does the restore key.", refused, signers={"release": ["restore"]})
    yield flash("release-by-root", "A root key signs roots only.", refused, signers={"release": ["root-a"]})
    yield flash("release-unsigned", "No signature at all.", refused, signers={"release": []})
    yield flash("release-edited", "One bit of the payload was changed.", refused, after=flip("release", "payload"))
    yield flash("release-signature-edited", "One bit of the signature was changed.", refused, after=flip("release", "sig"))

    def malleable(case_input: Json) -> None:
        """S + L verifies in a careless library."""
        order = 2**252 + 27742317777372353535851937790883648493
        holder = case_input["release"]["signatures"][0]
        data = base64.b64decode(holder["sig"])
        holder["sig"] = base64.b64encode(data[:32] + (int.from_bytes(data[32:], "little") + order).to_bytes(32, "little")).decode()

    yield flash("release-signature-not-reduced", "A signature has one spelling: S is below the group's order (RFC 8032, 5.1.7).", refused,
                after=malleable)  # fmt: skip

    def borrowed(case_input: Json) -> None:
        case_input["release"]["signatures"] = case_input["ticket"]["signatures"]

    yield flash("release-with-the-tickets-signature", "A signature belongs to one payload.", refused, after=borrowed)

    def renamed(case_input: Json) -> None:
        case_input["release"]["signatures"][0]["keyid"] = keyid_for(KEYS["release-2"])

    yield flash("release-key-renamed", "The id of a signature must be one that the root names.", refused, after=renamed)

    def unpadded(case_input: Json) -> None:
        case_input["release"]["signatures"][0]["sig"] = case_input["release"]["signatures"][0]["sig"].rstrip("=")

    yield flash("release-base64-unpadded", "Base64 has one spelling.", refused, after=unpadded)

    def blank_inside(case_input: Json) -> None:
        payload = case_input["release"]["payload"]
        case_input["release"]["payload"] = payload[:40] + "\n" + payload[40:]

    yield flash("release-base64-with-a-line-break", "Base64 has no blanks here.", refused, after=blank_inside)
    yield flash("release-key-revoked", "The status document says that this key was stolen.", refused,
                status=put("revoked_keyids", value=[keyid_for(KEYS["release"])]))  # fmt: skip
    yield flash("release-another-key-revoked", "Another one was.", status=put("revoked_keyids", value=[keyid_for(KEYS["release-2"])]))
    yield flash("release-of-another-environment", "A tune of development is none here.", refused, release=put("env", value="dev"))
    yield flash("release-counter-missing", "A public release has a counter.", refused, release=put("release_counter", value=None))
    yield flash("release-fitments-missing", "Without fitments it fits nothing.", refused, release=drop("fitments"))
    yield flash("release-size-is-text", "A size is a number.", refused, release=put("file", "size_bytes", value="1024"),
                ticket=put("file_size_bytes", value=1024))  # fmt: skip
    yield flash("recalled", "Staff stopped it for good.", "recalled", status=stop("recalled"))
    yield flash("recalled-by-hash-only", "The same bytes under another file id are stopped, too.", "recalled", status=stop("recalled", id="other"))
    yield flash("recalled-by-id-only", "So is this file's id with another hash.", "recalled", status=stop("recalled", sha256="00" * 32))
    yield flash("recalled-for-information", "The severity tells what owners should do; a stopped release is not flashed anew.", "recalled",
                status=stop("recalled", severity="info"))  # fmt: skip
    yield flash("stopped-in-an-unknown-way", "A state that this reader does not know is treated as the worst.", "recalled",
                status=stop("quarantined"))  # fmt: skip
    yield flash("on-hold", "Somebody responsible pulled the brake.", "on_hold", status=stop("on_hold"))
    yield flash("on-hold-by-id-only", "The id is enough.", "on_hold", status=stop("on_hold", sha256="00" * 32))

    def both_stops(payload: Json) -> None:
        stop("on_hold")(payload)
        held = payload["stopped"]
        stop("recalled", sha256="00" * 32)(payload)
        payload["stopped"] = held + payload["stopped"]

    yield flash("on-hold-and-recalled", "The worse of two.", "recalled", status=both_stops)
    yield flash("another-recalled", "Another release was.", status=stop("recalled", id="other", sha256="11" * 32))
    tune = "01976000-0000-7000-8000-000000000001"
    yield flash("counter-at-the-floor", "Releases from the floor on are good.", status=put("counter_floors", value={tune: 7}))
    yield flash("counter-below-the-floor", "Older ones were withdrawn from flashing.", "rollback", status=put("counter_floors", value={tune: 8}))
    yield flash("counter-far-below-the-floor", "By any distance.", "rollback", status=put("counter_floors", value={tune: 2**53 - 1}))
    yield flash("floor-of-another-tune", "The floor is the tune's own.", status=put("counter_floors", value={"other": 99}))
    yield flash("counter-largest", "2^53-1 is an integer.", release=put("release_counter", value=2**53 - 1))


def ticket_cases() -> Iterator[Json]:
    refused = "bad_signature"
    yield flash("ticket-by-a-stranger", "Nobody's key.", refused, signers={"ticket": ["nobody"]})
    yield flash("ticket-by-the-release-key", "The release key gives no tickets.", refused, signers={"ticket": ["release"]})
    yield flash("ticket-by-the-restore-key", "Nor does the restore key.", refused, signers={"ticket": ["restore"]})
    yield flash("ticket-edited", "One bit of the payload was changed.", refused, after=flip("ticket", "payload"))
    yield flash("ticket-signature-too-short", "64 bytes make a signature.", refused,
                after=lambda given: given["ticket"]["signatures"][0].update(sig=base64.b64encode(b"\x01" * 63).decode()))  # fmt: skip
    yield flash("ticket-key-revoked", "The ticket key was stolen; the status document says so.", refused,
                status=put("revoked_keyids", value=[keyid_for(KEYS["ticket"])]))  # fmt: skip
    yield flash("ticket-is-a-restore-ticket", "A restore ticket is no flash ticket.", refused,
                ticket=put("_type", value="restore-ticket"), types={"ticket": PayloadType.RESTORE_TICKET.value},
                signers={"ticket": ["restore"]})  # fmt: skip
    yield flash("ticket-missing", "There is none.", refused, after=put("ticket", value=None))
    yield flash("ticket-later-major-format", "Refused.", refused, ticket=put("schema", value="10.0"))
    yield flash("ticket-without-identity", "A ticket is for one vehicle.", refused, ticket=drop("identity"))
    yield flash("ticket-expires-now", "At its expiry it is over.", "expired_ticket", ticket=put("expires_at", value=at(NOW)))
    yield flash("ticket-last-second", "One second before, it is good.", ticket=put("expires_at", value=at(NOW + timedelta(seconds=1))))
    yield flash("ticket-expired", "72 hours are over.", "expired_ticket", ticket=put("expires_at", value=at(NOW - timedelta(hours=1))))
    wrong = "wrong_channel"
    test_release = both(put("channel", value="test"), put("release_counter", value=None), put("review", value=None))
    yield flash("test-flash", "A tuner's own vehicle before publication: release, ticket and key are all of channel test.",
                release=test_release, signers={"release": ["test-release"]})  # fmt: skip
    yield flash("test-release-as-public", "Unreviewed bytes, signed by the test key, that call themselves public.", wrong,
                signers={"release": ["test-release"]})  # fmt: skip
    yield flash("test-release-with-public-ticket", "A ticket of the one channel does not serve the other.", wrong,
                release=test_release, ticket=put("channel", value="public"), signers={"release": ["test-release"]})  # fmt: skip
    yield flash("public-release-with-test-ticket", "Nor the other way round.", wrong, ticket=put("channel", value="test"))
    yield flash("test-channel-by-the-release-key", "The release key signs reviewed bytes only.", wrong,
                release=both(put("channel", value="test"), put("release_counter", value=7)))  # fmt: skip
    yield flash("ticket-for-this-phone", "The ticket is bound to the phone's key.", ticket=put("device_key", value="ef" * 32), device_key="ef" * 32)
    yield flash("ticket-for-another-phone", "It is bound to another one.", "wrong_device", ticket=put("device_key", value="ef" * 32),
                device_key="aa" * 32)  # fmt: skip
    yield flash("ticket-for-a-phone-with-a-key", "This phone has none.", "wrong_device", ticket=put("device_key", value="ef" * 32))
    yield flash("ticket-for-any-phone", "An unbound ticket serves a phone with a key.", device_key="ef" * 32)
    yield flash("ticket-with-news", "Members that this reader does not know are left alone.", ticket=put("note", value="für später"))


def file_cases() -> Iterator[Json]:
    wrong = "tampered"
    yield flash("ticket-for-another-release", "The ticket names the hash of another release.", wrong,
                ticket=put("release_payload_sha256", value="00" * 32))  # fmt: skip
    yield flash("ticket-for-another-file", "The ticket names another file.", wrong, ticket=put("file_sha256", value=sha256(STOCK)))
    yield flash("ticket-for-another-size", "Or another size.", wrong, ticket=put("file_size_bytes", value=1023))
    yield flash("file-one-bit", "One bit of the file is another.", wrong, served=bytes([TUNED[0] ^ 1]) + TUNED[1:])
    yield flash("file-last-byte", "The last byte is another.", wrong, served=TUNED[:-1] + b"\x00")
    yield flash("file-cut-off", "One byte is missing.", wrong, served=TUNED[:-1])
    yield flash("file-too-long", "One byte too many: reading stops there.", wrong, served=TUNED + b"\x00")
    yield flash("file-empty", "Nothing came.", wrong, served=b"")
    yield flash("file-is-the-stock-image", "Another good image is not this one.", wrong, served=STOCK)
    yield flash("image-hash-differs", "The file has its hash, but what is in it has another.", wrong, release=put("image", "sha256", value="00" * 32))
    yield flash("image-size-differs", "Or another size.", wrong, release=put("image", "size_bytes", value=2048))
    yield flash("image-base-differs", "Or another place.", wrong, release=put("image", "base", value=4096))
    yield flash("file-of-unknown-format", "A format that this reader does not know.", wrong, release=put("file", "format", value="TEKTRONIX"))
    text = intel_hex(TUNED, base=0x10000)
    yield flash("intel-hex", "Intel HEX with an upper address.", file=text, decoded=TUNED, form="INTEL_HEX", base=0x10000)
    yield flash("intel-hex-of-another-system", "Its lines may end in CR LF.", file=intel_hex(TUNED, end="\r\n"), decoded=TUNED, form="INTEL_HEX")
    gap = text.replace(_hex_record(0x0100, 0, TUNED[0x100:0x110]).encode() + b"\n", b"")
    filled = TUNED[:0x100] + b"\xff" * 16 + TUNED[0x110:]
    yield flash("intel-hex-with-a-gap", "What is between records reads as erased memory, 0xFF.", file=gap, decoded=filled, form="INTEL_HEX",
                base=0x10000)  # fmt: skip
    damaged = text.replace(text.splitlines()[3], text.splitlines()[3][:-2] + b"00")
    yield flash("intel-hex-wrong-checksum", "A record's checksum is wrong, though the file has the signed hash.", wrong, file=damaged,
                decoded=TUNED, form="INTEL_HEX", base=0x10000)  # fmt: skip
    yield flash("intel-hex-without-end", "The end record is missing.", wrong, file=text.replace(b":00000001FF\n", b""), decoded=TUNED,
                form="INTEL_HEX", base=0x10000)  # fmt: skip
    lines = text.splitlines(keepends=True)
    yield flash("intel-hex-writes-twice", "Two records write one address.", wrong, file=b"".join([*lines[:3], lines[2], *lines[3:]]),
                decoded=TUNED, form="INTEL_HEX", base=0x10000)  # fmt: skip
    far = _hex_record(0, 4, b"\x40\x00") + "\n" + _hex_record(0, 0, b"\x00") + "\n"
    yield flash("intel-hex-too-far-apart", "A record a gigabyte away: refused before anything of that size is made.", wrong,
                file=text.replace(b":00000001FF", far.encode() + b":00000001FF"), decoded=TUNED, form="INTEL_HEX", base=0x10000)  # fmt: skip
    yield flash("s-record", "Motorola S-records with 32-bit addresses.", file=s_records(TUNED, base=0x80000), decoded=TUNED, form="S_RECORD",
                base=0x80000)  # fmt: skip
    yield flash("s-record-damaged", "A record's checksum is wrong.", wrong, file=s_records(TUNED).replace(b"S325", b"S326", 1), decoded=TUNED,
                form="S_RECORD")  # fmt: skip


def ecu_cases() -> Iterator[Json]:
    wrong = "wrong_ecu"
    yield flash("ecu-second-calibration", "Any calibration of the row will do.", ticket=put("ecu", "calibration_id", value="B7N21E2"),
                readout=readout(calibration_id="B7N21E2"))  # fmt: skip
    yield flash("ecu-changed-since-the-ticket", "A dealer updated it after the ticket was given: read it again.", wrong,
                readout=readout(calibration_id="B7N21E2"))  # fmt: skip
    yield flash("ecu-another-hardware", "A ticket for one ECU opens no other.", wrong, readout=readout(hardware_number="B7N-8591A-20"))
    yield flash("ecu-hardware-in-no-fitment", "The ticket agrees with the ECU, the release does not: a stolen ticket key flashes nothing.", wrong,
                ticket=put("ecu", "hardware_number", value="B7N-8591A-20"), readout=readout(hardware_number="B7N-8591A-20"))  # fmt: skip
    yield flash("ecu-calibration-in-no-fitment", "The same for the calibration.", wrong, ticket=put("ecu", "calibration_id", value="B7N99Z9"),
                readout=readout(calibration_id="B7N99Z9"))  # fmt: skip
    yield flash("ecu-smaller-image", "256 KB written to a 384 KB ECU is a brick.", wrong, readout=readout(image_size_bytes=1536))
    yield flash("ecu-another-size-with-its-ticket", "Also when the ticket says so.", wrong, ticket=put("ecu", "image_size_bytes", value=1536),
                readout=readout(image_size_bytes=1536))  # fmt: skip
    yield flash("ecu-size-of-the-row-only", "The row has the ECU's size, but the image has another.", wrong,
                release=put("fitments", value=[fitment(image_size_bytes=2048)]), ticket=put("ecu", "image_size_bytes", value=2048),
                readout=readout(image_size_bytes=2048))  # fmt: skip
    yield flash("ecu-not-read", "Nothing is known of it.", wrong,
                readout=readout(hardware_number=None, calibration_id=None, image_size_bytes=None))  # fmt: skip
    us = fitment(markets=["US"], hardware_numbers=["US-HW"], calibration_ids=["US-CAL"])
    two = put("fitments", value=[fitment(), us])
    yield flash("ecu-second-row", "The second of two fitments has it all.", release=two,
                ticket=put("ecu", value={"hardware_number": "US-HW", "calibration_id": "US-CAL", "image_size_bytes": 1024}),
                readout=readout(hardware_number="US-HW", calibration_id="US-CAL", market="US"))  # fmt: skip
    yield flash("ecu-facts-of-two-rows", "The hardware of one row with the calibration of another is no fitment.", wrong, release=two,
                ticket=put("ecu", value={"hardware_number": "US-HW", "calibration_id": CALIBRATION, "image_size_bytes": 1024}),
                readout=readout(hardware_number="US-HW", market="US"))  # fmt: skip
    yield flash("ecu-market-of-another-row", "The right ECU in a vehicle of a market that only the other row has.", wrong, release=two,
                readout=readout(market="US"))  # fmt: skip
    yield flash("ecu-market-unknown", "A market that the app does not know is not compared.", readout=readout(market=None))
    yield flash("ecu-any-market", "A row without markets says nothing about them.", release=put("fitments", value=[fitment(markets=[])]),
                readout=readout(market="JP"))  # fmt: skip
    yield flash("ecu-first-year", "Years are inclusive.", readout=readout(year=2021))
    yield flash("ecu-last-year", "On both sides.", readout=readout(year=2023))
    yield flash("ecu-year-before", "A year too early.", wrong, readout=readout(year=2020))
    yield flash("ecu-year-after", "A year too late.", wrong, readout=readout(year=2024))
    old = {"ticket": put("ecu", "calibration_id", value=OLD_AFTER)}
    yield flash("ecu-has-our-earlier-version", "One's own earlier version is flashed over: the calibration it was made with decides.",
                readout=readout(calibration_id=OLD_AFTER), **old)  # fmt: skip
    yield flash("ecu-has-this-very-version", "So is the same version again.", ticket=put("ecu", "calibration_id", value=AFTER),
                readout=readout(calibration_id=AFTER))  # fmt: skip
    yield flash("ecu-has-our-version-for-another-stock", "Made for another stock calibration: the other file is right.", wrong,
                readout=readout(calibration_id=OLD_AFTER, stock_calibration_id="B7N21E9"), **old)  # fmt: skip
    yield flash("ecu-has-our-version-stock-unknown", "Without the calibration it was made with nobody can tell.", wrong,
                readout=readout(calibration_id=OLD_AFTER, stock_calibration_id=None), **old)  # fmt: skip
    yield flash("ecu-has-somebody-elses-tune", "The ticket says that it may, the release does not know it.", wrong,
                ticket=put("ecu", "calibration_id", value="OTHER-1"), readout=readout(calibration_id="OTHER-1"))  # fmt: skip
    yield flash("no-fitments", "An empty list fits nothing.", wrong, release=put("fitments", value=[]))
    yield flash("no-way-back", "Save the stock image first.", "stock_backup_required", has_way_back=False)
    yield flash("no-way-back-on-the-wrong-vehicle", "What is worse is said first.", "wrong_vehicle", has_way_back=False,
                readout=readout(vin="JYARN66E000099999"))  # fmt: skip
    yield flash("no-way-back-for-a-test", "A tuner's own vehicle needs one as well.", "stock_backup_required", has_way_back=False,
                release=both(put("channel", value="test"), put("release_counter", value=None)), signers={"release": ["test-release"]})  # fmt: skip


def vehicle_cases() -> Iterator[Json]:
    wrong = "wrong_vehicle"
    yield flash("vin-not-reported", "Many ECUs report no VIN: nothing to compare.", readout=readout(vin=None))
    yield flash("vin-of-another-bike", "The ticket was shared.", wrong, readout=readout(vin="JYARN66E000012346"))
    yield flash("vin-in-lower-case", "A VIN is compared as it is written in the ticket: in capitals.", wrong, readout=readout(vin=VIN.lower()))
    for kind, value, member in (("ECU_SERIAL", SERIAL, "serial"), ("STOCK_IMAGE", sha256(STOCK), "stock_image_sha256")):
        bound = put("identity", value=identity(kind, value))
        low = kind.lower().replace("_", "-")
        yield flash(f"{low}-as-in-the-ticket", "It is the one.", ticket=bound, readout=readout(vin=None, **{member: value}))
        yield flash(f"{low}-of-another", "It is not the one.", wrong, ticket=bound, readout=readout(vin=None, **{member: value[:-1] + "0"}))
        yield flash(f"{low}-not-reported", "What the ticket goes by must be there.", wrong, ticket=bound, readout=readout(vin=None))
    frame = put("identity", value=identity("FRAME_NUMBER", FRAME))
    yield flash("frame-number-as-typed", "The rider typed what is on the frame.", ticket=frame, readout=readout(vin=None, frame_number=FRAME))
    yield flash("frame-number-of-another", "It is another frame.", wrong, ticket=frame, readout=readout(vin=None, frame_number="RN66-0012346"))
    yield flash("frame-number-not-asked", "No ECU reports one: nothing to compare.", ticket=frame, readout=readout(vin=None))
    yield flash("frame-number-in-unicode", "The tag is over UTF-8.", ticket=put("identity", value=identity("FRAME_NUMBER", "ÄÖ-Ñ-鈴木-1")),
                readout=readout(frame_number="ÄÖ-Ñ-鈴木-1"))  # fmt: skip
    yield flash("identity-of-an-unknown-kind", "Who can't compare does not flash.", wrong, ticket=put("identity", "kind", value="ENGINE_NUMBER"))
    yield flash("identity-salted-otherwise", "The salt belongs to the tag.", wrong, ticket=put("identity", "salt", value="ff" * 16))


def restore_cases() -> Iterator[Json]:
    yield restore("restore", "The way back.")
    yield restore("restore-old-root", "Age only warns.", warnings=("expired_root",), roots=[root(at=NOW - timedelta(days=700))])
    yield restore("restore-old-ticket", "So it does for the ticket: a phone that was offline for a year gets home.", warnings=("expired_ticket",),
                  at=at(NOW + timedelta(days=170)))  # fmt: skip
    yield restore("restore-all-old", "And for both.", warnings=("expired_root", "expired_ticket"), at=at(NOW + timedelta(days=4000)))
    yield restore("restore-whatever-is-in-the-ecu", "The calibration that is in there now is not asked about.",
                  readout=readout(calibration_id="BROKEN"))  # fmt: skip
    yield restore("restore-size-not-reported", "An ECU in recovery mode says little.",
                  readout={"hardware_number": HARDWARE})  # fmt: skip
    yield restore("restore-from-intel-hex", "The hash is that of the decoded image.", served=intel_hex(STOCK), form="INTEL_HEX")
    yield restore("restore-identity-by-stock-image", "What is in the ECU now can't be compared with it.",
                  ticket=put("identity", value=identity("STOCK_IMAGE", sha256(STOCK))), readout=readout(vin=None))  # fmt: skip
    yield restore("restore-serial-not-reported", "Compared only where the ECU reports one.",
                  ticket=put("identity", value=identity("ECU_SERIAL", SERIAL)), readout=readout(vin=None))  # fmt: skip
    yield restore("restore-root-of-one", "Two of three are needed here, too.", "bad_root", roots=[root(signers=("root-a",))])
    yield restore("restore-by-the-ticket-key", "Only the restore key gives a way back.", "bad_signature", signers=("ticket",))
    yield restore("restore-by-the-release-key", "A release is no stock image.", "bad_signature", signers=("release",))
    yield restore("restore-edited", "One bit was changed.", "bad_signature", after=flip("restore_ticket", "payload"))
    yield restore("restore-with-a-flash-ticket", "A flash ticket is no restore ticket.", "bad_signature", kind=PayloadType.TICKET, signers=("ticket",))
    yield restore("restore-of-another-environment", "Refused.", "bad_signature", ticket=put("env", value="dev"))
    yield restore("restore-one-bit", "The file is not what was saved.", "tampered", served=bytes([STOCK[0] ^ 1]) + STOCK[1:])
    yield restore("restore-a-tune-as-stock", "Somebody's tune in place of the stock image.", "tampered", served=TUNED)
    yield restore("restore-cut-off", "A piece is missing.", "tampered", served=STOCK[:-1])
    yield restore("restore-another-hardware", "The image is another ECU's.", "wrong_ecu", readout=readout(hardware_number="B7N-8591A-20"))
    yield restore("restore-another-size", "The ECU's memory has another size.", "wrong_ecu", readout=readout(image_size_bytes=2048))
    yield restore("restore-hardware-not-read", "Without a hardware number nothing is written.", "wrong_ecu", readout=readout(hardware_number=None))
    yield restore("restore-another-vehicle", "Another bike with the same ECU model.", "wrong_vehicle", readout=readout(vin="JYARN66E000012346"))
    yield restore("restore-another-serial", "Another ECU of the same model.", "wrong_vehicle",
                  ticket=put("identity", value=identity("ECU_SERIAL", SERIAL)), readout=readout(vin=None, serial="FF"))  # fmt: skip


def cases() -> Iterator[Json]:
    yield flash("good", "Everything agrees.")
    for group in (root_cases, status_cases, release_cases, ticket_cases, file_cases, ecu_cases, vehicle_cases, restore_cases):
        yield from group()


def render() -> dict[str, str]:
    """Every file of docs/vectors but its README, by name."""
    files = {}
    names = set()
    for number, vector in enumerate(cases(), start=1):
        if vector["name"] in names:
            raise ValueError(f"two vectors are called {vector['name']}")
        names.add(vector["name"])
        files[f"{number:03d}-{vector['name']}.json"] = json.dumps(copy.deepcopy(vector), indent=1, ensure_ascii=False) + "\n"
    keys = {
        name: {
            "seed": seed_of(name).hex(),
            "keyid": keyid_for(private),
            "public": base64.b64encode(public_bytes(private)).decode(),
        }
        for name, private in KEYS.items()
    }
    files["keys.json"] = json.dumps(keys, indent=1) + "\n"
    return files


def main() -> None:
    readme = (DIRECTORY / "README.md").read_text() if (DIRECTORY / "README.md").exists() else ""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    if readme:
        (DIRECTORY / "README.md").write_text(readme)
    files = render()
    for name, text in files.items():
        (DIRECTORY / name).write_text(text)
    print(f"{len(files) - 1} vectors and the keys that signed them, in {DIRECTORY.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
