"""What a write costs with everything that lists and searches keep: over HTTP, and the upkeep alone in two ways.

The upkeep is done by triggers. What it would cost if services did it is measured on the same rows: the same statements, taken
from the function that the triggers call, sent one by one by the client with triggers off.
"""

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psutil

from benchmarks.load import Loader, Rider
from benchmarks.measure import Client, Meter, Request, cpu_seconds, get, send_json
from benchmarks.servers import APPLICATION, Servers

COUNT = 40
COPIES = """
CREATE TEMP TABLE bench_copy AS
SELECT t.id AS tune_id, v.id AS version_id, gen_random_uuid() AS id, gen_random_uuid() AS file_id, row_number() OVER (ORDER BY t.id) AS n
  FROM marketplace_tune t JOIN marketplace_tuneversion v ON v.id = t.latest_version_id
 WHERE t.tuner_id = pg_temp.bench_id(2, %(tuner)s) ORDER BY t.id LIMIT %(count)s;
INSERT INTO marketplace_tuneversion (id, version, status, changelog, change_summary, emissions_class, certification_number, blocked_regions, tags,
                                     requirements, required_part_keys, forbidden_part_keys, inspection_verdict, inspection_findings, inspected_at,
                                     submitted_at, review_reason, review_note, approved_sha256, revision, created_at, updated_at, tune_id)
SELECT c.id, '7.' || %(round)s || '.0', 'IN_REVIEW', v.changelog, '', v.emissions_class, '', '{}', v.tags, v.requirements, '{}', '{}', 'pass', '[]',
       now(), now(), '', '', '{}', 1, now(), now(), c.tune_id
  FROM bench_copy c JOIN marketplace_tuneversion v ON v.id = c.version_id;
INSERT INTO marketplace_tunefile (id, position, upload_id, name, size_bytes, sha256, format, image_base, image_size_bytes, image_sha256, storage_key,
                                  calibration_id_after, detected, inspection_findings, created_at, version_id)
SELECT c.file_id, 0, NULL, f.name, f.size_bytes, f.sha256, f.format, f.image_base, f.image_size_bytes, f.image_sha256, f.storage_key,
       f.calibration_id_after, '{}', '[]', now(), c.id
  FROM bench_copy c JOIN marketplace_tunefile f ON f.version_id = c.version_id AND f.position = 0;
INSERT INTO marketplace_fitment (id, position, make_name, model_name, year_from, year_to, markets, hardware_numbers, calibration_ids,
                                 image_size_bytes, live, make_id, model_id, tune_id, file_id, version_id)
SELECT gen_random_uuid(), f.position, f.make_name, f.model_name, f.year_from, f.year_to, f.markets, f.hardware_numbers, f.calibration_ids,
       f.image_size_bytes, false, f.make_id, f.model_id, c.tune_id, c.file_id, c.id
  FROM bench_copy c JOIN marketplace_tunefile o ON o.version_id = c.version_id AND o.position = 0 JOIN marketplace_fitment f ON f.file_id = o.id;
"""
SOLD = """
SELECT r, p.tuner_id, p.tune_id FROM generate_series(1, %(riders)s::bigint) AS r
  JOIN LATERAL (SELECT DISTINCT ON (tune_id) tuner_id, tune_id FROM marketplace_purchase WHERE buyer_id = pg_temp.bench_id(1, 2000000 + r)) p ON true
 WHERE NOT EXISTS (SELECT 1 FROM tuners_tunerreview w WHERE w.buyer_id = pg_temp.bench_id(1, 2000000 + r) AND w.tune_id = p.tune_id)
 ORDER BY p.tune_id, r LIMIT %(count)s
"""
HOT = """
SELECT t.id FROM marketplace_tune t WHERE t.tuner_id = pg_temp.bench_id(2, %(tuner)s) AND t.listed ORDER BY t.id LIMIT %(count)s
"""


@dataclass(frozen=True)
class Write:
    """One kind of write: medians of its cost."""

    name: str
    application_ms: float
    database_ms: float
    elapsed_ms: float
    slowest_ms: float
    wal_kilobytes: float
    count: int


@dataclass(frozen=True)
class Upkeep:
    """The upkeep of one change, by triggers or by the client's statements."""

    change: str
    way: str
    statements: int
    rows: int
    database_ms: float
    elapsed_ms: float


def measure_writes(servers: Servers, loader: Loader, token_of: Callable[[Rider], str]) -> list[Write]:
    """Price changes, reviews and purchases over HTTP; publications by the service that the admin calls."""
    client = Client(servers.ports[APPLICATION])
    client.send(get("meta/"))
    riders = loader.rides()
    token = tuner_token(loader, 1)
    hot = [row[0] for row in loader.rows(HOT, tuner=1, count=COUNT + 10)]
    prices = [send_json("PATCH", f"marketplace/tunes/{tune_id}/", {"price_minor": 17_700}, token=token) for tune_id in hot]
    reviews = [
        send_json("POST", f"tuners/{tuner_id}/reviews/", {"tune": str(tune_id), "rating": 5, "text": "As described."}, token=token_of(riders[r - 1]), status=201)
        for r, tuner_id, tune_id in loader.rows(SOLD, riders=len(riders), count=COUNT + 10)
    ]
    purchases = list(_purchases(client, loader, riders[: COUNT + 10], token_of))
    return [
        _over_http("price change", servers, loader, client, prices),
        _over_http("review", servers, loader, client, reviews),
        _over_http("purchase of a free tune", servers, loader, client, purchases),
        _publish(servers, loader),
    ]


def tuner_token(loader: Loader, tuner: int) -> str:
    """An access token of a tuner, on a session of its own."""
    from core import clock, tokens
    from tuners.models import TunerProfile
    from users.models import User, UserDevice

    ((tuner_id,),) = loader.rows("SELECT pg_temp.bench_id(2, %(tuner)s)", tuner=tuner)
    user_id = TunerProfile.objects.get(pk=tuner_id).user_id
    at = clock.now()
    User.objects.filter(pk=user_id).update(mfa_enabled_at=at)  # without it nobody publishes
    device, _ = UserDevice.objects.get_or_create(user_id=user_id, installation_id="bench", defaults={"expires_at": at + timedelta(days=30)})
    return tokens.mint_access(device, at=at)


def _purchases(client: Client, loader: Loader, riders: Sequence[Rider], token_of: Callable[[Rider], str]) -> Iterator[Request]:
    """A wish for each rider: the first free tune that fits their vehicle and that they don't have."""
    from core.meta import agreed_text
    from marketplace.models import Purchase

    attestation = {"text_version": agreed_text("attestation").version, "accepted": True}
    for rider in riders:
        owned = set(map(str, Purchase.objects.filter(buyer_id=rider.user_id).values_list("tune_id", flat=True)))
        page = json.loads(client.send(get("marketplace/tunes/", token=token_of(rider), vehicle=rider.vehicle_id, free="true")))
        for tune in page["results"]:
            if tune["id"] not in owned:
                body = {
                    "tune": tune["id"],
                    "vehicle": str(rider.vehicle_id),
                    "expected_price_minor": 0,
                    "currency": tune["currency"],
                    "attestation": attestation,
                    "acknowledged_reasons": sorted(reason["code"] for reason in tune["fitment"]["reasons"]),
                }
                yield send_json("POST", "marketplace/purchases/", body, token=token_of(rider), status=201)
                break


def _over_http(name: str, servers: Servers, loader: Loader, client: Client, requests: Sequence[Request]) -> Write:
    warm, measured = requests[:10], requests[10:]
    for request in warm:
        client.send(request)
    meter = Meter(servers, APPLICATION)
    meter.find_backends()
    elapsed, before, wal = [], meter.read(), _wal(loader)
    for request in measured:
        began = time.perf_counter()
        client.send(request)
        elapsed.append(1000 * (time.perf_counter() - began))
    after, written = meter.read(), _wal(loader) - wal
    application, database = (1000 * (now - then) / len(measured) for now, then in zip(after, before, strict=True))
    return Write(name, application, database, statistics.median(elapsed), max(elapsed), written / len(measured) / 1024, len(measured))


def _publish(servers: Servers, loader: Loader) -> Write:
    """In this process: publishing belongs to the admin. With the storage's and the signer's part."""
    from django.db import connection

    from core import clock
    from marketplace.models import TuneFile
    from marketplace.services.review import publish_tune_version
    from users.models import User

    reviewer = User.objects.get(email="person0@example.com")
    versions = _copies(loader, tuner=1, turn=0)
    hashes = {version_id: list(TuneFile.objects.filter(version_id=version_id).values_list("sha256", flat=True)) for version_id in versions}
    connection.ensure_connection()
    backend = psutil.Process(connection.connection.get_backend_pid())
    elapsed, own, theirs, wal = [], [], [], _wal(loader)
    for version_id in versions:
        before, began, then = cpu_seconds(backend), time.perf_counter(), time.process_time()
        publish_tune_version(version_id=version_id, reviewer=reviewer, approved_sha256=hashes[version_id], note="", at=clock.now())
        elapsed.append(1000 * (time.perf_counter() - began))
        own.append(1000 * (time.process_time() - then))
        theirs.append(1000 * (cpu_seconds(backend) - before))
    written = (_wal(loader) - wal) / len(versions) / 1024
    return Write(
        "publication of a version", statistics.median(own), statistics.median(theirs), statistics.median(elapsed), max(elapsed), written, len(versions)
    )


def _copies(loader: Loader, *, tuner: int, turn: int) -> list[UUID]:
    """New versions in review of a tuner's tunes, with a file and its fitments."""
    loader.execute("DROP TABLE IF EXISTS bench_copy")
    loader.execute(COPIES, tuner=tuner, count=COUNT, round=turn)
    return [row[0] for row in loader.rows("SELECT id FROM bench_copy ORDER BY n")]


def _wal(loader: Loader) -> int:
    return int(loader.rows("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])


# Triggers or services

PRICE = "UPDATE marketplace_tune SET price_minor = price_minor + 100 WHERE id = ANY(%(ids)s::uuid[])"
RATING = "UPDATE marketplace_tune SET rating_sum = rating_sum + 5, rating_count = rating_count + 1 WHERE id = ANY(%(ids)s::uuid[])"
FIGURES = """
UPDATE marketplace_browserow AS held SET price_minor = t.price_minor, rating_milli = t.rating_milli, rating_score = t.rating_score
  FROM marketplace_tune t WHERE held.tune_id = ANY(%(ids)s::uuid[]) AND t.id = held.tune_id
"""
PUBLISH = """
UPDATE marketplace_tuneversion SET status = 'PUBLISHED', published_at = now(), decided_at = now(), reviewer_id = pg_temp.bench_id(1, 0),
       release_counter = 900000 + (SELECT count(*) FROM marketplace_tuneversion o WHERE o.tune_id = marketplace_tuneversion.tune_id)
 WHERE tune_id = ANY(%(ids)s::uuid[]) AND status = 'IN_REVIEW'
"""
REFRESH = "SELECT marketplace_refresh_tunes(%(ids)s::uuid[])"


def compare_upkeep(loader: Loader) -> list[Upkeep]:
    """Each change on the same kind of rows: by triggers, by one call of the function, by its statements from the client."""
    hot = [row[0] for row in loader.rows(HOT, tuner=2, count=COUNT)]
    many = [row[0] for row in loader.rows("SELECT id FROM marketplace_tune WHERE listed ORDER BY popularity DESC, id DESC LIMIT 1000")]
    parts = statements_of(loader, "marketplace_refresh_tunes")
    found = []
    for change, sql, more in (("price change", PRICE, [FIGURES]), ("rating", RATING, [FIGURES])):
        found.append(_time(loader, change, "triggers", [sql], [[one] for one in hot], triggers=True))
        found.append(_time(loader, change, "statements of the service", [sql, *more], [[one] for one in hot], triggers=False))
        found.append(_time(loader, f"{change}, {len(many):,} tunes at once", "triggers", [sql], [many] * 3, triggers=True))
        found.append(_time(loader, f"{change}, {len(many):,} tunes at once", "statements of the service", [sql, *more], [many] * 3, triggers=False))
    for turn, (way, statements, triggers) in enumerate(
        [("triggers", [PUBLISH], True), ("one call of the service", [PUBLISH, REFRESH], False), ("statements of the service", [PUBLISH, *parts], False)]
    ):
        _copies(loader, tuner=2, turn=turn + 1)
        tunes = [[row[0]] for row in loader.rows("SELECT tune_id FROM bench_copy ORDER BY n")]
        found.append(_time(loader, "publication", way, statements, tunes, triggers=triggers))
    return found


def statements_of(loader: Loader, function: str) -> list[str]:
    """The statements that a function of ours consists of, those of functions that it calls in their place."""
    ((body,),) = loader.rows("SELECT prosrc FROM pg_proc WHERE proname = %(name)s", name=function)
    body = re.sub(r"--[^\n]*", "", body)
    assert "DECLARE" not in body, f"{function} has variables: it can't be taken apart"
    inner = body[body.index("BEGIN") + len("BEGIN") : body.rindex("END")]
    found: list[str] = []
    for statement in filter(None, (part.strip() for part in inner.split(";"))):
        if called := re.fullmatch(r"PERFORM (\w+)\(ids\)", statement):
            found += statements_of(loader, called[1])
        else:
            found.append(re.sub(r"\bids\b", "%(ids)s::uuid[]", statement.replace("%", "%%")))
    return found


def _time(loader: Loader, change: str, way: str, statements: Sequence[str], sets: Sequence[Sequence[Any]], *, triggers: bool) -> Upkeep:
    """Each set of tunes in a transaction of its own, on one connection, whose processor time is counted."""
    connection = loader.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET session_replication_role = {'origin' if triggers else 'replica'}; {loader.functions}")
            backend = psutil.Process(connection.info.backend_pid)
            spent, elapsed = [], []
            for ids in sets:
                before, began = cpu_seconds(backend), time.perf_counter()
                cursor.execute("BEGIN")
                for statement in statements:
                    cursor.execute(statement, {"ids": [str(one) for one in ids]})
                cursor.execute("COMMIT")
                elapsed.append(1000 * (time.perf_counter() - began))
                spent.append(1000 * (cpu_seconds(backend) - before))
    finally:
        connection.close()
    return Upkeep(change, way, len(statements), len(sets[0]), statistics.median(spent), statistics.median(elapsed))
