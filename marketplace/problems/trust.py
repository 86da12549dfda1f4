from core.problems import ProblemType

PROBLEMS: list[ProblemType] = [
    ProblemType(
        "license_revoked", 409, "The license ended", "The purchase was refunded, charged back or revoked. The tune can be bought again."
    ),
    ProblemType("license_suspended", 409, "The license is suspended", "Its payment is disputed or it is under investigation."),
    ProblemType("version_recalled", 409, "The version was recalled", "`recall`, `severity`, `reason` and `replacement` say what to do."),
    ProblemType("version_on_hold", 409, "The version is on hold", "`recall`, `severity` and `reason` say why. It may return."),
    ProblemType(
        "vehicle_mismatch",
        409,
        "The license stands on another vehicle",
        "Release it (once a year), or ask for the vehicle that it stands on.",
    ),
    ProblemType(
        "integrity_error", 409, "The stored file is not the reviewed one", "Nothing was handed out and staff were alarmed. Try again later."
    ),
    ProblemType("app_version_blocked", 409, "Update the app", "`minimum_app_version` is what may flash."),
    ProblemType("grant_refused", 409, "Try again", "Purchase or version changed several times during the request."),
    ProblemType("ticket_blocked", 409, "A flash would not be safe yet", "`ticket_blockers` lists what has to happen first, as on a grant."),
    ProblemType("second_person_required", 409, "Another admin has to confirm", "`possible_at` says when a single admin may."),
]
