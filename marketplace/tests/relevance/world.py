"""The market of `catalogue` in the database, in a handful of statements, and how well a search of it did."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.models import F

from core import clock
from core.ids import new_id
from garage.catalogue_data import read_catalogue
from garage.enums import VehicleKind
from garage.folding import fold
from garage.models import MakeAlias, ModelAlias, VehicleMake, VehicleModel
from garage.tests.factories import IMAGE_SIZE_BYTES
from marketplace.enums import EmissionsClass, InspectionVerdict, TuneStatus, VersionStatus
from marketplace.models import Fitment, Tune, TuneFile, TuneVersion
from marketplace.tests.crowd import published_at_once
from marketplace.tests.factories import REQUIREMENTS
from marketplace.tests.relevance.catalogue import MODELS, TUNERS, Listing, listings
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory


@dataclass(frozen=True)
class Market:
    """Listings by the id of their tune."""

    listings: dict[str, Listing]

    def named(self, title: str) -> Listing:
        (found,) = (listing for listing in self.listings.values() if listing.title == title)
        return found


def build() -> Market:
    """Makes, models and aliases of the committed catalogue, tuners, and every listing published, an hour apart."""
    models = _models()
    reviewer = UserFactory(admin=True)
    tuners = {key: TunerProfileFactory(business_name=name) for key, name in TUNERS.items()}
    now = clock.now()
    rows: dict[str, Listing] = {}
    tunes, versions, files, fitments = [], [], [], []
    for number, listing in enumerate(listings()):
        at = now - timedelta(hours=number * 37 % 211)  # age, price and popularity go up and down without regard to the words
        made = {"created_at": at, "updated_at": at}
        facts = {
            "title": listing.title,
            "description": listing.description,
            "category": listing.category,
            "kind": models[listing.models[0].short].kind,
            "price_minor": (0, 9900, 24900)[number * 7 % 3],
            "currency": "EUR",
            "requirements": REQUIREMENTS,
            "popularity": number * 7919 % 1000,
        }
        tune = Tune(tuner=tuners[listing.tuner], **facts, **made)
        version = TuneVersion(
            tune=tune,
            version="1.0.0",
            emissions_class=EmissionsClass.CLOSED_COURSE_ONLY,
            requirements=REQUIREMENTS,
            tags=list(listing.tags),
            **made,
        )
        sha256 = hashlib.sha256(tune.pk.bytes).hexdigest()
        file = TuneFile(version=version, upload_id=new_id(), name="tune.bin", size_bytes=IMAGE_SIZE_BYTES, sha256=sha256, created_at=at)
        for position, model in enumerate(listing.models):
            row = models[model.short]
            fitment = Fitment(
                file=file,
                version=version,
                tune=tune,
                position=position,
                make=row.make,
                model=row,
                make_name=row.make.name,
                model_name=row.name,
                year_from=model.years[0],
                year_to=model.years[1],
                markets=["EU"],
                hardware_numbers=[model.hardware_number or f"RSH-{fold(model.short).upper()}"],
                image_size_bytes=IMAGE_SIZE_BYTES,
            )
            fitments.append(fitment)
        tunes.append(tune)
        versions.append(version)
        files.append(file)
        rows[str(tune.pk)] = listing
    for model, made in ((Tune, tunes), (TuneVersion, versions), (TuneFile, files), (Fitment, fitments)):
        model.objects.bulk_create(made)
    at = F("created_at")
    inspected = {"inspection_verdict": InspectionVerdict.PASS, "inspected_at": at}
    decided = {"submitted_at": at, "decided_at": at, "reviewer": reviewer, "release_counter": 1, "published_at": at}
    with published_at_once(tunes):
        TuneVersion.objects.all().update(status=VersionStatus.PUBLISHED, **inspected, **decided)
        Tune.objects.all().update(status=TuneStatus.PUBLISHED, release_counter=1, published_at=at)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE marketplace_searchrow, marketplace_searchword, marketplace_searchphrase, marketplace_tune")
    return Market(rows)


def _models() -> dict[str, VehicleModel]:
    catalogue = read_catalogue()
    wanted = {(model.make, model.name): model.short for model in MODELS.values()}
    makes = {}
    for rank, row in enumerate(catalogue.makes):
        if row.name in {make for make, _ in wanted}:
            makes[row.name] = VehicleMake.objects.create(name=row.name, folded=row.folded, rank=rank)
            aliases = {fold(alias): alias for alias in row.aliases}  # "HD" and "H-D" are one
            MakeAlias.objects.bulk_create([MakeAlias(make=makes[row.name], name=alias, folded=folded) for folded, alias in aliases.items()])
    models = {}
    for rank, row in enumerate(catalogue.models):
        if (short := wanted.get((row.make, row.name))) is None:
            continue
        model = models[short] = VehicleModel.objects.create(
            make=makes[row.make],
            kind=VehicleKind(row.kind),
            name=row.name,
            folded=row.key[1],
            year_from=row.year_from,
            year_to=row.year_to,
            rank=rank,
            source=row.source,
            source_note=row.source_note,
        )
        aliases = {fold(alias): alias for alias in row.aliases}
        ModelAlias.objects.bulk_create(
            [ModelAlias(make=model.make, model=model, name=alias, folded=folded) for folded, alias in aliases.items()]
        )
    return models


def ndcg(grades: Sequence[int], ideal: Sequence[int], *, at: int = 10) -> float:
    """How near an order is to the best one: the gain of each place, discounted by its logarithm. 1 is the best."""
    best = _gain(sorted(ideal, reverse=True)[:at])
    return _gain(grades[:at]) / best if best else 0.0


def _gain(grades: Sequence[int]) -> float:
    return sum((2**grade - 1) / math.log2(place + 2) for place, grade in enumerate(grades))
