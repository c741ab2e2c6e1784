"""The service and its interfaces: HTTP API, MCP, Python client and command line."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("pr2")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"
