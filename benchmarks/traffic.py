"""Two web workers under a mix of requests: 80 of a hundred browse, 15 read one tune, 5 write.

Load comes from this machine and is bounded: eight kept connections, each waiting for its answer before it asks again; once
as fast as it goes, and once at a part of that rate, as a system that is not at its end would see it.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.load import Loader, Rider
from benchmarks.measure import Client, Request, cpu_seconds, send_json, workloads
from benchmarks.servers import APPLICATION, Servers
from benchmarks.together import summary
from benchmarks.writes import HOT, SOLD, tuner_token

CONNECTIONS = 8
BROWSED = ("browse", "browse_make", "browse_price", "newest", "order_popular", "search_common", "search_rare", "search_two", "fitment")
PACED = 0.6


@dataclass
class Traffic:
    """One run of the mix."""

    title: str
    seconds: float
    requests: int
    per_second: float
    latencies: dict[str, dict[str, float]]
    errors: dict[str, int]
    application_cores: float
    database_cores: float
    load_cores: float


def run_traffic(servers: Servers, loader: Loader, token_of: Callable[[Rider], str], *, seconds: float) -> list[Traffic]:
    """At full speed, then at a part of it. The web server runs already, with two workers."""
    mix = _mix(loader, token_of, requests=int(seconds * 2000))
    _run(servers, "warm-up", mix[:2000], seconds=3, per_second=None)
    full = _run(servers, "as fast as it goes", mix[2000:], seconds=seconds, per_second=None)
    paced = _run(servers, f"at {PACED:.0%} of that", mix[::-1], seconds=seconds, per_second=PACED * full.per_second)
    return [full, paced]


def _mix(loader: Loader, token_of: Callable[[Rider], str], *, requests: int) -> list[tuple[str, Request]]:
    dice = random.Random(7)  # seeded
    riders = loader.rides()
    streams = {workload.name: workload.requests() for workload in workloads(loader, token_of)}
    hot = [row[0] for row in loader.rows(HOT, tuner=1, count=200)]
    token = tuner_token(loader, 1)
    sold = loader.rows(SOLD, riders=len(riders), count=requests)
    reviews = iter(
        [
            send_json(
                "POST", f"tuners/{tuner_id}/reviews/", {"tune": str(tune_id), "rating": 4, "text": ""}, token=token_of(riders[r - 1]), status=201
            )
            for r, tuner_id, tune_id in sold
        ]
    )

    def write() -> Request:
        kind = dice.choice(["price", "price", "favourite", "favourite", "review"])
        if kind == "review" and (review := next(reviews, None)) is not None:
            return review
        if kind == "price":
            return send_json("PATCH", f"marketplace/tunes/{dice.choice(hot)}/", {"price_minor": dice.randrange(5000, 50_000)}, token=token)
        return send_json("PUT", f"marketplace/tunes/{dice.choice(hot)}/favorite/", None, token=token_of(dice.choice(riders)), status=204)

    mix: list[tuple[str, Request]] = []
    for _ in range(requests):
        share = dice.random()
        if share < 0.8:
            mix.append(("browse", next(streams[dice.choice(BROWSED)])))
        elif share < 0.95:
            mix.append(("detail", next(streams["detail"])))
        else:
            mix.append(("write", write()))
    return mix


def _run(servers: Servers, title: str, mix: Sequence[tuple[str, Request]], *, seconds: float, per_second: float | None) -> Traffic:
    taken: dict[str, list[float]] = {"browse": [], "detail": [], "write": []}
    errors: Counter[str] = Counter()
    turn, lock = iter(mix), threading.Lock()
    began = time.monotonic()
    sent = 0

    def work() -> None:
        nonlocal sent
        client = Client(servers.ports[APPLICATION])
        while time.monotonic() - began < seconds:
            with lock:
                kind, request = next(turn, (None, None))
                number, sent = sent, sent + 1
            if request is None:
                break
            due = began + number / per_second if per_second else 0.0
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            asked = time.perf_counter()
            try:
                client.send(request)
            except (AssertionError, OSError) as exc:
                errors[str(exc)[:200]] += 1
                client.close()
            taken[kind].append(1000 * (time.perf_counter() - asked))
        client.close()

    before = _cores(servers)
    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted = time.monotonic() - began
    application, database, load = ((now - then) / lasted for now, then in zip(_cores(servers), before, strict=True))
    every = [value for values in taken.values() for value in values]
    return Traffic(
        title=title,
        seconds=round(lasted, 1),
        requests=len(every),
        per_second=round(len(every) / lasted, 1),
        latencies={"all": summary(every), **{kind: summary(values) for kind, values in taken.items()}},
        errors=dict(errors),
        application_cores=round(application, 2),
        database_cores=round(database, 2),
        load_cores=round(load, 2),
    )


def _cores(servers: Servers) -> tuple[float, float, float]:
    """Processor time of the web workers, of the database, and of this process."""
    assert servers.postgres.child is not None
    database = [psutil.Process(servers.postgres.child.pid), *psutil.Process(servers.postgres.child.pid).children()]
    return sum(map(cpu_seconds, servers.workers(APPLICATION))), sum(map(cpu_seconds, database)), time.process_time()
