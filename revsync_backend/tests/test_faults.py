"""The judge of `make faults` can be made to object, to each of its rules; and every point at which processes die exists."""

import pkgutil
from collections import Counter

import pytest

from tools.faults.clients import Line
from tools.faults.judge import Evidence, judge, judge_payouts
from tools.faults.points import POINTS

BUYER = "buyer-1"


def line(what: str = "buy", status: int | None = 201, **more) -> Line:
    given = {"key": "k1", "body": {"id": "p1", "status": "PENDING"}, **more}
    return Line(at=1.0, client=BUYER, number=1, what=what, method="POST", path="/x", status=status, **given)


def evidence(*, status="PAID", captured=100, refunded=0, license="UNBOUND", intents=None, given_back=0, known=True) -> Evidence:
    row = {
        "id": "p1",
        "status": status,
        "amount_minor": 100,
        "captured_minor": captured,
        "refunded_minor": refunded,
        "buyer": BUYER,
        "license": license,
    }
    paid = [{"id": "pi_1", "status": "succeeded", "amount_received": 100}] if intents is None else intents
    return Evidence({"p1": row} if known else {}, {"p1": paid}, {"p1": given_back} if given_back else {})


LIVE = {"id": "pi_2", "status": "requires_payment_method", "amount_received": 0}
SEEN_PAID = line("look", 200, body={"id": "p1", "status": "PAID"})
PAID = {"id": "pi_3", "status": "succeeded", "amount_received": 100}


def found(of: Evidence, lines: list[Line], *, may_refuse: bool = False, unexpected: tuple[str, ...] = ()) -> list[str]:
    return judge(of, lines, unexpected=unexpected, may_refuse=may_refuse).broken


def test_a_clean_story_has_nothing_to_object_to():
    lines = [line(status=None), line(), SEEN_PAID]
    verdict = judge(evidence(), lines, unexpected=(), may_refuse=False)
    assert (verdict.broken, verdict.requests, verdict.purchases) == ([], 1, Counter(PAID=1))


@pytest.mark.parametrize(
    ("of", "lines", "words"),
    [
        (evidence(), [line(status=500)], "answered 500"),
        (evidence(), [line(status=503)], "Retry-After: none"),
        (evidence(known=False, intents=[]), [line()], "was acknowledged and is not in the database"),
        (evidence(), [line(), line(body={"id": "p2"})], "made ['p1', 'p2']"),
        (evidence(status="PENDING", captured=0, intents=[]), [SEEN_PAID], "was PAID to its buyer"),
        (evidence(intents=[PAID, PAID]), [], "was charged 2 times"),
        (evidence(known=False), [], "was paid and is not in the database"),
        (evidence(status="EXPIRED", captured=0), [], "the provider has 100, the database 0"),
        (evidence(given_back=100), [], "the provider gave 100 back, the database says 0"),
        (evidence(intents=[]), [], "is PAID and nobody paid"),
        (evidence(license=""), [], "its license missing"),
        (evidence(license="REVOKED"), [], "its license REVOKED"),
        (evidence(status="REFUNDED", refunded=100, given_back=100), [], "is REFUNDED, its license UNBOUND"),
        (evidence(status="DISPUTED"), [], "is DISPUTED, its license UNBOUND"),
        (evidence(status="CANCELED", captured=0, intents=[LIVE]), [], "can still be paid"),
        (evidence(), [line("gave_up", None, body="buy: no answer")], "gave up"),
    ],
)
def test_each_rule_bites(of, lines, words):
    assert any(words in sentence for sentence in found(of, lines)), found(of, lines)


def test_an_honest_client_is_refused_only_where_the_clock_is_off():
    assert found(evidence(), [], unexpected=("POST /x: 400",)) == ["an honest client was refused: POST /x: 400"]
    assert found(evidence(), [], unexpected=("POST /x: 400",), may_refuse=True) == []


@pytest.mark.parametrize("status", [0, 503])
def test_a_rolling_restart_fails_nobody(status):
    lines = [line(status=status, retry_after="1")]
    assert judge(evidence(), lines, unexpected=()).broken == []
    assert len(judge(evidence(), lines, unexpected=(), may_fail=False).broken) == 1


def transfer(payout: str = "o1", amount: int = 100, reversed: int = 0) -> dict:
    return {"metadata": {"payout": payout}, "amount": amount, "amount_reversed": reversed}


@pytest.mark.parametrize(
    ("row", "transfers", "words"),
    [
        (("o1", "PAID", 100, "tr_1", "po_1", None), [transfer()], None),
        (("o1", "PENDING", 100, None, None, None), [], None),
        (("o1", "FAILED", 100, "tr_1", "po_1", "trr_1"), [transfer(reversed=100)], None),
        (("o1", "PAID", 100, "tr_1", "po_1", None), [transfer(), transfer()], "moved money 2 times"),
        (("o1", "PAID", 100, "tr_1", "po_1", None), [transfer(amount=90)], "the provider moved [90]"),
        (("o1", "PAID", 100, "tr_1", "po_1", None), [], "the provider moved []"),
        (("o1", "PENDING", 100, None, None, None), [transfer()], "the provider moved [100]"),
        (("o1", "PAID", 100, "tr_1", None, None), [transfer()], "no bank was told"),
        (("o1", "PAID", 100, "tr_1", "po_1", None), [transfer(), transfer("o2")], "for o2, which is no payout of ours"),
    ],
)
def test_a_payout_moves_its_money_once(row, transfers, words):
    said = list(judge_payouts([row], transfers))
    assert said == [] if words is None else any(words in sentence for sentence in said), said


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_point_stands_at_a_function(point):
    assert callable(pkgutil.resolve_name(point.where))
