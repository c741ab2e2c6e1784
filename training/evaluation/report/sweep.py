"""The report of a sweep: the score of every cell, and the first method minus each other, with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.evaluation.loading import LoadedRun, load_runs
from training.evaluation.report import charts
from training.evaluation.report.blocks import Block, Caution, Chart, Paragraph, Section, Table
from training.evaluation.report.figures import Comparison, Score, comparisons, run_scores
from training.evaluation.report.formatting import NONE, interval, number, plural, signed
from training.evaluation.report.html import page
from training.evaluation.report.markdown import markdown
from training.evaluation.statistics import LEVEL, RESAMPLES
from training.evaluation.sweep import Cell, Failures

PAGE, MARKDOWN = "sweep.html", "sweep.md"


def write_sweep(out: Path, cells: Sequence[Cell], failures: Failures) -> None:
    """Write `sweep.html` and `sweep.md` into `out`, from its runs.

    Raises ValueError, naming the folder, if a cell that has not failed holds no run.
    """
    finished = [cell for cell in cells if cell not in failures]
    loaded = load_runs([cell.folder(out) for cell in finished]) if finished else []
    runs = dict(zip(finished, loaded, strict=True))
    section = _section(cells, runs, failures)
    title = f"Passages and retrievers: {' and '.join(dict.fromkeys(cell.method for cell in cells))}"
    data = f" on {loaded[0].dataset}" if loaded else ""
    about = f"{plural(len(cells), 'cell')}{data}, {len(failures)} failed."
    for name, text in ((PAGE, page(title, about, [section])), (MARKDOWN, markdown(title, about, [section]))):
        (out / name).write_text(text, "utf-8", newline="\n")


def _section(cells: Sequence[Cell], runs: Mapping[Cell, LoadedRun], failures: Failures) -> Section:
    methods = list(dict.fromkeys(cell.method for cell in cells))
    first, others = methods[0], methods[1:]
    categories = sorted({record.category for run in runs.values() for record in run.records})
    scores = {cell: run_scores(run, categories).macro for cell, run in runs.items()}
    rows: list[list[str]] = []
    groups: list[tuple[str, list[charts.Dot]]] = []
    for retriever in dict.fromkeys(cell.retriever for cell in cells):
        scored: list[charts.Dot] = []
        gained: list[charts.Dot] = []
        for k in dict.fromkeys(cell.top_k for cell in cells):
            place = [Cell(method, retriever, k) for method in methods]
            differences = [_difference(runs, place[0], other) for other in place[1:]]
            rows.append(
                [
                    f"{retriever}, k = {k}",
                    *(_score(cell, scores, failures) for cell in place),
                    *map(_gain, differences),
                ]
            )
            for series, cell in enumerate(place):
                if cell in scores and (score := scores[cell]).score is not None:
                    label = f"{cell.method}, k = {k}"
                    scored.append(charts.Dot(label, score.score, score.interval, f"n {score.judged}", series))
            for series, (other, found) in enumerate(zip(others, differences, strict=True), len(methods)):
                if found:
                    label = f"{first} − {other}, k = {k}"
                    note = f"n {found.test.pairs}"
                    gained.append(charts.Dot(label, found.macro, found.macro_interval, note, series))
        groups += [(retriever, scored), (f"{retriever}: difference", gained)]
    head = ["Retriever and passages", *methods, *(f"{first} − {other}" for other in others)]
    blocks: list[Block] = [
        Caution(f"{cell.method}, {cell.retriever}, k = {cell.top_k} failed: {why}")
        for cell, why in failures.items()
    ]
    lower = any(run.lower_is_better for run in runs.values())
    return Section(
        "Scores and differences",
        [
            *blocks,
            Paragraph(
                "Scores are macro averages of the main metric over the scored questions, differences are "
                f"paired over the questions that both runs have.{' Lower is better.' if lower else ''} In "
                f"brackets: {LEVEL * 100:g} % intervals, percentile bootstrap over the questions within each "
                f"category, {RESAMPLES:,} resamples, none of them corrected for the number of cells."
            ),
            Table(head, rows),
            Chart(
                charts.dots(groups, "Scores and differences by retriever and number of passages"),
                "Dots: scores, and below them differences. Lines: intervals. A failed cell has no dot.",
            ),
        ],
    )


def _difference(runs: Mapping[Cell, LoadedRun], first: Cell, other: Cell) -> Comparison | None:
    """`first` minus `other`; None if one of them failed, or they have no question in common."""
    if first not in runs or other not in runs:
        return None
    return next(iter(comparisons([runs[other], runs[first]])), None)


def _score(cell: Cell, scores: Mapping[Cell, Score], failures: Failures) -> str:
    if cell in failures:
        return "failed"
    score = scores[cell]
    unjudged = [f"unjudged: {score.unjudged}"] if score.unjudged else []
    ends = [interval(score.interval)] if score.interval else []
    return "\n".join([number(score.score), *ends, *unjudged])


def _gain(found: Comparison | None) -> str:
    if found is None:
        return NONE
    ends = found.macro_interval
    return signed(found.macro) + (f"\n[{signed(ends[0])}, {signed(ends[1])}]" if ends else "")
