"""Where a data folder keeps its SQLite file. Light to import: settings need it before any database does."""

from pathlib import Path

FILE = "pr2.db"


def file_url(folder: Path) -> str:
    """The URL of the folder's SQLite file."""
    return f"sqlite:///{folder / FILE}"
