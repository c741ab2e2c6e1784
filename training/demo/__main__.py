"""`python -m training.demo`: makes warm starts, then trains each with both formulas, one process per core."""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from training.demo.jobs import learn, warm
from training.demo.report import AFTER, Row, shortfalls, table, write


def main() -> int:
    """Return 0 if the demonstration reached all its thresholds; else print the shortfalls and return 1."""
    arguments = argparse.ArgumentParser(prog="python -m training.demo", description=__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--out", type=Path, default=Path("train-demo"), help="folder for the results")
    chosen = arguments.parse_args()
    folder: Path = chosen.out
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # One thread each: so small a model gains little from more, and results must not depend on the cores.
    with ProcessPoolExecutor(
        os.cpu_count(), multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as processes:
        before = list(processes.map(partial(warm, folder), chosen.seeds))
        trainings = [(seed, formula) for seed in chosen.seeds for formula in AFTER]
        curves = list(processes.map(partial(learn, folder), trainings))
    rows = []
    for seed, ways in zip(chosen.seeds, before, strict=True):
        rows += ways
        rows += [
            Row(seed, AFTER[curve.formula], curve.points[-1].held_out)
            for curve in curves
            if curve.seed == seed
        ]
    write(folder, rows, curves, time.monotonic() - began)
    print(table(rows))
    missing = list(shortfalls(rows))
    for words in missing:
        print(words, file=sys.stderr)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
