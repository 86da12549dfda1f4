"""The lists of purchases and sales: shape, paging, synchronising, query counts."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils.dateparse import parse_datetime

from core import clock
from core.testing.http import ApiClient, client_for
from marketplace.enums import LicenseState
from marketplace.models import GrantedPurchase, License, Purchase
from marketplace.serializers.purchasing import PurchaseOutput, SaleOutput, SalesSummaryOutput
from marketplace.services import settlement
from marketplace.tests.factories import LicenseFactory, PaymentAttemptFactory, PurchaseFactory, TuneFactory
from marketplace.tests.purchasing import PURCHASES
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
SALES = "marketplace/sales/"


def keys_of(serializer) -> dict:
    """The members that a serializer declares, nested ones too."""
    return {
        name: keys_of(getattr(field, "child", field)) if hasattr(getattr(field, "child", field), "fields") else None
        for name, field in serializer.fields.items()
    }


def keys_in(body) -> dict:
    return {name: keys_in(value) if isinstance(value, dict) else None for name, value in body.items()}


class TestMyPurchases:
    @pytest.mark.parametrize("count", [1, 20])
    def test_takes_three_queries_however_many(self, count):
        rider = UserFactory()
        tune = TuneFactory(published=True)
        for _ in range(count):
            PurchaseFactory(paid=True, buyer=rider, tune=tune)
        client = client_for(rider)
        client.get(PURCHASES)

        with CaptureQueriesContext(connection) as queries:
            answer = client.get(PURCHASES)

        assert len(answer.json()["results"]) == count
        assert len(queries) == 3  # session, synced_until, page

    def test_answers_what_its_schema_declares(self):
        pending = PaymentAttemptFactory(open=True).purchase
        paid = LicenseFactory(bound=True, purchase__buyer=pending.buyer).purchase

        rows = {row["id"]: row for row in client_for(pending.buyer).get(PURCHASES).json()["results"]}

        declared = keys_of(PurchaseOutput())
        assert keys_in(rows[str(pending.pk)]) | {"license": declared["license"]} == declared
        assert keys_in(rows[str(paid.pk)]) | {"payment": declared["payment"]} == declared
        assert (rows[str(pending.pk)]["license"], rows[str(paid.pk)]["payment"]) == (None, None)
        assert client_for(paid.buyer).get(f"{PURCHASES}{paid.pk}/").json() == rows[str(paid.pk)]

    def test_shows_only_ones_own_newest_first(self):
        rider, at = UserFactory(), clock.now()
        made = [PurchaseFactory(paid=True, buyer=rider, created_at=at - timedelta(days=age)) for age in (3, 1, 2)]
        PurchaseFactory(paid=True)

        rows = client_for(rider).get(PURCHASES).json()["results"]

        assert [row["number"] for row in rows] == [made[1].number, made[2].number, made[0].number]

    def test_pages_meet_each_row_once_even_with_equal_times(self):
        rider, at, tune = UserFactory(), clock.now(), TuneFactory(published=True)
        made = {str(PurchaseFactory(paid=True, buyer=rider, tune=tune, created_at=at).pk) for _ in range(7)}
        client, seen, url = client_for(rider), [], f"{PURCHASES}?page_size=3"

        while url:
            page = client.get(url).json()
            seen += [row["id"] for row in page["results"]]
            url = page["next"]

        assert (len(seen), set(seen)) == (7, made)

    def test_a_cursor_of_another_list_is_refused(self):
        rider, tune = UserFactory(), TuneFactory(published=True)
        for _ in range(2):
            PurchaseFactory(paid=True, buyer=rider, tune=tune)
        cursor = client_for(rider).get(f"{PURCHASES}?page_size=1").json()["next"].split("cursor=")[1].split("&")[0]

        answers = [
            client_for(rider).get(f"{PURCHASES}?page_size=1&status=PAID&cursor={cursor}"),
            client_for(UserFactory()).get(f"{PURCHASES}?page_size=1&cursor={cursor}"),
            client_for(rider).get(f"{PURCHASES}?cursor=x"),
        ]

        assert [answer.json()["errors"][0]["parameter"] for answer in answers] == ["cursor"] * 3

    @pytest.mark.parametrize(
        "query", ["status=SOLD", "page_size=0", "page_size=101", "updated_since=yesterday", "buyer=1", "ordering=price"]
    )
    def test_a_bad_parameter_is_named(self, query):
        answer = client_for(UserFactory()).get(f"{PURCHASES}?{query}")

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, query.partition("=")[0])

    def test_needs_somebody_signed_in(self):
        assert ApiClient().get(PURCHASES).status_code == 401


class TestRefundableUntil:
    def test_is_fourteen_days_after_payment(self):
        purchase = PurchaseFactory(paid=True)

        row = client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/").json()

        assert parse_datetime(row["refundable_until"]) == purchase.paid_at + timedelta(days=14)

    def test_ends_with_the_first_download(self):
        purchase = PurchaseFactory(paid=True)
        GrantedPurchase.objects.create(purchase=purchase, granted_at=clock.now())

        assert client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/").json()["refundable_until"] is None

    @pytest.mark.parametrize("state", ["free", "refunded", "disputed", "canceled"])
    def test_is_null_where_nothing_can_be_given_back_at_once(self, state):
        purchase = PurchaseFactory(**{state: True})

        assert client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/").json()["refundable_until"] is None


@pytest.mark.django_db(transaction=True)
class TestUpdatedSince:
    def test_finds_what_changed_on_the_purchase_or_its_license(self):
        rider, tune = UserFactory(), TuneFactory(published=True)
        old, canceled = (PurchaseFactory(buyer=rider, tune=tune) for _ in range(2))
        bound = LicenseFactory(purchase__buyer=rider, purchase__tune=tune).purchase
        before = datetime.now(UTC) - timedelta(days=30)
        with connection.cursor() as cursor:  # as if all this were a month old
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("UPDATE marketplace_purchase SET updated_at = %s", [before])
            cursor.execute("UPDATE marketplace_license SET updated_at = %s", [before])
            cursor.execute("SET session_replication_role = DEFAULT")
        client = client_for(rider)
        since = client.get(PURCHASES).json()["synced_until"]
        License.objects.update(state=LicenseState.BOUND, vehicle_id=uuid.uuid4(), bound_at=clock.now())
        Purchase.objects.filter(pk=canceled.pk).update(status="CANCELED", closed_at=clock.now())

        changed = client.get(f"{PURCHASES}?updated_since={since}").json()

        assert {row["id"]: row["status"] for row in changed["results"]} == {str(bound.pk): "PAID", str(canceled.pk): "CANCELED"}
        assert str(old.pk) not in {row["id"] for row in changed["results"]}
        assert changed["synced_until"] >= since

    def test_misses_nothing_that_commits_late(self):
        purchase = PurchaseFactory()
        client = client_for(purchase.buyer)

        class Late:
            """Another connection that writes before we look and commits after."""

            def __enter__(self):
                self.connection = connection.copy()
                self.connection.set_autocommit(False)
                with self.connection.cursor() as cursor:
                    cursor.execute("UPDATE marketplace_purchase SET status = 'CANCELED', closed_at = now() WHERE id = %s", [purchase.pk])

            def __exit__(self, *args):
                self.connection.commit()
                self.connection.close()

        with Late():
            looked = client.get(PURCHASES).json()
        then = client.get(f"{PURCHASES}?updated_since={looked['synced_until']}").json()

        assert looked["results"][0]["status"] == "PENDING"
        assert [row["status"] for row in then["results"]] == ["CANCELED"]

    def test_the_time_is_the_databases_whoever_writes(self):
        purchase = PurchaseFactory()

        with transaction.atomic():
            Purchase.objects.filter(pk=purchase.pk).update(
                status="CANCELED", closed_at=clock.now(), updated_at=datetime(2020, 1, 1, tzinfo=UTC)
            )

        recent = clock.now() - timedelta(minutes=1)
        assert Purchase.objects.filter(pk=purchase.pk, updated_at__lte=Now(), updated_at__gt=recent).exists()


class TestSales:
    def sell(self, tune, *, at=None, country="", **facts):
        purchase = PurchaseFactory(paid=True, tune=tune, created_at=at or clock.now(), tax_country=country, **facts)
        if purchase.amount_minor:
            settlement.book_sale(purchase=purchase, at=purchase.paid_at)
        return purchase

    @pytest.mark.parametrize("count", [1, 20])
    def test_takes_two_queries_however_many(self, count):
        tune = TuneFactory(published=True)
        for _ in range(count):
            PurchaseFactory(paid=True, tune=tune)
        client = client_for(tune.tuner.user)

        with CaptureQueriesContext(connection) as queries:
            rows = client.get(SALES).json()["results"]

        assert (len(rows), len(queries)) == (count, 2)  # session, page

    def test_lists_ones_own_sales_without_the_buyer(self):
        tune = TuneFactory(published=True)
        sold = self.sell(tune)
        self.sell(TuneFactory(published=True))
        PurchaseFactory(tune=tune)

        answer = client_for(tune.tuner.user).get(SALES)

        rows = answer.json()["results"]
        assert [row["purchase"] for row in rows] == [str(sold.pk)]
        assert keys_in(rows[0]) == keys_of(SaleOutput())
        assert (rows[0]["amount_minor"], rows[0]["fee_minor"], rows[0]["net_minor"]) == (14900, 2235, 12665)
        assert sold.buyer.email not in answer.content.decode() and str(sold.buyer_id) not in answer.content.decode()

    def test_a_suspended_tuner_still_reads_them(self):
        profile = TunerProfileFactory(suspended=True)
        purchase = PurchaseFactory(paid=True, tune=TuneFactory(tuner=profile))

        assert client_for(profile.user).get(SALES).json()["results"][0]["number"] == purchase.number

    @pytest.mark.parametrize("path", [SALES, f"{SALES}summary/"])
    def test_a_rider_has_none(self, path):
        assert client_for(UserFactory()).get(path).status_code == 403

    def test_summary_adds_up_by_day_tune_and_country(self):
        tuner = TunerProfileFactory()
        a, b = TuneFactory(published=True, tuner=tuner), TuneFactory(published=True, tuner=tuner, price_minor=9999)
        free = TuneFactory(published=True, tuner=tuner, free=True)
        first, second = datetime(2026, 5, 1, 23, 59, tzinfo=UTC), datetime(2026, 5, 2, 0, 1, tzinfo=UTC)
        self.sell(a, at=first, country="DE")
        self.sell(a, at=second, country="FR")
        self.sell(b, at=second)
        self.sell(free, at=second, country="FR")
        self.sell(TuneFactory(published=True), at=second)
        self.sell(TuneFactory(published=True, tuner=tuner, currency="USD"), at=second)
        client = client_for(tuner.user)

        def summary(by):
            body = client.get(f"{SALES}summary/?from=2026-05-01&to=2026-05-02&currency=EUR&by={by}").json()
            figures = ("sales", "gross_minor", "fee_minor", "net_minor")
            return body["total"], {row["key"]: tuple(row[name] for name in figures) for row in body["rows"]}

        total, days = summary("day")
        assert total == {"sales": 4, "gross_minor": 39799, "tax_minor": 0, "fee_minor": 5970, "refunded_minor": 0, "net_minor": 33829}
        assert days == {"2026-05-01": (1, 14900, 2235, 12665), "2026-05-02": (3, 24899, 3735, 21164)}
        assert summary("tune")[1] == {str(a.pk): (2, 29800, 4470, 25330), str(b.pk): (1, 9999, 1500, 8499), str(free.pk): (1, 0, 0, 0)}
        assert summary("country")[1] == {"DE": (1, 14900, 2235, 12665), "FR": (2, 14900, 2235, 12665), None: (1, 9999, 1500, 8499)}

    def test_summary_defaults_to_the_last_thirty_days_in_the_currency_of_the_newest_sale(self):
        tune = TuneFactory(published=True, currency="GBP")
        self.sell(tune)

        with CaptureQueriesContext(connection) as queries:
            body = client_for(tune.tuner.user).get(f"{SALES}summary/").json()

        assert (body["currency"], body["by"], body["total"]["sales"]) == ("GBP", "day", 1)
        assert keys_in(body) == keys_of(SalesSummaryOutput()) | {"rows": None}
        assert sum("marketplace_" in query["sql"] and "SELECT" in query["sql"] for query in queries) == 2

    @pytest.mark.parametrize("query", ["by=month", "from=x", "currency=eur", "from=2026-02-01&to=2026-01-01", "page=1"])
    def test_summary_names_a_bad_parameter(self, query):
        answer = client_for(TunerProfileFactory().user).get(f"{SALES}summary/?{query}")

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, query.partition("=")[0])
