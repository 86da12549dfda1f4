"""What `manage.py verify_invariants` proves of tuners: their figures are those of the rows, their documents lie in storage."""

from collections.abc import Iterator

from core.invariants import objects, register, rows
from tuners.models import TunerCertification

_RATINGS = """
SELECT 'tuner ' || t.id || ' says ' || t.review_count || ' reviews, sum ' || t.rating_sum || '; there are '
       || coalesce(r.count, 0) || ', sum ' || coalesce(r.sum, 0)
  FROM tuners_tunerprofile t
  LEFT JOIN (SELECT tuner_id, count(*) AS count, sum(rating) AS sum FROM tuners_tunerreview WHERE state = 'PUBLISHED'
              GROUP BY tuner_id) AS r ON r.tuner_id = t.id
 WHERE (t.review_count, t.rating_sum) <> (coalesce(r.count, 0), coalesce(r.sum, 0))
"""

_FOLLOWERS = """
SELECT 'tuner ' || t.id || ' says ' || t.follower_count || ' followers; there are ' || coalesce(f.count, 0)
  FROM tuners_tunerprofile t
  LEFT JOIN (SELECT tuner_id, count(*) AS count FROM tuners_tunerfollow GROUP BY tuner_id) AS f ON f.tuner_id = t.id
 WHERE t.follower_count <> coalesce(f.count, 0)
"""


def _certifications() -> Iterator[tuple[str, str, str, int]]:
    for document in TunerCertification.objects.order_by("pk").iterator(chunk_size=200):
        yield f"certification {document.pk}", document.storage_key, document.sha256, document.size_bytes


register("tuners count their reviews", rows(_RATINGS))
register("tuners count their followers", rows(_FOLLOWERS))
register("certifications are stored as they were checked", objects(_certifications), reads_objects=True)
