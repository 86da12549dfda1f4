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
    profile: str  # what the public page says
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
    DemoTuner("nordlicht", "Imke Petersen", "Nordlicht Motorsport", "DE", "EUR", "Eighteen years of dyno work on Japanese fours and triples near Kiel; own eddy-current dyno.", ("STREET", "DYNO_TUNING", "EXHAUST_MATCHING"), "We measure every map on our own dyno, before and after, on the same day. What the sheet says is what your bike does.", website="https://nordlicht-motorsport.example"),
    DemoTuner("apex", "Marcus Hale", "Apex Calibration", "GB", "GBP", "Club racing support since 2009, two championship bikes calibrated.", ("TRACK", "DYNO_TUNING"), "Club and championship racing. Our road maps come from the same people who stand on the pit wall on Sundays.", website="https://apex-calibration.example"),
    DemoTuner("officina", "Giulia Ferri", "Officina Ferri", "IT", "EUR", "Third generation workshop in Bologna; Ducati and Aprilia only.", ("TRACK", "STREET", "EXHAUST_MATCHING"), "Three generations of desmo. If your Ducati runs rough, we have probably heard it before."),
    DemoTuner("highdesert", "Dana Whitfield", "High Desert Dyno", "US", "USD", "Altitude tuning in Nevada: what runs here runs anywhere.", ("STREET", "OFF_ROAD", "FORCED_INDUCTION"), "At 1,300 metres and 40 degrees there is nowhere to hide a lean spot. Everything we sell has been there.", website="https://highdesertdyno.example"),
    DemoTuner("shonan", "Kenji Morita", "Shonan ECU Works", "JP", "JPY", "Fifteen years at a maker's calibration department before opening the shop.", ("STREET", "THROTTLE_MAPS", "TRACK"), "Fifteen years in a maker’s calibration department. Small steps, measured twice, documented once and properly."),
    DemoTuner("alpentouren", "Lukas Gruber", "Alpentouren Technik", "AT", "EUR", "Fuelling for long days and thin air; adventure bikes.", ("TOURING", "OFF_ROAD", "THROTTLE_MAPS"), "Long days, thin air, luggage and a passenger: that is what our maps are made for."),
    DemoTuner("turbohaus", "Sven Lindqvist", "Turbohaus Göteborg", "SE", "EUR", "Turbo cars on the road since 2004; own hub dyno.", ("FORCED_INDUCTION", "ALTERNATIVE_FUEL", "BENCH_FLASHING"), "Turbo petrol engines on the road, with knock control left alone. Hub dyno and E85 at the pump next door."),
    DemoTuner("lagrange", "Claire Lagrange", "Lagrange Injection", "FR", "EUR", "Fuel injection rebuilds and calibration, Lyon.", ("STREET", "BENCH_FLASHING"), "Injection rebuilds and calibration in Lyon. Bench work is daily business, and we tell you when you need it."),
    DemoTuner("pacific", "Tom Okafor", "Pacific Flashworks", "US", "USD", "Mail-in and remote tuning on the West Coast, 3,000 ECUs a year.", ("STREET", "TRACK", "ALTERNATIVE_FUEL"), "Three thousand ECUs a year by mail and over the app. If in doubt, send us the read-out first."),
    DemoTuner("kestrel", "Aoife Brennan", "Kestrel Performance", "IE", "EUR", "Road racing support, Isle of Man paddock every year.", ("TRACK", "DYNO_TUNING"), "Road racing support every summer, street bikes every winter. Both leave with a log to prove it."),
    DemoTuner("polder", "Joris de Wit", "Polder Power", "NL", "EUR", "Twins and singles; everything is measured twice.", ("STREET", "THROTTLE_MAPS"), "Twins and singles. No stage numbers, no magic, just even fuelling."),
    DemoTuner("sierra", "Marta Ruiz", "Sierra Mapping", "ES", "EUR", "Hill climb and track days.", ("TRACK", "STREET"), "Hill climbs and track days in the south. Hot, steep and honest."),
    DemoTuner("openmaps", "Priya Raman", "Open Maps Collective", "GB", "GBP", "Free maps, documented change by change.", ("STREET", "THROTTLE_MAPS"), "Free maps with every changed table named in the changelog. Take them, ride them, tell us what is wrong.", kind="CREATOR"),
    DemoTuner("garagefive", "Ben Carter", "Garage Five", "US", "USD", "Weekend calibrations for older twins, free for everyone.", ("STREET", "TOURING"), "Weekend calibrations for older twins. No support line, but every message is read.", kind="CREATOR"),
    DemoTuner("blackline", "Viktor Stahl", "Blackline Files", "DE", "EUR", "Files for every bike.", ("STREET",), "Files for every bike, fast.", about="suspended"),
]  # fmt: skip

APPLICANTS = [
    DemoApplicant("fjord", "Ingrid Solberg", "Fjord Tuning", "NO", "SUBMITTED", "Ten years of snowmobile and motorcycle calibration in Tromsø; dyno sheets attached."),
    DemoApplicant("redbarn", "Wyatt Lane", "Red Barn Racing", "US", "SUBMITTED", "Flat track bikes and their fuelling."),
    DemoApplicant("lusitano", "Rui Tavares", "Lusitano Injection", "PT", "INFO_REQUESTED", "Independent workshop in Porto, six years."),
    DemoApplicant("bytebike", "Nico Brandt", "Byte & Bike", "DE", "REJECTED", "I have collected many files over the years."),
    DemoApplicant("moor", "Ellie Marsh", "Moorland Maps", "GB", "DRAFT", ""),
]  # fmt: skip

RIDERS = [  # key, name, country, town, experience
    ("robin", "Robin Keller", "DE", "Freiburg", "INTERMEDIATE"),
    ("amara", "Amara Diallo", "FR", "Lille", "BEGINNER"),
    ("jonas", "Jonas Weber", "DE", "Kassel", "ADVANCED"),
    ("sofia", "Sofia Marino", "IT", "Modena", "ADVANCED"),
    ("liam", "Liam O'Connor", "IE", "Galway", "INTERMEDIATE"),
    ("hannah", "Hannah Schmidt", "AT", "Innsbruck", "BEGINNER"),
    ("mateo", "Mateo García", "ES", "Granada", "INTERMEDIATE"),
    ("yuki", "Yuki Tanaka", "JP", "Fujisawa", "ADVANCED"),
    ("oliver", "Oliver Brown", "GB", "Leeds", "INTERMEDIATE"),
    ("grace", "Grace Kim", "US", "Portland, Oregon", "INTERMEDIATE"),
    ("ethan", "Ethan Walker", "US", "Boise, Idaho", "PROFESSIONAL"),
    ("nora", "Nora Lindholm", "SE", "Malmö", "INTERMEDIATE"),
    ("pieter", "Pieter Jansen", "NL", "Zwolle", "BEGINNER"),
    ("chloe", "Chloé Martin", "FR", "Grenoble", "INTERMEDIATE"),
    ("daniel", "Daniel Novak", "CZ", "Brno", "ADVANCED"),
    ("maya", "Maya Thompson", "CA", "Calgary, Alberta", "INTERMEDIATE"),
]

ADMINS = [("ada", "Ada Winter"), ("boris", "Boris Hahn")]
