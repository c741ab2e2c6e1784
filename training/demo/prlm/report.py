"""Writes the results of the seeds: tables, the figures as JSON, and a picture."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from scipy import stats

from training.demo.prlm.robustness import PASSAGES, RETRIEVERS
from training.demo.prlm.seeds import (
    AWARE,
    CONTENT,
    PRLM_BEFORE,
    PUBLISHED,
    RAG_AFTER,
    RAG_BEFORE,
    SYSTEMS,
    Result,
)
from training.evaluation.statistics import LEVEL, Interval, paired_bootstrap

TABLES, FIGURES, PICTURE = "tables.md", "figures.json", "curves.png"

COMPARISONS = (
    (AWARE, CONTENT),
    (PUBLISHED, CONTENT),
    (AWARE, PUBLISHED),
    (AWARE, RAG_BEFORE),
    (PUBLISHED, RAG_BEFORE),
    (CONTENT, RAG_BEFORE),
    (PRLM_BEFORE, RAG_BEFORE),
    (AWARE, RAG_AFTER),
)
ROBUSTNESS = ((AWARE, RAG_BEFORE), (PUBLISHED, RAG_BEFORE), (AWARE, RAG_AFTER))

Groups = Sequence[Sequence[float]]
"""Scores of the held-out questions, for each seed."""


@dataclass(frozen=True)
class Difference:
    """The difference of two systems on the same questions, with two 95 % intervals."""

    mean: float
    questions: Interval | None
    """Bootstrap over the questions of these seeds: the results with other people."""
    seeds: Interval | None
    """Student's t over the seeds' means: the results of other trainings. None for one seed."""

    def __str__(self) -> str:
        return f"{self.mean:+.3f} | {_shown(self.questions)} | {_shown(self.seeds)}"


def difference(first: Groups, second: Groups) -> Difference:
    """Compare question by question. Raises ValueError unless both have the same numbers of questions."""
    means = [
        fmean(one - other for one, other in zip(left, right, strict=True))
        for left, right in zip(first, second, strict=True)
    ]
    seeds = None
    if len(set(means)) > 1:
        low, high = stats.t.interval(LEVEL, len(means) - 1, fmean(means), stats.sem(means))
        seeds = float(low), float(high)
    return Difference(fmean(means), paired_bootstrap(first, second, seed=0), seeds)


def tables(results: Sequence[Result]) -> str:
    """Format everything as Markdown."""
    parts = [_systems(results), _comparisons(results), _judging(results), _robustness(results)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def write(folder: Path, results: Sequence[Result]) -> None:
    """Write tables, figures and picture of these seeds into the folder."""
    (folder / TABLES).write_text(tables(results), encoding="utf-8")
    figures = {
        "seeds": [result.seed for result in results],
        "seconds": [round(result.seconds) for result in results],
        "comparisons": [
            {"first": first, "second": second, "answers": kind} | asdict(found)
            for first, second in COMPARISONS
            for kind, of in (("sampled", _sampled), ("greedy", _greedy))
            for found in [difference(of(results, first), of(results, second))]
        ],
        "robustness": [
            {"first": first, "second": second, "retriever": retriever, "k": k}
            | asdict(_cell(results, first, second, retriever, k))
            for first, second in ROBUSTNESS
            for retriever in RETRIEVERS
            for k in PASSAGES
        ],
    }
    (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw(folder / PICTURE, results)


def draw(file: Path, results: Sequence[Result]) -> None:
    """Draw the held-out scores over the steps, and the differences over retrievers and passages."""
    # Imported here because it takes a second to load and only draws.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(1, 1 + len(RETRIEVERS), figsize=(17, 3.8))
    for number, (name, style) in enumerate(
        ((CONTENT, ":"), (PUBLISHED, "--"), (AWARE, "-"), (RAG_AFTER, "-."))
    ):
        steps = [point.step for point in results[0].curves[name]]
        points = zip(*(result.curves[name] for result in results), strict=True)
        means = [fmean((point.content + point.manner) / 2 for point in at) for at in points]
        axes[0].plot(steps, means, style, color=f"C{number}", label=name)
    axes[0].set(title="held-out score (content and manner)", xlabel="step", ylim=(0, 1))
    axes[0].legend(fontsize=7)
    for axis, retriever in zip(axes[1:], RETRIEVERS, strict=True):
        axis.sharey(axes[1])
        for number, (first, second) in enumerate(ROBUSTNESS):
            cells = [_cell(results, first, second, retriever, k) for k in PASSAGES]
            means = [cell.mean for cell in cells]
            reach = [
                [abs(bound - cell.mean) for bound in cell.questions or (cell.mean, cell.mean)]
                for cell in cells
            ]
            places = [at + 0.1 * (number - 1) for at in range(len(PASSAGES))]
            axis.errorbar(
                places, means, list(zip(*reach, strict=True)), fmt="osD"[number], label=f"{first} - {second}"
            )
        axis.axhline(0, color="gray", linewidth=0.8)
        axis.set(title=f"difference with {retriever}", xlabel="passages")
        axis.set_xticks(range(len(PASSAGES)), PASSAGES)
    axes[-1].legend(fontsize=6)
    for axis in axes:
        axis.grid(alpha=0.3)
    picture.tight_layout()
    picture.savefig(file, dpi=110)
    pyplot.close(picture)


def _systems(results: Sequence[Result]) -> Iterator[str]:
    seeds = ", ".join(str(result.seed) for result in results)
    yield f"Means over seeds {seeds}; {len(results[0].sampled[CONTENT].content)} held-out people each."
    yield ""
    yield "| system | score | content | manner | score, greedy | content | manner |"
    yield "|" + "---|" * 7
    for name in SYSTEMS:
        cells = []
        for of in ("sampled", "greedy"):
            found = [getattr(result, of)[name] for result in results]
            for part in ("score", "content", "manner"):
                cells.append(f"{fmean(fmean(getattr(each, part)) for each in found):.3f}")
        yield f"| {name} | {' | '.join(cells)} |"


def _comparisons(results: Sequence[Result]) -> Iterator[str]:
    yield "| difference of scores | answers | mean | 95 %, over questions | 95 %, over seeds |"
    yield "|" + "---|" * 5
    for first, second in COMPARISONS:
        for kind, of in (("sampled", _sampled), ("greedy", _greedy)):
            yield f"| {first} - {second} | {kind} | {difference(of(results, first), of(results, second))} |"


def _judging(results: Sequence[Result]) -> Iterator[str]:
    yield "| seed | reward model | against answers without passages | against another person's passages |"
    yield "|" + "---|" * 4
    for result in results:
        for variant, found in result.judging.items():
            yield f"| {result.seed} | {variant} | {found.plain} | {found.others} |"


def _robustness(results: Sequence[Result]) -> Iterator[str]:
    yield "| difference of scores | retriever | passages | mean | 95 %, over questions | 95 %, over seeds |"
    yield "|" + "---|" * 6
    for first, second in ROBUSTNESS:
        for retriever in RETRIEVERS:
            for k in PASSAGES:
                cell = _cell(results, first, second, retriever, k)
                yield f"| {first} - {second} | {retriever} | {k} | {cell} |"


def _cell(results: Sequence[Result], first: str, second: str, retriever: str, k: int) -> Difference:
    one, other = ([result.grids[name][retriever][k] for result in results] for name in (first, second))
    return difference(one, other)


def _sampled(results: Sequence[Result], system: str) -> Groups:
    return [result.sampled[system].score for result in results]


def _greedy(results: Sequence[Result], system: str) -> Groups:
    return [result.greedy[system].score for result in results]


def _shown(interval: Interval | None) -> str:
    return f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "-"
