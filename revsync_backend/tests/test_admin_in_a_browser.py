"""Hostile text in a real browser: every list of the admin, and a page of each, with text in every column that would rather be code.

Nothing of it may run, break the page's policy or become an element. It wants Chromium: `make admin-hostile`, and `make test-long`
where there is one.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import DatabaseError, connection, models, transaction
from django.urls import reverse

from core.admin_site import admin_urls, site
from core.testing.admin import admin_client
from core.testing.browser import Browser, find_chromium
from revsync_backend.tests.test_admin_with_rows import make_rows

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine"),
]
TEXT = (models.CharField, models.TextField)
MARK = "xss-mark"  # an element of this name is text that became one
HOSTILE = [
    f"<{MARK}></{MARK}><script>alert(1)</script>",
    f"\"><{MARK}></{MARK}><img src=x onerror=alert(2)>",
    f"'><{MARK}></{MARK}><svg onload=alert(3)>",
    f"</title></textarea></script><{MARK}></{MARK}><script>alert(4)</script>",
    "javascript:alert(5)//https://example.com/",
    "'-alert(6)-'",
    '"-alert(7)-"',
    "`${alert(8)}`",
    "{{constructor.constructor('alert(9)')()}}",
    "\u202egnp.exe\u2066 \u2067<b>turned\u2069",
    "\" autofocus onfocus=alert(10) x-init=alert(11) @click=alert(12) a=\"",
    "W" * 10_000,
    "\u0301" * 5_000,
]
# Whatever became an element or a handler of its own, and links that would run.
INJECTED = f"""
[
  ...document.querySelectorAll('{MARK}, img[src="x"], [onerror], [onload], [onfocus], [onclick], [x-init*="alert"]'),
  ...[...document.querySelectorAll('a[href], form[action], iframe[src]')].filter(
    e => /^\\s*(javascript|data|vbscript):/i.test(e.getAttribute('href') || e.getAttribute('action') || e.getAttribute('src'))),
].map(e => e.outerHTML.slice(0, 200))
"""


def spoil(model: type[models.Model], turn: int) -> int:
    """Put hostile text into every column of a table that takes it, past services and triggers; answers how many do."""
    row, done = model._default_manager.first(), 0
    if row is None:
        return 0
    for number, column in enumerate(model._meta.concrete_fields):
        text = HOSTILE[(turn + number) % len(HOSTILE)]
        for value in _values_for(column, text, getattr(row, column.attname)):
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SET LOCAL session_replication_role = replica")
                    cursor.execute(f'UPDATE "{model._meta.db_table}" SET "{column.column}" = %s', [value])
            except DatabaseError:  # a constraint knows better
                continue
            done += 1
            break
    return done


def _values_for(column: models.Field, text: str, present: Any) -> list[Any]:
    if column.primary_key or column.is_relation or column.choices or type(column).__module__.startswith("core.fields"):
        return []
    if isinstance(column, models.JSONField):
        return [json.dumps(_with_text(present, text))]
    if isinstance(column, ArrayField) and isinstance(column.base_field, TEXT):
        return [[text[: column.base_field.max_length or None]]]
    if isinstance(column, TEXT):
        return [words[: column.max_length or None] for words in (text, HOSTILE[0], HOSTILE[5])]
    return []


def _with_text(value: Any, text: str) -> Any:
    """The same structure with this text for every text in it."""
    if isinstance(value, dict):
        return {name: _with_text(member, text) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_text(member, text) for member in value]
    return text if isinstance(value, str) else value


@pytest.fixture
def browser(tmp_path: Path):
    with Browser(tmp_path / "profile") as browser:
        yield browser


def test_hostile_text_stays_text(browser, live_server):
    with transaction.atomic():  # a payout adds up with its lines only
        make_rows()
    admin_urls()
    rows = {model: model._default_manager.first() for model in site._registry}
    spoiled = sum(spoil(model, turn) for turn, model in enumerate(site._registry))
    client = admin_client()  # whose own account is not spoiled
    for name, morsel in client.cookies.items():
        browser.set_cookie(name, morsel.value, live_server.url)
    trouble: list[str] = []
    opened = 0
    for model, row in rows.items():
        place = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pages = [reverse(f"{place}_changelist"), *([reverse(f"{place}_change", args=[row.pk])] if row is not None else [])]
        for path in pages:
            opened += 1
            told = browser.open(live_server.url + path)
            said = [str(told)] if told.told else []
            said += [f"injected: {element}" for element in browser.evaluate(INJECTED)]
            if browser.evaluate("location.pathname") != path:
                said.append("this is another page")
            trouble += [f"{path} {line}" for line in said]

    assert not trouble, "\n".join(trouble)
    print(f"{opened} pages of {len(rows)} tables opened, {spoiled} columns spoiled")
    assert spoiled > 100 and opened > len(rows)


def test_what_it_looks_for_is_seen(browser, live_server):
    """The control: a page without escaping and policy, and the policy alone."""
    page = f"<title>x</title>{HOSTILE[0]}<img src=x onerror=alert(2)><a href='javascript:alert(3)'>a</a>"
    told = browser.open(f"data:text/html,{page}")
    assert {kind for kind, _ in told.told} >= {"dialog"} and len(browser.evaluate(INJECTED)) >= 3

    browser.open(live_server.url + reverse("admin:login"))
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"alert(1)\">')")
    browser.evaluate("new Promise(done => setTimeout(done, 200))")
    kinds = {kind for kind, _ in browser._trouble.told}
    assert "dialog" not in kinds and kinds & {"policy", "security"}, browser._trouble
