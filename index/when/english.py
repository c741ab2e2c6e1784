"""How English names times."""

from index.when.grammar import Language, Range, Relation
from index.when.names import months, weekdays

_ORDINALS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_DATE = r"<month>\.?(?:,? ?(?:of )?<year>| (?:of )?<yearly>)?"

ENGLISH = Language(
    tables={
        "month": months("en"),
        "weekday": weekdays("en"),
        "season": {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12},
        "which": {"last": -1, "previous": -1, "this": 0, "next": 1},
        "yearly": {"last year": -1, "the previous year": -1, "this year": 0, "next year": 1},
        "near": {
            **{"yesterday": -1, "last night": -1, "the day before yesterday": -2, "day before yesterday": -2},
            **{"today": 0, "tonight": 0, "this morning": 0, "this afternoon": 0, "this evening": 0},
            **{"tomorrow": 1, "the day after tomorrow": 2},
        },
        "past": {"last": 1, "past": 1, "previous": 1},
        "part": {
            **{"early": 0, "beginning of": 0, "start of": 0},
            **{"mid": 1, "middle of": 1, "late": 2, "end of": 2},
        },
        "half": {"first half of": 0, "second half of": 1},
        "quarter": {**_ORDINALS, "1": 1, "2": 2, "3": 3, "4": 4},
        "nth": {**_ORDINALS, "last": 4, "fifth": 5},
        "number": {
            **{"a": 1, "an": 1, "one": 1, "two": 2, "a couple of": 2, "three": 3, "four": 4, "five": 5},
            **{"six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12},
        },
        "ago": {"ago": 1},
        "weekly": {"week": 1},
        "side": {"before": -1, "after": 1},
    },
    units={
        **{"day": "day", "days": "day", "week": "week", "weeks": "week", "month": "month"},
        **{"months": "month", "quarter": "quarter", "year": "year", "years": "year", "weekend": "weekend"},
    },
    feasts={
        **{"christmas": "christmas", "christmas day": "christmas", "easter": "easter"},
        **{"good friday": "good friday", "pentecost": "pentecost", "whitsun": "pentecost"},
        **{"thanksgiving": "thanksgiving", "halloween": "halloween", "valentine's day": "valentine"},
        **{"new year": "new year", "new year's day": "new year", "new year's eve": "new year's eve"},
        **{"new year’s eve": "new year's eve", "labor day": "labour", "labour day": "labour"},
        **{"spring festival": "spring festival", "chinese new year": "spring festival"},
        **{"lunar new year": "spring festival", "mid-autumn festival": "mid-autumn"},
        **{"dragon boat festival": "dragon boat", "qingming": "tomb sweeping"},
        **{"national day holiday": "national week"},
    },
    points=(
        rf"(?:the )?<day>(?:st|nd|rd|th)?(?: day)? (?:of )?{_DATE}",
        r"<month>\.? (?:the )?<day>(?:st|nd|rd|th)?(?:,? ?(?:of )?<year>| (?:of )?<yearly>)?",
        r"<month>\.?,? (?:of )?<year>",
        r"<month>(?: of)? <yearly>",
        rf"(?:the )?(?:<part>|<half>)[ -](?:the month of )?{_DATE}",
        r"(?:the )?(?:<part>|<half>)[ -](?:the )?(?:year )?(?:<year>|<yearly>)",
        r"(?:the )?year <year>",
        r"(?:the )?(?:<part>[ -](?:the )?)?<season>(?: of)?,? (?:<year>|<yearly>)",
        r"(?:the )?<part>[ -](?:the )?<season>",
        r"<which> (?:<season>|<month>|<weekday>|<feast>)",
        r"(?:the )?<quarter> quarter(?:(?: of)? (?:<year>|<yearly>))?",
        r"q<quarter>(?:,? (?:of )?(?:<year>|<yearly>))?",
        rf"(?:the )?<nth> week of {_DATE}",
        r"<near>",
        r"(?:the )?<which> <unit>(?!-)",
        r"(?:the )?<past> <number> <unit>",
        r"(?:the )?<past> <unit>",
        r"(?:about |around )?<number> <unit> <ago>",
        r"on <weekday>",
        r"(?:on )?<weekday>(?: of)? <which> <weekly>",
        r"<feast>(?: of)?,? (?:<year>|<yearly>)",
        r"<year>-<mm>-<day>",
        r"<year>/<mm>/<day>",
    ),
    led_points=(r"(?:the )?(?:month of )?<month>", r"(?:the )?<season>", r"<feast>"),
    led_years=(r"(?:the )?(?:year )?<year>",),
    leads=r"\b(?:in|during|since|before|after|until|till|around|over|at|on|throughout)",
    year_leads=r"\b(?:[Ii]n|[Dd]uring|[Ss]ince|[Bb]efore|[Aa]fter|[Uu]ntil|[Tt]hroughout|of)",
    ranges=(
        Range(r"between (?:the )?", r" and (?:the )?"),
        Range(r"from (?:the )?", r" (?:to|until|till|through) (?:the )?"),
    ),
    relations=(
        Relation("since", r"since (?:the )?"),
        Relation("before", r"(?:before|until|till|up to|prior to) (?:the )?"),
        Relation("after", r"after (?:the )?"),
    ),
    distances=(
        r"(?:the )?(?:last )?(?:<number> )?<unit> <side> (?:the )?",
        r"(?:on )?(?:the )?<weekday> <side> (?:the )?",
    ),
)
