from core.endpoints import Endpoint
from core.permissions import ActiveTuner, TunerOrCreator
from marketplace.serializers import payouts as shapes
from marketplace.views import payouts as views

ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "GET", "tuners/me/payout-account/", views.PayoutAccountView, "get_payout_account", "Read where I am paid",
        access=TunerOrCreator, scope="owner", response=shapes.PayoutAccountOutput, step_up=True,
    ),
    Endpoint(
        "POST", "tuners/me/payout-account/", views.PayoutAccountView, "open_payout_account", "Set up where I am paid",
        access=ActiveTuner, scope="owner", response=shapes.OnboardingOutput, step_up=True,
        problems=("mfa_not_enabled", "payout_country_unsupported"), audit="payout_account.opened",
    ),
    Endpoint(
        "GET", "marketplace/balance/", views.BalanceView, "get_balance", "Read my balance, cent by cent",
        access=TunerOrCreator, scope="tuner_of", query=shapes.BalanceQuery, response=shapes.BalanceOutput,
    ),
    Endpoint(
        "GET", "marketplace/payouts/", views.PayoutListView, "list_payouts", "List my payouts",
        access=TunerOrCreator, scope="tuner_of", query=shapes.PayoutListQuery, response=shapes.PayoutOutput, paginated=True,
    ),
    Endpoint(
        "GET", "marketplace/payouts/<uuid:payout>/", views.PayoutView, "get_payout", "Read one of my payouts",
        access=TunerOrCreator, scope="tuner_of", response=shapes.PayoutOutput,
    ),
    Endpoint(
        "GET", "marketplace/statements/", views.StatementsView, "get_statements", "Read my months",
        access=TunerOrCreator, scope="tuner_of", response=shapes.StatementsOutput,
    ),
]  # fmt: skip
