"""What riders type, and what they hope to see: written by hand before anything was measured.

A grade is that of the first condition which a listing meets: 3 is what was meant, 2 would do, 1 is related. All keys of a
condition must hold; a tuple means any of its values. `title` and `text` (title or description) are parts of the text.
"""

from dataclasses import dataclass
from typing import Any

from marketplace.tests.relevance.catalogue import Listing

Condition = dict[str, Any]


@dataclass(frozen=True)
class Query:
    q: str
    grades: tuple[tuple[int, Condition], ...]

    def grade(self, listing: Listing) -> int:
        return next((grade for grade, condition in self.grades if meets(listing, condition)), 0)


def meets(listing: Listing, condition: Condition) -> bool:
    facts = {
        "model": {model.short for model in listing.models},
        "make": {model.make for model in listing.models},
        "number": {model.hardware_number for model in listing.models},
        "category": {str(listing.category)},
        "tuner": {listing.tuner},
    }
    texts = {"title": listing.title.lower(), "text": f"{listing.title} {listing.description}".lower()}
    for key, wanted in condition.items():
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        held = any(value.lower() in texts[key] for value in values) if key in texts else bool(facts[key] & set(values))
        if not held:
            return False
    return True


def query(q: str, *best: Condition, then: Condition | None = None, related: Condition | None = None) -> Query:
    grades = [(3, condition) for condition in best]
    grades += [(2, then)] if then else []
    grades += [(1, related)] if related else []
    return Query(q, tuple(grades))


STAGES = ("STAGE_1", "STAGE_2", "STAGE_3")

QUERIES = (
    # a model, however written
    query("mt 09", {"model": "MT-09"}, related={"model": ("Tracer 900", "Tracer 9")}),
    query("MT-09", {"model": "MT-09"}, related={"model": ("Tracer 900", "Tracer 9")}),
    query("mt09", {"model": "MT-09"}, related={"model": ("Tracer 900", "Tracer 9")}),
    query("Yamaha MT09", {"model": "MT-09"}, related={"make": "Yamaha"}),
    query("fz09", {"title": "FZ-09"}, then={"model": "MT-09"}),
    query("r1", {"model": "R1"}),
    query("yamaha r1", {"model": "R1"}, related={"make": "Yamaha"}),
    query("yzf r6", {"model": "R6"}),
    query("r125", {"model": "R125"}),
    query("tracer 9", {"model": "Tracer 9"}, related={"model": "Tracer 900"}),
    query("tracer 900", {"model": "Tracer 900"}),
    query("tenere 700", {"model": "Ténéré 700"}),
    query("Ténéré", {"model": "Ténéré 700"}, then={"tuner": "tenere"}),
    query("tmax", {"model": "TMAX 530"}),
    query("gsxr 1000", {"model": "GSX-R 1000"}, related={"model": "GSX-R 750"}),
    query("GSX-R1000", {"model": "GSX-R 1000"}),
    query("gsxr 1000 k5", {"title": "K5"}, then={"model": "GSX-R 1000"}),
    query("gixxer", {"title": "Gixxer"}, then={"model": ("GSX-R 1000", "GSX-R 750")}),
    query("hayabusa", {"model": "Hayabusa"}),
    query("busa turbo", {"title": "Busa turbo"}, related={"model": "Hayabusa"}),
    query("zx10r", {"model": "ZX-10R"}),
    query("ninja zx 10r", {"model": "ZX-10R"}),
    query("kawa z900", {"model": "Z900"}, then={"model": "Z900RS"}),
    query("z900rs", {"model": "Z900RS"}, related={"model": "Z900"}),
    query("fireblade", {"model": ("CBR1000RR Fireblade", "CBR1000RR-R")}),
    query("cbr1000rr", {"model": "CBR1000RR Fireblade"}, then={"model": "CBR1000RR-R"}),
    query("cbr 600 rr", {"model": "CBR600RR"}),
    query("africa twin", {"model": "Africa Twin 1100"}),
    query("s1000rr", {"model": "S1000RR"}),
    query("bmw s 1000 rr", {"model": "S1000RR"}, related={"model": "S1000R"}),
    query("r1250gs", {"model": "R1250GS"}),
    query("r nine t", {"model": "R 12 nineT"}),
    query("1290 superduke", {"title": "Superduke 1290"}, then={"model": "1290 Super Duke R"}),
    query("ktm duke 390", {"model": "390 Duke"}, related={"make": "KTM"}),
    query("panigale v4", {"model": "Panigale V4"}),
    query("ducati monster", {"model": ("Monster 821", "Monster 937")}, related={"make": "Ducati"}),
    query("monster 937", {"model": "Monster 937"}, related={"model": "Monster 821"}),
    query("street triple", {"model": ("Street Triple 765", "Street Triple 675")}),
    query("street triple 675", {"model": "Street Triple 675"}, related={"model": "Street Triple 765"}),
    query("harley sportster", {"model": "Sportster 1200"}, related={"make": "Harley-Davidson"}),
    query("H-D road glide", {"model": "Road Glide"}, related={"make": "Harley-Davidson"}),
    query("interceptor", {"model": "Interceptor 650"}),
    query("golf gti", {"model": "Golf GTI"}, related={"model": "Golf R"}),
    query("vw golf 7", {"title": "Golf 7"}, then={"model": ("Golf GTI", "Golf R")}),
    query("skoda octavia rs", {"model": "Octavia RS"}),
    query("bmw 320d", {"model": "320d F30"}),
    query("megane rs", {"model": "Mégane RS"}),
    query("focus st", {"model": "Focus ST"}, related={"model": "Focus RS"}),
    query("c63", {"model": "C63 AMG"}),
    query("type r", {"model": "Civic Type R FK8"}),
    # with what it should do
    query("yamaha mt09 stage 1", {"model": "MT-09", "category": "STAGE_1"}, then={"model": "MT-09"}),
    query("mt-07 stage1", {"model": "MT-07", "category": "STAGE_1"}, related={"model": "MT-07"}),
    query("stage 2 mt 09", {"model": "MT-09", "category": "STAGE_2"}, related={"model": "MT-09"}),
    query("quickshifter r6", {"model": "R6", "category": "QUICKSHIFTER"}, related={"model": "R6"}),
    query("quick shifter for my r6", {"model": "R6", "category": "QUICKSHIFTER"}, related={"category": "QUICKSHIFTER"}),
    query("blipper", {"category": "QUICKSHIFTER"}),
    query("flex fuel sti", {"model": "WRX STI", "category": "FLEX_FUEL"}, related={"category": "FLEX_FUEL"}),
    query("e85", {"title": "E85"}, then={"category": "FLEX_FUEL"}),
    query("rev limiter zx10r", {"title": "Rev limiter"}, then={"model": "ZX-10R"}),
    query("eco remap passat transporter t5", {"model": "T5 2.0 TDI", "category": "ECONOMY"}, then={"model": "T5 2.0 TDI"}),
    query("track map s1000rr", {"model": "S1000RR", "category": "TRACK"}, related={"model": "S1000RR"}),
    query("throttle map mt09", {"model": "MT-09", "category": "THROTTLE"}, related={"model": "MT-09"}),
    query("mt 09 2021", {"model": "MT-09"}),
    query("hayabusa ecu flash", {"model": "Hayabusa"}),
    query("yamaha cp3", {"title": "CP3"}, related={"model": ("MT-09", "Tracer 9", "XSR900")}),
    # whose it is
    query("müller tuning", {"tuner": "mueller"}),
    query("muller", {"tuner": "mueller"}),
    query("alpine flash mt09", {"tuner": "alpine", "model": "MT-09"}, related={"model": "MT-09"}),
    query("quickshift labs", {"tuner": "shift"}),
    query("iron horse", {"tuner": "iron"}),
    query("kojo performance", {"tuner": "kojo"}),
    # numbers
    query("bosch med17", {"text": "MED17"}),
    query("MED17.5.5 golf", {"text": "MED17.5.5", "model": "Golf GTI"}, then={"text": "MED17.5.5"}, related={"model": "Golf GTI"}),
    query("03L 906 018 JJ", {"number": "03L906018JJ"}),
    query("21175-0765", {"number": "21175-0765"}),
    query("0261s18345", {"number": "0261S18345"}),
    query("32920 47H10", {"number": "32920-47H10"}),
    # other letters
    query("größere drosselklappen", {"title": "Größere Drosselklappen"}),
    query("rennstrecke", {"title": "Rennstrecke"}),
    query("leistungssteigerung t5", {"title": "Leistungssteigerung", "model": "T5 2.0 TDI"}, then={"model": "T5 2.0 TDI"}),
    query("прошивка стейдж 1", {"title": "Прошивка"}),
    query("плавный газ", {"title": "плавный газ"}, then={"text": "плавный газ"}),
    query("ежик", {"title": "Ёжик"}),
    query("セッティング", {"title": "セッティング"}),
    query("cartographie tenere", {"title": "Cartographie", "model": "Ténéré 700"}, then={"tuner": "tenere"}),
    query("café racer", {"title": "Café"}),
)

# A slip of the finger or of the ear, and a listing of which kind must be on the first page, in front of what is none.
TYPOS: tuple[tuple[str, Condition], ...] = (
    # two letters swapped
    ("yamhaa mt09", {"model": "MT-09"}),
    ("hodna fireblade", {"make": "Honda"}),
    ("dcuati monster", {"make": "Ducati"}),
    ("kawaskai zx10r", {"model": "ZX-10R"}),
    ("trimuph tiger", {"model": "Tiger 900"}),
    ("bwm s1000rr", {"model": "S1000RR"}),
    ("gxsr 1000", {"model": "GSX-R 1000"}),
    ("gofl gti", {"model": "Golf GTI"}),
    ("panigael v4", {"model": "Panigale V4"}),
    # one letter missing
    ("yamha mt09 stage 1", {"model": "MT-09"}),
    ("kawaski", {"make": "Kawasaki"}),
    ("suzki gsxr", {"make": "Suzuki"}),
    ("ducat monster 821", {"model": "Monster 821"}),
    ("quikshifter r6", {"model": "R6"}),
    ("hayabsa", {"model": "Hayabusa"}),
    ("firebade", {"make": "Honda"}),
    ("enfeld interceptor", {"model": "Interceptor 650"}),
    ("ocatvia rs", {"model": "Octavia RS"}),
    ("leistungsteigerung", {"title": "Leistungssteigerung"}),
    # one letter twice
    ("yammaha r1", {"model": "R1"}),
    ("hoonda cbr600rr", {"model": "CBR600RR"}),
    ("ktmm 890 duke", {"model": "890 Duke"}),
    ("trriumph bonneville", {"model": "Bonneville T120"}),
    ("aprillia tuono", {"model": "Tuono V4"}),
    ("bonnevillle", {"model": "Bonneville T120"}),
    # the key beside it
    ("yanaha mt-07", {"model": "MT-07"}),
    ("honfa africa twin", {"model": "Africa Twin 1100"}),
    ("susuki hayabusa", {"model": "Hayabusa"}),
    ("ducatu panigale", {"model": "Panigale V4"}),
    ("harlwy sportster", {"model": "Sportster 1200"}),
    ("stahe 1 mt-09", {"model": "MT-09", "category": "STAGE_1"}),
    ("ktn 390 duke", {"model": "390 Duke"}),
    # as it sounds
    ("kawazaki ninja", {"make": "Kawasaki"}),
    ("mueller tuning", {"tuner": "mueller"}),
    ("quickshiffter", {"category": "QUICKSHIFTER"}),
    ("haybusa turbo", {"title": "Busa turbo"}),
    ("tenerre 700", {"model": "Ténéré 700"}),
    ("nordschliefe", {"tuner": "ring"}),
    # words together and apart
    ("streettriple", {"model": ("Street Triple 765", "Street Triple 675")}),
    ("streettriple 765", {"model": "Street Triple 765"}),
    ("fire blade", {"make": "Honda"}),
    ("quick shift er r6", {"model": "R6"}),
    ("africatwin", {"model": "Africa Twin 1100"}),
    ("super duke1290", {"model": "1290 Super Duke R"}),
    ("roadglide", {"model": "Road Glide"}),
    ("yamahamt09", {"model": "MT-09"}),
    ("mt 0 9", {"model": "MT-09"}),
    ("flexfuel sti", {"model": "WRX STI"}),
    # two things wrong, and words that nobody used
    ("yamha quikshifter", {"make": "Yamaha", "category": "QUICKSHIFTER"}),
    ("kawaski z900 akrapovic", {"model": "Z900"}),
    ("yamaha mt09 blablub", {"model": "MT-09"}),
    ("golf gti ppops", {"model": "Golf GTI"}),
    # Cyrillic
    ("прошвка", {"title": "Прошивка"}),
    ("фаерблэйд", {"title": "Фаерблейд"}),
    ("настрйока", {"text": "Настройка"}),
)
