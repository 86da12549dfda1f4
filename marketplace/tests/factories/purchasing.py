"""Purchases and licenses for tests: the lowest legal state by default, further states as traits."""

from datetime import timedelta

import factory

from core import clock
from core.ids import new_id
from core.meta import agreed_text
from marketplace.enums import LicenseState, PaymentAttemptState, PurchaseStatus
from marketplace.models import License, PaymentAttempt, Purchase
from marketplace.policies.purchasing import NUMBER_ALPHABET, fee_of

__all__ = ["LicenseFactory", "PaymentAttemptFactory", "PurchaseFactory"]


def number(n: int) -> str:
    """RS-000000, RS-000001 …: as unique as a sequence."""
    digits = ""
    for _ in range(6):
        n, digit = divmod(n, len(NUMBER_ALPHABET))
        digits = NUMBER_ALPHABET[digit] + digits
    return f"RS-{digits}"


class PurchaseFactory(factory.django.DjangoModelFactory):
    """A purchase that waits for payment, of a published tune, for some vehicle of the buyer.

    Traits: `paid`, `free` (paid too), `refunded`, `disputed`, `charged_back`, `canceled`, `expired`. A paid one has its
    UNBOUND license (REVOKED or SUSPENDED where the state says so) and books nothing: books are the service's.
    """

    class Meta:
        model = Purchase
        skip_postgeneration_save = True

    class Params:
        ever_paid = factory.Trait(
            paid_at=factory.SelfAttribute("created_at"),
            captured_minor=factory.SelfAttribute("amount_minor"),
            with_license=factory.PostGeneration(lambda *args, **kwargs: _license(*args, **kwargs)),
        )
        paid = factory.Trait(ever_paid=True, status=PurchaseStatus.PAID)
        free = factory.Trait(paid=True, tune__free=True)
        refunded = factory.Trait(ever_paid=True, status=PurchaseStatus.REFUNDED, refunded_minor=factory.SelfAttribute("amount_minor"))
        disputed = factory.Trait(ever_paid=True, status=PurchaseStatus.DISPUTED, disputed_from=PurchaseStatus.PAID)
        charged_back = factory.Trait(ever_paid=True, status=PurchaseStatus.CHARGED_BACK)
        canceled = factory.Trait(status=PurchaseStatus.CANCELED, closed_at=factory.SelfAttribute("created_at"))
        expired = factory.Trait(status=PurchaseStatus.EXPIRED, closed_at=factory.SelfAttribute("expires_at"))

    number = factory.Sequence(number)
    buyer = factory.SubFactory("users.tests.factories.UserFactory")
    tune = factory.SubFactory("marketplace.tests.factories.tunes.TuneFactory", published=True)
    tune_version_id = factory.LazyAttribute(lambda purchase: purchase.tune.latest_version_id)
    tuner = factory.SelfAttribute("tune.tuner")
    tune_title = factory.SelfAttribute("tune.title")
    seller_name = factory.SelfAttribute("tuner.business_name")
    vehicle_id = factory.LazyFunction(new_id)
    vehicle_name = "Yamaha MT-09 2021"
    status = PurchaseStatus.PENDING
    amount_minor = factory.SelfAttribute("tune.price_minor")
    currency = factory.SelfAttribute("tune.currency")
    fee_basis_points = factory.SelfAttribute("tuner.fee_basis_points")
    fee_minor = factory.LazyAttribute(lambda purchase: fee_of(purchase.amount_minor, basis_points=purchase.fee_basis_points))
    fitment_verdict = "match"
    attestation_text_version = factory.LazyFunction(lambda: agreed_text("attestation").version)
    attestation_sha256 = factory.LazyFunction(lambda: agreed_text("attestation").sha256)
    attested_at = factory.SelfAttribute("created_at")
    created_at = factory.LazyFunction(clock.now)
    expires_at = factory.LazyAttribute(lambda purchase: purchase.created_at + timedelta(hours=1))


def _license(purchase: Purchase, create: bool, extracted, **kwargs) -> None:
    state = {
        PurchaseStatus.DISPUTED: {"suspended": True},
        PurchaseStatus.REFUNDED: {"revoked": True},
        PurchaseStatus.CHARGED_BACK: {"revoked": True},
    }.get(purchase.status, {})
    if extracted is not False:
        LicenseFactory(purchase=purchase, **state, **kwargs)


class LicenseFactory(factory.django.DjangoModelFactory):
    """The UNBOUND license of a paid purchase. Traits: `reserved`, `bound`, `suspended`, `revoked`."""

    class Meta:
        model = License

    class Params:
        on_vehicle = factory.Trait(
            vehicle_id=factory.SelfAttribute("purchase.vehicle_id"),
            vehicle_identity_hashes=factory.SelfAttribute("purchase.vehicle_identity_hashes"),
        )
        reserved = factory.Trait(
            on_vehicle=True,
            state=LicenseState.RESERVED,
            reserved_until=factory.LazyAttribute(lambda license: license.created_at + timedelta(hours=72)),
        )
        bound = factory.Trait(on_vehicle=True, state=LicenseState.BOUND, bound_at=factory.SelfAttribute("created_at"))
        suspended = factory.Trait(
            state=LicenseState.SUSPENDED, suspended_from=LicenseState.UNBOUND, suspended_at=factory.SelfAttribute("created_at")
        )
        revoked = factory.Trait(state=LicenseState.REVOKED, revoked_at=factory.SelfAttribute("created_at"))

    purchase = factory.SubFactory(PurchaseFactory, paid=True, with_license=False)
    holder = factory.SelfAttribute("purchase.buyer")
    tune = factory.SelfAttribute("purchase.tune")
    created_at = factory.LazyAttribute(lambda license: license.purchase.paid_at)


class PaymentAttemptFactory(factory.django.DjangoModelFactory):
    """A payment that was asked for and not heard of again. Trait: `open`."""

    class Meta:
        model = PaymentAttempt

    class Params:
        open = factory.Trait(
            state=PaymentAttemptState.OPEN,
            intent_id=factory.Sequence(lambda n: f"pi_{n:024d}"),
            client_secret=factory.LazyAttribute(lambda attempt: f"{attempt.intent_id}_secret_{'s' * 25}"),
        )

    purchase = factory.SubFactory(PurchaseFactory)
    created_at = factory.SelfAttribute("purchase.created_at")
