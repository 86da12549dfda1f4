"""What riders find: the list with its filters and orders, and a tuner's page."""

import random
from itertools import combinations, product

import pytest
from django.db import IntegrityError, transaction

from core.testing.http import ApiClient, client_for
from tuners import services
from tuners.models import TunerProfile
from tuners.names import make_key, name_key
from tuners.tests.factories import TunerFollowFactory, TunerProfileFactory, TunerReviewFactory
from users.tests.factories import UserFactory


def names(**params):
    answer = ApiClient().get("tuners/", params)
    assert answer.status_code == 200, answer.json()
    return [row["business_name"] for row in answer.json()["results"]]


def reviewed(name, *ratings):
    tuner = TunerProfileFactory(business_name=name)
    for rating in ratings:
        TunerReviewFactory(tuner=tuner, rating=rating)
    return tuner


@pytest.mark.django_db
class TestOrders:
    def test_one_five_does_not_beat_many_good_ones(self):
        reviewed("One five", 5)
        reviewed("Ten good ones", *[5] * 9, 4)
        reviewed("Poor", 1, 2)

        assert names() == ["Ten good ones", "One five", "Poor"]

    def test_popular_counts_followers(self):
        TunerProfileFactory(business_name="Unknown")
        TunerFollowFactory(tuner=TunerProfileFactory(business_name="Known"))

        assert names(ordering="popular") == ["Known", "Unknown"]

    def test_name_ignores_case_and_accents(self):
        for name in ("Zeta", "Émile Maps", "dyno shed"):
            TunerProfileFactory(business_name=name)

        assert names(ordering="name") == ["dyno shed", "Émile Maps", "Zeta"]

    def test_newest_first(self):
        TunerProfileFactory(business_name="Old")
        TunerProfileFactory(business_name="New")

        assert names(ordering="newest") == ["New", "Old"]

    @pytest.mark.parametrize("ordering", ["rating", "popular", "name", "newest"])
    def test_pages_meet_without_loss_or_repeat(self, ordering):
        TunerProfileFactory.create_batch(7)
        url, seen = f"tuners/?ordering={ordering}&page_size=3", []
        while url:
            answer = ApiClient().get(url).json()
            seen += [row["id"] for row in answer["results"]]
            url = answer["next"]

        assert len(seen) == len(set(seen)) == 7


@pytest.fixture
def tuners(db):
    facts = [
        ("Müller Tuning GmbH", ["Yamaha"], ["STREET"], "DE"),
        ("Bay Area Dyno", ["Ducati"], ["DYNO_TUNING"], "US"),
        ("Чип Гараж", ["Lada"], ["DIESEL"], "KZ"),
        ("Atelier Ténéré", ["Harley-Davidson"], ["OFF_ROAD", "TOURING"], "FR"),
        ("QuickShift Labs", ["Volkswagen"], ["ALTERNATIVE_FUEL"], "UK"),
    ]
    for name, makes, specialities, country in facts:
        tuner = TunerProfileFactory(business_name=name, makes=[], specialities=specialities, country=country)
        services.set_makes(tuner_id=tuner.pk, makes=makes, aliases=["VW"] if makes == ["Volkswagen"] else [])


class TestSearch:
    @pytest.mark.parametrize(
        ("q", "name"),
        [
            ("müller", "Müller Tuning GmbH"),
            ("MULLER tuning", "Müller Tuning GmbH"),
            ("bay", "Bay Area Dyno"),
            ("dyno bay", "Bay Area Dyno"),
            ("гараж", "Чип Гараж"),
            ("tenere", "Atelier Ténéré"),
            ("Te\u0301ne\u0301re\u0301", "Atelier Ténéré"),
            ("quick", "QuickShift Labs"),
            ("quick shift", "QuickShift Labs"),
            # a make, its alias, a speciality
            ("yamaha", "Müller Tuning GmbH"),
            ("harley", "Atelier Ténéré"),
            ("vw", "QuickShift Labs"),
            ("diesel", "Чип Гараж"),
            ("enduro", "Atelier Ténéré"),
            ("touring atelier", "Atelier Ténéré"),
            ("e85 fuels", None),
            # slips
            ("mlüler", "Müller Tuning GmbH"),
            ("mueller", "Müller Tuning GmbH"),
            ("mullerr", "Müller Tuning GmbH"),
            ("yamha", "Müller Tuning GmbH"),
            ("dcuati", "Bay Area Dyno"),
            ("bay aera", "Bay Area Dyno"),
            ("bayarea", "Bay Area Dyno"),
            ("гарж", "Чип Гараж"),
            ("teenre", None),
            ("quikshift", "QuickShift Labs"),
            ("deisel", "Чип Гараж"),
            ("volkswagn labs", "QuickShift Labs"),
        ],
    )
    def test_finds_whom_riders_mean(self, tuners, q, name):
        if name is not None:
            assert names(q=q) == [name]
        else:
            assert len(names(q=q)) <= 1

    @pytest.mark.parametrize("q", ["😀", "!!!", "%", "_", "'", "bay yamaha", "xyzzy", "qq", "я", "&|!:*()"])
    def test_finds_nobody_where_nobody_is(self, tuners, q):
        assert names(q=q) == []

    @pytest.mark.parametrize("q", ["a\0b", "x" * 101, "x" * 10_000, "", "a\u202eb"])
    def test_what_is_no_text_is_refused(self, tuners, q):
        answer = ApiClient().get("tuners/", {"q": q})
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "q")

    def test_the_pages_of_a_slip_meet(self, db):
        for number in range(5):
            TunerProfileFactory(business_name=f"Dyno {number}")
        url, seen = "tuners/?q=dnyo&page_size=2&ordering=name", []
        while url:
            answer = ApiClient().get(url).json()
            seen += [row["business_name"] for row in answer["results"]]
            url = answer["next"]
        assert seen == [f"Dyno {number}" for number in range(5)]

    def test_takes_one_query_and_a_slip_three(self, tuners, django_assert_num_queries):
        with django_assert_num_queries(1):
            names(q="muller tuning")
        with django_assert_num_queries(3):
            names(q="mullre")

    def test_a_suspended_tuner_is_not_what_was_meant(self, tuners):
        TunerProfileFactory(business_name="Quikshift", suspended=True)
        assert names(q="quikshift") == ["QuickShift Labs"]


class TestTogether:
    """All filters in twos, in each order, against a plain telling of the same rows."""

    VALUES = {
        "q": ["amber", "cobalt"],
        "speciality": ["STREET", "DIESEL"],
        "make": ["Yamaha", "HARLEY davidson"],
        "country": ["DE", "FR"],
        "min_rating": [3.5, 4.5],
        "verified": ["true", "false"],
    }
    KEYS = {
        "rating": lambda row: (row.rating_order, row.pk),
        "popular": lambda row: (row.follower_count, row.pk),
        "name": lambda row: (row.name_key, row.pk),
        "newest": lambda row: (row.created_at, row.pk),
    }

    @staticmethod
    def meets(row, name, value):
        match name:
            case "q":
                return value in row.business_name
            case "speciality":
                return value in row.specialities
            case "make":
                return make_key(value) in {make_key(make) for make in row.makes}
            case "country":
                return row.country == value
            case "min_rating":
                return row.rating is not None and row.rating >= value
        return row.verified == (value == "true")

    def test_every_two_filters_in_each_order(self, db):
        chance = random.Random(3)
        for number in range(24):
            count = chance.choice([0, 1, 4])
            TunerProfileFactory(
                business_name=f"{chance.choice(['amber', 'cobalt'])} {chance.choice('xyz')} {number % 5}",
                specialities=chance.choice([["STREET"], ["DIESEL"], ["STREET", "DIESEL"]]),
                makes=chance.sample(["Yamaha", "Harley-Davidson"], chance.randint(0, 2)),
                country=chance.choice(["DE", "FR"]),
                review_count=count,
                rating_sum=sum(chance.randint(3, 5) for _ in range(count)),
                follower_count=chance.randrange(4),
                **({} if chance.random() < 0.5 else {"unverified": True}),
            )
        rows = list(TunerProfile.objects.all())
        found = 0
        for ordering, filters in product(self.KEYS, [(), *((name,) for name in self.VALUES), *combinations(self.VALUES, 2)]):
            params = {name: chance.choice(self.VALUES[name]) for name in filters}
            answer = ApiClient().get("tuners/", {**params, "ordering": ordering, "page_size": 100})
            assert answer.status_code == 200, answer.content
            expected = sorted(
                (row for row in rows if all(self.meets(row, name, value) for name, value in params.items())),
                key=self.KEYS[ordering],
                reverse=ordering != "name",
            )
            assert [row["id"] for row in answer.json()["results"]] == [str(row.pk) for row in expected], (params, ordering)
            found += bool(expected)
        assert found > 60


@pytest.mark.django_db
class TestFilters:
    def test_words_of_name_and_make(self):
        TunerProfileFactory(business_name="Müller Tuning", makes=["Yamaha"])
        TunerProfileFactory(business_name="Bay Maps", makes=["Ducati"])

        assert names(q="muller") == ["Müller Tuning"]
        assert names(q="YAMAHA tuning") == ["Müller Tuning"]
        assert names(q="bay yamaha") == []
        assert names(q="%") == []

    def test_speciality_country_and_badge(self):
        TunerProfileFactory(business_name="A", specialities=["DIESEL"], country="FR")
        TunerProfileFactory(business_name="B", creator=True, specialities=["TRACK"], country="DE")

        assert names(speciality="DIESEL") == ["A"]
        assert names(country="DE") == ["B"]
        assert (names(verified="true"), names(verified="false")) == (["A"], ["B"])

    def test_make_is_folded(self):
        tuner = TunerProfileFactory(business_name="H-D maps", makes=[])
        services.set_makes(tuner_id=tuner.pk, makes=["Harley-Davidson"], aliases=["HD"])

        assert names(make="harley davidson") == names(make="hd") == ["H-D maps"]
        assert names(make="Yamaha") == []

    def test_min_rating_leaves_out_those_without_reviews(self):
        reviewed("Good", 5, 4)
        TunerProfileFactory(business_name="Unrated")

        assert (names(min_rating="4.5"), names(min_rating="4.6")) == (["Good"], [])

    def test_suspended_ones_are_not_there(self):
        tuner = TunerProfileFactory(suspended=True)

        assert names() == []
        assert ApiClient().get(f"tuners/{tuner.pk}/").status_code == 404
        assert ApiClient().get(f"tuners/{tuner.pk}/reviews/").status_code == 404

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ("colour=red", "colour"),
            ("ordering=-rating", "ordering"),
            ("min_rating=6", "min_rating"),
            ("country=germany", "country"),
            ("verified=maybe", "verified"),
            ("cursor=abc", "cursor"),
            ("page_size=101", "page_size"),
            ("speciality=MAGIC", "speciality"),
        ],
    )
    def test_bad_parameters_are_named(self, query, parameter):
        answer = ApiClient().get(f"tuners/?{query}")

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, parameter)

    def test_a_cursor_is_bound_to_its_filters(self):
        TunerProfileFactory.create_batch(3)
        cursor = ApiClient().get("tuners/?page_size=1").json()["next"].split("cursor=")[1].split("&")[0]

        assert ApiClient().get(f"tuners/?country=DE&cursor={cursor}").status_code == 400


@pytest.mark.django_db
class TestDetail:
    def test_shows_the_page_and_what_it_is_to_me(self):
        tuner = reviewed("Good", 5, 4)
        rider = UserFactory()
        TunerFollowFactory(tuner=tuner, follower=rider)

        public, own = ApiClient().get(f"tuners/{tuner.pk}/"), client_for(rider).get(f"tuners/{tuner.pk}/")

        assert (public.json()["rating"], public.json()["review_count"], public.json()["viewer"]) == (4.5, 2, None)
        assert own.json()["viewer"] == {"is_following": True}
        assert own.headers["Cache-Control"] == "no-store"
        assert public.headers["Cache-Control"] == "public, max-age=30"
        assert ApiClient().get(f"tuners/{tuner.pk}/", headers={"If-None-Match": public.headers["ETag"]}).status_code == 304
        assert not {"fee_basis_points", "suspension_note", "user"} & public.json().keys()

    def test_a_missing_one_is_not_found(self):
        assert ApiClient().get(f"tuners/{UserFactory().pk}/").json()["code"] == "not_found"


@pytest.mark.django_db
class TestQueryCounts:
    @pytest.mark.parametrize("rows", [1, 20])
    def test_lists(self, rows, django_assert_num_queries):
        tuner = TunerProfileFactory()
        TunerProfileFactory.create_batch(rows - 1)
        TunerReviewFactory.create_batch(rows, tuner=tuner)

        with django_assert_num_queries(1):
            assert len(ApiClient().get("tuners/").json()["results"]) == rows
        with django_assert_num_queries(2):  # tuner, page with authors
            assert len(ApiClient().get(f"tuners/{tuner.pk}/reviews/").json()["results"]) == rows
        with django_assert_num_queries(1):
            ApiClient().get(f"tuners/{tuner.pk}/")


@pytest.mark.django_db
class TestFollow:
    def test_counts_each_person_once(self):
        tuner, rider = TunerProfileFactory(), UserFactory()
        api = client_for(rider)

        assert [api.put(f"tuners/{tuner.pk}/follow/").status_code for _ in range(2)] == [204, 204]
        tuner.refresh_from_db()
        assert tuner.follower_count == 1
        assert [api.delete(f"tuners/{tuner.pk}/follow/").status_code for _ in range(2)] == [204, 204]
        tuner.refresh_from_db()
        assert tuner.follower_count == 0

    def test_not_oneself_and_not_a_suspended_one(self):
        tuner, suspended = TunerProfileFactory(), TunerProfileFactory(suspended=True)

        assert client_for(tuner.user).put(f"tuners/{tuner.pk}/follow/").json()["code"] == "own_tuner"
        assert client_for(UserFactory()).put(f"tuners/{suspended.pk}/follow/").status_code == 404


@pytest.mark.django_db
class TestProfileConstraints:
    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [
            ({"status": "SUSPENDED"}, "tunerprofile_suspended_iff_reason_and_time"),
            ({"verified": False}, "tunerprofile_verified_iff_time"),
            ({"kind": "CREATOR"}, "tunerprofile_creator_never_verified"),
            ({"rating_sum": 6, "review_count": 1}, "tunerprofile_rating_sum_possible"),
            ({"fee_basis_points": 10_001}, "tunerprofile_fee_at_most_all"),
            ({"business_name": ""}, "tunerprofile_name_not_blank"),
        ],
    )
    def test_postgres_refuses(self, changes, constraint):
        tuner = TunerProfileFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            TunerProfile.objects.filter(pk=tuner.pk).update(**changes)


def test_names_are_folded_alike():
    assert name_key("  Müller—Tuning  GmbH ") == "muller tuning gmbh"
    assert make_key("Harley-Davidson") == make_key("HARLEY DAVIDSON") == "harleydavidson"
