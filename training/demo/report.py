"""Writes the demonstration's results: a table, the figures as JSON and the curves as a picture, and names the
thresholds that it missed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from training.demo.experiment import HOPS, MEASURED_HOPS, Point
from training.demo.measure import Figures, over

TABLE, FIGURES, CURVES = "table.md", "figures.json", "curves.png"

NONE, READER, RAG, WARM = "no search", "one-search RAG, perfect reader", "one-search RAG", "warm start"
AFTER = {"grpo": "after RL, plain GRPO", "without_profile": "after RL, without-profile baseline"}

_TIMES_RAG, _OVER_WARM, _TWO_HOPS, _INVALID = 1.8, 0.3, 0.8, 0.05
_LINES = ("-", "--", "-.", ":")
"""Line styles by hops, which repeat the colours for print and for colour-blind readers."""
_SEARCHES = {0: (0.0, 0.2), 1: (0.8, 1.2), 2: (1.7, 2.5)}
"""Allowed ranges, by hops."""


@dataclass(frozen=True)
class Row:
    """One way to answer the held-out questions of one seed, with the warm start or after RL."""

    seed: int
    system: str
    by_hops: dict[int, Figures]

    @property
    def mean(self) -> Figures:
        """Means over the hops that enter the mean reward."""
        return over(self.by_hops, HOPS)


@dataclass(frozen=True)
class Curve:
    """The results of one training, from its warm start."""

    seed: int
    formula: str
    points: Sequence[Point]


def table(rows: Sequence[Row]) -> str:
    """Format as Markdown. Reward and invalid are over 0 to 2 hops with equal weight."""
    lines = [
        "| seed | held-out people | reward | accuracy, 0 / 1 / 2 hops | 3 "
        "| searches, 0 / 1 / 2 hops | 3 | invalid |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        hops = MEASURED_HOPS
        *accuracies, accuracy = (f"{row.by_hops[number].accuracy:.2f}" for number in hops)
        *searches, search = (f"{row.by_hops[number].searches:.2f}" for number in hops)
        lines.append(
            f"| {row.seed} | {row.system} | {row.mean.reward:.3f} | {' / '.join(accuracies)} | {accuracy} "
            f"| {' / '.join(searches)} | {search} | {row.mean.invalid:.2f} |"
        )
    return "\n".join(lines)


def shortfalls(rows: Sequence[Row]) -> Iterator[str]:
    """Describe each threshold that was missed, for each seed and formula."""
    of = {(row.seed, row.system): row for row in rows}
    for row in rows:
        if row.system not in AFTER.values():
            continue
        reward, rag = row.mean.reward, of[row.seed, RAG].mean.reward
        warm = of[row.seed, WARM].mean.reward
        faults = [
            (reward < _TIMES_RAG * rag, f"reward {reward:.3f} is less than {_TIMES_RAG} x {rag:.3f} (RAG)"),
            (
                reward < warm + _OVER_WARM,
                f"reward {reward:.3f} is not {_OVER_WARM} over the warm start's {warm:.3f}",
            ),
            (row.by_hops[2].accuracy < _TWO_HOPS, f"two-hop accuracy is {row.by_hops[2].accuracy:.2f}"),
            (row.mean.invalid > _INVALID, f"{row.mean.invalid:.2f} are invalid"),
        ]
        for hops, (low, high) in _SEARCHES.items():
            searches = row.by_hops[hops].searches
            faults.append((not low <= searches <= high, f"{searches:.2f} searches at {hops} hops"))
        yield from (f"seed {row.seed}, {row.system}: {words}" for is_fault, words in faults if is_fault)


def write(folder: Path, rows: Sequence[Row], curves: Sequence[Curve], seconds: float) -> None:
    """Write table, figures and picture into the folder."""
    (folder / TABLE).write_text(table(rows) + "\n", encoding="utf-8")
    figures = {
        "seconds": round(seconds),
        "rows": [asdict(row) | {"mean": asdict(row.mean)} for row in rows],
        "curves": [asdict(curve) for curve in curves],
        "shortfalls": list(shortfalls(rows)),
    }
    (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw(folder / CURVES, rows, curves)


def draw(file: Path, rows: Sequence[Row], curves: Sequence[Curve]) -> None:
    """Draw reward, accuracy and searches over the steps, one line per seed, one style per number of hops."""
    # Imported here because it takes a second to load and only draws.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    formulas = [formula for formula in AFTER if any(curve.formula == formula for curve in curves)]
    picture, axes = pyplot.subplots(
        len(formulas), 3, figsize=(12, 3.6 * len(formulas)), sharex=True, squeeze=False
    )
    for line, formula in zip(axes, formulas, strict=True):
        for curve in (curve for curve in curves if curve.formula == formula):
            steps = [point.step for point in curve.points]
            means = [over(point.held_out, HOPS) for point in curve.points]
            line[0].plot(steps, [mean.reward for mean in means], color="black")
            for hops in MEASURED_HOPS:
                at = [point.held_out[hops] for point in curve.points]
                name = f"{hops} hop{'s' * (hops != 1)}"
                label = name if curve.seed == curves[0].seed else None
                look = {"color": f"C{hops}", "linestyle": _LINES[hops]}
                line[1].plot(steps, [each.accuracy for each in at], label=label, **look)
                line[2].plot(steps, [each.searches for each in at], **look)
        for row in (row for row in rows if row.system == RAG):
            line[0].axhline(row.mean.reward, color="gray", linestyle=":")
        line[0].set_ylabel(AFTER[formula])
        line[1].legend(loc="center right")
        for axis, title in zip(
            line, ("reward, 0 to 2 hops (dots: one-search RAG)", "accuracy", "searches"), strict=True
        ):
            axis.set_title(title)
            axis.set_xlabel("step")
            axis.grid(alpha=0.3)
    picture.tight_layout()
    picture.savefig(file, dpi=110)
    pyplot.close(picture)
