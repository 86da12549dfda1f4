"""The points at which a process can be told to die: a name, the function that is passed there, and on which side of it.

Each stands between two steps whose order the design decides (money.md, "Purchase in three steps"): what was done before the point must
be found again by whoever comes next. A function that is no longer there fails the start of the system, so that no point is passed by
nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """`where` is looked up as the code does it: in the module that calls the function."""

    name: str
    where: str
    before: bool
    process: str  # which child of the supervisor passes it: web, worker, schedule or payments
    what: str
    when: Callable[..., bool] | None = None  # of the function's arguments: which calls pass the point


def _before(name: str, where: str, process: str, what: str) -> Point:
    return Point(name, where, True, process, what)


def _after(name: str, where: str, process: str, what: str) -> Point:
    return Point(name, where, False, process, what)


def _acted(name: str, path: str, what: str) -> Point:
    """The payment server has acted and kept its answer with the key; nobody has it."""

    def is_it(_store: Any, request: Any, *_: Any, **__: Any) -> bool:
        return request.method == "POST" and request.path == path

    return Point(name, "core.embedded.payments.server.idempotency.run", False, "payments", what, is_it)


BUYING = (
    _before("reserved", "marketplace.services.purchasing.open_payment", "web", "the purchase is reserved, the provider was not asked"),
    _before("asked", "marketplace.services.settlement._attach", "web", "the provider has an intent, we have not noted it"),
    _after("attached", "marketplace.services.purchasing.open_payment", "web", "the intent is noted, the client has no answer"),
    _after("inbox", "marketplace.views.purchasing.webhooks.receive_event", "web", "the event is in the inbox, the provider has no 2xx"),
    _before("paying", "marketplace.services.settlement.book_sale", "worker", "in the transaction that sets PAID, before the books"),
    _after("booked", "marketplace.services.settlement.book_sale", "worker", "in the transaction that sets PAID, after the books"),
    _after("applied", "marketplace.services.settlement.apply_intent", "worker", "the purchase is PAID, its event is still RECEIVED"),
    _before("canceled", "marketplace.services.settlement._close", "web", "the provider cancelled the intent, we have not noted it"),
    _before("granting", "marketplace.services.grants._write", "web", "a grant is signed, not written"),
    _after("granted", "marketplace.services.grants._write", "web", "a grant is written, not committed"),
)
GIVING_BACK = (
    _before("refund-promised", "marketplace.services.refunds._ask", "worker", "a refund is promised and booked, nobody was asked"),
    _before("refund-given", "marketplace.services.refunds.apply_refund", "worker", "the provider gave it back, we have not noted it"),
    _after("refund-applied", "marketplace.services.refunds.apply_refund", "worker", "it is noted, its task is not done"),
)
PAYING_OUT = (
    _before("payout-reserved", "marketplace.services.payouts._transfer", "worker", "a payout is reserved and booked, nothing was moved"),
    _after("payout-moved", "marketplace.services.payouts.payments.create_transfer", "worker", "the money was moved, we have not noted it"),
    _before("payout-noted", "marketplace.services.payouts._send", "worker", "the transfer is noted, the bank was not told"),
    _after("payout-arrived", "core.embedded.payments.connect.arrive", "payments", "a payout has arrived, in an open transaction"),
    _acted("transfer-made", "/v1/transfers", "the provider has moved the money to the tuner's account, we have no answer"),
    _acted("bank-told", "/v1/payouts", "the provider has told the bank, we have no answer"),
    _after("payout-sent", "marketplace.services.payouts.payments.create_payout", "worker", "the bank was told, we have not noted it"),
)
PAYMENT_SERVER = (
    _acted("intent-made", "/v1/payment_intents", "the provider has an intent, we have no answer"),
    _after("paid-there", "core.embedded.payments.server.RequestHandler._choose", "payments", "a person has paid, and sees no page"),
    _acted("given-back-there", "/v1/refunds", "the provider has given back, we have no answer"),
    _before("event-kept", "core.embedded.payments.events.Courier._send", "payments", "an event is stored, and was not sent"),
    _after("event-sent", "core.embedded.payments.events.Courier._send", "payments", "an event was sent, and is not marked so"),
)
SCHEDULE = (
    _before("slot-due", "core.schedule._take", "schedule", "a slot is due, nobody has taken it"),
    _before("slot-taken", "core.schedule.enqueue", "schedule", "in the transaction that takes a slot, before its task is queued"),
    _after("slot-queued", "core.schedule.enqueue", "schedule", "in that transaction, the task is queued, the entry does not know it"),
    _after("slot-noted", "core.schedule._take", "schedule", "the slot is taken and its task queued, the others that are due are not"),
)
POINTS = BUYING + GIVING_BACK + PAYING_OUT + PAYMENT_SERVER + SCHEDULE
