"""Row-level security: nothing of ours can be read through the database's REST door.

Supabase exposes the `public` schema to anyone with the anonymous key, as the roles `anon` and `authenticated`. So every table that
our role owns has row-level security enabled with no policy (the owner is not subject to it), these roles have no grant on anything,
and there is no view and no SECURITY DEFINER function, which would leak past it. `apply()` runs after each migrate, is idempotent
and works where the two roles don't exist; `find_exposures()` proves the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DatabaseError, connections

OUTSIDE_ROLES = ("anon", "authenticated")

# One round trip. Names come from the catalogue and are quoted by format(%I).
APPLY = """
DO $body$
DECLARE
    item record;
    outside text;
BEGIN
    FOR item IN
        SELECT format('%%I.%%I', n.nspname, c.relname) AS name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
            AND pg_get_userbyid(c.relowner) = current_user
    LOOP
        EXECUTE 'ALTER TABLE ' || item.name || ' ENABLE ROW LEVEL SECURITY';
    END LOOP;

    FOR item IN
        SELECT p.oid::regprocedure::text AS name
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = current_schema() AND pg_get_userbyid(p.proowner) = current_user
            AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
            AND (p.proacl IS NULL OR EXISTS (SELECT 1 FROM aclexplode(p.proacl) a WHERE a.grantee = 0))
    LOOP
        EXECUTE 'REVOKE ALL ON FUNCTION ' || item.name || ' FROM PUBLIC';
    END LOOP;
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

    FOR outside IN SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)
    LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %%I FROM %%I', current_schema(), outside);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %%I FROM %%I', current_schema(), outside);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %%I FROM %%I', current_schema(), outside);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %%I REVOKE ALL ON TABLES FROM %%I', current_schema(), outside);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %%I REVOKE ALL ON SEQUENCES FROM %%I', current_schema(), outside);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %%I REVOKE ALL ON FUNCTIONS FROM %%I', current_schema(), outside);
    END LOOP;
END
$body$
"""

FIND = """
WITH outside AS (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY (%(roles)s)),
ours AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relacl
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND pg_get_userbyid(c.relowner) = current_user
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT relname, 'row-level security is off' FROM ours WHERE relkind IN ('r', 'p') AND NOT relrowsecurity
UNION ALL
SELECT relname, 'it is a view' FROM ours WHERE relkind IN ('v', 'm')
UNION ALL
SELECT tablename, 'policy ' || policyname || ' lets somebody in' FROM pg_policies WHERE schemaname = current_schema()
UNION ALL
SELECT ours.relname, 'granted to ' || outside.rolname
FROM ours CROSS JOIN LATERAL aclexplode(ours.relacl) AS grants JOIN outside ON outside.oid = grants.grantee
WHERE ours.relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL
SELECT ours.relname, 'granted to everybody'
FROM ours CROSS JOIN LATERAL aclexplode(ours.relacl) AS grants WHERE grants.grantee = 0 AND ours.relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL
SELECT p.proname, 'it is a SECURITY DEFINER function'
FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.prosecdef AND pg_get_userbyid(p.proowner) = current_user
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Exposure:
    """Something in the exposed schema that others than our role could reach."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def apply(*, using: str = "default") -> None:
    """Close everything that our role owns in the current schema. Idempotent; takes a short lock on tables that were still open."""
    with connections[using].cursor() as cursor:
        cursor.execute(APPLY, [list(OUTSIDE_ROLES)])


def find_exposures(*, using: str = "default") -> list[Exposure]:
    """What is not closed, as name and reason; empty is as it must be."""
    with connections[using].cursor() as cursor:
        cursor.execute(FIND, {"roles": list(OUTSIDE_ROLES)})
        return sorted({Exposure(*row) for row in cursor.fetchall()}, key=str)


def after_migrate(*, using: str, **_: Any) -> None:
    """Receiver of `post_migrate` for core: closes what this migrate has made."""
    if connections[using].vendor == "postgresql":
        apply(using=using)


@register(Tags.database)
def check_exposures(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """`manage.py check --database default`. A warning and no error: an error would keep `migrate` from repairing it."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        try:
            found = find_exposures(using=alias)
        except DatabaseError:
            continue  # not reachable: doctor and /readyz say so
        messages += [Warning(str(exposure), hint="Run `manage.py migrate`, which closes it.", id="core.W001") for exposure in found]
    return messages
