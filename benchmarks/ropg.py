"""Recall on histories before and after ROPG, with evidence as the feedback: no LLM is needed.

Each data set (see evidence.py) is left out once: an encoder is trained on the questions of the others and
measured on it, alone (`dense`) and inside `hybrid`. For training, a question has the documents that the
untrained encoder ranks first; those that hold evidence have utility 1, all others 0. A question none of whose
documents holds evidence says nothing about their order; such questions are left out and counted.

    python -m benchmarks.ropg --data FILE FILE... [--encoder NAME|DIR] [--backend NAME] [--epochs N]
        [--out DIR]

Most of the time goes into the vectors of whole histories, which `--backend openvino` makes faster.

The encoders are kept in DIR, where an interrupted run goes on.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from benchmarks.evidence import History, UnusableData, profiles_of, read_histories
from benchmarks.recall import report, show
from index.documents import encoded_text
from index.encoding.encoders import Encoder, load_encoder
from index.encoding.options import TORCH, EncoderOptions
from index.errors import ProfileError
from index.profiles import Profiles
from training.errors import TrainingError
from training.feedback.records import ENCODER, TASK, Feedback, Judged, write_feedback
from training.folder import locked
from training.retriever.questions import Method
from training.retriever.recipe import Recipe
from training.retriever.train import Source, train

METHODS: tuple[Method, ...] = ("ropg-kd", "ropg-rl")
SHOWN = ("dense", "hybrid")
TOP = 16
"""Documents of a question with feedback (l)."""


@dataclass(frozen=True)
class Gathered:
    """Feedback from evidence, and the number of questions whose first documents hold none."""

    records: Sequence[Feedback]
    without: int


def gather(profiles: Profiles, histories: Iterable[History]) -> Gathered:
    """Rank the stored histories with the encoder as it is, and compare with the evidence."""
    records, without = [], 0
    for history in histories:
        documents = {document.id: document for document in history.documents}
        found = profiles.search(history.user, [each.text for each in history.questions], TOP, "dense")
        for number, (question, passages) in enumerate(zip(history.questions, found, strict=True)):
            first = [documents[name] for name in dict.fromkeys(each.document_id for each in passages)]
            judged = tuple(
                Judged(each.id, encoded_text(each, each.text), float(each.id in question.evidence))
                for each in first
            )
            if any(document.utility for document in judged):
                records.append(Feedback(f"{history.user} {number}", question.text, judged, history.user))
            else:
                without += 1
    return Gathered(records, without)


def feedback(files: Sequence[Path], encoder: Encoder, folder: Path) -> Gathered:
    """Write the feedback of several data sets to a folder."""
    parts = []
    for file in files:
        histories = read_histories(file)
        with profiles_of(histories, encoder) as profiles:
            parts.append(gather(profiles, histories))
    records = [
        replace(record, id=f"{file.stem} {record.id}", user=f"{file.stem} {record.user}")
        for file, part in zip(files, parts, strict=True)
        for record in part.records
    ]
    write_feedback(folder, {TASK: "evidence", ENCODER: encoder.manifest.to_dict()}, records)
    return Gathered(records, sum(part.without for part in parts))


class _Watcher:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def begun(self, step: int, steps: int) -> None:
        self._progress.update(self._task, completed=step, total=steps)

    def trained(self, step: int, loss: float, learning_rate: float) -> None:
        self._progress.update(self._task, completed=step)

    def validated(self, step: int, utility: float, unchanged: float) -> None:
        self._progress.console.print(f"step {step}: utility {utility:.3f} on held-out people")


def leave_out(
    left_out: Path,
    others: Sequence[Path],
    encoder: str,
    options: EncoderOptions,
    recipes: Sequence[Recipe],
    out: Path,
    console: Console,
) -> None:
    """Train on the others, measure on the file that is left out, and print a table."""
    as_it_is = load_encoder(encoder, options=options)
    encoders: dict[str, Encoder] = {encoder: as_it_is}
    found = feedback(others, as_it_is, out / "feedback")
    console.print(
        f"\n{left_out.stem} left out: {len(found.records)} questions of the others have evidence in their "
        f"first {TOP} documents and are used, {found.without} have none and are left out"
    )
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        for recipe in recipes:
            task = progress.add_task(recipe.method)
            source = Source(out / "feedback", encoder)
            trained = train(out / recipe.method, source, recipe, watchers=[_Watcher(progress, task)])
            console.print(
                f"{recipe.method}: step {trained.step} of {trained.steps} kept, utility "
                f"{trained.utility:.3f} on {trained.validated_with} questions of held-out people"
            )
            encoders[recipe.method] = load_encoder(str(trained.folder), options=options)
        measured = report(left_out, encoders, {}, progress)
    show(replace(measured, rows=[row for row in measured.rows if row.retriever in SHOWN]), console)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Recall before and after ROPG, with evidence as feedback.")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="two or more")
    parser.add_argument("--encoder", default="minilm", help="minilm, contriever or a folder")
    parser.add_argument("--backend", default=TORCH, help="what runs encoders that are not being trained")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.05, help="T of both methods")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--batch-size", type=int, default=16, help="questions per step")
    parser.add_argument("--out", type=Path, default=Path("ropg-benchmark"), metavar="DIR")
    given = parser.parse_args(arguments)
    if len(given.data) < 2:
        parser.error("one data set is left out, so at least two are needed")
    recipes = [
        Recipe(
            method=method,
            temperature=given.temperature,
            learning_rate=given.learning_rate,
            epochs=given.epochs,
            batch_size=given.batch_size,
        )
        for method in METHODS
    ]
    console = Console(width=140)
    options = EncoderOptions(backend=given.backend)
    try:
        for file in given.data:
            others = [other for other in given.data if other != file]
            folder = given.out / file.stem
            with locked(folder):
                leave_out(file, others, given.encoder, options, recipes, folder, console)
    except (UnusableData, ProfileError, TrainingError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
