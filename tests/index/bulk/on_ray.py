"""Imports a folder of users on a Ray of its own, and prints the outcomes as JSON: FOLDER DATA.

A process of its own, because Ray changes logging and signals of the one that it runs in.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from index.bulk.pipeline import import_on_ray
from index.bulk.users import users_in
from tests.index.bulk.folders import READING, target

if __name__ == "__main__":
    folder, data = map(Path, sys.argv[1:])
    for outcome in import_on_ray(users_in(folder), target(data), READING, actors=1):
        print(json.dumps(asdict(outcome)))
