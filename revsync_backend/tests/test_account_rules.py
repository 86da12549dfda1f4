"""Rules of accounts that hold across the apps: step-up, roles, and what wants a second factor."""

import re
import uuid
from datetime import timedelta

import pytest
from rest_framework import serializers

from core import clock
from core.models import AuditEvent
from core.testing.http import client_for
from marketplace.exceptions import PublishBlocked
from marketplace.services.review import publish_tune_version
from marketplace.tests.factories import TuneFactory, TuneVersionFactory
from revsync_backend.urls import all_endpoints
from tuners.tests.factories import TunerProfileFactory
from users import services
from users.models import User, UserDevice
from users.tests.factories import UserDeviceFactory, UserFactory

ENDPOINTS = all_endpoints()
# What contract.md marks. A route that is not built yet is held to it from its first day on.
WANT_STEP_UP = [
    r"POST auth/email/change/(confirm/)?",
    r"POST auth/mfa/totp/((confirm|disable)/)?",
    r"POST auth/mfa/recovery-codes/",
    r"DELETE users/me/",
    r"(GET|POST) garage/vehicles/<uuid:\w+>/rescue-links/",
    r"DELETE garage/vehicles/<uuid:\w+>/rescue-links/<uuid:\w+>/",
    r"(GET|POST) tuners/me/payout-account/",
]
STEPPED_UP = [row for row in ENDPOINTS if row.step_up]
SET_BY_NO_CLIENT = {
    *("role", "is_staff", "is_superuser", "is_active", "staff", "superuser", "admin", "permissions", "groups"),
    *("blocked_at", "blocked_reason", "block", "mfa_enabled", "mfa_enabled_at", "session_epoch", "verified", "email_verified"),
}


def name_of(row):
    return f"{row.method} {row.path}"


def url_of(row):
    return re.sub(r"<\w+:\w+>", lambda _: str(uuid.uuid4()), row.path)


class TestStepUp:
    @pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)
    def test_the_table_marks_what_the_contract_marks(self, row):
        assert row.step_up == any(re.fullmatch(pattern, name_of(row)) for pattern in WANT_STEP_UP)

    def test_what_is_built_is_found(self):
        assert len(STEPPED_UP) >= 6

    @pytest.mark.django_db
    @pytest.mark.parametrize("row", STEPPED_UP, ids=lambda row: row.name)
    @pytest.mark.parametrize(
        ("ago", "open_"),
        [(None, False), (timedelta(minutes=5), False), (timedelta(hours=1), False), (timedelta(minutes=4, seconds=50), True)],
        ids=["never", "five minutes ago", "an hour ago", "just in time"],
    )
    def test_five_minutes_of_this_session_and_no_other(self, row, ago, open_):
        user = TunerProfileFactory().user
        session = UserDeviceFactory(user=user)
        UserDeviceFactory(user=user, stepped_up=True)  # another session of the same person opens nothing here
        if ago is not None:
            UserDevice.objects.filter(pk=session.pk).update(stepped_up_at=clock.now() - ago, stepped_up_with="PASSWORD")

        answer = getattr(client_for(user, device=session), row.method.lower())(url_of(row), {} if row.method == "POST" else None)

        code = answer.json().get("code") if answer.content else None
        assert (code != "reauthentication_required") is open_, answer.content
        assert open_ or answer.status_code == 403


class TestRolesAreNeverSetThroughTheApi:
    @pytest.mark.parametrize("row", [row for row in ENDPOINTS if row.request], ids=lambda row: row.name)
    def test_no_body_has_such_a_member(self, row):
        assert {path for path in members(row.request()) if path.rpartition("/")[2] in SET_BY_NO_CLIENT} == set()

    @pytest.mark.parametrize("row", [row for row in ENDPOINTS if row.request], ids=lambda row: row.name)
    @pytest.mark.parametrize("member", ["role", "is_staff", "is_superuser"])
    def test_and_sending_one_is_refused(self, row, member):
        body = row.request(data={member: "ADMIN"}, partial=row.method == "PATCH")

        assert not body.is_valid() and [error.code for error in body.errors[member]] == ["unknown_field"]

    @pytest.mark.django_db
    def test_a_person_can_not_promote_themselves(self):
        user = UserFactory()
        client = client_for(user, step_up=True)

        for path in ("users/me/", "users/me/profile/"):
            for body in ({"role": "ADMIN"}, {"display_name": "Anna", "is_staff": True}, {"user": {"role": "ADMIN"}}):
                assert client.patch(path, body).json()["code"] == "unknown_field"

        user = User.objects.get(pk=user.pk)
        assert (user.role, user.is_staff, user.is_superuser, user.revision) == ("RIDER", False, False, 1)


def members(serializer, path=""):
    """Every member of a body, those of its members too."""
    if isinstance(serializer, serializers.ListSerializer | serializers.ListField):
        yield from members(serializer.child, path)
    elif isinstance(serializer, serializers.Serializer):
        for name, field in serializer.fields.items():
            yield f"{path}/{name}"
            yield from members(field, f"{path}/{name}")


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["tuner", "creator"])
class TestWithoutASecondFactor:
    """Tuners and creators sell nothing without it, and are told so before they try."""

    @pytest.fixture
    def profile(self, role):
        return TunerProfileFactory(user=UserFactory(**{role: True}), creator=role == "creator")

    def test_the_profile_says_so_before_anything_is_tried(self, profile):
        assert client_for(profile.user).get("tuners/me/").json()["publish_blockers"] == ["mfa_required"]

    def test_nothing_is_submitted(self, profile):
        version = TuneVersionFactory(tune=TuneFactory(tuner=profile), validated=True)

        answer = client_for(profile.user).post(f"marketplace/versions/{version.pk}/submit/")

        assert (answer.status_code, answer.json()["code"], answer.json()["blockers"]) == (409, "publish_blocked", ["mfa_required"])

    def test_what_was_submitted_with_it_is_not_published_without_it(self, profile):
        version = TuneVersionFactory(tune=TuneFactory(tuner=profile), in_review=True)

        with pytest.raises(PublishBlocked) as refusal:
            publish_tune_version(
                version_id=version.pk,
                reviewer=UserFactory(admin=True, mfa=True),
                approved_sha256=[file.sha256 for file in version.files.all()],
                note="",
                at=clock.now(),
            )

        assert refusal.value.members["blockers"] == ["mfa_required"]
        version.refresh_from_db()
        assert version.status == "IN_REVIEW"

    def test_turning_it_on_opens_the_way_and_off_closes_it(self, profile):
        client = client_for(profile.user, step_up=True)

        services.enrol_by_operator(user=profile.user, at=clock.now())
        assert client.get("tuners/me/").json()["publish_blockers"] == []
        assert client.post("auth/mfa/totp/disable/").status_code == 204
        assert client.get("tuners/me/").json()["publish_blockers"] == ["mfa_required"]


@pytest.mark.django_db
class TestRoleChangesBiteOnTheNextRequest:
    def test_a_tuner_who_is_no_more_loses_the_tuners_routes(self):
        profile = TunerProfileFactory()
        client = client_for(profile.user)
        assert client.get("tuners/me/").status_code == 200

        services.set_role(user=profile.user, role="RIDER", actor=UserFactory(admin=True), reason="Left the trade.", at=clock.now())

        assert client.get("tuners/me/").json()["code"] == "permission_denied"
        event = AuditEvent.objects.get(act="user.role_changed", subject_id=profile.user_id)
        assert (event.reason, event.facts) == ("Left the trade.", {"old": "TUNER", "new": "RIDER"})

    def test_a_suspended_tuner_reads_and_writes_no_more(self):
        profile = TunerProfileFactory()
        client = client_for(profile.user)
        tune = TuneFactory(tuner=profile)
        assert client.patch(f"marketplace/tunes/{tune.pk}/", {"title": "A better title"}).status_code == 200

        type(profile).objects.filter(pk=profile.pk).update(
            status="SUSPENDED", suspension_reason="SAFETY", suspension_note="Bricked an ECU.", suspended_at=clock.now()
        )

        assert client.patch(f"marketplace/tunes/{tune.pk}/", {"title": "Another title"}).json()["code"] == "tuner_suspended"
        assert client.get("tuners/me/").status_code == 200

    def test_an_admin_who_is_no_more_loses_the_admin_site(self, client):
        admin, other = UserFactory(admin=True, mfa=True), UserFactory(admin=True, mfa=True)
        client.force_login(admin)
        assert client.get("/admin/").status_code == 200

        services.set_role(user=admin, role="RIDER", actor=other, reason="Left us.", at=clock.now())

        assert client.get("/admin/").status_code == 302
