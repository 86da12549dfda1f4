"""Who owns a tune, which version they flashed, and what changed since."""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from marketplace.enums import FlashOutcome, LicenseState, ReleaseChannel
from marketplace.models import TuneVersion

# Who never flashed reads of the new version only, and so does who flashed a later number than this one (a fix of an old line).
_CHANGES = """
WITH flashed AS (
    SELECT DISTINCT ON (flash.reporter_id) flash.reporter_id, version.version, version.version_order
      FROM marketplace_flash flash
      JOIN marketplace_flashticket ticket ON ticket.id = flash.ticket_id AND ticket.channel = %(public)s
      JOIN marketplace_tuneversion version ON version.id = flash.version_id
     WHERE version.tune_id = %(tune)s AND flash.outcome = %(succeeded)s
     ORDER BY flash.reporter_id, flash.flashed_at DESC, flash.received_at DESC
), owner AS (
    SELECT DISTINCT holder_id FROM marketplace_license WHERE tune_id = %(tune)s AND state <> %(revoked)s
)
SELECT owner.holder_id, coalesce(flashed.version, ''),
       string_agg(step.version || coalesce(nullif(E'\\n' || step.changelog, E'\\n'), ''), E'\\n\\n' ORDER BY step.version_order DESC)
  FROM owner
  LEFT JOIN flashed ON flashed.reporter_id = owner.holder_id
  JOIN marketplace_tuneversion step ON step.tune_id = %(tune)s AND step.published_at IS NOT NULL
   AND (step.id = %(version)s
        OR step.version_order < %(order)s AND step.version_order > flashed.version_order)
 GROUP BY owner.holder_id, flashed.version
 ORDER BY owner.holder_id
"""


@dataclass(frozen=True)
class OwnerChanges:
    """One owner, the version they flashed last (empty: none), and the changelogs since, newest first."""

    user_id: UUID
    flashed: str
    changes: str


def list_changes_for_owners(version: TuneVersion) -> list[OwnerChanges]:
    """Everybody with a license for the version's tune. One query."""
    values = {
        "tune": version.tune_id,
        "version": version.pk,
        "order": version.version_order,
        "public": ReleaseChannel.PUBLIC.value,
        "succeeded": FlashOutcome.SUCCEEDED.value,
        "revoked": LicenseState.REVOKED.value,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CHANGES, values)
        return [OwnerChanges(*row) for row in cursor.fetchall()]
