import uuid
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction

from core import audit
from core.models import AuditEvent

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
