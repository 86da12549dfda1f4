"""The signing port: one function in front of whichever adapter this installation uses."""

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from core.signing.keyfiles import KeyFileSigner
from core.signing.payloads import encode_payload
from core.signing.roles import PayloadType, Role, may_sign


class Signer(Protocol):
    """What an adapter does: signatures of a role over a payload. May need a network; never called in a transaction."""

    def sign(self, role: Role, payload_type: PayloadType, payload: bytes) -> list[dict[str, str]]: ...


def signer() -> Signer:
    """The adapter of this installation."""
    return KeyFileSigner()


def sign(role: Role | str, payload_type: PayloadType | str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """A DSSE envelope over the canonical bytes of `payload`, signed by the keys of `role`.

    Call it before the transaction that stores it. Raises ValueError for a payload type that this role does not sign,
    SigningNotReady without usable keys, ServiceUnavailable when a signer in another process does not answer.
    """
    role, payload_type = Role(role), PayloadType(payload_type)
    if not may_sign(role, payload_type):
        raise ValueError(f"the role {role} signs no {payload_type}")
    data = encode_payload(payload)
    signatures = signer().sign(role, payload_type, data)
    return {"payloadType": payload_type.value, "payload": base64.b64encode(data).decode(), "signatures": signatures}
