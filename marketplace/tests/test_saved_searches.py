"""Saved searches: kept by their owners, compared by the list's own conditions, told of once."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection

from core import clock
from core.testing.http import client_for
from core.testing.races import in_between, overtake, race
from garage.services import delete_vehicle
from garage.tests.factories import ModelAliasFactory, VehicleFactory, VehicleModelFactory
from marketplace.models import ListingChange, SavedSearch, SavedSearchMatch, Tune
from marketplace.policies.searches import MAX_SAVED_SEARCHES
from marketplace.selectors import browse
from marketplace.selectors import saved_searches as selectors
from marketplace.services import listings, moderation, saved_searches
from marketplace.services.saved_searches import match_listing_changes, refresh_scopes, save_search, tell_matches
from marketplace.tests.factories import LicenseFactory, PurchaseFactory, SavedSearchFactory, TuneFactory, TuneVersionFactory
from tuners.models import TunerProfile
from users.models import Notice, User
from users.services import delete_account
from users.tests.factories import UserFactory

URL = "marketplace/saved-searches/"
NOW = clock.now()
MT09 = {"make": "Yamaha", "model": "MT-09"}


@pytest.fixture(autouse=True)
def _fresh_names():
    browse.names.clear()


def on_sale(title: str = "Stage 1", **facts) -> Tune:
    return TuneFactory(published=True, title=title, **facts)


def run(*, at=NOW) -> list[tuple[str, str]]:
    """What the schedule does; the notices that it made, as (name of the search, text)."""
    known = set(Notice.objects.values_list("pk", flat=True))
    match_listing_changes(at=at)
    tell_matches(at=at)
    made = Notice.objects.exclude(pk__in=known).order_by("title")
    assert all(notice.type == "SAVED_SEARCH" and notice.link_resource == "saved_search" for notice in made)
    return [(notice.title.split("“")[1].rstrip("”"), notice.body) for notice in made]


def told(**kwargs) -> list[str]:
    return [name for name, _ in run(**kwargs)]


@pytest.mark.django_db
class TestKeeping:
    @pytest.fixture
    def rider(self):
        return client_for(UserFactory())

    def body(self, **changes):
        return {"name": "For my bike", "query": {**MT09, "max_price_minor": 20_000, "currency": "EUR"}, **changes}

    def test_made_read_changed_listed_and_deleted(self, rider):
        vehicle = VehicleFactory(owner=rider.user)

        made = rider.post(URL, self.body(vehicle=str(vehicle.pk)))

        assert made.status_code == 201, made.content
        search = made.json()
        assert search == {
            "id": search["id"],
            "name": "For my bike",
            "query": {"make": "Yamaha", "model": "MT-09", "max_price_minor": 20_000, "currency": "EUR"},
            "vehicle": str(vehicle.pk),
            "notify": True,
            "paused_reason": "NAME_UNKNOWN" if not browse.find_scope("Yamaha", "MT-09") else None,
            "created_at": search["created_at"],
            "updated_at": search["created_at"],
            "revision": 1,
        }
        url = f"{URL}{search['id']}/"
        assert rider.get(url).json() == search
        changed = rider.patch(url, {"name": "Cheap ones", "vehicle": None, "notify": False}, HTTP_IF_MATCH='"1"').json()
        assert (changed["name"], changed["vehicle"], changed["notify"], changed["revision"]) == ("Cheap ones", None, False, 2)
        assert changed["query"] == search["query"]
        assert rider.patch(url, {"name": "x"}, HTTP_IF_MATCH='"1"').status_code == 412
        assert [row["id"] for row in rider.get(URL).json()["results"]] == [search["id"]]
        assert rider.delete(url, HTTP_IF_MATCH='"2"').status_code == 204
        assert rider.get(url).status_code == 404 and rider.get(URL).json()["results"] == []

    @pytest.mark.parametrize(
        ("query", "pointer", "code"),
        [
            ({"colour": "red"}, "/query/colour", "unknown_field"),
            ({"cursor": "x"}, "/query/cursor", "unknown_field"),
            ({"page_size": 5}, "/query/page_size", "unknown_field"),
            ({"vehicle": "0193a6f2-7c1e-7b3a-9a41-5f0c2d8e6b11"}, "/query/vehicle", "unknown_field"),
            ({"max_price_minor": 5}, "/query/currency", "required"),
            ({"max_price_minor": "5", "currency": "EUR"}, "/query/max_price_minor", "invalid"),
            ({"model": "MT-09"}, "/query/make", "required"),
            ({"year": "2021"}, "/query/year", "invalid"),
            ({"ordering": "relevance"}, "/query/ordering", "needs_q"),
            ({"verdict": "match"}, "/query/verdict", "needs_vehicle"),
            ({"verdict": "mismatch"}, "/query/verdict", "invalid_choice"),
            ({"fuel_octane": 95}, "/query/fuel_scale", "required"),
            ({"q": "a\0b"}, "/query/q", None),
        ],
    )
    def test_a_query_is_judged_as_the_lists_parameters_are(self, rider, query, pointer, code):
        answer = rider.post(URL, self.body(query=query))

        assert answer.status_code == 400, answer.content
        assert pointer in {error["pointer"] for error in answer.json().get("errors", [])} or code is None
        assert code is None or code in {error["code"] for error in answer.json()["errors"]}
        assert not SavedSearch.objects.exists()

    def test_it_knows_every_parameter_of_the_list(self):
        from marketplace.serializers.discovery import SavedSearchQueryInput
        from marketplace.serializers.tunes import TuneListQuery

        beside = {"cursor", "page_size", "vehicle"}
        assert SavedSearchQueryInput().fields.keys() == TuneListQuery().fields.keys() - beside

    def test_a_name_is_ones_own_and_once_whatever_its_case(self, rider):
        first = rider.post(URL, self.body())
        again = rider.post(URL, self.body(name="for MY bike"))

        assert (first.status_code, again.status_code, again.json()["code"]) == (201, 409, "saved_search_name_taken")
        assert client_for(UserFactory()).post(URL, self.body()).status_code == 201

    @pytest.mark.parametrize(("name", "again"), [("Groß", "GROẞ"), ("İzmir", "i̇zmir"), ("ΣΑΣ", "σας"), ("ǅ", "ǆ")])
    def test_names_whose_case_is_unusual_are_no_bug(self, rider, name, again):
        assert rider.post(URL, self.body(name=name)).status_code == 201
        assert rider.post(URL, self.body(name=again)).status_code in {201, 409}

    def test_not_more_than_an_account_can_have(self, rider):
        SavedSearchFactory.create_batch(MAX_SAVED_SEARCHES - 1, owner=rider.user)

        answers = [rider.post(URL, self.body(name=name)) for name in ("one", "two")]

        assert [answer.status_code for answer in answers] == [201, 409]
        assert answers[1].json()["code"] == "too_many_saved_searches"

    def test_only_ones_own_vehicle(self, rider):
        assert rider.post(URL, self.body(vehicle=str(VehicleFactory().pk))).status_code == 404
        search = SavedSearchFactory(owner=rider.user)
        assert rider.patch(f"{URL}{search.pk}/", {"vehicle": str(VehicleFactory().pk)}).status_code == 404

    def test_a_verdict_goes_with_its_vehicle(self, rider):
        vehicle = VehicleFactory(owner=rider.user)
        search = rider.post(URL, self.body(vehicle=str(vehicle.pk), query={"verdict": "match"})).json()

        answer = rider.patch(f"{URL}{search['id']}/", {"vehicle": None})

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/query/verdict")

    def test_says_why_it_is_silent(self, rider):
        VehicleModelFactory()
        kept, gone = VehicleFactory(owner=rider.user), VehicleFactory(owner=rider.user)
        unlisted = VehicleFactory(owner=rider.user, unlisted=True, model="Special")
        for name, query, vehicle in (
            ("ok", MT09, kept), ("gone", {}, gone), ("unlisted", {}, unlisted), ("unknown", {"make": "Nobody"}, None)
        ):  # fmt: skip
            SavedSearchFactory(owner=rider.user, name=name, query=query, vehicle=vehicle)
        delete_vehicle(owner=rider.user, vehicle_id=gone.pk, revision=None, at=NOW)

        reasons = {row["name"]: row["paused_reason"] for row in rider.get(URL).json()["results"]}

        assert reasons == {"ok": None, "gone": "VEHICLE_GONE", "unlisted": "MODEL_UNLISTED", "unknown": "NAME_UNKNOWN"}

    @pytest.mark.parametrize("count", [1, 20])
    def test_one_query_for_the_list_beside_the_session(self, rider, django_assert_num_queries, count):
        for number in range(count):
            SavedSearchFactory(owner=rider.user, name=str(number), vehicle=VehicleFactory(owner=rider.user))
        rider.get(URL)

        with django_assert_num_queries(2):
            assert len(rider.get(URL).json()["results"]) == count

    def test_goes_with_the_account(self, rider):
        search = SavedSearchFactory(owner=rider.user)
        on_sale()
        run()
        assert SavedSearchMatch.objects.filter(search=search).exists()

        delete_account(user=rider.user, session=rider.device, stock_files_saved=True, at=clock.now())

        assert not SavedSearch.objects.exists() and not SavedSearchMatch.objects.exists()


# Each with a tune that it finds and, where there is one, a tune that it does not find
QUERIES = [
    ({}, {}, None),
    (MT09, {}, {"version__fitment__model": ("MT-07",)}),
    ({"make": "yam"}, {}, None),
    ({**MT09, "year": 2022}, {}, {"version__fitment__year_to": 2021}),
    ({"year": 2022}, {}, {"version__fitment__year_to": 2021}),
    ({"market": "EU"}, {}, {"version__fitment__markets": ["US"]}),
    ({"hardware_number": "hw-1"}, {"version__fitment__hardware_numbers": ["HW-1"]}, {"version__fitment__hardware_numbers": ["HW-2"]}),
    ({"calibration_id": "CAL-1"}, {"version__fitment__calibration_ids": ["CAL-1"]}, {}),
    ({"kind": "MOTORCYCLE"}, {}, {"kind": "CAR"}),
    ({"category": "TRACK"}, {"category": "TRACK"}, {}),
    ({"currency": "EUR", "max_price_minor": 10_000}, {"price_minor": 10_000}, {"price_minor": 10_001}),
    ({"currency": "EUR", "min_price_minor": 10_000}, {"price_minor": 10_000}, {"price_minor": 9_999}),
    ({"currency": "USD"}, {"currency": "USD"}, {}),
    ({"free": True}, {"price_minor": 0}, {}),
    ({"free": False}, {}, {"price_minor": 0}),
    ({"emissions_class": "UNCHANGED"}, {"version__emissions_class": "UNCHANGED"}, {}),
    ({"q": "quickshifter", "ordering": "relevance"}, {"title": "Quickshifter for all"}, {}),
    ({"min_rating": 4.0}, None, {}),
]


@pytest.mark.django_db
class TestMatching:
    @pytest.fixture(autouse=True)
    def _catalogue(self):
        VehicleModelFactory(name="MT-07")
        ModelAliasFactory(model=VehicleModelFactory(), name="FZ-09")
        from garage.tests.factories import MakeAliasFactory

        MakeAliasFactory()

    @pytest.mark.parametrize(("query", "found", "missed"), QUERIES, ids=[" ".join(query) or "all" for query, _, _ in QUERIES])
    def test_it_tells_of_what_the_list_finds(self, query, found, missed):
        """The same as asking the list, filter by filter."""
        SavedSearchFactory(name="mine", query=query)
        filters = {name: value for name, value in query.items() if name != "ordering"}
        for facts, expected in ((missed, False), (found, True)):
            if facts is None:
                continue
            model = {name: VehicleModelFactory(name=value[0]) for name, value in facts.items() if name.endswith("model")}
            tune = on_sale(**{"title": "Stage 1", **facts, **model})
            listed = {row[0] for row in browse.list_tunes(filters, ordering="newest", after=None, page_size=50).rows}

            assert (str(tune.pk) in listed) is expected
            assert told() == (["mine"] if expected else [])

    def test_every_filter_of_the_list_is_tried(self):
        from marketplace.serializers.discovery import SavedSearchQueryInput

        tried = {name for query, _, _ in QUERIES for name in query}
        assert SavedSearchQueryInput().fields.keys() - tried == {"tuner", "fuel_octane", "fuel_scale", "verdict"}, "tried below"

    def test_of_one_tuner_and_for_ones_fuel(self):
        fuel = {"fuel": {"octane": 98, "scale": "RON"}, "flash_methods": ["OBD"], "read_back": "YES"}
        first, second = on_sale("first", version__requirements=fuel), on_sale("second")
        SavedSearchFactory(name="tuner", query={"tuner": str(first.tuner_id)})
        SavedSearchFactory(name="95", query={"fuel_octane": 95, "fuel_scale": "RON"})
        SavedSearchFactory(name="98", query={"fuel_octane": 98, "fuel_scale": "RON"})

        assert run() == [
            ("95", line(second)),
            ("98", f"{line(first)}\n{line(second)}"),
            ("tuner", line(first)),
        ]

    def test_a_vehicle_is_told_of_matches_and_of_what_may_fit_never_of_mismatches(self):
        vehicle = VehicleFactory(with_ecu=True)
        for name, query in (("all", {}), ("match", {"verdict": "match"}), ("unknown", {"verdict": "unknown"})):
            SavedSearchFactory(owner=vehicle.owner, name=name, query=query, vehicle=vehicle)
        fits = on_sale("fits")
        may = on_sale("may fit", version__fitment__calibration_ids=[])
        on_sale("other market", version__fitment__markets=["US"])
        on_sale("other model", version__fitment__model=VehicleModelFactory(name="MT-07"))

        assert run() == [("all", f"{line(fits)}\n{line(may)}"), ("match", line(fits)), ("unknown", line(may))]

    def test_a_vehicle_without_a_model_in_the_catalogue_is_told_of_nothing(self):
        vehicle = VehicleFactory(unlisted=True, model="Special", with_ecu=True)
        SavedSearchFactory(owner=vehicle.owner, vehicle=vehicle)
        on_sale()

        assert told() == []

    def test_who_is_not_told(self):
        tune = on_sale()
        blocked, inactive, owner = UserFactory(), UserFactory(), UserFactory()
        LicenseFactory(purchase=PurchaseFactory(tune=tune, buyer=owner, paid=True, with_license=False))
        gone = VehicleFactory(with_ecu=True)
        handed_on = VehicleFactory(with_ecu=True)
        for person in (blocked, inactive, owner, tune.tuner.user):
            SavedSearchFactory(owner=person)
        SavedSearchFactory(owner=gone.owner, vehicle=gone)
        SavedSearchFactory(owner=handed_on.owner, vehicle=handed_on)
        SavedSearchFactory(notify=False)
        SavedSearchFactory(name="control")
        User.objects.filter(pk=blocked.pk).update(blocked_at=NOW, blocked_reason="x")
        User.objects.filter(pk=inactive.pk).update(is_active=False)
        delete_vehicle(owner=gone.owner, vehicle_id=gone.pk, revision=None, at=NOW)
        type(handed_on).objects.filter(pk=handed_on.pk).update(owner=UserFactory())

        assert told() == ["control"]

    def test_words_are_read_as_the_list_read_them_when_the_search_was_saved(self):
        on_sale("Quickshifter for all")
        run()
        typo, right, nothing = "quikshifter", "quickshifter", "!!!"
        for q in (typo, right, nothing):
            SavedSearchFactory(name=q, query={"q": q})
        on_sale("Another quickshifter")
        on_sale("Smooth")

        assert told() == [right, typo]

    def test_names_that_the_catalogue_learns_later(self):
        search = SavedSearchFactory(name="later", query={"make": "Yamaha", "model": "Tracer 900"})
        plain = SavedSearchFactory(name="make only", query={"make": "Yamaha"})
        assert search.scope_id is None and plain.scope_id is not None and refresh_scopes() == 0
        model = VehicleModelFactory(name="Tracer 900")
        browse.names.clear()

        assert refresh_scopes() == 1
        search.refresh_from_db()
        plain.refresh_from_db()
        assert search.scope_id == model.pk and plain.scope_id == model.make_id
        on_sale(version__fitment__model=model)
        assert told() == ["later", "make only"]


def line(tune: Tune) -> str:
    return f"“{tune.title}” for Yamaha MT-09 2021–2023"


@pytest.mark.django_db
class TestWhatIsNews:
    def test_what_matched_when_it_was_saved_is_none_whatever_becomes_of_it(self):
        tune = on_sale()
        run()
        SavedSearchFactory(query={**MT09, "currency": "EUR", "max_price_minor": 20_000})
        author = tune.tuner.user
        listings.update_tune(author=author, tune_id=tune.pk, changes={"price_minor": 9_900}, at=NOW)
        TuneVersionFactory(tune=tune, published=True)

        assert ListingChange.objects.count() == 2
        assert told() == [] and not ListingChange.objects.exists()

    def test_a_price_that_falls_into_the_range(self):
        tune = on_sale(price_minor=30_000)
        run()
        SavedSearchFactory(name="cheap", query={"currency": "EUR", "max_price_minor": 20_000})
        SavedSearchFactory(name="any", query={"currency": "EUR"})
        for price in (25_000, 19_000, 18_000):
            listings.update_tune(author=tune.tuner.user, tune_id=tune.pk, changes={"price_minor": price}, at=NOW)

        assert told() == ["cheap"]

    def test_another_currency_and_a_price_of_nothing(self):
        tune = on_sale()
        run()
        SavedSearchFactory(name="USD", query={"currency": "USD", "max_price_minor": 20_000})
        SavedSearchFactory(name="free", query={"free": True})
        listings.update_tune(author=tune.tuner.user, tune_id=tune.pk, changes={"currency": "USD"}, at=NOW)
        assert told() == ["USD"]
        listings.update_tune(author=tune.tuner.user, tune_id=tune.pk, changes={"price_minor": 0}, at=NOW)
        assert told(at=NOW + timedelta(hours=2)) == ["free"]

    def test_a_version_that_makes_it_fit(self):
        tune = on_sale(version__fitment__markets=["US"], version__emissions_class="UNKNOWN")
        run()
        vehicle = VehicleFactory(with_ecu=True)
        SavedSearchFactory(name="bike", owner=vehicle.owner, vehicle=vehicle)
        SavedSearchFactory(name="MT-07", query={"make": "Yamaha", "model": "MT-07"}, scope_id=VehicleModelFactory(name="MT-07").pk)
        SavedSearchFactory(name="year", query={**MT09, "year": 2020})
        SavedSearchFactory(name="class", query={"emissions_class": "UNCHANGED"})
        SavedSearchFactory(name="knew it", query=MT09)
        version = TuneVersionFactory(tune=tune, published=True, emissions_class="UNCHANGED", fitment__year_from=2020)

        assert version.tune_id == tune.pk
        assert told() == ["bike", "class", "year"]
        TuneVersionFactory(tune=tune, published=True, fitment__model=VehicleModelFactory(name="MT-07"))
        assert told(at=NOW + timedelta(hours=2)) == ["MT-07"]

    def test_a_tune_that_comes_back_onto_the_lists(self):
        tune = on_sale()
        run()
        author = tune.tuner.user
        listings.archive_tune(author=author, tune_id=tune.pk, at=NOW)
        SavedSearchFactory(name="unarchived")
        listings.unarchive_tune(author=author, tune_id=tune.pk, at=NOW)
        assert told() == ["unarchived"]

        admin = UserFactory(admin=True, mfa=True)
        moderation.suspend_tune(actor=admin, tune_id=tune.pk, reason_code="MISLEADING", note="x", at=NOW)
        SavedSearchFactory(name="unsuspended")
        moderation.unsuspend_tune(actor=admin, tune_id=tune.pk, note="y", at=NOW)
        assert told() == ["unsuspended"], "and nobody twice"

    def test_of_a_suspended_tuner_nothing_until_they_are_reinstated(self):
        from marketplace.services.upkeep import on_standing

        SavedSearchFactory(name="mine")
        tune = on_sale()
        facts = {"suspended_at": NOW, "suspension_reason": "SAFETY", "suspension_note": "x"}
        TunerProfile.objects.filter(pk=tune.tuner_id).update(status="SUSPENDED", **facts)
        on_standing(tuner_id=tune.tuner_id, active=False, verified=False)
        assert told() == []

        TunerProfile.objects.filter(pk=tune.tuner_id).update(
            status="ACTIVE", suspended_at=None, suspension_reason="", suspension_note=""
        )
        on_standing(tuner_id=tune.tuner_id, active=True, verified=True)
        assert told() == ["mine"]


@pytest.mark.django_db
class TestTelling:
    def test_each_tune_once_and_several_in_one_notice(self):
        search = SavedSearchFactory(name="mine")
        tunes = [on_sale(f"tune {number:02}") for number in range(12)]

        (notice,) = run()

        assert notice == ("mine", "\n".join([*(line(tune) for tune in tunes[:10]), "and 2 more."]))
        assert told() == [] and SavedSearchMatch.objects.filter(search=search, told_at=NOW).count() == 12
        assert Notice.objects.get().category == "SOCIAL" and Notice.objects.get().link_id == search.pk

    def test_at_most_once_an_hour(self):
        SavedSearchFactory(name="mine")
        on_sale("first")
        assert told() == ["mine"]
        second, third = on_sale("second"), on_sale("third")

        assert told(at=NOW + timedelta(minutes=59)) == []
        assert run(at=NOW + timedelta(minutes=60)) == [("mine", f"{line(second)}\n{line(third)}")]

    def test_what_was_taken_off_meanwhile_is_not_told_and_may_come_back(self):
        SavedSearchFactory(name="mine")
        tune = on_sale()
        match_listing_changes(at=NOW)
        listings.archive_tune(author=tune.tuner.user, tune_id=tune.pk, at=NOW)
        assert told() == [] and not SavedSearchMatch.objects.exists()

        listings.unarchive_tune(author=tune.tuner.user, tune_id=tune.pk, at=NOW)
        assert told() == ["mine"]

    @pytest.mark.parametrize("changes", [{"notify": False}, {"query": {"category": "TRACK"}}])
    def test_who_changed_their_mind_meanwhile_is_not_told(self, changes):
        search = SavedSearchFactory(name="mine")
        on_sale()
        match_listing_changes(at=NOW)

        saved_searches.change_search(owner=search.owner, search_id=search.pk, changes=changes, revision=None, at=NOW)

        assert told() == []
        saved_searches.change_search(owner=search.owner, search_id=search.pk, changes={"notify": True}, revision=None, at=NOW)
        assert told() == []

    def test_who_was_blocked_or_sold_the_bike_meanwhile_is_not_told(self):
        vehicle = VehicleFactory(with_ecu=True)
        SavedSearchFactory(owner=vehicle.owner, vehicle=vehicle)
        blocked = SavedSearchFactory().owner
        on_sale()
        assert match_listing_changes(at=NOW) == 2
        User.objects.filter(pk=blocked.pk).update(blocked_at=NOW, blocked_reason="x")
        delete_vehicle(owner=vehicle.owner, vehicle_id=vehicle.pk, revision=None, at=NOW)

        assert tell_matches(at=NOW) == 0 and not Notice.objects.filter(type="SAVED_SEARCH").exists()

    def test_a_tune_that_was_deleted_before_it_was_compared(self):
        SavedSearchFactory()
        tune = on_sale()
        listings.delete_tune(author=tune.tuner.user, tune_id=tune.pk, at=NOW)

        assert told() == [] and not ListingChange.objects.exists()


@pytest.mark.django_db
class TestCost:
    @pytest.mark.parametrize("different", [False, True])
    def test_statements_do_not_grow_with_the_searches(self, different):
        """One for a hundred different questions, and one question however many people ask it."""
        counts = []
        for number in (1, 60):
            for n in range(number):
                query = {"min_price_minor": n, "currency": "EUR"} if different else {"kind": "MOTORCYCLE"}
                SavedSearchFactory(query=query)
            on_sale()
            statements: list[str] = []

            def note(execute, sql, params, many, context, statements=statements):
                statements.append(sql)
                return execute(sql, params, many, context)

            with connection.execute_wrapper(note):
                match_listing_changes(at=NOW)
            counts.append(len(statements))

        assert counts[0] == counts[1] <= 18

    def test_vehicles_are_read_at_once(self):
        for count in (1, 8):
            for _ in range(count):
                vehicle = VehicleFactory(with_ecu=True)
                SavedSearchFactory(owner=vehicle.owner, vehicle=vehicle)
            tune = on_sale(f"tune {count}")
            candidates = selectors.list_candidates(tune)
            statements: list[str] = []

            def note(execute, sql, params, many, context, statements=statements):
                statements.append(sql)
                return execute(sql, params, many, context)

            with connection.execute_wrapper(note):
                assert selectors.find_matching(tune.pk, candidates) == set(candidates)
            assert len(statements) == 3
            match_listing_changes(at=NOW)

    def test_different_questions_beyond_one_statement(self, monkeypatch):
        monkeypatch.setattr(selectors, "AT_ONCE", 3)
        monkeypatch.setattr(saved_searches, "SEARCHES_AT_ONCE", 4)
        monkeypatch.setattr(saved_searches, "TOLD_AT_ONCE", 2)
        for n in range(10):
            SavedSearchFactory(name=f"n{n}", query={"min_price_minor": n, "currency": "EUR"})
        on_sale(price_minor=5)

        assert told() == [f"n{n}" for n in range(6)]


def _tell() -> None:
    tell_matches(at=NOW)


def _match() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '60s'")
    match_listing_changes(at=NOW)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    @pytest.fixture
    def matched(self):
        SavedSearchFactory(name="mine")
        on_sale()
        match_listing_changes(at=NOW)

    def notices(self) -> int:
        return Notice.objects.filter(type="SAVED_SEARCH").count()

    def test_two_workers_tell_one_match_once(self, matched):
        assert race(_tell) == ["ok", "ok"]
        assert self.notices() == 1

    def test_without_the_condition_the_owner_would_be_told_twice(self, matched):
        race(_tell, row_locks=False, meet_after="SELECT DISTINCT s.id", cut="told_at IS NULL")

        assert self.notices() == 2

    def test_two_workers_at_one_tune_make_one_pair(self, monkeypatch):
        """Publication and price change are two notes: each worker has one of them."""
        monkeypatch.setattr(saved_searches, "CHANGES_AT_ONCE", 1)
        SavedSearchFactory(name="mine", query={"currency": "EUR", "max_price_minor": 10_000})
        tune = on_sale(price_minor=20_000)
        listings.update_tune(author=tune.tuner.user, tune_id=tune.pk, changes={"price_minor": 9_000}, at=NOW)

        assert race(_match) == ["ok", "ok"]

        assert SavedSearchMatch.objects.count() == 1 and not ListingChange.objects.exists()
        assert tell_matches(at=NOW) == 1 and self.notices() == 1

    def test_without_the_key_it_would_be_two_pairs(self, monkeypatch):
        monkeypatch.setattr(saved_searches, "CHANGES_AT_ONCE", 1)
        known = "AND NOT EXISTS (SELECT FROM marketplace_savedsearchmatch m WHERE m.search_id = s.id AND m.tune_id = %(tune)s)"
        assert known in selectors._CANDIDATES
        monkeypatch.setattr(selectors, "_CANDIDATES", selectors._CANDIDATES.replace(known, ""))
        SavedSearchFactory(name="mine", query={"currency": "EUR", "max_price_minor": 10_000})
        tune = on_sale(price_minor=20_000)
        listings.update_tune(author=tune.tuner.user, tune_id=tune.pk, changes={"price_minor": 9_000}, at=NOW)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE marketplace_savedsearchmatch DROP CONSTRAINT marketplace_savedsearchmatch_pkey")
        try:
            assert race(_match) == ["ok", "ok"]
            assert SavedSearchMatch.objects.count() > 1
        finally:
            SavedSearchMatch.objects.all().delete()
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE marketplace_savedsearchmatch ADD PRIMARY KEY (search_id, tune_id)")

    @pytest.mark.parametrize("row_locks", [True, False])
    def test_a_search_that_is_deleted_while_it_is_matched(self, row_locks):
        """Without a lock that a new match waits for, that match would stay behind and the deletion fail when it is committed."""
        search = SavedSearchFactory()
        on_sale()

        def delete():
            saved_searches.delete_search(owner=search.owner, search_id=search.pk, revision=None)

        def act():
            return overtake(delete, _match, after='DELETE FROM "marketplace_savedsearchmatch', row_locks=row_locks)

        if row_locks:
            assert act() == ("ok", "ok")
            assert not SavedSearch.objects.exists() and not SavedSearchMatch.objects.exists()
        else:
            with pytest.raises(IntegrityError):
                act()

    @pytest.mark.parametrize(
        ("changes", "matches"), [({"query": {"category": "TRACK"}}, 0), ({"name": "another word for it"}, 1), ({"query": MT09}, 1)]
    )
    def test_a_search_that_is_changed_while_it_is_matched(self, changes, matches):
        """What it asks now is what counts: it is asked once more, under a lock."""
        search = SavedSearchFactory(name="mine")
        on_sale()

        def change():
            saved_searches.change_search(owner=search.owner, search_id=search.pk, changes=changes, revision=None, at=NOW)

        assert in_between(_match, change, after="SELECT 0 WHERE") == "ok"

        assert SavedSearchMatch.objects.count() == matches

    def test_the_cap_holds_under_a_double_tap(self, monkeypatch):
        owner = SavedSearchFactory().owner
        monkeypatch.setattr(saved_searches, "MAX_SAVED_SEARCHES", 2)
        names = iter(f"name {n}" for n in range(10))

        def act():
            save_search(owner=owner, name=next(names), query={}, at=NOW)

        assert race(act) == ["ok", "too_many_saved_searches"]

    def test_a_name_is_taken_once_under_a_double_tap(self):
        owner = UserFactory()

        assert race(lambda: save_search(owner=owner, name="Mine", query={}, at=NOW)) == ["ok", "saved_search_name_taken"]

    def test_without_the_lock_there_would_be_one_too_many(self, monkeypatch):
        owner = SavedSearchFactory().owner
        monkeypatch.setattr(saved_searches, "MAX_SAVED_SEARCHES", 2)
        names = iter(f"name {n}" for n in range(10))

        def act():
            save_search(owner=owner, name=next(names), query={}, at=NOW)

        assert race(act, row_locks=False, meet_after="COUNT(*)") == ["ok", "ok"]
