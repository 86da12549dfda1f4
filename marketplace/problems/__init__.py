"""The HTTP side of every refusal of the marketplace."""

from marketplace.problems import cases, payouts, purchasing, trust, tunes

PROBLEMS = [*cases.PROBLEMS, *payouts.PROBLEMS, *purchasing.PROBLEMS, *trust.PROBLEMS, *tunes.PROBLEMS]
