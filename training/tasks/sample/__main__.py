"""Writes the sample as JSONL, one record per line."""

import argparse
import json
import sys
from pathlib import Path

from training.tasks.sample import records


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.tasks.sample", description=__doc__)
    parser.add_argument("--out", type=Path, help="the file to write; default: standard output")
    arguments = parser.parse_args()
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records())
    try:
        if arguments.out:
            arguments.out.write_bytes(lines.encode())
        else:
            sys.stdout.buffer.write(lines.encode())
    except OSError as error:
        parser.error(f"{arguments.out} cannot be written: {error}")


if __name__ == "__main__":
    main()
