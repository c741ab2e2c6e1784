"""File readers for user histories, one module per format.

A reader yields documents and, in place of each invalid item, an InvalidDocument with its line; the caller
decides how to handle those. To add a format, write its module and register it in FORMATS.
"""

from collections.abc import Mapping

from index.formats.csv import CSV, read_csv
from index.formats.items import ITEM_CHARACTERS
from index.formats.json import JSON, read_json
from index.formats.locomo import LOCOMO, locomo_date, read_locomo
from index.formats.ndjson import NDJSON, read_ndjson
from index.formats.source import Documents, File, Format, Source

__all__ = [
    "FORMATS",
    "ITEM_CHARACTERS",
    "Documents",
    "File",
    "Format",
    "Source",
    "locomo_date",
    "read_csv",
    "read_json",
    "read_locomo",
    "read_ndjson",
    "recognize",
]

FORMATS: Mapping[str, Format] = {found.name: found for found in (NDJSON, JSON, CSV, LOCOMO)}


def recognize(file: str, beginning: str) -> Format | None:
    """Find the format by the file's suffix or else by its first character. None if neither is known."""
    for known in FORMATS.values():
        if known.suffix and file.endswith(known.suffix):
            return known
    return next((known for known in FORMATS.values() if beginning and known.beginning == beginning), None)
