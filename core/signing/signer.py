"""The signer: a process of its own that has the online keys. `python -m core.signing.signer --keys … --roots … --socket … --log …`

Who asks must be one of the users it was told of (the kernel says who), for a role that this user may ask for; what is asked
must hold against `core.signing.rules`; each role has a rate. What was signed and what was refused goes to one append-only
file a role: time, user, type, hash, and of a status which files are stopped; never a word more of any document. A release
or a status is on disk there before its signature leaves. Reads no settings and opens no port: it needs its keys, the root
documents and one directory.
"""

import argparse
import base64
import binascii
import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.signing.errors import SigningNotReady
from core.signing.keyring import KeyRing, make_development_keys
from core.signing.payloads import utc_text
from core.signing.remote import receive_frame, send_frame
from core.signing.roles import PayloadType, Role
from core.signing.rootfiles import DEVELOPMENT
from core.signing.rules import ApprovalMissing, Circumstances, Refused, Said, approved_at, check, read_reviewers, said_by

ONLINE_ROLES = tuple(role for role in Role if role is not Role.ROOT)
DURABLE = frozenset({Role.RELEASE, Role.TEST_RELEASE, Role.STATUS})  # what it must remember after a power cut
SIGNATURES_A_MINUTE = {Role.RELEASE: 60, Role.TEST_RELEASE: 60, Role.TICKET: 1200, Role.RESTORE: 3000, Role.STATUS: 60}
AGAIN_A_MINUTE = 60_000  # of releases that were signed before: an operator signs them all anew after a rotation
REQUEST_WITHIN_SECONDS = 2.0
TOGETHER = 16


class Rate:
    """A bucket of a minute's worth of signatures that fills evenly."""

    def __init__(self, a_minute: int) -> None:
        self.a_minute = a_minute
        self._left, self._at = float(a_minute), time.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed now. The caller holds the signer's lock."""
        now = time.monotonic()
        self._left = min(float(self.a_minute), self._left + (now - self._at) * self.a_minute / 60)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Journal:
    """One append-only file for each role: what was signed, and what was refused. Read at the start, for what must be remembered."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files: dict[Role, int] = {}
        self.releases: set[tuple[Role, bytes]] = set()
        self.status_version = 0
        self.said = Said()
        for role in ONLINE_ROLES:
            path = directory / f"{role.value}.log"
            if path.exists():
                self._read(role, path)
            self._files[role] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _read(self, role: Role, path: Path) -> None:
        if role not in DURABLE:
            return
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a last line that a power cut left half
                entry = json.loads(line)
                if "refused" in entry:
                    continue
                self._remember(role, entry)

    def _remember(self, role: Role, entry: dict[str, Any]) -> None:
        if role is Role.STATUS:
            self._remember_status(entry)
        elif role in DURABLE:
            self.releases.add((role, bytes.fromhex(entry["sha256"])))

    def _remember_status(self, entry: dict[str, Any]) -> None:
        self.status_version = max(self.status_version, entry.get("version", 0))
        if "stopped" in entry:
            # a stop that was dated back would be ended by the lifting of an earlier one
            known = self.said.stopped
            stopped = {stop: max(min(since, entry["at"]), known.get(stop, "")) for stop, since in entry["stopped"].items()}
            self.said = replace(self.said, stopped=stopped, floors=entry["floors"], revoked=frozenset(entry["revoked"]))
        if "lifted" in entry:
            self.said = replace(self.said, lifted={**self.said.lifted, entry["lifted"]: entry["lifted_at"]})

    def knows(self, role: Role, digest: bytes) -> bool:
        return (role, digest) in self.releases

    def write(self, role: Role, entry: dict[str, Any]) -> None:
        """On disk before this returns, where it must be remembered. Raises OSError."""
        os.write(self._files[role], json.dumps(entry).encode() + b"\n")
        if "refused" not in entry:
            if role in DURABLE:
                os.fdatasync(self._files[role])
            self._remember(role, entry)


class Signer:
    """Answers one question at a time."""

    def __init__(
        self,
        ring: KeyRing,
        journal: Journal,
        *,
        reviewers: dict[str, bytes] | None,
        rates: dict[Role, int] | None = None,
        for_demo_data: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.ring, self.journal, self.reviewers, self.now = ring, journal, reviewers, now
        self.for_demo_data = for_demo_data
        self._rates = {role: Rate(count) for role, count in (SIGNATURES_A_MINUTE | (rates or {})).items()}
        self._again = Rate(AGAIN_A_MINUTE)
        self._lock = threading.Lock()

    def answer(self, question: dict[str, Any], *, uid: int, roles: frozenset[Role]) -> dict[str, Any]:
        """`signatures`, or why not: `refused`, `approval` (one is needed), `busy`."""
        if question.get("root_version"):
            return {"root_version": self.ring.root().version}
        try:
            role, payload_type = Role(question["role"]), PayloadType(question["payload_type"])
            data, approval = base64.b64decode(question["payload"], validate=True), question.get("approval") or ""
        except (KeyError, ValueError, TypeError, binascii.Error):
            return {"refused": "the question is malformed"}
        if not isinstance(approval, str) or role not in roles:
            return {"refused": f"this user may not ask for the role {role}"}
        digest = hashlib.sha256(data).digest()
        with self._lock:
            entry: dict[str, Any] = {"at": utc_text(self.now()), "uid": uid, "type": payload_type.document_type, "sha256": digest.hex()}
            known = self.journal.knows(role, digest)
            try:
                payload = check(role, payload_type, data, approval=approval, seen=self._circumstances(known))
                if not (self._again if known or self.for_demo_data else self._rates[role]).take():
                    return {"busy": f"the role {role} has signed as much as it may within a minute"}
                signatures = self.ring.sign(role, payload_type, data)
                entry |= {"keyids": [signature["keyid"] for signature in signatures]}
                self.journal.write(role, entry | _to_remember(payload_type, payload, approval if self.reviewers is not None else ""))
            except ApprovalMissing as missing:
                self._note(role, entry, missing)
                return {"approval": str(missing)}
            except (Refused, SigningNotReady) as refusal:
                self._note(role, entry, refusal)
                return {"refused": str(refusal)}
            except OSError as trouble:
                return {"busy": f"the log can't be written: {trouble.strerror}"}
        return {"signatures": signatures}

    def _circumstances(self, known: bool) -> Circumstances:
        return Circumstances(
            env=self.ring.root().env,
            now=self.now(),
            status_version=self.journal.status_version,
            was_signed_before=known,
            reviewers=self.reviewers,
            said=self.journal.said,
            may_be_old=self.for_demo_data,
        )

    def _note(self, role: Role, entry: dict[str, Any], reason: Exception) -> None:
        if role in ONLINE_ROLES:
            with contextlib.suppress(OSError):
                self.journal.write(role, entry | {"refused": str(reason)})


def _to_remember(payload_type: PayloadType, payload: dict[str, Any], approval: str) -> dict[str, Any]:
    """What of a document its later ones are held to: ids of versions, files, tunes and keys, and times.

    A lifting counts from when its reviewer approved it: shown once more, it does not end a stop that came afterwards.
    """
    if payload_type is PayloadType.STATUS:
        return {"version": payload["version"], **said_by(payload)}
    if payload_type is PayloadType.STOP_LIFT:
        return {"lifted": str(payload["tune_version_id"]), "lifted_at": approved_at(approval) if approval else payload["issued_at"]}
    return {}


class Server:
    """Listens, and asks the kernel who is calling."""

    def __init__(self, signer: Signer, path: Path, *, allowed: dict[int, frozenset[Role]], group: int | None = None) -> None:
        self.signer, self.path, self.allowed = signer, path, allowed
        self._places = threading.BoundedSemaphore(TOGETHER)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(previous)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        self._listener.listen(64)

    def serve(self) -> None:
        """Until the process ends."""
        while True:
            channel, _ = self._listener.accept()
            if self._places.acquire(timeout=REQUEST_WITHIN_SECONDS):
                threading.Thread(target=self._attend, args=(channel,), daemon=True).start()
            else:
                channel.close()

    def _attend(self, channel: socket.socket) -> None:
        deadline = time.monotonic() + REQUEST_WITHIN_SECONDS
        try:
            with channel, contextlib.suppress(OSError, ValueError, RecursionError):
                _, uid, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                roles = self.allowed.get(uid)
                question = receive_frame(channel, deadline=deadline)
                answer = self.signer.answer(question, uid=uid, roles=roles) if roles else {"refused": "this user may not ask"}
                send_frame(channel, answer, deadline=deadline)
        finally:
            self._places.release()


def _allowed(values: list[str]) -> dict[int, frozenset[Role]]:
    """`10001` may ask for everything, `10001:ticket,restore` for these."""
    allowed: dict[int, frozenset[Role]] = {}
    for value in values or [str(os.getuid())]:
        uid, _, names = value.partition(":")
        allowed[int(uid)] = frozenset(Role(name) for name in names.split(",")) if names else frozenset(ONLINE_ROLES)
    return allowed


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.signing.signer", description=__doc__)
    parser.add_argument("--keys", type=Path, required=True, help="private keys, <keyid>.pem: readable by this user only")
    parser.add_argument("--roots", type=Path, required=True, help="root documents, <n>.json: public")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--socket-group", type=int, help="group that may connect (mode 0660); without it only this user (0600)")
    parser.add_argument("--log", type=Path, required=True, help="directory of the append-only logs")
    parser.add_argument("--allow", action="append", default=[], metavar="UID[:ROLE,…]", help="who may ask for what; without it this user")
    parser.add_argument("--reviewers", type=Path, help="JSON of those whose approval a release needs")
    parser.add_argument("--without-approvals", action="store_true", help="sign releases that no reviewer's key approved")
    parser.add_argument("--make-development-keys", action="store_true", help="make keys and root 1 of `env: dev` if there are none")
    parser.add_argument("--for-demo-data", action="store_true", help="env dev only: sign what is dated back, and much of it")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # every answer stands by itself: there is nothing to finish
    try:
        if options.make_development_keys:
            make_development_keys(keys=options.keys, roots=options.roots, at=datetime.now(UTC))
        ring = KeyRing(options.keys, options.roots)
        if options.keys.stat().st_mode & 0o077:
            raise SigningNotReady(f"{options.keys} can be read by others: chmod 700")
        reviewers = read_reviewers(options.reviewers.read_text()) if options.reviewers else None
        if reviewers is None and not options.without_approvals and ring.root().env != DEVELOPMENT:
            raise SigningNotReady("production names its --reviewers, or says --without-approvals")
        if options.for_demo_data and ring.root().env != DEVELOPMENT:
            raise SigningNotReady("--for-demo-data is for development")
        server = Server(
            Signer(ring, Journal(options.log), reviewers=reviewers, for_demo_data=options.for_demo_data),
            options.socket,
            allowed=_allowed(options.allow),
            group=options.socket_group,
        )
    except (SigningNotReady, OSError, ValueError) as trouble:
        sys.stderr.write(f"signer: {trouble}\n")
        return 1
    sys.stdout.write(f"signer: listening on {options.socket}, root {ring.root().version} of {ring.root().env}\n")
    sys.stdout.flush()
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
