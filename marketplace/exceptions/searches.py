from core.exceptions import DomainError, NotFound

__all__ = ["SavedSearchNameTaken", "SavedSearchNotFound", "TooManySavedSearches"]


class SavedSearchNotFound(NotFound):
    """Missing, or somebody else's."""

    message = "There is no such saved search."


class SavedSearchNameTaken(DomainError):
    message = "You have a saved search of this name already."


class TooManySavedSearches(DomainError):
    message = "You have as many saved searches as an account can have. Delete one first."
