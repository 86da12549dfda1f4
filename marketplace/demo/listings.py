"""The tunes of the demo data: who offers what for which ECU."""

from dataclasses import dataclass

PRICE_FACTOR = {"EUR": 1.0, "USD": 1.05, "GBP": 0.9, "JPY": 1.6}  # of a price in euro cents; for the yen, of whole yen × 100


@dataclass(frozen=True)
class DemoTune:
    """One listing. `story` is how far its first version got: published, in_review, changes, held, recalled, draft, archived."""

    tuner: str
    family: str
    category: str
    price_cents: int
    versions: int = 1
    story: str = "published"
    format: str = "BIN"


TUNES = [
    DemoTune("nordlicht", "mt09", "STAGE_1", 14900, versions=2),
    DemoTune("nordlicht", "mt09", "STAGE_2", 19900),
    DemoTune("openmaps", "mt09", "DRIVABILITY", 0, versions=2),
    DemoTune("shonan", "mt09", "THROTTLE", 12900),
    DemoTune("pacific", "mt09", "QUICKSHIFTER", 8900),
    DemoTune("nordlicht", "mt07", "STAGE_1", 12900),
    DemoTune("polder", "mt07", "THROTTLE", 7900),
    DemoTune("openmaps", "mt07", "DRIVABILITY", 0),
    DemoTune("garagefive", "mt07", "LIMITERS", 0),
    DemoTune("apex", "r1", "TRACK", 34900),
    DemoTune("shonan", "r1", "STAGE_1", 21900, versions=2),
    DemoTune("kestrel", "r1", "STAGE_2", 29900),
    DemoTune("apex", "r6", "TRACK", 27900),
    DemoTune("pacific", "r6", "QUICKSHIFTER", 9900),
    DemoTune("kestrel", "r6", "STAGE_1", 17900),
    DemoTune("alpentouren", "t7", "ECONOMY", 9900, versions=2),
    DemoTune("polder", "t7", "THROTTLE", 8900),
    DemoTune("openmaps", "t7", "DRIVABILITY", 0),
    DemoTune("apex", "blade", "TRACK", 36900),
    DemoTune("shonan", "blade", "STAGE_1", 23900),
    DemoTune("nordlicht", "cb650r", "STAGE_1", 13900),
    DemoTune("garagefive", "cb650r", "THROTTLE", 0),
    DemoTune("highdesert", "z900", "STAGE_1", 13900, versions=2),
    DemoTune("sierra", "z900", "STAGE_2", 17900),
    DemoTune("openmaps", "z900", "DRIVABILITY", 0),
    DemoTune("highdesert", "zx10r", "STAGE_1", 22900),
    DemoTune("sierra", "zx10r", "TRACK", 31900),
    DemoTune("polder", "z650", "DRIVABILITY", 6900),
    DemoTune("garagefive", "z650", "THROTTLE", 0),
    DemoTune("pacific", "gsxr1000", "STAGE_1", 19900),
    DemoTune("kestrel", "gsxr1000", "TRACK", 29900),
    DemoTune("polder", "sv650", "STAGE_1", 9900),
    DemoTune("garagefive", "sv650", "DRIVABILITY", 0, versions=2),
    DemoTune("alpentouren", "duke890", "STAGE_1", 15900),
    DemoTune("sierra", "duke890", "QUICKSHIFTER", 8900),
    DemoTune("alpentouren", "sdr1290", "STAGE_1", 19900),
    DemoTune("nordlicht", "sdr1290", "THROTTLE", 11900),
    DemoTune("lagrange", "s1000rr", "STAGE_1", 32900),
    DemoTune("apex", "s1000rr", "TRACK", 44900, format="INTEL_HEX"),
    DemoTune("alpentouren", "r1250gs", "ECONOMY", 14900),
    DemoTune("lagrange", "r1250gs", "THROTTLE", 12900),
    DemoTune("officina", "panigale", "TRACK", 42900, versions=2),
    DemoTune("officina", "panigale", "STAGE_1", 28900),
    DemoTune("officina", "monster", "STAGE_1", 18900),
    DemoTune("openmaps", "monster", "DRIVABILITY", 0),
    DemoTune("kestrel", "street", "STAGE_1", 16900),
    DemoTune("apex", "street", "TRACK", 24900),
    DemoTune("officina", "rsv4", "TRACK", 39900),
    DemoTune("sierra", "rsv4", "STAGE_2", 27900),
    DemoTune("turbohaus", "golf", "STAGE_1", 39900),
    DemoTune("turbohaus", "golf", "FLEX_FUEL", 54900),
    DemoTune("lagrange", "golf", "ECONOMY", 24900),
    DemoTune("turbohaus", "m3", "STAGE_1", 69900),
    DemoTune("lagrange", "m3", "STAGE_2", 89900),
    DemoTune("highdesert", "wrx", "STAGE_1", 34900),
    DemoTune("pacific", "wrx", "FLEX_FUEL", 44900),
    DemoTune("garagefive", "wrx", "DRIVABILITY", 0),
    DemoTune("turbohaus", "typer", "STAGE_1", 37900),
    DemoTune("highdesert", "typer", "STAGE_2", 42900),
    DemoTune("openmaps", "mx5", "DRIVABILITY", 0),
    DemoTune("polder", "mx5", "STAGE_1", 21900),
    DemoTune("shonan", "yaris", "STAGE_1", 39900),
    DemoTune("turbohaus", "yaris", "TRACK", 49900),
    # how listings end up besides being on sale
    DemoTune("sierra", "mt07", "TRACK", 14900, story="recalled"),
    DemoTune("pacific", "z900", "STAGE_2", 18900, story="held"),
    DemoTune("kestrel", "mt09", "TRACK", 24900, story="in_review"),
    DemoTune("lagrange", "panigale", "STAGE_2", 33900, story="changes"),
    DemoTune("shonan", "r6", "THROTTLE", 9900, story="draft"),
    DemoTune("apex", "zx10r", "STAGE_2", 28900, story="archived"),
    DemoTune("blackline", "sv650", "STAGE_2", 4900),
]

TITLES = {
    "STAGE_1": "{model} Stage 1 for the stock exhaust",
    "STAGE_2": "{model} Stage 2 for open exhaust and intake",
    "TRACK": "{model} track day map",
    "DRIVABILITY": "{model} smooth fuelling",
    "THROTTLE": "{model} throttle and ride modes",
    "QUICKSHIFTER": "{model} quickshifter and autoblip",
    "ECONOMY": "{model} long range touring",
    "FLEX_FUEL": "{model} E85 flex fuel",
    "LIMITERS": "{model} limiters and fan temperature",
}

DESCRIPTIONS = {
    "STAGE_1": "Fuel and ignition for the standard engine and exhaust. The lean spot between 3,000 and 5,000 rpm is filled, the throttle opens as far as your hand says in every mode, and engine braking is one step softer.\n\nMeasured on the same dyno on the same day, before and after. Nothing about the emission system is switched off.",
    "STAGE_2": "For bikes and cars that breathe better than stock: slip-on or full system and a free-flowing filter. Fuelling follows the measured air mass, ignition is held back where the knock sensor asks for it.\n\nTell us your parts in the garage before you buy; the fitment check looks at them.",
    "TRACK": "Closed course only. Full throttle tables in all gears, pit limiter, later rev limit by 200 rpm, launch control where the hardware has it. Needs fresh 98 RON or better.",
    "DRIVABILITY": "No more power, just manners: an even idle, no surging at constant throttle, a gentle first millimetre of the grip. Every change is listed in the changelog.",
    "THROTTLE": "Three new ride modes: Rain opens to 80 %, Road follows your hand one to one, Sport is a little ahead of it. Traction control stays as it is.",
    "QUICKSHIFTER": "Cut and blip times for up and down, per gear and load, for the stock sensor or a wired one.",
    "ECONOMY": "Leaner cruise within the closed loop, later fan, softer engine braking: eight to ten per cent further on a tank on our test loop.",
    "FLEX_FUEL": "Runs any blend between pump petrol and E85 by the sensor's reading. Injector and pump limits are respected; needs the sensor kit named under requirements.",
    "LIMITERS": "Restores the home market's limiters and lowers the fan's switching temperature by four degrees.",
}

TAGS = {
    "STAGE_1": ["POWER", "THROTTLE_RESPONSE"],
    "STAGE_2": ["POWER", "TORQUE"],
    "TRACK": ["POWER", "REV_LIMITER", "LAUNCH_CONTROL"],
    "DRIVABILITY": ["IDLE", "THROTTLE_RESPONSE"],
    "THROTTLE": ["THROTTLE_RESPONSE", "ENGINE_BRAKING"],
    "QUICKSHIFTER": ["QUICKSHIFTER", "AUTOBLIP"],
    "ECONOMY": ["ECONOMY", "FAN_TEMPERATURE"],
    "FLEX_FUEL": ["FLEX_FUEL", "POWER"],
    "LIMITERS": ["SPEED_LIMITER", "FAN_TEMPERATURE"],
}

EMISSIONS = {"TRACK": "CLOSED_COURSE_ONLY", "STAGE_2": "CLOSED_COURSE_ONLY", "FLEX_FUEL": "CLOSED_COURSE_ONLY"}

REVIEWS = [
    (5, "Night and day below 5,000 rpm. The app refused to start until my battery was over 12.4 V, which I liked more than I expected."),
    (5, "Flashed in the garage in six minutes. Idle is even, no more surging in town."),
    (4, "Good map, a little abrupt off closed throttle in Sport. Road mode is perfect."),
    (5, "Does what the dyno sheet says. Asked a question and had an answer the same evening."),
    (4, "Solid. Fan comes on earlier, as described. I would have liked a longer changelog."),
    (3, "Fine on the road, but I expected more on the top end. To be fair, the sheet never promised it."),
    (5, "Second bike with a file of this shop. Same care."),
    (2, "Works, but fuel consumption went up more than I hoped. Went back to stock in five minutes, that part is great."),
    (5, "Quick, clean, exactly my calibration id. The restore ticket gives peace of mind."),
    (4, "Very smooth. One star less because I had to wait for a new version after the dealer's update."),
]

REPLIES = [
    "Thank you! Version 1.1.0 softens the first two per cent of the grip: it is yours already.",
    "Thanks for the honest words. Write to us with your consumption figures and we will look at the cruise cells.",
]
