"""`python -m training.demo.prlm`: trains with and without PrLM's reward model from one warm start a seed.

Prints tables. A seed that is finished is kept in the folder and is not run again.
"""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from training.demo.prlm.experiment import Plan
from training.demo.prlm.report import tables, write
from training.demo.prlm.seeds import pin, prepare_process, run
from training.errors import TrainingError
from training.folder import locked


def main() -> int:
    """Run the seeds that are missing, one process each. Return 1 if the folder cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m training.demo.prlm", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("train-prlm"), help="folder for the results")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="seeds at once")
    chosen = parser.parse_args()
    folder: Path = chosen.out
    try:
        with locked(folder):
            pin(folder, Plan())
            with ProcessPoolExecutor(
                chosen.processes, multiprocessing.get_context("spawn"), initializer=prepare_process
            ) as processes:
                running = [processes.submit(run, folder, Plan(), seed) for seed in chosen.seeds]
                # Written after each seed, so that those that are finished can be read.
                for number, _ in enumerate(as_completed(running), 1):
                    found = sorted((job.result() for job in running if job.done()), key=lambda one: one.seed)
                    write(folder, found)
                    print(f"{number} of {len(running)} seeds", file=sys.stderr, flush=True)
    except TrainingError as error:
        print(error, file=sys.stderr)
        return 1
    print(tables(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
