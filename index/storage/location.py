"""Location of the SQLite file in a data folder. Without imports, because settings load it at every start."""

from pathlib import Path

FILE = "pr2.db"


def file_url(folder: Path) -> str:
    """Return the URL of the folder's SQLite file."""
    return f"sqlite:///{folder / FILE}"
