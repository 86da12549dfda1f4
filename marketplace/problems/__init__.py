"""The HTTP side of every refusal of the marketplace."""

from marketplace.problems import cases, purchasing, trust, tunes

PROBLEMS = [*cases.PROBLEMS, *purchasing.PROBLEMS, *trust.PROBLEMS, *tunes.PROBLEMS]
