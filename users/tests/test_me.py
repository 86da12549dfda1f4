"""Account, profile, devices, notices, preferences and the public card over HTTP."""

from datetime import timedelta

import pytest

from core import clock
from core.ids import new_id
from core.testing.http import ApiClient, client_for
from core.uploads.models import Upload
from users import privacy, selectors
from users.models import Notice, User, UserDevice, UserProfile
from users.tests.factories import NoticeFactory, UserDeviceFactory, UserFactory


@pytest.mark.django_db
class TestAccount:
    def test_shows_the_names_of_the_contract(self):
        user = UserFactory(mfa=True)

        body = client_for(user).get("users/me/").json()

        assert {"id", "email", "display_name", "role", "mfa_enabled", "created_at", "revision"} <= set(body)
        assert (body["id"], body["mfa_enabled"]) == (str(user.pk), True)

    def test_the_name_changes_and_the_revision_rises(self):
        client = client_for(UserFactory())

        answer = client.patch("users/me/", {"display_name": "Anna  Berg"})

        assert (answer.status_code, answer.json()["display_name"], answer.json()["revision"]) == (200, "Anna Berg", 2)  # one space

    def test_a_stale_revision_is_refused(self):
        client = client_for(UserFactory())
        client.patch("users/me/", {"display_name": "Anna"}, HTTP_IF_MATCH='"1"')

        answer = client.patch("users/me/", {"display_name": "Ben"}, HTTP_IF_MATCH='"1"')

        assert (answer.status_code, answer.json()["code"], answer.json()["current"]) == (412, "stale_revision", 2)

    @pytest.mark.parametrize("field", ["email", "role", "is_staff", "id", "revision", "mfa_enabled", "password", "blocked_at"])
    def test_nothing_else_can_be_written(self, field):
        user = UserFactory()

        answer = client_for(user).patch("users/me/", {field: "ADMIN"})

        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_field")

    def test_newer_terms_are_agreed_to(self):
        user = UserFactory(terms_version="2020-01-01")

        assert client_for(user).patch("users/me/", {"terms_version": "2026-11-01"}).json()["terms_version"] == "2026-11-01"
        assert client_for(user).patch("users/me/", {"terms_version": "2020-01-01"}).status_code == 400

    def test_unknown_parameters_are_refused(self):
        answer = client_for(UserFactory()).get("users/me/?fields=all")

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "fields")


@pytest.mark.django_db
class TestProfile:
    def avatar(self, user, **fields):
        at = clock.now()
        values = {
            "owner_id": user.pk,
            "purpose": "AVATAR",
            "state": "READY",
            "name": "me.png",
            "size_bytes": 10,
            "sha256": "0" * 64,
            "content_type": "image/png",
            "storage_key": "images/00/" + "0" * 64 + ".webp",
            "created_at": at,
            "completed_at": at,
            "checked_at": at,
            "expires_at": at + timedelta(hours=24),
        }
        return Upload.objects.create(**(values | fields))

    def test_is_there_from_the_start(self, django_assert_num_queries):
        client = client_for(UserFactory())

        body = client.get("users/me/profile/").json()

        assert (body["bio"], body["country"], body["avatar_url"], body["revision"]) == ("", "", None, 1)
        assert isinstance(body["stats"], dict)

    def test_changes_only_what_is_sent(self):
        client = client_for(UserFactory())
        client.patch("users/me/profile/", {"bio": "Two strokes.\nMostly.", "country": "DE"})

        body = client.patch("users/me/profile/", {"experience_level": "ADVANCED", "location": "Köln"}).json()

        assert (body["bio"], body["country"], body["experience_level"], body["location"], body["revision"]) == (
            "Two strokes.\nMostly.",
            "DE",
            "ADVANCED",
            "Köln",
            3,
        )

    def test_takes_a_ready_picture_once_and_gives_it_back(self):
        user = UserFactory()
        client, upload = client_for(user), self.avatar(user)

        body = client.patch("users/me/profile/", {"upload_id": str(upload.pk)}).json()
        again = client.patch("users/me/profile/", {"upload_id": str(upload.pk)})
        gone = client.patch("users/me/profile/", {"upload_id": None}).json()

        assert body["avatar_url"].endswith(upload.storage_key)
        assert again.status_code == 400 and again.json()["errors"][0]["pointer"] == "/upload_id"
        assert gone["avatar_url"] is None

    @pytest.mark.parametrize(
        "wrong", [{"purpose": "CERTIFICATION"}, {"owner_id": "other"}, {"state": "PENDING", "completed_at": None, "checked_at": None}]
    )
    def test_refuses_a_picture_that_is_not_ready_not_mine_or_for_something_else(self, wrong):
        user = UserFactory()
        wrong = {name: new_id() if value == "other" else value for name, value in wrong.items()}

        answer = client_for(user).patch("users/me/profile/", {"upload_id": str(self.avatar(user, **wrong).pk), "bio": "changed"})

        assert answer.status_code == 400
        assert UserProfile.objects.get(user=user).bio == ""

    @pytest.mark.parametrize(
        "body",
        [
            {"country": "de"},
            {"country": "GERMANY"},
            {"experience_level": "GOD"},
            {"bio": "x" * 1001},
            {"bio": 7},
            {"bio": "a\u202eb"},
            {"stats": {}},
            {"avatar_url": "x"},
            {"upload_id": "x"},
        ],
    )
    def test_refuses_bad_values(self, body):
        assert client_for(UserFactory()).patch("users/me/profile/", body).status_code == 400

    def test_stats_come_from_every_registered_app(self, monkeypatch):
        user = UserFactory()
        monkeypatch.setattr(privacy, "_providers", {})
        privacy.register(privacy.Provider(name="garage", stats=lambda user_id: {"vehicles": 2}))
        privacy.register(privacy.Provider(name="marketplace", stats=lambda user_id: {"purchases": 3}))
        privacy.register(privacy.Provider(name="silent"))

        assert client_for(user).get("users/me/profile/").json()["stats"] == {"vehicles": 2, "purchases": 3}

    def test_two_providers_of_one_name_are_a_programming_error(self, monkeypatch):
        monkeypatch.setattr(privacy, "_providers", {})
        privacy.register(privacy.Provider(name="garage"))

        with pytest.raises(ValueError, match="garage"):
            privacy.register(privacy.Provider(name="garage", stats=lambda user_id: {}))


@pytest.mark.django_db
class TestDevices:
    def test_lists_the_live_ones_newest_first_with_the_current_marked(self):
        user = UserFactory()
        old = UserDeviceFactory(user=user, created_at=clock.now() - timedelta(days=2), name="Old")
        UserDeviceFactory(user=user, revoked=True)
        UserDeviceFactory(user=user, signed_in_at=clock.now() - timedelta(days=31))
        UserDeviceFactory()
        client = client_for(user)

        body = client.get("users/me/devices/").json()

        assert [(row["id"], row["current"]) for row in body["results"]] == [(str(client.device.pk), True), (str(old.pk), False)]
        assert set(body["results"][0]) == {
            "id",
            "installation_id",
            "name",
            "platform",
            "app_version",
            "current",
            "last_seen_at",
            "created_at",
            "ip",
        }

    @pytest.mark.parametrize("count", [1, 20])
    def test_query_count_is_the_same_for_one_and_twenty(self, count, django_assert_num_queries):
        user = UserFactory()
        client = client_for(user)
        UserDeviceFactory.create_batch(count - 1, user=user)

        with django_assert_num_queries(2):  # session, page
            body = client.get("users/me/devices/").json()

        assert len(body["results"]) == count

    def test_pages_meet(self):
        user = UserFactory()
        client = client_for(user)
        UserDeviceFactory.create_batch(4, user=user, created_at=clock.now())
        seen, url = [], "users/me/devices/?page_size=2"
        while url:
            body = client.get(url).json()
            seen += [row["id"] for row in body["results"]]
            url = body["next"]

        assert len(seen) == len(set(seen)) == 5

    def test_is_renamed_and_gets_a_push_token(self):
        user = UserFactory()
        device = UserDeviceFactory(user=user, push_token="old")
        client = client_for(user)

        body = client.patch(f"users/me/devices/{device.pk}/", {"name": "Workshop tablet", "push_token": "new"}).json()

        assert (body["name"], body["current"]) == ("Workshop tablet", False)
        assert UserDevice.objects.get(pk=device.pk).push_token == "new"

    @pytest.mark.parametrize("body", [{"name": ""}, {"name": None}, {"installation_id": "x"}, {"platform": "ios"}, {"push_token": 7}])
    def test_refuses_bad_values(self, body):
        client = client_for(UserFactory())

        assert client.patch(f"users/me/devices/{client.device.pk}/", body).status_code == 400

    def test_revoking_bites_on_the_next_request(self):
        user = UserFactory()
        here, there = client_for(user), client_for(user)

        assert here.delete(f"users/me/devices/{there.device.pk}/").status_code == 204

        assert (there.get("users/me/").status_code, here.get("users/me/").status_code) == (401, 200)
        assert here.delete(f"users/me/devices/{there.device.pk}/").status_code == 404

    def test_foreign_and_missing_answer_alike(self):
        client, foreign = client_for(UserFactory()), UserDeviceFactory()

        for device in (foreign.pk, new_id()):
            for call in (client.delete, client.patch):
                answer = call(f"users/me/devices/{device}/", *([{"name": "Mine"}] if call == client.patch else []))
                assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (
                    404,
                    "not_found",
                    "There is no such device.",
                )
        assert not UserDevice.objects.get(pk=foreign.pk).revoked_at


@pytest.mark.django_db
class TestNotices:
    def test_shape_and_order(self):
        user = UserFactory()
        thing = new_id()
        NoticeFactory(user=user, created_at=clock.now() - timedelta(days=1), title="Older")
        NoticeFactory(
            user=user, type="RECALL", category="SAFETY", severity="stop_flash", title="Newer", link_resource="tune_version", link_id=thing
        )
        NoticeFactory()

        rows = client_for(user).get("users/me/notices/").json()["results"]

        assert [row["title"] for row in rows] == ["Newer", "Older"]
        assert set(rows[0]) == {"id", "type", "severity", "title", "body", "link", "created_at", "read_at"}
        assert (rows[0]["link"], rows[1]["link"]) == ({"resource": "tune_version", "id": str(thing)}, None)

    @pytest.mark.parametrize("count", [1, 20])
    def test_query_count_is_the_same_for_one_and_twenty(self, count, django_assert_num_queries):
        user = UserFactory()
        NoticeFactory.create_batch(count, user=user)
        client = client_for(user)

        with django_assert_num_queries(2):  # session, page
            assert len(client.get("users/me/notices/").json()["results"]) == count

    def test_reading_is_noted_once(self, django_assert_num_queries):
        user = UserFactory()
        notice, client = NoticeFactory(user=user), client_for(user)

        first = client.post(f"users/me/notices/{notice.pk}/read/").json()["read_at"]
        with django_assert_num_queries(2):  # session, notice
            second = client.post(f"users/me/notices/{notice.pk}/read/").json()["read_at"]

        assert first == second is not None

    def test_unread_only_and_read_only(self):
        user = UserFactory()
        NoticeFactory(user=user, title="New")
        NoticeFactory(user=user, title="Known", read_at=clock.now())
        client = client_for(user)

        titles = {
            value: [row["title"] for row in client.get(f"users/me/notices/?unread={value}").json()["results"]]
            for value in ("true", "false")
        }

        assert titles == {"true": ["New"], "false": ["Known"]}
        assert client.get("users/me/notices/?unread=maybe").json()["errors"][0]["parameter"] == "unread"

    def test_foreign_and_missing_answer_alike(self):
        client = client_for(UserFactory())

        answers = [client.post(f"users/me/notices/{notice}/read/") for notice in (NoticeFactory().pk, new_id())]

        assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [(404, "There is no such notice.")] * 2
        assert Notice.objects.get().read_at is None


@pytest.mark.django_db
class TestPreferences:
    def test_everything_is_on_at_first(self, django_assert_num_queries):
        client = client_for(UserFactory())

        with django_assert_num_queries(2):
            body = client.get("users/me/notification-preferences/").json()

        assert body["social"] == {"mail": True, "push": True, "mail_optional": True}
        assert body["security"]["mail_optional"] is False and body["safety"]["mail_optional"] is False

    def test_changes_only_what_is_sent(self):
        client = client_for(UserFactory())
        client.patch("users/me/notification-preferences/", {"social": {"mail": False}})

        body = client.patch("users/me/notification-preferences/", {"social": {"push": False}, "security": {"push": False}}).json()

        assert (body["social"]["mail"], body["social"]["push"], body["security"]["mail"], body["security"]["push"]) == (
            False,
            False,
            True,
            False,
        )

    def test_security_and_safety_mails_stay(self):
        client = client_for(UserFactory())

        answer = client.patch("users/me/notification-preferences/", {"safety": {"mail": False}, "social": {"mail": False}})

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/safety/mail")
        assert client.get("users/me/notification-preferences/").json()["social"]["mail"] is True

    @pytest.mark.parametrize(
        "body",
        [{"spam": {"mail": True}}, {"social": {"sms": True}}, {"social": {"mail": "no"}}, {"social": True}, {"social": {"mail": None}}],
    )
    def test_refuses_bad_values(self, body):
        assert client_for(UserFactory()).patch("users/me/notification-preferences/", body).status_code == 400


@pytest.mark.django_db
class TestPublicCard:
    def test_shows_what_others_may_see_and_no_more(self, django_assert_num_queries):
        person = UserFactory(tuner=True)
        client = client_for(UserFactory())

        with django_assert_num_queries(2):
            body = client.get(f"users/{person.pk}/").json()

        assert body == {
            "id": str(person.pk),
            "display_name": person.display_name,
            "avatar_url": None,
            "role": "TUNER",
            "member_since": person.created_at.date().isoformat(),
        }

    def test_a_closed_account_answers_like_a_missing_one(self):
        client = client_for(UserFactory())

        answers = [client.get(f"users/{user}/") for user in (UserFactory(is_active=False).pk, new_id())]

        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.json()["detail"] for answer in answers}) == 1

    def test_is_for_signed_in_people(self):
        assert ApiClient().get(f"users/{UserFactory().pk}/").status_code == 401


@pytest.mark.django_db
def test_a_person_knows_whether_the_second_factor_is_on():
    assert selectors.is_mfa_enabled(UserFactory(mfa=True)) and not selectors.is_mfa_enabled(UserFactory())
    assert User.objects.active().count() == 2
