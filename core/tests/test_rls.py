import pytest
from django.core.checks import run_checks
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from core import rls

pytestmark = pytest.mark.django_db


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def outside_roles():
    """The two roles of Supabase's REST door, with the grants that Supabase gives them; gone with the test's transaction."""
    for role in rls.OUTSIDE_ROLES:
        execute(f"CREATE ROLE {role} NOLOGIN")
        execute(f"GRANT {role} TO CURRENT_USER")
        execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {role}")
        execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    return rls.OUTSIDE_ROLES


def refusal_of(role: str, statement: str) -> str:
    """What PostgreSQL answers to the role; fails when it answers anything but a refusal."""
    with transaction.atomic():
        execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(ProgrammingError) as caught, transaction.atomic():
            execute(statement)
        execute("RESET ROLE")
    return str(caught.value)


def test_nothing_is_exposed_after_the_migrations():
    assert rls.find_exposures() == []


def test_every_table_has_row_level_security_and_no_policy():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE relrowsecurity) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
        tables, closed = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM pg_policies")
        policies = cursor.fetchone()[0]
    assert tables > 20
    assert closed == tables
    assert policies == 0


def test_the_grants_of_a_hosted_database_are_found_and_taken_back(outside_roles):
    before = {str(exposure) for exposure in rls.find_exposures()}
    assert "users_user: granted to anon" in before
    assert "users_user: granted to authenticated" in before

    rls.apply()

    assert rls.find_exposures() == []


@pytest.mark.parametrize("role", rls.OUTSIDE_ROLES)
@pytest.mark.parametrize(
    "statement", ["SELECT * FROM users_user", "DELETE FROM core_auditevent", "INSERT INTO core_scheduleentry VALUES ('x')"]
)
def test_outside_roles_may_neither_read_nor_write(outside_roles, role, statement):
    rls.apply()

    assert "permission denied for table" in refusal_of(role, statement)


@pytest.mark.parametrize("role", rls.OUTSIDE_ROLES)
def test_row_level_security_holds_even_when_a_grant_slips_in(outside_roles, role):
    execute("INSERT INTO core_scheduleentry (name) VALUES ('secret')")

    execute(f"SET LOCAL ROLE {role}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM core_scheduleentry")
        seen = cursor.fetchone()[0]
    execute("RESET ROLE")

    assert seen == 0


def test_a_table_made_later_is_closed_by_the_next_migrate(outside_roles):
    rls.apply()
    execute("CREATE TABLE made_later (id int)")
    assert {str(exposure) for exposure in rls.find_exposures()} == {"made_later: row-level security is off"}
    assert "permission denied" in refusal_of("anon", "SELECT * FROM made_later"), "the default grants are gone as well"

    rls.after_migrate(using="default")

    assert rls.find_exposures() == []


def test_functions_of_ours_can_not_be_called_from_outside(outside_roles):
    execute("CREATE FUNCTION leak() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    execute("GRANT EXECUTE ON FUNCTION leak() TO PUBLIC")

    rls.apply()

    assert "permission denied for function leak" in refusal_of("authenticated", "SELECT leak()")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE VIEW leaky AS SELECT 1 AS one", "leaky: it is a view"),
        ("CREATE MATERIALIZED VIEW leaky AS SELECT 1 AS one", "leaky: it is a view"),
        ("CREATE FUNCTION leaky() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "leaky: it is a SECURITY DEFINER function"),
        ("CREATE POLICY leaky ON core_scheduleentry USING (true)", "core_scheduleentry: policy leaky lets somebody in"),
        ("GRANT SELECT ON core_scheduleentry TO PUBLIC", "core_scheduleentry: granted to everybody"),
    ],
)
def test_what_leaks_past_row_level_security_is_found(statement, said):
    execute(statement)

    assert [str(exposure) for exposure in rls.find_exposures()] == [said]


def test_the_system_check_names_what_is_open():
    execute("ALTER TABLE core_scheduleentry DISABLE ROW LEVEL SECURITY")

    messages = [message for message in run_checks(databases=["default"]) if message.id == "core.W001"]

    assert [message.msg for message in messages] == ["core_scheduleentry: row-level security is off"]
