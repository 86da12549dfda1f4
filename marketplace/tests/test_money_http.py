"""What tuners see of their money, and the documents that a link opens, over HTTP."""

import csv
import io
import re
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import clock
from core.ids import new_id
from core.testing.http import ApiClient, client_for
from marketplace import documents, statements, tax
from marketplace.enums import LedgerCause
from marketplace.models import LedgerEntry, LedgerSet, Payout, PayoutAccount, Purchase
from marketplace.serializers import payouts as shapes
from marketplace.services import books, payouts, settlement
from marketplace.tax import TaxQuote
from marketplace.tests.factories import PayoutFactory, PurchaseFactory, RefundFactory, TuneFactory
from marketplace.tests.money import fund, give_back, payable, sell
from marketplace.tests.purchasing import PURCHASES, buy, intent_of, rider_with_bike
from marketplace.tests.test_purchase_lists import keys_in, keys_of
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

ACCOUNT, BALANCE = "tuners/me/payout-account/", "marketplace/balance/"
PAYOUTS, STATEMENTS = "marketplace/payouts/", "marketplace/statements/"


def stepped_up(user) -> ApiClient:
    return client_for(user, step_up=True)


def opened(url: str):
    """What a browser gets that has nothing but the link."""
    return Client().get(re.sub(r"^https?://[^/]+", "", url))


def read_csv(response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.content.decode())))


class TestPayoutAccount:
    def test_from_nothing_to_being_paid(self, payments):
        tuner = TunerProfileFactory()
        client = stepped_up(tuner.user)
        before = client.get(ACCOUNT).json()
        assert (before["state"], before["payout_blockers"]) == (None, ["payout_account_required"])

        answer = client.post(ACCOUNT)
        assert answer.status_code == 200
        assert keys_in(answer.json()) == keys_of(shapes.OnboardingOutput())
        assert answer.json()["payout_blockers"] == ["payout_account_incomplete"]
        assert payments.onboard(answer.json()["onboarding_url"], "complete").endswith("/payouts/return")
        after = client.post(ACCOUNT).json()
        assert (after["state"], after["payout_blockers"], after["disabled_reason"]) == ("ACTIVE", [], None)
        assert keys_in(client.get(ACCOUNT).json()) == keys_of(shapes.PayoutAccountOutput())
        url = answer.json()["onboarding_url"].encode()
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(string_agg(a::text, ''), '') FROM marketplace_payoutaccount a")
            assert url not in cursor.fetchone()[0].encode()

    def test_is_refused_without_the_second_factor_and_says_so_before(self, payments):
        tuner = TunerProfileFactory(user__mfa=False)
        client = stepped_up(tuner.user)
        assert client.get(ACCOUNT).json()["payout_blockers"][0] == "mfa_required"
        answer = client.post(ACCOUNT)
        assert (answer.status_code, answer.json()["code"]) == (409, "mfa_not_enabled")
        assert not PayoutAccount.objects.exists()

    def test_where_the_provider_opens_none(self, payments):
        answer = stepped_up(TunerProfileFactory(country="zz").user).post(ACCOUNT)
        assert (answer.status_code, answer.json()["code"]) == (409, "payout_country_unsupported")

    def test_while_the_provider_is_down(self, payments):
        payments.switch("faults", mode="down", times=None)
        answer = stepped_up(TunerProfileFactory().user).post(ACCOUNT)
        assert (answer.status_code, answer.json()["service"]) == (503, "payments")
        assert int(answer.headers["Retry-After"]) > 0

    def test_a_suspended_tuner_reads_only(self):
        client = stepped_up(TunerProfileFactory(suspended=True).user)
        assert client.get(ACCOUNT).status_code == 200
        assert client.post(ACCOUNT).json()["code"] == "tuner_suspended"


class TestBalance:
    def test_answers_what_its_schema_declares_in_five_queries(self):
        tuner = TunerProfileFactory()
        tune = TuneFactory(published=True, tuner=tuner)
        client = client_for(tuner.user)
        for count in (1, 19):
            for _ in range(count):
                sell(tune)
            with CaptureQueriesContext(connection) as queries:
                answer = client.get(f"{BALANCE}?currency=EUR")
            assert len(queries) == 5  # session, profile, sums, account, page
        body = answer.json()
        declared = keys_of(shapes.BalanceOutput())
        assert dict.fromkeys(body) == dict.fromkeys(declared)
        assert keys_in(body["entries"]["results"][0]) == keys_of(shapes.CentsOutput())
        assert (body["available_minor"], len(body["entries"]["results"])) == (20 * 8_500, 20)

    def test_walks_every_cent_once_even_with_equal_times(self):
        tuner = TunerProfileFactory()
        tune = TuneFactory(published=True, tuner=tuner)
        for _ in range(7):
            give_back(sell(tune), 1_000)
        client, seen, url = client_for(tuner.user), [], f"{BALANCE}?page_size=3"
        while url:
            page = client.get(url).json()["entries"]
            seen += page["results"]
            url = page["next"] and page["next"].split("/api/v1/")[1]
        assert len({row["id"] for row in seen}) == len(seen) == 14
        assert sum(row["amount_minor"] for row in seen) == 7 * 8_500
        clawed = client.get(f"{BALANCE}?state=CLAWED_BACK").json()["entries"]["results"]
        assert [row["amount_minor"] for row in clawed] == [850] * 7
        assert {row["cause"]["type"] for row in clawed} == {"REFUND"}

    @pytest.mark.parametrize("query", ["state=GONE", "currency=euro", "cursor=x", "page_size=0", "tuner=1"])
    def test_bad_input(self, query):
        assert client_for(TunerProfileFactory().user).get(f"{BALANCE}?{query}").status_code == 400

    def test_says_why_nothing_comes(self):
        tuner = TunerProfileFactory(user__mfa=False, suspended=True)
        body = client_for(tuner.user).get(BALANCE).json()
        assert body["payout_blockers"] == ["mfa_required", "tuner_suspended", "payout_account_required"]
        assert (body["next_payout_at"], body["available_minor"], body["currency"]) == (None, 0, "EUR")

    def test_riders_have_none(self):
        assert client_for(UserFactory()).get(BALANCE).status_code == 403


class TestPayouts:
    def test_the_list_is_ones_own_with_constant_queries(self):
        payout = PayoutFactory(paid=True)
        PayoutFactory(paid=True)
        client = client_for(payout.tuner.user)
        for count in (1, 20):
            while Payout.objects.filter(tuner=payout.tuner).count() < count:
                PayoutFactory(account=payout.account, failed=True)
            with CaptureQueriesContext(connection) as queries:
                rows = client.get(PAYOUTS).json()["results"]
            assert (len(rows), len(queries)) == (count, 3)
        assert keys_in(rows[0]) == keys_of(shapes.PayoutOutput())
        assert {row["status"] for row in client.get(f"{PAYOUTS}?status=FAILED").json()["results"]} == {"FAILED"}
        assert client.get(f"{PAYOUTS}?currency=USD").json()["results"] == []

    def test_somebody_elses_is_missing(self):
        client = client_for(TunerProfileFactory().user)
        assert client.get(f"{PAYOUTS}{PayoutFactory(paid=True).pk}/").json()["code"] == "not_found"

    def test_its_statement_adds_up_to_it(self, payments):
        fund(payments)
        tuner, sales = payable(payments, sales=3)
        give_back(sales[0], 2_000)
        payouts.make_payouts(at=clock.now())
        row = client_for(tuner.user).get(PAYOUTS).json()["results"][0]
        lines = read_csv(opened(row["statement_url"]))
        assert sum(int(line["share_minor"]) for line in lines if line["cause"] != "PAYOUT") == row["amount_minor"] == 3 * 8_500 - 1_700
        assert sum(int(line["share_minor"]) for line in lines) == 0
        assert {line["payout"] for line in lines} == {row["id"]}


class TestStatements:
    def test_a_month_adds_up_to_the_ledger(self, payments):
        fund(payments)
        tuner, sales = payable(payments, sales=3)
        sell(TuneFactory(published=True, tuner=tuner, currency="JPY", price_minor=4_900), amount_minor=4_900, ago=timedelta(days=41))
        give_back(sales[0], 2_000)
        give_back(sales[1], 10_000)
        payouts.make_payouts(at=clock.now())
        found = {}
        for month in client_for(tuner.user).get(STATEMENTS).json()["results"]:
            lines = [line for line in read_csv(opened(month["statement_url"])) if line["currency"] == month["currency"]]
            for line in lines:
                parts = sum(int(line[name]) for name in ("tax_minor", "fee_minor", "share_minor"))
                assert int(line["gross_minor"]) == (0 if line["cause"] == "PAYOUT" else parts)
                found[line["currency"]] = found.get(line["currency"], 0) + int(line["share_minor"])
            shares = [int(line["share_minor"]) for line in lines if not line["cause"].startswith("PAYOUT")]
            paid = [-int(line["share_minor"]) for line in lines if line["cause"].startswith("PAYOUT")]
            assert (sum(shares), sum(paid)) == (month["share_minor"], month["paid_out_minor"])
        ledger = {}
        for currency, amount in LedgerEntry.objects.filter(tuner=tuner, account="TUNER").values_list("currency", "amount_minor"):
            ledger[currency] = ledger.get(currency, 0) + amount
        assert found == ledger
        assert ledger["JPY"] == 4_165

    def test_no_text_is_a_formula(self):
        tuner = TunerProfileFactory()
        titles = ["=HYPERLINK(\"http://evil\",\"x\")", "+1", "-1+1", "@SUM(A1)", "Stage 1, \"hot\"", "\t=1"]
        for title in titles:
            sell(TuneFactory(published=True, tuner=tuner, title=title))
        month = client_for(tuner.user).get(STATEMENTS).json()["results"][0]
        response = opened(month["statement_url"])
        found = [line["tune"] for line in read_csv(response)]
        assert sorted(found) == sorted(title if title.startswith("Stage") else f"'{title}" for title in titles)
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert response["Content-Disposition"].startswith("attachment;")
        assert (response["Cache-Control"], response["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert "\n" not in statements.to_csv([("=a\nb",)]).splitlines()[1]

    def test_a_link_opens_for_ten_minutes_and_for_nothing_else(self, monkeypatch):
        tuner = TunerProfileFactory()
        sell(TuneFactory(published=True, tuner=tuner))
        url = client_for(tuner.user).get(STATEMENTS).json()["results"][0]["statement_url"]
        assert opened(url).status_code == 200
        assert opened(url[:-3] + "abc").status_code == 404
        assert opened(url.rsplit("/", 1)[0] + "/nothing").status_code == 404
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 601)
        late = opened(url)
        assert (late.status_code, "too old" in late.content.decode()) == (404, True)

    @pytest.mark.parametrize(("trouble", "status"), [(OperationalError("gone"), 503), (RuntimeError("a bug"), 500)])
    def test_a_link_stands_in_no_log_even_when_it_could_not_be_opened(self, leak_watch, trouble, status):
        def broken(*_):
            raise trouble

        url = documents.link_to("statement", owner_id=TunerProfileFactory().user_id, name="2026-10")
        seen = leak_watch.seen
        with connection.execute_wrapper(broken):  # the database's edge
            answer = Client(raise_request_exception=False).get(re.sub(r"^https?://[^/]+", "", url))
        assert (answer.status_code, leak_watch.take()) == (status, [])
        assert leak_watch.seen > seen

    def test_of_a_month_in_which_nothing_moved(self):
        tuner = TunerProfileFactory()
        for name in ("2020-01", "2020-13", "x", PayoutFactory(paid=True).pk):
            assert opened(documents.link_to("statement", owner_id=tuner.user_id, name=name)).status_code == 404


class TestSummary:
    def test_counts_disputes_as_the_books_do(self):
        tuner = TunerProfileFactory()
        tune = TuneFactory(published=True, tuner=tuner)
        won, lost, refunded = (sell(tune, ago=timedelta(days=5)) for _ in range(3))
        at = clock.now()
        for purchase, ends in ((won, "won"), (lost, "lost")):
            dispute_id = new_id()
            books.book_dispute_opened(purchase=purchase, dispute_id=dispute_id, amount_minor=10_000, fee_minor=1_500, at=at)
            getattr(books, f"book_dispute_{ends}")(purchase=purchase, dispute_id=dispute_id, amount_minor=10_000, at=at)
        refund = give_back(refunded, 4_000)
        books.book_refund_failed(purchase=refunded, refund_id=refund.cause_id, amount_minor=4_000, at=at)

        total = client_for(tuner.user).get("marketplace/sales/summary/?by=tune").json()["total"]
        assert (total["sales"], total["gross_minor"], total["refunded_minor"]) == (3, 30_000, 14_000)
        assert total["gross_minor"] - total["refunded_minor"] == total["tax_minor"] + total["fee_minor"] + total["net_minor"]
        assert total["net_minor"] == sum(LedgerEntry.objects.filter(tuner=tuner).values_list("amount_minor", flat=True))


class InclusiveVat:
    """What an engine does that knows one rule: 19 % are contained in what Germans pay."""

    def quote(self, *, amount_minor, currency, buyer_country, seller_country):
        if buyer_country != "DE":
            return TaxQuote(country=buyer_country)
        return TaxQuote(tax_minor=amount_minor - round(amount_minor * 100 / 119), rate_basis_points=1_900, country="DE")


class TestTax:
    def test_another_engine_works_from_sale_to_refund(self, payments, monkeypatch):
        monkeypatch.setattr(tax, "engine", InclusiveVat())
        client, bike = rider_with_bike()
        profile = bike.owner.profile
        type(profile).objects.filter(pk=profile.pk).update(country="DE")
        bought = buy(client, TuneFactory(published=True, price_minor=11_900), bike).json()
        payments.choose(intent_of(bought), "succeed")
        purchase = settlement.settle_purchase(purchase_id=bought["id"], at=clock.now())

        assert (bought["tax_minor"], purchase.tax_rate_basis_points, purchase.tax_country) == (1_900, 1_900, "DE")
        assert purchase.fee_minor == 1_500, "the platform's fee is of the price without tax"
        booked = LedgerSet.objects.get(cause=LedgerCause.SALE)
        assert (booked.tax_minor, booked.tax_rate_basis_points, booked.tax_country) == (1_900, 1_900, "DE")
        receipt = client.get(f"{PURCHASES}{purchase.pk}/receipt/").json()
        assert (receipt["net_of_tax_minor"], receipt["tax_minor"], receipt["tax_country"]) == (10_000, 1_900, "DE")
        page = opened(receipt["html_url"]).content.decode()
        assert "Tax 19 %, DE" in page
        assert "19.00 EUR" in page

        key = {"HTTP_IDEMPOTENCY_KEY": "back"}
        assert client.post(f"{PURCHASES}{purchase.pk}/refunds/", {}, **key).status_code == 201
        back = LedgerSet.objects.get(cause=LedgerCause.REFUND)
        assert (back.tax_minor, back.tax_rate_basis_points, back.tax_country) == (-1_900, 1_900, "DE")
        assert sum(LedgerEntry.objects.filter(account="TAX_PAYABLE").values_list("amount_minor", flat=True)) == 0

    def test_none_is_the_default(self):
        quote = tax.NoTax().quote(amount_minor=100, currency="EUR", buyer_country="FR", seller_country="DE")
        assert quote == TaxQuote(0, 0, "FR")
        assert isinstance(tax.engine, tax.NoTax)


class TestReceipt:
    def test_says_what_a_rider_may_need(self, settings):
        settings.PLATFORM_ADDRESS, settings.PLATFORM_TAX_ID = "Main Street 1\n10115 Berlin", "DE123456789"
        purchase = PurchaseFactory(paid=True)
        RefundFactory(purchase=purchase, amount_minor=1_000, reserved_at=clock.now())
        receipt = client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/receipt/").json()
        assert receipt["platform"] == {"name": "RevSync", "address": "Main Street 1\n10115 Berlin", "tax_id": "DE123456789"}
        assert [(row["amount_minor"], row["status"]) for row in receipt["refunds"]] == [(1_000, "PENDING")]
        page = opened(receipt["html_url"]).content.decode()
        for word in (purchase.number, purchase.seller_name, "10115 Berlin", "DE123456789", "149.00 EUR", "−10.00 EUR"):
            assert word in page

    def test_the_page_is_plain_and_nothing_in_it_is_markup(self):
        purchase = PurchaseFactory(paid=True)
        evil = "<script>alert(1)</script>\"'&"
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            Purchase.objects.filter(pk=purchase.pk).update(tune_title=evil, seller_name=evil, vehicle_name=evil)
            cursor.execute("SET session_replication_role = DEFAULT")
        type(purchase.buyer).objects.filter(pk=purchase.buyer_id).update(display_name=evil)
        receipt = client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/receipt/").json()
        response = opened(receipt["html_url"])
        page = response.content.decode()
        assert "<script" not in page
        assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 4
        assert "script-src 'self'" in response["Content-Security-Policy"] or "default-src 'none'" in response["Content-Security-Policy"]
        assert "style=" not in page
        assert (response["Cache-Control"], response["Referrer-Policy"]) == ("no-store", "no-referrer")

    def test_the_link_dies_with_the_account(self):
        purchase = PurchaseFactory(paid=True)
        url = client_for(purchase.buyer).get(f"{PURCHASES}{purchase.pk}/receipt/").json()["html_url"]
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            type(purchase.buyer).objects.filter(pk=purchase.buyer_id).update(deleted_at=clock.now(), is_active=False)
            cursor.execute("SET session_replication_role = DEFAULT")
        assert opened(url).status_code == 404

    def test_the_way_back_from_onboarding(self):
        assert "back to the app" in Client().get("/payouts/return").content.decode()
        assert "used already" in Client().get("/payouts/return?again=1").content.decode()
