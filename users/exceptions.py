"""What the users app refuses, named after the fact."""

from typing import Self

from core.exceptions import DomainError, FieldError, InvalidTransition, NotFound


class _WrongAt(DomainError):
    """A refusal that can point at the member of the body that is wrong."""

    @classmethod
    def at(cls, pointer: str) -> Self:
        """The refusal, with the place named by its JSON pointer."""
        return cls(errors=[FieldError(code=cls.code, detail=cls.message, pointer=pointer)])


class UserNotFound(NotFound):
    message = "There is no such person."


class DeviceNotFound(NotFound):
    message = "There is no such device."


class NoticeNotFound(NotFound):
    message = "There is no such notice."


class ChallengeNotFound(NotFound):
    message = "There is no such challenge."


class InvalidCredentials(DomainError):
    message = "The e-mail address and the password do not match."


class MfaCodeWrong(DomainError):
    message = "This code is not valid."


class CodeWrong(_WrongAt):
    message = "This code is not valid."


class MfaTokenOver(DomainError):
    message = "This log-in has expired or was used. Sign in again."


class ChallengeCodeWrong(DomainError):
    message = "The code is not right."


class ChallengeOver(DomainError):
    message = "This challenge has expired, was used, or had too many wrong codes. Ask for a new one."


class CurrentPasswordWrong(_WrongAt):
    message = "The password is not right."


class MfaAlreadyEnabled(DomainError):
    message = "The second factor is on already. Turn it off first."


class MfaNotEnabled(DomainError):
    message = "The second factor is not on."


class TotpNotPending(DomainError):
    message = "There is no enrolment to confirm. Start it again."


class MfaRequiredByRole(DomainError):
    message = "Admins can't turn the second factor off."


class LastActiveAdmin(DomainError):
    message = "This is the last active admin: make another one first."


class AccountDeletionBlocked(DomainError):
    """`blockers` say what must be wound down first."""

    message = "Something has to be wound down before this account can be deleted: `blockers` say what."


class StockFilesOffered(DomainError):
    """The way back of a vehicle would be gone: `stock_files` say of which, and where each is fetched."""

    message = "Your stock files go with the account. Fetch them with their restore tickets first, then say stock_files_saved=true."


class AccountIsDeleted(InvalidTransition):
    message = "This account was deleted by its owner: there is nobody left to change."


class ExportNotFound(NotFound):
    message = "There is no such export."


class ExportInProgress(DomainError):
    """`export_id` is the one that is being made."""

    message = "An export of your data is being made already."


class AdminNotBlockable(InvalidTransition):
    message = "An admin can't be blocked. Change the role first."


class RoleUnchanged(InvalidTransition):
    message = "The person has this role already."


class AccountStateUnchanged(InvalidTransition):
    message = "The account is in this state already."


class EmailUnchanged(_WrongAt):
    message = "This is your address already."


class EmailTaken(DomainError):
    """For operators only: the API never tells that an address is known."""

    message = "There is an account with this address already."
