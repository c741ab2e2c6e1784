"""Measures the extractive policy's answers: what they cite, how long they are, what they cost, and declining.

The questions are those of the demo people and of each file (see evidence.py), answered with the service's
limits. Cited precision is the share of the cited documents that hold evidence, 0 for an answer that cites
nothing; cited recall is the share of the evidence that is cited. Both are averaged over the questions, with
bootstrap intervals. For declining, every person is also asked what their history does not answer: LoCoMo's
category 5 or else the questions of the next person, of which a few may have an answer by chance.

    python -m benchmarks.answers [--data FILE...] [--json OUT] [--against EARLIER]
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agent.citations import without_marks
from agent.policies.quoting import CHOSEN, Thresholds
from agent.policies.sentences import Reading
from agent.trajectory import Information, Trajectory
from benchmarks.declining import Scores, auroc, leave_one_out
from benchmarks.evidence import Asked, History, UnusableData, last_day, profiles_of, read_histories
from benchmarks.locomo import check_citations, read_by_policy
from index.encoding.encoders import Encoder, load_encoder
from index.profiles import Profiles
from server import demo
from training.evaluation.statistics import bootstrap_interval, paired_bootstrap

DOCUMENTS = 20
"""Documents that an answer may read: as many as the service allows."""
SEED = 0
MEASURES = ("precision", "recall", "first", "words", "searches", "documents", "ms")
DEMO = "demo"


@dataclass(frozen=True)
class Answered:
    """The measures of the answer to one question."""

    user: str
    question: str
    precision: float
    """Share of the cited documents that hold evidence; 0 if none is cited."""
    recall: float
    """Share of the evidence that is cited."""
    first: float
    """1 if the first cited document holds evidence, else 0."""
    words: int
    """Words of the answer between white space, without its marks."""
    searches: int
    documents: int
    """Documents read."""
    ms: float
    """Milliseconds from the question to the answer."""
    score: float
    """The policy's score that the history answers the question."""


@dataclass(frozen=True)
class Unanswerable:
    """A question that the history does not answer."""

    user: str
    question: str
    score: float


@dataclass(frozen=True)
class Dataset:
    """The questions of one data set."""

    name: str
    answered: Sequence[Answered]
    unanswerable: Sequence[Unanswerable]

    @property
    def scores(self) -> Scores:
        """The scores of its questions."""
        return Scores([one.score for one in self.answered], [one.score for one in self.unanswerable])


def demo_histories() -> list[History]:
    """The demo people and their questions."""
    histories = []
    for user in demo.users():
        documents = demo.documents(user)
        today = last_day(documents)
        questions = [Asked(one.question, one.evidence, today) for one in demo.questions() if one.user == user]
        histories.append(History(user, documents, questions, 0, 0))
    return histories


def thinned(history: History, every: int) -> History:
    """Keep every Nth of a person's questions, for a quick look."""
    return replace(history, questions=history.questions[::every], unanswerable=history.unanswerable[::every])


def measured(asked: Asked, user: str, trajectory: Trajectory) -> Answered:
    """Measure an answer against the evidence of its question. Raises ValueError if there is no answer."""
    if trajectory.answer is None:
        raise ValueError(f"{asked.text!r} has no answer: {trajectory.finish_reason}")
    cited = list(dict.fromkeys(citation.document_id for citation in trajectory.answer.citations))
    found = [document_id for document_id in cited if document_id in asked.evidence]
    return Answered(
        user,
        asked.text,
        precision=len(found) / len(cited) if cited else 0.0,
        recall=len(found) / len(asked.evidence),
        first=float(cited[:1] == found[:1] and bool(found)),
        words=len(without_marks(trajectory.answer.text).split()),
        searches=trajectory.searches,
        documents=len(trajectory.documents_read),
        ms=trajectory.total_ms,
        score=score_of(trajectory),
    )


def score_of(trajectory: Trajectory) -> float:
    """The policy's score that what it read answers the question."""
    reads = [read for step in trajectory.steps if isinstance(step, Information) for read in step.passages]
    return Reading(reads).certainty(trajectory.question)


def answers_of(profiles: Profiles, history: History, thresholds: Thresholds = CHOSEN) -> list[Answered]:
    """Answer the questions of a stored history, each on its day, and measure the answers."""
    texts = [asked.text for asked in history.questions]
    days = [asked.today for asked in history.questions]
    trajectories = read_by_policy(profiles, history.user, texts, DOCUMENTS, days, thresholds)
    check_citations(profiles, history.user, trajectories)
    pairs = zip(history.questions, trajectories, strict=True)
    return [measured(asked, history.user, trajectory) for asked, trajectory in pairs]


def measure(name: str, histories: Sequence[History], encoder: Encoder, progress: Progress) -> Dataset:
    """Answer the questions of every person, and those that their history does not answer."""
    answered: list[Answered] = []
    unanswerable: list[Unanswerable] = []
    bar = progress.add_task(name, total=sum(len(history.questions) for history in histories))
    with profiles_of(histories, encoder) as profiles:
        for history, other in zip(histories, [*histories[1:], *histories[:1]], strict=True):
            answered += answers_of(profiles, history)
            strange = list(history.unanswerable)
            if not strange and other is not history:
                strange = [asked.text for asked in other.questions]
            unanswerable += [
                Unanswerable(history.user, trajectory.question, score_of(trajectory))
                for trajectory in read_by_policy(profiles, history.user, strange, DOCUMENTS)
            ]
            progress.advance(bar, len(history.questions))
    progress.remove_task(bar)
    return Dataset(name, answered, unanswerable)


def read_earlier(file: Path) -> dict[str, Dataset]:
    """Read what `--json` wrote. Raises UnusableData."""
    try:
        found = TypeAdapter(list[Dataset]).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise UnusableData(f"{file} cannot be read: {error}") from None
    return {dataset.name: dataset for dataset in found}


def differences(now: Dataset, earlier: Dataset) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Mean difference and its paired interval, by measure. Raises UnusableData for other questions."""
    if [(a.user, a.question) for a in now.answered] != [(a.user, a.question) for a in earlier.answered]:
        raise UnusableData(f"{now.name}: the earlier run answered other questions")
    found = {}
    for name in MEASURES:
        pair = values(now.answered, name), values(earlier.answered, name)
        interval = paired_bootstrap([pair[0]], [pair[1]], seed=SEED)
        found[name] = (statistics.fmean(pair[0]) - statistics.fmean(pair[1]), interval)
    return found


def values(answered: Iterable[Answered], measure: str) -> list[float]:
    """One measure of all the answers."""
    return [float(getattr(answer, measure)) for answer in answered]


def shown(name: str, mean: float, interval: tuple[float, float] | None, *, signed: bool = False) -> str:
    """A figure with its interval; shares with three digits."""
    digits = 3 if name in {"precision", "recall", "first"} else 1
    form = f"{'+' if signed else ''}.{digits}f"
    low_to_high = f"\n[{interval[0]:{form}}, {interval[1]:{form}}]" if interval else ""
    return f"{mean:{form}}{low_to_high}"


def answers_table(datasets: Sequence[Dataset], earlier: Mapping[str, Dataset]) -> Table:
    """Means with 95 % intervals; below each data set of an earlier run, the paired differences."""
    table = Table(title="Answers of the extractive policy")
    for column in ("", "n", *MEASURES):
        table.add_column(column, justify="left" if not column else "right")
    for dataset in datasets:
        cells = []
        for name in MEASURES:
            found = values(dataset.answered, name)
            cells.append(shown(name, statistics.fmean(found), bootstrap_interval([found], seed=SEED)))
        table.add_row(dataset.name, str(len(dataset.answered)), *cells)
        if dataset.name in earlier:
            changed = differences(dataset, earlier[dataset.name])
            cells = [shown(name, *changed[name], signed=True) for name in MEASURES]
            table.add_row("  against the earlier run", "", *cells)
    return table


def declining_table(datasets: Sequence[Dataset]) -> Table:
    """The AUROC of the decline score, and what thresholds that the other data sets chose decline."""
    table = Table(title="Declining, with the threshold that the other data sets chose")
    for column in ("", "unanswerable", "AUROC", "declined", "answerable declined"):
        table.add_column(column, justify="right" if column else "left")
    data = {dataset.name: dataset.scores for dataset in datasets}
    chosen = leave_one_out(data)
    for name, scores in data.items():
        area = auroc(scores)
        figures = [area]
        if name in chosen:
            figures += [chosen[name].unanswerable, chosen[name].answerable]
        cells = ["-" if figure is None else f"{figure:.3f}" for figure in figures]
        table.add_row(name, str(len(scores.unanswerable)), *cells)
    return table


def parser_of(description: str) -> argparse.ArgumentParser:
    """The options by which the questions are chosen."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help="histories")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="ask only every Nth question of each person of a file",
    )
    return parser


def named_histories(given: argparse.Namespace) -> dict[str, list[History]]:
    """The demo people and the people of each file, by the data set's name. Raises UnusableData."""
    named = {DEMO: demo_histories()}
    for file in given.data:
        named[file.stem] = [thinned(history, given.every) for history in read_histories(file)]
    for name, histories in named.items():
        if not any(history.questions for history in histories):
            raise UnusableData(f"{name}: no question names its evidence")
    return named


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("What the extractive policy's answers cite and cost.")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every answer's measures to this file")
    parser.add_argument("--against", type=Path, metavar="EARLIER", help="a file of --json to compare with")
    given = parser.parse_args(arguments)
    try:
        earlier = read_earlier(given.against) if given.against else {}
        named = named_histories(given)
        encoder = load_encoder(given.encoder)
        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            datasets = [measure(name, histories, encoder, progress) for name, histories in named.items()]
        console = Console(width=160)
        console.print(answers_table(datasets, earlier))
        console.print(declining_table(datasets))
    except UnusableData as error:
        parser.error(str(error))
    if given.json:
        given.json.write_text(json.dumps([asdict(dataset) for dataset in datasets], indent=1) + "\n")


if __name__ == "__main__":
    main()
