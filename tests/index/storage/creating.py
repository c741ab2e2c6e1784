"""Creates users with one document each, one for each line of stdin.

Run as `python -m tests.index.storage.creating URL NAME`. Prints a line when ready, and one for each user.
"""

import sys

from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.test_store import encoded


def main() -> None:
    url, name = sys.argv[1:]
    store = Store(url, HashEncoder().manifest)
    store.open()
    print("ready", flush=True)
    for user in sys.stdin:
        store.put(user.strip(), [[encoded(name)]])
        print(user.strip(), flush=True)
    store.close()


if __name__ == "__main__":
    main()
