"""DSSE envelopes: made by securesystemslib, read once. What is parsed is what was verified, never the envelope again."""

import base64
import copy
import hashlib
from collections.abc import Collection, Iterable
from typing import Any

from securesystemslib import dsse
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from core.signing.errors import SignatureRefused
from core.signing.payloads import SCHEMA, decode_payload
from core.signing.roles import PayloadType, Role, may_sign
from core.signing.rootfiles import RootDocument
from core.signing.roots import all_roots, current_root

Envelope = dict[str, Any]  # {"payloadType", "payload", "signatures": [{"keyid", "sig"}]}


def payload_sha256(envelope: Envelope) -> str:
    """The hash by which other documents name this one: of the payload's bytes, not of the envelope."""
    return hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest()


def payload_of(envelope: Envelope) -> dict[str, Any]:
    """The payload of an envelope of our own making, unverified: for reading back what this process just signed or stored."""
    return decode_payload(base64.b64decode(envelope["payload"]))


def keyid_of(envelope: Envelope) -> str:
    """The first signer's key id."""
    return envelope["signatures"][0]["keyid"]


def verify(envelope: Envelope, *, role: Role, root: RootDocument | None = None, without: Collection[str] = ()) -> dict[str, Any]:
    """The payload, if enough distinct keys of `role` signed it, its type is one that this role signs, and it belongs to
    the root's environment. Keys whose ids are in `without` don't count. Raises SignatureRefused."""
    root = root or current_root()
    try:
        payload_type = envelope["payloadType"]
        if not may_sign(role, payload_type):
            raise SignatureRefused(f"the role {role} signs no {payload_type}")
        sealed = dsse.Envelope.from_dict(copy.deepcopy(envelope))  # from_dict empties its argument
        keys = _distinct_keys(root, role, without)
        sealed.verify(list(keys.values()), root.threshold_of(role))
        payload = decode_payload(sealed.payload)
    except (KeyError, TypeError, ValueError, VerificationError) as error:
        raise SignatureRefused(str(error)) from error
    if payload.get("_type") != PayloadType(payload_type).document_type or str(payload.get("schema")).split(".")[0] != SCHEMA.split(".")[0]:
        raise SignatureRefused("the payload is not what its envelope says")
    if payload.get("env") != root.env:
        raise SignatureRefused("the document belongs to another environment")
    return payload


def verify_by_any_root(envelope: Envelope, *, role: Role, without: Iterable[str] = ()) -> dict[str, Any]:
    """The same by the first root of ours, the newest first, whose keys signed it: for what was signed before a rotation.
    Never for what decides whether a phone may flash. Raises SignatureRefused, SigningNotReady."""
    excluded, refusal = frozenset(without), SignatureRefused("there is no root")
    for root in all_roots():
        try:
            return verify(envelope, role=role, root=root, without=excluded)
        except SignatureRefused as reason:
            refusal = reason
    raise refusal


def _distinct_keys(root: RootDocument, role: Role, without: Collection[str]) -> dict[bytes, SSlibKey]:
    """One key for each public value: two ids of one key are one signer."""
    keys: dict[bytes, SSlibKey] = {}
    for keyid in root.keyids_of(role):
        if keyid in without:
            continue
        public = root.public_key(keyid)
        keys.setdefault(public, SSlibKey(keyid, "ed25519", "ed25519", {"public": public.hex()}))
    return keys
