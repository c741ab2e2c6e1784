"""LaMP-QA's published scores, shown beside ours and never mixed with them.

Source: Salemi & Zamani, LaMP-QA, arXiv 2506.00137 (test table and validation averages), as this project
transcribed them. Unknown values are None; nothing here is estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.evaluation.loading import LoadedRun
from training.evaluation.report.blocks import Collapsed, Paragraph, Section, Table
from training.evaluation.report.figures import RunScores, run_scores
from training.evaluation.report.formatting import NONE, number
from training.evaluation.report.scores import fact

SOURCE = "LaMP-QA, arXiv 2506.00137"
JUDGE = "Qwen2.5-32B-Instruct"
"""The judge behind every published score."""
CATEGORIES = ("Art", "Lifestyle", "Society")
"""The first words of the categories' names, in the order of `Published.categories`."""


@dataclass(frozen=True)
class Published:
    """One published row: the backbone that answered, the method, and its scores from 0 to 1."""

    split: Literal["test", "validation"]
    backbone: str
    method: str
    categories: tuple[float, float, float] | None
    """Art, lifestyle, society."""
    macro: float


PUBLISHED = (
    Published("test", "Gemma-2 9B", "none", (0.1860, 0.3858, 0.4094), 0.3270),
    Published("test", "Gemma-2 9B", "RAG, random user", None, 0.2811),
    Published("test", "Gemma-2 9B", "RAG", (0.2929, 0.4232, 0.4834), 0.3998),
    Published("test", "Gemma-2 9B", "PlanPers", (0.3548, 0.4671, 0.5481), 0.4566),
    Published("test", "Qwen2.5 7B", "none", (0.3129, 0.4582, 0.4769), 0.416),
    Published("test", "Qwen2.5 7B", "RAG, random user", None, 0.3471),
    Published("test", "Qwen2.5 7B", "RAG", (0.3397, 0.4481, 0.4967), 0.4281),
    Published("test", "Qwen2.5 7B", "PlanPers", (0.3518, 0.4818, 0.5240), 0.4525),
    Published("test", "GPT-4o-mini", "none", (0.3713, 0.5112, 0.5218), 0.4681),
    Published("test", "GPT-4o-mini", "RAG, random user", None, 0.3743),
    Published("test", "GPT-4o-mini", "RAG", (0.3931, 0.4884, 0.5310), 0.4708),
    Published("test", "GPT-4o-mini", "PlanPers", (0.4490, 0.5442, 0.6084), 0.5338),
    Published("validation", "Gemma-2 9B", "none", None, 0.3290),
    Published("validation", "Gemma-2 9B", "RAG", None, 0.4198),
    Published("validation", "Gemma-2 9B", "PlanPers", None, 0.4677),
    Published("validation", "Qwen2.5 7B", "none", None, 0.4224),
    Published("validation", "Qwen2.5 7B", "RAG", None, 0.4470),
    Published("validation", "Qwen2.5 7B", "PlanPers", None, 0.4707),
    Published("validation", "GPT-4o-mini", "none", None, 0.4723),
    Published("validation", "GPT-4o-mini", "RAG", None, 0.4832),
    Published("validation", "GPT-4o-mini", "PlanPers", None, 0.5452),
)


def published_section(runs: Sequence[LoadedRun], categories: Sequence[str]) -> Section | None:
    """Show LaMP-QA's numbers beside ours if they are comparable, else collapsed, with the reason.

    None for runs that are not scored by rubrics.
    """
    if not any(run.has_rubrics for run in runs):
        return None
    why = _why_not(runs)
    theirs = [
        [
            f"published: {line.method}",
            f"{line.backbone}\n{line.split} split",
            *(map(number, line.categories) if line.categories else [NONE] * len(CATEGORIES)),
            number(line.macro),
        ]
        for line in PUBLISHED
    ]
    source = f"Source: {SOURCE}, judged by {JUDGE}. {NONE}: not known."
    head = ["Run", "Answered by", *CATEGORIES, "Macro average"]
    title = "LaMP-QA's published scores"
    if why:
        apart = f"Shown apart, because {' and '.join(why)}."
        shown = Collapsed(apart, [Table(head, theirs), Paragraph(source)])
        return Section(title, [Paragraph("They cannot be compared with the scores of this report."), shown])
    ours = [_beside(run, run_scores(run, categories), categories) for run in runs]
    return Section(
        title, [Paragraph(f"{source} The other lines are this report's."), Table(head, [*ours, *theirs])]
    )


def _beside(run: LoadedRun, scores: RunScores, categories: Sequence[str]) -> list[str]:
    by_word = {name.casefold(): scores.categories[name].score for name in categories}
    cells = [
        next((number(score) for name, score in by_word.items() if name.startswith(word.casefold())), NONE)
        for word in CATEGORIES
    ]
    return [f"ours: {run.name}", fact(run.manifest.get("policy")), *cells, number(scores.macro.score)]


def _why_not(runs: Sequence[LoadedRun]) -> list[str]:
    judges = dict.fromkeys(run.judge for run in runs if not run.comparable)
    why = [f"the {judge} judge is not the kind that they were made with" for judge in judges]
    # The sample and data of one's own share schema and categories with LaMP-QA: only the name differs.
    if "lampqa" not in "".join(filter(str.isalnum, runs[0].dataset.casefold())):
        why.append(f"this report's data set ({runs[0].dataset}) is not LaMP-QA's")
    return why
