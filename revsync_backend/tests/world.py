"""The people of the generated tests and what each of them has: made once for a module, every case rolled back.

Everybody who is signed in has a rider's things; tuners, creators and the suspended tuner have a listing and a sale too.
What only one recipe needs is made by that recipe.
"""

from dataclasses import dataclass, field
from typing import Any

from core import clock
from core.meta import agreed_text
from core.testing.matrix import ROLES, TUNER_ROLES, Caller
from garage.tests.factories import VehicleModFactory
from marketplace.services import status
from marketplace.services.buyer_reviews import review_tune
from marketplace.tests.factories import CaseFactory, FavoriteFactory, TuneFactory, TuneVersionFactory, released_tune, ride_for
from tuners.tests.factories import TunerCertificationFactory, TunerProfileFactory, TunerReviewFactory
from users.tests.factories import NoticeFactory, UserDeviceFactory, UserFactory


@dataclass
class Kit:
    """One person and their things."""

    role: str
    user: Any
    device: Any
    other_device: Any = None
    notice: Any = None
    vehicle: Any = None
    mod: Any = None
    ride: Any = None
    grant: Any = None
    flash: Any = None
    review: Any = None
    certification: Any = None
    profile: Any = None  # of tuners
    tune: Any = None
    draft: Any = None
    sale: Any = None
    received_review: Any = None

    @property
    def purchase(self) -> Any:
        return self.ride.purchase

    @property
    def stock_file(self) -> Any:
        return self.vehicle.stock_files.get()


@dataclass
class World:
    """All of them, and what belongs to nobody in particular."""

    kits: dict[str, Kit] = field(default_factory=dict)
    tune: Any = None  # on sale, of a tuner who plays no part
    free_tune: Any = None
    reported_review: Any = None
    other_tunes: dict[str, Any] = field(default_factory=dict)  # released ones that nobody has

    def kit(self, role: str) -> Kit:
        return self.kits["rider" if role == "anonymous" else role]

    def caller(self, role: str) -> Caller:
        if role == "anonymous":
            return Caller(role)
        kit = self.kits[role]
        return Caller(role, kit.user, kit.device)

    @property
    def tuner(self) -> Any:
        return self.tune.tuner


PEOPLE: dict[str, dict[str, Any]] = {
    "rider": {},
    "other_rider": {},
    "tuner": {"tuner": True, "mfa": True},
    "other_tuner": {"tuner": True, "mfa": True},
    "creator": {"creator": True, "mfa": True},
    "suspended": {"tuner": True, "mfa": True},
    "admin": {"admin": True, "mfa": True},
    "blocked": {"blocked": True},
}


SIGNED_IN = [role for role in ROLES if role != "anonymous"]


def build() -> World:
    """Inside a transaction that is rolled back, or a database of one's own."""
    world = World(tune=released_tune(), free_tune=TuneFactory(published=True, free=True))
    world.reported_review = TunerReviewFactory(tuner=world.tuner)
    status.publish_status(at=clock.now())
    for role in SIGNED_IN:
        add_kit(world, role)
        world.other_tunes[role] = released_tune(tuner=world.tuner)
    return world


def add_kit(world: World, role: str) -> None:
    """Somebody of that role with their things, in the place of who was there."""
    world.kits[role] = _kit(world, role, SIGNED_IN.index(role))


def _kit(world: World, role: str, number: int) -> Kit:
    user = UserFactory(**PEOPLE[role])
    kit = Kit(role=role, user=user, device=UserDeviceFactory(user=user), other_device=UserDeviceFactory(user=user))
    if role in TUNER_ROLES:
        kit.profile = TunerProfileFactory(user=user, suspended=role == "suspended", creator=role == "creator")
    kit.notice = NoticeFactory(user=user)
    kit.ride = ride_for(world.tune, buyer=user, vehicle={"vin": f"JYARN53E1MA0001{number:02d}"})
    kit.vehicle = kit.ride.vehicle
    kit.grant = kit.ride.grant()
    ticket = kit.ride.ticket()
    kit.flash = kit.ride.report(ticket).flash
    kit.mod = VehicleModFactory(vehicle=kit.vehicle)
    kit.review = review_tune(
        author=user, tuner_id=world.tuner.pk, tune_id=world.tune.pk, rating=4, text="Smooth from 3,000 rpm.", at=clock.now()
    )
    kit.certification = TunerCertificationFactory(owner=user)
    FavoriteFactory(user=user, tune=world.free_tune)
    CaseFactory(purchase=kit.purchase, resolved=True)
    if kit.profile is not None:
        free = role == "creator"  # creators sell nothing
        kit.tune = TuneFactory(tuner=kit.profile, published=True, free=free)
        kit.draft = TuneFactory(tuner=kit.profile, free=free)
        TuneVersionFactory(tune=kit.draft, validated=True)
        kit.received_review = TunerReviewFactory(tuner=kit.profile, tune_id=kit.tune.pk)
        kit.sale = ride_for(kit.tune, vehicle={"vin": f"JYARN53E1MA0002{number:02d}"}).purchase
    return kit


def agreed(name: str) -> str:
    """The version in force of a text that people agree to."""
    return agreed_text(name).version


__all__ = ["Kit", "World", "add_kit", "agreed", "build"]
