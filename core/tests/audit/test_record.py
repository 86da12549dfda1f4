import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction
from django.test import Client

from core import audit, clock, mfa
from core.models import AuditEvent
from core.testing.admin import admin_client, decide
from core.testing.http import client_for
from garage.tests.factories import VehicleFactory
from users.tests.factories import PASSWORD, TOTP_SECRET, UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.django_db
class TestAuditLog:
    def test_keeps_who_what_and_why(self):
        actor, subject = uuid.uuid4(), uuid.uuid4()

        audit.record(act="thing.done", actor_id=actor, subject_id=subject, at=NOW, reason="because", other_id=subject)

        event = AuditEvent.objects.get()
        assert (event.act, event.actor_id, event.subject_id, event.reason, event.facts) == (
            "thing.done", actor, subject, "because", {"other_id": str(subject)},
        )  # fmt: skip

    @pytest.mark.parametrize(
        "statement", ["UPDATE core_auditevent SET act = 'x'", "DELETE FROM core_auditevent", "TRUNCATE core_auditevent"]
    )
    def test_postgres_refuses_every_change(self, statement):
        audit.record(act="thing.done", actor_id=None, subject_id=None, at=NOW)

        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.django_db
class TestSession:
    """From which session: known by the check of credentials, so no service passes it on."""

    def test_an_act_over_the_api_has_its_session(self):
        client = client_for(UserFactory())
        vehicle = VehicleFactory(owner=client.user)

        assert client.delete(f"garage/vehicles/{vehicle.pk}/").status_code == 204

        event = AuditEvent.objects.get(act="vehicle.deleted")
        assert (event.actor_id, event.session_id) == (client.user.pk, client.device.pk)

    def test_it_is_forgotten_when_the_request_ends(self):
        client_for(UserFactory()).get("users/me/")

        assert audit.acting_session() is None
        assert audit.record(act="thing.done", actor_id=None, subject_id=None, at=NOW).session_id is None

    def test_it_is_forgotten_when_the_request_fails(self):
        def fail(execute, sql, *rest):
            if "users_notice" in sql:
                raise RuntimeError
            return execute(sql, *rest)

        client = client_for(UserFactory())
        client.raise_request_exception = client.handler.raise_request_exception = False
        with connection.execute_wrapper(fail):
            assert client.get("users/me/notices/").status_code == 500

        assert audit.acting_session() is None

    def test_each_thread_has_its_own(self):
        audit.act_from_session(uuid.uuid4())
        try:
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(audit.acting_session).result() is None
        finally:
            audit.act_from_session(None)

    def test_a_staff_decision_has_the_sign_in_it_was_made_from(self):
        admin, person = UserFactory(admin=True, mfa=True), UserFactory()
        first, second = admin_client(admin), admin_client(admin)

        decide(first, person, "block", reason="Spam.")
        decide(first, person, "unblock", reason="A mistake.")
        decide(second, person, "block", reason="Spam after all.")

        sessions = list(AuditEvent.objects.filter(subject_id=person.pk).order_by("pk").values_list("session_id", flat=True))
        assert sessions[0] == sessions[1] != sessions[2]
        assert None not in sessions

    def test_signing_in_to_the_admin_begins_it(self):
        admin, person, client = UserFactory(admin=True, mfa=True), UserFactory(), Client()
        code = mfa.code_of(TOTP_SECRET, at=clock.now())

        client.post("/admin/login/", {"username": admin.email, "password": PASSWORD, "code": code, "next": "/admin/"})
        decide(client, person, "block", reason="Spam.")

        signed_in, blocked = AuditEvent.objects.get(act="admin.signed_in"), AuditEvent.objects.get(act="user.blocked")
        assert signed_in.session_id == blocked.session_id is not None

    def test_a_refused_sign_in_begins_none(self):
        admin, client = UserFactory(admin=True, mfa=True), Client()

        client.post("/admin/login/", {"username": admin.email, "password": PASSWORD, "code": "000000", "next": "/admin/"})

        assert not Session.objects.exists() and not AuditEvent.objects.exists()
