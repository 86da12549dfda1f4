"""The admin as a whole: who gets in, that everything can be found and nothing be changed around a service."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from core import audit, clock, mfa
from core.admin_base import ReadOnlyAdmin
from core.admin_site import site
from core.ids import new_id
from core.models import AuditEvent
from core.testing.admin import list_of, page_of
from garage.models import Vehicle
from users.enums import Role, SessionEnd
from users.models import TotpDevice, UserDevice
from users.services import end_all_sessions, set_role
from users.tests.factories import PASSWORD, TOTP_SECRET, UserFactory

LOGIN = "/admin/login/"
NOT_SHOWN = {  # derived for lists and search, counted for tuners, a rider's own affair, or on the page of their case, payout or difference
    "marketplace.CaseAttachment",
    "marketplace.CaseMessage",
    "marketplace.PayoutLine",
    "marketplace.BrowseRow",
    "marketplace.FlashGroup",
    "marketplace.GroupedFlash",
    "marketplace.ListingChange",
    "marketplace.ParkedReturn",
    "marketplace.SavedSearch",
    "marketplace.SavedSearchMatch",
    "marketplace.SearchRow",
    "marketplace.SearchWord",
    "marketplace.SearchPhrase",
    "marketplace.TrendRow",
    "marketplace.TuneViews",
    "tuners.TunerWord",
}
OUR_APPS = ("core", "users", "tuners", "garage", "marketplace")


def code(*, steps: int = 0) -> str:
    return mfa.code_of(TOTP_SECRET, at=clock.now() + timedelta(seconds=30 * steps))


def sign_in(user, *, password=PASSWORD, given=None, client=None):
    client = client or Client()
    answer = client.post(LOGIN, {"username": user.email, "password": password, "code": given or code(), "next": "/admin/"})
    return client, answer


@pytest.fixture
def admin():
    return UserFactory(admin=True, mfa=True)


@pytest.fixture
def client(admin):
    client = Client()
    client.force_login(admin)
    return client


@pytest.mark.django_db
class TestSignIn:
    def test_takes_address_password_and_code(self, admin):
        client, answer = sign_in(admin)

        assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")
        assert client.get("/admin/").status_code == 200
        assert AuditEvent.objects.filter(act="admin.signed_in", actor_id=admin.pk).count() == 1

    def test_the_page_asks_for_the_code_and_keeps_no_password(self):
        page = Client().get(LOGIN).content.decode()

        assert 'name="code"' in page and 'autocomplete="one-time-code"' in page

    @pytest.mark.parametrize(
        ("password", "given"), [(PASSWORD, "000000"), (PASSWORD, ""), ("wrong-password-9", None), (PASSWORD, "abcdef")]
    )
    def test_refuses_what_is_wrong_without_telling_which(self, admin, password, given):
        client, answer = sign_in(admin, password=password, given=given if given is not None else code())

        if given == "":
            client, answer = sign_in(admin, password=password, given=" ")
        assert answer.status_code == 403
        assert "E-mail, password or code is not right" in answer.content.decode()
        assert password not in answer.content.decode()
        assert client.get("/admin/").status_code == 302

    @pytest.mark.parametrize("traits", [{"mfa": True}, {"tuner": True, "mfa": True}, {"admin": True}])
    def test_refuses_others_and_admins_without_second_factor(self, traits):
        client, answer = sign_in(UserFactory(**traits))

        assert answer.status_code == 403
        assert client.get("/admin/").status_code == 302

    def test_a_code_works_once(self, admin):
        given = code()

        assert sign_in(admin, given=given)[1].status_code == 302
        assert sign_in(admin, given=given)[1].status_code == 403

    def test_is_limited_like_every_log_in(self, admin):
        for _ in range(10):
            assert sign_in(admin, password="wrong-password-9")[1].status_code == 403

        answer = sign_in(admin)[1]

        assert (answer.status_code, "Too many tries" in answer.content.decode()) == (429, True)
        assert int(answer.headers["Retry-After"]) > 0

    def test_wrong_codes_are_limited_on_their_own(self, admin):
        for _ in range(10):
            sign_in(admin, given="000000")

        assert sign_in(admin)[1].status_code == 429

    def test_does_not_lead_elsewhere(self, admin):
        answer = Client().post(LOGIN, {"username": admin.email, "password": PASSWORD, "code": code(), "next": "https://evil.example/"})

        assert answer.headers["Location"] == "/admin/"

    def test_needs_its_csrf_token(self, admin):
        answer = Client(enforce_csrf_checks=True).post(LOGIN, {"username": admin.email, "password": PASSWORD, "code": code()})

        assert answer.status_code == 403
        assert not AuditEvent.objects.filter(act="admin.signed_in").exists()


@pytest.mark.django_db
class TestStayingIn:
    def test_ends_with_all_sessions(self, admin):
        client, _ = sign_in(admin)

        end_all_sessions(user=admin, reason=SessionEnd.LOGGED_OUT_EVERYWHERE, actor_id=admin.pk, at=clock.now())

        assert client.get("/admin/").status_code == 302

    def test_ends_with_the_role(self, admin):
        client, _ = sign_in(admin)
        other = UserFactory(admin=True, mfa=True)

        set_role(user=admin, role=Role.RIDER, actor=other, reason="Left the team.", at=clock.now())

        assert client.get("/admin/").status_code == 302

    def test_ends_with_the_second_factor_and_with_a_block(self, admin, client):
        get_user_model().objects.filter(pk=admin.pk).update(mfa_enabled_at=None)

        assert client.get("/admin/").status_code == 302

    def test_the_cookie_is_for_the_admin_only(self, admin):
        client, _ = sign_in(admin)
        cookie = client.cookies["revsync_admin"]

        assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/admin/", True, "Strict")
        assert client.get("/api/v1/users/me/").status_code == 401

    def test_only_the_admin_has_the_looser_content_policy(self, client):
        assert "'unsafe-eval'" in client.get("/admin/").headers["Content-Security-Policy"]
        assert "unsafe" not in client.get("/api/docs/").headers["Content-Security-Policy"]
        assert client.get("/admin/").headers["Referrer-Policy"] == "same-origin"

    def test_no_password_is_changed_here(self, client):
        assert client.get("/admin/password_change/").status_code == 404


def registered():
    from core.admin_site import admin_urls

    admin_urls()
    return sorted(site._registry.values(), key=lambda each: each.model._meta.label)


class TestRegistry:
    def test_every_model_of_ours_is_there(self):
        shown = {each.model._meta.label for each in registered()}
        ours = {model._meta.label for app in OUR_APPS for model in apps.get_app_config(app).get_models()}

        assert ours - shown == NOT_SHOWN

    @pytest.mark.parametrize("model_admin", registered(), ids=lambda each: each.model._meta.label)
    def test_each_is_read_only_and_can_be_searched(self, model_admin):
        assert isinstance(model_admin, ReadOnlyAdmin)
        assert model_admin.search_fields and model_admin.list_display != ("__str__",)
        assert not model_admin.list_editable and not model_admin.actions
        assert not model_admin.has_add_permission(None)
        assert not model_admin.has_change_permission(None)
        assert not model_admin.has_delete_permission(None)

    @pytest.mark.parametrize("model_admin", registered(), ids=lambda each: each.model._meta.label)
    def test_each_hides_what_is_secret(self, model_admin):
        shown = {*model_admin._readable_columns(), *model_admin.list_display}

        assert not shown & {
            "password",
            "secret",
            "code_hash",
            "vin",
            "vin_hash",
            "frame_number",
            "serial",
            "push_token",
            "client_secret",
            "pending",
        }


@pytest.mark.django_db
class TestPages:
    @pytest.mark.parametrize("model_admin", registered(), ids=lambda each: each.model._meta.label)
    def test_each_list_opens_empty_and_with_a_search(self, client, model_admin):
        meta = model_admin.model._meta
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")

        assert client.get(url).status_code == 200
        assert client.get(url, {"q": "yamaha"}).status_code == 200
        for term in ("01890000-0000-7000-8000-000000000000", "ab" * 32, "%", "';--"):
            found, _ = model_admin.get_search_results(None, model_admin.model._default_manager.all(), term)
            assert list(found) == []

    @pytest.mark.parametrize("model_admin", registered(), ids=lambda each: each.model._meta.label)
    def test_adding_and_deleting_have_no_page(self, client, model_admin):
        meta = model_admin.model._meta

        assert client.post(reverse(f"admin:{meta.app_label}_{meta.model_name}_add"), {}).status_code == 403

    def test_who_acted_is_named_and_a_row_that_is_gone_keeps_its_id(self, client, admin):
        gone, at = new_id(), clock.now()
        for actor_id in (admin.pk, gone, None):
            audit.record(act="test.acted", actor_id=actor_id, subject_id=admin.pk, at=at)

        seen = list_of(client, AuditEvent, q="test.acted")
        page = page_of(client, AuditEvent.objects.get(actor_id=gone))

        assert f">{admin.display_name} (Admin)</a>" in seen and reverse("admin:users_user_change", args=[admin.pk]) in seen
        assert str(gone) in seen and str(gone) in page

    def test_a_person_leads_to_every_list_that_names_them(self, client):
        rider = UserFactory()

        page = page_of(client, rider)

        for name in ("marketplace_purchase", "garage_vehicle", "core_auditevent", "users_notice"):
            assert f"{reverse(f'admin:{name}_changelist')}?q={rider.pk}" in page

    def test_an_empty_list_does_not_ask_to_create_a_row(self, client):
        assert "There are no vehicles." in list_of(client, Vehicle)
        assert "Nothing fits what you look for." in list_of(client, Vehicle, q="zzz")

    def test_the_first_page_shows_the_queues(self, client, django_assert_max_num_queries):
        with django_assert_max_num_queries(12 + len(site.queues())):  # one for each queue
            page = client.get("/admin/").content.decode()

        for queue in site.queues():
            assert queue.title in page
            assert client.get(queue.url()).status_code == 200

    def test_a_stranger_sees_the_sign_in_page_only(self):
        for model_admin in registered():
            meta = model_admin.model._meta
            answer = Client().get(reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"))
            assert answer.status_code == 302 and answer.headers["Location"].startswith(LOGIN)


@pytest.mark.django_db
class TestAccounts:
    def test_an_account_is_found_by_its_address_and_changed_by_nobody(self, client):
        rider = UserFactory(display_name="<script>alert(1)</script>")
        url = reverse("admin:users_user_change", args=[rider.pk])

        found = client.get(reverse("admin:users_user_changelist"), {"q": rider.email}).content.decode()
        page = client.get(url).content.decode()
        refused = client.post(url, {"display_name": "Changed", "role": "ADMIN"})

        rider.refresh_from_db()
        assert "&lt;script&gt;alert(1)" in found and "<script>alert(1)" not in found + page
        assert (refused.status_code, rider.role) == (403, "RIDER")
        assert rider.password not in page

    def test_sessions_are_ended_with_a_reason(self, client, admin):
        session = UserDevice.objects.create(user=UserFactory(), expires_at=clock.now() + timedelta(days=1))
        url = reverse("admin:users_user_decide", args=[session.user_id, "sessions"])

        without = client.post(url, {"reason": " "})
        session.refresh_from_db()
        assert (without.status_code, session.revoked_at) == (200, None)
        answer = client.post(url, {"reason": "The phone was stolen."})

        session.refresh_from_db()
        assert (answer.status_code, session.revoked_reason) == (302, "ENDED_BY_STAFF")
        assert AuditEvent.objects.get(act="user.sessions_ended").reason == "The phone was stolen."

    def test_a_refusal_is_a_message_and_changes_nothing(self, client, admin):
        url = reverse("admin:users_user_decide", args=[admin.pk, "block"])

        answer = client.post(url, {"reason": "Trying."})

        admin.refresh_from_db()
        assert (answer.status_code, admin.blocked_at) == (200, None)
        assert "revsync-decide" in answer.content.decode()

    def test_an_unknown_decision_is_not_found(self, client, admin):
        assert client.post(reverse("admin:users_user_decide", args=[admin.pk, "promote"]), {"reason": "x"}).status_code == 404

    def test_secrets_are_not_on_the_page(self, client, admin):
        device = TotpDevice.objects.get(user=admin)

        page = client.get(reverse("admin:users_totpdevice_change", args=[device.pk])).content.decode()

        assert TOTP_SECRET not in page
