"""Checks that the packages of an optional extra are installed, before work begins that needs them."""

from importlib.util import find_spec

from training.errors import TrainingUnavailable


def require(extra: str, *packages: str) -> None:
    """Raises TrainingUnavailable, naming the packages that are missing and the extra that installs them."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise TrainingUnavailable(f"training needs {', '.join(missing)}: pip install 'pr2[{extra}]'")
