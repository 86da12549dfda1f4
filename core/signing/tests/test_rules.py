"""What the signer's rules refuse. Pure."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.signing.keyring import public_bytes
from core.signing.payloads import base_fields, encode_payload, utc_text
from core.signing.roles import PayloadType, Role
from core.signing.rules import ApprovalMissing, Circumstances, Refused, Said, check, claims_sha256, read_reviewers

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
REVIEWER = Ed25519PrivateKey.from_private_bytes(b"r" * 32)
SHA = "ab" * 32


def seen(**changes):
    facts = {"env": "dev", "now": NOW, "status_version": 100, "was_signed_before": False, "reviewers": None}
    return Circumstances(**facts | changes)


def some(names):
    return dict.fromkeys(names.split(), "x")


def release(**changes):
    return {
        **base_fields(PayloadType.RELEASE, env="dev", issued_at=NOW),
        **some("tune_version_id tune_file_id tune_id version tuner_id calibration_id_after emissions_class requirements"),
        "release_counter": 3,
        "channel": "public",
        "file": {"sha256": SHA},
        "image": {},
        "fitments": [],
        "replaces_calibration_ids": [],
        "review": {"approved_sha256": [SHA]},
        **changes,
    }


def test_release(**changes):
    return release(**{"channel": "test", "release_counter": None, "review": None, **changes})


test_release.__test__ = False


def ticket(**changes):
    return {
        **base_fields(PayloadType.TICKET, env="dev", issued_at=NOW, expires_at=NOW + timedelta(hours=72)),
        **some("ticket_id purchase_id buyer vehicle_id channel identity ecu release_payload_sha256 file_sha256 file_size_bytes"),
        **some("device_key status_version_min"),
        **changes,
    }


def restore(**changes):
    return {
        **base_fields(PayloadType.RESTORE_TICKET, env="dev", issued_at=NOW, expires_at=NOW + timedelta(days=180)),
        **some("vehicle_id identity hardware_number image_sha256 image_size_bytes"),
        **changes,
    }


def status(**changes):
    return {
        **base_fields(PayloadType.STATUS, env="dev", issued_at=NOW, expires_at=NOW + timedelta(hours=72)),
        **some("min_app blocked_app_versions"),
        "stopped": [], "counter_floors": {}, "revoked_keyids": [], "version": 101,
        **changes,
    }


def lift(**changes):
    return {**base_fields(PayloadType.STOP_LIFT, env="dev", issued_at=NOW), "stop_id": "x", "tune_version_id": "x", **changes}


GOOD = {
    (Role.RELEASE, PayloadType.RELEASE): release,
    (Role.TEST_RELEASE, PayloadType.RELEASE): test_release,
    (Role.TICKET, PayloadType.TICKET): ticket,
    (Role.RESTORE, PayloadType.RESTORE_TICKET): restore,
    (Role.STATUS, PayloadType.STATUS): status,
    (Role.STATUS, PayloadType.STOP_LIFT): lift,
}


def judge(role, payload_type, payload, approval="", **circumstances):
    data = payload if isinstance(payload, bytes) else encode_payload(payload)
    return check(role, payload_type, data, approval=approval, seen=seen(**circumstances))


@pytest.mark.parametrize("pair", GOOD)
def test_each_role_signs_its_own_document(pair):
    payload = GOOD[pair]()

    assert judge(*pair, payload)["_type"] == pair[1].document_type


@pytest.mark.parametrize(("role", "payload_type"), [(role, kind) for role in Role for kind in PayloadType if (role, kind) not in GOOD])
def test_and_nobody_elses(role, payload_type):
    make = next((make for (_, kind), make in GOOD.items() if kind is payload_type), lift)

    with pytest.raises(Refused):
        judge(role, payload_type, make())


@pytest.mark.parametrize("pair", GOOD)
def test_every_member_is_needed(pair):
    for member in GOOD[pair]():
        payload = GOOD[pair]()
        del payload[member]
        with pytest.raises(Refused):
            judge(*pair, payload)


@pytest.mark.parametrize("pair", GOOD)
@pytest.mark.parametrize(
    "change",
    [
        {"_type": "root"},
        {"schema": "2.0"},
        {"env": "production"},
        {"issued_at": "2026-06-01T12:10:01Z"},
        {"issued_at": "yesterday"},
        {"issued_at": "2026-02-30T12:00:00Z"},
        {"issued_at": 5},
    ],
)
def test_documents_of_others_and_of_other_times_are_refused(pair, change):
    with pytest.raises(Refused):
        judge(*pair, GOOD[pair](**change))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"nonsense", b'{"a":1.5}', b'{"a":1,"a":1}', b"\xff", b"[" * 50_000])
def test_only_canonical_json_is_signed(data):
    with pytest.raises(Refused):
        judge(Role.TICKET, PayloadType.TICKET, data)
    with pytest.raises(Refused, match="canonical"):
        judge(Role.TICKET, PayloadType.TICKET, encode_payload(ticket()).replace(b":", b": ", 1))


@pytest.mark.parametrize(
    ("pair", "change"),
    [
        ((Role.TICKET, PayloadType.TICKET), {"expires_at": "2026-06-04T12:00:01Z"}),
        ((Role.TICKET, PayloadType.TICKET), {"expires_at": "2026-06-01T12:00:00Z"}),
        ((Role.TICKET, PayloadType.TICKET), {"issued_at": "2026-05-29T11:00:00Z", "expires_at": "2026-06-01T11:00:00Z"}),
        ((Role.RESTORE, PayloadType.RESTORE_TICKET), {"expires_at": "2026-11-28T12:00:01Z"}),
        ((Role.RESTORE, PayloadType.RESTORE_TICKET), {"issued_at": "2026-06-01T11:49:59Z"}),
        ((Role.STATUS, PayloadType.STATUS), {"expires_at": "2026-06-04T12:00:01Z"}),
        ((Role.STATUS, PayloadType.STATUS), {"version": 100}),
        ((Role.STATUS, PayloadType.STATUS), {"version": int(NOW.timestamp()) + 86_401}),
        ((Role.STATUS, PayloadType.STATUS), {"version": True}),
        ((Role.STATUS, PayloadType.STATUS), {"issued_at": "2026-06-01T11:49:59Z", "expires_at": "2026-06-04T11:00:00Z"}),
        ((Role.STATUS, PayloadType.STOP_LIFT), {"issued_at": "2026-06-01T11:49:59Z"}),
        ((Role.RELEASE, PayloadType.RELEASE), {"channel": "test"}),
        ((Role.RELEASE, PayloadType.RELEASE), {"release_counter": None}),
        ((Role.RELEASE, PayloadType.RELEASE), {"release_counter": 0}),
        ((Role.RELEASE, PayloadType.RELEASE), {"review": None}),
        ((Role.RELEASE, PayloadType.RELEASE), {"review": {"approved_sha256": ["cd" * 32]}}),
        ((Role.RELEASE, PayloadType.RELEASE), {"file": {}}),
        ((Role.RELEASE, PayloadType.RELEASE), {"issued_at": "2026-06-01T11:49:59Z"}),
        ((Role.TEST_RELEASE, PayloadType.RELEASE), {"channel": "public"}),
        ((Role.TEST_RELEASE, PayloadType.RELEASE), {"release_counter": 3}),
    ],
)
def test_bounds(pair, change):
    with pytest.raises(Refused):
        judge(*pair, GOOD[pair](**change))


def test_a_ticket_may_be_signed_again_while_it_is_good():
    payload = ticket(issued_at="2026-05-29T12:00:01Z", expires_at="2026-06-01T12:00:01Z")

    assert judge(Role.TICKET, PayloadType.TICKET, payload)


def test_a_release_that_was_signed_here_is_signed_again_years_later_and_without_an_approval():
    old = release(issued_at="2021-06-01T12:00:00Z")

    assert judge(Role.RELEASE, PayloadType.RELEASE, old, was_signed_before=True, reviewers={})
    with pytest.raises(Refused, match="just now"):
        judge(Role.RELEASE, PayloadType.RELEASE, old)


class TestNothingIsForgotten:
    """Where reviewers lift, the signer knows what they lifted: the third place that remembers a stop."""

    said = Said(stopped={"v f s": "2026-05-01T12:00:00Z"}, floors={"t": 4}, revoked=frozenset({"k"}))
    whole = {"counter_floors": {"t": 4}, "revoked_keyids": ["k"]}

    def judge(self, said=said, reviewers=MappingProxyType({}), **changes):
        return judge(Role.STATUS, PayloadType.STATUS, status(**self.whole | changes), said=said, reviewers=reviewers)

    def test_a_stop_stays_until_it_is_lifted(self):
        still = {"tune_version_id": "v", "id": "f", "sha256": "s", "since": "2026-05-01T12:00:00Z"}
        assert self.judge(stopped=[still])
        with pytest.raises(Refused, match="forgets a stop"):
            self.judge()
        assert self.judge(said=replace(self.said, lifted={"v": "2026-05-01T12:00:00Z"}))
        with pytest.raises(Refused, match="forgets a stop"):  # that lifting was of an earlier one
            self.judge(said=replace(self.said, lifted={"v": "2026-04-30T12:00:00Z"}))

    @pytest.mark.parametrize("change", [{"id": "g"}, {"sha256": "r"}, {"tune_version_id": "w"}])
    def test_and_names_the_same_file(self, change):
        """Phones look for a file's id or hash: the version's name beside another file stops nothing."""
        entry = {"tune_version_id": "v", "id": "f", "sha256": "s", "since": "2026-05-01T12:00:00Z"}

        with pytest.raises(Refused, match="forgets a stop"):
            self.judge(stopped=[entry | change])

    @pytest.mark.parametrize("change", [{"counter_floors": {}}, {"counter_floors": {"t": 3}}, {"revoked_keyids": []}])
    def test_floors_and_revoked_keys_stay(self, change):
        with pytest.raises(Refused, match="floor or a revoked key"):
            self.judge(said=replace(self.said, stopped={}), **change)

    @pytest.mark.parametrize("change", [{"stopped": [{}]}, {"stopped": "x"}, {"stopped": 3}, {"counter_floors": []}, {"revoked_keyids": 3}])
    def test_lists_that_are_none_are_refused(self, change):
        with pytest.raises(Refused):
            self.judge(**change)

    def test_development_forgets(self):
        assert self.judge(reviewers=None)


class TestApprovals:
    reviewers = {"ada": public_bytes(REVIEWER)}

    def approve(self, *payloads, key=REVIEWER, name="ada", version="v1", **changes):
        statement = {"_type": "release-approval", "env": "dev", "approved_at": NOW - timedelta(hours=1)}
        body = encode_payload(statement | {"claims": [claims_sha256(payload) for payload in payloads]} | changes)
        text = [base64.urlsafe_b64encode(part).decode() for part in (body, key.sign(b"revsync-approval " + body))]
        return f"{version}.{text[0]}.{name}.{text[1]}"

    def judge(self, payload, approval):
        return judge(Role.RELEASE, PayloadType.RELEASE, payload, approval, reviewers=self.reviewers)

    def test_a_reviewers_own_key_approves_exactly_what_is_claimed(self):
        other = release(tune_file_id="y")

        assert self.judge(release(), self.approve(other, release()) + "\n")

    def test_when_and_by_whom_it_was_decided_may_differ(self):
        later = release(issued_at="2026-06-01T12:01:00Z", review={"approved_sha256": [SHA], "reviewer": "me"})

        assert self.judge(later, self.approve(release()))

    @pytest.mark.parametrize(
        "change", [{"file": {"sha256": "cd" * 32}}, {"fitments": [{"make": "Any"}]}, {"release_counter": 4}, {"tune_version_id": "y"}]
    )
    def test_nothing_else_may(self, change):
        changed = release(**change)
        changed["review"] = {"approved_sha256": [changed["file"]["sha256"]]}

        with pytest.raises(ApprovalMissing, match="something else"):
            self.judge(changed, self.approve(release()))

    def test_no_approval_and_none_that_only_looks_like_one(self):
        stranger = Ed25519PrivateKey.generate()
        for approval in (
            *("", "v1", "v1.a.ada.b", "v1.ü.ada.ü", "x" * 10_000, "....", self.approve(release())[:-8]),
            self.approve(release(), key=stranger),
            self.approve(release(), name="eve"),
            self.approve(release(), version="v2"),
            self.approve(release(), _type="status"),
            self.approve(release(), env="production"),
            self.approve(release(), claims=None),
            self.approve(release(), approved_at=NOW - timedelta(days=7)),
            self.approve(release(), approved_at=NOW + timedelta(minutes=11)),
            self.approve(),
        ):
            with pytest.raises(Refused):
                self.judge(release(), approval)

    def test_a_lifting_needs_one_too(self):
        pair = Role.STATUS, PayloadType.STOP_LIFT

        assert judge(*pair, lift(), self.approve(lift(issued_at="2026-06-01T11:59:00Z")), reviewers=self.reviewers)
        for approval in ("", self.approve(lift(stop_id="y")), self.approve(release())):
            with pytest.raises(ApprovalMissing):
                judge(*pair, lift(), approval, reviewers=self.reviewers)

    def test_a_lifting_is_approved_after_its_stop_began(self):
        pair, approval = (Role.STATUS, PayloadType.STOP_LIFT), self.approve(lift())
        for version, minutes, good in (("x", -61, True), ("x", -59, False), ("y", -59, True)):
            said = Said(stopped={f"{version} f s": utc_text(NOW + timedelta(minutes=minutes))})
            if good:
                assert judge(*pair, lift(), approval, reviewers=self.reviewers, said=said)
            else:
                with pytest.raises(ApprovalMissing, match="older than the stop"):
                    judge(*pair, lift(), approval, reviewers=self.reviewers, said=said)

    def test_a_test_release_needs_none(self):
        assert judge(Role.TEST_RELEASE, PayloadType.RELEASE, test_release(), reviewers=self.reviewers)

    def test_reviewers_are_read_strictly(self):
        public = base64.b64encode(public_bytes(REVIEWER)).decode()
        assert read_reviewers(f'{{"ada": "{public}"}}') == self.reviewers
        for text in ("", "[]", '{"ada": "AAAA"}', f'{{"A da": "{public}"}}'):
            with pytest.raises((ValueError, AttributeError)):
                read_reviewers(text)
