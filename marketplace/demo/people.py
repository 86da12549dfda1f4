"""The people of the demo data. All of them are invented; addresses end in `.example`, which belongs to nobody."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DemoTuner:
    """Somebody who publishes. `about` as in demo.json."""

    key: str
    name: str
    business_name: str
    country: str
    currency: str
    experience: str
    specialities: tuple[str, ...]
    kind: str = "TUNER"
    website: str = ""
    about: str = ""


@dataclass(frozen=True)
class DemoApplicant:
    """A rider whose application stands in one state."""

    key: str
    name: str
    business_name: str
    country: str
    state: str
    experience: str


TUNERS = [
    DemoTuner("nordlicht", "Imke Petersen", "Nordlicht Motorsport", "DE", "EUR", "Eighteen years of dyno work on Japanese fours and triples near Kiel; own eddy-current dyno.", ("STREET", "DYNO_TUNING", "EXHAUST_MATCHING"), website="https://nordlicht-motorsport.example"),
    DemoTuner("apex", "Marcus Hale", "Apex Calibration", "GB", "GBP", "Club racing support since 2009, two championship bikes calibrated.", ("TRACK", "DYNO_TUNING"), website="https://apex-calibration.example"),
    DemoTuner("officina", "Giulia Ferri", "Officina Ferri", "IT", "EUR", "Third generation workshop in Bologna; Ducati and Aprilia only.", ("TRACK", "STREET", "EXHAUST_MATCHING")),
    DemoTuner("highdesert", "Dana Whitfield", "High Desert Dyno", "US", "USD", "Altitude tuning in Nevada: what runs here runs anywhere.", ("STREET", "OFF_ROAD", "FORCED_INDUCTION"), website="https://highdesertdyno.example"),
    DemoTuner("shonan", "Kenji Morita", "Shonan ECU Works", "JP", "JPY", "Fifteen years at a maker's calibration department before opening the shop.", ("STREET", "THROTTLE_MAPS", "TRACK")),
    DemoTuner("alpentouren", "Lukas Gruber", "Alpentouren Technik", "AT", "EUR", "Fuelling for long days and thin air; adventure bikes.", ("TOURING", "OFF_ROAD", "THROTTLE_MAPS")),
    DemoTuner("turbohaus", "Sven Lindqvist", "Turbohaus Göteborg", "SE", "EUR", "Turbo cars on the road since 2004; own hub dyno.", ("FORCED_INDUCTION", "ALTERNATIVE_FUEL", "BENCH_FLASHING")),
    DemoTuner("lagrange", "Claire Lagrange", "Lagrange Injection", "FR", "EUR", "Fuel injection rebuilds and calibration, Lyon.", ("STREET", "BENCH_FLASHING")),
    DemoTuner("pacific", "Tom Okafor", "Pacific Flashworks", "US", "USD", "Mail-in and remote tuning on the West Coast, 3,000 ECUs a year.", ("STREET", "TRACK", "ALTERNATIVE_FUEL")),
    DemoTuner("kestrel", "Aoife Brennan", "Kestrel Performance", "IE", "EUR", "Road racing support, Isle of Man paddock every year.", ("TRACK", "DYNO_TUNING")),
    DemoTuner("polder", "Joris de Wit", "Polder Power", "NL", "EUR", "Twins and singles; everything is measured twice.", ("STREET", "THROTTLE_MAPS")),
    DemoTuner("sierra", "Marta Ruiz", "Sierra Mapping", "ES", "EUR", "Hill climb and track days.", ("TRACK", "STREET")),
    DemoTuner("openmaps", "Priya Raman", "Open Maps Collective", "GB", "GBP", "Free maps, documented change by change.", ("STREET", "THROTTLE_MAPS"), kind="CREATOR"),
    DemoTuner("garagefive", "Ben Carter", "Garage Five", "US", "USD", "Weekend calibrations for older twins, free for everyone.", ("STREET", "TOURING"), kind="CREATOR"),
    DemoTuner("blackline", "Viktor Stahl", "Blackline Files", "DE", "EUR", "Files for every bike.", ("STREET",), about="suspended"),
]  # fmt: skip

APPLICANTS = [
    DemoApplicant("fjord", "Ingrid Solberg", "Fjord Tuning", "NO", "SUBMITTED", "Ten years of snowmobile and motorcycle calibration in Tromsø; dyno sheets attached."),
    DemoApplicant("redbarn", "Wyatt Lane", "Red Barn Racing", "US", "SUBMITTED", "Flat track bikes and their fuelling."),
    DemoApplicant("lusitano", "Rui Tavares", "Lusitano Injection", "PT", "INFO_REQUESTED", "Independent workshop in Porto, six years."),
    DemoApplicant("bytebike", "Nico Brandt", "Byte & Bike", "DE", "REJECTED", "I have collected many files over the years."),
    DemoApplicant("moor", "Ellie Marsh", "Moorland Maps", "GB", "DRAFT", ""),
]  # fmt: skip

RIDERS = [
    ("robin", "Robin Keller", "DE"),
    ("amara", "Amara Diallo", "FR"),
    ("jonas", "Jonas Weber", "DE"),
    ("sofia", "Sofia Marino", "IT"),
    ("liam", "Liam O'Connor", "IE"),
    ("hannah", "Hannah Schmidt", "AT"),
    ("mateo", "Mateo García", "ES"),
    ("yuki", "Yuki Tanaka", "JP"),
    ("oliver", "Oliver Brown", "GB"),
    ("grace", "Grace Kim", "US"),
    ("ethan", "Ethan Walker", "US"),
    ("nora", "Nora Lindholm", "SE"),
    ("pieter", "Pieter Jansen", "NL"),
    ("chloe", "Chloé Martin", "FR"),
    ("daniel", "Daniel Novak", "CZ"),
    ("maya", "Maya Thompson", "CA"),
]

ADMINS = [("ada", "Ada Winter"), ("boris", "Boris Hahn")]
