"""Sections that show answers: the best and worst of one run, and those on which two runs differ most."""

from collections.abc import Sequence

from training.evaluation.loading import LoadedRun, read_trajectories
from training.evaluation.report.blocks import Answers, Block, Paragraph, Section, Side
from training.evaluation.report.figures import best_run

SHOWN = 10


def answers_sections(runs: Sequence[LoadedRun], categories: Sequence[str]) -> list[Section]:
    """Show the best and the worst answers of the best run."""
    best = best_run(runs, categories)
    if best is None:
        return [Section("Best and worst answers", [Paragraph("No run has a fully judged question.")])]
    scores = best.scores
    ranked = sorted(scores, key=lambda question: (-best.gain(scores[question]), question))
    top = ranked[: min(SHOWN, (len(ranked) + 1) // 2)]
    bottom = ranked[len(top) :][-SHOWN:][::-1]
    about = Paragraph(
        f"Of {best.name}, the run with the highest macro average"
        f"{'' if all(run.same_scale(runs[0]) for run in runs) else f' by {best.judge}'}. "
        "No answer stands in both lists. Select a question to see how its answer came about."
    )
    shown = _sides(best, [*top, *bottom])
    return [
        Section("Best answers", [about, *(Answers([shown[i]]) for i in top)]),
        Section(
            "Worst answers", [Answers([shown[i]]) for i in bottom] or [Paragraph("There are no others.")]
        ),
    ]


def differences_section(runs: Sequence[LoadedRun]) -> Section | None:
    """Show the questions on which the last two runs differ most: baselines are given first."""
    if len(runs) < 2:
        return None
    first, second = runs[-2:]
    title = f"Where {first.name} and {second.name} differ most"
    if not first.same_scale(second):
        return Section(title, [Paragraph("Their scores come from different judges and are not compared.")])
    ours, theirs = first.scores, second.scores
    apart = {i: abs(ours[i] - theirs[i]) for i in ours.keys() & theirs.keys()}
    # Smaller differences are rounding errors.
    ranked = sorted((i for i in apart if apart[i] > 1e-12), key=lambda i: (-round(apart[i], 9), i))[:SHOWN]
    if not ranked:
        return Section(title, [Paragraph("No question that both have fully judged was scored differently.")])
    left, right = _sides(first, ranked), _sides(second, ranked)
    blocks: list[Block] = [Answers([left[i], right[i]]) for i in ranked]
    return Section(title, blocks)


def _sides(run: LoadedRun, ids: Sequence[str]) -> dict[str, Side]:
    trajectories = read_trajectories(run.folder, frozenset(ids))
    records = {record.id: record for record in run.records}
    return {i: Side(run.name, records[i], trajectories.get(i)) for i in ids}
