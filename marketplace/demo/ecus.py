"""The ECUs of the demo data: which vehicles they sit in, and their stock images.

Makes, models and years are real; hardware numbers and calibration ids are invented in the makers' style.
"""

from dataclasses import dataclass
from functools import lru_cache

from garage import vin
from garage.ecu_images import generator

KIB = 1024
_YEAR_CODES = "123456789ABCDEFGHJKLMNPRSTVWXY"  # the tenth character, from 2001 on


@dataclass(frozen=True)
class Variant:
    """One market's ECU of a family."""

    market: str
    hardware_number: str
    calibration_id: str


@dataclass(frozen=True)
class EcuFamily:
    """One generation of one model. `variants` differ by market: a US calibration does not fit an EU bike."""

    key: str
    make: str
    model: str
    year_from: int
    year_to: int
    part: str
    calibration: str
    kind: str = "MOTORCYCLE"
    markets: tuple[str, ...] = ("EU", "US")
    image_size_bytes: int = 256 * KIB
    octane: tuple[int, str] = (95, "RON")
    flash_methods: tuple[str, ...] = ("OBD",)
    read_back: str = "YES"
    siblings: tuple[tuple[str, int, int], ...] = ()  # further models with the same ECU, and their years
    wmi: str = ""  # how the VINs of the make begin

    def variant(self, market: str) -> Variant:
        """The ECU of a market; several share the EU's."""
        group = {"UK": "EU", "AU": "EU", "CA": "CA" if "CA" in self.markets else "US"}.get(market, market)
        suffix = {"EU": "10", "US": "20", "JP": "00", "CA": "21"}[group]
        return Variant(group, f"{self.part}-{suffix}", f"{self.calibration}{group[0]}1")

    def sold_in(self, market: str) -> list[str]:
        """The markets whose vehicles carry that market's ECU."""
        return {"EU": ["EU", "UK", "AU"], "US": ["US"] if "CA" in self.markets else ["US", "CA"], "JP": ["JP"], "CA": ["CA"]}[market]

    @property
    def models(self) -> tuple[tuple[str, int, int], ...]:
        """Every model that carries this ECU, with its years."""
        return ((self.model, self.year_from, self.year_to), *self.siblings)

    def vin(self, year: int, number: int) -> str:
        """An invented VIN in the make's style, its check digit right; `DEM` stands where a type code would."""
        first, last = f"{self.wmi}DEM{number % 100:02d}", f"{_YEAR_CODES[(year - 2001) % 30]}A{number:06d}"
        return first + vin.check_digit(f"{first}0{last}") + last


FAMILIES = [
    EcuFamily("mt09", "Yamaha", "MT-09", 2021, 2023, "B7N-8591A", "B7N21", markets=("EU", "US", "JP"), image_size_bytes=512 * KIB, wmi="JYA", siblings=(("XSR900", 2022, 2023), ("Tracer 9", 2021, 2023))),
    EcuFamily("mt07", "Yamaha", "MT-07", 2018, 2020, "BU2-8591A", "BU218", wmi="JYA", siblings=(("XSR700", 2018, 2020),)),
    EcuFamily("r1", "Yamaha", "YZF-R1", 2020, 2023, "B3L-8591A", "B3L20", image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="JYA"),
    EcuFamily("r6", "Yamaha", "YZF-R6", 2017, 2020, "BN6-8591A", "BN617", octane=(98, "RON"), wmi="JYA"),
    EcuFamily("t7", "Yamaha", "Ténéré 700", 2019, 2022, "BW3-8591A", "BW319", wmi="JYA"),
    EcuFamily("blade", "Honda", "CBR1000RR-R Fireblade", 2020, 2023, "38770-MKR", "MKR20", image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="JH2"),
    EcuFamily("cb650r", "Honda", "CB650R", 2019, 2023, "38770-MKY", "MKY19", wmi="JH2", siblings=(("CBR650R", 2019, 2023),)),
    EcuFamily("z900", "Kawasaki", "Z900", 2020, 2024, "21175-1285", "KZ920", markets=("EU", "US", "CA"), wmi="JKA", siblings=(("Z900RS", 2020, 2024),)),
    EcuFamily("zx10r", "Kawasaki", "Ninja ZX-10R", 2021, 2024, "21175-1301", "KX021", image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="JKA"),
    EcuFamily("z650", "Kawasaki", "Z650", 2017, 2022, "21175-1192", "KZ617", wmi="JKA", siblings=(("Ninja 650", 2017, 2022),)),
    EcuFamily("gsxr1000", "Suzuki", "GSX-R1000", 2017, 2022, "32920-17K", "SR017", image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="JS1"),
    EcuFamily("sv650", "Suzuki", "SV650", 2016, 2022, "32920-18K", "SV616", wmi="JS1"),
    EcuFamily("duke890", "KTM", "890 Duke R", 2020, 2022, "639.41.031", "KD820", image_size_bytes=512 * KIB, wmi="VBK"),
    EcuFamily("sdr1290", "KTM", "1290 Super Duke R", 2020, 2023, "617.41.131", "KS120", image_size_bytes=512 * KIB, read_back="NO", wmi="VBK"),
    EcuFamily("s1000rr", "BMW", "S 1000 RR", 2019, 2022, "8555-K67", "BK619", image_size_bytes=1024 * KIB, octane=(98, "RON"), flash_methods=("BENCH",), wmi="WB1"),
    EcuFamily("r1250gs", "BMW", "R 1250 GS", 2019, 2023, "8556-K50", "BK519", image_size_bytes=512 * KIB, wmi="WB1", siblings=(("R 1250 RT", 2019, 2023),)),
    EcuFamily("panigale", "Ducati", "Panigale V4", 2020, 2022, "286.4.269", "DP420", image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="ZDM", siblings=(("Streetfighter V4", 2020, 2022),)),
    EcuFamily("monster", "Ducati", "Monster", 2021, 2023, "286.4.311", "DM921", wmi="ZDM"),
    EcuFamily("street", "Triumph", "Street Triple", 2020, 2022, "T129-3400", "TS720", wmi="SMT"),
    EcuFamily("rsv4", "Aprilia", "RSV4", 2021, 2023, "2D0-00311", "AR421", image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="ZD4", siblings=(("Tuono V4", 2021, 2023),)),
    EcuFamily("golf", "Volkswagen", "Golf GTI", 2018, 2020, "5G0-906259", "VG518", kind="CAR", image_size_bytes=1024 * KIB, octane=(98, "RON"), wmi="WVW"),
    EcuFamily("m3", "BMW", "M3", 2021, 2023, "8632-S58", "BM321", kind="CAR", image_size_bytes=1024 * KIB, octane=(98, "RON"), flash_methods=("BENCH", "OBD"), wmi="WBS", siblings=(("M4", 2021, 2023),)),
    EcuFamily("wrx", "Subaru", "WRX", 2015, 2021, "22765-AF", "SW515", kind="CAR", markets=("US", "JP"), image_size_bytes=512 * KIB, octane=(93, "AKI"), wmi="JF1"),
    EcuFamily("typer", "Honda", "Civic", 2017, 2021, "37820-RPY", "HR517", kind="CAR", image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="SHH"),
    EcuFamily("mx5", "Mazda", "MX-5", 2016, 2023, "PE1V-188", "MM516", kind="CAR", image_size_bytes=512 * KIB, wmi="JMZ"),
    EcuFamily("yaris", "Toyota", "GR Yaris", 2020, 2023, "89661-GR", "TY220", kind="CAR", markets=("EU", "JP"), image_size_bytes=512 * KIB, octane=(98, "RON"), wmi="JTN"),
]  # fmt: skip
BY_KEY = {family.key: family for family in FAMILIES}


@lru_cache(maxsize=64)
def stock_image(family: EcuFamily, market: str) -> bytes:
    """The stock image of one market's ECU; always the same bytes."""
    variant = family.variant(market)
    return generator.make_stock(
        seed=f"stock:{family.key}:{variant.market}",
        hardware_number=variant.hardware_number,
        calibration_id=variant.calibration_id,
        size=family.image_size_bytes,
    )


def tuned_image(family: EcuFamily, market: str, *, seed: str, calibration_id: str, maps: int, percent: int) -> bytes:
    """A tuned image: the stock one with some maps, the calibration id and the checksums changed."""
    return generator.make_tuned(stock_image(family, market), seed=seed, calibration_id=calibration_id, maps=maps, percent=percent)
