"""What the schedule's work for discovery costs where there is much of it: a million acts, a hundred thousand saved searches."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from core import clock
from garage.tests.factories import VehicleFactory, VehicleModelFactory
from marketplace.models import SavedSearchMatch, TrendRow
from marketplace.services.saved_searches import match_listing_changes, tell_matches
from marketplace.services.trending import WINDOW, refresh_trends
from marketplace.tests.factories import FavoriteFactory, PurchaseFactory, SavedSearchFactory, TuneFactory
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
SIZES = [pytest.param(1_000, id="small"), pytest.param(100_000, id="large", marks=pytest.mark.long)]


def copies(table: str, of, count: int, changed: str) -> None:
    """Rows like this one; `changed` makes a JSON object of what differs, from the number `n`."""
    key = of._meta.pk.column if len(of._meta.pk_fields) == 1 else "tune_id"
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica; SET LOCAL statement_timeout = 0")
        columns = [field.column for field in of._meta.concrete_fields if not field.generated]
        names = ", ".join(f'"{column}"' for column in columns)
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {', '.join(f'made.{name}' for name in columns)} FROM generate_series(1, %s) AS n,"
            f" {table} AS held, LATERAL jsonb_populate_record(NULL::{table}, to_jsonb(held) || {changed}) AS made WHERE held.{key} = %s",
            [count, getattr(of, key)],
        )
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
        cursor.execute(f"ANALYZE {table}")


def cpu_seconds() -> float:
    """What this connection's backend has worked: other work on the machine does not count."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def an_id(kind: int) -> str:
    return f"(lpad(to_hex({kind}), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))"


@pytest.mark.parametrize("size", SIZES)
def test_the_trend_of_ten_acts_for_each_rider(size, capsys):
    """`size` riders, ten acts of each on one of two thousand tunes: seconds at a million acts, and nothing to write again."""
    now = clock.now()
    rider, tune = UserFactory(), TuneFactory(published=True)
    tunes = min(2_000, size)
    copies("users_user", rider, size, f"jsonb_build_object('id', {an_id(1)}, 'email', 'r' || n || '@example.com')")
    copies("marketplace_tune", tune, tunes, f"jsonb_build_object('id', {an_id(2)})")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO marketplace_browserow SELECT (jsonb_populate_record(b, jsonb_build_object('tune_id', t.id))).*"
            " FROM marketplace_browserow b, marketplace_tune t WHERE b.tune_id = %s AND t.id <> %s",
            [tune.pk, tune.pk],
        )
        cursor.execute("ANALYZE marketplace_browserow")
    somebody = an_id(1).replace("to_hex(n)", f"to_hex(1 + n %% {size})")
    some_tune = an_id(2).replace("to_hex(n)", f"to_hex(1 + (n * 31 + n / {size}) %% {tunes})")
    at = f"'{(now - WINDOW).isoformat()}'::timestamptz + (n %% 4800000) * interval '1 second'"
    acts = f"jsonb_build_object('id', {an_id(3)}, 'user_id', {somebody}, 'tune_id', {some_tune}, 'created_at', {at})"
    copies("marketplace_favorite", FavoriteFactory(user=rider, tune=tune), 9 * size, acts)
    acts = (
        f"jsonb_build_object('id', {an_id(4)}, 'number', 'RS-' || upper(to_hex(n + 4194304)), 'buyer_id', {somebody},"
        f" 'tune_id', {some_tune}, 'paid_at', {at})"
    )
    copies("marketplace_purchase", PurchaseFactory(buyer=rider, tune=tune, paid=True), size, acts)

    before = cpu_seconds()
    written = refresh_trends(at=now)
    first = cpu_seconds() - before
    again = refresh_trends(at=now)
    second = cpu_seconds() - before - first

    with capsys.disabled():
        print(f"\n{10 * size} acts, {tunes} tunes: {written} rows in {first:.2f} s of the database's CPU, then {again} in {second:.2f} s")
    assert TrendRow.objects.filter(scope_id=TrendRow.EVERYTHING).count() == tunes
    assert again == 0
    assert first < 10 and second < 10, "a worker's statement has fifteen seconds"


@pytest.mark.parametrize("size", SIZES)
def test_one_publication_against_many_saved_searches(size, capsys):
    """Half of them for a vehicle, each another question; a quarter for the model below some price; a quarter for anything of a category."""
    now = clock.now()
    vehicle = VehicleFactory(with_ecu=True)
    rider = SavedSearchFactory().owner
    copies("users_user", rider, size, f"jsonb_build_object('id', {an_id(1)}, 'email', 'r' || n || '@example.com')")
    half, quarter = size // 2, size // 4
    owned = f"'owner_id', {an_id(1)}"
    copies(
        "garage_vehicle", vehicle, half,
        f"jsonb_build_object('id', {an_id(2)}, {owned}, 'stock_calibration_id', 'CAL-' || n, 'vin', NULL, 'vin_hash', NULL)",
    )  # fmt: skip
    model = VehicleModelFactory()
    for kind, count, query, facts in (
        (3, half, {}, f"'vehicle_id', {an_id(2)}"),
        (4, quarter, {"make": "Yamaha", "model": "MT-09"}, "'query', jsonb_build_object('currency', 'EUR', 'max_price_minor', n,"
         " 'make', 'Yamaha', 'model', 'MT-09')"),
        (5, quarter, {}, "'query', jsonb_build_object('category', CASE WHEN n %% 2 = 0 THEN 'TRACK' ELSE 'STAGE_1' END)"),
    ):  # fmt: skip
        search = SavedSearchFactory(owner=rider, query=query, notify=True, scope_id=model.pk if query else None)
        copies("marketplace_savedsearch", search, count, f"jsonb_build_object('id', {an_id(kind)}, {owned}, {facts})")
    TuneFactory(published=True, price_minor=quarter // 2)

    statements: list[str] = []

    def note(execute, sql, params, many, context):
        statements.append(sql)
        return execute(sql, params, many, context)

    before, started = cpu_seconds(), time.process_time()
    with connection.execute_wrapper(note):
        made = match_listing_changes(at=now)
    matched = cpu_seconds() - before + time.process_time() - started
    statements_to_match = len(statements)
    before, started = cpu_seconds(), time.process_time()
    told = tell_matches(at=now)
    telling = cpu_seconds() - before + time.process_time() - started

    with capsys.disabled():
        print(f"\n{size} saved searches: {made} matched in {matched:.2f} s of CPU by {statements_to_match} statements,", end=" ")
        print(f"{told} told in {telling:.2f} s")
    expected = half + (quarter - quarter // 2 + 1) + quarter // 2
    assert abs(made - expected) <= 5 and told == made == Notice.objects.filter(type="SAVED_SEARCH").count()
    assert SavedSearchMatch.objects.filter(told_at=None).count() == 0
    assert statements_to_match < 30 + size / 40, "one for a hundred different questions, not one for each search"
    assert matched < 3 + size / 1000 and telling < 3 + size / 200
    assert tell_matches(at=now + timedelta(hours=2)) == 0
