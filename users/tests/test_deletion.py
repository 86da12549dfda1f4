"""Deleting an account: what is wound down first, what goes, what stays, what is told."""

from datetime import timedelta

import pytest
from django.core import mail

from core import clock, storage
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.tasks import run_all
from core.uploads.tests.factories import stored_upload
from users import privacy
from users.models import AccountDeletion, Notice, User, UserDevice
from users.privacy import Blocker, Provider
from users.tests.factories import PASSWORD, NoticeFactory, UserDeviceFactory, UserFactory
from users.tests.flows import bearer, log_in, refresh

AFTER_THE_LAST_PASS = timedelta(minutes=30)


def delete_me(client: ApiClient, **params: str):
    query = "?" + "&".join(f"{name}={value}" for name, value in params.items()) if params else ""
    return client.delete(f"users/me/{query}")


@pytest.mark.django_db
class TestDeletion:
    def test_answers_with_a_receipt_and_ends_every_session(self):
        user = UserFactory(display_name="Anna Berg")
        NoticeFactory(user=user)
        other = UserDeviceFactory(user=user)
        client = client_for(user, step_up=True)

        answer = delete_me(client)

        assert answer.status_code == 200
        receipt = answer.json()
        assert {entry["what"] for entry in receipt["goes"]} >= {"devices", "notices", "profile", "account"}
        assert all(entry["why"] and (entry["until"] or entry["ends"]) for entry in receipt["stays"])
        assert client.get("users/me/").status_code == 401
        assert client_for(user, device=other).get("users/me/").status_code == 401
        assert not UserDevice.objects.filter(user=user).exists() and not Notice.objects.filter(user=user).exists()

    def test_needs_a_step_up(self):
        answer = delete_me(client_for(UserFactory()))

        assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")

    def test_blocked_people_can_leave_too(self):
        user = UserFactory(blocked=True)

        assert delete_me(client_for(user, step_up=True)).status_code == 200
        user.refresh_from_db()
        assert (user.blocked_at, user.blocked_reason) == (None, "")

    def test_leaves_a_row_that_names_nobody(self):
        user = UserFactory(email="anna@example.com", display_name="Anna Berg", mfa=True)

        delete_me(client_for(user, step_up=True))

        user.refresh_from_db()
        assert (user.display_name, user.is_active, user.role, user.mfa_enabled_at) == ("Deleted rider", False, "RIDER", None)
        assert user.email == f"deleted-{user.pk.hex}@deleted.invalid" and not user.has_usable_password()
        assert user.deleted_at is not None

    def test_tokens_and_password_are_dead_and_the_address_is_free(self):
        user = UserFactory(email="anna@example.com")
        session = log_in("anna@example.com").json()
        client = bearer(session["access"])
        assert client.post("auth/step-up/", {"password": PASSWORD}).status_code == 204

        assert delete_me(client).status_code == 200

        assert refresh(session["refresh"]).json()["code"] == "token_invalid"
        assert log_in("anna@example.com").json()["code"] == "invalid_credentials"
        assert log_in(User.objects.get(pk=user.pk).email).json()["code"] == "invalid_credentials"
        assert UserFactory(email="anna@example.com").pk != user.pk

    def test_is_audited_without_a_name(self):
        user = UserFactory()
        client = client_for(user, step_up=True)

        delete_me(client)

        event = AuditEvent.objects.get(act="account.deleted")
        assert (event.actor_id, event.subject_id, event.session_id) == (user.pk, user.pk, client.device.pk)
        assert set(event.facts) == {"objects", "again_after_restore"}

    def test_mails_the_receipt_and_forgets_the_address(self):
        user = UserFactory(email="anna@example.com")

        delete_me(client_for(user, step_up=True))
        run_all()

        assert [(message.to, message.subject) for message in mail.outbox] == [(["anna@example.com"], "Your account was deleted")]
        assert "- account (1): blanked" in mail.outbox[0].body and "; until 2" in mail.outbox[0].body
        deletion = AccountDeletion.objects.get(user_id=user.pk)
        assert deletion.farewell_address is None and deletion.mailed_at is not None

    def test_the_mail_is_sent_once(self):
        user = UserFactory()
        delete_me(client_for(user, step_up=True))
        run_all()
        from users import services

        services.mail_deletion_receipt(deletion_id=AccountDeletion.objects.get().pk, at=clock.now())

        assert len(mail.outbox) == 1

    def test_an_address_that_no_mail_reaches_is_forgotten_after_a_week(self):
        from users import services

        user = UserFactory()
        delete_me(client_for(user, step_up=True))

        assert services.forget_farewells(at=clock.now() + timedelta(days=6)) == 0
        assert services.forget_farewells(at=clock.now() + timedelta(days=8)) == 1
        run_all()
        assert mail.outbox == [] and AccountDeletion.objects.get().mailed_at is None

    def test_the_copy_in_storage_names_nobody(self):
        user = UserFactory(email="anna@example.com", display_name="Anna Berg")
        delete_me(client_for(user, step_up=True))
        run_all()

        copied = storage.read(f"privacy/deletions/{user.pk}.json", max_bytes=100_000)
        assert str(user.pk).encode() in copied and b"anna" not in copied.lower() and b"Berg" not in copied
        assert AccountDeletion.objects.get().copied_at is not None

    def test_while_storage_is_away_nothing_is_lost(self, settings):
        from core.exceptions import ServiceUnavailable

        user = UserFactory()
        upload = stored_upload(content=b"certificate", owner_id=user.pk, ready=True)
        there = settings.S3_ENDPOINT_URL
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()
        assert delete_me(client_for(user, step_up=True)).status_code == 200
        with pytest.raises(ServiceUnavailable):
            run_all()
        settings.S3_ENDPOINT_URL = there
        storage.reset()

        run_all(until=clock.now() + AFTER_THE_LAST_PASS)

        assert storage.head(upload.storage_key) is None
        assert AccountDeletion.objects.get().objects_deleted_at is not None

    def test_a_killed_worker_begins_again(self, monkeypatch):
        from users import services

        user = UserFactory()
        uploads = [stored_upload(content=bytes([number]), owner_id=user.pk, ready=True) for number in range(3)]
        delete_me(client_for(user, step_up=True))
        deletion = AccountDeletion.objects.get()
        delete, calls = storage.delete, []

        def die_at_the_second(key, **where):
            calls.append(key)
            if len(calls) == 2:
                raise KeyboardInterrupt
            delete(key, **where)

        monkeypatch.setattr(storage, "delete", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            services.delete_objects_of_account(deletion_id=deletion.pk, is_last_pass=True, at=clock.now())
        deletion.refresh_from_db()
        assert len(deletion.objects_left) == 3

        services.delete_objects_of_account(deletion_id=deletion.pk, is_last_pass=True, at=clock.now())

        assert [storage.head(upload.storage_key) for upload in uploads] == [None, None, None]

    def test_stored_files_go_by_the_worker(self):
        user = UserFactory()
        upload = stored_upload(content=b"certificate", owner_id=user.pk, ready=True)
        client = client_for(user, step_up=True)

        delete_me(client)

        assert storage.head(upload.storage_key) is not None
        run_all()
        assert storage.head(upload.storage_key) is None
        run_all(until=clock.now() + AFTER_THE_LAST_PASS)
        deletion = AccountDeletion.objects.get()
        assert deletion.objects_left == [] and len(deletion.object_hashes) == 1

    def test_an_unknown_parameter_is_refused_and_changes_nothing(self):
        client = client_for(UserFactory(), step_up=True)

        assert delete_me(client, really="true").json()["code"] in {"unknown_field", "invalid_input"}
        assert client.get("users/me/").status_code == 200

    def test_the_last_active_admin_stays(self):
        admin = UserFactory(admin=True, mfa=True)

        answer = delete_me(client_for(admin, step_up=True))

        assert (answer.status_code, answer.json()["code"]) == (409, "account_deletion_blocked")
        assert [blocker["code"] for blocker in answer.json()["blockers"]] == ["last_active_admin"]

    def test_one_of_two_admins_goes_and_loses_every_right(self):
        UserFactory(admin=True, mfa=True)
        admin = UserFactory(admin=True, mfa=True)

        assert delete_me(client_for(admin, step_up=True)).status_code == 200
        admin.refresh_from_db()
        assert (admin.is_staff, admin.is_superuser, admin.role) == (False, False, "RIDER")

    def test_what_blocks_is_told_before_and_changes_nothing(self, monkeypatch):
        blocker = Blocker("sales_open", "Wait until they are settled.", 2)
        monkeypatch.setitem(privacy._providers, "a_test", Provider(name="a_test", blockers=lambda user_id: [blocker]))
        client = client_for(UserFactory(), step_up=True)

        plan, answer = client.get("users/me/deletion/").json(), delete_me(client)

        assert plan["blockers"] == answer.json()["blockers"] == [vars(blocker)]
        assert client.get("users/me/").status_code == 200

    def test_staff_can_change_nothing_of_a_deleted_account(self):
        from users import services
        from users.exceptions import AccountIsDeleted

        admin, user = UserFactory(admin=True), UserFactory()
        delete_me(client_for(user, step_up=True))

        for act in (services.block_user, services.unblock_user):
            with pytest.raises(AccountIsDeleted):
                act(user=user, actor=admin, reason="why", at=clock.now())
        with pytest.raises(AccountIsDeleted):
            services.set_role(user=user, role="TUNER", actor=admin, reason="why", at=clock.now())

