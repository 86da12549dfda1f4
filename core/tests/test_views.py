"""What a view leaves behind when its answer is sent: nothing that only the garbage collector would find."""

import gc
import json
import weakref

import pytest
from django.test import RequestFactory
from django.urls import resolve

from core.testing.http import client_for
from users.tests.factories import UserFactory

BODY = {"kind": "MOTORCYCLE", "make": "Yamaha", "model": "MT-09", "year": 2021, "market": "EU"}


@pytest.fixture
def _without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.django_db
@pytest.mark.usefixtures("_without_collector")
@pytest.mark.parametrize(
    ("method", "path", "status", "signed_in"),
    [
        ("GET", "marketplace/tunes/", 200, False),
        ("GET", "marketplace/tunes/", 200, True),
        ("HEAD", "marketplace/tunes/", 200, False),
        ("GET", "marketplace/tunes/suggest/?q=ya", 200, False),
        ("GET", "marketplace/tunes/facets/", 200, False),
        ("GET", "garage/vehicles/", 200, True),
        ("GET", "garage/vehicles/?page_size=3", 200, True),
        ("POST", "garage/vehicles/", 201, True),
        ("GET", "marketplace/purchases/", 200, True),
    ],
)
def test_request_and_answer_are_gone_once_it_is_sent(method, path, status, signed_in):
    credentials = client_for(UserFactory())._credentials if signed_in else {}
    body = json.dumps(BODY) if method == "POST" else ""
    request = RequestFactory().generic(method, f"/api/v1/{path}", body, content_type="application/json", **credentials)
    match = resolve(request.path)
    response = match.func(request, *match.args, **match.kwargs)
    assert response.status_code == status, response.content
    held = [weakref.ref(request), weakref.ref(response)]

    response.close()
    del request, response
    assert [reference() for reference in held] == [None, None]
