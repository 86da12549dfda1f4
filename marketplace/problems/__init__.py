"""The HTTP side of every refusal of the marketplace."""

from marketplace.problems import cases, payouts, purchasing, searches, trust, tunes

PROBLEMS = [*cases.PROBLEMS, *payouts.PROBLEMS, *purchasing.PROBLEMS, *searches.PROBLEMS, *trust.PROBLEMS, *tunes.PROBLEMS]
