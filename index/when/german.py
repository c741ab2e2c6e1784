"""How German names times."""

from itertools import product

from index.when.grammar import Language, Range, Relation
from index.when.names import months, weekdays


def _inflected(stem: str, meaning: int) -> dict[str, int]:
    return {stem + ending: meaning for ending in ("e", "en", "er", "es", "em")}


_ORDINALS = {
    **{f"{number}.": number for number in (1, 2, 3, 4)},
    **_inflected("erst", 1), **_inflected("zweit", 2), **_inflected("dritt", 3), **_inflected("viert", 4),
}  # fmt: skip
_LAST = {**_inflected("letzt", -1), **_inflected("vergangen", -1), **_inflected("vorig", -1)}
_WHICH = {
    **_LAST, **_inflected("vorletzt", -2), **_inflected("dies", 0),
    **_inflected("nächst", 1), **_inflected("kommend", 1),
}  # fmt: skip
_YEARLY = {f"{word} {year}": by for (word, by), year in product(_WHICH.items(), ("jahr", "jahres"))}
_YEAR = r"(?:<year>|(?:des )?<yearly>)"

GERMAN = Language(
    tables={
        "month": months("de"),
        "weekday": weekdays("de"),
        "season": {"frühling": 3, "frühjahr": 3, "sommer": 6, "herbst": 9, "winter": 12},
        "which": _WHICH,
        "yearly": _YEARLY,
        "near": {"gestern": -1, "vorgestern": -2, "heute": 0, "übermorgen": 2},
        "past": dict.fromkeys(_LAST, 1),
        "part": {"anfang": 0, "mitte": 1, "ende": 2},
        "half": {"ersten hälfte": 0, "erste hälfte": 0, "zweiten hälfte": 1, "zweite hälfte": 1},
        "quarter": {**_ORDINALS, "1": 1, "2": 2, "3": 3, "4": 4},
        "nth": {**_ORDINALS, **_inflected("letzt", 4)},
        "number": {
            **dict.fromkeys(("ein", "eine", "einem", "einen", "einer"), 1),
            "zwei": 2,
            "drei": 3,
            "vier": 4,
            "fünf": 5,
            "sechs": 6,
            "sieben": 7,
            "acht": 8,
            "neun": 9,
            "zehn": 10,
            "elf": 11,
            "zwölf": 12,
        },
        "ago": {"vor": 1},
        "side": {"vor": -1, "nach": 1},
    },
    units={
        "tag": "day",
        "tage": "day",
        "tagen": "day",
        "woche": "week",
        "wochen": "week",
        "monat": "month",
        "monats": "month",
        "monate": "month",
        "monaten": "month",
        "quartal": "quarter",
        "quartals": "quarter",
        "jahr": "year",
        "jahres": "year",
        "jahre": "year",
        "jahren": "year",
        "wochenende": "weekend",
    },
    feasts={
        "weihnachten": "christmas",
        "ostern": "easter",
        "pfingsten": "pentecost",
        "karfreitag": "good friday",
        "christi himmelfahrt": "ascension",
        "silvester": "new year's eve",
        "neujahr": "new year",
        "halloween": "halloween",
        "valentinstag": "valentine",
    },
    points=(
        rf"(?:de[nmr] )?<day>\.? <month>\.?(?: {_YEAR})?",
        r"(?:de[nmr] )?<day>\. ?<mm>\. ?<year>",
        rf"<part> (?:des )?<month>(?: {_YEAR})?",
        rf"<part> {_YEAR}",
        rf"(?:der |die )?<half> (?:des )?(?:jahres )?{_YEAR}",
        rf"<month>\.? {_YEAR}",
        r"(?:im )?jahre? <year>",
        rf"(?:<season>|<feast>) {_YEAR}",
        r"<which> (?:<season>|<month>|<weekday>|<feast>)",
        rf"<quarter> quartal(?:s)?(?: (?:des jahres )?{_YEAR})?",
        rf"q<quarter>(?: {_YEAR})?",
        rf"<nth> woche (?:des |im )?<month>(?: {_YEAR})?",
        r"<near>",
        r"<which> <unit>(?!-)",
        r"<past> <number> <unit>",
        r"<ago> (?:etwa |rund |ungefähr )?<number> <unit>",
        r"am <weekday>",
        r"<year>-<mm>-<day>",
    ),
    led_points=("<month>", "(?:dem )?<season>", "<feast>"),
    led_years=("<year>",),
    leads=r"\b(?:im|in|seit|vor|nach|bis|ab|während|an|zu|über|um)",
    year_leads=(
        # Any word in lower case, but for those that stand before other numbers.
        r"(?:^|\s)(?!(?:der|die|das|den|dem|des|mit|von|um|auf|für|über|etwa|nr|nummer|eine?[nrms]?)\s)[a-zäöüß]{1,20}"
    ),
    ranges=(
        Range(r"zwischen (?:de[mnr] )?", r" und (?:de[mnr] )?"),
        Range(r"vo[nm] (?:de[mnr] )?", r" bis (?:zum |zur )?"),
    ),
    relations=(
        Relation("since", r"(?:seit|ab) (?:de[mr] )?"),
        Relation("before", r"(?:vor|bis) (?:de[mnr] |zum |zur )?"),
        Relation("after", r"nach (?:de[mnr] )?"),
    ),
    distances=(
        r"(?:der |die )?(?:<number> )?<unit> <side> (?:de[mnr] )?",
        r"(?:am )?<weekday> <side> (?:de[mnr] )?",
    ),
)
