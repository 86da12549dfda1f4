"""The stand-in's page through the web server."""

import uuid

import pytest
from django.test import Client

from marketplace import payments as gateway
from marketplace.tests.factories import TuneFactory
from marketplace.tests.purchasing import buy, rider_with_bike

pytestmark = pytest.mark.django_db


@pytest.fixture
def relayed(payments, settings):
    settings.PAYMENTS_SANDBOX_URL = "http://testserver/stand-in"
    return payments


def test_a_person_pays_through_the_web_server(relayed):
    client, bike = rider_with_bike()
    url = buy(client, TuneFactory(published=True), bike).json()["payment"]["sandbox_url"]

    page = Client().get(url)
    paid = Client().post(url, "outcome=succeed", content_type="application/x-www-form-urlencoded")

    assert (page.status_code, page["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script" not in page["Content-Security-Policy"] and b"149.00 EUR" in page.content
    wanted = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
    assert {name: page.headers.get(name) for name in wanted} == wanted
    assert "no-store" in page["Cache-Control"] and "frame-ancestors 'none'" in page["Content-Security-Policy"]
    assert paid.status_code == 303
    assert gateway.get_intent(url.rpartition("/")[2]).is_paid


def test_a_tuner_is_onboarded_through_the_web_server(relayed):
    account = gateway.create_account(key=uuid.uuid4().hex, country="DE", email="t@example.test", metadata={})
    url, _ = gateway.create_onboarding_link(account_id=account.id, refresh_url="http://testserver/again", return_url="http://testserver/done")
    path = "/stand-in/onboarding/" + url.rpartition("/")[2]

    page = Client().get(path)
    done = Client().post(path, "outcome=complete", content_type="application/x-www-form-urlencoded")

    assert (page.status_code, done.status_code, done["Location"]) == (200, 303, "http://testserver/done")
    assert "form-action 'self' http://testserver;" in page["Content-Security-Policy"]
    assert gateway.get_account(account.id).payouts_enabled


@pytest.mark.parametrize(("data", "status"), [("outcome=fly", 400), ("", 400)])
def test_a_refusal_is_passed_back(relayed, data, status):
    client, bike = rider_with_bike()
    url = buy(client, TuneFactory(published=True), bike).json()["payment"]["sandbox_url"]

    assert Client().post(url, data, content_type="application/x-www-form-urlencoded").status_code == status
    assert Client().get("/stand-in/pay/pi_missing").status_code == 404


def test_an_outage_is_503_and_production_has_no_such_page(relayed, settings):
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    assert Client().get("/stand-in/pay/pi_x").status_code == 503

    settings.IS_PRODUCTION = True
    assert Client().get("/stand-in/pay/pi_x").status_code == 404


def test_there_is_no_relay_where_the_stand_in_is_reached_directly(payments):
    assert Client().get("/stand-in/pay/pi_x").status_code == 404
