"""Compares two choices that ROPG and RSPG leave open, on a data set of LaMP-QA's schema, without an LLM.

The built-in policy answers and the lexical judge scores, so the figures are about the choices, not about an
LLM. Half of the people train, and the others are measured.

- Feedback: each document alone, as in the paper, against the documents that one judged answer cited. A
  retriever is trained on either; `rag` and `pr2` are measured with both.
- Training inputs: a selector whose trained member learned from the same questions, as in the paper, against
  one whose member was always trained without the people whose questions it served.

    python -m benchmarks.options [--dataset NAME|FILE] [--folds K] [--out DIR]

Every step is a command of `pr2` in DIR, where an interrupted comparison goes on.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agent.selecting import load_selector
from training.errors import TrainingError
from training.evaluation.loading import load_runs
from training.evaluation.profiles import person_of
from training.evaluation.statistics import paired_bootstrap
from training.folder import replacing
from training.folds import Fold
from training.selector.data import collect
from training.selector.measures import Outcome, outcome, pool_scores
from training.selector.report import selected
from training.tasks import task_named
from training.tasks.lampqa.data import Question

TRAIN, TEST = "train.jsonl", "test.jsonl"
MEASURED = Fold(2, 2)
METHODS = ("rag", "pr2")
OTHER = "bm25"
"""The member of the pool that is not trained."""
ROPG = ("--method", "ropg-kd", "--encoder", "minilm", "--temperature", "0.05", "--learning-rate", "2e-5")
RETRIEVER = (*ROPG, "--batch-size", "4", "--epochs", "3", "--held-out", "0.2", "--confidence", "0", "--cpu")
"""`--confidence 0`: an encoder that stays as it was would compare nothing."""
SELECTOR = ("--mode", "pre", "--model", "minilm", "--temperature", "0.1", "--learning-rate", "2e-5")
SELECTION = (*SELECTOR, "--epochs", "3", "--batch-size", "4", "--gradient-accumulation", "1")
READING = ("--max-tokens", "256")


def part(dataset: str, out: Path) -> None:
    """Write the questions of the people who train and of those who are measured."""
    questions: list[Question] = list(task_named(dataset).read([], "test"))
    for name, measured in ((TRAIN, False), (TEST, True)):
        with replacing(out / name) as file:
            for question in questions:
                if MEASURED.holds(person_of(question)) is measured:
                    file.write(question.model_dump_json() + "\n")


class Comparison:
    """The steps, each of which is finished before the next one begins."""

    def __init__(self, out: Path, folds: int) -> None:
        self.out = out
        self.folds = [Fold(number, folds) for number in range(1, folds + 1)]
        self.spaces = {
            "ropg-kd": out / "judged" / "ropg-kd",
            "cited": out / "cited" / "ropg-kd",
            **{fold.named("ropg-kd"): out / str(fold.number) / fold.named("ropg-kd") for fold in self.folds},
        }

    def steps(self) -> Iterator[tuple[str, ...]]:
        """The arguments of each command."""
        out, train = self.out, str(self.out / TRAIN)
        judged, cited = str(out / "feedback" / "judged"), str(out / "feedback" / "cited")
        asked = ("evaluate", "--dataset", train, "--method", "pr2", "--retriever", "dense")
        yield ("train", "feedback", "--dataset", train, "--out", judged)
        yield (*asked, "--out", str(out / "first" / "pr2"))
        yield ("train", "feedback", "--from-run", str(out / "first" / "pr2"), "--out", cited)
        fit = ("train", "retriever", *RETRIEVER, "--feedback")
        yield (*fit, judged, "--out", str(out / "judged"))
        yield (*fit, cited, "--any-feedback", "--out", str(out / "cited"))
        for fold in self.folds:
            yield (*fit, judged, "--leave-out", str(fold), "--out", str(out / str(fold.number)))
        for method in METHODS:
            for retriever in ("dense", "ropg-kd", "cited"):
                yield self._run(TEST, method, retriever)
        yield self._run(TEST, "rag", OTHER)
        yield self._run(TRAIN, "rag", OTHER)
        yield self._run(TRAIN, "rag", "ropg-kd")
        for fold in self.folds:
            yield (*self._run(TRAIN, "rag", fold.named("ropg-kd")), "--fold", str(fold))
        pool = (
            "train",
            "selector",
            *SELECTION,
            *READING,
            "--run",
            f"{OTHER}={self.run(TRAIN, 'rag', OTHER)}",
        )
        yield (*pool, "--run", f"ropg-kd={self.run(TRAIN, 'rag', 'ropg-kd')}", "--out", str(out / "same"))
        apart = [self.run(TRAIN, "rag", fold.named("ropg-kd")) for fold in self.folds]
        joined = [argument for folder in apart for argument in ("--run", f"ropg-kd={folder}")]
        yield (*pool, *joined, "--out", str(out / "apart"))

    def _run(self, data: str, method: str, retriever: str) -> tuple[str, ...]:
        # A pool's runs have the same spaces, so all runs have all of them.
        spaces = [
            argument for name, folder in self.spaces.items() for argument in ("--space", f"{name}={folder}")
        ]
        asked = ("--dataset", str(self.out / data), "--method", method, "--retriever", retriever, *spaces)
        return ("evaluate", *asked, "--out", str(self.run(data, method, retriever)))

    def run(self, data: str, method: str, retriever: str) -> Path:
        """The folder of a run."""
        return self.out / "runs" / f"{Path(data).stem}-{method}-{retriever}"

    def feedback_table(self) -> Table:
        """The measured scores with both kinds of feedback, and their paired difference."""
        table = Table(title="Feedback: documents alone (ropg-kd) or the citations of answers (cited)")
        for column in ("method", "questions", "dense", "ropg-kd", "cited", "cited − ropg-kd, 95 % interval"):
            table.add_column(column)
        for method in METHODS:
            names = ("dense", "ropg-kd", "cited")
            runs = load_runs([self.run(TEST, method, name) for name in names])
            shared = sorted(set.intersection(*(set(run.scores) for run in runs)))
            dense, judged, cited = ([run.scores[one] for one in shared] for run in runs)
            means = [f"{sum(scores) / len(shared):.3f}" for scores in (dense, judged, cited)]
            gain = sum(cited) / len(shared) - sum(judged) / len(shared)
            low, high = paired_bootstrap([cited], [judged], seed=0) or (float("nan"),) * 2
            table.add_row(method, str(len(shared)), *means, f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]")
        return table

    def selector_table(self) -> Table:
        """The measured score of either selector, and their paired difference."""
        runs = {name: [self.run(TEST, "rag", name)] for name in (OTHER, "ropg-kd")}
        data = collect(runs)
        scores = pool_scores(data.members, data.examples)
        same, apart = (
            selected(scores, load_selector(self.out / name / "selector"), data.examples)
            for name in ("same", "apart")
        )
        table = Table(title="Training inputs of the selector: the retriever's own, or out of fold")
        for column in ("training inputs", "questions", "score", "out of fold − the retriever's own"):
            table.add_column(column)
        of_same, of_apart = outcome(scores, same, same), outcome(scores, apart, same)
        table.add_row("the retriever's own", str(len(data.examples)), f"{of_same.score:.3f}", "")
        table.add_row("out of fold", str(len(data.examples)), f"{of_apart.score:.3f}", _gain(of_apart))
        return table


def _gain(found: Outcome) -> str:
    low, high = found.gain_interval or (float("nan"), float("nan"))
    return f"{found.gain:+.3f} [{low:+.3f}, {high:+.3f}]"


def follow(steps: Sequence[Sequence[str]], told: Callable[[str], None]) -> None:
    """Run the commands one after the other. Raises CalledProcessError for one that fails."""
    for number, step in enumerate(steps, 1):
        told(f"{number} of {len(steps)}: pr2 {' '.join(step[:2])} … {step[-1]}")
        subprocess.run([sys.executable, "-m", "server.cli", *step], check=True, stdout=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not finished, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", default="sample", help="sample, lamp-qa, or a file of its schema")
    parser.add_argument("--folds", type=int, default=3, help="of the people who train")
    parser.add_argument("--out", type=Path, default=Path("options-benchmark"), metavar="DIR")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    errors = Console(stderr=True, highlight=False)
    try:
        part(given.dataset, given.out)
        comparison = Comparison(given.out, given.folds)
        follow(list(comparison.steps()), errors.print)
        for table in (comparison.feedback_table(), comparison.selector_table()):
            Console(width=120).print(table)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd[2:])} ended with exit code {error.returncode}")
    except TrainingError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
