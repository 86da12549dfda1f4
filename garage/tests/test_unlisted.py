"""What the catalogue does not have: kept as a name, offered to staff, merged with its vehicles."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from core import clock
from core.exceptions import InvalidInput, PermissionRefused
from core.models import AuditEvent
from core.testing.admin import admin_client, decide, list_of, page_of
from core.testing.http import ApiClient, client_for
from core.testing.races import in_between, race_all
from garage import catalog, services
from garage.models import ModelAlias, UnlistedName, Vehicle
from garage.services.names import folded_name
from garage.services.unlisted import forget_unborne_names
from garage.tests.factories import MADE_AT, UnlistedNameFactory, VehicleMakeFactory, VehicleModelFactory
from users.tests.factories import UserFactory

TYPED = {"kind": "MOTORCYCLE", "make": "Yamaha", "model": "MT-09 Prototype", "year": 2021, "market": "EU"}


def add(owner=None, **changes):
    return services.add_vehicle(owner=owner or UserFactory(), at=MADE_AT, **{**TYPED, **changes}).resource


def merge(name, into="Yamaha MT-09", **given):
    given = {"actor": UserFactory(admin=True), "reason": "Looked at the photos.", "at": clock.now(), **given}
    return services.merge_unlisted_name(name_id=name.pk, into=str(into), **given)


@pytest.fixture
def mt09(db):
    return VehicleModelFactory()


@pytest.mark.django_db
class TestNames:
    def test_all_spellings_are_one_name(self, mt09):
        names = {add(model=text).unlisted_name_id for text in ("MT-09 Prototype", "mt09prototype", "MT 09 PROTOTYPE", "mt-09 prótotype")}

        assert len(names) == 1
        name = UnlistedName.objects.get()
        assert (name.make, name.model, name.state) == ("Yamaha", "MT-09 Prototype", "OPEN")
        assert add(kind="CAR").unlisted_name_id != name.pk

    def test_what_is_listed_has_none(self, mt09):
        assert add(model="mt 09").unlisted_name is None
        assert not UnlistedName.objects.exists()

    def test_other_scripts_do_not_vanish_into_one(self):
        first, second = add(make="春风", model="摩托"), add(make="Урал", model="Вояж")

        assert first.unlisted_name_id != second.unlisted_name_id
        assert folded_name("x" * 60, "y" * 80) != ""

    def test_a_vehicle_that_is_renamed_changes_its_name(self, mt09):
        vehicle = add()
        first = vehicle.unlisted_name_id

        def rename(**changes):
            services.update_vehicle(owner=vehicle.owner, vehicle_id=vehicle.pk, changes=changes, revision=None, at=MADE_AT)
            vehicle.refresh_from_db()
            return vehicle

        assert rename(model="MT-09 Turbo").unlisted_name_id not in (None, first)
        assert rename(nickname="Blue").unlisted_name_id not in (None, first)
        assert (rename(model="MT-09").unlisted_name_id, vehicle.catalog_model_id) == (None, mt09.pk)

    def test_postgres_knows_a_name_once_and_no_half_merge(self, mt09):
        name = UnlistedNameFactory()
        with pytest.raises(IntegrityError, match="unlisted_name_once_per_kind"), transaction.atomic():
            UnlistedNameFactory()
        with pytest.raises(IntegrityError, match="unlisted_name_merged_iff_model"), transaction.atomic():
            UnlistedName.objects.filter(pk=name.pk).update(merged_into=mt09)


@pytest.mark.django_db
class TestMerging:
    def test_the_vehicles_follow_and_their_phones_are_told(self, mt09):
        first, second, other = add(), add(model="mt09 prototype"), add(model="MT-09 Turbo")
        deleted = add(owner=first.owner)
        services.delete_vehicle(owner=first.owner, vehicle_id=deleted.pk, revision=None, at=MADE_AT)
        before = Vehicle.objects.get(pk=first.pk)

        assert merge(first.unlisted_name) == 2

        for vehicle in (first, second):
            vehicle.refresh_from_db()
            assert (vehicle.catalog_model_id, vehicle.catalog_status, vehicle.make) == (mt09.pk, "MATCHED", "Yamaha")
        assert first.model == "MT-09 Prototype"  # their own words for it stay
        assert (first.revision, first.changed_at > before.changed_at) == (before.revision + 1, True)
        other.refresh_from_db()
        deleted.refresh_from_db()
        assert (other.catalog_model_id, deleted.catalog_model_id) == (None, None)
        name = UnlistedName.objects.get(pk=first.unlisted_name_id)
        assert (name.state, name.merged_into_id) == ("MERGED", mt09.pk)
        event = AuditEvent.objects.get(act="unlisted_name.merged")
        assert (event.subject_id, event.reason, event.facts["model_id"]) == (name.pk, "Looked at the photos.", str(mt09.pk))

    def test_who_types_it_later_is_matched_at_once(self, mt09):
        merge(add().unlisted_name)

        later = add(make="yamaha", model="MT-09 PROTOTYPE")

        assert (later.catalog_model_id, later.make, later.model) == (mt09.pk, "Yamaha", "MT-09 PROTOTYPE")

    def test_twice_is_once(self, mt09):
        name = add().unlisted_name

        assert (merge(name), merge(name)) == (1, 0)
        assert AuditEvent.objects.filter(act="unlisted_name.merged").count() == 1

    def test_another_merge_corrects_it(self, mt09):
        vehicle = add()
        merge(vehicle.unlisted_name)
        mt07 = VehicleModelFactory(name="MT-07")

        assert merge(vehicle.unlisted_name, into=mt07.pk) == 1

        vehicle.refresh_from_db()
        assert vehicle.catalog_model_id == mt07.pk
        assert AuditEvent.objects.filter(act="unlisted_name.merged").count() == 2

    def test_a_broken_one_is_completed_by_another(self, mt09):
        vehicle = add()
        name = vehicle.unlisted_name
        UnlistedName.objects.filter(pk=name.pk).update(state="MERGED", merged_into=mt09, merged_at=MADE_AT)  # it died after this

        assert merge(name) == 1

    def test_what_died_in_between_is_completed_within_a_day(self, mt09, catalogue_files):
        merged, typed = add(), add(model="MT-09 Y-AMT")
        UnlistedName.objects.filter(pk=merged.unlisted_name_id).update(state="MERGED", merged_into=mt09, merged_at=MADE_AT)
        catalogue_files("Yamaha,MT-09,MOTORCYCLE,2013,,MT-09 Y-AMT,a test")
        services.import_catalogue()  # and the process is killed
        assert call_command("import_catalogue") is None
        assert not Vehicle.objects.filter(catalog_model=mt09).exists(), "nothing changed, so the next import looks at no name"

        assert (services.tidy_unlisted_names(at=clock.now()), services.tidy_unlisted_names(at=clock.now())) == (2, 0)

        assert set(Vehicle.objects.filter(catalog_model=mt09)) == {merged, typed}

    def test_with_an_alias_searches_find_it_too(self, mt09):
        name = add(model="Hyper Naked").unlisted_name
        assert catalog.match_model("Yamaha", "hyper-naked") is None

        merge(name, adds_alias=True)
        merge(name, adds_alias=True)

        assert catalog.match_model("Yamaha", "hyper-naked") == mt09
        assert ModelAlias.objects.get().by_staff
        found = ApiClient().get("garage/catalog/models/?q=hyper naked").json()["results"]
        assert [row["model"] for row in found] == ["MT-09"]

    def test_an_alias_never_takes_another_models_name(self, mt09):
        name = UnlistedNameFactory(model="MT-07")
        VehicleModelFactory(name="MT-07")

        merge(name, adds_alias=True)

        assert not ModelAlias.objects.exists()

    def test_a_vin_of_another_maker_is_noticed_then(self, mt09):
        VehicleMakeFactory(name="Honda")
        vehicle = add(make="Yamahaa", vin="JH2SC77M0MK000001")
        assert "vin_make_mismatch" not in vehicle.vin_warnings

        merge(vehicle.unlisted_name)

        vehicle.refresh_from_db()
        assert "vin_make_mismatch" in vehicle.vin_warnings

    @pytest.mark.parametrize(("into", "code"), [("Yamaha MT-99", "unknown_model"), ("MT-09 SP", "unknown_model"), ("", "unknown_model")])
    def test_into_nothing_is_refused(self, mt09, into, code):
        name = add().unlisted_name

        with pytest.raises(InvalidInput) as refusal:
            merge(name, into=into)

        assert [error.code for error in refusal.value.errors] == [code]
        assert UnlistedName.objects.get().state == "OPEN"

    def test_into_a_model_that_is_another_one_by_now_is_refused(self, mt09):
        former = VehicleModelFactory(name="FZ-09", merged_into=mt09)

        with pytest.raises(InvalidInput):
            merge(add().unlisted_name, into=former.pk)

    def test_a_car_is_no_motorcycle(self, mt09):
        with pytest.raises(InvalidInput) as refusal:
            merge(add(kind="CAR").unlisted_name)

        assert [(error.code, error.detail) for error in refusal.value.errors] == [("other_kind", "Yamaha MT-09 is a motorcycle.")]

    def test_only_staff_does(self, mt09):
        with pytest.raises(PermissionRefused):
            merge(add().unlisted_name, actor=UserFactory())

    def test_a_model_that_the_files_bring_takes_its_vehicles(self, mt09, catalogue_files, capsys):
        vehicle = add(model="MT-09 Y-AMT")
        catalogue_files("Yamaha,MT-09,MOTORCYCLE,2013,,MT-09 Y-AMT,a test")

        call_command("import_catalogue")

        vehicle.refresh_from_db()
        assert vehicle.catalog_model_id == mt09.pk
        assert "1 vehicles were entered as text and are listed now" in capsys.readouterr().out
        event = AuditEvent.objects.get(act="unlisted_name.merged")
        assert event.actor_id is None
        call_command("import_catalogue")
        assert "listed now" not in capsys.readouterr().out


@pytest.mark.django_db
class TestForgetting:
    def test_what_no_vehicle_bears_any_more_leaves_the_queue(self, mt09):
        gone, renamed, borne, merged = (add(model=f"MT-09 {word}") for word in ("Gone", "Renamed", "Borne", "Merged"))
        add(model="MT-09 Borne", owner=gone.owner)
        merge(merged.unlisted_name)
        services.update_vehicle(owner=renamed.owner, vehicle_id=renamed.pk, changes={"model": "MT-09"}, revision=None, at=MADE_AT)
        for vehicle in (gone, borne, merged):
            services.delete_vehicle(owner=vehicle.owner, vehicle_id=vehicle.pk, revision=None, at=MADE_AT)

        assert (forget_unborne_names(), forget_unborne_names()) == (2, 0)

        assert set(UnlistedName.objects.values_list("model", flat=True)) == {"MT-09 Borne", "MT-09 Merged"}
        gone.refresh_from_db()
        assert (gone.unlisted_name_id, gone.catalog_status, gone.model) == (None, "UNLISTED", "MT-09 Gone"), "its tombstone is as it was"

    def test_of_an_erased_account_no_words_wait(self):
        vehicle = add(make="Anna Berg", model="0170 1234567")
        services.erase_garage(vehicle.owner_id)

        assert forget_unborne_names() == 1


@pytest.mark.django_db
class TestForStaff:
    def test_the_most_frequent_stand_first_and_are_merged_on_their_page(self, mt09):
        add(model="Rare")
        names = [add(model="Often").unlisted_name for _ in range(3)]
        client = admin_client()

        page = list_of(client, UnlistedName)
        assert page.index("Often") < page.index("Rare")
        assert "3" in page

        answer = decide(client, names[0], "merge", reason="The same bike.", into="yamaha mt 09", adds_alias="on")
        assert answer.status_code == 302
        assert Vehicle.objects.filter(catalog_model=mt09).count() == 3
        assert "Merged into a model" in page_of(client, UnlistedName.objects.get(pk=names[0].pk))

    def test_the_form_names_what_is_near(self, mt09):
        client, name = admin_client(), add(model="MT-09 Prototype").unlisted_name

        form = client.get(f"/admin/garage/unlistedname/{name.pk}/decide/merge/").content.decode()

        assert "Near it: Yamaha MT-09." in form

    def test_a_wrong_model_changes_nothing(self, mt09):
        client, name = admin_client(), add().unlisted_name

        answer = decide(client, name, "merge", reason="A guess.", into="Yamaha MT-99")

        assert answer.status_code == 200
        assert "The catalogue has no Yamaha MT-99." in answer.content.decode()
        assert UnlistedName.objects.get().state == "OPEN"

    def test_a_rider_sees_the_merge(self, mt09):
        vehicle = add()
        merge(vehicle.unlisted_name)

        shown = client_for(vehicle.owner).get(f"garage/vehicles/{vehicle.pk}/").json()

        assert (shown["catalog_status"], shown["make"], shown["model"]) == ("MATCHED", "Yamaha", "MT-09 Prototype")


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_a_rider_who_adds_such_a_vehicle_meanwhile(self, mt09):
        """Whoever is first: nobody is left behind with a name that is merged."""
        name = UnlistedNameFactory()
        admin, rider = UserFactory(admin=True), UserFactory()

        outcomes = race_all([lambda: merge(name, actor=admin), lambda: add(owner=rider)])

        assert outcomes == ["ok", "ok"]
        assert Vehicle.objects.get().catalog_model_id == mt09.pk

    def test_without_the_lock_that_vehicle_is_left_behind(self, mt09):
        name = UnlistedNameFactory()
        admin, rider = UserFactory(admin=True), UserFactory()

        read = 'WHERE "garage_unlistedname"."id" ='
        outcome = in_between(lambda: add(owner=rider), lambda: merge(name, actor=admin), after=read, row_locks=False)

        assert outcome == "ok"
        assert Vehicle.objects.get().catalog_model_id is None  # what the lock prevents

    def test_a_rider_who_renames_the_vehicle_meanwhile(self, mt09):
        """The vehicle is locked when it moves: a new name is kept, and neither waits for the other for ever."""
        vehicle = add()
        admin = UserFactory(admin=True)

        def rename():
            services.update_vehicle(
                owner=vehicle.owner, vehicle_id=vehicle.pk, changes={"model": "MT-09 Turbo"}, revision=None, at=clock.now()
            )

        outcomes = race_all([lambda: merge(vehicle.unlisted_name, actor=admin), rename])

        assert outcomes == ["ok", "ok"]
        vehicle.refresh_from_db()
        assert (vehicle.model, vehicle.catalog_model_id) == ("MT-09 Turbo", None)

    def test_a_rider_who_writes_another_field_meanwhile_takes_nothing_back(self, mt09):
        vehicle = add()
        admin = UserFactory(admin=True)

        def edit():
            services.update_vehicle(owner=vehicle.owner, vehicle_id=vehicle.pk, changes={"nickname": "Blue"}, revision=None, at=clock.now())

        assert race_all([lambda: merge(vehicle.unlisted_name, actor=admin), edit]) == ["ok", "ok"]
        vehicle.refresh_from_db()
        assert (vehicle.nickname, vehicle.catalog_model_id) == ("Blue", mt09.pk)

    def test_a_rider_who_types_it_while_it_is_forgotten(self, mt09):
        name, rider = UnlistedNameFactory(), UserFactory()

        assert race_all([forget_unborne_names, lambda: add(owner=rider)]) == ["ok", "ok"]

        assert Vehicle.objects.get().unlisted_name_id == UnlistedName.objects.get().pk
        assert name.folded == UnlistedName.objects.get().folded

    def test_it_is_made_anew_when_it_was_found_and_then_forgotten(self, mt09):
        UnlistedNameFactory()
        rider = UserFactory()

        outcome = in_between(lambda: add(owner=rider), forget_unborne_names, after='"garage_unlistedname"."folded" =')

        assert outcome == "ok"
        assert Vehicle.objects.get().unlisted_name_id == UnlistedName.objects.get().pk

    def test_two_admins_at_once(self, mt09):
        vehicle = add()
        admins = [UserFactory(admin=True) for _ in range(2)]

        assert race_all([lambda admin=admin: merge(vehicle.unlisted_name, actor=admin) for admin in admins]) == ["ok", "ok"]
        assert AuditEvent.objects.filter(act="unlisted_name.merged").count() == 1
