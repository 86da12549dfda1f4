"""Querysets and managers of accounts and sessions."""

from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import BaseUserManager
from django.db import models

from users.normalise import normalise_email


class UserQuerySet(models.QuerySet):
    """Reads that several selectors share."""

    def active(self) -> "UserQuerySet":
        """People who may sign in and act."""
        return self.filter(is_active=True, blocked_at__isnull=True)

    def admins(self) -> "UserQuerySet":
        """Admins who may act."""
        return self.active().filter(role="ADMIN")


class UserManager(BaseUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    """Makes accounts with a folded address and a hashed password."""

    use_in_migrations = True

    def get_by_natural_key(self, username: str | None) -> Any:
        """The account of an address, however it was typed."""
        return self.get(email=normalise_email(username or "") or "")

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> Any:
        """Make an account and hash its password; who may do so is the calling service's affair. Raises: ValueError (no address)."""
        address = normalise_email(email)
        if address is None:
            raise ValueError("This is no e-mail address that we accept.")
        user = self.model(email=address, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> Any:
        """An account with the role ADMIN; `manage.py create_admin` also enrols its second factor."""
        return self.create_user(email, password, role="ADMIN", is_staff=True, is_superuser=True, **fields)


class UserDeviceQuerySet(models.QuerySet):
    """Reads and bulk ends of sessions."""

    def live(self, at: datetime) -> "UserDeviceQuerySet":
        """Sessions that still authenticate."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=at)

    def end(self, *, reason: str, at: datetime) -> int:
        """End those not ended yet; answers how many."""
        return self.filter(revoked_at__isnull=True).update(revoked_at=at, revoked_reason=reason, push_token="")
