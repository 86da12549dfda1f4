"""The payment provider, seen from here: Stripe through its official package, or the stand-in that speaks like it.

Every call has time-outs and is made outside any transaction. What goes wrong is classified: `ProviderUnavailable`
(try the same call again later with the same key), `ProviderUnsure` (look at the provider's list before anything else),
`ProviderRefused` (it will never work like this). Whoever creates something derives its key from a row of ours that was
committed before, so that a repeat after a crash sends the same one; and puts the row's id into `metadata`, so that a
list finds what a lost answer told of. Callers see our own types, never the package's.
"""

from marketplace.payments.client import (
    PROVIDER,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnsure,
    UnknownToProvider,
    expects_livemode,
)
from marketplace.payments.connect import (
    Account,
    Balance,
    Payout,
    Transfer,
    TransferReversal,
    create_account,
    create_onboarding_link,
    create_payout,
    create_transfer,
    get_account,
    get_balance,
    get_payout,
    get_transfer,
    list_accounts,
    list_payouts,
    list_transfer_reversals,
    list_transfers,
    reverse_transfer,
)
from marketplace.payments.disputes import Dispute, accept_dispute, get_dispute, list_disputes, send_evidence
from marketplace.payments.events import ProviderEvent, SignatureWrong, list_events, read_event
from marketplace.payments.intents import (
    Charge,
    Intent,
    attestation_hash,
    cancel_intent,
    create_intent,
    find_charge,
    find_intents,
    get_intent,
    list_intents,
)
from marketplace.payments.refunds import Refund, create_refund, get_refund, list_refunds

__all__ = [
    "PROVIDER",
    "Account",
    "Balance",
    "Charge",
    "Dispute",
    "Intent",
    "Payout",
    "ProviderEvent",
    "ProviderRefused",
    "ProviderUnavailable",
    "ProviderUnsure",
    "Refund",
    "SignatureWrong",
    "Transfer",
    "TransferReversal",
    "UnknownToProvider",
    "accept_dispute",
    "attestation_hash",
    "cancel_intent",
    "create_account",
    "create_intent",
    "create_onboarding_link",
    "create_payout",
    "create_refund",
    "create_transfer",
    "expects_livemode",
    "find_charge",
    "find_intents",
    "get_account",
    "get_balance",
    "get_dispute",
    "get_intent",
    "get_payout",
    "get_refund",
    "get_transfer",
    "list_accounts",
    "list_disputes",
    "list_events",
    "list_intents",
    "list_payouts",
    "list_refunds",
    "list_transfer_reversals",
    "list_transfers",
    "read_event",
    "reverse_transfer",
    "send_evidence",
]
