"""Signed documents: DSSE envelopes by Ed25519, six roles, one root document that says whose word counts.

What is in a release, a ticket, a status or a restore ticket is the business of the apps above; here is only that it is
canonical, signed by the key of its role and by no other, and verifiable against the root.
"""

from core.signing.envelopes import Envelope, keyid_of, payload_of, payload_sha256, verify, verify_by_any_root
from core.signing.errors import RootMissing, SignatureRefused, SigningNotReady
from core.signing.keyfiles import ensure_development_keys
from core.signing.payloads import base_fields, encode_payload, utc_text
from core.signing.roles import PayloadType, Role
from core.signing.roots import RootDocument, all_roots, current_root, environment_name, root_envelope
from core.signing.service import sign

__all__ = [
    "Envelope",
    "PayloadType",
    "Role",
    "RootDocument",
    "RootMissing",
    "SignatureRefused",
    "SigningNotReady",
    "all_roots",
    "base_fields",
    "current_root",
    "encode_payload",
    "ensure_development_keys",
    "environment_name",
    "keyid_of",
    "payload_of",
    "payload_sha256",
    "root_envelope",
    "sign",
    "utc_text",
    "verify",
    "verify_by_any_root",
]
