"""Roles, blocks and admins: by services only, with a reason, never down to nobody."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from core import clock, mfa
from core.exceptions import InvalidInput, NotAuthenticated, PermissionRefused
from core.models import AuditEvent
from core.permissions import AccountBlocked, ActiveTuner, AdminOnly, Authenticated, TunerOrCreator, TunerSuspended
from core.testing.http import client_for
from core.testing.races import race_all
from users import services
from users.exceptions import AccountStateUnchanged, AdminNotBlockable, LastActiveAdmin, RoleUnchanged
from users.models import Challenge, Notice, TotpDevice, User, UserDevice, UserProfile
from users.tests.factories import NoticeFactory, TotpDeviceFactory, UserDeviceFactory, UserFactory
from users.tests.flows import log_in, mails_to


def set_role(user, role, actor=None, reason="Approved application"):
    return services.set_role(user=user, role=role, actor=actor, reason=reason, at=clock.now())


@pytest.mark.django_db
class TestSetRole:
    def test_is_audited_told_and_bites_on_the_next_request(self):
        user, admin = UserFactory(), UserFactory(admin=True)
        client = client_for(user)

        set_role(user, "TUNER", actor=admin)

        event = AuditEvent.objects.get(act="user.role_changed")
        assert (event.actor_id, event.subject_id, event.reason, event.facts) == (
            admin.pk,
            user.pk,
            "Approved application",
            {"old": "RIDER", "new": "TUNER"},
        )
        assert client.get("users/me/").json()["role"] == "TUNER"
        assert [message.subject for message in mails_to(user.email)] == ["You are now tuner on RevSync"]

    def test_an_admin_gets_and_loses_staff_rights_with_the_role(self):
        UserFactory(admin=True)
        user = UserFactory()

        set_role(user, "ADMIN")
        assert (user.is_staff, user.is_superuser) == (True, True)
        cookie = User.objects.get(pk=user.pk).get_session_auth_hash()
        set_role(user, "RIDER")

        user.refresh_from_db()
        assert (user.is_staff, user.is_superuser, user.get_session_auth_hash() == cookie) == (False, False, False)

    def test_the_same_role_again_is_refused(self):
        with pytest.raises(RoleUnchanged):
            set_role(UserFactory(), "RIDER")

    @pytest.mark.parametrize("reason", ["", "   "])
    def test_a_reason_is_needed(self, reason):
        with pytest.raises(InvalidInput):
            set_role(UserFactory(), "TUNER", reason=reason)

    @pytest.mark.parametrize("others", [{"is_active": False}, {"blocked_at": "now"}, None])
    def test_the_last_active_admin_stays(self, others):
        last = UserFactory(admin=True)
        if others:
            UserFactory(admin=True, **({"blocked": True} if "blocked_at" in others else others))

        with pytest.raises(LastActiveAdmin):
            set_role(last, "RIDER")

        assert User.objects.get(pk=last.pk).role == "ADMIN"


@pytest.mark.django_db(transaction=True)
class TestTwoAdminsGoAtOnce:
    """Demoted by each other, or deleting their own accounts: one is left, and nobody waits for the other for ever."""

    def demote(self, admin, by):
        return lambda: set_role(admin, "RIDER", actor=by)

    def leave(self, admin):
        session = UserDeviceFactory(user=admin)
        return lambda: services.delete_account(user=admin, session=session, stock_files_saved=True, at=clock.now())

    def go(self, one_leaves, other_leaves, **control):
        one, other = UserFactory(admin=True), UserFactory(admin=True)
        acts = [
            self.leave(one) if one_leaves else self.demote(one, other),
            self.leave(other) if other_leaves else self.demote(other, one),
        ]
        return race_all(acts, **control)

    @pytest.mark.parametrize(
        ("one_leaves", "other_leaves", "refusals"),
        [
            (False, False, {"last_active_admin"}),
            (True, True, {"account_deletion_blocked"}),
            (True, False, {"last_active_admin", "account_deletion_blocked"}),
        ],
        ids=["demoted both", "both leave", "one leaves, one is demoted"],
    )
    def test_one_admin_is_left(self, one_leaves, other_leaves, refusals):
        outcomes = self.go(one_leaves, other_leaves)

        assert outcomes.count("ok") == 1 and set(outcomes) - {"ok"} <= refusals
        assert User.objects.admins().count() == 1

    @pytest.mark.parametrize(
        ("leave", "meet_after"), [(False, None), (True, 'UPDATE "users_user"')], ids=["demoted both", "both leave"]
    )
    def test_control_without_the_lock_none_is_left(self, leave, meet_after):
        assert self.go(leave, leave, row_locks=False, meet_after=meet_after) == ["ok", "ok"]
        assert User.objects.admins().count() == 0

    def test_five_admins_who_all_leave_leave_one(self):
        admins = [UserFactory(admin=True) for _ in range(5)]

        outcomes = race_all([self.leave(admin) for admin in admins])

        assert outcomes == ["account_deletion_blocked"] + ["ok"] * 4


@pytest.mark.django_db
class TestBlock:
    def test_bites_on_the_next_request_and_is_told(self):
        user, admin = UserFactory(), UserFactory(admin=True)
        client = client_for(user)

        services.block_user(user=user, actor=admin, reason="Sold stolen files", at=clock.now())

        assert (client.get("users/me/profile/").status_code, client.get("users/me/").status_code) == (403, 200)
        assert AuditEvent.objects.get(act="user.blocked").reason == "Sold stolen files"
        assert Notice.objects.get(user=user).title == "Your account was blocked"

    def test_is_lifted(self):
        user, admin = UserFactory(blocked=True), UserFactory(admin=True)

        services.unblock_user(user=user, actor=admin, reason="A mistake of ours", at=clock.now())

        assert client_for(user).get("users/me/profile/").status_code == 200

    def test_an_admin_is_demoted_first(self):
        with pytest.raises(AdminNotBlockable):
            services.block_user(user=UserFactory(admin=True), actor=UserFactory(admin=True), reason="x", at=clock.now())

    def test_twice_is_refused(self):
        with pytest.raises(AccountStateUnchanged):
            services.block_user(user=UserFactory(blocked=True), actor=UserFactory(admin=True), reason="x", at=clock.now())
        with pytest.raises(AccountStateUnchanged):
            services.unblock_user(user=UserFactory(), actor=UserFactory(admin=True), reason="x", at=clock.now())


@pytest.mark.django_db
class TestCreateAdmin:
    def create(self, *args, stdin="", monkeypatch=None):
        if monkeypatch:
            monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        out = io.StringIO()
        call_command("create_admin", "--email", "Chief@Example.com", *args, stdout=out)
        return out.getvalue()

    def test_prints_secret_link_code_picture_and_recovery_codes_once(self):
        text = self.create("--name", "Chief", "--generate-password")

        admin = User.objects.get(email="chief@example.com")
        secret = TotpDevice.objects.get(user=admin).secret
        assert (admin.role, admin.is_staff, admin.mfa_enabled, admin.display_name) == ("ADMIN", True, True, "Chief")
        assert f"TOTP secret:     {secret}\n" in text and "otpauth://totp/RevSync:chief%40example.com" in text and "▄" in text
        password = text.split("Password:        ")[1].split("\n")[0]
        started = log_in("chief@example.com", password).json()
        assert started["mfa_required"] is True
        assert services.verify_second_factor(user=admin, code=mfa.code_of(secret, at=clock.now()), at=clock.now())

    def test_reads_the_password_from_standard_input(self, monkeypatch):
        text = self.create("--password-stdin", "--no-qr", stdin="seven-slow-herons-wade\n", monkeypatch=monkeypatch)

        assert User.objects.get().check_password("seven-slow-herons-wade")
        assert "seven-slow-herons-wade" not in text and "▄" not in text

    @pytest.mark.parametrize(("password", "says"), [("short\n", "at least 10"), ("password123\n", "first that are tried")])
    def test_a_bad_password_makes_nobody(self, monkeypatch, password, says):
        with pytest.raises(CommandError, match=says):
            self.create("--password-stdin", stdin=password, monkeypatch=monkeypatch)
        assert not User.objects.exists()

    def test_a_known_address_is_said_so(self):
        UserFactory(email="chief@example.com")

        with pytest.raises(CommandError, match="There is an account"):
            self.create("--generate-password")
        assert User.objects.get().role == "RIDER"

    def test_a_malformed_address_is_said_so(self):
        with pytest.raises(CommandError, match="no-address"):
            call_command("create_admin", "--email", "no-address", "--generate-password")


class Request:
    """As much of a request as access classes look at."""

    def __init__(self, user):
        self.user = user


@pytest.mark.django_db
class TestAccessClasses:
    @pytest.mark.parametrize(
        ("access", "who", "refusal"),
        [
            (Authenticated, None, NotAuthenticated),
            (Authenticated, {}, None),
            (Authenticated, {"blocked": True}, AccountBlocked),
            (TunerOrCreator, {}, PermissionRefused),
            (TunerOrCreator, {"tuner": True}, None),
            (TunerOrCreator, {"creator": True}, None),
            (TunerOrCreator, {"tuner": True, "blocked": True}, AccountBlocked),
            (ActiveTuner, {"tuner": True}, PermissionRefused),  # the role without a profile
            (ActiveTuner, {"admin": True}, PermissionRefused),
            (AdminOnly, {"admin": True}, PermissionRefused),
            (AdminOnly, {"admin": True, "mfa": True}, None),
            (AdminOnly, {"tuner": True, "mfa": True}, PermissionRefused),
        ],
    )
    def test_who_may_call(self, access, who, refusal):
        request = Request(None if who is None else UserFactory(**who))

        if refusal is None:
            assert access().has_permission(request, None)
        else:
            with pytest.raises(refusal):
                access().has_permission(request, None)

    @pytest.mark.parametrize(("suspended", "refusal"), [(False, None), (True, TunerSuspended)])
    def test_an_active_tuner_has_a_profile_in_good_standing(self, suspended, refusal):
        from django.apps import apps

        factory = pytest.importorskip("tuners.tests.factories").TunerProfileFactory
        profile = factory(suspended=suspended)
        user = apps.get_model("users", "User").objects.get(pk=profile.user_id)

        if refusal is None:
            assert ActiveTuner().has_permission(Request(user), None)
        else:
            with pytest.raises(refusal):
                ActiveTuner().has_permission(Request(user), None)


@pytest.mark.django_db
class TestPostgresRefuses:
    """What no code of ours may do, whoever writes the SQL."""

    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("user_email_lower_case", {"email": "Anna@example.com"}),
            ("user_role_known", {"role": "BOSS"}),
            ("user_admin_iff_staff", {"role": "ADMIN"}),
            ("user_admin_iff_staff", {"is_staff": True}),
            ("user_superuser_is_staff", {"is_superuser": True}),
            ("user_blocked_iff_reason", {"blocked_at": "2026-01-01T00:00:00Z"}),
        ],
    )
    def test_a_contradictory_user(self, constraint, change):
        user = UserFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            User.objects.filter(pk=user.pk).update(**change)

    def test_two_accounts_of_one_address(self):
        with pytest.raises(IntegrityError, match="email"), transaction.atomic():
            UserFactory(email=UserFactory().email)

    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("userdevice_generations_rise", {"login_generation": 7}),
            ("userdevice_revoked_iff_reason", {"revoked_at": "2026-01-01T00:00:00Z"}),
            ("userdevice_step_up_iff_method", {"stepped_up_at": "2026-01-01T00:00:00Z"}),
            ("userdevice_expires_after_sign_in", {"expires_at": "2020-01-01T00:00:00Z"}),
            ("userdevice_platform_known", {"platform": "tv"}),
        ],
    )
    def test_a_contradictory_session(self, constraint, change):
        device = UserDeviceFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            UserDevice.objects.filter(pk=device.pk).update(**change)

    def test_two_rows_of_one_installation(self):
        device = UserDeviceFactory()

        with pytest.raises(IntegrityError, match="userdevice_one_per_installation"), transaction.atomic():
            UserDeviceFactory(user=device.user, installation_id=device.installation_id)

    def test_a_sixth_try(self):
        challenge = Challenge.objects.create(kind="REGISTER", address_hash=b"x", tries=5, expires_at="2099-01-01T00:00:00Z")

        with pytest.raises(IntegrityError, match="challenge_five_tries"), transaction.atomic():
            Challenge.objects.filter(pk=challenge.pk).update(tries=6)

    def test_two_authenticators_in_force(self):
        user = UserFactory(mfa=True)

        with pytest.raises(IntegrityError, match="totpdevice_one_confirmed"), transaction.atomic():
            TotpDeviceFactory(user=user)

    def test_half_a_link(self):
        with pytest.raises(IntegrityError, match="notice_link_whole_or_absent"), transaction.atomic():
            NoticeFactory(link_resource="tune")

    @pytest.mark.parametrize(
        ("constraint", "change"),
        [("userprofile_country_alpha2", {"country": "de"}), ("userprofile_experience_known", {"experience_level": "GOD"})],
    )
    def test_a_profile_in_free_text(self, constraint, change):
        user = UserFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            UserProfile.objects.filter(user=user).update(**change)
