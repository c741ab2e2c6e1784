"""Time zones by name. Light, so that the settings load quickly."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from index.errors import InvalidPeriod

_SHOWN = 60


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name. Raises InvalidPeriod."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidPeriod(
            f"there is no time zone {name[:_SHOWN]!r}: give its IANA name, like Europe/Berlin"
        ) from None
