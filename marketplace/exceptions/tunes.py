from core.exceptions import DomainError, InvalidTransition, NotFound, PermissionRefused

__all__ = [
    "HashesDiffer",
    "OwnVersion",
    "PublishBlocked",
    "ReleaseOutdated",
    "TooManyUnpublishedVersions",
    "TuneFileMissing",
    "TuneInUse",
    "TuneNotFound",
    "TuneSuspended",
    "VerifiedBuyerRequired",
    "VersionFilesRequired",
    "VersionIllegalMove",
    "VersionNotEditable",
    "VersionNotFound",
    "VersionNumberTaken",
    "VersionWasPublished",
    "VersionWasTested",
]


class TuneNotFound(NotFound):
    """Missing, not public, or somebody else's."""

    message = "There is no such tune."


class VersionNotFound(NotFound):
    """Missing, not public, or somebody else's."""

    message = "There is no such version."


class TuneInUse(DomainError):
    """Somebody bought it, or staff acted on it: the books and the stops point to it."""

    message = "Somebody owns this tune, so it stays. Archive it instead."


class TuneSuspended(DomainError):
    message = "Staff suspended this tune. Nothing about it can be changed until that is lifted."


class PublishBlocked(DomainError):
    """The member `blockers` lists what is missing, as `tuners/me/` does."""

    message = "Something has to be settled before you can publish; `blockers` lists it."


class VersionNumberTaken(DomainError):
    message = "This tune has a version of this number already. Delete that one if it was never published, or choose another number."


class TooManyUnpublishedVersions(DomainError):
    message = "This tune has twenty versions that were never published. Delete some of them first."


class VersionIllegalMove(InvalidTransition):
    """The version's state does not allow it; the member `state` is its state."""

    code = "invalid_transition"
    message = "The version's state does not allow this."


class VersionNotEditable(DomainError):
    """In review or published; the member `state` is its state."""

    message = "A version in review or published is not changed. Cancel the review, or make a new version."


class VersionWasPublished(DomainError):
    message = "A published version is never deleted. Withdraw it, or archive the tune."


class VersionWasTested(DomainError):
    message = "A version with test tickets stays: they prove what was written to a vehicle. Make a new version with another number."


class VersionFilesRequired(DomainError):
    message = "A version needs at least one inspected file."


class OwnVersion(PermissionRefused):
    """The author never reviews, approves or suspends their own work."""

    message = "You can't decide on your own tune."


class HashesDiffer(DomainError):
    """The approval names other files than the version has; the member `sha256` lists those it has."""

    message = "The approval is for other files than this version has. Look at it again."


class ReleaseOutdated(DomainError):
    """Another version of the tune was published between signing and deciding."""

    message = "Another version of this tune was published meanwhile. Try again."


class TuneFileMissing(DomainError):
    """The stored object is gone or has another size; the member `sha256` names it."""

    message = "A file of this version is not in storage as it was inspected, so it can't be published."


class VerifiedBuyerRequired(PermissionRefused):
    message = "Only riders who bought this tune can review it."
