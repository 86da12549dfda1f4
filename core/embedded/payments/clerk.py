"""What happens later: refunds that end, disputes that run out, payouts that arrive. Kept in storage, so a restart forgets none."""

import logging
import threading
from collections.abc import Callable

from core.embedded.payments import connect, disputes, refunds
from core.embedded.payments.store import Store, Transaction

logger = logging.getLogger("payments.clerk")

ACTS: dict[str, Callable[[Transaction, str], None]] = {
    "refund_succeeds": refunds.succeed,
    "refund_fails": refunds.fail,
    "dispute_won": lambda tx, dispute_id: disputes.decide(tx, dispute_id, won=True),
    "dispute_lost": lambda tx, dispute_id: disputes.decide(tx, dispute_id, won=False),
    "dispute_overdue": disputes.overdue,
    "payout_arrives": connect.arrive,
    "payout_fails": connect.fail_payout,
    "account_verified": lambda tx, account_id: connect.onboard(tx, account_id, "complete"),
    "account_complete": lambda tx, account_id: connect.onboard(tx, account_id, "complete"),
    "account_more_needed": lambda tx, account_id: connect.onboard(tx, account_id, "more_needed"),
    "account_rejected": lambda tx, account_id: connect.onboard(tx, account_id, "reject"),
}


class Clerk(threading.Thread):
    """Does what is due, one after the other, each in a transaction with its removal from the list."""

    def __init__(self, store: Store, *, done: Callable[[], None]) -> None:
        super().__init__(name="clerk", daemon=True)
        self.store, self.done = store, done
        self.stopping = threading.Event()

    def run(self) -> None:
        """Work until stopped."""
        while not self.stopping.wait(0.2):
            try:
                while self.do_next():
                    self.done()
            except Exception:
                logger.exception("unexpected trouble")

    def do_next(self) -> bool:
        """Do the next thing that is due; whether there was one. What can't be done any more is dropped."""
        with self.store.transaction() as tx:
            job = tx.take_job()
            if job is None:
                return False
            act, object_id = job
            tx.db.execute("SAVEPOINT job")
            try:
                ACTS[act](tx, object_id)
            except Exception as refusal:
                tx.db.execute("ROLLBACK TO job")
                logger.info("%s of %s is void: %s", act, object_id, refusal)
        return True
