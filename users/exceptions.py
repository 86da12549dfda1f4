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
