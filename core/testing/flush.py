"""Emptying the database after a test on real connections.

Django's own flush truncates every table (refused by the append-only triggers) and then sends `post_migrate`, which
takes longer than most tests. Deleting only what has rows, with triggers off for this one session, takes milliseconds.
"""

from django.apps import apps
from django.db import connection
from django.test import TransactionTestCase

KEPT_TABLES = frozenset({"django_migrations", "django_content_type", "auth_permission"})


def empty_tables() -> None:
    """Delete all rows of all tables but Django's own bookkeeping. Needs a superuser: the embedded test database has one."""
    tables = sorted({model._meta.db_table for model in apps.get_models(include_auto_created=True) if not model._meta.proxy} - KEPT_TABLES)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"(SELECT '{table}' FROM \"{table}\" LIMIT 1)" for table in tables))
        filled = [row[0] for row in cursor.fetchall()]
        if filled:
            cursor.execute("SET session_replication_role = replica")  # no trigger fires, foreign keys included
            try:
                for table in filled:
                    cursor.execute(f'DELETE FROM "{table}"')
            finally:
                cursor.execute("SET session_replication_role = DEFAULT")


def install() -> None:
    """Let every transactional test end with `empty_tables`."""
    TransactionTestCase._fixture_teardown = lambda self: empty_tables()  # type: ignore[method-assign]
