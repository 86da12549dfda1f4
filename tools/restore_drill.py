"""`make restore-drill`: lose database and files, restore both to a moment, and let the payment provider tell the rest.

A system of its own sells, is backed up (`pg_dump` and every stored object), goes on (more sales, refunds, disputes, riders who
register, one who deletes their account), and loses its database and its files. Both are restored as they were backed up; the
records of deletions come from the copy that is kept elsewhere. Then the system is started, and nothing is told to it: the reconciler
must notice, sell nothing new, rebuild what was sold, refunded and disputed, park what it can't, and open again. At the end deletions
are applied again, every restored object is hashed, the invariants are verified, and a judge compares the provider's truth with the
database. It prints what was lost and how long everything took; status 0 when nothing was lost that the design does not allow.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config

from core.embedded import secrets
from core.embedded.postgres import DATABASE, ROLE, SUPERUSER, Postgres, binaries
from core.embedded.s3 import REGION, S3
from core.testing import process_tree
from tools.faults.stand import Stand

DELETIONS = "privacy/deletions/"
OWNED = {"PAID", "REFUNDED", "DISPUTED", "CHARGED_BACK"}
PURCHASES = """
SELECT p.id::text, p.status, p.refunded_minor, coalesce(l.state, '') FROM marketplace_purchase p
  LEFT JOIN marketplace_license l ON l.purchase_id = p.id
"""
PEOPLE = """
import hashlib, json, os, sys
import django
django.setup()
from core import clock, storage, tokens
from core.ids import new_id
from garage.models import StockFile
from garage.tests.factories import IMAGE_SIZE_BYTES, VehicleFactory
from marketplace.models import Tune
from marketplace.tests.factories import TuneFactory
from marketplace.tests.factories.trust import sign_release
from users.tests.factories import UserDeviceFactory, UserFactory

many, each = int(sys.argv[1]), int(sys.argv[2])
while Tune.objects.count() < each:
    tune = TuneFactory(stored=True)
    sign_release(tune.versions.get(), at=clock.now())
def bike(owner):
    image = os.urandom(32) + bytes(IMAGE_SIZE_BYTES - 32)
    digest = hashlib.sha256(image).hexdigest()
    vehicle = VehicleFactory(owner=owner, with_stock=True, stockfile_sha256=digest, stockfile_image_sha256=digest)
    storage.put_bytes(StockFile.objects.get(vehicle=vehicle).storage_key, image, "application/octet-stream")
    return str(vehicle.pk)
riders = []
for _ in range(many):
    user = UserFactory(email=f"drill-{new_id()}@example.com", password="!")
    wishes = [
        {
            "tune": str(tune.pk), "price_minor": tune.price_minor, "currency": tune.currency,
            "vehicle": bike(user),
        }
        for tune in Tune.objects.order_by("id")[:each]
    ]
    session = UserDeviceFactory(user=user, installation_id=str(new_id()))
    riders.append({"id": str(user.pk), "refresh": tokens.mint_refresh(session), "wishes": wishes})
print(json.dumps(riders))
"""
# Nobody waits an hour: the dates that a backup of an hour ago would have.
OLDER = "UPDATE marketplace_providerwatch SET watched_at = watched_at - interval '1 hour', walked_at = walked_at - interval '1 hour'"
DELETE_ACCOUNT = """
import sys, django
django.setup()
from core import clock
from users.models import User, UserDevice
from users.services import delete_account
user = User.objects.get(pk=sys.argv[1])
delete_account(user=user, session=UserDevice.objects.filter(user=user).first(), stock_files_saved=True, at=clock.now())
"""


class Drill(Stand):
    """The system that loses everything."""

    module = "core.embedded.supervisor"

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.demo = False  # three tunes are enough to sell, and quick to lose
        self.backup = data.with_name("backup")
        self.took: dict[str, float] = {}
        self.tokens: dict[str, str] = {}
        self.attestation = ""

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Say what is done, and keep how long it took."""
        say(f"{what} …")
        began = time.monotonic()
        yield
        self.took[what] = time.monotonic() - began

    def make_riders(self, many: int, *, wishes: int) -> list[dict[str, Any]]:
        """Riders with a session and, for each of some tunes, a vehicle that it fits; the first call makes the tunes."""
        made: list[dict[str, Any]] = json.loads(self.run(PEOPLE, str(many), str(wishes)).splitlines()[-1])
        return made

    # What people do

    def token(self, buyer: dict[str, Any]) -> str:
        """An access token of a rider."""
        if buyer["id"] not in self.tokens:
            answer = self.ask("POST", "/api/v1/auth/refresh/", {"refresh": buyer["refresh"]})
            assert answer.status == 200, answer.text
            self.tokens[buyer["id"]], buyer["refresh"] = answer.json()["access"], answer.json()["refresh"]
        return self.tokens[buyer["id"]]

    def wish(self, buyer: dict[str, Any], number: int) -> Any:
        """POST what a rider wants, with everything acknowledged; the answer, whatever it is."""
        want = buyer["wishes"][number]
        body = {
            "tune": want["tune"],
            "vehicle": want["vehicle"],
            "expected_price_minor": want["price_minor"],
            "currency": want["currency"],
            "attestation": {"text_version": self.attestation, "accepted": True},
        }
        path = "/api/v1/marketplace/purchases/"
        answer = self.ask("POST", path, body, token=self.token(buyer), Idempotency_Key=uuid.uuid4().hex)
        if answer.status == 409 and answer.json()["code"] == "acknowledgement_required":
            body["acknowledged_reasons"] = answer.json()["required_reasons"]
            answer = self.ask("POST", path, body, token=self.token(buyer), Idempotency_Key=uuid.uuid4().hex)
        return answer

    def sell(self, buyer: dict[str, Any], number: int, *, pay: bool = True) -> str:
        """A rider buys their wish and pays; the purchase's id."""
        answer = self.wish(buyer, number)
        assert answer.status == 201, answer.text
        purchase = answer.json()
        if pay:
            self.at_the_page(purchase["payment"]["sandbox_url"], "succeed")
            synced = self.ask("POST", f"/api/v1/marketplace/purchases/{purchase['id']}/sync/", token=self.token(buyer))
            assert synced.json()["status"] == "PAID", synced.text
        return purchase["id"]

    def at_the_page(self, url: str, outcome: str) -> None:
        """What the payer, or their bank, does."""
        with urlopen(Request(url, data=urlencode({"outcome": outcome}).encode()), timeout=60):
            pass

    def pay_page_of(self, purchase_id: str) -> str:
        """Where the payment of a purchase is paid, disputed and decided."""
        (intent,) = [row for row in self.everything_of("payment_intents") if row["metadata"].get("purchase") == purchase_id]
        return f"{self.runtime()['STRIPE_API_BASE']}/pay/{intent['id']}"

    def give_back(self, buyer: dict[str, Any], purchase_id: str) -> None:
        """A rider wants the money back, at once, since nothing was downloaded."""
        path = f"/api/v1/marketplace/purchases/{purchase_id}/refunds/"
        answer = self.ask("POST", path, {"reason": "CHANGED_MIND"}, token=self.token(buyer), Idempotency_Key=uuid.uuid4().hex)
        assert answer.status in (200, 201), answer.text

    def settle(self) -> None:
        """Until nothing is under way."""
        self.wait_until(lambda: not self.is_busy(), seconds=300)

    # Backup, loss and restore

    def storage(self) -> Any:
        """The S3 client, and how its buckets are called."""
        runtime = self.runtime()
        return boto3.client(
            "s3",
            endpoint_url=runtime["S3_ENDPOINT_URL"],
            region_name=REGION,
            aws_access_key_id=runtime["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=runtime["S3_SECRET_ACCESS_KEY"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def objects(self, prefix: str = "") -> dict[tuple[str, str], tuple[bytes, str]]:
        """Every stored object with its type: (bucket, key) → (bytes, content type)."""
        client, runtime, found = self.storage(), self.runtime(), {}
        for bucket in (runtime["S3_BUCKET_PRIVATE"], runtime["S3_BUCKET_PUBLIC"]):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for row in page.get("Contents", []):
                    if not row["Key"].endswith("/") and row["Key"] != ".ready":
                        stored = client.get_object(Bucket=bucket, Key=row["Key"])
                        found[bucket, row["Key"]] = (stored["Body"].read(), stored["ContentType"])
        return found

    def back_up(self) -> None:
        """The database first, then the files: what a row points to was stored before the row was written."""
        self.backup.mkdir()
        with self.timed("back up the database"):
            command = [str(binaries() / "pg_dump"), "--format=custom", f"--file={self.backup / 'database.dump'}", self.superuser_url()]
            subprocess.run(command, check=True, timeout=600)
        with self.timed("back up the files"):
            self.saved = self.objects()

    def copy_deletions(self) -> None:
        """What an operator copies to another place as it is written: without it nobody knows who asked to be deleted."""
        self.records = self.objects(DELETIONS)

    def superuser_url(self) -> str:
        """The database as its superuser."""
        runtime, known = self.runtime(), secrets.load(self.data / "secrets.json")
        place = runtime["DATABASE_URL"].rpartition("@")[2]
        return f"postgres://{SUPERUSER}:{known['postgres_superuser']}@{place}"

    def lose_everything(self) -> None:
        """kill -9 of the whole system; database and files are gone. The provider and the keys are somebody else's disk."""
        self.kill_everything()
        shutil.rmtree(self.data / "postgres")
        shutil.rmtree(self.data / "s3")

    def restore(self) -> None:
        """Database and files as they were backed up, and the deletions' records from elsewhere."""
        known = secrets.load(self.data / "secrets.json")
        log = self.data / "logs" / "restore.log"
        postgres = Postgres(self.data / "postgres", log, known["postgres_superuser"], known["postgres_role"])
        with self.timed("restore the database"):
            postgres.start()
            with contextlib.closing(postgres.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {DATABASE}")
                cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
            url = f"postgres://{SUPERUSER}:{known['postgres_superuser']}@127.0.0.1:{postgres.port}/{DATABASE}"
            command = [str(binaries() / "pg_restore"), "--exit-on-error", f"--dbname={url}", str(self.backup / "database.dump")]
            subprocess.run(command, check=True, timeout=1200)
            with contextlib.closing(postgres.connect(database=DATABASE)) as connection, connection.cursor() as cursor:
                cursor.execute(OLDER)
            postgres.stop()
        s3 = S3(self.data / "s3", log, known["s3_access_key"], known["s3_secret_key"])
        with self.timed("restore the files"):
            s3.start()
            client = boto3.client(
                "s3",
                endpoint_url=s3.endpoint_url,
                region_name=REGION,
                aws_access_key_id=known["s3_access_key"],
                aws_secret_access_key=known["s3_secret_key"],
                config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
            )
            for (bucket, key), (content, kind) in (self.saved | self.records).items():
                client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=kind)
            s3.stop()


def say(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


def main() -> int:
    """Play the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="where to work (default: a temporary directory, removed at the end)")
    options = parser.parse_args()
    process_tree.STARTED_WITHIN_SECONDS = 1800  # a busy machine takes its time
    place = options.directory or Path(tempfile.mkdtemp(prefix="restore-drill-"))
    place.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        place.chmod(0o711)  # PostgreSQL's own user must pass
    drill = Drill(place / "data")
    try:
        return play(drill)
    finally:
        drill.clean_up()
        if options.directory is None:
            shutil.rmtree(place, ignore_errors=True)


def play(drill: Drill) -> int:
    """The whole story; 0 when everything that must hold does."""
    with drill.timed("start"):
        drill.start_and_wait()
    drill.attestation = drill.ask("GET", "/api/v1/meta/").json()["texts"]["attestation"]["version"]

    say("sell, refund, dispute …")
    buyers = drill.make_riders(6, wishes=3)
    early = {buyer["id"]: [drill.sell(buyer, number) for number in range(2)] for buyer in buyers}
    first = [early[buyer["id"]][0] for buyer in buyers]
    drill.give_back(buyers[0], first[0])
    drill.at_the_page(drill.pay_page_of(first[1]), "dispute")
    drill.settle()

    drill.wait_until(lambda: bool(drill.rows("SELECT 1 FROM marketplace_providerwatch WHERE note <> 'new'")), seconds=300)
    drill.back_up()
    moment = time.time()

    say("go on: sell, refund, dispute, register, delete …")
    late = [drill.sell(buyer, 2) for buyer in buyers[:5]]
    drill.give_back(buyers[2], first[2])  # sold before, refunded after
    drill.give_back(buyers[3], late[3])  # sold and refunded after
    drill.at_the_page(drill.pay_page_of(late[4]), "dispute")  # sold and disputed after
    drill.at_the_page(drill.pay_page_of(first[1]), "dispute_lost")  # disputed before, lost after
    waiting = drill.sell(buyers[5], 2, pay=False)
    newcomers = drill.make_riders(2, wishes=1)
    unknown = [drill.sell(buyer, 0) for buyer in newcomers]
    drill.settle()
    say("one rider deletes the account …")
    gone = buyers[0]["id"]
    drill.run(DELETE_ACCOUNT, gone)
    drill.settle()
    drill.copy_deletions()
    assert drill.records, "the deletion left no record in storage"
    before = {row[0]: row[1:] for row in drill.rows(PURCHASES)}
    stored = drill.objects().keys()
    provider_before = {row["id"]: row["status"] for row in drill.everything_of("payment_intents")}
    lost_seconds = time.time() - moment

    say("lose database and files …")
    drill.lose_everything()
    drill.restore()
    began = time.monotonic()
    with drill.timed("start again"):
        drill.start_and_wait()

    with drill.timed("reconcile"):
        # the sale is closed until the provider was walked; whoever asks meanwhile is told to come again
        answers = []
        while not drill.rows("SELECT 1 FROM marketplace_providerwatch WHERE restored_at > now() - make_interval(secs => %s)", 900):
            assert time.monotonic() - began < 600, drill.logs()
            answers.append(drill.wish(buyers[5], 2))
            if answers[-1].status == 401:  # the access token ran out meanwhile
                drill.tokens.clear()
            time.sleep(0.5)
        drill.settle()
    closed = [answer.status for answer in answers if answer.status == 503]
    opened = drill.wish(buyers[5], 2).status

    with drill.timed("apply deletions again"):
        reapplied = drill.manage("privacy_reapply").strip().splitlines()[-1]
        drill.settle()
    with drill.timed("hash every restored object"):
        hashed = {name: hashlib.sha256(content).hexdigest() for name, (content, _) in drill.objects().items()}
    with drill.timed("verify the invariants, and every file"):
        verified = subprocess.run(
            [sys.executable, "manage.py", "verify_invariants", "--objects"],
            env={"PATH": os.environ["PATH"], "REVSYNC_DATA_DIR": str(drill.data), "DJANGO_SETTINGS_MODULE": "revsync_backend.settings"},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    broken = []
    if verified.returncode:
        broken.append("an invariant:\n" + verified.stdout + verified.stderr)
    wrong = [name for name, (content, _) in drill.saved.items() if name in hashed and hashed[name] != hashlib.sha256(content).hexdigest()]
    removed = [name for name in drill.saved if name not in hashed]
    if wrong:
        broken.append(f"objects with other bytes: {wrong}")
    after = {row[0]: row[1:] for row in drill.rows(PURCHASES)}
    parked = {row[0] for row in drill.rows("SELECT purchase_id::text FROM marketplace_providerdifference WHERE state = 'OPEN'")}
    rebuilt = {row[0] for row in drill.rows("SELECT subject_id::text FROM core_auditevent WHERE act = 'purchase.rebuilt'")}
    broken += list(judge(drill, before=before, after=after, parked=parked, provider_before=provider_before))
    if parked != set(unknown):
        broken.append(f"parked are {parked}, unknown buyers paid {unknown}")
    if not closed:
        broken.append("something new could be bought before the provider was walked")
    if opened not in (200, 201):  # 200: the try that found it open again is continued
        broken.append(f"afterwards nothing can be bought: {opened}")
    if drill.rows("SELECT 1 FROM users_user WHERE id = %s AND deleted_at IS NULL", gone):
        broken.append("a deleted account is back")
    say("")
    say(f"Lost: what happened in {lost_seconds:.0f} s after the backup.")
    say(f"- {len(newcomers)} accounts that were registered in it (their payments are parked for refund: {len(parked)})")
    say(f"- purchases that were rebuilt from the provider: {len(rebuilt)} of {len(late)}")
    say(f"- purchases that nobody had paid (cancelled at the provider): {int(waiting not in after)}")
    say(f"- stored objects that were newer than the backup: {len(set(stored) - set(drill.saved) - set(drill.records))}")
    say(f"- restored objects that a deletion has removed again: {len(removed)}; with other bytes: {len(wrong)} of {len(drill.saved)}")
    say(f"- deletions: {reapplied}")
    say(f"- new purchases answered 503 while it went on: {len(closed)} of {len(answers)} tries")
    say("")
    for what, seconds in drill.took.items():
        say(f"{seconds:8.1f} s  {what}")
    say("")
    for sentence in broken:
        say(f"BROKEN: {sentence}")
    say("FAILED" if broken else "What was paid is licensed, what was refunded is not, nobody was charged twice, every invariant holds.")
    return 1 if broken else 0


def judge(
    drill: Drill, *, before: dict[str, tuple], after: dict[str, tuple], parked: set[str], provider_before: dict[str, str]
) -> Iterator[str]:
    """What the provider, the database before and the database after say differently: one sentence each."""
    for purchase_id, (status, refunded, license_state) in before.items():
        if status in OWNED and purchase_id not in parked and after.get(purchase_id) != (status, refunded, license_state):
            yield f"purchase {purchase_id} was {status}, {refunded}, {license_state} and is {after.get(purchase_id)}"
    charged: dict[str, int] = {}
    for intent in drill.everything_of("payment_intents"):
        purchase_id = intent["metadata"].get("purchase", "")
        charged[purchase_id] = charged.get(purchase_id, 0) + (intent["status"] == "succeeded")
        if intent["status"] == "succeeded" and provider_before.get(intent["id"]) != "succeeded":
            yield f"{intent['id']} was charged by the restore"
    for purchase_id, times in charged.items():
        if times > 1:
            yield f"purchase {purchase_id} was charged {times} times"
        if times and purchase_id not in after and purchase_id not in parked:
            yield f"purchase {purchase_id} is paid and nobody knows it"


if __name__ == "__main__":
    sys.exit(main())
