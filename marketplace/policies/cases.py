"""Who answers in a case, until when, and what may be decided. Pure: nothing here reads or writes."""

from datetime import datetime, timedelta

from marketplace.enums import CaseAuthor, CaseKind, CaseStatus
from marketplace.exceptions import OwnCase
from marketplace.models import Purchase
from marketplace.policies.trust import ensure_is_staff
from users.models import User

ANSWER_WITHIN = {
    CaseStatus.OPEN: timedelta(hours=72),
    CaseStatus.WAITING_TUNER: timedelta(hours=72),
    CaseStatus.WAITING_RIDER: timedelta(days=7),
    CaseStatus.WAITING_STAFF: timedelta(hours=48),
}
REMIND_BEFORE = timedelta(hours=24)
MAX_ATTACHMENTS = 5
MAX_MESSAGES = 500


def due_at(status: str, *, at: datetime) -> datetime:
    """Until when whoever a case waits for should have answered."""
    return at + ANSWER_WITHIN[CaseStatus(status)]


def author_of(purchase: Purchase, user: User) -> CaseAuthor:
    """As whom somebody who sees a case writes in it. Staff who bought or sold write as what they are there."""
    if purchase.buyer_id == user.pk:
        return CaseAuthor.RIDER
    return CaseAuthor.TUNER if purchase.tuner.user_id == user.pk else CaseAuthor.STAFF


def status_after(status: str, *, kind: str, author: str, is_escalated: bool) -> CaseStatus:
    """Whom a case waits for once somebody has written in it.

    What staff have taken over stays with them until they hand it back. A tuner's word on a refund goes to staff, who decide.
    """
    if author == CaseAuthor.STAFF:
        return CaseStatus.WAITING_RIDER
    if status == CaseStatus.WAITING_STAFF or is_escalated:
        return CaseStatus.WAITING_STAFF
    if author == CaseAuthor.TUNER:
        return CaseStatus.WAITING_STAFF if kind == CaseKind.REFUND else CaseStatus.WAITING_RIDER
    return CaseStatus.OPEN if status == CaseStatus.OPEN else CaseStatus.WAITING_TUNER


def ensure_may_decide(actor: User, purchase: Purchase) -> None:
    """Raises: PermissionRefused, OwnCase (nobody decides about money of their own)."""
    ensure_is_staff(actor)
    if author_of(purchase, actor) != CaseAuthor.STAFF:
        raise OwnCase
