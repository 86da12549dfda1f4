"""docs/vectors is what its command makes, covers what it must, and our verifier says what each of them expects."""

import collections

import pytest
from django.conf import settings

from tools import make_vectors, verify_download

DIRECTORY = settings.BASE_DIR / "docs" / "vectors"
FLASH_CODES = {
    *("bad_root", "expired_root", "bad_signature", "rollback", "expired_status", "app_version_blocked", "recalled", "on_hold"),
    *("expired_ticket", "wrong_channel", "wrong_device", "tampered", "wrong_ecu", "wrong_vehicle", "stock_backup_required"),
}
VECTORS = dict(verify_download.find_vectors(DIRECTORY))


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_the_verifier_says_what_is_expected(vector):
    verdict = verify_download.run_vector(vector)

    assert {"code": verdict.code, "warnings": verdict.warnings} == vector["expected"], verdict.why


def test_the_command_makes_these_very_bytes():
    committed = {path.name: path.read_text() for path in DIRECTORY.glob("*.json")}

    assert make_vectors.render() == committed, "run `make vectors` and commit what it wrote"


def test_there_are_enough_of_each_kind():
    seen = collections.Counter(vector["expected"]["code"] for vector in VECTORS.values())

    assert len(VECTORS) >= 100
    assert set(seen) == FLASH_CODES | {"ok"}
    assert all(seen[code] >= 2 for code in FLASH_CODES), seen
    assert all(vector["why"] for vector in VECTORS.values())


def _trusting_status(envelope, **_):
    return verify_download.parse_json(verify_download.decode_base64(envelope["payload"]))


@pytest.mark.parametrize(
    ("check", "without"),
    [
        ("check_status", _trusting_status),
        *((name, lambda *_, **__: None) for name in ("check_app", "check_file", "check_ecu", "check_identity")),
    ],
)
def test_no_check_can_be_left_out(check, without, monkeypatch):
    """Cut out of the verifier, each check lets a vector through that must be refused."""
    monkeypatch.setattr(verify_download, check, without)

    assert [name for name, vector in VECTORS.items() if vector["expected"]["code"] != "ok" and _accepts(vector)]


def _accepts(vector) -> bool:
    try:
        return verify_download.run_vector(vector).code == "ok"
    except (verify_download.Malformed, KeyError, TypeError, AttributeError):
        return False
