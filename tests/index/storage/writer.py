"""Puts batches of documents until it is killed. Run as `python -m tests.index.storage.writer URL FIRST`.

Prints a line for each acknowledged batch.
"""

import itertools
import sys

from index.documents import Document
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder

BATCH = 40


def batch(number: int) -> list[Document]:
    return [Document(id=f"{number}-{i}", text=f"batch {number} " + "tea " * 100) for i in range(BATCH)]


def main() -> None:
    url, first = sys.argv[1:]
    encoder = HashEncoder()
    profiles = Profiles(Store(url, encoder.manifest), encoder)
    for number in itertools.count(int(first)):
        profiles.put("ana", batch(number))
        print(number, flush=True)


if __name__ == "__main__":
    main()
