"""Sending requests and counting what they cost: processor time of the web worker and of the database's backends.

Both servers get the very same requests, one after another over one kept connection, in blocks that alternate between
them; what else the machine does then hits both alike. Processor time does not depend on it much, elapsed time does.
"""

import json
import socket
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

from benchmarks.load import Loader, Rider
from benchmarks.servers import APPLICATION, FLOOR, Servers

API = "/api/v1/"
TIMES = "url_expires_at", "synced_until", "as_of"  # members that differ from one request to the next
IDS = "id", "release", "ticket", "url"


@dataclass(frozen=True)
class Request:
    """One request, as bytes for whichever port, and what has to come back."""

    head: bytes
    body: bytes = b""
    status: int = 200


def get(path: str, *, token: str | None = None, **query: Any) -> Request:
    """A GET below the API's root."""
    lines = [f"GET {API}{path}{'?' if query else ''}{urlencode(query)} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return Request("\r\n".join([*lines, "", ""]).encode())


def post(path: str, body: dict[str, Any], *, token: str) -> Request:
    """A POST with a fresh idempotency key."""
    return send_json("POST", path, body, token=token, status=201)


def send_json(method: str, path: str, body: dict[str, Any] | None, *, token: str, status: int = 200) -> Request:
    """A request that changes something, with a fresh idempotency key where it makes something."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {API}{path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json", f"Authorization: Bearer {token}"]
    if method == "POST":
        lines.append(f"Idempotency-Key: {uuid.uuid4()}")
    if data:
        lines.append("Content-Type: application/json")
    lines.append(f"Content-Length: {len(data)}")
    return Request("\r\n".join([*lines, "", ""]).encode(), data, status=status)


class Client:
    """One kept connection. Hand-written, because the load shares a core with the database."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None

    def send(self, request: Request) -> bytes:
        """The answer's body. Raises AssertionError for another status than the expected one."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request.head + request.body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))  # 204 has none
        while len(body) < length:
            body += self._receive()
        assert int(lines[0].split()[1]) == request.status, f"{request.head[:200]!r} → {lines[0]} {body[:500]!r}"
        if headers.get("connection", "").lower() == "close":
            self.close()
        return body

    def _receive(self) -> bytes:
        assert self.socket is not None
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time so far, of all threads: to the nanosecond where the kernel tells it, else to its clock tick."""
    try:
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat")) / 1e9
    except (OSError, ValueError, IndexError):
        times = process.cpu_times()
        return times.user + times.system


class Meter:
    """Processor time of one worker and of every database backend."""

    def __init__(self, servers: Servers, name: str) -> None:
        assert servers.postgres.child is not None
        (self.worker,) = servers.workers(name)
        self.postmaster = psutil.Process(servers.postgres.child.pid)
        self.backends: list[psutil.Process] = []

    def find_backends(self) -> None:
        """The backends that serve clients now; call it once all connections are open."""
        self.backends = [process for process in self.postmaster.children() if "127.0.0.1(" in " ".join(process.cmdline())]

    def read(self) -> tuple[float, float]:
        return cpu_seconds(self.worker), sum(cpu_seconds(process) for process in self.backends)


@dataclass(frozen=True)
class Workload:
    """One measured endpoint: a name, its bars, and its requests without end, some with a token of their own."""

    name: str
    title: str
    requests: Callable[[], Iterator[Request]]
    bar: float = 2.0
    growth_bar: float = 2.0
    extra_ms: float = 0.0  # what is allowed beyond the bar: the ticket's signature
    writes: bool = False


@dataclass
class Sample:
    """One block of requests to one server, by request."""

    application_ms: float
    database_ms: float
    elapsed_ms: float

    @property
    def cpu_ms(self) -> float:
        return self.application_ms + self.database_ms


@dataclass
class Series:
    """The blocks of one endpoint at one size, by server, in the order they ran: the n-th of both are neighbours."""

    workload: Workload
    tunes: int
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {APPLICATION: [], FLOOR: []})

    def median(self, server: str, what: str) -> float:
        return statistics.median(getattr(sample, what) for sample in self.samples[server])

    @property
    def ratios(self) -> list[float]:
        pairs = zip(self.samples[APPLICATION], self.samples[FLOOR], strict=True)
        return [ours.cpu_ms / floor.cpu_ms for ours, floor in pairs]


OTHER, SEARCH_GROWTH = 6.0, 4.0  # bars of what is not a hot read, and of what a search may grow by


def workloads(loader: Loader, token_of: Callable[[Rider], str]) -> list[Workload]:
    """The measured endpoints. `token_of` is asked for every request, so that no token runs out."""
    browsed, tune_ids, riders = loader.browsed(), loader.tune_ids(100), loader.rides()
    with_ticket, without_ticket = riders[: len(riders) // 2], riders[len(riders) // 2 :]
    models = loader.models(400)
    make, model = models[0]
    popular = {"make": make, "model": model}
    tunes = "marketplace/tunes/"

    def one(path: str, **query: Any) -> Callable[[], Iterator[Request]]:
        return lambda: repeat(get(path, **query))

    def each(path: str, queries: Sequence[dict[str, Any]]) -> Callable[[], Iterator[Request]]:
        return lambda: (get(path, **query) for query in cycle(queries))

    def of_rider(path: str) -> Callable[[], Iterator[Request]]:
        return lambda: (get(path, token=token_of(rider)) for rider in cycle(riders))

    def of_vehicle(which: str) -> Callable[[], Iterator[Request]]:
        return lambda: (get(tunes, token=token_of(rider), vehicle=getattr(rider, which)) for rider in cycle(riders))

    def detail() -> Iterator[Request]:
        for tune_id in cycle(tune_ids):
            yield get(f"{tunes}{tune_id}/")

    def grants(of: Sequence[Rider]) -> Callable[[], Iterator[Request]]:
        def requests() -> Iterator[Request]:
            for rider in cycle(of):
                body = {"vehicle": str(rider.vehicle_id)}
                yield post(f"marketplace/purchases/{rider.purchase_id}/downloads/", body, token=token_of(rider))

        return requests

    def search(name: str, title: str, words: Sequence[str]) -> Workload:
        return Workload(name, f"Search: {title}", each(tunes, [{"q": word} for word in words]), growth_bar=SEARCH_GROWTH)

    years = [{"make": make, "model": model, "year": year} for make, model, year in browsed]
    makes = [{"make": make} for make, _ in models[:8]]
    markets = [{**query, "market": "EU"} for query in years]
    prices = [{"make": make, "model": model, "category": "STAGE_1", "currency": "EUR", "max_price_minor": 20_000} for make, model in models[:8]]
    numbers = [{"hardware_number": number} for number in loader.hardware_numbers()]
    return [
        Workload("browse", "Browse: make, model, year", each(tunes, years)),
        Workload("browse_make", "Browse: make", each(tunes, makes)),
        Workload("browse_market", "Browse: make, model, year, market", each(tunes, markets)),
        Workload("browse_price", "Browse: model, category, price", each(tunes, prices)),
        Workload("browse_hardware", "Browse: hardware number", each(tunes, numbers)),
        Workload("newest", "Newest tunes", one(tunes)),
        Workload("order_newest", "Most popular model: newest", one(tunes, **popular)),
        Workload("order_price", "Most popular model: cheapest", one(tunes, **popular, currency="EUR", ordering="price")),
        Workload("order_dearest", "Most popular model: dearest", one(tunes, **popular, currency="EUR", ordering="-price")),
        Workload("order_rating", "Most popular model: best rated", one(tunes, **popular, ordering="rating")),
        Workload("order_popular", "Most popular model: most popular", one(tunes, **popular, ordering="popular")),
        search("search_common", "common word", ["stage"]),
        search("search_rare", "rare word", loader.rare_words()),
        search("search_unknown", "unknown word", ["qwxzvkjh", "zzqqkkxx"]),
        search("search_typo", "typo", ["yamhaa", "kawsaki", "ducatti"]),
        search("search_two", "two words", ["stage street", "yamaha touring"]),
        search("search_apart", "two words that no tune shares", ["winter summit", "kawasaki yamaha"]),
        # A model's facets are kept for a minute: each request asks for another model.
        Workload("facets", "Facets of a model, not in the cache", each(f"{tunes}facets/", [{"make": a, "model": b} for a, b in models]),
                 bar=OTHER, growth_bar=SEARCH_GROWTH),
        Workload("suggest", "Suggest", each(f"{tunes}suggest/", [{"q": text} for text in ("ya", "yam", "yamaha m", "mt0", "gsx", "dyno h")]), bar=OTHER),
        Workload("suggest_typo", "Suggest with a typo", each(f"{tunes}suggest/", [{"q": text} for text in ("yamhaa", "kawasaky z")]), bar=OTHER,
                 growth_bar=SEARCH_GROWTH),
        Workload("detail", "One tune", detail),
        Workload("tuners", "Tuners by rating", one("tuners/"), bar=OTHER),
        Workload("tuners_search", "Tuners: search", each("tuners/", [{"q": word} for word in loader.rare_words()]), bar=OTHER,
                 growth_bar=SEARCH_GROWTH),
        Workload("tuners_typo", "Tuners: search with a slip", each("tuners/", [{"q": f"dnyo {word}"} for word in loader.rare_words()]), bar=OTHER,
                 growth_bar=SEARCH_GROWTH),
        Workload("garage", "My garage, 3 vehicles", of_rider("garage/vehicles/")),
        Workload("purchases", "My purchases", of_rider("marketplace/purchases/")),
        Workload("fitment", "Fitment for 20", of_vehicle("vehicle_id"), bar=OTHER),
        Workload("fitment_none", "Vehicle that nothing fits", of_vehicle("odd_vehicle_id"), bar=OTHER),
        Workload("grant", "Download grant", grants(without_ticket), writes=True),
        Workload("grant_ticket", "Download grant with its signed ticket", grants(with_ticket), extra_ms=4.0, writes=True),
    ]  # fmt: skip


Send = Callable[[Request], bytes]


def compare_answers(to_application: Send, to_floor: Send, workload: Workload, *, times: int) -> None:
    """Both must say the same before it is asked what that costs. Raises AssertionError."""
    requests, again = workload.requests(), workload.requests()
    for _ in range(times):
        ours, floor = json.loads(to_application(next(requests))), json.loads(to_floor(next(again)))
        assert _comparable(ours) == _comparable(floor), f"{workload.name}: the floor answers otherwise\n{ours}\n{floor}"


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs each time; of those members only whether they are there."""
    plain = {name: value for name, value in answer.items() if name not in TIMES and name != "next"}
    if "ticket_blockers" in answer:
        for name in IDS:
            plain[name] = answer[name] is not None
    if "next" in answer:
        plain["next"] = answer["next"] is not None
    return _moments(plain)


def _moments(value: Any) -> Any:
    """Moments to the second: one server writes microseconds that are zero, or its offset, as another does not."""
    if isinstance(value, dict):
        return {name: _moments(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_moments(item) for item in value]
    if isinstance(value, str) and len(value) >= 20 and value[10:11] == "T" and value.endswith(("Z", "+00:00")):
        return value[:19]
    return value


def measure(
    servers: Servers, chosen: Sequence[Workload], *, tunes: int, rounds: int, block: int, warm_up: int, say: Callable[[str], None]
) -> list[Series]:
    """Warm up, then blocks: in each round every endpoint, on both servers, whose order changes from round to round."""
    streams = {(workload.name, server): workload.requests() for workload in chosen for server in (APPLICATION, FLOOR)}
    clients = {server: Client(servers.ports[server]) for server in (APPLICATION, FLOOR)}
    meters = {server: Meter(servers, server) for server in (APPLICATION, FLOOR)}
    for workload in chosen:
        for server, client in clients.items():
            for _ in range(warm_up):
                client.send(next(streams[workload.name, server]))
    for meter in meters.values():
        meter.find_backends()
    series = {workload.name: Series(workload, tunes) for workload in chosen}
    for number in range(rounds):
        order = (APPLICATION, FLOOR) if number % 2 == 0 else (FLOOR, APPLICATION)
        for workload in chosen:
            for server in order:
                sample = _block(clients[server], meters[server], streams[workload.name, server], block)
                series[workload.name].samples[server].append(sample)
        say(f"round {number + 1} of {rounds} at {tunes:,} tunes")
    for client in clients.values():
        client.close()
    return list(series.values())


def _block(client: Client, meter: Meter, stream: Iterator[Request], block: int) -> Sample:
    requests = [next(stream) for _ in range(block)]
    before, began = meter.read(), time.perf_counter()
    for request in requests:
        client.send(request)
    elapsed, after = time.perf_counter() - began, meter.read()
    application, database = (1000 * (now - then) / block for now, then in zip(after, before, strict=True))
    return Sample(application, database, 1000 * elapsed / block)
