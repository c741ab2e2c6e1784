"""Feedback from the trajectories of judged runs: which passages the answers cited.

An option beside the paper's: it costs no call of an LLM, and its queries are those that a policy writes. The
rule, for each search: a passage that the answer cites gets the score of the answer, one that was only read
gets 0, and one that was dropped from the context before the answer was written, and is not cited, has no
feedback. Passages that were never shown are not in the feedback.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.trajectory import Information, Search, Trajectory
from index.documents import encoded_text
from training.errors import TrainingError
from training.evaluation.loading import LoadedRun, load_runs, read_trajectories
from training.feedback.records import ENCODER, TASK, Feedback, Judged, write_feedback
from training.folder import locked


class NoTrajectories(TrainingError, ValueError):
    """The run has no trajectory that says which passages were useful."""


@dataclass(frozen=True)
class CitedCounts:
    """Number of questions by outcome. Each is counted once, under the first that applies."""

    unanswered: int = 0
    unjudged: int = 0
    without_passages: int = 0
    """Answered without reading anything."""
    kept: int = 0


def feedback_from_run(out: Path, folder: Path, person: Callable[[str], str | None]) -> CitedCounts:
    """Write to `out` the feedback of a run of `pr2 evaluate`, a record for each search that found something.

    `person` identifies who asked the question of an id. Raises NoTrajectories, FolderInUse, and ValueError if
    the folder is not a run.
    """
    (run,) = load_runs([folder])
    if run.lower_is_better:
        raise NoTrajectories(f"{folder}: lower scores are better, and a utility has to be higher")
    if run.manifest["dataset"].get("split") == "test":
        raise NoTrajectories(
            f"{folder} answers test questions: a retriever trained on them cannot be evaluated on them"
        )
    counter = Counter[str]()
    records = list(_records(run, person, counter))
    if not any(document.utility for record in records for document in record.documents):
        raise NoTrajectories(f"{folder}: no answer with a score above 0 cites a passage")
    facts = {
        key: run.manifest.get(key) for key in ("method", "policy", "judge", "retriever", "prompt_version")
    }
    manifest = {
        TASK: run.dataset,
        # Several retrievers may rank with vectors; none of them is the order of one encoder's dot products.
        ENCODER: None,
        "from_run": {"dataset": run.manifest["dataset"], **facts},
        "counts": dict(counter),
    }
    with locked(out):
        write_feedback(out, manifest, records)
    return CitedCounts(**counter)


def _records(
    run: LoadedRun, person: Callable[[str], str | None], counter: Counter[str]
) -> Iterator[Feedback]:
    judged = {}
    for record in run.records:
        if record.finish_reason != "answered":
            counter["unanswered"] += 1
        elif record.score is None:
            counter["unjudged"] += 1
        else:
            judged[record.id] = record.score
    trajectories = read_trajectories(run.folder, judged.keys())
    for question, score in judged.items():
        if question not in trajectories:
            raise NoTrajectories(f"{run.folder} has no trajectory of {question}")
        searches = list(_searches(trajectories[question], score))
        counter["kept" if searches else "without_passages"] += 1
        for number, (query, documents) in enumerate(searches, 1):
            name = question if number == 1 else f"{question}#{number}"
            yield Feedback(name, query, documents, person(question))


def _searches(trajectory: Trajectory, score: float) -> Iterator[tuple[str, tuple[Judged, ...]]]:
    """The query of each search that found something, and its passages in the order of their ranking."""
    cited = {one.number for one in trajectory.answer.citations} if trajectory.answer else set[int]()

    def utility(number: int) -> float | None:
        if number in cited:
            return score
        return None if number <= trajectory.passages_dropped else 0.0

    query = trajectory.question
    for step in trajectory.steps:
        if isinstance(step, Search):
            query = step.query
        elif isinstance(step, Information) and step.passages:
            yield (
                query,
                tuple(
                    Judged(
                        read.passage.document_id,
                        encoded_text(read.passage, read.passage.text),
                        utility(read.number),
                    )
                    for read in step.passages
                ),
            )
