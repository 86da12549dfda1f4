"""A model that turns out to be another one's second name: vehicles, fitments, lists, search and reviews move along."""

import pytest
from django.db import IntegrityError, transaction

from core.testing.http import ApiClient, client_for
from garage import catalog
from garage.catalogue_data import Catalogue, MakeRow, ModelRow
from garage.models import ModelAlias, VehicleModel
from garage.services import import_catalogue
from garage.tests.factories import UnlistedNameFactory, VehicleFactory, VehicleMakeFactory, VehicleModelFactory
from marketplace.models import Fitment
from marketplace.selectors.browse import names
from marketplace.tests.factories import TuneFactory
from tuners.tests.factories import TunerReviewFactory

pytestmark = pytest.mark.django_db

YAMAHA = MakeRow("Yamaha", (), ())
TRACER = ModelRow("Yamaha", "Tracer 900", "MOTORCYCLE", 2015, 2020, (), "ADDED", "a test")
FJ09 = ModelRow("Yamaha", "FJ-09", "MOTORCYCLE", 2015, 2017, (), "VPIC", "a test")
TWO_MODELS = Catalogue([YAMAHA], [TRACER, FJ09])
ONE_MODEL = Catalogue([YAMAHA], [ModelRow("Yamaha", "Tracer 900", "MOTORCYCLE", 2015, 2020, ("FJ-09", "FJ09"), "ADDED", "a test")])


@pytest.fixture
def models():
    """Tracer 900 and FJ-09, which are one motorcycle, as two rows of the catalogue."""
    import_catalogue(TWO_MODELS)
    names.clear()
    yield VehicleModel.objects.get(name="Tracer 900"), VehicleModel.objects.get(name="FJ-09")
    names.clear()


def found(query: str, client=None) -> list[str]:
    names.clear()
    answer = (client or ApiClient()).get(f"marketplace/tunes/?{query}")
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


def test_everything_follows(models):
    tracer, fj09 = models
    tune = TuneFactory(published=True, title="Smooth", version__fitment__model=fj09)
    bike = VehicleFactory(with_stock=True, make="Yamaha", model="FJ-09", catalog_model=fj09)
    client = client_for(bike.owner)
    review = TunerReviewFactory(vehicle_model_id=fj09.pk)
    unlisted = UnlistedNameFactory(state="MERGED", merged_into=fj09, merged_at=bike.created_at)
    ModelAlias.objects.create(make=fj09.make, model=fj09, name="FJ Nine", folded="fjnine", by_staff=True)
    assert found("make=Yamaha&model=Tracer 900") == []
    assert found(f"vehicle={bike.pk}&verdict=match", client) == [str(tune.pk)]

    report = import_catalogue(ONE_MODEL)

    assert report.merged == ["Yamaha FJ-09 into Tracer 900"]
    assert report.retired == []
    fitment = Fitment.objects.get()
    assert (fitment.model_id, fitment.model_name, fitment.live) == (tracer.pk, "FJ-09", True)  # the words that were signed stay
    numbers = ("hardware_number=RSH-4711-A", "make=Yamaha&model=Tracer 900&hardware_number=RSH-4711-A")
    lists = ("make=Yamaha&model=Tracer 900", "make=Yamaha&model=FJ-09", "q=tracer 900", "q=fj 09", f"vehicle={bike.pk}&verdict=match")
    for text in (*lists, *numbers):
        assert found(text, client) == [str(tune.pk)], text
    bike.refresh_from_db()
    review.refresh_from_db()
    unlisted.refresh_from_db()
    assert {bike.catalog_model_id, review.vehicle_model_id, unlisted.merged_into_id} == {tracer.pk}
    assert (bike.model, bike.catalog_status) == ("FJ-09", "MATCHED")
    assert catalog.match_model("Yamaha", "FJ-09") == catalog.match_model("Yamaha", "FJ Nine") == tracer


def test_nobody_finds_the_merged_row_and_a_second_run_changes_nothing(models):
    tracer, _ = models
    import_catalogue(ONE_MODEL)

    listed = ApiClient().get("garage/catalog/models/?q=fj-09").json()["results"]
    assert [row["id"] for row in listed] == [str(tracer.pk)]
    assert import_catalogue(ONE_MODEL).changes_nothing


def test_who_was_matched_a_moment_before_is_moved_by_the_next_run(models):
    tracer, fj09 = models
    import_catalogue(ONE_MODEL)
    late = VehicleFactory(make="Yamaha", model="FJ-09", catalog_model=fj09)
    tune = TuneFactory(published=True, version__fitment__model=fj09)

    import_catalogue(ONE_MODEL)

    late.refresh_from_db()
    assert late.catalog_model_id == tracer.pk
    assert found("make=Yamaha&model=Tracer 900") == [str(tune.pk)]


def test_the_files_can_take_it_back(models):
    _, fj09 = models
    import_catalogue(ONE_MODEL)

    report = import_catalogue(TWO_MODELS)

    assert any(line.startswith("Yamaha FJ-09: merged_into_id") for line in report.changed)
    assert catalog.match_model("Yamaha", "FJ-09") == fj09


def test_a_car_of_that_name_is_another_vehicle(models):
    _, fj09 = models
    VehicleModel.objects.filter(pk=fj09.pk).update(kind="CAR")

    report = import_catalogue(ONE_MODEL)

    assert (report.merged, report.retired) == ([], ["Yamaha FJ-09"])


def test_postgres_refuses_a_model_that_is_merged_into_itself():
    model = VehicleModelFactory(make=VehicleMakeFactory())

    with pytest.raises(IntegrityError, match="vehicle_model_not_merged_into_itself"), transaction.atomic():
        VehicleModel.objects.filter(pk=model.pk).update(merged_into=model)
