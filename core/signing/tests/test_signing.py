"""Signed documents hold against the root, with plain `cryptography` as the judge, and no role speaks for another."""

import base64
import copy
import hashlib
import json
import threading
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core import signing
from core.signing import PayloadType, Role, SignatureRefused, keyfiles, keyring, roots

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)

PAIRS = [(role, payload_type) for role in Role for payload_type in PayloadType]
ALLOWED = {
    (Role.ROOT, PayloadType.ROOT),
    (Role.RELEASE, PayloadType.RELEASE),
    (Role.TEST_RELEASE, PayloadType.RELEASE),
    (Role.TICKET, PayloadType.TICKET),
    (Role.RESTORE, PayloadType.RESTORE_TICKET),
    (Role.STATUS, PayloadType.STATUS),
    (Role.STATUS, PayloadType.STOP_LIFT),
}


def document(payload_type=PayloadType.TICKET, **fields):
    return {**signing.base_fields(payload_type, env=signing.environment_name(), issued_at=AT), **fields}


def ticket():
    return signing.sign(Role.TICKET, PayloadType.TICKET, document(ticket_id="1"))


def verify_by_hand(envelope, role):
    """A reader's own check: DSSE's pre-authentication encoding and the root's keys, nothing of ours."""
    root = json.loads(base64.b64decode(signing.root_envelope(1)["payload"]))
    body = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
    good = set()
    for signature in envelope["signatures"]:
        if signature["keyid"] in root["roles"][role]["keyids"]:
            public = base64.b64decode(root["keys"][signature["keyid"]]["public"])
            Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature["sig"]), message)
            good.add(public)
    assert len(good) >= root["roles"][role]["threshold"]
    return json.loads(body)


class TestRoot:
    def test_names_six_roles_and_no_key_in_two(self):
        payload = verify_by_hand(signing.root_envelope(1), "root")

        keyids = [keyid for role in payload["roles"].values() for keyid in role["keyids"]]
        assert set(payload["roles"]) == {"root", "release", "test_release", "ticket", "restore", "status"}
        assert len(keyids) == len(set(keyids)) == len({payload["keys"][keyid]["public"] for keyid in keyids}) == 8
        assert (payload["version"], payload["env"], payload["roles"]["root"]["threshold"]) == (1, "dev", 2)
        assert all(len(base64.b64decode(key["public"])) == 32 for key in payload["keys"].values())

    def test_is_valid_for_a_year(self):
        payload = signing.verify(signing.root_envelope(1), role=Role.ROOT)

        issued, expires = (datetime.fromisoformat(payload[name]) for name in ("issued_at", "expires_at"))
        assert (expires - issued).days == 365

    def test_a_root_that_was_never_made_is_missing(self):
        with pytest.raises(signing.RootMissing):
            signing.root_envelope(2)

    def test_is_made_once_however_many_start_at_the_same_time(self, settings, tmp_path):
        settings.SIGNING_KEYS_DIR = tmp_path / "signing"
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(json.dumps(signing.root_envelope(1)))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(seen) == 6
        assert len(set(seen)) == 1
        assert len(list((tmp_path / "signing" / "keys").iterdir())) == 8

    def test_keys_of_a_start_that_was_killed_are_made_anew(self, settings, tmp_path):
        (tmp_path / "keys").mkdir()
        (tmp_path / "keys" / "half.pem").write_text("-----BEGIN")
        settings.SIGNING_KEYS_DIR = tmp_path

        assert signing.current_root().version == 1
        assert not (tmp_path / "keys" / "half.pem").exists()

    def test_private_keys_are_readable_by_their_owner_only(self):
        signing.ensure_development_keys()

        assert {path.stat().st_mode & 0o777 for path in keyfiles.keys_directory().iterdir()} == {0o600}

    def test_a_key_in_two_roles_is_refused(self):
        keyids = {role: ["a"] if role in (Role.RELEASE, Role.TICKET) else [role.value] for role in Role}

        with pytest.raises(ValueError, match="two roles"):
            keyring.root_payload(
                version=1, env="dev", at=AT, keyids=keyids, public_keys={name: name.encode() for name in ["a", *map(str, Role)]}
            )

    def test_production_refuses_development_keys(self, settings):
        signing.ensure_development_keys()
        settings.IS_PRODUCTION = True

        with pytest.raises(signing.SigningNotReady, match="development"):
            signing.current_root()

    def test_production_makes_no_keys_of_its_own(self, settings, tmp_path):
        settings.SIGNING_KEYS_DIR = tmp_path / "signing"
        settings.IS_PRODUCTION = True

        with pytest.raises(signing.SigningNotReady, match="no root document"):
            signing.sign(Role.STATUS, PayloadType.STATUS, {})
        assert not (tmp_path / "signing").exists()


class TestSigning:
    @pytest.mark.parametrize(("role", "payload_type"), PAIRS)
    def test_a_role_signs_its_own_payload_types_only(self, role, payload_type):
        if (role, payload_type) in ALLOWED:
            envelope = signing.sign(role, payload_type, document(payload_type))
            assert verify_by_hand(envelope, role.value)["_type"] == payload_type.document_type
        else:
            with pytest.raises(ValueError, match="signs no"):
                signing.sign(role, payload_type, document(payload_type))

    def test_the_payload_is_canonical(self):
        envelope = signing.sign(Role.TICKET, PayloadType.TICKET, document(zeta=[1, None, True], alpha="Zündung", at=AT))

        body = base64.b64decode(envelope["payload"]).decode()
        assert body == (
            '{"_type":"flash-ticket","alpha":"Zündung","at":"2026-06-01T12:00:00Z","env":"dev",'
            '"issued_at":"2026-06-01T12:00:00Z","schema":"1.0","zeta":[1,null,true]}'
        )

    def test_the_same_payload_gives_the_same_envelope(self):
        assert ticket() == ticket()

    def test_the_payload_hash_is_of_the_payloads_bytes(self):
        envelope = ticket()

        assert signing.payload_sha256(envelope) == hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest()

    @pytest.mark.parametrize("value", [1.5, float("nan"), b"bytes", {1: "a"}, 2**53, object()])
    def test_what_has_no_canonical_form_is_refused(self, value):
        with pytest.raises((TypeError, ValueError)):
            signing.sign(Role.TICKET, PayloadType.TICKET, document(value=value))


class TestVerifying:
    def test_returns_the_payload_and_leaves_the_envelope_alone(self):
        envelope = ticket()
        before = copy.deepcopy(envelope)

        assert signing.verify(envelope, role=Role.TICKET)["ticket_id"] == "1"
        assert envelope == before

    @pytest.mark.parametrize("role", [role for role in Role if role is not Role.TICKET])
    def test_another_role_is_refused(self, role):
        with pytest.raises(SignatureRefused):
            signing.verify(ticket(), role=role)

    def test_a_test_release_is_no_release(self):
        envelope = signing.sign(Role.TEST_RELEASE, PayloadType.RELEASE, document(PayloadType.RELEASE))

        signing.verify(envelope, role=Role.TEST_RELEASE)
        with pytest.raises(SignatureRefused):
            signing.verify(envelope, role=Role.RELEASE)

    def test_a_changed_payload_is_refused(self):
        envelope = ticket()
        envelope["payload"] = base64.b64encode(base64.b64decode(envelope["payload"]).replace(b'"1"', b'"2"')).decode()

        with pytest.raises(SignatureRefused):
            signing.verify(envelope, role=Role.TICKET)
        with pytest.raises(InvalidSignature):
            verify_by_hand(envelope, "ticket")

    def test_one_root_signature_given_twice_does_not_reach_the_threshold(self):
        envelope = signing.root_envelope(1)
        envelope["signatures"] = [envelope["signatures"][0], envelope["signatures"][0]]

        with pytest.raises(SignatureRefused):
            signing.verify(envelope, role=Role.ROOT)

    def test_one_key_under_two_ids_counts_once(self):
        root = copy.deepcopy(signing.current_root().payload)
        first = root["roles"]["root"]["keyids"][0]
        root["keys"]["alias"] = root["keys"][first]
        root["roles"]["root"]["keyids"] = [first, "alias"]
        envelope = signing.root_envelope(1)
        signature = next(row for row in envelope["signatures"] if row["keyid"] == first)
        envelope["signatures"] = [signature, {**signature, "keyid": "alias"}]

        with pytest.raises(SignatureRefused):
            signing.verify(envelope, role=Role.ROOT, root=roots.RootDocument(root))

    def test_a_document_of_another_environment_is_refused(self):
        envelope = signing.sign(Role.TICKET, PayloadType.TICKET, document() | {"env": "production"})

        with pytest.raises(SignatureRefused, match="environment"):
            signing.verify(envelope, role=Role.TICKET)

    @pytest.mark.parametrize("fields", [{"_type": "status"}, {"schema": "2.0"}, {"schema": None}])
    def test_an_unknown_type_or_major_schema_is_refused(self, fields):
        envelope = signing.sign(Role.TICKET, PayloadType.TICKET, document() | fields)

        with pytest.raises(SignatureRefused):
            signing.verify(envelope, role=Role.TICKET)

    @pytest.mark.parametrize(
        "broken", [{}, {"payloadType": "x"}, {"payloadType": PayloadType.TICKET.value, "payload": "§", "signatures": []}]
    )
    def test_broken_envelopes_are_refused(self, broken):
        with pytest.raises(SignatureRefused):
            signing.verify(broken, role=Role.TICKET)
