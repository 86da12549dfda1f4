"""What a slip leads to, and what it never does."""

import pytest

from core.spelling import LONGEST, halves_of, slips_of


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hodna", "honda"),
        ("hoonda", "honda"),
        ("hnda", "honda"),
        ("homda", "honda"),
        ("ktn", "ktm"),
        ("zx01r", "zx10r"),
        ("gsxr10000", "gsxr1000"),
        ("настрйока", "настройка"),
        ("прошвка", "прошивка"),
    ],
)
def test_one_slip_leads_back(typed, meant):
    assert meant in slips_of(typed)
    assert typed not in slips_of(typed)


@pytest.mark.parametrize(("typed", "other"), [("mt08", "mt09"), ("mt0", "mt09"), ("r60", "r61"), ("hnd", "honda")])
def test_another_number_and_two_slips_are_none(typed, other):
    assert other not in slips_of(typed)


def test_words_too_short_or_too_long_have_none():
    assert slips_of("r6") == slips_of("x" * (LONGEST + 1)) == []
    assert len(slips_of("x" * LONGEST)) < 1300


def test_halves_are_of_three_letters_or_more():
    assert halves_of("bayarea") == [("bay", "area"), ("baya", "rea")]
    assert halves_of("short") == halves_of("x" * 100) == []
