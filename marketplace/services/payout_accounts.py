"""Where tuners are paid: their accounts at the provider. Who they are, and their bank, they tell the provider alone."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from core import audit
from core.exceptions import ServiceUnavailable
from marketplace import payments
from marketplace.enums import PayoutAccountState
from marketplace.exceptions import PaymentMismatch, PayoutCountryUnsupported
from marketplace.models import PayoutAccount, WebhookEvent
from marketplace.policies.payouts import state_of
from marketplace.policies.purchasing import KEY_TRUSTED_FOR
from marketplace.services.settlement import CLOCKS_DIFFER_BY, alarm
from tuners.models import TunerProfile
from tuners.selectors import get_profile_of
from users.enums import NoticeSeverity, NoticeType
from users.exceptions import MfaNotEnabled
from users.models import User
from users.services import notify

log = structlog.get_logger(__name__)

MAX_ATTEMPTS_A_CALL = 3
LOOKED_AT_A_ROUND = 200


def open_onboarding(*, user: User, at: datetime) -> tuple[PayoutAccount, str, datetime]:
    """Make sure that a tuner has an account at the provider, and answer it with a link to onboarding and until when it opens.

    Called by the tuner, stepped up. Locks the person's row; talks to the provider outside the transaction, with a derived
    key. Safe to repeat: the account is the same, the link a fresh one. The link is stored nowhere.

    Raises: MfaNotEnabled, TunerNotFound, PayoutCountryUnsupported, ServiceUnavailable.
    """
    with transaction.atomic():
        person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if not person.mfa_enabled:
            raise MfaNotEnabled("Money is paid out only to people with a second factor. Turn it on first.")
        tuner = get_profile_of(person)
        row, is_new = PayoutAccount.objects.get_or_create(tuner=tuner, defaults={"created_at": at})
        audit.record(act="payout_account.opened", actor_id=user.pk, subject_id=row.pk, at=at, tuner_id=tuner.pk)
        if is_new:
            notify(
                user_id=user.pk,
                type=NoticeType.SECURITY,
                title="A payout account was opened",
                body="Your sales will be paid to the account that is set up now. Was this not you? Change your password and write to us.",
                link={"resource": "tuner", "id": tuner.pk},
                severity=NoticeSeverity.WARNING,
                dedupe_key=f"payout-account-opened:{row.pk}",
                at=at,
            )
    try:
        row = _open_account(row, tuner=tuner, email=person.email, at=at)
        assert row.account_id is not None  # the constraint says so
        _follow(payments.get_account(row.account_id), at=at)
        url, expires_at = payments.create_onboarding_link(
            account_id=row.account_id, refresh_url=settings.PAYOUT_REFRESH_URL, return_url=settings.PAYOUT_RETURN_URL
        )
    except (payments.ProviderUnavailable, payments.ProviderUnsure) as trouble:
        raise ServiceUnavailable("payments", retry_after_seconds=5) from trouble
    except payments.ProviderRefused as refusal:
        log.error("payout_account_refused", tuner=str(tuner.pk), code=refusal.code)
        raise PayoutCountryUnsupported(provider_code=refusal.code) from refusal
    return PayoutAccount.objects.get(pk=row.pk), url, expires_at


def _open_account(row: PayoutAccount, *, tuner: TunerProfile, email: str, at: datetime) -> PayoutAccount:
    for _ in range(MAX_ATTEMPTS_A_CALL):
        if row.account_id is not None:
            return row
        account = None
        try:
            if at - row.created_at < KEY_TRUSTED_FOR:
                account = payments.create_account(
                    key=row.idempotency_key,
                    country=tuner.country,
                    email=email,
                    metadata={"payout_account": str(row.pk), "tuner": str(tuner.pk)},
                )
        except payments.ProviderUnsure:
            account = None
        account = account or _find_account(row)
        if account is not None:
            _attach(row, account, at=at)
        else:
            # the key is burnt, or too old to trust, and nothing came of it: a new one, whose age is counted from now
            PayoutAccount.objects.filter(pk=row.pk, attempt=row.attempt, account_id=None).update(attempt=F("attempt") + 1, created_at=at)
        row.refresh_from_db()
    raise ServiceUnavailable("payments", retry_after_seconds=5)


def _find_account(row: PayoutAccount) -> payments.Account | None:
    """The account that a lost answer told of, by its metadata."""
    since = row.created_at - CLOCKS_DIFFER_BY
    return next((account for account in payments.list_accounts(since=since) if account.metadata.get("payout_account") == str(row.pk)), None)


def _attach(row: PayoutAccount, account: payments.Account, *, at: datetime) -> None:
    PayoutAccount.objects.filter(pk=row.pk, account_id=None).update(account_id=account.id, state=state_of(account), checked_at=at)


def _follow(account: payments.Account, *, at: datetime) -> PayoutAccount:
    """Bring our row to what the provider says, and tell the tuner when payouts became possible, or impossible.

    Locks the tuner's person, then the row. Of one who left, what the provider still wants to know is kept no more.
    """
    with transaction.atomic():
        people = User.objects.select_for_update(no_key=True, of=("self",))
        person = people.filter(tuner_profile__payout_account__account_id=account.id).first()
        row = PayoutAccount.objects.select_for_update(no_key=True).filter(account_id=account.id).first()
        if row is None or person is None:
            raise PaymentMismatch(f"account {account.id} is nobody's")
        before, row.state = row.state, state_of(account)
        row.requirements_due = [name[:120] for name in account.requirements_due][:50] if person.deleted_at is None else []
        row.disabled_reason = account.disabled_reason
        row.checked_at = at
        row.save(update_fields=["state", "requirements_due", "disabled_reason", "checked_at"])
        if before != row.state:
            audit.record(act="payout_account.changed", actor_id=None, subject_id=row.pk, at=at, state=row.state, before=before)
            _tell(row, before=before, at=at)
    return row


def _tell(row: PayoutAccount, *, before: str, at: datetime) -> None:
    if PayoutAccountState.ACTIVE not in (before, row.state):
        return
    is_active = row.state == PayoutAccountState.ACTIVE
    notify(
        user_id=TunerProfile.objects.values_list("user_id", flat=True).get(pk=row.tuner_id),
        type=NoticeType.PAYOUT,
        title="You can be paid" if is_active else "Your payout account needs attention",
        body="Your payout account is set up. What is available goes out with the next payout."
        if is_active
        else "The payment provider can't pay to your account at the moment. Open the onboarding in the app and add what is missing.",
        link={"resource": "payout_account", "id": row.pk},
        severity=NoticeSeverity.INFO if is_active else NoticeSeverity.WARNING,
        dedupe_key=f"payout-account:{row.pk}:{at.isoformat()}",
        at=at,
    )


def apply_account_event(*, event: WebhookEvent, at: datetime) -> None:
    """Follow `account.updated` of a tuner's account. See `marketplace.services.webhooks`."""
    _follow(payments.get_account(event.account), at=at)


def reconcile_accounts(*, at: datetime) -> int:
    """Look at accounts that are not finished, least recently looked at first; how many. See `marketplace.services.reconciler`."""
    open_ones = PayoutAccount.objects.filter(~Q(state=PayoutAccountState.ACTIVE), account_id__isnull=False)
    looked_at = list(open_ones.order_by("checked_at").values_list("pk", "account_id")[:LOOKED_AT_A_ROUND])
    for row_id, account_id in looked_at:
        try:
            recheck_account(account_id=str(account_id), at=at)
        except payments.UnknownToProvider:
            PayoutAccount.objects.filter(pk=row_id).update(checked_at=at)
            alarm(subject_id=row_id, note="the provider does not know this account", at=at)
    return len(looked_at)


def recheck_account(*, account_id: str, at: datetime) -> None:
    """Read an account again and follow it. Raises: UnknownToProvider, ProviderUnavailable, PaymentMismatch (nobody's)."""
    _follow(payments.get_account(account_id), at=at)


def rebuild_accounts(*, since: datetime, at: datetime) -> int:
    """Write accounts that a restored database has lost, by their metadata; how many. See `marketplace.services.reconciler`.

    One of a tuner who deleted the account since is written too: payouts went there. It holds nothing that names anybody.
    """
    written = 0
    for account in payments.list_accounts(since=since - timedelta(days=1)):
        try:
            tuner_id, row_id = UUID(account.metadata.get("tuner", "")), UUID(account.metadata.get("payout_account", ""))
        except ValueError:
            continue
        tuner = TunerProfile.objects.filter(pk=tuner_id).first()
        if tuner is None or PayoutAccount.objects.filter(Q(account_id=account.id) | Q(tuner=tuner, account_id__isnull=False)).exists():
            continue
        known = {"account_id": account.id, "state": state_of(account), "checked_at": at}
        row, is_new = PayoutAccount.objects.get_or_create(tuner=tuner, defaults={"id": row_id, "created_at": at, **known})
        if not is_new:
            _attach(row, account, at=at)
        written += 1
    return written
