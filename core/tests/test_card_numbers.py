"""Payment card numbers are found however they are typed, and numbers of the trade are not taken for them."""

import pytest

from core.card_numbers import contains_card_number


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4242.4242.4242.4242 12/27 123",
        "card:4242  4242  4242  4242, exp 12/27",
        "amex 3782 822463 10005 please",
        "378282246310005",
        "(5555)5555/5555_4444",
        "2223003122003222",
        "6011 1111 1111 1117",
        "3530111333300000",
        "4242–4242–4242–4242",
        "\uff14\uff12" * 8,  # full-width digits
        "\u0664\u0662" * 8,  # Arabic-Indic digits
        "4242\u00a04242\u00a04242\u00a04242",
        "12 4242 4242 4242 4242",  # behind another number
    ],
)
def test_a_card_number_is_found(text):
    assert contains_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4242 4242 4242 4241",  # one digit off
        "1234567890123456",  # of no issuer
        "42424242424242424",  # seventeen digits
        "424242424242424",  # fifteen, and no such issuer has fifteen
        "4242 rpm at 4242 m, then 4242 and 4242",  # words between
        "ECU 1037508843, software 1037385744",
        "VIN JYARN59C1MA633105",
        "2026-06-01 12:00:00 to 2026-06-02 12:00:00",
        "IBAN DE89 3704 0044 0532 0130 00",
        "Call +49 170 1234567",
    ],
)
def test_other_numbers_are_not(text):
    assert not contains_card_number(text)


def test_a_long_text_of_digits_is_looked_at_quickly():
    assert not contains_card_number("1 " * 5_000)
