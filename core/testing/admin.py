"""Clients for tests of the admin."""

from typing import Any

from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse


def admin_client(admin: Any = None) -> Client:
    """A signed-in admin with their second factor on."""
    from users.tests.factories import UserFactory

    client = Client()
    client.force_login(admin or UserFactory(admin=True, mfa=True))
    return client


def list_of(client: Client, model: type[Model], **params: str) -> str:
    """The HTML of a model's list."""
    answer = client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), params)
    assert answer.status_code == 200
    return answer.content.decode()


def page_of(client: Client, row: Model) -> str:
    """The HTML of a row's page."""
    answer = client.get(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def decide(client: Client, row: Model, name: str, **given: Any) -> Any:
    """The answer to a decision on a row."""
    return client.post(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_decide", args=[row.pk, name]), given)


def list_queries(client: Client, model: type[Model], **params: str) -> int:
    """How many queries a model's list makes, apart from the signed-in person's own."""
    list_of(client, model, **params)
    with CaptureQueriesContext(connection) as captured:
        list_of(client, model, **params)
    return len(captured)
