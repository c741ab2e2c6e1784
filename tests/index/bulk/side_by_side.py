"""Imports a folder of users in one worker, and names each when it is stored: FOLDER DATA."""

import signal
import sys
from pathlib import Path

from index.bulk.users import users_in
from index.bulk.workers import import_users
from tests.index.bulk.folders import READING, target

if __name__ == "__main__":
    # A shell's background jobs ignore Ctrl-C, and so would this, as their child.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, data = map(Path, sys.argv[1:])
    try:
        for outcome in import_users(users_in(folder), target(data), READING, workers=1):
            print(outcome.user, flush=True)
    except KeyboardInterrupt:
        print("interrupted")
