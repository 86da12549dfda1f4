"""Afterwards: is what was acknowledged there, was anybody charged twice, is what was paid licensed?

Each rule looks at three witnesses: the clients' journal, the database, and the payment server's own list.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tools.faults.clients import Line
from tools.faults.stand import Stand

PURCHASES = """
SELECT p.id::text, p.status, p.amount_minor, p.captured_minor, p.buyer_id::text, coalesce(l.state, ''),
       -- what was promised and refused for good (the bank had it already) is owed, and did not leave the provider
       p.refunded_minor - coalesce((SELECT sum(r.amount_minor) FROM marketplace_refund r
                                     WHERE r.purchase_id = p.id AND r.status = 'FAILED' AND r.reserved_at IS NOT NULL), 0)
  FROM marketplace_purchase p LEFT JOIN marketplace_license l ON l.purchase_id = p.id
 WHERE p.buyer_id::text = ANY(%s)
"""
OWNED = {"PAID", "REFUNDED", "DISPUTED", "CHARGED_BACK"}
AT_REST = {"PAID", "CANCELED", "EXPIRED", "REFUNDED", "DISPUTED", "CHARGED_BACK"}


PAYOUTS = "SELECT id::text, status, amount_minor, transfer_id, bank_payout_id, reversal_id FROM marketplace_payout"


@dataclass
class Verdict:
    """What the judge found: `broken` must be empty."""

    broken: list[str] = field(default_factory=list)
    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    purchases: Counter[str] = field(default_factory=Counter)
    refunds: int = 0
    gave_up: int = 0


@dataclass(frozen=True)
class Evidence:
    """What stands in database and payment server about the buyers of one scenario."""

    rows: dict[str, dict[str, Any]]
    intents: dict[str, list[dict[str, Any]]]
    refunds: dict[str, int]

    @classmethod
    def of(cls, stand: Stand, buyers: Iterable[str]) -> "Evidence":
        """Read it; `buyers` are user ids."""
        buyer_ids = set(buyers)
        names = ("id", "status", "amount_minor", "captured_minor", "buyer", "license", "refunded_minor")
        rows = {row[0]: dict(zip(names, row, strict=True)) for row in stand.rows(PURCHASES, list(buyer_ids))}
        intents: dict[str, list[dict[str, Any]]] = defaultdict(list)
        of_intent: dict[str, str] = {}
        for intent in stand.everything_of("payment_intents"):
            if intent["metadata"].get("buyer") in buyer_ids:
                intents[intent["metadata"]["purchase"]].append(intent)
                of_intent[intent["id"]] = intent["metadata"]["purchase"]
        refunds: dict[str, int] = defaultdict(int)
        for refund in stand.everything_of("refunds"):
            if refund["payment_intent"] in of_intent and refund["status"] in ("succeeded", "pending"):
                refunds[of_intent[refund["payment_intent"]]] += refund["amount"]
        return cls(rows, intents, refunds)

    @property
    def is_settled(self) -> bool:
        """Whether the database has caught up with what the payment server knows."""
        return not any(_of_money(self))


def judge(
    evidence: Evidence, lines: list[Line], *, unexpected: Iterable[str], may_refuse: bool = False, may_fail: bool = True
) -> Verdict:
    """All rules over one scenario. `may_refuse`: 4xx to honest clients are allowed (a clock that is off); `may_fail`: a request
    may stay without an answer, or get 503 (not in a rolling restart)."""
    verdict = Verdict(requests=sum(line.status is None and line.what != "gave_up" for line in lines))
    verdict.purchases.update(row["status"] for row in evidence.rows.values())
    verdict.refunds = sum(amount > 0 for amount in evidence.refunds.values())
    verdict.gave_up = sum(line.what == "gave_up" for line in lines)
    verdict.broken += _of_answers(lines, verdict.answers)
    verdict.broken += _of_promises(evidence, lines)
    verdict.broken += _of_money(evidence)
    verdict.broken += _of_states(evidence)
    if not may_fail:
        verdict.broken += [f"{line.method} {line.path} failed: {line.status or 'no answer'}" for line in lines if line.status in (0, 503)]
    if not may_refuse:
        verdict.broken += [f"an honest client was refused: {text}" for text in unexpected]
        verdict.broken += [f"a client gave up: {line.body}" for line in lines if line.what == "gave_up"]
    return verdict


def _of_answers(lines: list[Line], counts: Counter[str]) -> Iterator[str]:
    """No 5xx but 503 with Retry-After."""
    for line in lines:
        if line.status is None:
            continue
        counts[str(line.status or "none")] += 1
        if line.what not in ("pay", "bank") and line.status >= 500 and not (line.status == 503 and line.retry_after):
            yield f"{line.method} {line.path} answered {line.status} {line.code} (Retry-After: {line.retry_after or 'none'})"


def _of_promises(evidence: Evidence, lines: list[Line]) -> Iterator[str]:
    """What was acknowledged exists, and one key never made two things."""
    made: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for line in lines:
        if line.what != "buy" or line.status not in (200, 201):
            continue
        made[line.client, line.what, line.key].add(line.body["id"])
        if line.body["id"] not in evidence.rows:
            yield f"purchase {line.body['id']} was acknowledged and is not in the database"
    for (_, what, key), ids in made.items():
        if len(ids) > 1:
            yield f"{what} with key {key} made {sorted(ids)}"
    for line in lines:
        if line.what in ("look", "sync") and line.status == 200 and line.body.get("status") in OWNED:
            row = evidence.rows.get(line.body["id"])
            if row is None or row["status"] not in OWNED:
                yield f"purchase {line.body['id']} was {line.body['status']} to its buyer and is {row and row['status']}"


def _of_money(evidence: Evidence) -> Iterator[str]:
    """At most one charge a purchase; what was charged is owned, what was given back is not; nothing paid is unknown."""
    for purchase_id, intents in evidence.intents.items():
        paid = [intent for intent in intents if intent["status"] == "succeeded"]
        row = evidence.rows.get(purchase_id)
        if len(paid) > 1:
            yield f"purchase {purchase_id} was charged {len(paid)} times"
        if row is None:
            if paid:
                yield f"purchase {purchase_id} was paid and is not in the database"
            continue
        received = sum(intent["amount_received"] for intent in paid)
        if received != row["captured_minor"]:
            yield f"purchase {purchase_id} ({row['status']}): the provider has {received}, the database {row['captured_minor']}"
        returned = evidence.refunds.get(purchase_id, 0)
        if returned != row["refunded_minor"]:
            yield f"purchase {purchase_id}: the provider gave {returned} back, the database says {row['refunded_minor']}"
    for purchase_id, row in evidence.rows.items():
        if row["captured_minor"] and not any(intent["status"] == "succeeded" for intent in evidence.intents.get(purchase_id, [])):
            yield f"purchase {purchase_id} is {row['status']} and nobody paid"


def _of_states(evidence: Evidence) -> Iterator[str]:
    """Paid means licensed, given back in full means not; what ended holds no payment that can still be made."""
    for purchase_id, row in evidence.rows.items():
        is_owned = row["status"] == "PAID"
        if is_owned and row["license"] in ("", "REVOKED"):
            yield f"purchase {purchase_id} is PAID, its license {row['license'] or 'missing'}"
        if row["status"] == "DISPUTED" and row["license"] not in ("SUSPENDED", "REVOKED"):
            yield f"purchase {purchase_id} is DISPUTED, its license {row['license'] or 'missing'}"
        if row["status"] in ("REFUNDED", "CHARGED_BACK") and row["license"] != "REVOKED":
            yield f"purchase {purchase_id} is {row['status']}, its license {row['license'] or 'missing'}"
        live = [
            intent["id"] for intent in evidence.intents.get(purchase_id, []) if intent["status"] not in ("succeeded", "canceled")
        ]
        if row["status"] in AT_REST and live:
            yield f"purchase {purchase_id} is {row['status']} and {live} can still be paid"


def judge_payouts(rows: Iterable[tuple], transfers: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Each payout moved its money once, and the provider moved none that we do not know. `rows` are those of PAYOUTS."""
    moved: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for transfer in transfers:
        moved[transfer["metadata"].get("payout", "")].append(transfer)
    for payout_id, status, amount_minor, transfer_id, bank_payout_id, reversal_id in rows:
        mine = [transfer for transfer in moved.pop(payout_id, []) if transfer["amount_reversed"] < transfer["amount"]]
        if len(mine) > 1:
            yield f"payout {payout_id} moved money {len(mine)} times"
        due_minor = amount_minor if transfer_id and not reversal_id else 0
        if sum(transfer["amount"] - transfer["amount_reversed"] for transfer in mine) != due_minor:
            yield f"payout {payout_id} ({status}) of {amount_minor}: the provider moved {[transfer['amount'] for transfer in mine]}"
        if status == "PAID" and not bank_payout_id:
            yield f"payout {payout_id} is PAID, and no bank was told"
    yield from (f"the provider moved money for {name or 'nobody'}, which is no payout of ours" for name in moved)
