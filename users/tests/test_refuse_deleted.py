"""Nothing is written for an account that its owner deleted: every column that names a person is held to it by its table.

Who adds a table whose rows name somebody gives it a trigger, in its migration:

    CREATE TRIGGER thing_refuse_deleted BEFORE INSERT ON app_thing
        FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('owner_id');

or says below why a late row of theirs can't come, or may.
"""

import uuid

import pytest
from django.apps import apps
from django.db import Error, IntegrityError, connection, transaction

from core import clock
from users import privacy
from users.models import User
from users.privacy import AtDeletion
from users.tests.factories import UserFactory

STAFF = "names staff, who act for the platform: what they did stays, under an opaque id"
KEPT = "stays when the account goes, under an opaque id: one row more or less tells nobody anything"
UNDER_THE_VEHICLE = "made under the lock of the vehicle, which a deletion takes first; afterwards the vehicle is not found"
# table.column → why rows of a deleted account are not refused there
NOT_REFUSED = {
    "core_auditevent.actor_id": "the last act of an account is audited with the account already gone",
    "core_auditevent.subject_id": "the last act of an account is audited with the account already gone",
    "django_admin_log.user_id": STAFF,
    "users_user_groups.user_id": "unused: roles are a column of the person's row, which a trigger guards",
    "users_user_user_permissions.user_id": "unused: roles are a column of the person's row, which a trigger guards",
    "garage_noreadbackconsent.given_by_id": UNDER_THE_VEHICLE,
    "garage_rescuelink.made_by_id": UNDER_THE_VEHICLE,
    "garage_vehicletransfer.offered_by_id": KEPT,
    "garage_vehicletransfer.accepted_by_id": KEPT,
    "marketplace_download.buyer_id": KEPT,
    "marketplace_flash.reporter_id": KEPT,
    "marketplace_flashticket.holder_id": KEPT,
    "marketplace_license.holder_id": "made of a payment, which is never refused; a purchase that waits for one stops a deletion",
    "marketplace_tuneversion.reviewer_id": STAFF,
    "marketplace_versionstop.made_by_id": STAFF,
    "marketplace_versionstop.lift_proposed_by_id": STAFF,
    "marketplace_versionstop.lifted_by_id": STAFF,
}
_TRIGGERS = """
SELECT rel.relname || '.' || split_part(encode(t.tgargs, 'escape'), '\\000', 1), split_part(encode(t.tgargs, 'escape'), '\\000', 2)
  FROM pg_trigger t JOIN pg_class rel ON rel.oid = t.tgrelid JOIN pg_proc f ON f.oid = t.tgfoid
 WHERE f.proname = 'users_refuse_deleted' AND t.tgenabled = 'O'
   AND t.tgtype & 7 = 7  -- for each row, before, at an insert
"""


def naming_columns() -> set[str]:
    """Every column that names a person: what points at an account, and what the registry goes by."""
    found = {
        f"{model._meta.db_table}.{field.column}"
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        if field.is_relation and field.related_model is User and not model._meta.proxy
    }
    own = {f"{holding.table._meta.db_table}.{holding.of}" for holding in privacy.holdings() if "__" not in holding.of}
    return (found | own) - {"users_user.pk"}


def refusing() -> dict[str, str]:
    """By column: what its trigger does with a row of a deleted account (refuse when empty)."""
    with connection.cursor() as cursor:
        cursor.execute(_TRIGGERS)
        return dict(cursor.fetchall())


def unguarded(columns: set[str], guarded: set[str], excused: set[str]) -> list[str]:
    return sorted(columns - guarded - excused)


def insert(column: str, person: uuid.UUID) -> tuple[int, str]:
    """Insert a row with nothing but that column: how many came to be, and which constraint refused it."""
    table, name = column.split(".")
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f'INSERT INTO "{table}" ("{name}") VALUES (%s)', [person])
            return cursor.rowcount, ""
    except IntegrityError as refusal:
        diagnosis = refusal.__cause__.diag
        return 0, diagnosis.constraint_name or f"{diagnosis.column_name} is missing"
    except Error as refusal:  # another trigger of the table, which comes after
        return 0, str(refusal)


@pytest.mark.django_db
class TestEveryTableThatNamesAPerson:
    def test_refuses_rows_of_a_deleted_account_or_says_why_not(self):
        missing = unguarded(naming_columns(), set(refusing()), set(NOT_REFUSED))

        assert missing == [], f"{missing} name a person without users_refuse_deleted: see the top of {__file__}"

    def test_excuses_are_needed(self):
        assert set(NOT_REFUSED) <= naming_columns(), "these name nobody any more"
        assert not set(NOT_REFUSED) & set(refusing()), "these are refused, and want no excuse"

    def test_what_is_deleted_with_the_account_is_excused_for_the_vehicle_only(self):
        """A late row of such a table would be there for good: the receipt would have lied."""
        deleted = {
            f"{holding.table._meta.db_table}.{holding.of}" for holding in privacy.holdings() if holding.at_deletion == AtDeletion.DELETED
        }
        assert {NOT_REFUSED[column] for column in deleted & set(NOT_REFUSED)} <= {UNDER_THE_VEHICLE}

    def test_the_database_bites(self):
        gone, here = UserFactory().pk, UserFactory().pk
        User.objects.filter(pk=gone).update(deleted_at=clock.now(), is_active=False)
        told = {column: (insert(column, gone), insert(column, here)) for column in refusing()}

        assert len(told) > 15
        for column, (of_gone, of_here) in told.items():
            assert of_gone == ((0, "") if refusing()[column] == "drop" else (0, "account_is_deleted")), column
            assert of_here[1] not in {"", "account_is_deleted"}, f"{column}: something else is wrong with this row, and is told"

    def test_a_table_without_its_trigger_is_found(self):
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER favorite_refuse_deleted ON marketplace_favorite")
            cursor.execute("ALTER TABLE core_upload DISABLE TRIGGER upload_refuse_deleted")

        assert unguarded(naming_columns(), set(refusing()), set(NOT_REFUSED)) == ["core_upload.owner_id", "marketplace_favorite.user_id"]
