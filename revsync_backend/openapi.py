"""Names of enums and sections in the OpenAPI schema: stable, since generated clients bear them."""

_BY_APP = {
    "core.uploads.enums": "UploadPurpose UploadState",
    "users.enums": "Role ExperienceLevel Platform NoticeSeverity ExportState",
    "tuners.enums": "TunerKind TunerStatus SuspensionReason Speciality ApplicationStatus CertificationType CertificationVerdict "
    "ReportReason ReportState AppealState ReviewAppealState ReviewState",
    "garage.enums": "VehicleKind Market FuelScale CatalogStatus CatalogSource ModCategory ImageFormat TransferState",
    "marketplace.enums": "TuneStatus TuneCategory VersionStatus EmissionsClass FitmentVerdict FlashMethod ReadBack VersionTag "
    "InspectionVerdict FindingSeverity ReviewReason TuneSuspensionReason PurchaseStatus LicenseState DownloadKind DownloadOutcome "
    "FlashOutcome StopKind StopSeverity CaseKind CaseStatus CaseResolution CaseAuthor RefundStatus PayoutStatus PayoutAccountState "
    "PayoutBlocker CentState LedgerCause SavedSearchPause Withheld",
}
ENUM_NAMES = {name: f"{module}.{name}" for module, names in _BY_APP.items() for name in names.split()} | {
    "ApplicationReasonCode": ["information_requested", "rejected", "certification_refused"],
    "AnalyticsBy": "marketplace.serializers.analytics.ANALYTICS_BY",
    "BikeNearness": "marketplace.enums.SameBike",
    "CaseKindToOpen": "marketplace.serializers.cases.KINDS_TO_OPEN",
    "DynoStandard": "marketplace.serializers.tunes.DYNO_STANDARDS",
    "PricedCurrency": "marketplace.serializers.tunes.PRICED_CURRENCIES",
    "ReviewDecision": ["PUBLISHED", "CHANGES_REQUESTED", "REJECTED"],
    "SalesBy": "marketplace.selectors.purchasing.SALES_BY",
    "SavedSearchVerdict": "marketplace.serializers.discovery.VERDICTS_TOLD",
    "SuggestionKind": ["MAKE", "MODEL", "TUNER", "TUNE"],
    "TuneOrdering": "marketplace.serializers.tunes.ORDERINGS",
    "UploadMethod": ["PUT"],
}

TAGS = [
    {"name": "meta", "description": "What an app must know before it starts: versions, labels, texts, limits."},
    {"name": "auth", "description": "Registration, sign-in, the second factor, tokens and passwords."},
    {"name": "users", "description": "One's own account, profile, devices, preferences and notices."},
    {"name": "uploads", "description": "Files go to storage by a presigned link, are checked, and are then used once by their id."},
    {"name": "garage", "description": "Vehicles, their parts, ECU read-outs, stock images, the catalogue of models."},
    {"name": "tuners", "description": "Finding tuners, their reviews, and the way to become one."},
    {"name": "marketplace", "description": "Tunes and versions, purchases, downloads, flash reports, sales."},
    {"name": "trust", "description": "Signed documents that a phone checks before it flashes."},
]

SECURITY_SCHEMES = {
    "session": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The `access` token of a log-in or refresh."}
}
