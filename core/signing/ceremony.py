"""Making and renewing the root, on the machines of those who hold its keys. `python -m core.signing.ceremony <step> …`

    make-key DIRECTORY                         a key pair: <keyid>.pem stays where it is, <keyid>.pub is handed on
    draft --out root-2.draft --after 1.json …  what the next root will say (without --after: the first one)
    sign --draft root-2.draft --key k.pem …    one holder's signature, as a file of its own
    join --draft … --partial … --out 2.json    the root, if the thresholds of the one before and of itself are reached
    check 1.json 2.json …                      a chain, from the root that apps ship with

Each holder signs on a machine of their own: files are carried between them. Needs Python, `cryptography`, no settings and no
network. Every step says on paper's terms what it does: who holds what, what changes.
"""

import argparse
import base64
import getpass
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.signing.keyring import ROOT_LIFETIME, keyid_for, public_bytes, signatures_of, write_private_key
from core.signing.payloads import base_fields, decode_payload, encode_payload
from core.signing.roles import ROOT_THRESHOLD, PayloadType, Role
from core.signing.rootfiles import RootDocument

Public = Mapping[str, str]  # {"keyid", "public"}: what is handed on of a key


class CeremonyFailed(Exception):
    """What is wrong, in one line."""


def make_key(directory: Path, *, password: bytes = b"") -> dict[str, str]:
    """A new key: private in `directory`, readable by its owner only; what may be handed on is returned and written beside it."""
    private = Ed25519PrivateKey.generate()
    keyid = keyid_for(private)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if password:
        sealing = serialization.BestAvailableEncryption(password)
        data = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
        path = directory / f"{keyid}.pem"
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(data)
    else:
        write_private_key(directory / f"{keyid}.pem", private)
    public = {"keyid": keyid, "public": base64.b64encode(public_bytes(private)).decode()}
    (directory / f"{keyid}.pub").write_text(json.dumps(public) + "\n")
    return public


def draft_root(
    *,
    after: Mapping[str, Any] | None,
    env: str,
    roles: Mapping[Role, Iterable[Public]],
    keep_old: Iterable[Role] = (),
    without: Iterable[str] = (),
    at: datetime,
) -> dict[str, Any]:
    """The payload of the next root: named roles get these keys, the others keep theirs.

    `keep_old`: roles whose present keys stay valid behind the new one, so that what they signed goes on holding.
    `without`: key ids that go, of any role. Raises CeremonyFailed.
    """
    before = RootDocument(payload_of(after)) if after is not None else None
    keys: dict[str, str] = {}
    named: dict[str, dict[str, Any]] = {}
    gone, kept = set(without), set(keep_old)
    for role in Role:
        given = [(public["keyid"], public["public"]) for public in roles.get(role, ())]
        old = [(keyid, base64.b64encode(before.public_key(keyid)).decode()) for keyid in before.keyids_of(role)] if before else []
        if given:
            given += old if role in kept else []
        pairs = [pair for pair in dict(given or old).items() if pair[0] not in gone]
        threshold = ROOT_THRESHOLD if role is Role.ROOT else 1
        if len(pairs) < threshold:
            raise CeremonyFailed(f"the role {role} would have {len(pairs)} keys and needs {threshold}")
        keys |= dict(pairs)
        named[role.value] = {"keyids": [keyid for keyid, _ in pairs], "threshold": threshold}
    ids = [keyid for role in named.values() for keyid in role["keyids"]]
    if len(set(ids)) != len(ids) or len(set(keys.values())) != len(keys):
        raise CeremonyFailed("no key may be in two roles")
    return {
        **base_fields(PayloadType.ROOT, env=before.env if before else env, issued_at=at, expires_at=at + ROOT_LIFETIME),
        "version": before.version + 1 if before else 1,
        "keys": {keyid: {"scheme": "ed25519", "public": public} for keyid, public in keys.items()},
        "roles": named,
    }


def sign_draft(draft: Mapping[str, Any], private: Ed25519PrivateKey) -> dict[str, str]:
    """One holder's signature over a draft. Raises CeremonyFailed for what is no root."""
    if draft.get("_type") != "root":
        raise CeremonyFailed("this is no draft of a root")
    return signatures_of(PayloadType.ROOT, encode_payload(draft), [private])[0]


def join(draft: Mapping[str, Any], partials: Iterable[Mapping[str, str]], *, after: Mapping[str, Any] | None) -> dict[str, Any]:
    """The root's envelope. Raises CeremonyFailed when a threshold is missed; signatures of others are left out."""
    payload = encode_payload(draft)
    known = set(RootDocument(dict(draft)).keyids_of(Role.ROOT))
    if after is not None:
        known |= set(RootDocument(payload_of(after)).keyids_of(Role.ROOT))
    signatures = {partial["keyid"]: dict(partial) for partial in partials if partial["keyid"] in known}
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PayloadType.ROOT.value,
        "signatures": list(signatures.values()),
    }
    check_root(envelope, after=after)
    return envelope


def check_root(envelope: Mapping[str, Any], *, after: Mapping[str, Any] | None) -> RootDocument:
    """A root that is signed by its own threshold and, if it follows another one, by that one's too. Raises CeremonyFailed."""
    try:
        root = RootDocument(payload_of(envelope))
        if root.payload.get("_type") != "root" or envelope.get("payloadType") != PayloadType.ROOT.value:
            raise CeremonyFailed("this is no root document")
        _check_threshold(envelope, root, f"its own keys (root {root.version})")
        if after is None:
            return root
        before = RootDocument(payload_of(after))
        if (root.version, root.env) != (before.version + 1, before.env):
            raise CeremonyFailed(f"root {root.version} of {root.env} does not follow root {before.version} of {before.env}")
        _check_threshold(envelope, before, f"the keys of root {before.version}")
    except (KeyError, TypeError, ValueError, AttributeError) as trouble:
        raise CeremonyFailed(f"this is no root document: {trouble}") from trouble
    return root


def check_chain(envelopes: Iterable[Mapping[str, Any]]) -> RootDocument:
    """The newest root of a chain that begins with the one that apps ship with. Raises CeremonyFailed."""
    before, root = None, None
    for envelope in envelopes:
        root = check_root(envelope, after=before)
        before = envelope
    if root is None:
        raise CeremonyFailed("there is no root")
    return root


def payload_of(envelope: Mapping[str, Any]) -> dict[str, Any]:
    return decode_payload(base64.b64decode(envelope["payload"], validate=True))


def describe(draft: Mapping[str, Any], *, after: Mapping[str, Any] | None) -> str:
    """What a holder reads before signing."""
    old = RootDocument(payload_of(after)) if after is not None else None
    lines = [f"root {draft['version']} of {draft['env']}, {draft['issued_at']} to {draft['expires_at']}"]
    for role in Role:
        present = draft["roles"][role.value]["keyids"]
        before = old.keyids_of(role) if old else []
        marks = [f"{keyid[:16]}{' NEW' if keyid not in before and old else ''}" for keyid in present]
        marks += [f"{keyid[:16]} GONE" for keyid in before if keyid not in present]
        lines.append(f"  {role.value:13} {draft['roles'][role.value]['threshold']} of {len(present)}: {', '.join(marks)}")
    return "\n".join(lines)


def _check_threshold(envelope: Mapping[str, Any], root: RootDocument, whose: str) -> None:
    body = base64.b64decode(envelope["payload"], validate=True)
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
    good = set()
    for signature in envelope["signatures"]:
        if signature["keyid"] in root.keyids_of(Role.ROOT):
            public = root.public_key(signature["keyid"])
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature["sig"], validate=True), message)
            except InvalidSignature:
                continue
            good.add(public)
    if len(good) < root.threshold_of(Role.ROOT):
        raise CeremonyFailed(f"{len(good)} of {root.threshold_of(Role.ROOT)} signatures by {whose}")


def load_private(path: Path, password: bytes | None = None) -> Ed25519PrivateKey:
    """Raises CeremonyFailed."""
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password)
    except (ValueError, TypeError) as trouble:
        raise CeremonyFailed(f"{path} can't be opened: {trouble}") from trouble
    if not isinstance(private, Ed25519PrivateKey):
        raise CeremonyFailed(f"{path} is no Ed25519 key")
    return private


def _read(path: Path | None) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("x") as file:  # never over another file
        file.write(json.dumps(content, indent=1) + "\n")


def _roles(values: Iterable[str]) -> dict[Role, list[Public]]:
    """`root=a.pub,b.pub,c.pub`"""
    found: dict[Role, list[Public]] = {}
    for value in values:
        name, _, paths = value.partition("=")
        found[Role(name)] = [json.loads(Path(path).read_text()) for path in paths.split(",") if path]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.signing.ceremony", description=(__doc__ or "").splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    making = steps.add_parser("make-key")
    making.add_argument("directory", type=Path)
    making.add_argument("--no-password", action="store_true", help="for online keys, which a signer must open by itself")
    drafting = steps.add_parser("draft")
    drafting.add_argument("--after", type=Path, help="the root before")
    drafting.add_argument("--env", default="production")
    drafting.add_argument("--role", action="append", default=[], metavar="ROLE=a.pub,…", help="keys of a role; others keep theirs")
    drafting.add_argument("--keep-old", action="append", default=[], metavar="ROLE", help="its present keys stay, behind the new one")
    drafting.add_argument("--without", action="append", default=[], metavar="KEYID", help="a key that goes")
    drafting.add_argument("--out", type=Path, required=True)
    signing = steps.add_parser("sign")
    signing.add_argument("--draft", type=Path, required=True)
    signing.add_argument("--after", type=Path)
    signing.add_argument("--key", type=Path, required=True)
    signing.add_argument("--out", type=Path, required=True)
    joining = steps.add_parser("join")
    joining.add_argument("--draft", type=Path, required=True)
    joining.add_argument("--after", type=Path)
    joining.add_argument("--partial", type=Path, action="append", required=True)
    joining.add_argument("--out", type=Path, required=True)
    checking = steps.add_parser("check")
    checking.add_argument("roots", type=Path, nargs="+")
    return parser


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    say = sys.stdout.write
    try:
        match options.step:
            case "make-key":
                password = b"" if options.no_password else getpass.getpass("Password of the key: ").encode()
                public = make_key(options.directory, password=password)
                say(f"{public['keyid']}: hand on {public['keyid']}.pub, keep {public['keyid']}.pem\n")
            case "draft":
                after = _read(options.after)
                draft = draft_root(
                    after=after,
                    env=options.env,
                    roles=_roles(options.role),
                    keep_old=[Role(name) for name in options.keep_old],
                    without=options.without,
                    at=datetime.now(UTC),
                )
                _write(options.out, draft)
                say(describe(draft, after=after) + "\n")
            case "sign":
                draft, after = json.loads(options.draft.read_text()), _read(options.after)
                say(describe(draft, after=after) + "\n")
                encrypted = b"ENCRYPTED" in options.key.read_bytes()
                private = load_private(options.key, getpass.getpass("Password of the key: ").encode() if encrypted else None)
                _write(options.out, sign_draft(draft, private))
                say(f"signed by {keyid_for(private)[:16]}\n")
            case "join":
                draft = json.loads(options.draft.read_text())
                partials = [json.loads(path.read_text()) for path in options.partial]
                envelope = join(draft, partials, after=_read(options.after))
                _write(options.out, envelope)
                say(f"root {draft['version']} with {len(envelope['signatures'])} signatures: {options.out}\n")
            case "check":
                root = check_chain(json.loads(path.read_text()) for path in options.roots)
                say(f"holds: root {root.version} of {root.env}, until {root.expires_at}\n")
    except (CeremonyFailed, OSError, ValueError, KeyError) as trouble:
        sys.stderr.write(f"ceremony: {trouble}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
