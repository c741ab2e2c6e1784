"""How people reach it: the HTTP API and the command line."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the distribution."""
    try:
        return version("pr2")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"
