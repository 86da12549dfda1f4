"""The search for tuners against a telling of it in Python, while tuners change, and on connections of their own."""

import random
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import OperationalError, connection, transaction

from core import clock, invariants
from core.spelling import LONGEST, halves_of, slips_of
from core.testing.http import ApiClient
from core.testing.races import _run, overtake
from tuners import selectors, services
from tuners.enums import Speciality, SuspensionReason, TunerStatus
from tuners.invariants import WORDS
from tuners.models import TunerProfile, TunerWord
from tuners.names import name_key, search_text
from tuners.search import MAX_WORDS
from tuners.tests.factories import TunerProfileFactory, TunerReviewFactory
from users.tests.factories import UserFactory

MAKES = ["Yamaha", "Harley-Davidson", "MV Agusta", "Škoda", "ВАЗ", "BMW"]
STARTS = ["quick", "moto", "chip", "dyno", "alpen", "müller", "гараж", "über", "x", "r1", "4you", "ß"]
ENDS = ["shift", "technik", "tuning", "haus", "ый", "", "", "45"]
SIGNS = [" ", " ", " ", "-", " & ", " 😀 ", "%", "_", "' ", "\\"]


def names(**params):
    """Every page of a list, three tuners a page."""
    url, params, seen = "tuners/", {"page_size": 3, **params}, []
    while url:
        answer = ApiClient().get(url, params)
        assert answer.status_code == 200, answer.content
        seen += [row["business_name"] for row in answer.json()["results"]]
        url, params = answer.json()["next"], None
    return seen


def named(name, tuner=None):
    """A tuner of that name, new or renamed."""
    if tuner is None:
        return TunerProfileFactory(business_name=name)
    TunerProfile.objects.filter(pk=tuner.pk).update(
        business_name=name, name_key=name_key(name), search_text=search_text(name, tuner.makes)
    )
    return tuner


def suspend(tuner):
    TunerProfile.objects.filter(pk=tuner.pk).update(
        status=TunerStatus.SUSPENDED, suspension_reason=SuspensionReason.SAFETY, suspended_at=clock.now()
    )


def reinstate(tuner):
    TunerProfile.objects.filter(pk=tuner.pk).update(status=TunerStatus.ACTIVE, suspension_reason="", suspended_at=None)


class Oracle:
    """The rule as docs/search.md tells it, on all rows at once."""

    def __init__(self):
        self.rows = list(TunerProfile.objects.filter(status=TunerStatus.ACTIVE).order_by("name_key", "pk"))
        self.words = {word for row in self.rows for word in self.words_of(row)}

    @staticmethod
    def words_of(row):
        return {*name_key(row.business_name).split(), *(word for make in row.makes for word in name_key(make).split()), *row.make_keys}

    @staticmethod
    def specialities(word):
        return {
            value
            for value, label in Speciality.choices
            if len(word) >= 4 and any(other.startswith(word) and len(other) >= 4 for other in name_key(label).split())
        }

    def stands(self, word, row):
        return (
            any(other.startswith(word) for other in self.words_of(row))
            or (3 <= len(word) <= LONGEST and any(word in other for other in name_key(row.business_name).split() if len(other) <= LONGEST))
            or bool(self.specialities(word) & set(row.specialities))
        )

    def near(self, word):
        """What a word that begins nothing may be, each a list of words."""
        if self.specialities(word) or any(other.startswith(word) for other in self.words):
            return []
        of_specialities = {other for label in Speciality.labels for other in name_key(label).split() if len(other) >= 4}
        slips = [[slip] for slip in slips_of(word) if slip in self.words | of_specialities]
        halves = [list(both) for both in halves_of(word) if set(both) <= self.words | of_specialities]
        return (slips or halves)[:4]

    def find(self, q):
        words = list(dict.fromkeys(name_key(q).split()))[:MAX_WORDS]
        found = [row for row in self.rows if words and all(self.stands(word, row) for word in words)]
        if found or not words:
            return [row.business_name for row in found]
        readings = [[[word], *self.near(word)] for word in words]
        return [
            row.business_name
            for row in self.rows
            if all(any(all(self.stands(word, row) for word in meant) for meant in reading) for reading in readings)
        ]


def word_of(chance):
    return chance.choice(STARTS) + chance.choice(ENDS)


def mistyped(chance, word):
    at = chance.randrange(len(word))
    left, right = word[:at], word[at:]
    return chance.choice([left + right[1:], left + chance.choice("aeй") + right, left + right[:2][::-1] + right[2:]])


def question(chance):
    """What somebody might type: whole words, beginnings, insides, slips, words in one, makes, specialities, signs."""
    parts = []
    for _ in range(chance.choice([1, 1, 2, 3])):
        word = chance.choice([word_of(chance), word_of(chance), chance.choice(MAKES), chance.choice(Speciality.labels), "hd"])
        start = chance.randrange(len(word))
        parts.append(
            chance.choice([word, word[: start + 1], word[start:], mistyped(chance, word), mistyped(chance, word), word + word_of(chance)])
        )
    return chance.choice(SIGNS).join(parts)[:100].strip() or "x"


@pytest.mark.django_db
class TestAgainstATelling:
    @pytest.mark.parametrize("walked", [1, 4, 500])
    def test_random_tuners_and_questions(self, walked, monkeypatch):
        """However many tuners of the order are looked at first."""
        monkeypatch.setattr(selectors, "WALKED", walked)
        chance = random.Random(walked)
        tuners = []
        for number in range(50):
            name = chance.choice(SIGNS).join(word_of(chance) for _ in range(chance.choice([1, 2, 2, 3]))) + f" no{number}"
            tuner = TunerProfileFactory(business_name=name, makes=[], specialities=chance.sample(Speciality.values, chance.randrange(4)))
            aliases = ["HD"] if number % 7 == 0 else []
            services.set_makes(tuner_id=tuner.pk, makes=chance.sample(MAKES, chance.randrange(3)), aliases=aliases)
            tuner.refresh_from_db()
            tuners.append(tuner)
        found = misread = 0
        for _ in range(3):
            for tuner in chance.sample(tuners, 12):
                change = chance.choice([suspend, reinstate, lambda tuner: named(f"{word_of(chance)} no{tuner.business_name[-2:]}x", tuner)])
                change(tuner)
            oracle = Oracle()
            for q in (question(chance) for _ in range(30)):
                expected = oracle.find(q)
                assert names(q=q, ordering="name", page_size=chance.choice([3, 100, 100])) == expected, q
                found += bool(expected)
                misread += bool(expected) and not all(any(oracle.stands(word, row) for row in oracle.rows) for word in name_key(q).split())
            assert list(invariants.rows(WORDS)()) == []
        assert found > 15
        assert misread > 2

    @pytest.mark.parametrize(
        "name", ["ж", "R", "ß", "İstanbul Ölçü", "\ufdfa Speed", "\uff21lpine", "a" * 120, "𐐀" * 120, "日本ギア", "100% D'Arcy_& \\Sons"]
    )
    def test_any_name_is_found_by_itself(self, name):
        for other in ("Other House", "Another"):
            named(other)
        named(name)

        assert names(q=name_key(name)[:100]) == [name]

    def test_a_name_of_signs_only_is_not_searched_for(self):
        named("😀 !!!")

        assert names(q="😀") == []
        assert names(ordering="name") == ["😀 !!!"]

    def test_a_word_of_the_query_is_no_syntax(self):
        named("Alpine")

        for q in ("alpine:*", "!alpine", "'alpine'", "(alpine", "alpine & alpine", "~alpine", "#alpine"):
            assert names(q=q) == ["Alpine"], q
        for q in ("alpine | zebra", "qal\\pine", "@DE", "+", "#STREET zebra"):
            assert names(q=q) == [], q

    def test_filters_and_words_never_meet(self):
        """"de" is no country in a search, nor "yamaha" a word in a filter."""
        tuner = TunerProfileFactory(business_name="Yamaha", makes=[], country="DE", specialities=[])

        assert names(make="yamaha") == names(q="de") == names(q="50") == []
        assert names(q="yamaha", country="DE") == [tuner.business_name]


@pytest.mark.django_db
class TestStars:
    def test_to_the_hundredth(self):
        for number, (total, count) in enumerate([(5, 1), (4996, 1000), (4994, 1000), (14, 3), (47, 10), (1, 1), (0, 0)]):
            TunerProfileFactory(business_name=f"T{number}", rating_sum=total, review_count=count)
        rows = {row.business_name: row.rating for row in TunerProfile.objects.all()}

        for least in ("1", "3.999", "4.1", "4.65", "4.66", "4.67", "4.7", "4.71", "4.99", "4.991", "5"):
            expected = sorted(name for name, rating in rows.items() if rating is not None and rating >= Decimal(least))
            assert names(min_rating=least, ordering="name") == expected, least


@pytest.mark.django_db
class TestPages:
    @pytest.mark.parametrize("ordering", ["rating", "popular", "name", "newest"])
    @pytest.mark.parametrize("q", ["house", "huose", None])
    def test_who_stays_as_they_are_is_seen_once_while_others_change(self, q, ordering, monkeypatch):
        monkeypatch.setattr(selectors, "WALKED", 5)
        tuners = [TunerProfileFactory(business_name=f"House {number}", follower_count=number % 3) for number in range(20)]
        still, moving = tuners[::2], tuners[1::2]
        changes = [
            lambda tuner: named("Huose", tuner),  # what was a slip is a word now, and the later pages still mean the other one
            suspend,
            lambda tuner: TunerReviewFactory(tuner=tuner, rating=5),
            lambda tuner: named(f"Zeta House {tuner.pk}", tuner),
        ]
        url, params, seen = "tuners/", {"page_size": 3, "ordering": ordering} | ({} if q is None else {"q": q}), []
        while url:
            answer = ApiClient().get(url, params).json()
            seen += [row["id"] for row in answer["results"]]
            url, params = answer["next"], None
            for change in changes[:2] if len(seen) < 6 else changes[2:]:
                if moving:
                    change(moving.pop())

        assert all(seen.count(str(tuner.pk)) == 1 for tuner in still)

    def test_the_longest_cursor_is_taken_back(self):
        """Eight words, each misspelt, behind a name of letters that take most bytes."""
        words = [f"{letter}{'ж' * 3}" for letter in "абвгдеик"]
        name = " ".join([*words, "𐐀" * 78])
        for ending in "ab":
            named(name + ending)
        q = " ".join(f"{word}щ" for word in words)
        answer = ApiClient().get("tuners/", {"q": q, "ordering": "name", "page_size": 1}).json()
        assert len(answer["results"]) == 1

        assert len(ApiClient().get(answer["next"]).json()["results"]) == 1

    def test_a_closed_account_is_found_by_nothing(self):
        tuner = named("Gone House")
        suspend(tuner)

        assert names(q="gone") == names(q="goen") == []
        assert not TunerWord.objects.exists()

    @pytest.mark.parametrize("tuners", [1, 30])
    def test_queries_are_as_many_for_many_tuners(self, tuners, django_assert_num_queries):
        for number in range(tuners):
            named(f"House {number}")

        for q, queries in [("house", 1), ("ouse", 1), ("huose", 3), ("nobody", 2)]:
            with django_assert_num_queries(queries):
                ApiClient().get("tuners/", {"q": q, "country": "DE", "min_rating": 1} if q == "nobody" else {"q": q})


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_nobody_waits_for_a_tuner_who_takes_the_same_word(self):
        """The control takes a word that both would have to write into one row."""
        first, second = named("First"), named("Second")

        def insist(act):
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '200ms'")
            try:
                act()
            finally:
                connection.close()

        outcomes = []

        def one_row():
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO marketplace_searchword (word) VALUES ('alpine')")

        def note(name, act):
            try:
                insist(act)
                outcomes.append(f"{name} passed")
            except OperationalError:
                outcomes.append(f"{name} waited")

        with transaction.atomic():
            named("Alpine", first)
            one_row()
            _run([lambda: note("renaming", lambda: named("Alpine", second))])
            _run([lambda: note("one row", one_row)])
            transaction.set_rollback(True)

        assert outcomes == ["renaming passed", "one row waited"]
        assert set(TunerWord.objects.filter(word="alpine").values_list("tuner_id", flat=True)) == {second.pk}

    def test_opposite_orders_end(self):
        """Two transactions, each of which gives two tuners the words of the other, in the other order."""
        tuners = [named(f"T{number}") for number in range(4)]

        def rename(pairs):
            with transaction.atomic():
                for tuner, name in pairs:
                    named(name, tuner)

        one = lambda: rename([(tuners[0], "Alpha"), (tuners[1], "Beta")])
        other = lambda: rename([(tuners[2], "Beta"), (tuners[3], "Alpha")])

        assert overtake(one, other, after="tuners_tunerprofile") == ("ok", "ok")
        assert names(q="alpha", ordering="name") == ["Alpha", "Alpha"]
        assert names(q="beta", ordering="name") == ["Beta", "Beta"]

    @pytest.mark.parametrize("suspension_first", [True, False])
    def test_makes_and_a_suspension_meet(self, suspension_first):
        tuner, admin = named("Alpine"), UserFactory(admin=True)

        def set_makes():
            services.set_makes(tuner_id=tuner.pk, makes=["Ducati"])

        def suspend_it():
            services.suspend_tuner(tuner_id=tuner.pk, actor=admin, reason="SAFETY", note="Stop.", at=clock.now() + timedelta(seconds=1))

        acts = (suspend_it, set_makes) if suspension_first else (set_makes, suspend_it)
        assert overtake(*acts, after="UPDATE") == ("ok", "ok")
        assert not TunerWord.objects.exists()
        reinstate(tuner)

        assert set(TunerWord.objects.values_list("word", flat=True)) == {"alpine", "ducati"}
        assert list(invariants.rows(WORDS)()) == []
