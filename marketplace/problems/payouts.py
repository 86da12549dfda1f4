from core.problems import ProblemType

PROBLEMS: list[ProblemType] = [
    ProblemType(
        "payout_country_unsupported",
        409,
        "No payout account can be opened",
        "The payment provider opens none in the tuner's country: support finds another way.",
    ),
]
