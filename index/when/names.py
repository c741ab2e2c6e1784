"""Names of months and weekdays (Unicode CLDR), and dates in languages without a grammar of their own."""

from functools import cache

from index.when.grammar import Language


@cache
def months(language: str) -> dict[str, int]:
    """Return months, from 1, by names and abbreviations in lower case; empty for an unknown language."""
    return {name: number for number, name in _names(language, "months")}


@cache
def weekdays(language: str) -> dict[str, int]:
    """Return weekdays, from Monday as 0, by their full names in lower case."""
    return {name: number for number, name in _names(language, "days")}


@cache
def dates_in(language: str) -> Language:
    """Return the language of dates whose month is named, with a day or a year."""
    after = r"(?:[ .,]{1,3}(?:de[ln]? |di |da |van )?)"
    return Language(
        tables={"month": months(language)},
        units={},
        feasts={},
        points=(
            rf"<day>[.ºª]?{after}?<month>\.?(?:{after}<year>)?",
            rf"<month>\.?{after}<day>(?:{after}<year>)?",
            rf"<month>\.?{after}<year>",
            r"<year>-<mm>-<day>",
            r"<year> ?[年년] ?(?:<mm> ?[月월](?: ?<day> ?[日일])?)?",
            r"<mm> ?[月월] ?<day> ?[日일]",
        ),
        spaced=False,
    )


def _names(language: str, what: str) -> list[tuple[int, str]]:
    # Takes half a second to import with its data.
    from babel import Locale, UnknownLocaleError

    try:
        names = getattr(Locale.parse(language), what)
    except (UnknownLocaleError, ValueError):
        return []
    widths = ("wide", "abbreviated") if what == "months" else ("wide",)
    return [
        (number, name.casefold().rstrip("."))
        for context in ("format", "stand-alone")
        for width in widths
        for number, name in names[context][width].items()
        if not name.isdecimal()
    ]
