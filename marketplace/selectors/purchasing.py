"""Reads of purchases, licenses and sales. A purchase that is missing or somebody else's is the same to all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from core import crypto, storage
from core.exceptions import NotFound
from core.idempotency import KEPT_FOR
from core.models import IdempotencyRecord
from core.pagination import decode_cursor, encode_cursor
from garage.identity import vehicle_identity
from garage.models import Vehicle
from garage.selectors import get_vehicle
from marketplace import documents
from marketplace.enums import PurchaseStatus, TuneStatus, VersionStatus
from marketplace.exceptions import PurchaseNotFound, PurchaseNotPaid
from marketplace.models import Purchase, Tune, TuneVersion
from marketplace.policies.purchasing import refundable_until
from marketplace.selectors.fitment import JudgedFile, get_vehicle_facts, judge_version, with_files

SALES_BY = ("day", "tune", "country")


def get_own_purchase(buyer, purchase_id: UUID) -> Purchase:
    """A rider's own purchase. One query. Raises: PurchaseNotFound."""
    purchase = Purchase.objects.bought_by(buyer).filter(pk=purchase_id).first()
    if purchase is None:
        raise PurchaseNotFound
    return purchase


# For buying


def get_vehicle_of(buyer, vehicle_id: UUID) -> Vehicle:
    """The buyer's vehicle with its read-out. Raises: VehicleNotFound."""
    return get_vehicle(buyer, vehicle_id)


def identity_hashes_of(vehicle: Vehicle) -> list[str]:
    """Everything that tells this vehicle from others, as keyed hashes in hex: VIN, frame number and ECU serial.

    Only without any of them its stock image stands in: two bikes of one model may share it. Two rows with a hash in
    common are one vehicle.
    """
    serial_hash = vehicle.ecu.serial_hash if vehicle.ecu is not None else None
    hashes = [bytes(value).hex() for value in (vehicle.vin_hash, vehicle.frame_number_hash, serial_hash) if value]
    if not hashes and (identity := vehicle_identity(vehicle)) is not None:
        hashes = [identity.keyed_hash.hex()]
    return hashes


def get_tune_for_buyer(buyer, tune_id: UUID) -> Tune:
    """A tune with its tuner, locked against a change of price or state until the caller's transaction ends.

    Raises: NotFound for a missing one and for somebody else's draft.
    """
    tune = Tune.objects.select_for_update(no_key=True, of=("self",)).select_related("tuner").filter(pk=tune_id).first()
    if tune is None or (tune.status == TuneStatus.DRAFT and tune.tuner.user_id != buyer.pk):
        raise NotFound
    return tune


def judge_for_buyer(*, tune: Tune, vehicle: Vehicle) -> list[JudgedFile]:
    """Of each version on sale, newest first, the file that comes closest. Four queries."""
    facts = get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk)
    versions = (
        TuneVersion.objects.filter(tune=tune, status=VersionStatus.PUBLISHED).order_by("-version_order").prefetch_related(with_files())
    )
    judged = []
    for version in versions:
        judged += judge_version(version, facts, calibration_ids_after=tune.calibration_ids_after)[:1]
    return judged


def was_made_with(*, actor_id: UUID, operation: str, key: str, purchase: Purchase) -> bool:
    """Whether the first request with this key made the purchase (201), rather than found it waiting (200).

    A key expires a fixed time after its first request, and a purchase is made at the moment of that request.
    """
    return IdempotencyRecord.objects.filter(
        actor_id=actor_id, operation=operation, key=key, resource_id=purchase.pk, expires_at=purchase.created_at + KEPT_FOR
    ).exists()


# What a rider sees. Hand-written, because it is read often: one statement, rows straight to JSON's dicts, ids as texts (a hundred
# UUID objects cost a seventh of the request). The page is cut in a subquery: seven tables in one join cost Postgres 3 ms of
# planning, in two groups 0.4.

_SHAPE = """
SELECT p.id::text, p.number, p.vehicle_id::text, p.status, p.amount_minor, p.tax_minor, p.currency, p.refunded_minor, p.captured_minor,
       p.created_at, greatest(p.updated_at, p.license_updated_at), p.paid_at, p.expires_at,
       p.license_state, p.license_vehicle_id::text, p.reserved_until, p.was_granted, p.intent_id, p.client_secret,
       t.id::text, p.tune_title, t.kind, t.category, t.price_minor, t.currency, t.rating_milli, t.rating_count, t.download_count,
       t.flash_count, t.flash_success_count, t.images -> 0 ->> 'key', t.emissions_class, t.fitment_summary, v.id::text, v.version,
       v.published_at, u.id::text, u.business_name, u.verified, u.rating::float8, u.review_count
  FROM (
    SELECT p.*, l.state AS license_state, l.vehicle_id AS license_vehicle_id, l.reserved_until, l.updated_at AS license_updated_at,
           EXISTS (SELECT FROM marketplace_grantedpurchase g WHERE g.purchase_id = p.id) AS was_granted, a.intent_id, a.client_secret
      FROM marketplace_purchase p
      LEFT JOIN marketplace_license l ON l.purchase_id = p.id
      LEFT JOIN marketplace_paymentattempt a ON a.purchase_id = p.id AND a.state = 'OPEN'
     WHERE p.buyer_id = %s {condition}
     ORDER BY p.created_at DESC, p.id DESC
     LIMIT %s
  ) p
  JOIN marketplace_tune t ON t.id = p.tune_id
  JOIN tuners_tunerprofile u ON u.id = p.tuner_id
  LEFT JOIN marketplace_tuneversion v ON v.id = t.latest_version_id
 ORDER BY p.created_at DESC, p.id DESC
"""
_CHANGED_SINCE = """AND (p.updated_at >= %s OR l.updated_at >= %s OR EXISTS (
       SELECT FROM marketplace_grantedpurchase g WHERE g.purchase_id = p.id AND g.granted_at >= %s))"""


def purchase_shape(buyer, purchase_id: UUID) -> dict[str, Any]:
    """One own purchase as the API shows it. One query. Raises: PurchaseNotFound."""
    with connection.cursor() as cursor:
        cursor.execute(_SHAPE.format(condition="AND p.id = %s"), [buyer.pk, purchase_id, 1])
        row = cursor.fetchone()
    if row is None:
        raise PurchaseNotFound
    return _shaped(row)


def list_purchase_shapes(
    buyer, *, updated_since: datetime | None, status: str | None, cursor: str | None, page_size: int, bound_to: str
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of own purchases, newest first, and the cursor of the next. One query.

    Purchases are never deleted, so a cancelled or expired one is its own tombstone: it is listed with its status.
    `updated_since` finds what changed on the purchase or its license. Raises: InvalidInput for a foreign cursor.
    """
    conditions: list[str] = []
    values: list[Any] = [buyer.pk]
    if updated_since is not None:
        conditions.append(_CHANGED_SINCE)
        values += [updated_since] * 3
    if status is not None:
        conditions.append("AND p.status = %s")
        values.append(status)
    if cursor is not None:
        conditions.append("AND (p.created_at, p.id) < (%s, %s)")
        values += decode_cursor(cursor, bound_to=bound_to)
    with connection.cursor() as db:
        db.execute(_SHAPE.format(condition=" ".join(conditions)), [*values, page_size + 1])
        rows = db.fetchall()
    following = encode_cursor([rows[page_size - 1][9], rows[page_size - 1][0]], bound_to=bound_to) if len(rows) > page_size else None
    return [_shaped(row) for row in rows[:page_size]], following


def _shaped(row: Sequence[Any]) -> dict[str, Any]:
    (
        purchase_id, number, vehicle_id, status, amount_minor, tax_minor, currency, refunded_minor, captured_minor,
        created_at, updated_at, paid_at, expires_at,
        license_state, license_vehicle_id, reserved_until, was_granted, intent_id, client_secret,
        tune_id, title, kind, category, price_minor, tune_currency, rating_milli, rating_count, download_count,
        flash_count, flash_success_count, image_key, emissions_class, fitment_summary, version_id, version, published_at,
        tuner_id, business_name, verified, tuner_rating, tuner_review_count,
    ) = row  # fmt: skip
    return {
        "id": purchase_id,
        "number": number,
        "tune": {
            "id": tune_id,
            "title": title,
            "kind": kind,
            "category": category,
            "tuner": {
                "id": tuner_id,
                "business_name": business_name,
                "verified": verified,
                "rating": None if tuner_rating is None else round(tuner_rating, 1),
                "review_count": tuner_review_count,
            },
            "price_minor": price_minor,
            "currency": tune_currency,
            "rating": None if rating_milli is None else round(rating_milli / 1000, 1),
            "review_count": rating_count,
            "download_count": download_count,
            "flash_success_rate": round(flash_success_count / flash_count, 3) if flash_count else None,
            "flash_count": flash_count,
            "latest_version": None if version_id is None else {"id": version_id, "version": version, "published_at": published_at},
            "image_url": None if image_key is None else storage.public_url(image_key),
            "fitment_summary": fitment_summary,
            "emissions_class": emissions_class or None,
        },
        "vehicle": vehicle_id,
        "status": status,
        "amount_minor": amount_minor,
        "tax_minor": tax_minor,
        "currency": currency,
        "refunded_minor": refunded_minor,
        "license": None
        if license_state is None
        else {"state": license_state, "vehicle": license_vehicle_id, "reserved_until": reserved_until},
        "payment": _payment(intent_id, client_secret) if status == PurchaseStatus.PENDING else None,
        "created_at": created_at,
        "updated_at": updated_at,
        "paid_at": paid_at,
        "expires_at": expires_at if status == PurchaseStatus.PENDING else None,
        "refundable_until": refundable_until(status=status, paid_at=paid_at, captured_minor=captured_minor, was_granted=was_granted),
    }


def _payment(intent_id: str | None, client_secret: Any) -> dict[str, Any]:
    """What the app's payment sheet needs; without an intent yet (the provider was down) `sync` asks for one."""
    sandbox = settings.PAYMENTS_SANDBOX_URL.rstrip("/")
    return {
        "provider": "stripe",
        "client_secret": crypto.decrypt(client_secret) if client_secret else None,
        "publishable_key": settings.STRIPE_PUBLISHABLE_KEY,
        "sandbox_url": f"{sandbox}/pay/{intent_id}" if sandbox and intent_id else None,
    }


def get_receipt(buyer, purchase_id: UUID) -> dict[str, Any]:
    """The receipt of a purchase that was paid, from its snapshot. Two queries. Raises: PurchaseNotFound, PurchaseNotPaid."""
    purchase = Purchase.objects.bought_by(buyer).select_related("tuner", "buyer").filter(pk=purchase_id).first()
    if purchase is None:
        raise PurchaseNotFound
    if purchase.paid_at is None:
        raise PurchaseNotPaid
    return {
        "number": purchase.number,
        "purchase": purchase.pk,
        "status": purchase.status,
        "issued_at": purchase.paid_at,
        "seller": {"id": purchase.tuner_id, "name": purchase.seller_name, "country": purchase.tuner.country},
        "platform": {
            "name": settings.PLATFORM_NAME,
            "address": settings.PLATFORM_ADDRESS or None,
            "tax_id": settings.PLATFORM_TAX_ID or None,
        },
        "buyer": {"display_name": purchase.buyer.display_name, "country": purchase.tax_country or None},
        "item": {
            "tune": purchase.tune_id,
            "title": purchase.tune_title,
            "vehicle": purchase.vehicle_id,
            "vehicle_name": purchase.vehicle_name,
        },
        "amount_minor": purchase.amount_minor,
        "net_of_tax_minor": purchase.amount_minor - purchase.tax_minor,
        "tax_minor": purchase.tax_minor,
        "tax_rate_basis_points": purchase.tax_rate_basis_points,
        "tax_country": purchase.tax_country or None,
        "refunded_minor": purchase.refunded_minor,
        "refunds": [
            {"id": refund_id, "status": status, "amount_minor": amount_minor, "at": at}
            for refund_id, status, amount_minor, at in purchase.refunds.filter(reserved_at__isnull=False)
            .order_by("reserved_at", "pk")
            .values_list("pk", "status", "amount_minor", "reserved_at")
        ],
        "currency": purchase.currency,
        "html_url": documents.link_to("receipt", owner_id=purchase.buyer_id, name=purchase.pk),
        "attestation": {
            "text_version": purchase.attestation_text_version,
            "sha256": purchase.attestation_sha256,
            "accepted_at": purchase.attested_at,
        },
        "acknowledged_reasons": purchase.acknowledged_reasons,
    }


# What a tuner sees


@dataclass(frozen=True)
class Period:
    """Whole days in UTC, both ends included."""

    first: date
    last: date

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        return datetime.combine(self.first, time.min, UTC), datetime.combine(self.last + timedelta(days=1), time.min, UTC)


_SALES = """
SELECT p.id, p.number, p.tune_id, p.tune_title, p.status, p.amount_minor, p.tax_minor, p.fee_minor, p.refunded_minor,
       p.amount_minor - p.tax_minor - p.fee_minor, p.currency, p.tax_country, p.paid_at
  FROM marketplace_purchase p
 WHERE p.tuner_id = (SELECT id FROM tuners_tunerprofile WHERE user_id = %s) AND p.paid_at IS NOT NULL
"""


def list_sale_shapes(
    tuner_user, *, tune_id: UUID | None, currency: str | None, cursor: str | None, page_size: int, bound_to: str
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a tuner's own sales, newest first, without the buyers. One query."""
    sql, values = _SALES, [tuner_user.pk]
    if tune_id is not None:
        sql += "   AND p.tune_id = %s"
        values.append(tune_id)
    if currency is not None:
        sql += "   AND p.currency = %s"
        values.append(currency)
    if cursor is not None:
        sql += "   AND (p.paid_at, p.id) < (%s, %s)"
        values += decode_cursor(cursor, bound_to=bound_to)
    with connection.cursor() as db:
        db.execute(sql + " ORDER BY p.paid_at DESC, p.id DESC LIMIT %s", [*values, page_size + 1])
        rows = db.fetchall()
    following = encode_cursor([rows[page_size - 1][12], rows[page_size - 1][0]], bound_to=bound_to) if len(rows) > page_size else None
    return [_sale(row) for row in rows[:page_size]], following


def _sale(row: Sequence[Any]) -> dict[str, Any]:
    purchase_id, number, tune_id, title, status, amount, tax, fee, refunded, net, currency, country, paid_at = row
    return {
        "purchase": purchase_id,
        "number": number,
        "tune": {"id": tune_id, "title": title},
        "status": status,
        "amount_minor": amount,
        "tax_minor": tax,
        "fee_minor": fee,
        "net_minor": net,
        "refunded_minor": refunded,
        "currency": currency,
        "country": country or None,
        "paid_at": paid_at,
    }


_KEYS = {
    "day": ("to_char(x.at AT TIME ZONE 'UTC', 'YYYY-MM-DD')", "NULL"),
    "tune": ("p.tune_id::text", "max(p.tune_title)"),
    "country": ("nullif(p.tax_country, '')", "NULL"),
}

# Money comes from the books, so that a refund counts on its own day; how many were sold counts free ones too. Refunded is what
# left the shares: by refunds, and by disputes that were lost.
_SUMMARY = """
SELECT {key} AS key, {label} AS label, sum(x.sales)::bigint, sum(x.gross)::bigint, sum(x.tax)::bigint, sum(x.fee)::bigint,
       sum(x.refunded)::bigint, sum(x.net)::bigint
  FROM (
    SELECT p.id AS purchase_id, p.paid_at AS at, 1 AS sales, 0 AS gross, 0 AS tax, 0 AS fee, 0 AS refunded, 0 AS net
      FROM marketplace_purchase p
      JOIN tuners_tunerprofile u ON u.id = p.tuner_id
     WHERE u.user_id = %(user)s AND p.currency = %(currency)s AND p.paid_at >= %(from)s AND p.paid_at < %(to)s
    UNION ALL
    SELECT e.purchase_id, e.at, 0,
           CASE WHEN e.account = 'BUYER_CLEARING' AND s.cause = 'SALE' THEN -e.amount_minor ELSE 0 END,
           CASE WHEN e.account = 'TAX_PAYABLE' THEN e.amount_minor ELSE 0 END,
           CASE WHEN e.account = 'PLATFORM_FEE' THEN e.amount_minor ELSE 0 END,
           CASE WHEN e.account IN ('TAX_PAYABLE', 'PLATFORM_FEE', 'TUNER') AND s.cause <> 'SALE' THEN -e.amount_minor ELSE 0 END,
           CASE WHEN e.account = 'TUNER' THEN e.amount_minor ELSE 0 END
      FROM marketplace_ledgerentry e
      JOIN marketplace_ledgerset s ON s.id = e.set_id
      JOIN marketplace_purchase p ON p.id = e.purchase_id
      JOIN tuners_tunerprofile u ON u.id = p.tuner_id
     WHERE u.user_id = %(user)s AND e.currency = %(currency)s AND e.at >= %(from)s AND e.at < %(to)s
  ) x
  JOIN marketplace_purchase p ON p.id = x.purchase_id
 GROUP BY 1
 ORDER BY 1 NULLS LAST
"""
_SUMMED = ("sales", "gross_minor", "tax_minor", "fee_minor", "refunded_minor", "net_minor")


def summarise_sales(tuner_user, *, by: str, period: Period, currency: str) -> dict[str, Any]:
    """A tuner's own sales in one currency, added up by day, tune or country; exact, from the books. One query."""
    key, label = _KEYS[by]
    first, end = period.bounds
    with connection.cursor() as cursor:
        cursor.execute(_SUMMARY.format(key=key, label=label), {"user": tuner_user.pk, "currency": currency, "from": first, "to": end})
        found = cursor.fetchall()
    rows = [{"key": row[0], "label": row[1], **dict(zip(_SUMMED, row[2:], strict=True))} for row in found]
    return {
        "currency": currency,
        "from": period.first,
        "to": period.last,
        "by": by,
        "rows": rows,
        "total": {name: sum(row[name] for row in rows) for name in _SUMMED},
    }


def currency_of_sales(tuner_user) -> str:
    """The currency of a tuner's newest sale, else of the newest tune; EUR for who has neither."""
    found = (
        Purchase.objects.ever_paid().filter(tuner__user_id=tuner_user.pk).order_by("-paid_at").values_list("currency", flat=True).first()
        or Tune.objects.filter(tuner__user_id=tuner_user.pk).order_by("-created_at").values_list("currency", flat=True).first()
    )
    return found or "EUR"
