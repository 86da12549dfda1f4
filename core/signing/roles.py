"""Who may sign what. A test release of unreviewed bytes, or a restore, must never pass as a sale: so no key serves two
roles, and a role signs its own payload types only. The signer checks it, and the verifier checks it again."""

from enum import StrEnum


class Role(StrEnum):
    ROOT = "root"
    RELEASE = "release"
    TEST_RELEASE = "test_release"
    TICKET = "ticket"
    RESTORE = "restore"
    STATUS = "status"


class PayloadType(StrEnum):
    ROOT = "application/vnd.revsync.root.v1+json"
    RELEASE = "application/vnd.revsync.tune-release.v1+json"
    TICKET = "application/vnd.revsync.flash-ticket.v1+json"
    STATUS = "application/vnd.revsync.status.v1+json"
    STOP_LIFT = "application/vnd.revsync.stop-lift.v1+json"
    RESTORE_TICKET = "application/vnd.revsync.restore-ticket.v1+json"

    @property
    def document_type(self) -> str:
        """The payload's own `_type`: the middle of the media type."""
        return self.value.removeprefix("application/vnd.revsync.").removesuffix(".v1+json")


ROLE_PAYLOADS: dict[Role, frozenset[PayloadType]] = {
    Role.ROOT: frozenset({PayloadType.ROOT}),
    Role.RELEASE: frozenset({PayloadType.RELEASE}),
    Role.TEST_RELEASE: frozenset({PayloadType.RELEASE}),
    Role.TICKET: frozenset({PayloadType.TICKET}),
    Role.RESTORE: frozenset({PayloadType.RESTORE_TICKET}),
    Role.STATUS: frozenset({PayloadType.STATUS, PayloadType.STOP_LIFT}),
}

ROOT_KEYS = 3
ROOT_THRESHOLD = 2


def may_sign(role: Role, payload_type: str) -> bool:
    return payload_type in ROLE_PAYLOADS[role]
