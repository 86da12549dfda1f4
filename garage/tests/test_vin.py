"""VINs: normalising, the check digit by region, years, makers, markets. All numbers are of real patterns, none is anybody's."""

import logging
from datetime import UTC, datetime

import pytest

from core.exceptions import InvalidInput
from core.testing.http import ApiClient, client_for
from garage import vin as vins
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

GOOD = [  # VIN, year candidates, maker in the catalogue, model in the catalogue, market
    ("1HD1LK347GB332987", [2016, 1986], "Harley-Davidson", "Sportster 1200 Custom", "US"),
    ("5HD1KVPB7NB715606", [2022, 1992], "Harley-Davidson", "Road King", "CA"),
    ("1HFNC5115G3787737", [2016, 1986], "Honda", "CBR300R", "US"),
    ("MLHNC510XJC902371", [2018, 1988], "Honda", "CBR300R", "US"),
    ("MH3SH10Y5KK375033", [2019, 1989], "Yamaha", "XMAX 300", "US"),
    ("JYARN59C1MA633105", [2021, 1991], "Yamaha", "Niken", None),
    ("JKBZXNF12GC790237", [2016, 1986], "Kawasaki", "Ninja ZX-14R", None),
    ("JSAGR7NA2GD137355", [2016, 1986], "Suzuki", "GSX-S750", None),
    ("WB30E4302LZ750332", [2020, 1990], "BMW", "S 1000 XR", None),
    ("WB40C6307PS371631", [2023, 1993], "BMW", "C 400 GT", None),
    ("ZDM3YBEJ3HT475787", [2017, 1987], "Ducati", "Hypermotard", None),
    ("ZD4KEU003JS212807", [2018, 1988], "Aprilia", "RSV4", "US"),
    ("MD2JP7406JC260092", [2018, 1988], "KTM", "390 Duke", None),
    ("SMTG12JXXMJ978963", [2021, 1991], "Triumph", "Rocket 3", None),
    ("ME3FPN477KC510527", [2019, 1989], "Royal Enfield", "Interceptor 650", None),
    ("1HGCM82633A004352", [2003], "Honda", "Accord", None),
    ("3VWBR7AN8KM807039", [2019, 1989], "Volkswagen", "Arteon", None),
    ("3FTTW8E99NR128078", [2022, 1992], "Ford", "Maverick", None),
    ("NM0LS7T75N1105270", [2022, 1992], "Ford", "Transit Connect", "CA"),
    ("NMTKHMBX6K1735534", [2019, 1989], "Toyota", "C-HR", None),
    ("2G1115D52GL513735", [2016, 1986], "Chevrolet", "Impala", None),
]


def decode(text, user=None):
    answer = client_for(user or UserFactory()).post("garage/vin/decode/", {"vin": text})
    assert answer.status_code == 200, answer.json()
    return answer.json()


class TestNormalising:
    @pytest.mark.parametrize("text", ["jyarn59c1ma633105", " JYARN59C1 MA633105 ", "JYA-RN59C1-MA-633105", "JYARN59C1–MA633105"])
    def test_case_spaces_and_hyphens_make_no_difference(self, text):
        assert vins.parse(text) == "JYARN59C1MA633105"

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("", "vin_length"),
            ("JYARN59C1MA63310", "vin_length"),
            ("JYARN59C1MA6331055", "vin_length"),
            ("JYARN59C1MA63310O", "vin_characters"),
            ("IYARN59C1MA633105", "vin_characters"),
            ("JYARN59C1MAQ33105", "vin_characters"),
            ("JYARN59C1MA6331ß5", "vin_length"),  # ß is SS in capitals
            ("JYARN59C1MA633١05", "vin_characters"),
        ],
    )
    def test_says_what_is_wrong_at_the_field(self, text, code):
        with pytest.raises(InvalidInput) as refusal:
            vins.parse(text)

        assert [(error.pointer, error.code) for error in refusal.value.errors] == [("/vin", code)]

    def test_masks_all_but_maker_and_tail(self):
        assert vins.mask("JYARN59C1MA633105") == "JYA•••••••••••105"


class TestCheckDigit:
    @pytest.mark.parametrize("vin", [row[0] for row in GOOD] + ["11111111111111111", "1M8GDM9AXKP042788"])
    def test_is_computed_as_the_makers_do(self, vin):
        assert vins.check_digit(vin) == vin[8]

    @pytest.mark.parametrize(
        "vin",
        ["1HGCM82634A004352", "2G1115D53GL513735", "3VWBR7AN9KM807039", "5HD1KVPB8NB715606", "LCEPEVLB2N6633105", "7FARW2H50JE000001"],
    )
    def test_is_compulsory_in_north_america_and_china(self, vin):
        with pytest.raises(InvalidInput) as refusal:
            vins.parse(vin)

        assert [error.code for error in refusal.value.errors] == ["vin_check_digit"]

    @pytest.mark.parametrize(
        "vin", ["WVWZZZ1KZ6W000001", "JYARN66Y4NT578773", "ZDM14BUW9LB000123", "VBKEXA401LM123456", "7A1AAAAA0AA000001"]
    )
    def test_is_a_warning_elsewhere(self, vin):
        assert vins.parse(vin) == vin
        assert vins.warnings(vin, year=None, make_folded=None, vin_make_folded=None, at=NOW) == ["vin_check_digit_mismatch"]

    @pytest.mark.parametrize(
        ("vin", "compulsory"),
        [
            ("1", True),
            ("2", True),
            ("3", True),
            ("4", True),
            ("5", True),
            ("6", False),
            ("7A", False),
            ("7E", False),
            ("7F", True),
            ("70", True),
            ("J", False),
            ("L", True),
            ("M", False),
            ("S", False),
            ("W", False),
            ("Z", False),
            ("9", False),
        ],
    )
    def test_region_decides(self, vin, compulsory):
        assert vins.is_check_digit_compulsory(vin + "AAAAAAAAAAAAAAAA"[: 17 - len(vin)]) is compulsory


class TestYears:
    @pytest.mark.parametrize(
        ("letter", "years"),
        [
            ("A", [2010, 1980]),
            ("M", [2021, 1991]),
            ("S", [2025, 1995]),
            ("W", [2028, 1998]),
            ("X", [1999]),
            ("9", [2009]),
            ("U", []),
            ("Z", []),
            ("0", []),
        ],
    )
    def test_letters_come_back_every_thirty_years(self, letter, years):
        assert vins.year_candidates(f"JYARN59C1{letter}A633105", at=NOW) == years

    def test_another_year_is_a_warning_where_makers_code_it(self):
        facts = {"make_folded": None, "vin_make_folded": None, "at": NOW}

        assert vins.warnings("JYARN59C1MA633105", year=2021, **facts) == []
        assert vins.warnings("JYARN59C1MA633105", year=2022, **facts) == []  # sold over the turn of the year
        assert vins.warnings("JYARN59C1MA633105", year=2012, **facts) == ["vin_year_mismatch"]
        assert vins.warnings("WB30E4302LZ750332", year=2012, **facts) == []  # Europe's makers need not

    def test_another_maker_is_a_warning_unless_of_the_same_house(self):
        facts = {"year": None, "at": NOW}

        assert vins.warnings("JYARN59C1MA633105", make_folded="honda", vin_make_folded="yamaha", **facts) == ["vin_make_mismatch"]
        assert vins.warnings("MD2JP7406JC260092", make_folded="husqvarna", vin_make_folded="ktm", **facts) == []
        assert vins.warnings("JYARN59C1MA633105", make_folded=None, vin_make_folded="yamaha", **facts) == []


@pytest.mark.django_db
class TestDecodingOverHttp:
    @pytest.mark.parametrize(("vin", "years", "make", "model", "market"), GOOD)
    def test_suggests_in_the_catalogues_words(self, catalogue, vin, years, make, model, market):
        found = decode(vin.lower())

        assert (found["vin"], found["valid"], found["errors"], found["warnings"]) == (vin, True, [], [])
        assert sorted(found["year_candidates"], reverse=True) == years
        assert found["make_candidates"][0] == make
        assert model in [candidate["model"] for candidate in found["model_candidates"]]
        assert found["market"] == market
        assert found["source"] == "vpic"
        assert found["data_month"] == "2026-10"

    def test_european_vins_give_the_maker_at_best(self, catalogue):
        found = decode("VBKEXA401LM123456")

        assert (found["valid"], found["make_candidates"][0], found["market_candidates"]) == (True, "KTM", [])
        assert [warning["code"] for warning in found["warnings"]] == ["vin_check_digit_mismatch"]

    @pytest.mark.parametrize(
        ("text", "code"), [("ABC", "vin_length"), ("JYARN59C1MA63310O", "vin_characters"), ("1HGCM82634A004352", "vin_check_digit")]
    )
    def test_a_wrong_one_is_an_answer_not_a_refusal(self, catalogue, text, code):
        found = decode(text)

        assert found["valid"] is False
        assert [error["code"] for error in found["errors"]] == [code]

    def test_a_maker_that_nobody_knows_has_no_candidates(self, catalogue):
        found = decode("X9X00000000000001")

        assert (found["make_candidates"], found["model_candidates"], found["source"]) == ([], [], "wmi")

    @pytest.mark.parametrize(
        ("body", "pointer", "code"),
        [
            ({}, "/vin", "required"),
            ({"vin": None}, "/vin", "null"),
            ({"vin": 5 * "A" * 17}, "/vin", "max_length"),
            ({"vin": "A\x00"}, "/vin", None),
            ({"vin": "A", "x": 1}, "/x", "unknown_field"),
            ({"vin": {"a": 1}}, "/vin", "invalid"),
        ],
    )
    def test_bad_bodies_are_refused(self, body, pointer, code):
        answer = client_for(UserFactory()).post("garage/vin/decode/", body)

        assert answer.status_code == 400
        if code:
            assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]

    def test_needs_a_session(self):
        assert ApiClient().post("garage/vin/decode/", {"vin": "JYARN59C1MA633105"}).status_code == 401

    def test_is_never_logged(self, catalogue, caplog):
        with caplog.at_level(logging.DEBUG):
            decode("JYARN59C1MA633105")
            decode("1HGCM82634A004352")

        assert "JYARN59C1MA633105" not in caplog.text
        assert "1HGCM82634A004352" not in caplog.text
