"""Sections on the searches: what they looked for, what they found, and the retrievers that were chosen."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agent.methods import METHODS
from agent.trajectory import Information, Search, Selection, Trajectory
from training.evaluation.loading import LoadedRun, each_trajectory
from training.evaluation.report.blocks import Paragraph, Section, Table
from training.evaluation.report.figures import SEED
from training.evaluation.report.formatting import NONE, interval, number
from training.evaluation.statistics import LEVEL, Interval, ratio_interval


@dataclass(frozen=True)
class Searches:
    """The policy's searches for one question."""

    made: int
    reworded: int
    """Searches whose query is not the question, letter case and white space aside."""
    new: int
    """Documents found that no earlier search of the question had shown."""
    barren: int
    """Searches that found no new document."""


def searches_of(trajectory: Trajectory) -> Searches:
    """Count the searches and their evidence. A search without a result, as time ran out, found nothing."""
    asked = _plain(trajectory.question)
    queries: list[str] = []
    found: list[int] = []
    shown: set[str] = set()
    for step in trajectory.steps:
        match step:
            case Search(query=query):
                queries.append(query)
            case Information(passages=passages):
                documents = {read.passage.document_id for read in passages}
                # The method's own first search, for the question, has no search step.
                if len(queries) > len(found):
                    found.append(len(documents - shown))
                shown |= documents
    return Searches(
        made=len(queries),
        reworded=sum(_plain(query) != asked for query in queries),
        new=sum(found),
        barren=len(queries) - sum(1 for count in found if count),
    )


def searching_sections(runs: Sequence[LoadedRun]) -> list[Section]:
    """The sections that the runs' trajectories have something for; none without trajectories."""
    searches, choices = [], []
    for run in runs:
        # Not the trajectories themselves: those of a run may be larger than memory.
        found = {
            name: (searches_of(one), one.selection)
            for name, one in each_trajectory(run.folder, {record.id for record in run.records})
        }
        method = METHODS.get(run.method)
        # Under other methods, a search is the method's, such as LaMP's for the part of an input that counts.
        if method and method.searches and (row := _searches(run, [made for made, _ in found.values()])):
            searches.append(row)
        choices += _choices(run, [selection for _, selection in found.values() if selection])
    sections = []
    if searches:
        about = (
            "The policy's own searches, under methods by which it may search. "
            "New evidence: documents that no earlier search for the question had shown. In brackets: "
            f"{LEVEL * 100:g} % intervals, percentile bootstrap over the questions with a search."
        )
        head = ["Run", "Searches", "Share with other words than the question", "New documents per search"]
        head.append("Searches without a new document")
        sections.append(Section("What searches add", [Paragraph(about), Table(head, searches)]))
    if choices:
        about = (
            "With the retriever auto, a trained selector chooses for each question. Time: the median of what "
            "choosing took, without the answers."
        )
        head = ["Run", "Mode", "Retriever", "Chosen for", "Share", "Time, s"]
        sections.append(Section("Retrievers that were chosen", [Paragraph(about), Table(head, choices)]))
    return sections


def _searches(run: LoadedRun, found: Sequence[Searches]) -> list[str] | None:
    made = [one for one in found if one.made]
    if not made:
        return None
    counts = [one.made for one in made]

    def ratio(numerators: Sequence[int]) -> str:
        ends: Interval | None = ratio_interval(numerators, counts, seed=SEED)
        value = number(sum(numerators) / sum(counts))
        return f"{value}\n{interval(ends)}" if ends else value

    return [
        run.name,
        str(sum(counts)),
        ratio([one.reworded for one in made]),
        ratio([one.new for one in made]),
        ratio([one.barren for one in made]),
    ]


def _choices(run: LoadedRun, selections: Sequence[Selection]) -> list[list[str]]:
    if not selections:
        return []
    chosen = Counter(one.retriever for one in selections)
    # Every member of the pool, also one that was never chosen.
    pool = dict.fromkeys(name for one in selections for name in one.scores)
    seconds = statistics.median(one.ms for one in selections) / 1000
    return [
        [
            run.name,
            selections[0].mode,
            name,
            str(chosen[name]),
            number(chosen[name] / len(selections)),
            f"{seconds:.3f}" if not place else NONE,
        ]
        for place, name in enumerate(pool)
    ]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
