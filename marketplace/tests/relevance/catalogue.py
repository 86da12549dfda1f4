"""A small market as tuners fill one: real models, each tuner's own way of writing, and some tunes that stand alone.

Models and their aliases come from the committed catalogue; titles, tuners and part numbers are made up in the style of
real ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from marketplace.enums import TuneCategory as C


@dataclass(frozen=True)
class Model:
    """A model of the catalogue, as tuners call it, the years that their files are for, and its ECU."""

    make: str
    name: str
    short: str
    years: tuple[int, int]
    hardware_number: str = ""


@dataclass(frozen=True)
class Listing:
    title: str
    tuner: str
    category: str
    models: tuple[Model, ...]
    description: str = ""
    tags: tuple[str, ...] = ()
    calibration_ids: tuple[str, ...] = field(default=())


TUNERS = {
    "alpine": "Alpine Flash",
    "bay": "Bay Area Dyno",
    "mueller": "Müller Tuning GmbH",
    "garage": "Чип Гараж",
    "tenere": "Atelier Ténéré",
    "ring": "Nordschleife Mapping",
    "shift": "QuickShift Labs",
    "iron": "Iron Horse Dyno",
    "hansa": "Hanseatic ECU Service",
    "vag": "VAG Lab Škoda & Co",
    "torino": "Officina Torino",
    "kojo": "Kōjō 工場 Performance",
}

BIKES = {
    model.short: model
    for model in (
        Model("Yamaha", "MT-09", "MT-09", (2014, 2024), "B7N-8591A-10"),
        Model("Yamaha", "MT-07", "MT-07", (2014, 2023), "B4C-8591A-00"),
        Model("Yamaha", "MT-10", "MT-10", (2016, 2024), "B67-8591A-20"),
        Model("Yamaha", "YZF-R1", "R1", (2009, 2024), "2CR-8591A-11"),
        Model("Yamaha", "YZF-R6", "R6", (2006, 2020), "BN6-8591A-00"),
        Model("Yamaha", "YZF-R7", "R7", (2021, 2024)),
        Model("Yamaha", "YZF-R125", "R125", (2008, 2024)),
        Model("Yamaha", "Tracer 900", "Tracer 900", (2015, 2020)),
        Model("Yamaha", "Tracer 9", "Tracer 9", (2021, 2024)),
        Model("Yamaha", "Ténéré 700", "Ténéré 700", (2019, 2024)),
        Model("Yamaha", "XSR900", "XSR900", (2016, 2024)),
        Model("Yamaha", "T-MAX 530", "TMAX 530", (2012, 2019)),
        Model("Honda", "CBR1000RR-R Fireblade", "CBR1000RR-R", (2020, 2024)),
        Model("Honda", "CBR1000RR Fireblade", "CBR1000RR Fireblade", (2008, 2019), "38770-MKF-D01"),
        Model("Honda", "CBR600RR", "CBR600RR", (2007, 2020)),
        Model("Honda", "CBR650R", "CBR650R", (2019, 2024)),
        Model("Honda", "CB1000 Hornet", "CB1000 Hornet", (2024, 2026)),
        Model("Honda", "CRF1100L Africa Twin", "Africa Twin 1100", (2020, 2024)),
        Model("Suzuki", "GSX-R1000", "GSX-R 1000", (2005, 2022), "32920-47H10"),
        Model("Suzuki", "GSX-R750", "GSX-R 750", (2006, 2018)),
        Model("Suzuki", "GSX1300R Hayabusa", "Hayabusa", (2008, 2024)),
        Model("Suzuki", "SV650", "SV 650", (2003, 2022)),
        Model("Kawasaki", "Ninja ZX-10R", "ZX-10R", (2011, 2024), "21175-0765"),
        Model("Kawasaki", "Ninja ZX-6R", "ZX-6R", (2009, 2024)),
        Model("Kawasaki", "Z900", "Z900", (2017, 2024)),
        Model("Kawasaki", "Z900RS", "Z900RS", (2018, 2024)),
        Model("Kawasaki", "Versys 1000", "Versys 1000", (2012, 2024)),
        Model("BMW", "S 1000 RR", "S1000RR", (2010, 2024), "0261S18345"),
        Model("BMW", "S 1000 R", "S1000R", (2014, 2024)),
        Model("BMW", "R 1200 GS", "R1200GS", (2006, 2018)),
        Model("BMW", "R 1250 GS", "R1250GS", (2019, 2023)),
        Model("BMW", "R 12 nineT", "R 12 nineT", (2024, 2026)),
        Model("KTM", "1290 Super Duke R", "1290 Super Duke R", (2014, 2024)),
        Model("KTM", "890 Duke", "890 Duke", (2020, 2024)),
        Model("KTM", "390 Duke", "390 Duke", (2013, 2024)),
        Model("KTM", "690 Enduro R", "690 Enduro R", (2009, 2024)),
        Model("Ducati", "Panigale V4", "Panigale V4", (2018, 2024)),
        Model("Ducati", "Monster 821", "Monster 821", (2014, 2020)),
        Model("Ducati", "Monster", "Monster 937", (2021, 2024)),
        Model("Ducati", "Streetfighter V4", "Streetfighter V4", (2020, 2024)),
        Model("Triumph", "Street Triple 765", "Street Triple 765", (2017, 2024)),
        Model("Triumph", "Street Triple 675", "Street Triple 675", (2008, 2016)),
        Model("Triumph", "Speed Triple 1050", "Speed Triple 1050", (2005, 2017)),
        Model("Triumph", "Tiger 900", "Tiger 900", (2020, 2024)),
        Model("Triumph", "Bonneville T120", "Bonneville T120", (2016, 2024)),
        Model("Harley-Davidson", "Sportster 1200", "Sportster 1200", (2004, 2020)),
        Model("Harley-Davidson", "Road Glide", "Road Glide", (2015, 2023)),
        Model("Aprilia", "RS 660", "RS 660", (2020, 2024)),
        Model("Aprilia", "Tuono V4", "Tuono V4", (2011, 2023)),
        Model("Husqvarna", "701 Supermoto", "701 Supermoto", (2016, 2023)),
        Model("Royal Enfield", "Interceptor 650", "Interceptor 650", (2018, 2024)),
        Model("Moto Guzzi", "V7", "V7", (2012, 2024)),
    )
}
CARS = {
    model.short: model
    for model in (
        Model("Volkswagen", "Golf GTI", "Golf GTI", (2009, 2023), "8W0907115B"),
        Model("Volkswagen", "Golf R", "Golf R", (2014, 2023)),
        Model("Volkswagen", "Transporter", "T5 2.0 TDI", (2010, 2019), "03L906018JJ"),
        Model("Audi", "S3", "S3 8V", (2013, 2020)),
        Model("Audi", "A3", "A3 2.0 TDI", (2009, 2020)),
        Model("Škoda", "Octavia RS", "Octavia RS", (2013, 2020)),
        Model("BMW", "3 Series", "320d F30", (2012, 2019)),
        Model("BMW", "M3", "M3 G80", (2021, 2024)),
        Model("Ford", "Focus ST", "Focus ST", (2012, 2018)),
        Model("Ford", "Focus RS", "Focus RS", (2016, 2018)),
        Model("Renault", "Mégane RS", "Mégane RS", (2010, 2022)),
        Model("Mercedes-Benz", "C 63 AMG", "C63 AMG", (2008, 2021)),
        Model("Toyota", "GR Yaris", "GR Yaris", (2020, 2024)),
        Model("Honda", "Civic Type R", "Civic Type R FK8", (2017, 2021)),
        Model("Subaru", "Impreza WRX STI", "WRX STI", (2008, 2021)),
        Model("Mazda", "MX-5", "MX-5 ND", (2016, 2024)),
    )
}
MODELS = BIKES | CARS

# What each tuner writes for whatever model: title, category, description.
HABITS: dict[str, tuple[str, str, str]] = {
    "alpine": (
        "{make} {short} Stage 1",
        C.STAGE_1,
        "Smoother throttle and a fuller middle. Measured before and after on the same dyno, with pump fuel and stock intake.",
    ),
    "bay": ("{short} street map", C.STAGE_1, "Stage 1 flash for {make} owners. Cold start and idle stay as the maker set them."),
    "mueller": ("{short} Leistungssteigerung Stufe 1", C.STAGE_1, "Mehr Drehmoment für Straße und Alltag, auf dem Prüfstand abgestimmt."),
    "tenere": ("Cartographie {short} souple", C.DRIVABILITY, "Moins d'à-coups à bas régime, consommation en baisse."),
    "ring": ("{short} track day map", C.TRACK, "For closed courses with slip-on exhaust; rev limiter raised by 300 rpm."),
    "shift": ("{short} quickshifter and autoblip", C.QUICKSHIFTER, "Up and down shifts without the clutch. Kill times for each gear."),
    "garage": ("Прошивка {short} Стейдж 1", C.STAGE_1, "Больше тяги на низах, плавный газ. Настройка на диностенде."),
    "kojo": ("{short} セッティング Stage 2", C.STAGE_2, "フルエキ用。 For full exhaust and open airbox."),
    "iron": ("Iron Horse {short} tame idle and heat fix", C.DRIVABILITY, "Richer cruise, cooler rear cylinder."),
    "hansa": ("{make} {short} eco remap", C.ECONOMY, "Up to 8 % less fuel on the motorway, DPF and EGR stay as they are."),
    "vag": ("{short} Stage 1+ with pops", C.STAGE_1, "For Bosch MED17.5.5 and EDC17 units, read and written by OBD."),
    "torino": ("{short} E85 flex fuel", C.FLEX_FUEL, "Runs on any mix of petrol and ethanol, with a sensor."),
}
OF_BIKES = ("alpine", "bay", "mueller", "ring", "shift", "tenere", "garage", "kojo")
OF_CARS = ("hansa", "vag", "torino", "alpine", "mueller", "garage")

ALONE = (
    Listing("Quickshifter for YZF-R6, race shift pattern", "shift", C.QUICKSHIFTER, (BIKES["R6"],), "GP shift supported."),
    Listing("MT-09 SP throttle map A/B/STD", "bay", C.THROTTLE, (BIKES["MT-09"],), "Standard mode softened, A mode without the snatch."),
    Listing("One map fits Yamaha CP3: MT-09, Tracer 9, XSR900", "ring", C.STAGE_1, (BIKES["MT-09"], BIKES["Tracer 9"], BIKES["XSR900"])),
    Listing("FZ-09 Stage 2 full exhaust", "bay", C.STAGE_2, (BIKES["MT-09"],), "US name of the MT-09. For full systems."),
    Listing("Gixxer K5 top speed limiter off", "ring", C.LIMITERS, (BIKES["GSX-R 1000"],), "The restriction in fifth and sixth goes."),
    Listing("GSX-R Gesamtpaket: 600, 750 und 1000", "mueller", C.TRACK, (BIKES["GSX-R 750"], BIKES["GSX-R 1000"])),
    Listing("Busa turbo base map", "iron", C.STAGE_3, (BIKES["Hayabusa"],), "Forced induction, 3 bar MAP sensor.", ("POWER",)),
    Listing("Sportster idle 900 rpm and no more pops", "iron", C.DRIVABILITY, (BIKES["Sportster 1200"],), "For XL1200 with slip-ons."),
    Listing("Road Glide touring economy", "iron", C.ECONOMY, (BIKES["Road Glide"],), "Two more miles a litre."),
    Listing("Schräglage: S1000RR Rennstrecke", "mueller", C.TRACK, (BIKES["S1000RR"],), "Für Öhlins und Slicks; Motorbremse einstellbar."),
    Listing("Größere Drosselklappen: Kennfeld für RS 660", "mueller", C.STAGE_2, (BIKES["RS 660"],)),
    Listing("Enduro low end for 690 and 701", "tenere", C.THROTTLE, (BIKES["690 Enduro R"], BIKES["701 Supermoto"]), "Never stalls."),
    Listing("Ténéré 700 World Raid: doux au ralenti", "tenere", C.DRIVABILITY, (BIKES["Ténéré 700"],), "Pour l'Euro 5."),
    Listing("Настройка Фаерблейд для трека", "garage", C.TRACK, (BIKES["CBR1000RR Fireblade"],), "Ограничитель поднят."),
    Listing("Ямаха МТ-09 плавный газ", "garage", C.THROTTLE, (BIKES["MT-09"],), "Без рывков в режиме А."),
    Listing("Ёжик: чип для R6", "garage", C.STAGE_2, (BIKES["R6"],), "Прямоток."),
    Listing("Golf 7 GTI MED17.5.5 Stage 1", "vag", C.STAGE_1, (CARS["Golf GTI"],), "Bosch ECU, 300 PS and 420 Nm with Super Plus."),
    Listing("EDC17 diesel economy T5 / T6", "hansa", C.ECONOMY, (CARS["T5 2.0 TDI"],), "Bosch EDC17CP20, torque limits raised gently."),
    Listing("M3 G80 burble free cold start", "torino", C.DRIVABILITY, (CARS["M3 G80"],), "Quiet in the morning."),
    Listing("WRX STI E85 with boost by gear", "bay", C.FLEX_FUEL, (CARS["WRX STI"],), "Ethanol content sensor needed."),
    Listing("Rev limiter 11200 for ZX-10R", "ring", C.LIMITERS, (BIKES["ZX-10R"],), "With race kit springs only."),
    Listing("KTM 390 Duke beginner map 35 kW", "alpine", C.OTHER, (BIKES["390 Duke"],), "Soft throttle for A2."),
    Listing("Superduke 1290 traction tamed", "alpine", C.THROTTLE, (BIKES["1290 Super Duke R"],), "Beast in the rain mode."),
    Listing("Café racer V7: lebhafter", "mueller", C.STAGE_1, (BIKES["V7"],), "Für offene Trichter."),
)


def listings() -> Iterator[Listing]:
    """All of them, always the same: three habits for each model, and those that stand alone."""
    for models, tuners in ((BIKES, OF_BIKES), (CARS, OF_CARS)):
        for number, model in enumerate(models.values()):
            for turn in range(3):
                tuner = tuners[(number + turn * (1 + number % 2)) % len(tuners)]
                title, category, description = HABITS[tuner]
                names = {"make": model.make, "short": model.short}
                yield Listing(title.format(**names), tuner, category, (model,), description.format(**names))
    yield from ALONE
