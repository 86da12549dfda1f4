from core.problems import ProblemType

PROBLEMS: list[ProblemType] = [
    ProblemType("already_owned", 409, "You own this tune already", "`purchase_id` names the purchase whose license you can use."),
    ProblemType(
        "price_changed", 409, "The price has changed", "`price_minor` and `currency` are the present ones: show them, then ask again."
    ),
    ProblemType("own_tune", 409, "This is your own tune", "Its tuner tests it with test tickets instead."),
    ProblemType("not_for_sale", 409, "This tune is not on sale", "It was archived or suspended, or has no published version."),
    ProblemType("fitment_mismatch", 409, "It does not fit this vehicle", "`reasons` lists codes and what differs."),
    ProblemType(
        "acknowledgement_required",
        409,
        "Acknowledge what is unknown",
        "Show `required_reasons` to the rider and send exactly these codes as `acknowledged_reasons`.",
    ),
    ProblemType("region_blocked", 451, "Not offered in this region", "By the buyer's country or the vehicle's market."),
    ProblemType(
        "attestation_required",
        409,
        "Accept the attestation first",
        "Send `text_version` as given here, with `accepted: true`, after showing the text.",
    ),
    ProblemType("purchase_not_paid", 409, "The purchase is not paid"),
    ProblemType("license_not_bound", 409, "The license is on no vehicle"),
    ProblemType(
        "license_release_too_soon", 409, "A license is released once a year", "`available_at` tells when the next release is free."
    ),
    ProblemType("invalid_signature", 400, "The event's signature does not verify"),
]
