"""Rescue links: the way back from any phone, and nothing else by the same door."""

import hashlib
import re
from datetime import timedelta

import pytest
import requests
from django.db import IntegrityError, transaction

from core import clock
from core.exceptions import PermissionRefused
from core.models import AuditEvent
from core.testing.admin import admin_client, decide
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from core.uploads.tests.factories import stored_upload
from garage import services
from garage.exceptions import RescueLinkInvalid, StockFileRequired, VehicleNotFound
from garage.models import RescueLink, StockFile
from garage.tests.factories import RESCUE_TOKEN, RescueLinkFactory, VehicleFactory, VehicleTransferFactory
from garage.tests.test_stock_files import save, stock_image, upload_of
from tools.verify_download import Readout, verify_restore
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner():
    """A rider whose bike's stock image is really stored."""
    client = client_for(UserFactory(), step_up=True)
    client.vehicle = VehicleFactory(owner=client.user, with_ecu=True, vin="JYARN53E1MA000042", nickname="Anna's bike")
    client.url = f"garage/vehicles/{client.vehicle.pk}/stock-files/"
    assert save(client, upload_of(client.user, make=stored_upload, name="annas original.bin")).status_code == 201
    client.links = f"garage/vehicles/{client.vehicle.pk}/rescue-links/"
    return client


def made(owner, **headers):
    answer = owner.post(owner.links, **headers)
    assert answer.status_code == 201, answer.content
    return answer.json()


def rescue(token, **extra):
    return ApiClient().post("garage/rescue/", {"token": token}, **extra)


def block(user):
    type(user).objects.filter(pk=user.pk).update(blocked_at=clock.now(), blocked_reason="Under test.")


class TestMaking:
    def test_shows_the_token_once(self, owner, settings):
        body = made(owner)

        assert set(body) == {"id", "token", "url", "uses_left", "created_at", "last_used_at", "expires_at"}
        assert (body["uses_left"], body["url"]) == (10, f"{settings.PUBLIC_BASE_URL}/rescue#{body['token']}")
        (listed,) = owner.get(owner.links).json()["results"]
        assert (listed["id"], set(listed) & {"token", "url"}) == (body["id"], set())
        assert bytes(RescueLink.objects.get().token_sha256) == hashlib.sha256(body["token"].encode()).digest()

    def test_a_repeated_request_makes_no_second_one_and_shows_nothing(self, owner):
        first = made(owner, HTTP_IDEMPOTENCY_KEY="k")
        again = owner.post(owner.links, HTTP_IDEMPOTENCY_KEY="k")

        assert (again.status_code, again["Idempotency-Replayed"]) == (201, "true")
        assert (again.json()["id"], again.json()["token"], again.json()["url"]) == (first["id"], None, None)

    def test_wants_a_stock_image(self, owner):
        StockFile.objects.all().delete()

        answer = owner.post(owner.links)

        assert (answer.status_code, answer.json()["code"], RescueLink.objects.count()) == (409, "stock_file_required", 0)

    def test_five_are_open_at_most(self, owner):
        for _ in range(5):
            last = made(owner)

        assert owner.post(owner.links).json()["code"] == "too_many_rescue_links"
        assert owner.delete(f"{owner.links}{last['id']}/").status_code == 204
        made(owner)

    def test_wants_a_fresh_step_up(self, owner):
        answer = client_for(owner.user).post(owner.links)

        assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")

    def test_leaves_an_audit_row_without_the_token(self, owner):
        body = made(owner)

        event = AuditEvent.objects.get(act="rescue_link.made")
        assert (event.actor_id, event.subject_id) == (owner.user.pk, owner.vehicle.pk)
        assert event.facts == {"rescue_link_id": body["id"]}


class TestStaff:
    @pytest.fixture
    def admin(self):
        return UserFactory(admin=True)

    def issue(self, owner, admin):
        return services.issue_rescue_link(actor=admin, vehicle_id=owner.vehicle.pk, reason="Called us from the road.", at=clock.now())

    def test_makes_one_however_many_are_open_and_the_owner_is_told(self, owner, admin):
        for _ in range(5):
            made(owner)

        link, token = self.issue(owner, admin)

        assert (link.made_by, rescue(token).status_code) == (admin, 200)
        assert Notice.objects.get(user=owner.user, title="Our staff made a rescue code").link_id == owner.vehicle.pk
        event = AuditEvent.objects.filter(act="rescue_link.made").latest("at")
        assert (event.actor_id, event.reason) == (admin.pk, "Called us from the road.")

    def test_the_owner_revokes_it(self, owner, admin):
        link, token = self.issue(owner, admin)

        assert owner.delete(f"{owner.links}{link.pk}/").status_code == 204
        assert rescue(token).status_code == 404

    def test_for_a_blocked_owner_too(self, owner, admin):
        block(owner.user)

        assert rescue(self.issue(owner, admin)[1]).status_code == 200

    def test_nobody_else_does(self, owner):
        with pytest.raises(PermissionRefused):
            self.issue(owner, owner.user)
        assert RescueLink.objects.count() == 0

    def test_wants_a_vehicle_with_a_stock_image(self, owner, admin):
        owner.delete(f"garage/vehicles/{owner.vehicle.pk}/")
        with pytest.raises(VehicleNotFound):
            self.issue(owner, admin)
        owner.vehicle = VehicleFactory(with_ecu=True)
        with pytest.raises(StockFileRequired):
            self.issue(owner, admin)

    def test_the_admin_shows_it_once(self, owner):
        client = admin_client()
        answer = decide(client, owner.vehicle, "rescue", reason="Called us from the road.")
        first, second = (client.get(answer.url).content.decode() for _ in range(2))

        assert rescue(re.search(r"/rescue#([\w-]+)", first).group(1)).status_code == 200
        assert "/rescue#" not in second


class TestUsing:
    def test_brings_the_image_and_what_proves_it(self, owner):
        answer = rescue(made(owner)["token"])

        assert answer.status_code == 200, answer.content
        body = answer.json()
        data = requests.get(body["stock_file"]["url"], timeout=10)
        assert data.content == stock_image()
        assert data.headers["Content-Disposition"] == 'attachment; filename="stock.bin"'
        verdict = verify_restore(
            pinned_root=body["root"],
            restore_ticket=body["restore_ticket"],
            file=data.content,
            format=body["stock_file"]["format"],
            readout=Readout(hardware_number=body["vehicle"]["hardware_number"], vin="JYARN53E1MA000042"),
            at=clock.now(),
        )
        assert (verdict.code, verdict.why) == ("ok", "")

    def test_says_nothing_of_the_owner(self, owner):
        body = rescue(made(owner)["token"]).json()

        assert set(body) == {"vehicle", "stock_file", "restore_ticket", "root"}
        assert set(body["vehicle"]) == {"make", "model", "year", "hardware_number"}
        text = str({name: body[name] for name in ("vehicle", "stock_file")})
        for private in (owner.user.email, owner.user.display_name, str(owner.user.pk), "JYARN53E1MA000042", "Anna", "annas"):
            assert private not in text

    def test_tells_the_owner_and_the_audit_log(self, owner):
        rescue(made(owner)["token"])

        notice = Notice.objects.get(user=owner.user, title="Your rescue code was used")
        assert (notice.link_resource, notice.link_id) == ("vehicle", owner.vehicle.pk)
        event = AuditEvent.objects.get(act="rescue_link.used")
        assert (event.actor_id, event.subject_id) == (None, owner.vehicle.pk)

    def test_ten_times(self, owner):
        token = made(owner)["token"]

        assert [rescue(token).status_code for _ in range(11)] == [200] * 10 + [404]
        assert owner.get(owner.links).json()["results"] == []

    @pytest.mark.parametrize(
        "end",
        [
            lambda owner, link: owner.delete(f"{owner.links}{link.pk}/"),
            lambda owner, link: RescueLink.objects.update(created_at=clock.now() - timedelta(days=181), expires_at=clock.now()),
            lambda owner, link: RescueLink.objects.update(uses_left=0),
            lambda owner, link: owner.delete(f"garage/vehicles/{owner.vehicle.pk}/"),
        ],
        ids=["revoked", "expired", "used up", "vehicle deleted"],
    )
    def test_every_end_is_answered_like_an_unknown_code(self, owner, end):
        token = made(owner)["token"]
        end(owner, RescueLink.objects.get())

        ended, unknown = rescue(token), rescue("never made")

        assert (ended.status_code, unknown.status_code) == (404, 404)
        assert {**ended.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}

    def test_a_handed_on_vehicle_is_not_opened_by_the_former_owners_code(self, owner):
        token = made(owner)["token"]
        receiver = UserFactory()
        transfer = VehicleTransferFactory(vehicle=owner.vehicle, expires_at=clock.now() + timedelta(hours=1))
        with transaction.atomic():
            services.accept_transfer(receiver=receiver, transfer_id=transfer.pk, at=clock.now())

        assert rescue(token).status_code == 404

    def test_a_block_of_the_account_leaves_it_alive(self, owner):
        token = made(owner)["token"]
        block(owner.user)

        assert rescue(token).status_code == 200
        assert owner.post(owner.links).status_code == 201

    def test_an_outage_of_storage_counts_no_use(self, owner, monkeypatch):
        from core import storage
        from core.exceptions import ServiceUnavailable

        token = made(owner)["token"]

        def away():
            raise ServiceUnavailable("storage")

        monkeypatch.setattr(storage, "ensure_available", away)

        assert rescue(token).status_code == 503
        assert RescueLink.objects.get().uses_left == 10

    def test_guessing_is_limited_by_peer(self, settings):
        settings.LIMITS = {**settings.LIMITS, "rescue_peer": (3, 900)}

        assert [rescue("guess", REMOTE_ADDR="203.0.113.9").status_code for _ in range(4)] == [404, 404, 404, 429]

    def test_postgres_refuses_an_eleventh_use(self):
        link = RescueLinkFactory()

        with pytest.raises(IntegrityError, match="rescue_link_uses_at_most_ten"), transaction.atomic():
            RescueLink.objects.filter(pk=link.pk).update(uses_left=11)


class TestThePage:
    def test_loads_nothing_from_elsewhere_and_leaks_no_referrer(self, client):
        answer = client.get("/rescue")

        assert answer.status_code == 200
        assert answer["Referrer-Policy"] == "no-referrer"
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        assert b"http://" not in answer.content.replace(b"http://testserver", b"")


@pytest.mark.django_db(transaction=True)
class TestTheLastUse:
    """Four phones scan a code that has one use left."""

    @pytest.fixture
    def link(self):
        return RescueLinkFactory(uses_left=1)

    def use(self):
        return services.use_rescue_link(token=RESCUE_TOKEN, at=clock.now())

    def test_one_wins(self, link):
        assert race(self.use, times=4) == ["not_found", "not_found", "not_found", "ok"]
        assert AuditEvent.objects.filter(act="rescue_link.used").count() == 1

    def test_control_what_was_read_before_decides_nothing(self, link, monkeypatch):
        """Were the uses counted from what each had read, all would win: cut the conditions out of the UPDATE."""
        from garage.models.rescue import RescueLinkQuerySet

        real = RescueLinkQuerySet.update

        def unconditional(queryset, **values):
            (pk,) = queryset.values_list("pk", flat=True)[:1] or (link.pk,)
            return real(RescueLink.objects.filter(pk=pk), uses_left=0, last_used_at=values["last_used_at"])

        monkeypatch.setattr(RescueLinkQuerySet, "update", unconditional)

        assert race(self.use, times=4, row_locks=False).count("ok") == 4


def test_an_unknown_code_is_the_same_error_for_services():
    with pytest.raises(RescueLinkInvalid):
        services.use_rescue_link(token="never made", at=clock.now())
