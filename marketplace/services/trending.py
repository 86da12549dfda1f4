"""What is taken up now: a score that fades, kept in a table that the list reads by its index.

Forward decay (Cormode, Shkapenyuk, Srivastava, Xu: "Forward Decay: A Practical Time Decay Model for Streaming Systems", ICDE
2009): an act weighs `2^((its time - landmark) / half-life)`, so it gains on older ones instead of losing as time goes by. All
sums then fade alike, their order changes only when somebody acts, and the binary logarithm of a sum, which is what is kept,
says by how many half-lives a tune is ahead. Rows whose tune nobody touched are not written again, and pages stay in place.
"""

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from marketplace.models import TrendRow

# A decision, not a measurement: riders decide and flash at weekends, so one weekend counts half of the next.
HALF_LIFE = timedelta(days=7)
WINDOW = 8 * HALF_LIFE  # what is older would weigh less than 1/256
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = 10_000  # of the score in a half-life

# An account counts once for a tune: by the act of its that weighs most, each kind of act at its first time in the window, so
# that flashing again and again renews nothing. Not counted: the tuner's own account, blocked and deleted ones, what was
# refunded, disputed or is not paid yet. The weights are those of the order "popular"; no price stands anywhere.
_REFRESH = """
WITH act AS (
    SELECT p.tune_id, p.buyer_id AS account_id, 3 AS weight, min(p.paid_at) AS at
      FROM marketplace_purchase p
     WHERE p.status = 'PAID' AND p.paid_at BETWEEN %(since)s AND %(at)s
     GROUP BY p.tune_id, p.buyer_id
    UNION ALL
    SELECT p.tune_id, flash.reporter_id, 5, min(flash.received_at)
      FROM marketplace_flash flash
      JOIN marketplace_flashticket ticket ON ticket.id = flash.ticket_id AND ticket.channel = 'public'
      JOIN marketplace_purchase p ON p.id = ticket.purchase_id AND p.status = 'PAID'
     WHERE flash.outcome = 'SUCCEEDED' AND flash.received_at BETWEEN %(since)s AND %(at)s
     GROUP BY p.tune_id, flash.reporter_id
    UNION ALL
    SELECT f.tune_id, f.user_id, 1, f.created_at FROM marketplace_favorite f WHERE f.created_at BETWEEN %(since)s AND %(at)s
),
account AS (
    SELECT act.tune_id, act.account_id,
           max(act.weight * power(2::float8, date_part('epoch', act.at - %(landmark)s) / %(half_life)s)) AS share
      FROM act GROUP BY act.tune_id, act.account_id
),
trend AS (
    SELECT t.id AS tune_id, t.kind,
           round(%(steps)s * (ln(sum(account.share)) / ln(2::float8) + %(landmark_steps)s)) AS score
      FROM account
      JOIN marketplace_tune t ON t.id = account.tune_id AND t.listed
      JOIN tuners_tunerprofile profile ON profile.id = t.tuner_id AND profile.user_id <> account.account_id
      JOIN users_user person ON person.id = account.account_id AND person.is_active AND person.blocked_at IS NULL
     GROUP BY t.id
),
fresh AS MATERIALIZED (
    SELECT %(everything)s::uuid AS scope_id, tune_id, kind, score::int AS score FROM trend
    UNION ALL
    SELECT b.scope_id, trend.tune_id, trend.kind, trend.score::int
      FROM trend JOIN marketplace_browserow b ON b.tune_id = trend.tune_id AND b.scope IN ('MAKE', 'MODEL')
),
gone AS (
    DELETE FROM marketplace_trendrow held
     WHERE NOT EXISTS (SELECT FROM fresh WHERE fresh.scope_id = held.scope_id AND fresh.tune_id = held.tune_id)
    RETURNING 1
),
written AS (
    INSERT INTO marketplace_trendrow AS held (scope_id, tune_id, kind, score)
    SELECT scope_id, tune_id, kind, score FROM fresh ORDER BY scope_id, tune_id
    ON CONFLICT (scope_id, tune_id) DO UPDATE SET kind = excluded.kind, score = excluded.score
     WHERE (held.kind, held.score) IS DISTINCT FROM (excluded.kind, excluded.score)
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM written)
"""


def refresh_trends(*, at: datetime) -> int:
    """Bring the list of trending tunes up to date; returns how many of its rows changed. Called by the schedule; idempotent.

    One statement, over the acts of the last WINDOW by their indexes.
    """
    landmark = datetime(at.year, 1, 1, tzinfo=UTC)  # near, so that no power overflows; the same for a year
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")  # sums over a million accounts without files
        cursor.execute(
            _REFRESH,
            {
                "since": at - WINDOW,
                "at": at,
                "landmark": landmark,
                "landmark_steps": (landmark - EPOCH) / HALF_LIFE,
                "half_life": HALF_LIFE.total_seconds(),
                "steps": STEPS,
                "everything": TrendRow.EVERYTHING,
            },
        )
        return cursor.fetchone()[0]
