"""What else is on its way while somebody deletes their account: each on real connections, with a control that shows the race.

The deletion holds the person's row FOR UPDATE. It is stopped just before it commits, the other act is begun, and then both go on.
Without the trigger (or the lock) that makes the other act wait, its row outlives the person.
"""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection

from core import clock, idempotency
from core.exceptions import DomainError
from core.idempotency import Claim
from core.meta import agreed_text
from core.models import IdempotencyRecord
from core.testing.http import client_for
from core.testing.tasks import run_all
from core.tokens import TokenInvalid, mint_refresh
from core.uploads.models import Upload
from core.uploads.services import check_upload, start_upload
from core.uploads.tests.factories import stored_upload
from garage.models import Vehicle
from garage.services import add_vehicle
from garage.tests.factories import VehicleFactory
from marketplace.models import Favorite, Purchase, StopAcknowledgement
from marketplace.services.buyer_reviews import review_tune
from marketplace.services.favorites import add_favorite
from marketplace.services.purchasing import Wish, begin_purchase
from marketplace.services.stops import acknowledge_stop, hold_version
from marketplace.tests.factories import PurchaseFactory, TuneFactory, ride_for
from tuners.models import TunerReview
from users import services
from users.exceptions import InvalidCredentials
from users.models import AccountDeletion, Notice, User, UserDevice, UserProfile
from users.services.notices import notify
from users.tests.factories import UserDeviceFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

BIKE = {"kind": "MOTORCYCLE", "make": "Yamaha", "model": "MT-09", "year": 2021, "market": "EU", "vin": "JYARN59C1MA633105"}


def while_deleting(user: User, act: Callable[[], object], *, guarded: bool = True, stock_files_saved: bool = True) -> str:
    """Delete the account; shortly before it commits, begin `act` on another connection. Answers what became of that act.

    With `guarded=False` triggers do not fire for the act and its row locks are cut out: the control.
    """
    session = UserDeviceFactory(user=user)
    is_done, has_begun = threading.Event(), threading.Event()
    outcome: list[str] = []

    def contend() -> None:
        assert is_done.wait(timeout=20)
        try:
            with connection.cursor() as cursor:
                if not guarded:
                    cursor.execute("SET session_replication_role = replica")
            has_begun.set()
            if guarded:
                act()
            else:
                with connection.execute_wrapper(_without_locks):
                    act()
            outcome.append("ok")
        except (DomainError, IntegrityError) as refusal:
            cause = getattr(getattr(refusal.__cause__, "diag", None), "constraint_name", None)
            outcome.append(cause or getattr(refusal, "code", type(refusal).__name__))
        finally:
            connection.close()

    other = threading.Thread(target=contend)
    other.start()

    def stop_before_the_end(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith('INSERT INTO "users_accountdeletion"'):  # everything is erased, nothing is committed
            is_done.set()
            assert has_begun.wait(timeout=20)
            other.join(timeout=0.5 if guarded else 10)  # guarded, it waits for us; else it is through
            assert other.is_alive() is guarded, "the act must wait for the deletion, and only then"
        return result

    with connection.execute_wrapper(stop_before_the_end):
        services.delete_account(user=user, session=session, stock_files_saved=stock_files_saved, at=clock.now())
    other.join(timeout=20)
    assert outcome, "the act has not ended"
    return outcome[0]


def _without_locks(execute, sql, params, many, context):
    from core.testing.races import ROW_LOCK

    return execute(ROW_LOCK.sub("", sql), params, many, context)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_vehicle(guarded):
    user = UserFactory()

    became = while_deleting(user, lambda: add_vehicle(owner=user, at=clock.now(), **BIKE), guarded=guarded)

    assert became == ("account_is_deleted" if guarded else "ok")
    assert Vehicle.objects.filter(owner=user, vin__isnull=False).exists() is not guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_an_upload(guarded):
    user = UserFactory()

    def start() -> None:
        start_upload(
            owner_id=user.pk, purpose="CERTIFICATION", name="mine.pdf", size_bytes=9, sha256="ab" * 32, content_type="application/pdf",
            at=clock.now(),
        )  # fmt: skip

    assert while_deleting(user, start, guarded=guarded) == ("account_is_deleted" if guarded else "ok")
    assert Upload.objects.filter(owner_id=user.pk).exists() is not guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_a_review(guarded):
    purchase = PurchaseFactory(paid=True)

    def review() -> None:
        facts = {"tuner_id": purchase.tuner_id, "tune_id": purchase.tune_id, "rating": 5, "text": "Anna Berg was here."}
        review_tune(author=purchase.buyer, at=clock.now(), **facts)

    assert while_deleting(purchase.buyer, review, guarded=guarded) == ("account_is_deleted" if guarded else "ok")
    assert TunerReview.objects.filter(buyer=purchase.buyer).exists() is not guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_a_favourite(guarded):
    user, tune = UserFactory(), TuneFactory(published=True)

    became = while_deleting(user, lambda: add_favorite(user=user, tune_id=tune.pk, at=clock.now()), guarded=guarded)

    assert became == ("account_is_deleted" if guarded else "ok")
    assert Favorite.objects.filter(user=user).exists() is not guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_a_profile(guarded):
    user = UserFactory()

    def change() -> None:
        services.update_profile(user=user, changes={"bio": "Anna Berg, Köln"}, revision=None, at=clock.now())

    assert while_deleting(user, change, guarded=guarded) == ("account_is_deleted" if guarded else "ok")
    assert UserProfile.objects.get(user=user).bio == ("" if guarded else "Anna Berg, Köln")


def test_a_name():
    user = UserFactory()

    def rename() -> None:
        services.update_user(user=user, changes={"display_name": "Anna Berg"}, revision=None, at=clock.now())

    assert while_deleting(user, rename) == "account_is_deleted"
    assert User.objects.get(pk=user.pk).display_name == "Deleted rider"


@pytest.mark.parametrize("guarded", [True, False])
def test_a_log_in(guarded):
    """Its password was right a moment ago. `start_session` reads the locked row again."""
    user = UserFactory()

    def log_in() -> None:
        services.start_session(user=user, device=services.DeviceInfo(name="Anna's phone"), peer="203.0.113.7", at=clock.now())

    became = while_deleting(user, log_in, guarded=guarded)

    assert became == (InvalidCredentials.code if guarded else "ok")
    assert UserDevice.objects.filter(user=user).exists() is not guarded


def test_a_refresh():
    """The session's row is gone: whichever comes first, no token works afterwards."""
    user = UserFactory()
    session = UserDeviceFactory(user=user)
    token = mint_refresh(session)

    became = while_deleting(user, lambda: services.refresh_session(token=token, peer="203.0.113.7", at=clock.now()))

    assert became == TokenInvalid.code
    assert not UserDevice.objects.filter(user=user).exists()


@pytest.mark.parametrize("guarded", [True, False])
def test_a_purchase(guarded):
    """Whoever is first wins: a purchase that is there stands in the way, one that comes too late finds no vehicle."""
    bike = VehicleFactory(with_stock=True)
    tune = TuneFactory(published=True, free=True)
    wish = Wish(tune.pk, bike.pk, 0, tune.currency, agreed_text("attestation").version, True)

    def buy() -> None:
        begin_purchase(buyer=bike.owner, wish=wish, claim=Claim(), at=clock.now())

    became = while_deleting(bike.owner, buy, guarded=guarded)

    assert became == ("not_found" if guarded else "ok")
    assert Purchase.objects.filter(buyer=bike.owner).exists() is not guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_a_claim_of_a_key(guarded):
    """It would stand for a day, and the receipt says that nothing of the kind is left."""
    user = UserFactory()

    def claim() -> None:
        idempotency.begin(actor_id=user.pk, operation="add_vehicle", key="k", fingerprint=b"f", at=clock.now())

    assert while_deleting(user, claim, guarded=guarded) == ("account_is_deleted" if guarded else "ok")
    assert IdempotencyRecord.objects.filter(actor_id=user.pk).exists() is not guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_an_acknowledgement(guarded):
    ride = ride_for()
    ride.grant()
    stop = hold_version(actor=UserFactory(admin=True), version_id=ride.version.pk, reason="It hunts.", at=clock.now()).stops.get()

    def acknowledge() -> None:
        acknowledge_stop(rider=ride.buyer, stop_id=stop.pk, at=clock.now())

    assert while_deleting(ride.buyer, acknowledge, guarded=guarded) == ("account_is_deleted" if guarded else "ok")
    assert StopAcknowledgement.objects.filter(user=ride.buyer).exists() is not guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_a_notice_is_dropped(guarded):
    user = UserFactory()

    def tell() -> None:
        notify(user_id=user.pk, type="SALE", title="Anna Berg sold one", body="x", at=clock.now())

    assert while_deleting(user, tell, guarded=guarded) == "ok"
    assert Notice.objects.filter(user=user).exists() is not guarded
    run_all()


def test_an_upload_that_is_being_checked_leaves_no_object(monkeypatch):
    """The worker has promoted the file when the account goes: what nobody's row names any more is deleted."""
    from core import storage
    from core.uploads import services as uploads

    user = UserFactory()
    upload = stored_upload(content=b"%PDF-1.4 mine", owner_id=user.pk, checking=True)
    promoted: list[str] = []

    def promote_then_delete(row, path, verdict):
        key, details = promote(row, path, verdict)
        promoted.append(key)
        services.delete_account(user=user, session=UserDeviceFactory(user=user), stock_files_saved=True, at=clock.now())
        return key, details

    promote = uploads._promote
    monkeypatch.setattr(uploads, "_promote", promote_then_delete)
    monkeypatch.setattr(uploads.inspection, "inspect", lambda *args, **kwargs: uploads.Verdict())
    check_upload(upload_id=upload.pk, at=clock.now())
    assert storage.head(promoted[0]) is not None

    run_all(until=clock.now() + timedelta(hours=1))

    assert storage.head(promoted[0]) is None and not Upload.objects.filter(owner_id=user.pk).exists()


def test_the_answer_to_what_comes_too_late_is_a_401():
    user = UserFactory()
    client = client_for(user)
    device = client.device

    services.delete_account(user=user, session=device, stock_files_saved=True, at=clock.now())

    answer = client.post("garage/vehicles/", BIKE)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_a_request_that_was_let_in_before_is_a_401_too(monkeypatch):
    """Authenticated, then the account goes, then the trigger refuses: the person is told the same as by any dead token."""
    from garage import services as garage

    user = UserFactory()
    client = client_for(user)
    add = garage.add_vehicle

    def delete_then_add(**facts):
        services.delete_account(user=user, session=client.device, stock_files_saved=True, at=clock.now())
        return add(**facts)

    monkeypatch.setattr(garage, "add_vehicle", delete_then_add)
    answer = client.post("garage/vehicles/", BIKE)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid"), answer.content
    assert not Vehicle.objects.filter(owner=user).exists()


@pytest.mark.parametrize("row_locks", [True, False])
def test_two_last_admins_can_not_both_leave(row_locks):
    from core.testing.races import race_all

    admins = [UserFactory(admin=True, mfa=True), UserFactory(admin=True, mfa=True)]

    def leave(admin: User) -> None:
        services.delete_account(user=admin, session=UserDeviceFactory(user=admin), stock_files_saved=True, at=clock.now())

    acts = [lambda admin=admin: leave(admin) for admin in admins]
    became = race_all(acts, row_locks=row_locks, meet_after='"users_user"."role" = ')

    assert became == (["account_deletion_blocked", "ok"] if row_locks else ["ok", "ok"])
    assert User.objects.admins().count() == (1 if row_locks else 0)


def test_two_deletions_of_one_account_are_one():
    from core.testing.races import race

    user = UserFactory()
    sessions = iter([UserDeviceFactory(user=user), UserDeviceFactory(user=user)])
    lock = threading.Lock()

    def leave() -> None:
        with lock:
            session = next(sessions)
        services.delete_account(user=user, session=session, stock_files_saved=True, at=clock.now())

    assert race(leave) == ["ok", "token_invalid"]
    assert AccountDeletion.objects.filter(user_id=user.pk).count() == 1
