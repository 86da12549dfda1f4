"""The parts of the recall drill that run with the settings of the running system: the crowd, the act, and what the rows say."""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

from django.db import connection, transaction

from core import clock, tokens
from core.idempotency import Claim
from core.meta import agreed_text
from garage import services as garage
from marketplace.demo.ecus import BY_KEY
from marketplace.demo.listings import TUNES
from marketplace.demo.loader import Loader
from marketplace.enums import VersionStatus
from marketplace.exceptions import AcknowledgementRequired
from marketplace.models import Download, FlashTicket, Tune, TuneVersion
from marketplace.selectors.stops import count_reached, dedupe_key_of, list_holders
from marketplace.services import purchasing, stops
from users import services as users
from users.models import Notice, User
from users.services.sessions import DeviceInfo, start_session

FAMILY, MARKET = "mt09", "EU"
REASON = "Drill: the ignition map has the axis of another engine."


def make_crowd(count: int) -> dict:
    """The demo's people and its free MT-09 tune, and riders who own it, each with a bike, a session and a phone to be pushed to."""
    now, family = clock.now(), BY_KEY[FAMILY]
    loader = Loader(data_dir=Path(os.devnull), now=now, say=print)
    garage.import_catalogue()
    with transaction.atomic():
        loader.register_people()
        loader.approve_tuners()
        loader._publish(next(spec for spec in TUNES if spec.family == FAMILY and spec.price_cents == 0), at=loader.ago(30))
    tune, riders, sessions = Tune.objects.get(), [], []
    version = tune.versions.filter(status=VersionStatus.PUBLISHED).order_by("-version_order")[0]
    for number in range(count):
        rider = users.create_account(
            email=f"drill{number}@revsync.example",
            password=f"four calm words {number:04d}",
            display_name=f"Rider {number}",
            terms_version=agreed_text("terms").version,
            at=now,
        )
        index = 2000 + 4 * number + (0 if number % 5 == 0 else 3)  # every fifth has saved the stock file, and gets tickets
        loader._add_ride(rider, family, MARKET, index=index, at=now - timedelta(minutes=5))
        vehicle = loader.rides[-1].vehicle
        device = DeviceInfo(installation_id=f"drill-{number}", name="Phone", platform="android", push_token=f"phone-{number}")
        sessions.append(start_session(user=User.objects.get(pk=rider.pk), device=device, peer="127.0.0.1", at=now))
        riders.append(
            {
                "user": str(rider.pk),
                "vehicle": str(vehicle.pk),
                "purchase": str(_buy(rider, tune, vehicle).pk),
            }
        )
    for each, session in zip(riders, sessions, strict=True):  # last: they are good for ten minutes
        each["token"] = tokens.mint_access(session, at=clock.now())
    return {"version": str(version.pk), "name": f"{tune.title} {version.version}", "riders": riders}


def _buy(rider: User, tune: Tune, vehicle):
    attestation = agreed_text("attestation")
    wish = {
        "tune_id": tune.pk,
        "vehicle_id": vehicle.pk,
        "expected_price_minor": 0,
        "currency": tune.currency,
        "attestation_version": attestation.version,
        "attestation_accepted": True,
    }
    try:
        return purchasing.begin_purchase(buyer=rider, wish=purchasing.Wish(**wish), claim=Claim(), at=clock.now())
    except AcknowledgementRequired as required:
        wish["acknowledged_reasons"] = tuple(required.members["required_reasons"])
        return purchasing.begin_purchase(buyer=rider, wish=purchasing.Wish(**wish), claim=Claim(), at=clock.now())


def recall_when_told(version_id: str) -> dict:
    """Wait for a line, recall, and count at once what was handed out: nothing may be added to it afterwards."""
    admin = User.objects.filter(role="ADMIN", is_active=True).order_by("pk")[0]
    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    asked_at = time.time()
    stop = stops.recall_version(actor=admin, version_id=version_id, severity="stop_flash", reason=REASON, at=clock.now())
    committed_at = time.time()
    return {"stop": str(stop.pk), "asked_at": asked_at, "committed_at": committed_at, **_handed_out(version_id)}


def _handed_out(version_id: str) -> dict:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT (SELECT count(*) FROM marketplace_download WHERE version_id = %s AND outcome = 'GRANTED'),
                      (SELECT count(*) FROM marketplace_flashticket WHERE version_id = %s)""",
            [version_id, version_id],
        )
        grants, tickets = cursor.fetchone()
    return {"grants": grants, "tickets": tickets}


def say_who_knows(version_id: str) -> dict:
    """What the rows say of the newest stop of a version: who has it, who was told, when."""
    version = TuneVersion.objects.get(pk=version_id)
    stop = version.stops.order_by("-since")[0]
    reached = count_reached(stop)
    notices = Notice.objects.filter(dedupe_key=dedupe_key_of(stop.pk))
    moments = {
        name: sorted(moment.timestamp() for moment in notices.exclude(**{name: None}).values_list(name, flat=True))
        for name in ("created_at", "mailed_at", "pushed_at")
    }
    holders = list_holders(version.pk).values_list("pk", flat=True)
    handed_to = Download.objects.filter(version_id=version_id, outcome="GRANTED").values_list("buyer_id", flat=True)
    return {
        "reached": {"holders": reached.holders, "told": reached.told, "mailed": reached.mailed, "acknowledged": reached.acknowledged},
        "is_told_to_all": stop.told_at is not None,
        "untold": sorted(str(pk) for pk in {*handed_to, *holders} - set(notices.values_list("user_id", flat=True))),
        "moments": moments,
        "late_tickets": FlashTicket.objects.filter(version_id=version_id, issued_at__gt=stop.since).count(),
        **_handed_out(version_id),
    }


def main(name: str, *arguments: str) -> None:
    acts = {"crowd": lambda count: make_crowd(int(count)), "recall": recall_when_told, "report": say_who_knows}
    print("\n" + json.dumps(acts[name](*arguments)), flush=True)
