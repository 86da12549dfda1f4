"""What a rider may be typing: makes, models, tuners and titles by their beginning, a slip of the finger forgiven."""

from django.db import connection

from core.spelling import SHORTEST, slips_of
from marketplace.selectors.search import terms_of, unaccented

SUGGESTIONS = 10
MAX_LENGTH = 80

# Bounds instead of LIKE: a pattern that is made in the statement would not be looked up in the index.
_BEGUN = "p.kind = kinds.kind AND p.key ~>=~ given.key AND p.key ~<~ (given.key || chr(1114111))"
_KINDS = "unnest(ARRAY['MAKE', 'MODEL', 'TUNER', 'TUNE']) WITH ORDINALITY AS kinds (kind, place)"
_BY_BEGINNING = f"""
SELECT kinds.kind, phrase.text
  FROM (SELECT left(marketplace_key(%s), {MAX_LENGTH}) AS key) AS given
 CROSS JOIN {_KINDS}
 CROSS JOIN LATERAL (SELECT key, text FROM marketplace_searchphrase p WHERE {_BEGUN} ORDER BY p.key USING ~<~ LIMIT 10) AS phrase
 WHERE given.key <> ''
 ORDER BY kinds.place, length(phrase.key), phrase.text
"""
# Of what one slip leads to, the slips that are likelier come first. Trigrams are compared with every phrase that shares some, the
# more the more there are: only where no slip explains what was typed.
_BY_LIKENESS = f"""
WITH slipped AS MATERIALIZED (
    SELECT given.nth, kinds.kind, phrase.text
      FROM unnest(%(slips)s::text[]) WITH ORDINALITY AS given (key, nth)
     CROSS JOIN {_KINDS}
     CROSS JOIN LATERAL (SELECT key, text FROM marketplace_searchphrase p WHERE {_BEGUN} ORDER BY p.key USING ~<~ LIMIT 3) AS phrase
)
(SELECT kind, text FROM slipped ORDER BY nth, kind, text LIMIT 40)
UNION ALL
(SELECT kind, text FROM marketplace_searchphrase
  WHERE key %% %(key)s AND NOT EXISTS (SELECT FROM slipped) ORDER BY similarity(key, %(key)s) DESC, kind, text LIMIT 20)
"""


def list_suggestions(q: str) -> list[dict[str, str]]:
    """What begins with `q` however it is spelled: makes first, then models, tuners and titles; else what would begin so
    but for one slip, and what looks like it.

    One query, two when nothing begins so.
    """
    terms = terms_of(q)
    key = unaccented("".join(term.whole for term in terms))[:MAX_LENGTH]
    if not key:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_BY_BEGINNING, [q])
        rows = cursor.fetchall()
        if not rows:
            slips = [slip for slip in slips_of(key) if len(slip) >= SHORTEST]
            cursor.execute(_BY_LIKENESS, {"slips": slips, "key": key})
            rows = cursor.fetchall()
    seen: dict[str, str] = {}
    for kind, text in rows:
        seen.setdefault(text, kind)
    return [{"text": text, "kind": kind} for text, kind in list(seen.items())[:SUGGESTIONS]]
