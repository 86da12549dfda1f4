"""What a tune and its versions can be. Clients treat a value that they don't know as unknown."""

from django.db.models import TextChoices

__all__ = [
    "EmissionsClass",
    "FindingSeverity",
    "FitmentVerdict",
    "FlashMethod",
    "InspectionVerdict",
    "ReadBack",
    "ReviewReason",
    "TuneCategory",
    "TuneStatus",
    "TuneSuspensionReason",
    "VersionStatus",
    "VersionTag",
    "XRayBase",
]


class TuneStatus(TextChoices):
    DRAFT = "DRAFT", "Draft"
    PUBLISHED = "PUBLISHED", "Published"
    ARCHIVED = "ARCHIVED", "Archived by its tuner"
    SUSPENDED = "SUSPENDED", "Suspended by staff"


class TuneCategory(TextChoices):
    STAGE_1 = "STAGE_1", "Stage 1: stock hardware"
    STAGE_2 = "STAGE_2", "Stage 2: exhaust or intake changed"
    STAGE_3 = "STAGE_3", "Stage 3: engine internals or forced induction"
    ECONOMY = "ECONOMY", "Economy and touring"
    THROTTLE = "THROTTLE", "Throttle response and ride modes"
    QUICKSHIFTER = "QUICKSHIFTER", "Quickshifter and autoblip"
    TRACK = "TRACK", "Track and race"
    FLEX_FUEL = "FLEX_FUEL", "E85 and flex fuel"
    LIMITERS = "LIMITERS", "Rev and speed limiters"
    DRIVABILITY = "DRIVABILITY", "Fuelling and drivability fixes"
    OTHER = "OTHER", "Other"


class VersionStatus(TextChoices):
    VALIDATING = "VALIDATING", "Being inspected"
    INVALID = "INVALID", "Inspection failed"
    VALIDATED = "VALIDATED", "Inspection passed"
    IN_REVIEW = "IN_REVIEW", "In review"
    CHANGES_REQUESTED = "CHANGES_REQUESTED", "Changes requested"
    REJECTED = "REJECTED", "Rejected"
    PUBLISHED = "PUBLISHED", "Published"
    ON_HOLD = "ON_HOLD", "On hold"
    RECALLED = "RECALLED", "Recalled"
    WITHDRAWN = "WITHDRAWN", "Withdrawn"


class EmissionsClass(TextChoices):
    UNCHANGED = "UNCHANGED", "Emissions behaviour unchanged"
    CERTIFIED = "CERTIFIED", "Certified, with an order number"
    CLOSED_COURSE_ONLY = "CLOSED_COURSE_ONLY", "For closed courses only"
    UNKNOWN = "UNKNOWN", "Not stated"


class FitmentVerdict(TextChoices):
    MATCH = "match", "It fits"
    UNKNOWN = "unknown", "Not certain"
    MISMATCH = "mismatch", "It does not fit"


class FlashMethod(TextChoices):
    OBD = "OBD", "Through the diagnostic port"
    BENCH = "BENCH", "On the bench, ECU removed"
    BOOT = "BOOT", "In boot mode, ECU opened"


class ReadBack(TextChoices):
    YES = "YES", "The stock image can be read back"
    NO = "NO", "The stock image can't be read back"
    UNKNOWN = "UNKNOWN", "Not known"


class VersionTag(TextChoices):
    """What a version does, in words that a rider filters by. The last four are prohibited: validation refuses them."""

    POWER = "POWER", "More power"
    TORQUE = "TORQUE", "More torque"
    THROTTLE_RESPONSE = "THROTTLE_RESPONSE", "Throttle response"
    ECONOMY = "ECONOMY", "Economy"
    QUICKSHIFTER = "QUICKSHIFTER", "Quickshifter"
    AUTOBLIP = "AUTOBLIP", "Autoblip"
    LAUNCH_CONTROL = "LAUNCH_CONTROL", "Launch control"
    TRACTION_CONTROL = "TRACTION_CONTROL", "Traction control"
    REV_LIMITER = "REV_LIMITER", "Rev limiter"
    SPEED_LIMITER = "SPEED_LIMITER", "Speed limiter"
    FAN_TEMPERATURE = "FAN_TEMPERATURE", "Fan temperature"
    ENGINE_BRAKING = "ENGINE_BRAKING", "Engine braking"
    IDLE = "IDLE", "Idle"
    FLEX_FUEL = "FLEX_FUEL", "Flex fuel"
    CATALYST_DELETE = "CATALYST_DELETE", "Catalyst monitoring removed"
    EGR_DELETE = "EGR_DELETE", "Exhaust gas recirculation removed"
    DPF_DELETE = "DPF_DELETE", "Particulate filter removed"
    SCR_DELETE = "SCR_DELETE", "Selective catalytic reduction removed"


class InspectionVerdict(TextChoices):
    PASS = "pass", "Passed"
    REFUSED = "refused", "Refused"


class FindingSeverity(TextChoices):
    INFO = "info", "Information"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"


class XRayBase(TextChoices):
    """What an image was compared with."""

    STOCK = "STOCK", "The stock image that its tuner named"
    PREVIOUS = "PREVIOUS", "The version published before"


class ReviewReason(TextChoices):
    """Why a reviewer did not publish."""

    FITMENT_DOUBTFUL = "FITMENT_DOUBTFUL", "The fitments need evidence or correction"
    DESCRIPTION_UNCLEAR = "DESCRIPTION_UNCLEAR", "Description or changelog is unclear"
    EMISSIONS_CLAIM = "EMISSIONS_CLAIM", "The emissions class is not supported"
    EMISSIONS_DELETE = "EMISSIONS_DELETE", "An emission system is switched off"
    UNSAFE_CALIBRATION = "UNSAFE_CALIBRATION", "The calibration looks unsafe"
    COPIED_FILE = "COPIED_FILE", "The file is somebody else's work"
    FILE_PROBLEM = "FILE_PROBLEM", "The file is damaged or not what is claimed"
    OTHER = "OTHER", "Something else"


class TuneSuspensionReason(TextChoices):
    SAFETY = "SAFETY", "Unsafe"
    EMISSIONS = "EMISSIONS", "Prohibited emissions content"
    COPYRIGHT = "COPYRIGHT", "Somebody else's work"
    MISLEADING = "MISLEADING", "Misleading listing"
    INVESTIGATION = "INVESTIGATION", "Under investigation"
    OTHER = "OTHER", "Something else"
