"""The states and kinds of this app. Clients treat a value that they don't know as unknown."""

from django.db.models import TextChoices


class TunerKind(TextChoices):
    TUNER = "TUNER", "Tuner"
    CREATOR = "CREATOR", "Creator"


class TunerStatus(TextChoices):
    ACTIVE = "ACTIVE", "Active"
    SUSPENDED = "SUSPENDED", "Suspended"


class SuspensionReason(TextChoices):
    SAFETY = "SAFETY", "Unsafe files"
    EMISSIONS = "EMISSIONS", "Prohibited emissions content"
    FRAUD = "FRAUD", "Fraud or impersonation"
    DOCUMENTS = "DOCUMENTS", "Documents expired or not genuine"
    CONDUCT = "CONDUCT", "Conduct towards riders"
    OTHER = "OTHER", "Something else"
    CLOSED = "CLOSED", "The account was deleted by its owner"


class Speciality(TextChoices):
    STREET = "STREET", "Street"
    TRACK = "TRACK", "Track and race"
    DRAG = "DRAG", "Drag racing"
    OFF_ROAD = "OFF_ROAD", "Off-road and enduro"
    TOURING = "TOURING", "Touring and economy"
    FORCED_INDUCTION = "FORCED_INDUCTION", "Turbo and supercharger"
    DIESEL = "DIESEL", "Diesel"
    ALTERNATIVE_FUEL = "ALTERNATIVE_FUEL", "E85 and other fuels"
    THROTTLE_MAPS = "THROTTLE_MAPS", "Throttle and ride modes"
    EXHAUST_MATCHING = "EXHAUST_MATCHING", "Matching to exhaust and intake"
    DYNO_TUNING = "DYNO_TUNING", "Dyno tuning"
    BENCH_FLASHING = "BENCH_FLASHING", "Bench flashing"


class ApplicationStatus(TextChoices):
    DRAFT = "DRAFT", "Draft"
    SUBMITTED = "SUBMITTED", "Submitted"
    APPROVED = "APPROVED", "Approved"
    REJECTED = "REJECTED", "Rejected"
    INFO_REQUESTED = "INFO_REQUESTED", "More information requested"


class CertificationType(TextChoices):
    BUSINESS_REGISTRATION = "BUSINESS_REGISTRATION", "Business registration"
    TRADE_QUALIFICATION = "TRADE_QUALIFICATION", "Trade qualification"
    MANUFACTURER_TRAINING = "MANUFACTURER_TRAINING", "Manufacturer training"
    INSURANCE = "INSURANCE", "Liability insurance"
    IDENTITY = "IDENTITY", "Proof of identity"
    OTHER = "OTHER", "Other"


class CertificationVerdict(TextChoices):
    PENDING = "PENDING", "Not judged yet"
    ACCEPTED = "ACCEPTED", "Accepted"
    REFUSED = "REFUSED", "Refused"


class ReviewState(TextChoices):
    PUBLISHED = "PUBLISHED", "Published"
    HIDDEN = "HIDDEN", "Hidden by staff"
    DELETED = "DELETED", "Deleted by its author"


class ReportReason(TextChoices):
    ABUSE = "ABUSE", "Insult or threat"
    SPAM = "SPAM", "Advertising"
    FAKE = "FAKE", "Not a real experience"
    PERSONAL_DATA = "PERSONAL_DATA", "Somebody's personal data"
    ILLEGAL_ADVICE = "ILLEGAL_ADVICE", "Dangerous or illegal advice"
    OTHER = "OTHER", "Something else"


class ReportState(TextChoices):
    OPEN = "OPEN", "Open"
    UPHELD = "UPHELD", "Upheld: the review was hidden"
    DISMISSED = "DISMISSED", "Dismissed"
    MOOT = "MOOT", "The review was deleted by its author"


class AppealState(TextChoices):
    OPEN = "OPEN", "Open"
    ACCEPTED = "ACCEPTED", "Accepted: the suspension was lifted"
    REJECTED = "REJECTED", "Rejected"


class ReviewAppealState(TextChoices):
    OPEN = "OPEN", "Open"
    ACCEPTED = "ACCEPTED", "Accepted: the decision was turned around"
    REJECTED = "REJECTED", "Rejected: the decision stands"
    MOOT = "MOOT", "The review was deleted by its author"


class PublishBlocker(TextChoices):
    MFA_REQUIRED = "mfa_required", "Turn on two-factor sign-in first"
    TUNER_SUSPENDED = "tuner_suspended", "The profile is suspended"
    CERTIFICATION_EXPIRED = "certification_expired", "Every accepted certification has expired"
