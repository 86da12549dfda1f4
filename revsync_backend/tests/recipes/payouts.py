"""Balance, payouts and where a tuner is paid."""

from core.testing.matrix import Call
from marketplace.models import PayoutAccount
from marketplace.tests.factories import PayoutAccountFactory, PayoutFactory
from revsync_backend.tests.recipes import recipe, refusal


def account_of(kit):
    return PayoutAccount.objects.filter(tuner=kit.profile).first() or PayoutAccountFactory(tuner=kit.profile)


@recipe("list_payouts")
def _(kit, world):
    PayoutFactory(account=account_of(kit), paid=True)
    return Call()


@recipe("get_payout")
def _(kit, world):
    return Call(path={"payout": PayoutFactory(account=account_of(kit), paid=True).pk})


@refusal("open_payout_account", "mfa_not_enabled")
def _(kit, world):
    type(kit.user).objects.filter(pk=kit.user.pk).update(mfa_enabled_at=None)
    return Call()
