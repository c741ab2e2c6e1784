"""Import time of the HTTP client, beside the libraries that it is built on.

    python -m benchmarks.client_import [--rounds 15]

Every import runs in a fresh interpreter, in turn, and counts from the interpreter's first own line.
"""

import argparse
import statistics
import subprocess
import sys

from rich.console import Console

from benchmarks.speed import Figure, table_of

LIBRARIES = "import httpx, pydantic"
CLIENT = "import server.client"
BAR = 1.3


def import_ms(statement: str) -> float:
    """Milliseconds that a fresh interpreter takes for `statement`."""
    code = f"import time\nbegan = time.perf_counter()\n{statement}\nprint(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="Import time of the HTTP client, as a ratio.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    import_ms(CLIENT)  # writes the byte code
    pairs = [(import_ms(LIBRARIES), import_ms(CLIENT)) for _ in range(rounds)]
    libraries, client = (statistics.median(times) for times in zip(*pairs, strict=True))
    detail = f"{client:.0f} ms / {libraries:.0f} ms, medians of {rounds}"
    figure = Figure(f"{CLIENT} / {LIBRARIES}", client / libraries, BAR, True, detail)
    Console().print(table_of("Importing the client", [figure]))
    sys.exit(0 if figure.met else 1)


if __name__ == "__main__":
    main()
