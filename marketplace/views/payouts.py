from typing import Any

from rest_framework.response import Response

from core.views import ApiView
from marketplace import documents
from marketplace.filters import PayoutFilter
from marketplace.models import Payout, PayoutAccount
from marketplace.policies.payouts import blockers_of
from marketplace.selectors import payouts as reads
from marketplace.selectors.purchasing import currency_of_sales
from marketplace.services import payout_accounts
from tuners.models import TunerProfile
from tuners.selectors import get_profile_of


class PayoutAccountView(ApiView):
    def get(self, request):
        """Where you are paid, and what stands in the way of it."""
        tuner = get_profile_of(request.user)
        return Response(self._render(tuner, reads.find_account_of(tuner.pk)))

    def post(self, request):
        """Open an account at the payment provider, or change what it knows: answers a link to its page, for your browser.

        Coming back means that you left the page, not that you are done: read the state. Without a second factor it is refused.
        """
        account, url, expires_at = payout_accounts.open_onboarding(user=request.user, at=self.at)
        return Response({**self._render(get_profile_of(request.user), account), "onboarding_url": url, "expires_at": expires_at})

    def _render(self, tuner: TunerProfile, account: PayoutAccount | None) -> dict[str, Any]:
        return {
            "state": account and account.state,
            "requirements_due": account.requirements_due if account else [],
            "disabled_reason": (account and account.disabled_reason) or None,
            "payout_blockers": blockers_of(
                tuner=tuner, is_blocked=self.request.user.is_blocked, mfa_enabled=self.request.user.mfa_enabled, account=account
            ),
            "checked_at": account and account.checked_at,
        }


class BalanceView(ApiView):
    def get(self, request):
        """What you have in one currency, cent by cent: what is held until when, what is available, paid out or clawed back, and why.

        held + available − negative is what the books owe you. What was clawed back after it had been paid out is carried.
        """
        params = self.params()
        shape, following = reads.balance_shape(
            get_profile_of(request.user),
            is_blocked=request.user.is_blocked,
            mfa_enabled=request.user.mfa_enabled,
            currency=params.get("currency") or currency_of_sales(request.user),
            state=params.get("state"),
            cursor=params.get("cursor"),
            page_size=params["page_size"],
            bound_to=self.bound_to(),
            at=self.at,
        )
        shape["entries"]["next"] = self.next_url(following)
        return Response(shape)


class PayoutListView(ApiView):
    def get(self, request):
        """Your payouts, newest first. They are made on Mondays, of what is available, from the minimum on."""
        params = self.params()
        payouts = PayoutFilter(params, queryset=reads.list_payouts(get_profile_of(request.user))).qs
        return self.page(payouts, reads.NEWEST_PAYOUTS, params=params, render=lambda payout: render_payout(payout, request.user))


class PayoutView(ApiView):
    def get(self, request, payout):
        """One of your payouts. FAILED ones came back: what they paid is available again."""
        return Response(render_payout(reads.get_payout(get_profile_of(request.user), payout), request.user))


class StatementsView(ApiView):
    def get(self, request):
        """Your months: what your shares became, what was paid out, and a link to each as CSV. Their sums are the ledger's."""
        months = reads.list_statement_months(get_profile_of(request.user).pk)
        return Response(
            {
                "results": [
                    {**month, "statement_url": documents.link_to("statement", owner_id=request.user.pk, name=month["month"])}
                    for month in months
                ]
            }
        )


def render_payout(payout: Payout, user: Any) -> dict[str, Any]:
    """A payout as the API shows it."""
    return {
        "id": payout.pk,
        "status": payout.status,
        "amount_minor": payout.amount_minor,
        "currency": payout.currency,
        "failure_code": payout.failure_code or None,
        "created_at": payout.created_at,
        "arrived_at": payout.arrived_at,
        "statement_url": documents.link_to("statement", owner_id=user.pk, name=payout.pk),
    }
