"""The audit log in the admin: found, read, never changed."""

import uuid

import pytest
from django.urls import reverse

from core import audit, doctor
from core.audit.acts import list_acts
from core.models import AuditEvent, AuditHeadCopy, AuditSeal
from core.testing.admin import admin_client, list_of, list_queries, page_of
from core.tests.audit.log import NOW
from users.tests.factories import UserFactory


@pytest.fixture
def client(db):
    return admin_client()


@pytest.fixture
def events(client):
    person, session = UserFactory(), uuid.uuid4()
    return [
        audit.record(act="thing.done", actor_id=person.pk, subject_id=uuid.uuid4(), session_id=session, at=NOW, reason="because"),
        audit.record(act="thing.done", actor_id=uuid.uuid4(), subject_id=uuid.uuid4(), at=NOW),
        audit.record(act="thing.undone", actor_id=None, subject_id=person.pk, at=NOW),
    ]


def shown(html, events):
    return [event for event in events if str(event.pk) in html]


class TestList:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("act", lambda one, _two, _three: one.act, [0, 1]),
            ("actor_id", lambda one, _two, _three: one.actor_id, [0]),
            ("subject_id", lambda _one, two, _three: two.subject_id, [1]),
            ("session_id", lambda one, _two, _three: one.session_id, [0]),
            ("actor_id", lambda *_: "nobody", []),
            ("act", lambda *_: "thing.never", []),
            ("q", lambda one, _two, _three: one.actor_id, [0, 2]),
            ("q", lambda *_: "because", [0]),
        ],
    )
    def test_is_narrowed(self, client, events, name, value, expected):
        html = list_of(client, AuditEvent, **{name: str(value(*events))})

        assert shown(html, events) == [events[number] for number in expected]

    def test_takes_as_many_queries_for_one_row_as_for_twenty(self, client, events):
        few = list_queries(client, AuditEvent)
        for _ in range(17):
            audit.record(act="thing.done", actor_id=UserFactory().pk, subject_id=None, at=NOW)

        assert list_queries(client, AuditEvent) == few

    def test_says_that_nothing_is_sealed(self, client, events):
        assert "Nothing is sealed yet" in list_of(client, AuditEvent)

    def test_shows_what_people_wrote_as_text(self, client):
        audit.record(act="thing.done", actor_id=None, subject_id=None, at=NOW, reason="<script>alert(1)</script>")

        assert "<script>alert(1)" not in list_of(client, AuditEvent)


def test_acts_are_listed_without_reading_every_row(db):
    for act in ("b.done", "a.done", "b.done", "c.done"):
        audit.record(act=act, actor_id=None, subject_id=None, at=NOW)

    assert list_acts() == ["a.done", "b.done", "c.done"]


def test_acts_of_an_empty_log(db):
    assert list_acts() == []


def test_the_state_of_the_chain_is_shown(log):
    ids = log.sealed(2)
    log.copy()
    log.write(1)
    client = admin_client()

    html = list_of(client, AuditEvent)

    assert "Sealed until 2026-06-01 12:00 (seal 1)" in html
    assert "head last copied 2026-06-01 12:00 (seal 1)" in html
    assert "Yes" in page_of(client, AuditEvent.objects.get(pk=ids[0]))
    assert "Not yet" in page_of(client, AuditEvent.objects.order_by("position", "pk").last())
    assert bytes(AuditSeal.objects.get().hash).hex() in page_of(client, AuditSeal.objects.get())
    assert str(AuditHeadCopy.objects.get().last_number) in page_of(client, AuditHeadCopy.objects.get())
    assert "not copied" not in client.get("/admin/").content.decode()


def test_the_first_page_and_doctor_warn_when_the_copy_is_late(log):
    log.sealed(1)  # in June, and nothing was copied since

    page = admin_client().get("/admin/").content.decode()
    findings = list(doctor.check_audit())

    assert "The head of the audit chain was not copied for more than two hours" in page
    assert [finding.level for finding in findings] == ["warn"]


def test_doctor_is_content_with_a_copied_chain(log):
    log.sealed(1)
    log.copy()

    (finding,) = doctor.check_audit()
    assert (finding.level, finding.text.split(";")[0]) == ("ok", "1 seals, head copied 2026-06-01 12:00 UTC")


@pytest.mark.parametrize("model", [AuditEvent, AuditSeal, AuditHeadCopy])
def test_nothing_is_added_changed_or_deleted(log, model):
    log.sealed(1)
    log.copy()
    row, client = model.objects.first(), admin_client()
    name = f"admin:core_{model._meta.model_name}"
    before = list(model.objects.values())

    statuses = [
        client.post(reverse(f"{name}_add"), {}).status_code,
        client.post(reverse(f"{name}_change", args=[row.pk]), {"reason": "x"}).status_code,
        client.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code,
    ]

    assert statuses == [403, 403, 403]
    assert list(model.objects.values()) == before
