"""A real signer process: what it signs, for whom, what it remembers, and what happens while it is away."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from core import clock, doctor, signing
from core.exceptions import InvalidInput, ServiceUnavailable
from core.signing import PayloadType, Role, SigningNotReady, remote
from core.signing.keyring import KeyRing
from core.signing.payloads import encode_payload
from core.signing.signer import Journal, Rate, Signer
from core.signing.tests.test_rules import release, restore, status, ticket
from core.testing.signer import ROOT, SignerProcess, wait_until_answered


def now_text(**later):
    return signing.utc_text(clock.now() + timedelta(**later))


def fresh(make, **changes):
    return make(**{"issued_at": now_text(), **({"expires_at": now_text(hours=71)} if make is not release else {}), **changes})


@pytest.fixture
def process(tmp_path, settings):
    started = SignerProcess(tmp_path).start()
    settings.SIGNING_KEYS_DIR = tmp_path
    settings.SIGNER_SOCKET = started.socket
    yield started
    started.close()


def sign_ticket():
    return signing.sign(Role.TICKET, PayloadType.TICKET, fresh(ticket))


class TestSigning:
    def test_each_role_is_signed_and_holds_against_the_root(self, process):
        for role, kind, payload in (
            (Role.TICKET, PayloadType.TICKET, fresh(ticket)),
            (Role.RESTORE, PayloadType.RESTORE_TICKET, fresh(restore)),
            (Role.STATUS, PayloadType.STATUS, fresh(status)),
            (Role.RELEASE, PayloadType.RELEASE, fresh(release)),
        ):
            assert signing.verify(signing.sign(role, kind, payload), role=role) == payload

    def test_doctor_asks_whether_it_answers_and_by_which_root(self, process):
        levels = [finding.level for finding in doctor.check_signing()]
        assert levels == ["ok", "ok"]

        process.stop()
        assert [finding.level for finding in doctor.check_signing()] == ["wrong", "ok"]

    def test_doctor_warns_of_key_files_in_production(self, settings):
        signing.ensure_development_keys()
        settings.IS_PRODUCTION = True
        assert [finding.level for finding in doctor._check_signer()] == ["warn"]

    def test_a_refusal_is_an_outage_that_says_why_to_operators_only(self, process):
        with pytest.raises(SigningNotReady, match="longer than such a document may") as caught:
            signing.sign(Role.TICKET, PayloadType.TICKET, fresh(ticket, expires_at=now_text(hours=73)))

        assert "longer" not in caught.value.detail

    def test_its_log_names_hashes_and_nothing_of_the_documents(self, process):
        signing.sign(Role.TICKET, PayloadType.TICKET, fresh(ticket, buyer="somebody", identity={"tag": "5ec2e7"}))
        with pytest.raises(SigningNotReady):
            signing.sign(Role.TICKET, PayloadType.TICKET, fresh(ticket, buyer="somebody", expires_at=now_text(days=9)))

        signed, refused = (json.loads(line) for line in process.log("ticket").splitlines())
        assert set(signed) == {"at", "uid", "type", "sha256", "keyids"}
        assert set(refused) == {"at", "uid", "type", "sha256", "refused"}
        assert "somebody" not in process.log("ticket") and "5ec2e7" not in process.log("ticket")
        assert {path.stat().st_mode & 0o777 for path in (process.directory / "log").iterdir()} == {0o600}

    def test_a_status_version_rises_also_over_a_restart(self, process):
        version = int(clock.now().timestamp())
        signing.sign(Role.STATUS, PayloadType.STATUS, fresh(status, version=version))
        process.stop()
        with open(process.directory / "log" / "status.log", "a") as log:
            log.write('{"at": "20')  # a power cut in the middle of a line
        process.start()

        with pytest.raises(SigningNotReady, match="does not rise"):
            signing.sign(Role.STATUS, PayloadType.STATUS, fresh(status, version=version))
        assert signing.sign(Role.STATUS, PayloadType.STATUS, fresh(status, version=version + 1))

    def test_an_old_release_is_signed_again_only_if_it_was_signed_here(self, tmp_path):
        keys = SignerProcess(tmp_path).start()
        keys.close()
        moment = [clock.now()]
        signer = Signer(
            KeyRing(tmp_path / "keys", tmp_path / "roots"), Journal(tmp_path / "log"), reviewers=None, now=lambda: moment[0]
        )
        known, unknown = encode_payload(fresh(release)), encode_payload(fresh(release, version="2"))

        assert "signatures" in ask(signer, Role.RELEASE, PayloadType.RELEASE, known)
        moment[0] += timedelta(days=400)
        again = Signer(signer.ring, Journal(tmp_path / "log"), reviewers={}, now=lambda: moment[0])
        assert "signatures" in ask(again, Role.RELEASE, PayloadType.RELEASE, known)
        assert "just now" in ask(again, Role.RELEASE, PayloadType.RELEASE, unknown)["refused"]

    def test_a_release_without_a_reviewers_approval_is_refused_where_approvals_are_asked_for(self, tmp_path, settings):
        (tmp_path / "reviewers.json").write_text("{}")
        started = SignerProcess(tmp_path, "--reviewers", str(tmp_path / "reviewers.json")).start()
        settings.SIGNING_KEYS_DIR, settings.SIGNER_SOCKET = tmp_path, started.socket
        try:
            with pytest.raises(InvalidInput) as caught:
                signing.sign(Role.RELEASE, PayloadType.RELEASE, fresh(release))
            assert caught.value.errors[0].pointer == "/approval"
        finally:
            started.close()


def ask(signer, role, payload_type, data, roles=frozenset(Role)):
    question = {"role": role, "payload_type": payload_type, "payload": base64.b64encode(data).decode()}
    return signer.answer(question, uid=1, roles=roles)


class TestRights:
    def test_it_loads_neither_the_application_nor_anything_that_talks_to_a_network(self):
        unwanted = {"django", "boto3", "urllib3", "securesystemslib", "http.client"}
        program = f"import sys, core.signing.signer; print({unwanted} & set(sys.modules))"

        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)

        assert done.stdout.strip() == "set()"

    def test_socket_keys_and_log_are_of_its_user_only(self, process):
        modes = [(process.directory / name).stat().st_mode & 0o777 for name in ("keys", "log")]

        assert modes == [0o700, 0o700]
        assert Path(process.socket).stat().st_mode & 0o777 == 0o600

    def test_another_user_is_refused_by_the_kernels_word(self, tmp_path, settings):
        started = SignerProcess(tmp_path, "--allow", "4294967000").start()
        settings.SIGNING_KEYS_DIR, settings.SIGNER_SOCKET = tmp_path, started.socket
        try:
            with pytest.raises(SigningNotReady, match="this user may not ask"):
                sign_ticket()
        finally:
            started.close()

    def test_a_user_asks_for_its_own_roles_only(self, tmp_path, settings):
        started = SignerProcess(tmp_path, "--allow", f"{os.getuid()}:ticket,restore").start()
        settings.SIGNING_KEYS_DIR, settings.SIGNER_SOCKET = tmp_path, started.socket
        try:
            assert sign_ticket()
            with pytest.raises(SigningNotReady, match="role release"):
                signing.sign(Role.RELEASE, PayloadType.RELEASE, fresh(release))
        finally:
            started.close()

    @pytest.mark.parametrize(
        ("prepare", "says"),
        [
            (lambda directory: (directory / "keys").chmod(0o755), "can be read by others"),
            (lambda directory: (directory / "roots" / "1.json").unlink(), "no root document"),
        ],
    )
    def test_it_does_not_start_on_what_is_not_private_or_not_whole(self, tmp_path, prepare, says):
        SignerProcess(tmp_path).start().close()
        prepare(tmp_path)
        command = [sys.executable, "-m", "core.signing.signer", "--keys", str(tmp_path / "keys"), "--roots", str(tmp_path / "roots")]
        command += ["--socket", str(tmp_path / "s"), "--log", str(tmp_path / "log")]

        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

        assert (done.returncode, says in done.stderr) == (1, True), done.stderr

    @pytest.mark.parametrize(
        "sent",
        [
            *(b"", b"\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x02{}"),
            *(b"\x00\x00\x00\x05hello", b"\x00\x00\xff\xff["),
        ],
    )
    def test_hostile_frames_hurt_nobody(self, process, sent):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(process.socket)
            channel.sendall(sent)
            channel.shutdown(socket.SHUT_WR)
            channel.settimeout(5)
            channel.recv(1000)

        assert sign_ticket()

    def test_twenty_who_say_nothing_keep_nobody_from_signing_for_long(self, process):
        silent = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        try:
            for channel in silent:
                channel.connect(process.socket)
            wait_until_answered(sign_ticket)
        finally:
            for channel in silent:
                channel.close()

    def test_each_role_has_a_rate(self, tmp_path):
        SignerProcess(tmp_path).start().close()
        signer = Signer(
            KeyRing(tmp_path / "keys", tmp_path / "roots"), Journal(tmp_path / "log"), reviewers=None, rates={Role.TICKET: 3}
        )
        answers = [ask(signer, Role.TICKET, PayloadType.TICKET, encode_payload(fresh(ticket))) for _ in range(5)]

        assert [list(answer) for answer in answers] == [["signatures"]] * 3 + [["busy"]] * 2
        assert "signatures" in ask(signer, Role.RESTORE, PayloadType.RESTORE_TICKET, encode_payload(fresh(restore)))
        rate = Rate(60)
        rate._left, rate._at = 0.0, time.monotonic() - 1.5
        assert [rate.take(), rate.take()] == [True, False]


class TestOutages:
    def test_frozen_it_is_an_outage_within_two_seconds_and_then_at_once(self, process):
        sign_ticket()
        process.freeze()
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable) as caught:
            sign_ticket()
        assert 1.5 < time.monotonic() - began < 4
        assert (caught.value.members["service"], caught.value.retry_after_seconds) == ("signing", 5)

        def ask_and_wait():
            with contextlib.suppress(ServiceUnavailable):
                sign_ticket()

        asking = threading.Thread(target=ask_and_wait)
        asking.start()
        time.sleep(0.3)
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            sign_ticket()
        assert time.monotonic() - began < 0.5, "one at a time finds out"
        asking.join()

        process.thaw()
        wait_until_answered(sign_ticket)

    def test_killed_it_is_an_outage_until_it_is_back(self, process):
        process.stop()
        with pytest.raises(ServiceUnavailable):
            sign_ticket()

        process.start()
        assert sign_ticket()

    def test_a_signer_that_hangs_up_or_talks_nonsense_is_an_outage(self, tmp_path, settings):
        for answer in (b"", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x09nonsense!"):
            path = tmp_path / "s"
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(1)

            def reply(listener=listener, answer=answer):
                channel, _ = listener.accept()
                with channel:
                    channel.recv(100_000)
                    channel.sendall(answer)

            thread = threading.Thread(target=reply)
            thread.start()
            remote._gate.note(good=True)
            with pytest.raises(ServiceUnavailable):
                remote.RemoteSigner(str(path)).sign(Role.TICKET, PayloadType.TICKET, b"{}")
            thread.join()
            listener.close()
        remote._gate.note(good=True)
