"""The catalogue: however people type a make and model, it finds its row."""

import pytest
from django.db import connection

from core.testing.http import ApiClient
from garage import catalog
from garage.folding import fold, words
from garage.models import VehicleModel
from garage.tests.factories import MADE_AT
from users.tests.factories import UserFactory

FOUND = [
    # spelling: hyphens, spaces, case, accents
    ("Yamaha", "MT-09", "Yamaha MT-09"),
    ("Yamaha", "MT09", "Yamaha MT-09"),
    ("yamaha", "mt 09", "Yamaha MT-09"),
    ("YAMAHA", "  mt_09 ", "Yamaha MT-09"),
    ("Yamaha", "Ténéré 700", "Yamaha Ténéré 700"),
    ("Yamaha", "tenere700", "Yamaha Ténéré 700"),
    ("Škoda", "Octavia", "Škoda Octavia"),
    ("Skoda", "octavia rs", "Škoda Octavia RS"),
    ("citroen", "C3", "Citroën C3"),
    ("Renault", "Megane R.S.", "Renault Mégane RS"),
    ("Lamborghini", "Huracan", "Lamborghini Huracán"),
    ("Honda", "CBR 600 RR", "Honda CBR600RR"),
    ("Suzuki", "gsxr 1000", "Suzuki GSX-R1000"),
    ("Suzuki", "GSX-R 750", "Suzuki GSX-R750"),
    ("Kawasaki", "ninja zx10r", "Kawasaki Ninja ZX-10R"),
    ("BMW", "s1000rr", "BMW S 1000 RR"),
    ("BMW", "R NineT", "BMW R nineT"),
    ("Aprilia", "rs660", "Aprilia RS 660"),
    # aliases of makes
    ("VW", "Golf GTI", "Volkswagen Golf GTI"),
    ("Mercedes", "C63", "Mercedes-Benz C 63 AMG"),
    ("Harley", "Fat Boy", "Harley-Davidson Fat Boy"),
    ("H-D", "Iron 883", "Harley-Davidson Iron 883"),
    ("Guzzi", "V85TT", "Moto Guzzi V85 TT"),
    ("Chevy", "Camaro", "Chevrolet Camaro"),
    ("BMW Motorrad", "F 900 R", "BMW F 900 R"),
    # aliases of models
    ("Yamaha", "FZ-09", "Yamaha MT-09"),
    ("Yamaha", "R1", "Yamaha YZF-R1"),
    ("Honda", "Fireblade", "Honda CBR1000RR Fireblade"),
    ("Honda", "Africa Twin", "Honda CRF1100L Africa Twin"),
    ("Honda", "Grom", "Honda MSX125"),
    ("Suzuki", "Hayabusa", "Suzuki GSX1300R Hayabusa"),
    ("Kawasaki", "ZZR1400", "Kawasaki Ninja ZX-14R"),
    ("KTM", "Super Duke R", "KTM 1290 Super Duke R"),
    ("Royal Enfield", "INT 650", "Royal Enfield Interceptor 650"),
    ("Mitsubishi", "Evo X", "Mitsubishi Lancer Evolution"),
    ("BMW", "320d", "BMW 3 Series"),
    ("Mazda", "Miata", "Mazda MX-5"),
    # the maker's name or a year around it
    ("Yamaha", "Yamaha MT-09", "Yamaha MT-09"),
    ("Yamaha", "R1 2020", "Yamaha YZF-R1"),
    ("Yamaha", "2021 MT-07", "Yamaha MT-07"),
    ("KTM", "KTM 390 Duke 2022", "KTM 390 Duke"),
    # a year that is the name
    ("Peugeot", "2008", "Peugeot 2008"),
    ("Peugeot", "2008 2019", "Peugeot 2008"),
    # trims behind a motorcycle's name
    ("Yamaha", "MT-09 SP", "Yamaha MT-09"),
    ("Yamaha", "MT09SP 2022", "Yamaha MT-09"),
    ("Yamaha", "MT-07 ABS", "Yamaha MT-07"),
    ("Honda", "CB650R E-Clutch", "Honda CB650R"),
    ("Kawasaki", "Ninja ZX-10R KRT Edition", "Kawasaki Ninja ZX-10R"),
    # engines and bodies behind a car's name
    ("Volkswagen", "Golf 2.0 TDI", "Volkswagen Golf"),
    ("Volkswagen", "Golf GTI Clubsport S", "Volkswagen Golf GTI"),
    ("Audi", "A3 Sportback 35 TFSI", "Audi A3"),
    ("Audi", "RS 3 Limousine", "Audi RS3"),
    ("Ford", "Focus ST-Line", "Ford Focus"),
    ("Volkswagen", "Golf R-Line", "Volkswagen Golf"),
    ("Volkswagen", "Golf R Line 1.5", "Volkswagen Golf"),
    ("BMW", "BMW 320d xDrive", "BMW 3 Series"),
    # the maker in the model's field, the model in the maker's, or no maker at all where only one has that model
    ("Yamaha R1", "2020", "Yamaha YZF-R1"),
    ("Yamaha MT-09", "SP", "Yamaha MT-09"),
    ("yamaha mt 09 sp", "yamaha mt 09 sp", "Yamaha MT-09"),
    ("MT-09", "MT-09", "Yamaha MT-09"),
    ("R1", "2020", "Yamaha YZF-R1"),
    ("", "R1 2020", "Yamaha YZF-R1"),
    ("", "ninja zx10r", "Kawasaki Ninja ZX-10R"),
    ("?", "GSX-R 1000", "Suzuki GSX-R1000"),
    ("Bike", "Yamaha MT-09", None),
    ("harley davidson fat", "boy", "Harley-Davidson Fat Boy"),
    ("Honda", "Yamaha MT-09", None),  # who is right?
    ("My", "Golf", None),
    # United States names straight from vPIC
    ("Harley-Davidson", "CVO Street Glide", "Harley-Davidson CVO Street Glide"),
    ("Chevrolet", "corvette", "Chevrolet Corvette"),
]
NOT_FOUND = [
    ("Yamaha", "MT-99"),
    ("Nomake", "MT-09"),
    ("Yamaha", ""),
    ("", "MT-09 Prototype"),
    ("", "800"),
    ("Yamaha", "---"),
    ("Honda", "MT-09"),  # another maker's model
    ("Yamaha", "MT-09 Turbo Prototype"),  # words that may mean another ECU are never dropped
    ("BMW", "R 1300 GS Something"),
    ("摩托", "摩托"),
    ("Yamaha", "x" * 500),
    ("Yamaha", "%"),
]


class TestFolding:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("MT-09", "mt09"),
            ("mt 09", "mt09"),
            ("Ténéré 700", "tenere700"),
            ("Škoda", "skoda"),
            ("Coupé", "coupe"),
            ("ß", "ss"),
            ("摩托", ""),
        ],
    )
    def test_leaves_only_ascii_letters_and_digits(self, text, folded):
        assert fold(text) == folded

    def test_keeps_word_breaks_in_words(self):
        assert words("Ninja ZX-10R (KRT)") == ["ninja", "zx", "10r", "krt"]


@pytest.mark.django_db
class TestMatching:
    @pytest.mark.parametrize(("make", "model", "expected"), FOUND)
    def test_finds(self, catalogue, make, model, expected):
        found = catalog.match_model(make, model)

        assert (found and f"{found.make.name} {found.name}") == expected

    @pytest.mark.parametrize(("make", "model"), NOT_FOUND)
    def test_does_not_guess(self, catalogue, make, model):
        assert catalog.match_model(make, model) is None

    def test_takes_one_query(self, catalogue, django_assert_num_queries):
        with django_assert_num_queries(1):
            assert catalog.match_model("Yamaha", "MT-09 SP").make.name == "Yamaha"

    def test_takes_three_when_the_maker_is_elsewhere(self, catalogue, django_assert_num_queries):
        with django_assert_num_queries(3):
            assert catalog.match_model("Yamaha R1", "2020").name == "YZF-R1"

    @pytest.mark.parametrize(
        ("make", "model", "shown"),
        [("yamaha r1", "2020", "Yamaha YZF-R1"), ("Yamaha MT-07", "ABS", "Yamaha MT-07 ABS"), ("Yamaha", "mt 07 abs", "Yamaha mt 07 abs")],
    )
    def test_a_vehicle_keeps_its_trim_and_loses_a_maker_in_the_wrong_place(self, catalogue, make, model, shown):
        from garage.services import add_vehicle

        facts = {"kind": "MOTORCYCLE", "make": make, "model": model, "year": 2020, "market": "EU"}
        vehicle = add_vehicle(owner=UserFactory(), at=MADE_AT, **facts).resource

        assert vehicle.catalog_status == "MATCHED"
        assert f"{vehicle.make} {vehicle.model}" == shown

    def test_tells_an_exact_name_from_one_with_a_trim(self, catalogue):
        assert catalog.find_match("Yamaha", "yamaha mt09 2021").exact
        assert not catalog.find_match("Kawasaki", "Ninja ZX-10R ABS").exact


@pytest.mark.django_db
class TestGenerations:
    @pytest.mark.parametrize(
        ("make", "model", "year", "expected"),
        [
            ("Yamaha", "MT-09", 2013, "Gen 1 (RN29)"),
            ("Yamaha", "MT-09", 2016, "Gen 1 (RN29)"),
            ("Yamaha", "MT-09", 2017, "Gen 2 (RN43)"),
            ("Yamaha", "MT-09", 2026, "Gen 4"),
            ("Yamaha", "MT-09", 2012, None),
            ("BMW", "F 800 GS", 2020, None),  # years in which it was not sold
            ("Yamaha", "Ténéré 700", 2025, "Gen 2"),
            ("Volkswagen", "Golf", 2018, "Mk7.5"),
            ("Honda", "Monkey 125", 2021, None),  # a model whose generations nobody wrote down
        ],
    )
    def test_a_year_has_one_at_most(self, catalogue, django_assert_num_queries, make, model, year, expected):
        found = catalog.match_model(make, model)

        with django_assert_num_queries(1):
            generation = catalog.find_generation(found.pk, year)

        assert (generation and generation.name) == expected

    def test_the_documented_join_says_the_same(self, catalogue):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT m.folded, y, g.name FROM garage_vehiclemodel m CROSS JOIN generate_series(1985, 2026) AS y"
                " JOIN garage_vehiclegeneration g ON g.model_id = m.id AND int4range(g.year_from, g.year_to, '[]') @> y::int"
                " WHERE m.folded IN ('mt09', 'gsxr750', 'klr650')"
            )
            joined = {(folded, year): name for folded, year, name in cursor.fetchall()}

        models = VehicleModel.objects.filter(folded__in=["mt09", "gsxr750", "klr650"])
        pairs = {(model.folded, year): catalog.find_generation(model.pk, year) for model in models for year in range(1985, 2027)}
        assert joined == {pair: found.name for pair, found in pairs.items() if found}
        assert len(joined) > 60


@pytest.mark.django_db
class TestCatalogueOverHttp:
    def names(self, query):
        answer = ApiClient().get(f"garage/catalog/models/?{query}")
        assert answer.status_code == 200, answer.json()
        return [f"{row['make']} {row['model']}" for row in answer.json()["results"]]

    @pytest.mark.parametrize("q", ["MT-09", "MT09", "mt 09", "Mt-09 ", "yamaha mt 09", "FZ-09"])
    def test_every_spelling_finds_the_same_model_first(self, catalogue, q):
        assert self.names(f"make=Yamaha&q={q}")[0] == "Yamaha MT-09"
        assert self.names(f"q={q}")[0] == "Yamaha MT-09"

    @pytest.mark.parametrize(
        ("query", "first"),
        [
            ("q=Yamaha MT 09 SP", "Yamaha MT-09"),
            ("make=Yamaha&q=MT-09 SP", "Yamaha MT-09"),
            ("make=Yamaha&q=yamaha mt09 2021", "Yamaha MT-09"),
            ("q=R1 2020", "Yamaha YZF-R1"),
            ("make=Yamaha&q=R1 2020", "Yamaha YZF-R1"),
            ("q=2020 yamaha r1", "Yamaha YZF-R1"),
            ("q=ninja zx10r", "Kawasaki Ninja ZX-10R"),
            ("q=kawasaki ninja zx 10 r krt edition", "Kawasaki Ninja ZX-10R"),
            ("q=gsxr 1000", "Suzuki GSX-R1000"),
            ("q=suzuki gsx-r 1000 r 2017", "Suzuki GSX-R1000"),
            ("q=TÉNÉRÉ-700", "Yamaha Ténéré 700"),
            ("q=tenere 700 rally", "Yamaha Ténéré 700"),
            ("q=mt 07 moto cage", "Yamaha MT-07"),
            ("q=vw golf gti clubsport", "Volkswagen Golf GTI"),
            ("q=harley davidson fat boy 114 anniversary", "Harley-Davidson Fat Boy"),
            ("q=bmw s1000rr m package", "BMW S 1000 RR"),
            ("q=R 1200 GS Adventure", "BMW R 1200 GS Adventure"),
            ("q=R 1200 GS Rallye", "BMW R 1200 GS"),
            ("q=peugeot 2008", "Peugeot 2008"),
            ("q=2008 peugeot 2008", "Peugeot 2008"),
            ("q=fz-09", "Yamaha MT-09"),
            ("q=skoda octavia rs combi", "Škoda Octavia RS"),
            ("q=megane rs trophy", "Renault Mégane RS"),
            ("q=cbr 600 rr", "Honda CBR600RR"),
            ("q=fireblade 2006", "Honda CBR1000RR Fireblade"),
        ],
    )
    def test_finds_first_what_is_meant(self, catalogue, query, first):
        assert self.names(query)[:1] == [first]

    def test_a_known_name_that_goes_on_comes_behind_what_has_all_the_words(self, catalogue):
        found = self.names("make=Yamaha&q=MT-09")

        assert found[0] == "Yamaha MT-09"
        assert self.names("make=Yamaha&q=MT-99 SP") == []
        assert self.names("q=unknown words only") == []

    def test_searching_without_a_maker_takes_one_query_more(self, catalogue, django_assert_num_queries):
        with django_assert_num_queries(2):  # who is the maker, models
            assert self.names("q=Yamaha MT 09 SP&page_size=20")

    def test_a_model_tells_its_generations(self, catalogue):
        def generations(query):
            return ApiClient().get(f"garage/catalog/models/?{query}&page_size=1").json()["results"][0]["generations"]

        assert generations("make=Yamaha&q=MT-09")[2] == {"name": "Gen 3 (RN69)", "year_from": 2021, "year_to": 2023, "markets": []}
        assert generations("make=Kawasaki&q=KLR650")[-1] == {
            "name": "Gen 3", "year_from": 2022, "year_to": None, "markets": ["US", "CA", "AU"],
        }  # fmt: skip
        assert generations("make=Honda&q=Monkey 125") == []

    def test_the_most_common_come_first(self, catalogue):
        assert self.names("make=yamaha")[:2] == ["Yamaha MT-09", "Yamaha MT-07"]

    def test_filters_by_kind_and_year(self, catalogue):
        assert "BMW S 1000 RR" not in self.names("make=BMW&kind=CAR&page_size=100")
        assert self.names("make=Yamaha&q=YZF-R9&year=2020") == []
        assert self.names("make=Yamaha&q=YZF-R9&year=2025") == ["Yamaha YZF-R9"]

    @pytest.mark.parametrize("query", ["make=nomake", "q=zzzzzz", "q=%25", "q=---", "make=Yamaha&q=_"])
    def test_what_is_unknown_is_an_empty_page(self, catalogue, query):
        assert self.names(query) == []

    @pytest.mark.parametrize(
        ("query", "parameter", "code"),
        [
            ("kind=BOAT", "kind", "invalid_choice"),
            ("year=20x1", "year", "invalid"),
            ("foo=1", "foo", "unknown_field"),
            ("page_size=101", "page_size", "max_value"),
            ("cursor=abc", "cursor", "invalid_cursor"),
        ],
    )
    def test_bad_parameters_are_named(self, catalogue, query, parameter, code):
        answer = ApiClient().get(f"garage/catalog/models/?{query}")

        assert answer.status_code == 400
        assert [(error["parameter"], error["code"]) for error in answer.json()["errors"]] == [(parameter, code)]

    def test_pages_go_through_all_models_once(self, catalogue):
        url, seen = "garage/catalog/models/?make=Honda&page_size=50", []
        while url:
            answer = ApiClient().get(url).json()
            seen += [row["id"] for row in answer["results"]]
            url = answer["next"]

        assert len(seen) == len(set(seen)) == VehicleModel.objects.filter(make__name="Honda").count()

    def test_makes_begin_with_the_most_common_and_tell_their_kinds(self, catalogue):
        makes = ApiClient().get("garage/catalog/makes/?page_size=100").json()["results"]

        assert makes[0]["name"] == "Yamaha"
        assert {make["name"]: make["kinds"] for make in makes}["BMW"] == ["CAR", "MOTORCYCLE"]

    def test_makes_are_found_by_beginning_and_alias(self, catalogue):
        def names(query):
            return [make["name"] for make in ApiClient().get(f"garage/catalog/makes/?{query}").json()["results"]]

        assert names("q=kawa") == ["Kawasaki"]
        assert names("q=vw") == ["Volkswagen"]
        assert names("q=!") == []
        assert "Ducati" not in names("kind=CAR&page_size=100")

    def test_anonymous_reads_are_cacheable(self, catalogue):
        first = ApiClient().get("garage/catalog/makes/")
        again = ApiClient().get("garage/catalog/makes/", HTTP_IF_NONE_MATCH=first["ETag"])

        assert first["Cache-Control"] == "public, max-age=30"
        assert again.status_code == 304

    @pytest.mark.parametrize("rows", [1, 20])
    def test_models_take_two_queries_whatever_the_rows(self, catalogue, django_assert_num_queries, rows):
        with django_assert_num_queries(2):  # make, models
            assert len(self.names(f"make=Yamaha&page_size={rows}")) == rows

    @pytest.mark.parametrize("rows", [1, 20])
    def test_makes_take_one_query_whatever_the_rows(self, catalogue, django_assert_num_queries, rows):
        with django_assert_num_queries(1):
            assert len(ApiClient().get(f"garage/catalog/makes/?page_size={rows}").json()["results"]) == rows
