"""Tunes for tests: the lowest legal state by default, further states as traits."""

import hashlib
from datetime import timedelta
from functools import lru_cache

import factory
from django.db.models import F

from core import clock
from core.ids import new_id
from garage.ecu_images import generator
from garage.enums import VehicleKind
from garage.tests.factories import CALIBRATION_ID, HARDWARE_NUMBER, IMAGE_SIZE_BYTES, VehicleModelFactory
from marketplace.enums import (
    EmissionsClass,
    InspectionVerdict,
    ReviewReason,
    TuneCategory,
    TuneStatus,
    TuneSuspensionReason,
    VersionStatus,
    XRayBase,
)
from marketplace.models import Favorite, FileXRay, Fitment, Tune, TuneFile, TuneVersion

__all__ = [
    "CALIBRATION_ID_AFTER",
    "REQUIREMENTS",
    "FavoriteFactory",
    "FileXRayFactory",
    "FitmentFactory",
    "TuneFactory",
    "TuneFileFactory",
    "TuneVersionFactory",
    "image_bytes",
]

CALIBRATION_ID_AFTER = "RSC-210-T1"
REQUIREMENTS = {
    "fuel": None,
    "required_parts": [],
    "forbidden_parts": [],
    "flash_methods": ["OBD"],
    "read_back": "YES",
    "min_battery_mv": 12400,
}


@lru_cache(maxsize=64)
def image_bytes(seed: str, *, hardware_number: str = HARDWARE_NUMBER, calibration_id_after: str = CALIBRATION_ID_AFTER) -> bytes:
    """A tuned image of the size and hardware number that the factories' vehicles report."""
    stock = generator.make_stock(seed="factory", hardware_number=hardware_number, calibration_id=CALIBRATION_ID, size=IMAGE_SIZE_BYTES)
    return generator.make_tuned(stock, seed=seed, calibration_id=calibration_id_after)


class TuneFactory(factory.django.DjangoModelFactory):
    """A draft listing of an active tuner, 149.00 EUR.

    Traits: `published` (version 1.0.0 with one file for the factories' vehicle), `archived`, `suspended` (both after a
    publication), `free`, `stored` (the file's bytes lie in storage). `version__…` reaches the published version:
    `TuneFactory(published=True, version__emissions_class="UNCHANGED", version__fitment__markets=["US"])`.
    """

    class Meta:
        model = Tune
        skip_postgeneration_save = True

    class Params:
        free = factory.Trait(price_minor=0)
        published = factory.Trait(becomes=TuneStatus.PUBLISHED)
        archived = factory.Trait(becomes=TuneStatus.ARCHIVED)
        suspended = factory.Trait(becomes=TuneStatus.SUSPENDED)
        stored = factory.Trait(becomes=TuneStatus.PUBLISHED, version__stored=True)

    tuner = factory.SubFactory("tuners.tests.factories.TunerProfileFactory")
    title = factory.Sequence(lambda n: f"MT-09 Stage 1 number {n}")
    description = "Smoother throttle and a fuller middle."
    kind = VehicleKind.MOTORCYCLE
    category = TuneCategory.STAGE_1
    price_minor = 14900
    currency = "EUR"
    requirements = factory.LazyFunction(lambda: dict(REQUIREMENTS))
    created_at = factory.LazyFunction(clock.now)
    updated_at = factory.SelfAttribute("created_at")
    version = factory.Dict({"file": factory.Dict({}), "fitment": factory.Dict({})})

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        becomes, version = kwargs.pop("becomes", TuneStatus.DRAFT), kwargs.pop("version")
        published_at = kwargs.pop("published_at", None)
        tune = super()._create(model_class, *args, **kwargs)
        if becomes != TuneStatus.DRAFT:
            _publish(tune, then=becomes, published_at=published_at, **version)
        return tune


def _publish(tune: Tune, *, then: str, published_at, file: dict, fitment: dict, **version) -> None:
    published_at = published_at or tune.created_at
    nested = {f"file__{name}": value for name, value in file.items()} | {f"fitment__{name}": value for name, value in fitment.items()}
    TuneVersionFactory(tune=tune, published=True, published_at=published_at, **version, **nested)
    moved = {}
    if then == TuneStatus.ARCHIVED:
        moved = {"status": TuneStatus.ARCHIVED, "archived_at": published_at}
    elif then == TuneStatus.SUSPENDED:
        moved = {
            "status": TuneStatus.SUSPENDED,
            "suspended_at": published_at,
            "suspended_from": TuneStatus.PUBLISHED,
            "suspension_reason": TuneSuspensionReason.SAFETY,
            "suspension_note": "Under test.",
        }
    if moved:
        Tune.objects.filter(pk=tune.pk).update(**moved)
    tune.refresh_from_db()


class TuneVersionFactory(factory.django.DjangoModelFactory):
    """A version whose file waits for its inspection; with one file and one fitment for the factories' vehicle.

    Traits follow the states: `invalid`, `validated`, `in_review`, `changes_requested`, `rejected`, `published`,
    `on_hold`, `recalled`, `withdrawn`. Publishing publishes its tune too. `stored` puts the bytes in storage;
    `files=0` leaves the file out; `file__…` and `fitment__…` reach into it; `xray={…}` is what was seen of it.
    """

    class Meta:
        model = TuneVersion
        skip_postgeneration_save = True

    class Params:
        invalid = factory.Trait(becomes=VersionStatus.INVALID)
        validated = factory.Trait(becomes=VersionStatus.VALIDATED)
        in_review = factory.Trait(becomes=VersionStatus.IN_REVIEW)
        changes_requested = factory.Trait(becomes=VersionStatus.CHANGES_REQUESTED)
        rejected = factory.Trait(becomes=VersionStatus.REJECTED)
        published = factory.Trait(becomes=VersionStatus.PUBLISHED)
        on_hold = factory.Trait(becomes=VersionStatus.ON_HOLD)
        recalled = factory.Trait(becomes=VersionStatus.RECALLED)
        withdrawn = factory.Trait(becomes=VersionStatus.WITHDRAWN)

    tune = factory.SubFactory(TuneFactory)
    version = factory.Sequence(lambda n: f"1.{n // 1000}.{n % 1000}")  # rising
    changelog = "First release."
    emissions_class = EmissionsClass.CLOSED_COURSE_ONLY
    requirements = factory.LazyAttribute(lambda version: dict(version.tune.requirements))
    created_at = factory.LazyFunction(clock.now)
    updated_at = factory.SelfAttribute("created_at")
    file = factory.Dict({})
    fitment = factory.Dict({})

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        becomes = kwargs.pop("becomes", VersionStatus.VALIDATING)
        files, stored, xray = kwargs.pop("files", 1), kwargs.pop("stored", False), kwargs.pop("xray", None)
        decided = {name: kwargs.pop(name) for name in list(kwargs) if name in {"reviewer", "published_at", "submitted_at", "decided_at"}}
        file_facts, fitment_facts = kwargs.pop("file"), kwargs.pop("fitment")
        version = super()._create(model_class, *args, **kwargs)
        for position in range(files):
            inspected = becomes != VersionStatus.VALIDATING
            file = TuneFileFactory(version=version, position=position, inspected=inspected, stored=stored, **file_facts)
            FitmentFactory(file=file, **fitment_facts)
            if xray is not None:
                FileXRayFactory(file=file, **xray)
        if becomes != VersionStatus.VALIDATING:
            _move(version, becomes, **decided)
        return version


class TuneFileFactory(factory.django.DjangoModelFactory):
    """One uploaded file; `inspected` knows its image and key, `stored` has its bytes in storage too."""

    class Meta:
        model = TuneFile

    inspected = False
    stored = False
    version = factory.SubFactory(TuneVersionFactory, files=0)
    position = 0
    upload_id = factory.LazyFunction(new_id)
    name = "stage1.bin"
    size_bytes = IMAGE_SIZE_BYTES
    sha256 = factory.LazyAttribute(lambda file: hashlib.sha256(file.upload_id.bytes).hexdigest())
    calibration_id_after = CALIBRATION_ID_AFTER
    created_at = factory.LazyFunction(clock.now)

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        inspected, stored = kwargs.pop("inspected", False), kwargs.pop("stored", False)
        if stored:
            from core import storage

            data = image_bytes(str(kwargs["upload_id"]), calibration_id_after=kwargs["calibration_id_after"] or CALIBRATION_ID)
            kwargs |= {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            storage.put_bytes(f"tunes/{kwargs['sha256'][:2]}/{kwargs['sha256']}", data, "application/octet-stream")
        if inspected or stored:
            kwargs = {
                "format": "BIN",
                "image_base": 0,
                "image_size_bytes": kwargs["size_bytes"],
                "image_sha256": kwargs["sha256"],
                "storage_key": f"tunes/{kwargs['sha256'][:2]}/{kwargs['sha256']}",
            } | kwargs
        return super()._create(model_class, *args, **kwargs)


class FileXRayFactory(factory.django.DjangoModelFactory):
    """A small, honest change against stock. Only of a version that is being inspected."""

    class Meta:
        model = FileXRay

    file = factory.SubFactory(TuneFileFactory)
    against = XRayBase.STOCK
    base_sha256 = hashlib.sha256(b"stock").hexdigest()
    regions = 3
    share_basis_points = 10
    changes_code = False
    created_at = factory.LazyFunction(clock.now)

    @factory.lazy_attribute
    def report(self):
        return {
            "base_sha256": self.base_sha256,
            "size_bytes": IMAGE_SIZE_BYTES,
            "regions": self.regions,
            "share": self.share_basis_points / 10_000,
            "sizes": {"small": 2, "tiny": 1},
            "kinds": {"maps": 2, "checksum": 1},
            "checksums": {"changed": 1},
            "listed": [{"kilobyte": 200, "size": "small", "kind": "maps"}],
            "picture": "." * 200 + "mm" + "." * 53 + "k",
        }


class FitmentFactory(factory.django.DjangoModelFactory):
    """The factories' vehicle: Yamaha MT-09 2021–2023, sold in the EU or UK, with the read-out that VehicleFactory gives."""

    class Meta:
        model = Fitment

    file = factory.SubFactory(TuneFileFactory)
    version = factory.SelfAttribute("file.version")
    tune = factory.SelfAttribute("file.version.tune")
    model = factory.SubFactory(VehicleModelFactory)
    make = factory.SelfAttribute("model.make")
    make_name = factory.SelfAttribute("make.name")
    model_name = factory.SelfAttribute("model.name")
    year_from = 2021
    year_to = 2023
    markets = factory.LazyFunction(lambda: ["EU", "UK"])
    hardware_numbers = factory.LazyFunction(lambda: [HARDWARE_NUMBER])
    calibration_ids = factory.LazyFunction(lambda: [CALIBRATION_ID])
    image_size_bytes = IMAGE_SIZE_BYTES


class FavoriteFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Favorite

    user = factory.SubFactory("users.tests.factories.UserFactory")
    tune = factory.SubFactory(TuneFactory, published=True)
    created_at = factory.LazyFunction(clock.now)


def _move(version: TuneVersion, becomes: str, *, reviewer=None, published_at=None, submitted_at=None, decided_at=None) -> None:
    """Set a later state with everything that its constraints ask for."""
    from users.tests.factories import UserFactory

    at = published_at or version.created_at
    facts: dict = {"status": becomes, "inspected_at": at}
    facts["inspection_verdict"] = InspectionVerdict.REFUSED if becomes == VersionStatus.INVALID else InspectionVerdict.PASS
    if becomes not in {VersionStatus.INVALID, VersionStatus.VALIDATED}:
        facts["submitted_at"] = submitted_at or at
    if becomes not in {VersionStatus.INVALID, VersionStatus.VALIDATED, VersionStatus.IN_REVIEW}:
        facts |= {"reviewer": reviewer or UserFactory(admin=True), "decided_at": decided_at or at}
    if becomes in {VersionStatus.CHANGES_REQUESTED, VersionStatus.REJECTED}:
        facts |= {"review_reason": ReviewReason.FITMENT_DOUBTFUL, "review_note": "Which calibration is this for?"}
    published = becomes in {VersionStatus.PUBLISHED, VersionStatus.ON_HOLD, VersionStatus.RECALLED, VersionStatus.WITHDRAWN}
    if published:
        tune = version.tune
        Tune.objects.filter(pk=tune.pk).update(release_counter=F("release_counter") + 1)
        tune.refresh_from_db(fields=["release_counter"])
        hashes = sorted(version.files.values_list("sha256", flat=True))
        facts |= {"published_at": at, "release_counter": tune.release_counter, "approved_sha256": hashes}
        if becomes in {VersionStatus.ON_HOLD, VersionStatus.RECALLED}:
            facts["stopped_at"] = at + timedelta(minutes=1)
        if becomes == VersionStatus.WITHDRAWN:
            facts["withdrawn_at"] = at + timedelta(minutes=1)
    TuneVersion.objects.filter(pk=version.pk).update(**facts)
    if published:
        Tune.objects.filter(pk=version.tune_id, status=TuneStatus.DRAFT).update(status=TuneStatus.PUBLISHED, published_at=at)
        version.tune.refresh_from_db()
    version.refresh_from_db()
