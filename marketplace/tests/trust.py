"""A reader of signed documents that shares no code with the signer: plain `cryptography` and the root as it is served."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core import signing


def root() -> dict:
    return json.loads(base64.b64decode(signing.root_envelope(1)["payload"]))


def read_document(envelope: dict, role: str) -> dict:
    """The payload of an envelope whose signatures hold for the role. Raises InvalidSignature or AssertionError."""
    trusted = root()
    body = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
    good = set()
    for signature in envelope["signatures"]:
        assert signature["keyid"] in trusted["roles"][role]["keyids"], "a key of another role"
        public = base64.b64decode(trusted["keys"][signature["keyid"]]["public"])
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature["sig"]), message)
        good.add(public)
    assert len(good) >= trusted["roles"][role]["threshold"]
    assert b"." not in kind.split(b"+")[1]
    return json.loads(body, parse_float=_no_float)


def payload_hash(envelope: dict) -> str:
    return hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest()


def _no_float(text: str):
    raise AssertionError(f"a float in a signed document: {text}")
