"""Imports a folder of users on a Ray of its own, and prints the outcomes as JSON: FOLDER DATA [ENCODER].

A process of its own, because Ray changes logging and signals of the one that it runs in.
"""

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from index.bulk.pipeline import import_on_ray
from index.bulk.users import Target, users_in
from index.errors import ProfileError
from tests.index.bulk.folders import READING, target
from tests.index.fakes import HashEncoder

if __name__ == "__main__":
    folder, data, *names = sys.argv[1:]
    place = Target(target(Path(data)).url, partial(HashEncoder, *names))
    try:
        for outcome in import_on_ray(users_in(Path(folder)), place, READING, actors=1):
            print(json.dumps(asdict(outcome)))
    except ProfileError as error:
        print(json.dumps({"raised": type(error).__name__}))
