from core.exceptions import DomainError, InvalidTransition, NotFound

__all__ = [
    "AppVersionBlocked",
    "DownloadNotFound",
    "FloorNotHigher",
    "GrantRefused",
    "IntegrityError",
    "LicenseRevoked",
    "LicenseSuspended",
    "SecondPersonRequired",
    "StatusDiverged",
    "StopNotFound",
    "StopNotOpen",
    "TicketBlocked",
    "TicketNotFound",
    "VehicleMismatch",
    "VersionOnHold",
    "VersionRecalled",
]


class DownloadNotFound(NotFound):
    """Missing, refused at its time, or somebody else's."""

    message = "There is no such download."


class TicketNotFound(NotFound):
    """Missing, or somebody else's."""

    message = "There is no such flash ticket."


class TicketBlocked(DomainError):
    """The member `ticket_blockers` lists what stands between, as on a grant."""

    message = "A flash of this vehicle would not be safe yet; `ticket_blockers` lists what has to happen first."


class StopNotFound(NotFound):
    """Missing, or of a version that this rider never had."""

    message = "There is no such recall."


class LicenseRevoked(DomainError):
    message = "This license ended: the purchase was refunded, charged back, or revoked by staff. You can buy the tune again."


class LicenseSuspended(DomainError):
    message = "This license is suspended while its payment is disputed or under investigation."


class VersionRecalled(DomainError):
    """The members `recall`, `severity`, `reason` and `replacement` tell why and what instead."""

    message = "This version was recalled. Don't flash it; the recall says what to do."


class VersionOnHold(DomainError):
    """The members `recall`, `severity`, `reason` and `replacement` tell why and what instead."""

    message = "This version is on hold while something is being looked at. Try again later."


class VehicleMismatch(DomainError):
    """The member `bound_vehicle` names the vehicle that the license stands on."""

    message = "This license stands on another vehicle. Release it first to use it here."


class IntegrityError(DomainError):
    """The stored bytes are not those that were reviewed. Nothing was handed out; staff have been alarmed."""

    message = "The stored file is not the one that was reviewed. It was stopped; please try again later."


class AppVersionBlocked(DomainError):
    """The member `minimum_app_version` says what to update to."""

    message = "This version of the app must not flash any more. Update it first."


class GrantRefused(DomainError):
    """The state changed under the grant again and again: repeat the request."""

    message = "The purchase or the version is changing right now. Try again."


class StopNotOpen(InvalidTransition):
    """The version is not stopped in this way. The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "There is no open hold or recall of this version."


class SecondPersonRequired(DomainError):
    """A recall is lifted by two people; the member `possible_at` says when one may, if there is only one."""

    message = "Another admin has to confirm that this recall is lifted."


class FloorNotHigher(InvalidTransition):
    """The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "No release of this tune is below that version, or its floor is there already."


class StatusDiverged(Exception):
    """The database says that a stop ended which storage's copy still has, without a signed lifting: publishing stops."""
