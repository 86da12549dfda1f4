"""A person who did everything that can be done deletes their account; afterwards they are looked for everywhere."""

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import InvalidToken
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django_tasks_db.models import DBTaskResult

from core import clock, crypto, storage
from core.testing.http import ApiClient, client_for
from core.testing.leaks import LeakWatch, watching
from core.testing.tasks import run_all
from core.uploads.tests.factories import stored_upload
from garage.tests.factories import NoReadBackConsentFactory, StockFileFactory, VehicleFactory
from marketplace.enums import FlashOutcome
from marketplace.models import Dispute, Purchase, SavedSearchMatch, Tune
from marketplace.services import stops
from marketplace.services.disputes import assemble_evidence
from marketplace.tests.factories import (
    CaseFactory,
    DisputeFactory,
    FavoriteFactory,
    PayoutFactory,
    PurchaseFactory,
    Ride,
    TuneFactory,
    TuneVersionFactory,
    released_tune,
    sold,
)
from tuners.models import TunerProfile
from tuners.tests.factories import (
    SuspensionAppealFactory,
    TunerApplicationFactory,
    TunerCertificationFactory,
    TunerFollowFactory,
    TunerProfileFactory,
    TunerReviewFactory,
)
from users import privacy, services
from users.models import AccountDeletion, User
from users.services import verification
from users.tests.factories import PASSWORD, UserFactory
from users.tests.flows import bearer, log_in

LATER = timedelta(minutes=30)

# What must be found nowhere afterwards, by what it is.
PERSON = {
    "address": "leonie.quandtberg@mailhaus-sued.example",
    "wanted address": "quandtberg-neu@mailhaus-sued.example",
    "display name": "Leonie Quandtberg",
    "business name": "Quandtberg Motortechnik",
    "VIN": "JYARN59C1MA633105",
    "VIN of the one they took over": "JYARN59C1MA633888",
    "frame number": "QBF-771-0042",
    "ECU serial": "SN-QB-99417",
    "push token": "push-quandtberg-5f2a77c1",
    "installation": "installation-quandtberg-1",
    "device name": "Leonies Klapptelefon",
    "biography": "Schraubt seit dreissig Jahren in Oberquandtberg",
    "town": "Oberquandtberg an der Quand",
    "nickname": "Die blaue Quandtbergerin",
    "note on a part": "Quandtbergs eigene Halterung",
    "file name": "quandtberg-gewerbeschein.pdf",
    "document number": "HRB-QB-88123",
    "appeal": "Quandtberg hat nichts falsch gemacht",
    "appeal about a review": "Quandtberg meinte das ironisch",
    "reply": "Danke, Ihre Quandtbergs",
    "report": "Der Bericht von Quandtberg",
    "message": "Quandtbergs Leerlauf ist unruhig",
    "earlier word": "Zuerst schrieb Quandtberg dies",
    "name of a search": "Quandtbergs Wunschzettel",
    "words of a search": "quandtbergisch",
    "website": "https://quandtberg-motortechnik.example",
    "tune that nobody bought": "Quandtberg Stufe Neun",
}
PICTURE, DOCUMENT, STOCK = b"quandtberg-picture-bytes", b"quandtberg-document-bytes", b"quandtberg-stock-image-bytes"
CASE_FILE = b"quandtberg-case-bytes"


class Everything:
    """The person, and everything they did: through the API where it is about their words, by factories for the rest."""

    def __init__(self) -> None:
        self.user = UserFactory(email=PERSON["address"], display_name=PERSON["display name"], mfa=True)
        device = {"installation_id": PERSON["installation"], "name": PERSON["device name"], "platform": "android"}
        challenge = log_in(self.user.email, device={**device, "push_token": PERSON["push token"]}).json()
        self.client = bearer(self._second_factor(challenge["mfa_token"])["access"])
        self._step_up()

    def _second_factor(self, mfa_token: str) -> dict[str, Any]:
        from core import mfa
        from users.tests.factories import TOTP_SECRET

        answer = ApiClient().post("auth/mfa/verify/", {"mfa_token": mfa_token, "code": mfa.code_of(TOTP_SECRET, at=clock.now())})
        return answer.json()

    def _step_up(self) -> None:
        self.ok(self.client.post("auth/step-up/", {"password": PASSWORD}))

    @staticmethod
    def ok(answer: Any) -> Any:
        assert answer.status_code < 300, answer.content
        return answer.json() if answer.content else None

    def change_the_account(self) -> None:
        self.ok(self.client.post("auth/email/change/", {"email": PERSON["wanted address"]}))
        self.ok(ApiClient().post("auth/password/reset/", {"email": PERSON["address"]}))
        self.ok(self.client.post("auth/mfa/recovery-codes/"))
        picture = stored_upload(content=PICTURE, owner_id=self.user.pk, purpose="AVATAR", ready=True, content_type="image/webp")
        storage.put_bytes(picture.storage_key, PICTURE, "image/webp", bucket=storage.PUBLIC)
        storage.delete(picture.storage_key)  # the factory knows one bucket only
        body = {"bio": PERSON["biography"], "location": PERSON["town"], "country": "DE", "upload_id": str(picture.pk)}
        self.ok(self.client.patch("users/me/profile/", body))
        self.ok(self.client.patch("users/me/notification-preferences/", {"social": {"push": False}}))
        log_in(PERSON["address"], password="not-the-right-one")

    def keep_a_garage(self) -> None:
        bike = {"kind": "MOTORCYCLE", "make": "Yamaha", "model": "MT-09", "year": 2021, "market": "EU"}
        vehicle = self.ok(self.client.post("garage/vehicles/", {**bike, "vin": PERSON["VIN"], "nickname": PERSON["nickname"]}))
        self.ok(self.client.post("garage/vehicles/", {**bike, "frame_number": PERSON["frame number"]}))
        path = f"garage/vehicles/{vehicle['id']}/"
        part = {"category": "EXHAUST", "brand": "Eigenbau", "notes": PERSON["note on a part"]}
        self.ok(self.client.post(f"{path}mods/", part))
        readout = {"hardware_number": "RSH-4711-A", "calibration_id": "RSC-210-EU", "serial": PERSON["ECU serial"],
                   "image_size_bytes": 262_144, "read_at": "2026-06-01T12:00:00Z"}  # fmt: skip
        self.ok(self.client.put(f"{path}ecu/", readout))
        self.vehicle = self.user.vehicles.select_related("ecu").get(pk=vehicle["id"])
        image = stored_upload(content=STOCK, owner_id=self.user.pk, purpose="STOCK_FILE", ready=True, used=True, name=PERSON["file name"])
        StockFileFactory(vehicle=self.vehicle, upload_id=image.pk, storage_key=image.storage_key, name=PERSON["file name"])
        NoReadBackConsentFactory(vehicle=self.vehicle)
        handed_on = VehicleFactory(owner=self.user, vin="JYARN59C1MA633999")
        offer = self.ok(self.client.post(f"garage/vehicles/{handed_on.pk}/transfer/"))
        self.next_owner = UserFactory()
        self.ok(client_for(self.next_owner).post(f"garage/transfers/{offer['id']}/accept/", {"code": offer["code"]}))
        bought = VehicleFactory(vin=PERSON["VIN of the one they took over"])
        offer = self.ok(client_for(bought.owner).post(f"garage/vehicles/{bought.pk}/transfer/"))
        self.ok(self.client.post(f"garage/transfers/{offer['id']}/accept/", {"code": offer["code"]}))
        rescued = VehicleFactory(owner=self.user, with_stock=True, vin="JYARN59C1MA633777")
        self.ok(self.client.post(f"garage/vehicles/{rescued.pk}/rescue-links/"))
        self.ok(self.client.post(f"garage/vehicles/{self.vehicle.pk}/transfer/"))

    def buy_and_flash(self) -> None:
        tune = released_tune()
        purchase = sold(buyer=self.user, tune=tune, vehicle_id=self.vehicle.pk, vehicle_identity_hashes=["ab" * 32])
        ride = Ride(purchase=purchase, vehicle=self.vehicle, at=clock.now())
        ride.report(ride.ticket(), FlashOutcome.SUCCEEDED)
        stop = stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Lean.", at=ride.at)
        stops.acknowledge_stop(rider=self.user, stop_id=stop.pk, at=ride.at)
        review = self.ok(
            self.client.post(f"tuners/{tune.tuner_id}/reviews/", {"tune": str(tune.pk), "rating": 4, "text": PERSON["earlier word"]})
        )
        self.ok(self.client.patch(f"tuners/reviews/{review['id']}/", {"text": "Smooth from 3,000 rpm."}))
        other = TunerReviewFactory()
        self.ok(self.client.post(f"tuners/reviews/{other.pk}/report/", {"reason": "ABUSE", "text": PERSON["report"]}))
        hidden = TunerReviewFactory(buyer=self.user, hidden=True)
        self.ok(self.client.post(f"tuners/reviews/{hidden.pk}/appeal/", {"text": PERSON["appeal about a review"]}))
        self.ok(self.client.put(f"tuners/{tune.tuner_id}/follow/"))
        FavoriteFactory(user=self.user)
        search = {"name": PERSON["name of a search"], "query": {"q": PERSON["words of a search"]}, "notify": True}
        saved = self.ok(self.client.post("marketplace/saved-searches/", search))
        SavedSearchMatch.objects.create(search_id=saved["id"], tune=tune, matched_at=clock.now(), told_at=clock.now())
        self.purchase, self.review_id, self.followed = purchase, review["id"], tune.tuner_id

    def argue(self) -> None:
        """A case with a file, a refund that was declined, and a dispute that was decided."""
        file = stored_upload(content=CASE_FILE, owner_id=self.user.pk, purpose="CASE_FILE", ready=True, name=PERSON["file name"])
        body = {"purchase": str(self.purchase.pk), "kind": "OTHER", "text": PERSON["message"], "attachments": [str(file.pk)]}
        self.ok(self.client.post("marketplace/cases/", body))
        refund = {"reason": PERSON["message"]}
        self.ok(self.client.post(f"marketplace/purchases/{self.purchase.pk}/refunds/", refund, HTTP_IDEMPOTENCY_KEY="refund-1"))
        dispute = DisputeFactory(purchase=self.purchase, status="INQUIRY", applied_at=None)
        assemble_evidence(dispute_id=dispute.pk, at=clock.now())
        Dispute.objects.filter(pk=dispute.pk).update(status="CLOSED", ended_at=clock.now())
        assert PERSON["message"] in Dispute.objects.get().evidence_text

    def be_a_tuner(self) -> None:
        document = stored_upload(content=DOCUMENT, owner_id=self.user.pk, ready=True, used=True, name=PERSON["file name"])
        TunerApplicationFactory(
            applicant=self.user, approved=True, business_name=PERSON["business name"], website=PERSON["website"],
            experience=PERSON["biography"],
        )  # fmt: skip
        TunerCertificationFactory(
            owner=self.user, upload_id=document.pk, storage_key=document.storage_key, file_name=PERSON["file name"],
            number=PERSON["document number"], issuer=PERSON["business name"], accepted=True,
        )  # fmt: skip
        User.objects.filter(pk=self.user.pk).update(role="TUNER")
        self.user.refresh_from_db()
        profile = TunerProfileFactory(
            user=self.user, business_name=PERSON["business name"], about=PERSON["biography"], website=PERSON["website"],
        )  # fmt: skip
        PayoutFactory(account__tuner=profile, account__requirements_due=["individual.verification.document"], paid=True)
        SuspensionAppealFactory(tuner=profile, suspended_at=clock.now() - timedelta(days=9), text=PERSON["appeal"])
        tune = TuneFactory(tuner=profile, title=PERSON["tune that nobody bought"], description=PERSON["biography"], stored=True)
        TuneVersionFactory(tune=tune, validated=True, changelog=PERSON["biography"], stored=True)
        review = TunerReviewFactory(tuner=profile, tune_id=tune.pk)
        self.ok(self.client.post(f"tuners/reviews/{review.pk}/reply/", {"text": PERSON["reply"]}))
        Tune.objects.filter(pk=tune.pk).update(status="ARCHIVED", archived_at=clock.now())
        TuneFactory(tuner=profile, title=f"{PERSON['tune that nobody bought']} Entwurf")
        TunerFollowFactory(tuner=profile)
        self.sale = PurchaseFactory(tune=released_tune(tuner=profile), paid=True)
        CaseFactory(purchase=self.sale, resolved=True)
        Tune.objects.filter(pk=self.sale.tune_id).update(status="ARCHIVED", archived_at=clock.now())

    def leave_traces_elsewhere(self) -> None:
        self.ok(self.client.post("users/me/exports/", HTTP_IDEMPOTENCY_KEY="export-1"))
        run_all()
        trace = f"smtplib.SMTPRecipientsRefused: {{'{PERSON['address']}': (550, b'no such person')}}"
        DBTaskResult.objects.create(
            status="FAILED", task_path="users.tasks.deliver_notice", args_kwargs={"args": [], "kwargs": {}}, priority=0,
            backend_name="default", queue_name="default", run_after=clock.now(),
            enqueued_at=clock.now(), finished_at=clock.now(), worker_ids=["x"],
            exception_class_path="smtplib.SMTPRecipientsRefused", traceback=trace,
        )  # fmt: skip
        stored_upload(content=b"quandtberg-unused", owner_id=self.user.pk, name=PERSON["file name"])


# Looking everywhere


def everything_in_the_database() -> Iterator[tuple[str, bytes]]:
    """Every row of every table as text; bytes as they are, and opened where one of our keys opens them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
        tables = [row[0] for row in cursor.fetchall()]
        for table in tables:
            cursor.execute(f'SELECT to_jsonb(held)::text FROM "{table}" AS held')
            for (text,) in cursor.fetchall():
                yield table, text.encode()
            cursor.execute(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = current_schema() AND table_name = %s AND data_type = 'bytea'", [table],
            )  # fmt: skip
            for (column,) in cursor.fetchall():
                cursor.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
                for (value,) in cursor.fetchall():
                    yield f"{table}.{column}", _opened(bytes(value))


def _opened(value: bytes) -> bytes:
    try:
        return crypto.decrypt(value).encode()
    except (InvalidToken, ValueError):
        return value


def everything_in_storage() -> Iterator[tuple[str, bytes]]:
    for bucket in (storage.PRIVATE, storage.PUBLIC):
        for key, _head in storage.list_keys("", bucket=bucket):
            data = storage.read(key, max_bytes=64_000_000, bucket=bucket)
            yield f"{bucket}/{key}", key.encode() + b"\n" + data
            if zipfile.is_zipfile(io.BytesIO(data)):  # and not a broken one that another test uploaded
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    yield from ((f"{bucket}/{key}/{name}", archive.read(name)) for name in archive.namelist())


def everything_mailed() -> Iterator[tuple[str, bytes]]:
    for path in Path(django_settings.MAIL_DIR).glob("*.eml"):
        yield path.name, path.read_bytes()


def find(places: Iterator[tuple[str, bytes]]) -> dict[str, set[str]]:
    """What of the person is found, and where."""
    found: dict[str, set[str]] = {}
    needles = {what: value.encode().lower() for what, value in PERSON.items()}
    needles |= {"picture": PICTURE, "document": DOCUMENT, "stock image": STOCK, "case file": CASE_FILE}
    escaped = {what: json.dumps(value)[1:-1].encode().lower() for what, value in PERSON.items()}
    for place, data in places:
        lowered = data.lower()
        for what, needle in needles.items():
            if needle in lowered or escaped.get(what, needle) in lowered:
                found.setdefault(what, set()).add(place)
    return found


class Lines(LeakWatch):
    """Keeps every rendered line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self._formatter.format(record))


@pytest.fixture
def kept_mails(settings, tmp_path):
    """Mails as development keeps them: in files."""
    settings.MAIL_DIR, settings.EMAIL_BACKEND = str(tmp_path / "mail"), "core.mailbox.FileMailBackend"


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_nothing_of_a_deleted_person_is_left_anywhere(kept_mails):
    with watching(Lines()) as logged:
        person = Everything()
        person.change_the_account()
        person.keep_a_garage()
        person.buy_and_flash()
        person.argue()
        person.be_a_tuner()
        person.leave_traces_elsewhere()
        never = [holding.section for holding in privacy.holdings() if not holding.rows(person.user.pk).exists()]
        assert not never, f"let the person do this too: {' '.join(never)}"
        before = find(everything_in_the_database()) | find(everything_in_storage())
        assert set(before) >= set(PERSON), "the search must find everything as long as it is there"
        assert set(find(everything_mailed())) >= {"address", "wanted address", "display name"}
        audited = connection_rows("core_auditevent")

        person._step_up()
        answer = person.client.delete("users/me/?stock_files_saved=true")
        assert answer.status_code == 200, answer.content
        run_all()
        run_all(until=clock.now() + LATER)

    assert find(everything_in_the_database()) == {"business name": {"marketplace_purchase"}}  # the buyer's receipt names the seller
    assert Purchase.objects.get(seller_name=PERSON["business name"]) == person.sale
    assert find(everything_in_storage()) == {}
    mailed = find(everything_mailed())
    assert set(mailed) == {"address"} and all("your-account-was-deleted" in name for name in mailed["address"])
    assert find(iter([("log", "\n".join(logged.lines).encode())])) == {}
    assert len(logged.lines) > 20

    # what stays, stays: books, review, log
    assert Purchase.objects.get(pk=person.purchase.pk).buyer_id == person.user.pk
    shown = client_for(UserFactory()).get(f"tuners/{person.followed}/reviews/").json()["results"]
    assert [(row["id"], row["author"]["display_name"]) for row in shown] == [(person.review_id, "Deleted rider")]
    assert TunerProfile.objects.filter(pk=person.followed, follower_count=0).exists()
    assert connection_rows("core_auditevent") > audited
    assert list(verification.find_remains()) == []
    receipt = answer.json()
    assert {entry["what"] for entry in receipt["stays"]} >= {"purchases", "licenses", "reviews", "downloads", "acts", "vehicles"}


def connection_rows(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table}"')
        return cursor.fetchone()[0]


@pytest.mark.django_db
class TestVerification:
    def leave(self) -> tuple[User, AccountDeletion]:
        user = VehicleFactory(with_stock=True, vin=PERSON["VIN"], owner__email=PERSON["address"]).owner
        services.delete_account(
            user=user, session=client_for(user).device, stock_files_saved=True, at=clock.now()
        )
        run_all(until=clock.now() + LATER)
        return user, AccountDeletion.objects.get(user_id=user.pk)

    def remains(self) -> list[str]:
        return [remain.what for remain in verification.find_remains()]

    def test_nothing_has_come_back(self):
        self.leave()

        assert self.remains() == []

    def test_rows_that_came_back_are_named(self):
        user, _deletion = self.leave()
        vehicle = user.vehicles.get()
        type(vehicle).objects.filter(pk=vehicle.pk).update(vin=PERSON["VIN"], vin_hash=b"x" * 32)

        assert self.remains() == ["vehicles: 1 rows"]

    def test_an_account_that_came_back_is_named(self, monkeypatch):
        user, _deletion = self.leave()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE users_user DISABLE TRIGGER user_guard_deleted")
            cursor.execute(
                "UPDATE users_user SET deleted_at = NULL, is_active = true, email = %s, display_name = 'x' WHERE id = %s",
                [PERSON["address"], user.pk],
            )
            cursor.execute("ALTER TABLE users_user ENABLE TRIGGER user_guard_deleted")

        assert "the account is open again" in self.remains() and "an address" in self.remains()

    def test_an_address_that_registered_anew_is_no_remain(self):
        self.leave()
        UserFactory(email=PERSON["address"], created_at=clock.now() + timedelta(seconds=1))

        assert self.remains() == []

    def test_an_object_that_came_back_is_named(self):
        user = UserFactory()
        upload = stored_upload(content=b"x", owner_id=user.pk, ready=True)
        services.delete_account(user=user, session=client_for(user).device, stock_files_saved=True, at=clock.now())
        run_all(until=clock.now() + LATER)
        storage.put_bytes(upload.storage_key, b"x", "application/pdf")

        assert self.remains() == ["a stored object"]

    def test_an_older_hash_key_is_used_as_long_as_it_is_known(self, settings):
        user, _deletion = self.leave()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE users_user DISABLE TRIGGER user_guard_deleted")
            cursor.execute("UPDATE users_user SET email = %s WHERE id = %s", [PERSON["address"], user.pk])
            cursor.execute("ALTER TABLE users_user ENABLE TRIGGER user_guard_deleted")
        settings.HASH_KEYS_RETIRED, settings.HASH_KEY = [settings.HASH_KEY], "another-key"
        assert "an address" in self.remains()

        settings.HASH_KEYS_RETIRED = []
        assert "its hashes were made with a HASH_KEY that is not known any more" in self.remains()


@pytest.mark.django_db
class TestCommands:
    def test_verify_says_that_nothing_has_come_back(self, capsys):
        user = UserFactory()
        services.delete_account(user=user, session=client_for(user).device, stock_files_saved=True, at=clock.now())
        run_all(until=clock.now() + LATER)

        call_command("privacy_verify")
        call_command("privacy_verify", user=str(user.pk))

        assert capsys.readouterr().out == "1 receipts: nothing of these accounts has come back.\n" * 2

    def test_verify_names_account_and_kind_and_no_value(self, capsys):
        vehicle = VehicleFactory(vin=PERSON["VIN"])
        services.delete_account(user=vehicle.owner, session=client_for(vehicle.owner).device, stock_files_saved=True, at=clock.now())
        type(vehicle).objects.filter(pk=vehicle.pk).update(nickname=PERSON["nickname"])

        with pytest.raises(CommandError, match="1 things of deleted accounts are there"):
            call_command("privacy_verify")

        said = capsys.readouterr().err
        assert f"{vehicle.owner_id}: vehicles: 1 rows" in said and PERSON["nickname"] not in said

    def test_verify_knows_no_receipt_of_who_is_there(self):
        with pytest.raises(CommandError, match="no receipt"):
            call_command("privacy_verify", user=str(UserFactory().pk))

    def test_reapply_says_how_many(self, capsys):
        user = UserFactory()
        services.delete_account(user=user, session=client_for(user).device, stock_files_saved=True, at=clock.now())
        run_all()
        known = len(services.list_copied_deletions())

        call_command("privacy_reapply")

        assert capsys.readouterr().out == f"{known} records of deletions in storage, 0 applied again.\n"


@pytest.mark.django_db
def test_a_restored_backup_is_deleted_again():
    """The record in storage is all that a database knows that was restored from before the deletion."""
    vehicle = VehicleFactory(with_stock=True, vin=PERSON["VIN"], owner__email=PERSON["address"])
    user, device = vehicle.owner, client_for(vehicle.owner).device
    services.delete_account(user=user, session=device, stock_files_saved=True, at=clock.now())
    run_all(until=clock.now() + LATER)
    deleted = AccountDeletion.objects.get(user_id=user.pk)
    AccountDeletion.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE users_user DISABLE TRIGGER user_guard_deleted")
        cursor.execute(
            "UPDATE users_user SET deleted_at = NULL, is_active = true, email = %s WHERE id = %s", [PERSON["address"], user.pk]
        )
        cursor.execute("ALTER TABLE users_user ENABLE TRIGGER user_guard_deleted")
    type(vehicle).objects.filter(pk=vehicle.pk).update(vin=PERSON["VIN"], vin_hash=b"x" * 32, revision=F("revision") + 1)

    copies = [copied for copied in services.list_copied_deletions() if copied["user_id"] == str(user.pk)]
    assert [services.reapply_deletion(copied=copied, at=clock.now()) for copied in copies] == [True]
    assert [services.reapply_deletion(copied=copied, at=clock.now()) for copied in copies] == [False]

    again = AccountDeletion.objects.get(user_id=user.pk)
    assert (again.deleted_at, again.receipt) == (deleted.deleted_at, deleted.receipt) and again.farewell_address is None
    vehicle.refresh_from_db()
    assert vehicle.vin is None and list(verification.find_remains(user_id=user.pk)) == []


def test_every_app_is_asked():
    assert {provider.name for provider in privacy.providers()} == {"accounts", "platform", "garage", "tuners", "marketplace"}
