"""What `manage.py verify_invariants` proves of the marketplace: money, rights, counters, and what is on sale."""

from collections.abc import Iterator

from core.invariants import objects, register, rows
from marketplace.enums import FlashOutcome, ReleaseChannel
from marketplace.models import TuneFile
from marketplace.policies.trust import STATISTICAL
from marketplace.selectors.ledger import find_differences

_BOOKS = """
SELECT 'ledger set ' || set_id || ' sums to ' || sum(amount_minor) || ' ' || currency
  FROM marketplace_ledgerentry GROUP BY set_id, currency HAVING sum(amount_minor) <> 0
UNION ALL
SELECT 'ledger entry ' || e.id || ' is in another currency than its set'
  FROM marketplace_ledgerentry e JOIN marketplace_ledgerset s ON s.id = e.set_id WHERE s.currency <> e.currency
"""

# What a sale must have booked follows from the purchase alone.
_SALES = """
SELECT p.number || CASE WHEN s.id IS NULL THEN ' is paid and not booked'
                        WHEN p.paid_at IS NULL OR p.amount_minor = 0 THEN ' is booked and was never paid for'
                        ELSE ' is booked otherwise than it was sold' END
  FROM marketplace_purchase p
  LEFT JOIN marketplace_ledgerset s ON s.cause = 'SALE' AND s.cause_id = p.id
  LEFT JOIN LATERAL (
       SELECT coalesce(sum(amount_minor) FILTER (WHERE account = 'BUYER_CLEARING'), 0) AS buyer,
              coalesce(sum(amount_minor) FILTER (WHERE account = 'TAX_PAYABLE'), 0) AS tax,
              coalesce(sum(amount_minor) FILTER (WHERE account = 'PLATFORM_FEE'), 0) AS fee,
              coalesce(sum(amount_minor) FILTER (WHERE account = 'TUNER' AND tuner_id = p.tuner_id), 0) AS tuner
         FROM marketplace_ledgerentry e WHERE e.set_id = s.id) AS booked ON s.id IS NOT NULL
 WHERE (s.id IS NULL) = (p.paid_at IS NOT NULL AND p.amount_minor > 0)
    OR s.id IS NOT NULL AND (s.currency, booked.buyer, booked.tax, booked.fee, booked.tuner)
       IS DISTINCT FROM (p.currency, -p.amount_minor, p.tax_minor, p.fee_minor, p.amount_minor - p.tax_minor - p.fee_minor)
UNION ALL
SELECT 'ledger set ' || s.id || ' books a sale that is none' FROM marketplace_ledgerset s
 WHERE s.cause = 'SALE' AND NOT EXISTS (SELECT FROM marketplace_purchase p WHERE p.id = s.cause_id)
"""

_PAYMENTS = """
SELECT p.number || ' has ' || count(a.id) FILTER (WHERE a.state = 'SUCCEEDED') || ' successful payments'
  FROM marketplace_purchase p LEFT JOIN marketplace_paymentattempt a ON a.purchase_id = p.id
 GROUP BY p.id
HAVING count(a.id) FILTER (WHERE a.state = 'SUCCEEDED') <> CASE WHEN p.paid_at IS NOT NULL AND p.amount_minor > 0 THEN 1 ELSE 0 END
UNION ALL
SELECT p.number || ' has ' || count(*) || ' payments that may still succeed'
  FROM marketplace_purchase p JOIN marketplace_paymentattempt a ON a.purchase_id = p.id AND a.state IN ('OPENING', 'OPEN')
 GROUP BY p.id HAVING count(*) > 1
"""

_LICENSES = """
SELECT p.number || CASE WHEN l.id IS NULL THEN ' is paid and has no license'
                        WHEN p.paid_at IS NULL THEN ' was never paid and has a license'
                        WHEN l.tune_id <> p.tune_id THEN ' has the license of another tune'
                        ELSE ' is ' || p.status || ' and its license is ' || l.state END
  FROM marketplace_purchase p LEFT JOIN marketplace_license l ON l.purchase_id = p.id
 WHERE (l.id IS NULL) = (p.paid_at IS NOT NULL) OR l.tune_id <> p.tune_id
    OR p.status IN ('REFUNDED', 'CHARGED_BACK') AND l.state <> 'REVOKED'
    OR p.status = 'DISPUTED' AND l.state NOT IN ('SUSPENDED', 'REVOKED')
"""

_REFUNDS = """
SELECT p.number || ' says ' || p.refunded_minor || ' given back; its refunds are ' || coalesce(r.promised, 0)
  FROM marketplace_purchase p
  LEFT JOIN (SELECT purchase_id, sum(amount_minor) AS promised FROM marketplace_refund WHERE reserved_at IS NOT NULL GROUP BY 1) AS r
       ON r.purchase_id = p.id
 WHERE p.refunded_minor <> coalesce(r.promised, 0)
UNION ALL
SELECT 'refund ' || r.id || CASE WHEN r.reserved_at IS NULL THEN ' is booked and was never promised' ELSE ' is promised and not booked' END
  FROM marketplace_refund r LEFT JOIN marketplace_ledgerset s ON s.cause = 'REFUND' AND s.cause_id = r.id
 WHERE (r.reserved_at IS NOT NULL) <> (s.id IS NOT NULL)
UNION ALL
SELECT 'refund ' || r.id || ' came back and is not owed in the books'
  FROM marketplace_refund r LEFT JOIN marketplace_ledgerset s ON s.cause = 'REFUND_FAILED' AND s.cause_id = r.id
 WHERE (r.status = 'FAILED' AND r.reserved_at IS NOT NULL) <> (s.id IS NOT NULL)
UNION ALL
SELECT p.number || ' is refunded, and its license is ' || l.state
  FROM marketplace_purchase p JOIN marketplace_license l ON l.purchase_id = p.id
 WHERE p.captured_minor > 0 AND p.refunded_minor = p.captured_minor AND l.state <> 'REVOKED'
UNION ALL
SELECT 'refund ' || r.id || ' waits in a case that is resolved'
  FROM marketplace_refund r JOIN marketplace_case c ON c.id = r.case_id
 WHERE r.status = 'PENDING' AND r.reserved_at IS NULL AND c.status = 'RESOLVED'
"""

_DISPUTES = """
SELECT p.number || ' is ' || p.status || ' and has ' || count(d.id) || ' open disputes'
  FROM marketplace_purchase p
  LEFT JOIN marketplace_dispute d ON d.purchase_id = p.id AND d.applied_at IS NOT NULL AND d.ended_at IS NULL
 GROUP BY p.id HAVING count(d.id) <> CASE WHEN p.status = 'DISPUTED' THEN 1 ELSE 0 END
UNION ALL
SELECT p.number || ' was charged back and no dispute of it was lost'
  FROM marketplace_purchase p
 WHERE p.status = 'CHARGED_BACK' AND NOT EXISTS (SELECT FROM marketplace_dispute d WHERE d.purchase_id = p.id AND d.status = 'LOST')
UNION ALL
SELECT 'dispute ' || d.id || ' is ' || d.status || ' and booked otherwise'
  FROM marketplace_dispute d
 WHERE (d.applied_at IS NOT NULL, d.status = 'WON', d.status = 'LOST') IS DISTINCT FROM (
       EXISTS (SELECT FROM marketplace_ledgerset s WHERE s.cause = 'DISPUTE_OPENED' AND s.cause_id = d.id),
       EXISTS (SELECT FROM marketplace_ledgerset s WHERE s.cause = 'DISPUTE_WON' AND s.cause_id = d.id),
       EXISTS (SELECT FROM marketplace_ledgerset s WHERE s.cause = 'DISPUTE_LOST' AND s.cause_id = d.id))
"""

_GRANTS = """
SELECT 'download ' || d.id || CASE WHEN p.paid_at IS NULL THEN ' was granted without a payment'
                                   ELSE ' was granted and its purchase does not know' END
  FROM marketplace_download d JOIN marketplace_purchase p ON p.id = d.purchase_id
 WHERE d.outcome = 'GRANTED'
   AND (p.paid_at IS NULL OR NOT EXISTS (SELECT FROM marketplace_grantedpurchase g WHERE g.purchase_id = p.id))
"""

_RATINGS = """
SELECT 'tune ' || t.id || ' says ' || t.rating_count || ' reviews, sum ' || t.rating_sum || '; there are '
       || coalesce(r.count, 0) || ', sum ' || coalesce(r.sum, 0)
  FROM marketplace_tune t
  LEFT JOIN (SELECT tune_id, count(*) AS count, sum(rating) AS sum FROM tuners_tunerreview
              WHERE state = 'PUBLISHED' AND is_counted GROUP BY tune_id) AS r
       ON r.tune_id = t.id
 WHERE (t.rating_count, t.rating_sum) <> (coalesce(r.count, 0), coalesce(r.sum, 0))
"""

# Whose buyer has no purchase that stands is marked, and counted only if the tune was ever downloaded.
_REVIEWS = """
SELECT 'review ' || r.id || CASE WHEN b.stands IS NULL THEN ' is by somebody who never paid'
                                 ELSE ' says refunded ' || r.is_refunded || ', counted ' || r.is_counted || '; its buyer''s purchases say '
                                      || (NOT b.stands) || ', ' || (b.stands OR b.granted) END
  FROM tuners_tunerreview r
  LEFT JOIN LATERAL (
       SELECT bool_or(p.status = 'PAID' OR p.status = 'DISPUTED' AND p.disputed_from = 'PAID') AS stands,
              bool_or(g.purchase_id IS NOT NULL) AS granted
         FROM marketplace_purchase p LEFT JOIN marketplace_grantedpurchase g ON g.purchase_id = p.id
        WHERE p.buyer_id = r.buyer_id AND p.tune_id = r.tune_id AND p.paid_at IS NOT NULL) AS b ON true
 WHERE r.state <> 'DELETED'
   AND (b.stands IS NULL OR (r.is_refunded, r.is_counted) <> (NOT b.stands, b.stands OR b.granted))
"""

_FLASH_GROUPS = f"""
SELECT 'flash group ' || g.id || ' is ' || g.rider_count || ' riders, ' || g.flash_count || ' flashes, ' || g.success_count
       || ' good; its members are ' || m.riders || ', ' || m.flashes || ', ' || m.good
  FROM marketplace_flashgroup g
  JOIN LATERAL (SELECT count(DISTINCT f.reporter_id) AS riders, count(f.id) AS flashes,
                       count(*) FILTER (WHERE f.outcome = '{FlashOutcome.SUCCEEDED}') AS good
                  FROM marketplace_groupedflash x JOIN marketplace_flash f ON f.id = x.flash_id WHERE x.group_id = g.id) AS m ON true
 WHERE (g.rider_count, g.flash_count, g.success_count) <> (m.riders, m.flashes, m.good)
UNION ALL
SELECT 'flash ' || f.id || ' is told of in a group of another tune'
  FROM marketplace_groupedflash x JOIN marketplace_flashgroup g ON g.id = x.group_id JOIN marketplace_flash f ON f.id = x.flash_id
  JOIN marketplace_tuneversion v ON v.id = f.version_id WHERE v.tune_id <> g.tune_id
"""

_FLASHES = f"""
SELECT 'tune ' || t.id || ' says ' || t.flash_count || ' flashes, ' || t.flash_success_count || ' good; there are '
       || coalesce(f.count, 0) || ', ' || coalesce(f.good, 0)
  FROM marketplace_tune t
  LEFT JOIN (SELECT v.tune_id, count(*) AS count, count(*) FILTER (WHERE f.outcome = '{FlashOutcome.SUCCEEDED}') AS good
               FROM marketplace_flash f
               JOIN marketplace_flashticket k ON k.id = f.ticket_id AND k.channel = '{ReleaseChannel.PUBLIC}'
               JOIN marketplace_tuneversion v ON v.id = k.version_id
              WHERE f.outcome IN ({", ".join(f"'{outcome}'" for outcome in sorted(STATISTICAL))})
              GROUP BY v.tune_id) AS f ON f.tune_id = t.id
 WHERE (t.flash_count, t.flash_success_count) <> (coalesce(f.count, 0), coalesce(f.good, 0))
"""

# A task counts, soon after the first grant of a purchase: until it has run the counter may lag behind.
_DOWNLOADS = """
SELECT 'tune ' || t.id || ' says ' || t.download_count || ' downloads; there are ' || coalesce(g.count, 0)
  FROM marketplace_tune t
  LEFT JOIN (SELECT p.tune_id, count(*) AS count FROM marketplace_grantedpurchase g JOIN marketplace_purchase p ON p.id = g.purchase_id
              GROUP BY p.tune_id) AS g ON g.tune_id = t.id
 WHERE t.download_count <> coalesce(g.count, 0)
   AND NOT EXISTS (SELECT FROM django_tasks_database_dbtaskresult k
                    WHERE k.status IN ('READY', 'RUNNING') AND k.task_path = 'marketplace.tasks.trust.count_downloads'
                      AND k.args_kwargs -> 'kwargs' ->> 'tune_id' = t.id::text)
"""

_LISTS = """
SELECT 'tune ' || t.id || CASE WHEN t.listed THEN ' is on sale and not found' ELSE ' is found and not on sale' END
  FROM marketplace_tune t LEFT JOIN marketplace_searchrow s ON s.tune_id = t.id WHERE t.listed <> (s.tune_id IS NOT NULL)
UNION ALL
SELECT 'tune ' || s.tune_id || ' is searched under another list or filter than it has'
  FROM marketplace_searchrow s WHERE s.marks <> marketplace_search_marks(s.tune_id)
UNION ALL
SELECT DISTINCT 'tune ' || t.id || ' is browsed and not on sale'
  FROM marketplace_browserow b JOIN marketplace_tune t ON t.id = b.tune_id WHERE NOT t.listed
UNION ALL
SELECT DISTINCT 'tune ' || coalesce(b.tune_id, f.tune_id)
       || CASE WHEN b.tune_id IS NULL THEN ' is missing from a list of what it fits' ELSE ' is in a list of what it does not fit' END
  FROM marketplace_browserow b
  FULL JOIN (SELECT DISTINCT f.tune_id, s.scope_id
               FROM marketplace_fitment f
              CROSS JOIN LATERAL (
                SELECT f.model_id AS scope_id UNION ALL SELECT f.make_id
                UNION ALL SELECT marketplace_ecu_scope(number, f.model_id) FROM unnest(f.hardware_numbers) AS number) AS s
              WHERE f.live) AS f USING (tune_id, scope_id)
 WHERE b.tune_id IS NULL OR f.tune_id IS NULL
UNION ALL
SELECT 'tune ' || t.id || ' says another time for its newest version'
  FROM marketplace_tune t LEFT JOIN marketplace_tuneversion v ON v.id = t.latest_version_id
 WHERE t.latest_version_at IS DISTINCT FROM v.published_at
"""

_RELEASES = f"""
SELECT 'version ' || v.id || ' is on sale with a file that has no signed release'
  FROM marketplace_tuneversion v JOIN marketplace_tunefile f ON f.version_id = v.id
 WHERE v.status = 'PUBLISHED' AND NOT EXISTS (
       SELECT FROM marketplace_release r WHERE r.file_id = f.id AND r.channel = '{ReleaseChannel.PUBLIC}' AND r.superseded_at IS NULL)
UNION ALL
SELECT 'version ' || v.id || ' is on sale with other files than were approved'
  FROM marketplace_tuneversion v
  JOIN LATERAL (SELECT array_agg(DISTINCT f.sha256::text ORDER BY f.sha256::text) AS hashes
                  FROM marketplace_tunefile f WHERE f.version_id = v.id) AS f ON true
 WHERE v.status = 'PUBLISHED' AND f.hashes IS DISTINCT FROM (
       SELECT array_agg(DISTINCT h::text ORDER BY h::text) FROM unnest(v.approved_sha256) h)
"""

INVARIANTS = {
    "the books sum to zero": _BOOKS,
    "each sale is booked as it was sold": _SALES,
    "each paid purchase has one payment": _PAYMENTS,
    "paid means licensed, refunded means not": _LICENSES,
    "refunds are what was promised, booked and given": _REFUNDS,
    "disputes, purchases and books agree": _DISPUTES,
    "each grant belongs to a paid purchase": _GRANTS,
    "tunes count their reviews": _RATINGS,
    "reviews are by buyers and marked as their purchases say": _REVIEWS,
    "tunes count their flashes": _FLASHES,
    "flashes are told of in groups as they are": _FLASH_GROUPS,
    "tunes count their downloads": _DOWNLOADS,
    "lists and search show what is on sale": _LISTS,
    "what is on sale was approved and signed": _RELEASES,
}


def _tune_files() -> Iterator[tuple[str, str, str, int]]:
    for file in TuneFile.objects.exclude(storage_key="").order_by("pk").iterator(chunk_size=200):
        yield f"tune file {file.pk}", file.storage_key, file.sha256, file.size_bytes


for name, sql in INVARIANTS.items():
    register(name, rows(sql))
register("the ledger follows from its causes", find_differences)
register("tune files are stored as they were checked", objects(_tune_files), reads_objects=True)
