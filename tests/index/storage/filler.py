"""Makes and drops a space until it is killed. Run as `python -m tests.index.storage.filler URL`."""

import sys

from index.encoding.embedding import reembed
from index.storage.store import Store
from tests.index.fakes import HashEncoder


def main() -> None:
    store = Store(sys.argv[1], None)
    encoder = HashEncoder("other", 8)
    print("began", flush=True)
    while True:
        reembed(store, encoder, space="ropg")
        store.drop_space("ropg")


if __name__ == "__main__":
    main()
