"""What we know about a disputed payment, as JSON and as text that a bank can read."""

from typing import Any

from core.meta import agreed_text
from core.renderers import utc_text
from marketplace.enums import DownloadOutcome
from marketplace.models import CaseMessage, Dispute, Download, Flash, FlashTicket, Purchase
from marketplace.money import amount_text

ROWS_OF_A_KIND = 200
TEXT_CHARACTERS = 19_000  # a provider takes 20,000 in one field


def gather_evidence(dispute: Dispute) -> dict[str, Any]:
    """Attestation, downloads, tickets, flash reports, refunds and messages of the disputed purchase. Eight queries, plain values."""
    purchase = Purchase.objects.select_related("buyer", "tuner", "license").get(pk=dispute.purchase_id)
    granted = Download.objects.filter(purchase=purchase, outcome=DownloadOutcome.GRANTED).select_related("version", "file")
    tickets = FlashTicket.objects.filter(purchase=purchase).select_related("version")
    flashes = Flash.objects.filter(ticket__purchase=purchase).select_related("version")
    messages = CaseMessage.objects.filter(case__purchase=purchase).select_related("case")
    return {
        "dispute": {
            "id": dispute.provider_dispute_id,
            "reason": dispute.reason,
            "amount": amount_text(dispute.amount_minor, dispute.currency),
            "evidence_due_at": _time(dispute.evidence_due_at),
        },
        "purchase": {
            "number": purchase.number,
            "tune": purchase.tune_title,
            "seller": purchase.seller_name,
            "vehicle": purchase.vehicle_name,
            "amount": amount_text(purchase.amount_minor, purchase.currency),
            "bought_at": _time(purchase.created_at),
            "paid_at": _time(purchase.paid_at),
            "fitment_verdict": purchase.fitment_verdict,
            "acknowledged_reasons": purchase.acknowledged_reasons,
            "license_state_before": purchase.license.suspended_from or purchase.license.state,
        },
        "buyer": {"id": str(purchase.buyer_id), "name": purchase.buyer.display_name, "member_since": _time(purchase.buyer.created_at)},
        "attestation": {
            "text_version": purchase.attestation_text_version,
            "sha256": purchase.attestation_sha256,
            "accepted_at": _time(purchase.attested_at),
            "text": _text_of_attestation(purchase),
        },
        "downloads": [
            {
                "at": _time(row.created_at),
                "kind": row.kind,
                "version": row.version.version if row.version else "",
                "file_sha256": row.file.sha256 if row.file else "",
                "app_version": row.app_version,
                "session": str(row.session_id) if row.session_id else None,
            }
            for row in granted.order_by("pk")[:ROWS_OF_A_KIND]
        ],
        "flash_tickets": [
            {"issued_at": _time(row.issued_at), "version": row.version.version, "reported_at": _time(row.reported_at)}
            for row in tickets.order_by("pk")[:ROWS_OF_A_KIND]
        ],
        "flashes": [
            {
                "flashed_at": _time(row.flashed_at),
                "received_at": _time(row.received_at),
                "outcome": row.outcome,
                "version": row.version.version,
                "app_version": row.app_version,
                "calibration_before": (row.ecu_before or {}).get("calibration_id"),
                "calibration_after": (row.ecu_after or {}).get("calibration_id"),
            }
            for row in flashes.order_by("received_at", "pk")[:ROWS_OF_A_KIND]
        ],
        "refunds": [
            {"at": _time(row.reserved_at), "amount": amount_text(row.amount_minor, row.currency), "status": row.status}
            for row in purchase.refunds.exclude(reserved_at=None).order_by("pk")
        ],
        "messages": [
            {"at": _time(row.created_at), "case": row.case.kind, "author": row.author, "text": row.text}
            for row in messages.order_by("created_at", "pk")[:ROWS_OF_A_KIND]
        ],
    }


def _time(value: Any) -> str | None:
    return utc_text(value) if value is not None else None


def _text_of_attestation(purchase: Purchase) -> str:
    """The text itself while it is the present one; an older one is named by version and hash."""
    text = agreed_text("attestation")
    return text.text if (text.version, text.sha256) == (purchase.attestation_text_version, purchase.attestation_sha256) else ""


def evidence_text(evidence: dict[str, Any]) -> str:
    """The same for people, in the order in which a bank asks: what was sold, agreed, delivered, used, and said."""
    purchase, attestation = evidence["purchase"], evidence["attestation"]
    returned = "; ".join(f"{row['amount']} at {row['at']}" for row in evidence["refunds"])
    lines = [
        f"Purchase {purchase['number']}: “{purchase['tune']}” by {purchase['seller']}, {purchase['amount']}, for {purchase['vehicle']}.",
        f"Bought {purchase['bought_at']}, paid {purchase['paid_at']}, by a member since {evidence['buyer']['member_since']}.",
        f"It was known to be {_fit(purchase)} for the vehicle at that time.",
        "",
        f"The buyer accepted attestation {attestation['text_version']} (SHA-256 {attestation['sha256']}) at {attestation['accepted_at']}.",
        *([attestation["text"].strip()] if attestation["text"] else []),
        "",
        f"Delivered: {len(evidence['downloads'])} downloads were granted to the buyer's signed-in account.",
        *(f"- {row['at']} {row['kind'].lower()}, version {row['version']}, SHA-256 {row['file_sha256']}" for row in evidence["downloads"]),
        "",
        f"Used: {len(evidence['flash_tickets'])} flash tickets were issued, {len(evidence['flashes'])} flashes reported by the app.",
        *(
            f"- {row['flashed_at']} {row['outcome']}, version {row['version']}, calibration {row['calibration_before']} → "
            f"{row['calibration_after']}"
            for row in evidence["flashes"]
        ),
        "",
        f"Given back before: {returned or 'nothing'}.",
        "",
        f"Said: {len(evidence['messages'])} messages about this purchase.",
        *(f"- {row['at']} {row['author']}: {row['text']}" for row in evidence["messages"]),
    ]
    return "\n".join(lines)


def _fit(purchase: dict[str, Any]) -> str:
    if purchase["fitment_verdict"] == "match":
        return "a match"
    return f"of unknown fit, which the buyer acknowledged ({', '.join(purchase['acknowledged_reasons'])}),"


def evidence_fields(evidence: dict[str, Any], text: str, *, email: str) -> dict[str, str]:
    """The pack under the provider's names, each within its limit. Messages are in the text: their own field takes a file only."""
    downloads = "\n".join(f"{row['at']} {row['kind']} {row['version']} {row['file_sha256']}" for row in evidence["downloads"])
    flashes = "\n".join(f"{row['flashed_at']} {row['outcome']} {row['version']}" for row in evidence["flashes"])
    purchase = evidence["purchase"]
    fields = {
        "customer_name": evidence["buyer"]["name"],
        "customer_email_address": email,
        "product_description": f"Digital file: “{purchase['tune']}” by {purchase['seller']}, for {purchase['vehicle']}.",
        "service_date": (purchase["paid_at"] or "")[:10],
        "access_activity_log": f"{downloads}\n{flashes}".strip(),
        "uncategorized_text": text,
    }
    return {name: value[:TEXT_CHARACTERS] for name, value in fields.items() if value}
