"""The paper's numbers (arXiv 2404.05970), beside ours and never mixed with them."""

from collections.abc import Mapping, Sequence

from training.evaluation.exhibits.groups import COLUMNS
from training.evaluation.report.lamp import METHODS, MODEL, PUBLISHED, SOURCE, UNSURE

LLM = MODEL
ABOUT = f"{SOURCE}, {LLM}"

WINS: Mapping[str, str] = {
    "None": "8.5–18.4 %",
    "Recency": "15.2–18.1 %",
    "ROPG-RL": "14.9–20.2 % (ROPG)",
    "ROPG-KD": "14.9–20.2 % (ROPG)",
}
"""Figure 3: the lowest and the highest winning rate over the tasks."""
SUCCESS: Mapping[int, Sequence[float]] = {
    1: (0.858, 0.824, 0.848, 0.847, 0.865, 0.874),
    2: (0.908, 0.918, 0.910, 0.910, 0.936, 0.962),
    3: (0.896, 0.890, 0.896, 0.894, 0.903, 0.920),
    4: (0.401, 0.404, 0.394, 0.398, 0.401, 0.447),
    5: (0.562, 0.572, 0.562, 0.557, 0.600, 0.577),
    6: (0.613, 0.606, 0.614, 0.617, 0.633, 0.641),
    7: (0.851, 0.840, 0.852, 0.851, 0.860, 0.898),
}
"""Table 4: the success rates of WIG, NQC, σ max, σ 50%, RSPG-Pre and RSPG-Post, by task."""
POOL: Mapping[int, Mapping[str, float]] = {
    1: {
        "RSPG-Pre, pool without ROPG": 0.646,
        "RSPG-Post, pool without ROPG": 0.644,
        "oracle, lower bound": 0.381,
        "oracle, upper bound": 0.798,
    }
}
"""Table 5, as far as it is known, by task."""
GAINS: Mapping[str, tuple[float, float]] = {"RSPG-Post": (0.153, 0.055)}
"""Mean relative gains over None and over the best baseline."""


def score(number: int | None, metric: str, column: str) -> str | None:
    """The published score of a task, with a question mark if the scan is not certain; None if not known."""
    row = PUBLISHED.get((number or 0, metric))
    if row is None or column not in COLUMNS:
        return None
    place = COLUMNS.index(column)
    unsure = "?" if ((number or 0), metric, METHODS[place]) in UNSURE else ""
    return f"{row[place]:.3f}{unsure}"
