"""The HTTP side of every refusal of the marketplace."""

from marketplace.problems import purchasing, trust, tunes

PROBLEMS = [*purchasing.PROBLEMS, *trust.PROBLEMS, *tunes.PROBLEMS]
