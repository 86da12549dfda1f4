"""What a tuner has, cent by cent, and where it goes. Everything is computed from the ledger; nothing is a column.

Every cent that a sale brought a tuner is in one state: HELD (within the hold period, or disputed), AVAILABLE, PAID (in a
payout) or CLAWED_BACK (by a refund or a lost dispute; then it is no longer in the others). What is clawed back of a share
that was paid out already is carried: it is set off against the next payout.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from core.pagination import Key, Ordering, decode_cursor, encode_cursor
from marketplace.exceptions import PayoutNotFound, StatementNotFound
from marketplace.models import Payout, PayoutAccount
from marketplace.policies.payouts import blockers_of, minimum_of, next_run_after
from tuners.models import TunerProfile
from tuners.selectors import get_profile_of
from users.models import User

NEWEST_PAYOUTS = Ordering("newest", Key("created_at", desc=True), Key("id", desc=True))

# Of a tuner in a currency: each share with what is left of it, and each claw-back.
_CENTS = """
SELECT e.id, e.at, s.cause, e.purchase_id, line.payout_id,
       CASE WHEN e.amount_minor < 0 THEN -e.amount_minor ELSE e.amount_minor - coalesce(taken.amount_minor, 0) END AS amount_minor,
       CASE WHEN e.amount_minor < 0 THEN 'CLAWED_BACK'
            WHEN line.id IS NOT NULL THEN 'PAID'
            WHEN e.available_at > %(at)s OR p.status = 'DISPUTED' THEN 'HELD'
            ELSE 'AVAILABLE' END AS state,
       CASE WHEN p.status = 'DISPUTED' AND line.id IS NULL AND e.amount_minor > 0 THEN NULL ELSE e.available_at END AS available_at,
       p.number
  FROM marketplace_ledgerentry e
  JOIN marketplace_ledgerset s ON s.id = e.set_id
  LEFT JOIN marketplace_purchase p ON p.id = e.purchase_id
  LEFT JOIN marketplace_payoutline line ON line.entry_id = e.id AND line.released_at IS NULL
  LEFT JOIN LATERAL (
       SELECT -sum(t.amount_minor) AS amount_minor FROM marketplace_ledgerentry t
        WHERE t.purchase_id = e.purchase_id AND t.account = 'TUNER' AND t.currency = e.currency AND t.amount_minor < 0
       ) AS taken ON s.cause = 'SALE'
 WHERE e.account = 'TUNER' AND e.tuner_id = %(tuner)s AND e.currency = %(currency)s AND s.cause NOT IN ('PAYOUT', 'PAYOUT_FAILED')
"""

_TOTALS = f"""
SELECT coalesce(sum(amount_minor) FILTER (WHERE state = 'HELD'), 0), coalesce(sum(amount_minor) FILTER (WHERE state = 'AVAILABLE'), 0),
       coalesce(sum(amount_minor) FILTER (WHERE state = 'PAID'), 0), coalesce(sum(amount_minor) FILTER (WHERE state = 'CLAWED_BACK'), 0),
       (SELECT coalesce(sum(amount_minor), 0) FROM marketplace_ledgerentry
         WHERE account = 'TUNER' AND tuner_id = %(tuner)s AND currency = %(currency)s)
  FROM ({_CENTS}) AS cents
"""

# What a payout takes: what is released and in no payout. A claw-back of a disputed purchase counts only if its share was paid out;
# one that was booked after `at`, of a share that was released by then, counts (`late`): it is gone from what the tuner is owed.
_CLAIMABLE = """
  FROM marketplace_ledgerentry e
  JOIN marketplace_ledgerset s ON s.id = e.set_id
  LEFT JOIN marketplace_purchase p ON p.id = e.purchase_id
 WHERE e.account = 'TUNER' AND s.cause NOT IN ('PAYOUT', 'PAYOUT_FAILED')
   AND (e.available_at <= %(at)s OR %(late)s AND e.amount_minor < 0 AND e.available_at <= e.at)
   AND NOT EXISTS (SELECT FROM marketplace_payoutline line WHERE line.entry_id = e.id AND line.released_at IS NULL)
   AND (p.status IS DISTINCT FROM 'DISPUTED' OR e.amount_minor < 0 AND EXISTS (
        SELECT FROM marketplace_ledgerentry sold
          JOIN marketplace_payoutline line ON line.entry_id = sold.id AND line.released_at IS NULL
         WHERE sold.purchase_id = e.purchase_id AND sold.account = 'TUNER' AND sold.amount_minor > 0))
"""


@dataclass(frozen=True)
class Balance:
    """A tuner's money in one currency. `carried_minor` is what was paid out and clawed back since, not set off yet (negative)."""

    currency: str
    held_minor: int
    released_minor: int
    paid_minor: int
    clawed_back_minor: int
    total_minor: int

    @property
    def carried_minor(self) -> int:
        return self.total_minor - self.held_minor - self.released_minor

    @property
    def available_minor(self) -> int:
        return max(0, self.total_minor - self.held_minor)

    @property
    def negative_minor(self) -> int:
        return max(0, self.held_minor - self.total_minor)


def get_balance(*, tuner_id: UUID, currency: str, at: datetime) -> Balance:
    """What a tuner has in a currency at a moment. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS, {"tuner": tuner_id, "currency": currency, "at": at})
        return Balance(currency, *map(int, cursor.fetchone()))


def list_cents(
    *, tuner_id: UUID, currency: str, state: str | None, cursor: str | None, page_size: int, bound_to: str, at: datetime
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a tuner's cents, newest first: each share and each claw-back with its state, and the cursor of the next. One query."""
    values: dict[str, Any] = {"tuner": tuner_id, "currency": currency, "at": at, "limit": page_size + 1}
    beyond = ""
    if cursor is not None:
        values["last_at"], values["last_id"] = decode_cursor(cursor, bound_to=bound_to)
        beyond = " AND (e.at, e.id) < (%(last_at)s, %(last_id)s)"
    of_state = ""
    if state is not None:
        values["state"] = state
        of_state = " AND state = %(state)s"
    with connection.cursor() as db:
        db.execute(
            f"SELECT * FROM ({_CENTS}{beyond}) AS cents WHERE amount_minor > 0{of_state} ORDER BY at DESC, id DESC LIMIT %(limit)s", values
        )
        rows = db.fetchall()
    following = encode_cursor([rows[page_size - 1][1], rows[page_size - 1][0]], bound_to=bound_to) if len(rows) > page_size else None
    return [_cent(row) for row in rows[:page_size]], following


def _cent(row: Sequence[Any]) -> dict[str, Any]:
    entry_id, at, cause, purchase_id, payout_id, amount, state, available_at, number = row
    return {
        "id": entry_id,
        "state": state,
        "amount_minor": int(amount),
        "cause": {"type": cause, "purchase": purchase_id, "number": number},
        "at": at,
        "available_at": available_at,
        "payout": payout_id,
    }


def list_claimable(*, tuner_id: UUID, currency: str, at: datetime, as_it_was: bool = False) -> list[tuple[UUID, int]]:
    """The entries that a payout of a tuner takes, with their amounts: what was clawed back since `at` too, but `as_it_was` then.

    One statement: lines and sum can't differ.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT e.id, e.amount_minor {_CLAIMABLE} AND e.tuner_id = %(tuner)s AND e.currency = %(currency)s ORDER BY e.at, e.id",
            {"tuner": tuner_id, "currency": currency, "at": at, "late": not as_it_was},
        )
        return [(entry_id, int(amount)) for entry_id, amount in cursor.fetchall()]


# By what an entry is known again in a database that lost it: the cause's id where the provider keeps it beside the money (of
# purchases, and of refunds that we asked for), else the provider's own.
_NAMED = """
SELECT e.id, e.amount_minor, s.cause || ' ' ||
       coalesce(CASE WHEN r.cause = 'PROVIDER' THEN r.provider_refund_id END, d.provider_dispute_id, s.cause_id::text) AS name
  FROM marketplace_ledgerentry e
  JOIN marketplace_ledgerset s ON s.id = e.set_id
  LEFT JOIN marketplace_refund r ON s.cause = 'REFUND' AND r.id = s.cause_id
  LEFT JOIN marketplace_dispute d ON s.cause = 'DISPUTE_LOST' AND d.id = s.cause_id
"""


def list_line_names(payout_id: UUID) -> list[str]:
    """By what each entry that a payout pays is known again; always the same. One query."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_NAMED} JOIN marketplace_payoutline line ON line.entry_id = e.id WHERE line.payout_id = %s", [payout_id])
        return [name for _, _, name in cursor.fetchall()]


def list_unpaid_names(*, tuner_id: UUID, currency: str) -> dict[UUID, tuple[int, str]]:
    """Amount and name of each entry of a tuner that is in no payout, released or not. One query."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""{_NAMED} WHERE e.account = 'TUNER' AND e.tuner_id = %(tuner)s AND e.currency = %(currency)s
                   AND s.cause NOT IN ('PAYOUT', 'PAYOUT_FAILED')
                   AND NOT EXISTS (SELECT FROM marketplace_payoutline line WHERE line.entry_id = e.id AND line.released_at IS NULL)""",
            {"tuner": tuner_id, "currency": currency},
        )
        return {entry_id: (int(amount), name) for entry_id, amount, name in cursor.fetchall()}


def list_due(*, at: datetime) -> list[tuple[UUID, str]]:
    """Every tuner and currency with something to pay out and no payout on its way. One query."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT e.tuner_id, e.currency {_CLAIMABLE}
                   AND NOT EXISTS (SELECT FROM marketplace_payout o
                                    WHERE o.tuner_id = e.tuner_id AND o.currency = e.currency AND o.status = 'PENDING')
                 GROUP BY e.tuner_id, e.currency HAVING sum(e.amount_minor) > 0 ORDER BY e.tuner_id, e.currency""",
            {"at": at, "late": True},
        )
        return cursor.fetchall()


def find_account_of(tuner_id: UUID) -> PayoutAccount | None:
    """A tuner's payout account, or None."""
    return PayoutAccount.objects.filter(tuner_id=tuner_id).first()


def balance_shape(
    tuner: TunerProfile,
    *,
    is_blocked: bool,
    mfa_enabled: bool,
    currency: str,
    state: str | None,
    cursor: str | None,
    page_size: int,
    bound_to: str,
    at: datetime,
) -> tuple[dict[str, Any], str | None]:
    """A tuner's balance as the API shows it, without the next page's address, and that page's cursor. Three queries."""
    balance = get_balance(tuner_id=tuner.pk, currency=currency, at=at)
    blockers = blockers_of(tuner=tuner, is_blocked=is_blocked, mfa_enabled=mfa_enabled, account=find_account_of(tuner.pk))
    rows, following = list_cents(
        tuner_id=tuner.pk, currency=currency, state=state, cursor=cursor, page_size=page_size, bound_to=bound_to, at=at
    )
    shape = {
        "currency": currency,
        "available_minor": balance.available_minor,
        "held_minor": balance.held_minor,
        "negative_minor": balance.negative_minor,
        "paid_minor": balance.paid_minor,
        "clawed_back_minor": balance.clawed_back_minor,
        "carried_minor": balance.carried_minor,
        "minimum_payout_minor": minimum_of(tuner, currency),
        "next_payout_at": None if blockers else next_run_after(at),
        "payout_blockers": blockers,
        "entries": {"next": None, "results": rows},
    }
    return shape, following


def list_payouts(tuner: TunerProfile) -> QuerySet[Payout]:
    """A tuner's payouts, in every state."""
    return Payout.objects.filter(tuner=tuner)


def get_payout(tuner: TunerProfile, payout_id: UUID) -> Payout:
    """One of a tuner's payouts. Raises: PayoutNotFound."""
    payout = list_payouts(tuner).filter(pk=payout_id).first()
    if payout is None:
        raise PayoutNotFound
    return payout


# Statements

# Each set that moved a tuner's share, with what its lines did to the other accounts; what a payout paid is its own line.
_STATEMENT = """
SELECT e.at, s.cause, coalesce(p.number, ''), coalesce(p.tune_title, ''), coalesce(p.tax_country, ''),
       coalesce((SELECT -sum(b.amount_minor) FROM marketplace_ledgerentry b WHERE b.set_id = s.id AND b.account NOT IN
                 ('TUNER', 'TAX_PAYABLE', 'PLATFORM_FEE', 'PAYOUTS')), 0),
       coalesce((SELECT sum(b.amount_minor) FROM marketplace_ledgerentry b WHERE b.set_id = s.id AND b.account = 'TAX_PAYABLE'), 0),
       coalesce((SELECT sum(b.amount_minor) FROM marketplace_ledgerentry b WHERE b.set_id = s.id AND b.account = 'PLATFORM_FEE'), 0),
       e.amount_minor, CASE WHEN s.cause IN ('PAYOUT', 'PAYOUT_FAILED') THEN s.cause_id::text ELSE coalesce(line.payout_id::text, '') END,
       e.currency
  FROM marketplace_ledgerentry e
  JOIN marketplace_ledgerset s ON s.id = e.set_id
  LEFT JOIN marketplace_purchase p ON p.id = e.purchase_id
  LEFT JOIN marketplace_payoutline line ON line.entry_id = e.id AND line.released_at IS NULL
 WHERE e.account = 'TUNER' AND e.tuner_id = %(tuner)s
"""


_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Month:
    """A calendar month in UTC."""

    year: int
    month: int

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        following = (self.year + 1, 1) if self.month == 12 else (self.year, self.month + 1)
        return datetime(self.year, self.month, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC)


def list_statement_months(tuner_id: UUID) -> list[dict[str, Any]]:
    """The months and currencies in which a tuner's share moved, newest first, each with its sums. One query."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM'), e.currency,
                      sum(e.amount_minor) FILTER (WHERE s.cause NOT IN ('PAYOUT', 'PAYOUT_FAILED')),
                      -sum(e.amount_minor) FILTER (WHERE s.cause IN ('PAYOUT', 'PAYOUT_FAILED'))
                 FROM marketplace_ledgerentry e JOIN marketplace_ledgerset s ON s.id = e.set_id
                WHERE e.account = 'TUNER' AND e.tuner_id = %s GROUP BY 1, 2 ORDER BY 1 DESC, 2""",
            [tuner_id],
        )
        return [
            {"month": month, "currency": currency, "share_minor": int(share or 0), "paid_out_minor": int(paid or 0)}
            for month, currency, share, paid in cursor.fetchall()
        ]


def statement_rows(*, tuner_id: UUID, month: Month | None = None, payout_id: UUID | None = None) -> list[Sequence[Any]]:
    """What moved a tuner's share: in a month, or into one payout. Oldest first. One query."""
    values: dict[str, Any] = {"tuner": tuner_id}
    condition = ""
    if month is not None:
        values["first"], values["end"] = month.bounds
        condition += " AND e.at >= %(first)s AND e.at < %(end)s"
    if payout_id is not None:
        values["payout"] = payout_id
        condition += (
            " AND (EXISTS (SELECT FROM marketplace_payoutline x WHERE x.entry_id = e.id AND x.payout_id = %(payout)s)"
            " OR s.cause IN ('PAYOUT', 'PAYOUT_FAILED') AND s.cause_id = %(payout)s)"
        )
    with connection.cursor() as cursor:
        cursor.execute(f"{_STATEMENT}{condition} ORDER BY e.currency, e.at, e.id", values)
        return cursor.fetchall()


def get_statement(user: User, name: str) -> list[Sequence[Any]]:
    """A tuner's statement of a month ("2026-07") or of a payout (its id). Raises: TunerNotFound, PayoutNotFound, StatementNotFound."""
    tuner = get_profile_of(user)
    if month := _MONTH.fullmatch(name):
        rows = statement_rows(tuner_id=tuner.pk, month=Month(int(month[1]), int(month[2])))
        if not rows:
            raise StatementNotFound
        return rows
    try:
        payout = get_payout(tuner, UUID(name))
    except ValueError as wrong:
        raise StatementNotFound from wrong
    return statement_rows(tuner_id=tuner.pk, payout_id=payout.pk)
