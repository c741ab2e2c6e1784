"""The paper's numbers (arXiv 2404.05970, FlanT5-XXL), beside ours and never mixed with them.

They were transcribed from a scan by this project. None: not legible there.
"""

from collections.abc import Mapping, Sequence

from training.evaluation.exhibits.groups import COLUMNS

LLM = "FlanT5-XXL"
SOURCE = f"arXiv 2404.05970, {LLM}"

SCORES: Mapping[tuple[int, str], Sequence[float | None]] = {
    (1, "accuracy"): (0.502, 0.626, 0.622, 0.636, 0.570, 0.655, 0.668, 0.663, 0.672),
    (2, "accuracy"): (0.359, 0.387, 0.377, 0.396, 0.375, 0.391, 0.396, 0.405, 0.430),
    (2, "f1"): (0.276, 0.306, 0.295, 0.304, 0.299, 0.300, 0.306, 0.314, 0.339),
    (3, "mae"): (0.308, 0.298, 0.296, 0.299, 0.314, 0.286, 0.290, 0.282, 0.264),
    (3, "rmse"): (0.611, 0.611, 0.605, 0.616, 0.614, 0.591, 0.604, 0.585, 0.568),
    (4, "rouge-1"): (0.176, 0.186, 0.189, 0.183, 0.190, 0.191, 0.187, 0.190, 0.203),
    (4, "rouge-L"): (0.160, 0.171, 0.173, 0.169, 0.176, 0.177, 0.172, 0.176, 0.186),
    (5, "rouge-1"): (0.478, 0.477, 0.475, 0.483, 0.478, 0.475, 0.477, None, 0.480),
    (5, "rouge-L"): (0.428, 0.427, 0.426, 0.433, 0.428, 0.427, 0.428, 0.431, 0.429),
    (6, "rouge-1"): (0.335, 0.412, 0.403, 0.401, 0.394, 0.394, 0.415, 0.426, 0.433),
    (6, "rouge-L"): (0.319, 0.398, 0.389, 0.386, 0.381, 0.381, 0.400, 0.411, 0.418),
    (7, "rouge-1"): (0.449, 0.446, 0.444, 0.440, 0.446, 0.448, 0.441, 0.450, 0.461),
    (7, "rouge-L"): (0.396, 0.394, 0.393, 0.390, 0.395, 0.397, 0.391, 0.400, 0.409),
}
"""Table 3: by task and metric, in the order of COLUMNS."""
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


def score(number: int | None, metric: str, column: str) -> float | None:
    """The published score of a task, if it is known."""
    row = SCORES.get((number or 0, metric))
    return row[COLUMNS.index(column)] if row and column in COLUMNS else None
