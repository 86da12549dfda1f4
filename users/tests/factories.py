"""People and sessions for tests: the lowest legal state by default, further states as traits."""

from datetime import timedelta
from functools import cache

import factory
from django.contrib.auth.hashers import make_password

from core import clock
from users.enums import NoticeCategory, NoticeType, Role
from users.models import Notice, TotpDevice, User, UserDevice, UserProfile

PASSWORD = "quiet-otter-lifts-9-anvils"
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@cache
def hashed_password() -> str:
    """The hash of PASSWORD, made once a process: Argon2 is slow on purpose."""
    return make_password(PASSWORD)


class UserProfileFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = UserProfile

    user = factory.SubFactory("users.tests.factories.UserFactory", profile=None)


class TotpDeviceFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = TotpDevice

    user = factory.SubFactory("users.tests.factories.UserFactory")
    secret = TOTP_SECRET
    confirmed_at = factory.LazyFunction(clock.now)


class UserFactory(factory.django.DjangoModelFactory):
    """A rider with the password PASSWORD; `mfa=True` adds a confirmed authenticator with TOTP_SECRET."""

    class Meta:
        model = User
        skip_postgeneration_save = True

    class Params:
        tuner = factory.Trait(role=Role.TUNER)
        creator = factory.Trait(role=Role.CREATOR)
        admin = factory.Trait(role=Role.ADMIN, is_staff=True, is_superuser=True)
        blocked = factory.Trait(blocked_at=factory.LazyFunction(clock.now), blocked_reason="Sold stolen files")
        mfa = factory.Trait(
            mfa_enabled_at=factory.LazyFunction(clock.now),
            authenticator=factory.RelatedFactory(TotpDeviceFactory, factory_related_name="user"),
        )

    email = factory.Sequence(lambda number: f"person{number}@example.com")
    display_name = factory.Sequence(lambda number: f"Person {number}")
    password = factory.LazyFunction(hashed_password)
    terms_version = "2026-11-01"
    terms_accepted_at = factory.LazyFunction(clock.now)
    profile = factory.RelatedFactory(UserProfileFactory, factory_related_name="user")


class UserDeviceFactory(factory.django.DjangoModelFactory):
    """A live session that nobody has refreshed yet."""

    class Meta:
        model = UserDevice

    class Params:
        stepped_up = factory.Trait(stepped_up_at=factory.LazyFunction(clock.now), stepped_up_with="PASSWORD")
        revoked = factory.Trait(revoked_at=factory.LazyFunction(clock.now), revoked_reason="REVOKED")

    user = factory.SubFactory(UserFactory)
    installation_id = factory.Sequence(lambda number: f"installation-{number}")
    name = "Phone"
    platform = "android"
    app_version = "1.0.0"
    signed_in_at = factory.LazyFunction(clock.now)
    rotated_at = factory.SelfAttribute("signed_in_at")
    current_used_at = factory.SelfAttribute("signed_in_at")
    last_seen_at = factory.SelfAttribute("signed_in_at")
    expires_at = factory.LazyAttribute(lambda device: device.signed_in_at + timedelta(days=30))


class NoticeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Notice

    user = factory.SubFactory(UserFactory)
    type = NoticeType.ACCOUNT
    category = NoticeCategory.SECURITY
    title = "Something happened"
    body = "Somebody should know of it."
