"""Serves a store with hashed vectors until stdin ends. For test_postgresql.py.

Run as `python -m tests.server.http.serving_process DATABASE_URL`. Prints the port.
"""

import asyncio
import sys

from agent.policies.scripted import ScriptedPolicy
from index.profiles import Profiles
from index.storage.store import Store
from server.http.app import create_app
from server.service import Service
from server.settings import Settings
from tests.index.fakes import HashEncoder
from tests.server.live import THINK_ANSWER, serving


def service_at(url: str) -> Service:
    encoder = HashEncoder()
    settings = Settings(database_url=url)
    return Service(
        Profiles(Store(settings.url, encoder.manifest), encoder), ScriptedPolicy([THINK_ANSWER]), settings
    )


def main() -> None:
    service = service_at(sys.argv[1])
    with serving(create_app(service.settings, service)) as address:
        print(address.rpartition(":")[2], flush=True)
        sys.stdin.read()
    asyncio.run(service.aclose())


if __name__ == "__main__":
    main()
