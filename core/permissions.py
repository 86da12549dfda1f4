"""Who may call at all: the access classes of the endpoint table.

They look at the account as it is in this request; no role is ever taken from a token. Whose object something is, and
in which state, is decided below, where missing and foreign are one query.
"""

from typing import Any

from rest_framework.permissions import BasePermission

from core.exceptions import NotAuthenticated, PermissionRefused


class AccountBlocked(PermissionRefused):
    """Staff keep this person out of everything but what the table opens to blocked accounts."""

    code = "account_blocked"
    message = "This account was blocked by staff."


class TunerSuspended(PermissionRefused):
    """The profile is suspended: its owner reads, and appeals."""

    code = "tuner_suspended"
    message = "Your tuner profile is suspended. You can read what is yours, and appeal."


class Public(BasePermission):
    """Anyone, signed in or not."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Always."""
        return True


class AuthenticatedEvenIfBlocked(BasePermission):
    """Anyone with a live session: for what a block must not take away (own data, the way back to stock)."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Raises: NotAuthenticated."""
        if request.user is None:
            raise NotAuthenticated
        return True


class Authenticated(AuthenticatedEvenIfBlocked):
    """Anyone with a live session and an account in good standing."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Raises: NotAuthenticated, AccountBlocked."""
        super().has_permission(request, view)
        if request.user.is_blocked:
            raise AccountBlocked
        return True


class TunerOrCreator(Authenticated):
    """Tuners and creators, suspended ones too: for reading what is one's own."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Raises: NotAuthenticated, AccountBlocked, PermissionRefused."""
        super().has_permission(request, view)
        if not request.user.is_tuner:
            raise PermissionRefused("Only tuners and creators may do this.")
        return True


class ActiveTuner(TunerOrCreator):
    """Tuners and creators in good standing; the profile's state is read now (one more query)."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Raises: NotAuthenticated, AccountBlocked, PermissionRefused, TunerSuspended."""
        super().has_permission(request, view)
        profile = getattr(request.user, "tuner_profile", None)
        if profile is None:
            raise PermissionRefused("Only tuners and creators may do this.")
        if not profile.is_active:
            raise TunerSuspended
        return True


class AdminOnly(Authenticated):
    """Admins with their second factor on."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Raises: NotAuthenticated, AccountBlocked, PermissionRefused."""
        super().has_permission(request, view)
        if not (request.user.is_staff and request.user.mfa_enabled):
            raise PermissionRefused("Only admins with a second factor may do this.")
        return True
