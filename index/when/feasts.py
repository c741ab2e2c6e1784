"""The days of feasts by year."""

from datetime import date, timedelta
from functools import cache

from index.when.days import Days, day

_FIXED = {
    "christmas": (12, 24, 3),
    "new year": (1, 1, 1),
    "new year's eve": (12, 31, 1),
    "halloween": (10, 31, 1),
    "valentine": (2, 14, 1),
    "labour": (5, 1, 1),
    "labour holiday": (5, 1, 5),
    "national week": (10, 1, 7),
}
"""First month and day, and the number of days."""
_MOVABLE = {
    "easter": ("DE", "Good Friday", 0, 4),
    "good friday": ("DE", "Good Friday", 0, 1),
    "ascension": ("DE", "Ascension", 0, 1),
    "pentecost": ("DE", "Pentecost Monday", -1, 2),
    "thanksgiving": ("US", "Thanksgiving", 0, 4),
    "spring festival": ("CN", "Spring Festival", -1, 9),
    "tomb sweeping": ("CN", "Tomb-Sweeping", 0, 1),
    "dragon boat": ("CN", "Dragon Boat", 0, 1),
    "mid-autumn": ("CN", "Mid-Autumn", 0, 1),
}
"""Country whose calendar has the feast, a part of its English name there, days from that day to the first of
the feast, and the number of days."""


def feast(name: str, year: int) -> Days:
    """Return the days of a feast that the tables name. Raises ValueError for a year that has none."""
    if name in _FIXED:
        month, number, length = _FIXED[name]
        return day(date(year, month, number), length)
    country, known_as, offset, length = _MOVABLE[name]
    dates = [found for found, names in _calendar(country, year).items() if known_as in names]
    if not dates:
        raise ValueError(f"no {name} is known of {year}")
    return day(min(dates) + timedelta(offset), length)


@cache
def _calendar(country: str, year: int) -> dict[date, str]:
    # Takes about a second to import, and most questions name no feast.
    from holidays import country_holidays

    return dict(country_holidays(country, years=year, language="en_US"))
