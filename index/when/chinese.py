"""How Chinese names times."""

from itertools import product

from index.when.days import Unit
from index.when.grammar import Language, Range, Relation

_NUMERALS = {numeral: number for number, numeral in enumerate("一二三四五六七八九十", 1)}
_TO_31 = {
    **_NUMERALS,
    **{f"十{numeral}": 10 + number for numeral, number in _NUMERALS.items() if number < 10},
    **{f"{tens}十": 10 * number for tens, number in (("二", 2), ("三", 3))},
    **{f"二十{numeral}": 20 + number for numeral, number in _NUMERALS.items() if number < 10},
    "三十一": 31,
}
_MONTHS = {f"{numeral}月": number for numeral, number in _TO_31.items() if number <= 12}
_UNITS: dict[str, Unit] = {"周": "week", "星期": "week", "礼拜": "week", "月": "month", "季度": "quarter"}
_COUNTED: dict[str, Unit] = {
    "天": "day",
    "周": "week",
    "年": "year",
    **{f"{classifier}{unit}": kind for classifier, (unit, kind) in product("个", _UNITS.items())},
}
_WHICH = {"上上": -2, "上": -1, "这": 0, "本": 0, "下": 1, "下下": 2}
_YEAR = r"(?:<year> ?年|<yearly>)"

CHINESE = Language(
    tables={
        "month": {**_MONTHS, **{f"{number}月": number for number in range(1, 13)}},
        "day": _TO_31,
        "weekday": {**{day: number for number, day in enumerate("一二三四五六日")}, "天": 6},
        "season": {
            f"{name}{ending}": month
            for (name, month), ending in product((("春", 3), ("夏", 6), ("秋", 9), ("冬", 12)), "天季")
        },
        "which": {**_WHICH, **{f"{word}个": by for word, by in _WHICH.items()}, "上一个": -1, "下一个": 1},
        "yearly": {"前年": -2, "去年": -1, "今年": 0, "明年": 1},
        "near": {
            "大前天": -3,
            "前天": -2,
            "昨天": -1,
            "昨日": -1,
            "昨晚": -1,
            "今天": 0,
            "今日": 0,
            "今早": 0,
            "今晚": 0,
            "明天": 1,
            "后天": 2,
        },
        "part": {"初": 0, "上旬": 0, "中旬": 1, "下旬": 2, "底": 2, "末": 2},
        "half": {"上半年": 0, "下半年": 1, "上半月": 0, "下半月": 1},
        "quarter": {**_NUMERALS, "1": 1, "2": 2, "3": 3, "4": 4},
        "ago": {"以前": 1, "之前": 1, "前": 1},
        "past": {"最近": 1, "过去": 1, "近": 1},
        "weekly": {"周": 1, "星期": 1, "礼拜": 1},
        "number": {**_TO_31, "两": 2},
    },
    units={**_UNITS, **_COUNTED, "周末": "weekend"},
    feasts={
        "春节": "spring festival",
        "过年": "spring festival",
        "元旦": "new year",
        "清明节": "tomb sweeping",
        "清明": "tomb sweeping",
        "五一节": "labour holiday",
        "五一期间": "labour holiday",
        "五一假期": "labour holiday",
        "五一长假": "labour holiday",
        "劳动节": "labour holiday",
        "端午": "dragon boat",
        "端午节": "dragon boat",
        "中秋": "mid-autumn",
        "中秋节": "mid-autumn",
        "国庆": "national week",
        "国庆节": "national week",
        "圣诞": "christmas",
        "圣诞节": "christmas",
        "情人节": "valentine",
        "万圣节": "halloween",
    },
    points=(
        rf"{_YEAR}? ?<month>份?<day> ?[日号]",
        rf"{_YEAR} ?<month>份?的?<part>?",
        r"<month>份?<part>",
        r"(?=\d)<month>份?",
        # A year whose last character begins another word (cake, grade, age) is not one.
        r"<year> ?年(?![级糕])",
        r"<yearly>(?![糕级轮龄画货])",
        rf"{_YEAR}年?的?<part>",
        rf"{_YEAR}的?<half>",
        r"<half>",
        rf"{_YEAR}的?(?:<season>|<feast>)",
        r"<feast>",
        rf"{_YEAR}?的?第?<quarter>季度",
        r"<near>(?![井气线桥空然])",
        r"(?<![晚早马路网线楼])<which><unit>",
        r"(?<![晚早马路网线楼])<which><weekly><weekday>",
        r"<number> ?<unit><ago>",
        r"<past> ?<number> ?<unit>",
        r"<year>-<mm>-<day>",
    ),
    led_points=(r"<month>份?", "<season>"),
    leads=r"^|[\s，。？！、；：,?!在于自从到至今明去前后的和与是]",
    ranges=(Range("从?", " ?(?:到|至|-|~|—) ?", "(?:之间|期间)?"), Range("", "[和与跟]", "之间|期间")),
    relations=(
        Relation("since", "(?:自从|从|自)?", "以来|至今|起"),
        Relation("before", "(?:在)?", "以前|之前|前(?![天年后面])"),
        Relation("after", "(?:在)?", "以后|之后|后(?![天年])"),
    ),
    spaced=False,
)
