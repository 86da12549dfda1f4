from core.problems import ProblemType

PROBLEMS: list[ProblemType] = [
    ProblemType("case_already_open", 409, "A case about this is open", "`case` names it: write there."),
    ProblemType("case_resolved", 409, "The case is resolved", "A new one may be opened."),
    ProblemType("nothing_to_refund", 409, "There is nothing to give back", "The tune was free."),
    ProblemType("already_refunded", 409, "It was refunded already", "`refund` names the last refund."),
    ProblemType("purchase_disputed", 409, "The payment is disputed", "Its payer's bank decides; refunds wait until then."),
    ProblemType("purchase_charged_back", 409, "The payment was charged back", "The payer's bank took the money back."),
    ProblemType("refund_too_large", 409, "More than what is left", "`refundable_minor` tells how much is left."),
]
