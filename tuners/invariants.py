"""What `manage.py verify_invariants` proves of tuners: their figures are those of the rows, their documents lie in storage."""

from collections.abc import Iterator

from core.invariants import objects, register, rows
from tuners.models import TunerCertification

_RATINGS = """
SELECT 'tuner ' || t.id || ' says ' || t.review_count || ' reviews, sum ' || t.rating_sum || '; there are '
       || coalesce(r.count, 0) || ', sum ' || coalesce(r.sum, 0)
  FROM tuners_tunerprofile t
  LEFT JOIN (SELECT tuner_id, count(*) AS count, sum(rating) AS sum FROM tuners_tunerreview WHERE state = 'PUBLISHED' AND is_counted
              GROUP BY tuner_id) AS r ON r.tuner_id = t.id
 WHERE (t.review_count, t.rating_sum) <> (coalesce(r.count, 0), coalesce(r.sum, 0))
"""

_MODERATION = """
SELECT 'review ' || r.id || ' is ' || r.state || ' and has open reports' FROM tuners_tunerreview r
 WHERE r.state <> 'PUBLISHED' AND EXISTS (SELECT FROM tuners_reviewreport p WHERE p.review_id = r.id AND p.state = 'OPEN')
UNION ALL
SELECT 'appeal ' || a.id || ' is open against a decision that does not stand'
  FROM tuners_reviewappeal a JOIN tuners_tunerreview r ON r.id = a.review_id LEFT JOIN tuners_reviewreport p ON p.id = a.report_id
 WHERE a.state = 'OPEN' AND (
       a.report_id IS NULL AND (r.state <> 'HIDDEN' OR a.appellant_id <> r.buyer_id OR a.against_at <> r.hidden_at)
    OR a.report_id IS NOT NULL AND (r.state <> 'PUBLISHED' OR p.state <> 'DISMISSED' OR a.appellant_id <> p.reporter_id))
"""

_FOLLOWERS = """
SELECT 'tuner ' || t.id || ' says ' || t.follower_count || ' followers; there are ' || coalesce(f.count, 0)
  FROM tuners_tunerprofile t
  LEFT JOIN (SELECT tuner_id, count(*) AS count FROM tuners_tunerfollow GROUP BY tuner_id) AS f ON f.tuner_id = t.id
 WHERE t.follower_count <> coalesce(f.count, 0)
"""

WORDS = """
WITH wanted AS (
    SELECT DISTINCT word, t.id FROM tuners_tunerprofile t, unnest(string_to_array(t.search_text, ' ') || t.make_keys::text[]) AS word
     WHERE t.status = 'ACTIVE' AND word <> ''
), held AS (SELECT word::text COLLATE "default" AS word, tuner_id AS id FROM tuners_tunerword)
SELECT 'tuner ' || id || ' is not found by ' || word FROM (TABLE wanted EXCEPT TABLE held) AS lost
UNION ALL
SELECT 'tuner ' || id || ' is found by ' || word || ', a word they have not' FROM (TABLE held EXCEPT TABLE wanted) AS left_over
"""


def _certifications() -> Iterator[tuple[str, str, str, int]]:
    for document in TunerCertification.objects.order_by("pk").iterator(chunk_size=200):
        yield f"certification {document.pk}", document.storage_key, document.sha256, document.size_bytes


register("tuners count their reviews", rows(_RATINGS))
register("reports and appeals of reviews are where their review is", rows(_MODERATION))
register("tuners count their followers", rows(_FOLLOWERS))
register("tuners are found by the words of their profile", rows(WORDS))
register("certifications are stored as they were checked", objects(_certifications), reads_objects=True)
