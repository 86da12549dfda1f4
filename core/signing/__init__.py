"""Signed documents: DSSE envelopes by Ed25519, six roles, one root document that says whose word counts.

What is in a release, a ticket, a status or a restore ticket is the business of the apps above; here is only that it is
canonical, signed by the key of its role and by no other, and verifiable against the root.

Names are fetched when they are used: the signer process, which is a module of this package, must not load what the
application needs to read envelopes and settings.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.signing.envelopes import Envelope, keyid_of, payload_of, payload_sha256, verify, verify_by_any_root
    from core.signing.errors import RootMissing, SignatureRefused, SigningNotReady
    from core.signing.keyfiles import ensure_development_keys
    from core.signing.payloads import base_fields, encode_payload, utc_text
    from core.signing.roles import PayloadType, Role
    from core.signing.rootfiles import RootDocument
    from core.signing.roots import all_roots, current_root, environment_name, root_envelope
    from core.signing.service import sign, sign_once_more

_MODULES = {
    "envelopes": ("Envelope", "keyid_of", "payload_of", "payload_sha256", "verify", "verify_by_any_root"),
    "errors": ("RootMissing", "SignatureRefused", "SigningNotReady"),
    "keyfiles": ("ensure_development_keys",),
    "payloads": ("base_fields", "encode_payload", "utc_text"),
    "roles": ("PayloadType", "Role"),
    "rootfiles": ("RootDocument",),
    "roots": ("all_roots", "current_root", "environment_name", "root_envelope"),
    "service": ("sign", "sign_once_more"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}

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
    "sign_once_more",
    "utc_text",
    "verify",
    "verify_by_any_root",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"core.signing has no {name}")
    value = getattr(import_module(f"core.signing.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
