"""Fifty writers beside fifty readers on the same popular tunes, each with a connection of its own, through services and selectors.

All of them are threads of this process, so what they wait for in Python is in their latencies. What is looked for is what
goes wrong between connections: an error, a deadlock, a list that does not say what the tune says.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.load import Loader

WRITERS = READERS = 50
HOT = 200
TURN_SECONDS = 0.0005  # of a thread, a tenth of Python's: who holds a row's lock has not to wait for ninety-nine long turns of others

HOT_TUNES = """
SELECT t.id, p.user_id FROM marketplace_browserow b JOIN marketplace_tune t ON t.id = b.tune_id JOIN tuners_tunerprofile p ON p.id = t.tuner_id
 WHERE b.scope_id = (SELECT model_id FROM bench_model WHERE rank = 1) ORDER BY b.popularity DESC, b.tune_id DESC LIMIT %(count)s
"""
REVIEWS = """
SELECT w.id, w.buyer_id FROM tuners_tunerreview w WHERE w.tune_id = ANY(%(ids)s::uuid[]) AND w.state = 'PUBLISHED' ORDER BY w.id LIMIT 200
"""
RIDERS = "SELECT pg_temp.bench_id(1, 2000000 + r) FROM generate_series(1, %(riders)s::bigint) AS r"
# A list and the tunes it shows, compared row by row.
DISAGREEING = """
SELECT (SELECT count(*) FROM marketplace_browserow b JOIN marketplace_tune t ON t.id = b.tune_id
         WHERE b.tune_id = ANY(%(ids)s::uuid[])
           AND (NOT t.listed OR (b.price_minor, b.rating_score, b.popularity, b.published_at)
                                IS DISTINCT FROM (t.price_minor, t.rating_score, t.popularity, t.published_at)))
     + (SELECT count(*) FROM marketplace_tune t WHERE t.id = ANY(%(ids)s::uuid[])
           AND t.listed <> EXISTS (SELECT 1 FROM marketplace_searchrow s WHERE s.tune_id = t.id))
     + (SELECT count(*) FROM marketplace_tune t WHERE t.id = ANY(%(ids)s::uuid[])
           AND t.listed <> EXISTS (SELECT 1 FROM marketplace_browserow b WHERE b.tune_id = t.id))
"""
# Loaded ratings follow from numbers, not from reviews: some would become impossible when reviews change.
LEVEL = """
UPDATE tuners_tunerprofile SET rating_sum = 400, review_count = 100
 WHERE id IN (SELECT tuner_id FROM marketplace_tune WHERE id = ANY(%(ids)s::uuid[]));
UPDATE marketplace_tune SET rating_sum = 400, rating_count = 100 WHERE id = ANY(%(ids)s::uuid[]);
SELECT marketplace_refresh_tunes(%(ids)s::uuid[])
"""
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@dataclass
class Together:
    """What came of it: how often each was done, how long it took, and what went wrong."""

    seconds: float
    writers: int
    readers: int
    acts: dict[str, dict[str, float]]
    errors: dict[str, int]
    deadlocks: int
    disagreeing: int


def run_together(loader: Loader, *, seconds: float) -> Together:
    """Let them all begin at once and end after so many seconds; then compare the lists with the tunes."""
    from django.db import close_old_connections, connection

    hot = [str(tune_id) for tune_id, _ in loader.rows(HOT_TUNES, count=HOT)]
    loader.execute(LEVEL, ids=hot)
    acts = _acts(loader)
    deadlocks = loader.rows(DEADLOCKS)[0][0]
    taken: dict[str, list[float]] = {name: [] for name in acts}
    errors: Counter[str] = Counter()
    begin, until = threading.Barrier(WRITERS + READERS), [0.0]

    def work(names: list[str], number: int) -> None:
        dice = random.Random(number)  # seeded
        try:
            connection.ensure_connection()
            begin.wait(timeout=60)
            until[0] = until[0] or time.monotonic() + seconds
            while time.monotonic() < until[0]:
                name = dice.choice(names)
                began = time.perf_counter()
                try:
                    acts[name](dice)
                except Exception as exc:
                    errors[f"{name}: {type(exc).__name__}: {exc}"[:200]] += 1
                taken[name].append(1000 * (time.perf_counter() - began))
                close_old_connections()  # as after each request: one that failed is not used again
        finally:
            connection.close()

    writes = [name for name in acts if name.startswith("write")]
    reads = [name for name in acts if name.startswith("read")]
    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(writes if number < WRITERS else reads, number)) for number in range(WRITERS + READERS)]
    turn = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(turn)
    time.sleep(1.5)  # the statistics of ended connections arrive a moment later
    loader.rows("SELECT pg_stat_clear_snapshot()")
    return Together(
        seconds=round(time.monotonic() - began - 1.5, 1),
        writers=WRITERS,
        readers=READERS,
        acts={name: summary(values) for name, values in taken.items()},
        errors=dict(errors),
        deadlocks=loader.rows(DEADLOCKS)[0][0] - deadlocks,
        disagreeing=loader.rows(DISAGREEING, ids=hot)[0][0],
    )


def _acts(loader: Loader) -> dict[str, Callable[[random.Random], Any]]:
    from core import clock
    from marketplace.selectors import browse, tunes
    from marketplace.services import favorites, listings
    from tuners.services import edit_review
    from users.models import User

    hot = loader.rows(HOT_TUNES, count=HOT)
    reviews = loader.rows(REVIEWS, ids=[str(tune_id) for tune_id, _ in hot])
    riders = [row[0] for row in loader.rows(RIDERS, riders=loader.active)]
    people = User.objects.in_bulk([*(user for _, user in hot), *(user for _, user in reviews), *riders])
    ((make, model),) = loader.models(1)
    popular = {"make": make, "model": model}

    def change_price(dice: random.Random) -> None:
        tune_id, user_id = dice.choice(hot)
        listings.update_tune(author=people[user_id], tune_id=tune_id, changes={"price_minor": dice.randrange(5000, 50_000)}, at=clock.now())

    def change_words(dice: random.Random) -> None:
        tune_id, user_id = dice.choice(hot)
        words = {"description": f"Smoother at {dice.randrange(1000)} rpm."}
        listings.update_tune(author=people[user_id], tune_id=tune_id, changes=words, at=clock.now())

    def rate(dice: random.Random) -> None:
        review_id, user_id = dice.choice(reviews)
        edit_review(author=people[user_id], review_id=review_id, rating=dice.randint(1, 5), at=clock.now())

    def mark(dice: random.Random) -> None:
        act = dice.choice([lambda **who: favorites.add_favorite(at=clock.now(), **who), favorites.remove_favorite])
        act(user=people[dice.choice(riders)], tune_id=dice.choice(hot)[0])

    def page(filters: dict[str, Any], ordering: str) -> Callable[[random.Random], Any]:
        return lambda _: browse.list_tunes(filters, ordering=ordering, after=None, page_size=20)

    return {
        "write: price": change_price,
        "write: words": change_words,
        "write: rating": rate,
        "write: favourite": mark,
        "read: newest": page({}, "newest"),
        "read: popular model": page(popular, "popular"),
        "read: cheapest of it": page({**popular, "currency": "EUR"}, "price"),
        "read: search": page({"q": "stage street"}, "relevance"),
        "read: one tune": lambda dice: tunes.get_tune_detail(dice.choice(hot)[0], None),
    }


def summary(values: list[float]) -> dict[str, float]:
    """How many there are, and the milliseconds that half, 95 and 99 of a hundred stay below."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2) if ordered else 0.0

    return {"count": len(ordered), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99)}
