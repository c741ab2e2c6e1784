"""LaMP's metrics of the runs, what outputs and profiles were like, and the published scores beside them.

Source of the published scores: Salemi, Kallumadi & Zamani, arXiv 2404.05970, read from a scan. Nothing here
is estimated; a value that could not be read for certain is marked.
"""

from collections.abc import Mapping, Sequence

from training.evaluation.loading import LoadedRun
from training.evaluation.records import Record
from training.evaluation.report.blocks import Block, Caution, Paragraph, Section, Table
from training.evaluation.report.formatting import NONE, number
from training.evaluation.summary import CategoryScore
from training.tasks.lamp.metrics import USABLE, metrics_of
from training.tasks.lamp.schemas import SCHEMAS, name_of

SOURCE = "arXiv 2404.05970"
MODEL = "FlanT5-XXL"
METHODS = (
    "None",
    "BM25",
    "Recency",
    "Contriever",
    "RRF",
    "ROPG-RL",
    "ROPG-KD",
    "RSPG-Pre",
    "RSPG-Post",
)
PUBLISHED: Mapping[tuple[int, str], tuple[float, ...]] = {
    (1, "accuracy"): (0.502, 0.626, 0.622, 0.636, 0.570, 0.655, 0.668, 0.663, 0.672),
    (2, "accuracy"): (0.359, 0.387, 0.377, 0.396, 0.375, 0.391, 0.396, 0.405, 0.430),
    (2, "f1"): (0.276, 0.306, 0.295, 0.304, 0.299, 0.300, 0.306, 0.314, 0.339),
    (3, "mae"): (0.308, 0.298, 0.296, 0.299, 0.314, 0.286, 0.290, 0.282, 0.264),
    (3, "rmse"): (0.611, 0.611, 0.605, 0.616, 0.614, 0.591, 0.604, 0.585, 0.568),
    (4, "rouge-1"): (0.176, 0.186, 0.189, 0.183, 0.190, 0.191, 0.187, 0.190, 0.203),
    (4, "rouge-L"): (0.160, 0.171, 0.173, 0.169, 0.176, 0.177, 0.172, 0.176, 0.186),
    (5, "rouge-1"): (0.478, 0.477, 0.475, 0.483, 0.478, 0.475, 0.477, 0.483, 0.480),
    (5, "rouge-L"): (0.428, 0.427, 0.426, 0.433, 0.428, 0.427, 0.428, 0.431, 0.429),
    (6, "rouge-1"): (0.335, 0.412, 0.403, 0.401, 0.394, 0.394, 0.415, 0.426, 0.433),
    (6, "rouge-L"): (0.319, 0.398, 0.389, 0.386, 0.381, 0.381, 0.400, 0.411, 0.418),
    (7, "rouge-1"): (0.449, 0.446, 0.444, 0.440, 0.446, 0.448, 0.441, 0.450, 0.461),
    (7, "rouge-L"): (0.396, 0.394, 0.393, 0.390, 0.395, 0.397, 0.391, 0.400, 0.409),
}
"""Scores by task and metric, in the order of METHODS."""
UNSURE = {(5, "rouge-1", "RSPG-Pre")}
"""Published values that the scan does not show for certain."""


def lamp_section(runs: Sequence[LoadedRun]) -> Section | None:
    """Show all metrics of the runs with the published ones. None for other tasks, or without records."""
    task = _task(runs)
    if task is None:
        return None
    metrics = [metric.name for metric in metrics_of(task)]
    ours = [[f"ours: {run.name}", *_scores(task, run.records)] for run in runs]
    theirs = [
        [f"published: {method}", *(_published(task, metric, method) for metric in metrics)]
        for method in METHODS
    ]
    blocks: list[Block] = [Caution(text) for text in _differences(runs)]
    blocks += [
        Paragraph(
            f"Published: {MODEL}, {SOURCE}, the time-based split. {NONE}: not published; “?”: not certain in "
            "the scan. Lower is better for mae and rmse."
        ),
        Table(["Run", *metrics], [*ours, *theirs]),
        Paragraph(
            "An unusable output is no valid label or rating, or empty: a label counts as wrong, and a rating "
            "as the one farther from the reference. A profile that holds the output has an entry whose title "
            "(for tweets, whose text) is the reference; one that holds the input has an entry whose text is "
            "the one asked about. Entries after the question are known only where questions have dates."
        ),
        Table(
            [
                "Run",
                "Unusable outputs",
                "Profiles with the output",
                "Profiles with the input",
                "Profiles with later entries",
            ],
            [[run.name, *_counts(run.records)] for run in runs],
        ),
    ]
    return Section(f"LaMP: {name_of(task)}", blocks)


def _task(runs: Sequence[LoadedRun]) -> int | None:
    """The one task of LaMP that all records are of."""
    categories = {record.category for run in runs for record in run.records}
    return next((task for task in SCHEMAS if categories == {name_of(task)}), None)


def _scores(task: int, records: Sequence[Record]) -> list[str]:
    def score(aggregate: CategoryScore) -> str:
        return NONE if aggregate.score is None else number(aggregate.score)

    return [score(metric.aggregate(records)) if records else NONE for metric in metrics_of(task)]


def _published(task: int, metric: str, method: str) -> str:
    scores = PUBLISHED.get((task, metric))
    if scores is None:
        return NONE
    unsure = "?" if (task, metric, method) in UNSURE else ""
    return f"{scores[METHODS.index(method)]:.3f}{unsure}"


def _differences(runs: Sequence[LoadedRun]) -> list[str]:
    """Why the published scores cannot be compared with those of the runs."""
    found = []
    datasets = dict.fromkeys(run.dataset for run in runs)
    if made := [name for name in datasets if name.startswith("lamp-sample")]:
        found.append(f"the data set {', '.join(made)} is made, not LaMP's")
    models = dict.fromkeys(str((run.manifest.get("policy") or {}).get("model")) for run in runs)
    if others := [name for name in models if MODEL.replace("T5", "-t5").lower() not in name.lower()]:
        found.append(f"the outputs are of {', '.join(others)}, not {MODEL}")
    why = " and ".join(found)
    return [f"Not comparable with the published scores: {why}."] if found else []


def _counts(records: Sequence[Record]) -> list[str]:
    details = [record.assessment.details for record in records]
    later = [one["later_entries"] for one in details if one.get("later_entries") is not None]
    return [
        f"{sum(not one[USABLE] for one in details)} of {len(details)}",
        f"{sum(one['holds_output'] for one in details)} of {len(details)}",
        f"{sum(one['holds_input'] for one in details)} of {len(details)}",
        f"{sum(count > 0 for count in later)} of {len(later)}" if later else "not known",
    ]
