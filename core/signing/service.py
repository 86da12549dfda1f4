"""The signing port: one function in front of whichever adapter this installation uses."""

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from django.conf import settings

from core.signing.keyfiles import KeyFileSigner
from core.signing.payloads import encode_payload
from core.signing.remote import RemoteSigner
from core.signing.roles import PayloadType, Role, may_sign


class Signer(Protocol):
    """What an adapter does: signatures of a role over a payload. May need a network; never called in a transaction."""

    def sign(self, role: Role, payload_type: PayloadType, payload: bytes, *, approval: str = "") -> list[dict[str, str]]: ...


def signer() -> Signer:
    """The adapter of this installation: a signer process where SIGNER_SOCKET names one, else the key files of this machine."""
    return RemoteSigner(settings.SIGNER_SOCKET) if settings.SIGNER_SOCKET else KeyFileSigner()


def sign(role: Role | str, payload_type: PayloadType | str, payload: Mapping[str, Any], *, approval: str = "") -> dict[str, Any]:
    """A DSSE envelope over the canonical bytes of `payload`, signed by the keys of `role`.

    Call it before the transaction that stores it. `approval` is a reviewer's, for releases, where the signer asks for it.
    Raises ValueError for a payload type that this role does not sign, InvalidInput at /approval for a missing approval,
    SigningNotReady without usable keys or when the signer refuses, ServiceUnavailable when it does not answer.
    """
    role, payload_type = Role(role), PayloadType(payload_type)
    if not may_sign(role, payload_type):
        raise ValueError(f"the role {role} signs no {payload_type}")
    data = encode_payload(payload)
    signatures = signer().sign(role, payload_type, data, approval=approval)
    return {"payloadType": payload_type.value, "payload": base64.b64encode(data).decode(), "signatures": signatures}


def sign_once_more(role: Role | str, payload_type: PayloadType | str, envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The very same payload under the role's present key: what follows from its hash goes on holding. Raises as `sign` does."""
    role, payload_type = Role(role), PayloadType(payload_type)
    if not may_sign(role, payload_type):
        raise ValueError(f"the role {role} signs no {payload_type}")
    signatures = signer().sign(role, payload_type, base64.b64decode(envelope["payload"]))
    return {"payloadType": payload_type.value, "payload": envelope["payload"], "signatures": signatures}
