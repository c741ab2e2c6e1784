"""Tells first of all which numbers are missing, and what the others rest on."""

from collections.abc import Sequence

from training.evaluation.exhibits.groups import COLUMNS, POOL, RSPG, WITHOUT, Group
from training.evaluation.exhibits.pools import PoolFile
from training.evaluation.report.blocks import Block, Caution, Paragraph, Section, Table
from training.evaluation.report.scores import fact

_NEEDS = {
    "Table 3 and the gains": COLUMNS,
    "Figure 3": POOL,
    "Table 5": (*POOL, *RSPG, *WITHOUT),
}


def status_section(groups: Sequence[Group], pools: Sequence[PoolFile]) -> Section:
    """The runs that were given, those that are missing, and cautions about their comparison."""
    rows, missing = [], []
    for group in groups:
        rows += [[group.name, column, str(group.runs[column].folder)] for column in group.columns]
        for exhibit, needed in _NEEDS.items():
            if absent := [name for name in needed if name not in group.runs]:
                missing.append([group.name, exhibit, ", ".join(absent)])
        if not any(pool.hash == group.hash for pool in pools):
            missing.append([group.name, "Table 4", "a file of pr2 evaluate pool --json over these questions"])
    blocks: list[Block] = [Caution(text) for group in groups for text in _cautions(group)]
    encoders = dict.fromkeys(
        fact(group.runs["Dense"].manifest.get("encoder")) for group in groups if "Dense" in group.runs
    )
    if encoders:
        blocks.append(
            Paragraph(f"Dense stands in the place of the paper's Contriever: {'; '.join(encoders)}.")
        )
    if missing:
        blocks += [
            Paragraph("Not given, so that their places are empty:"),
            Table(["Data", "Exhibit", "Missing"], missing),
        ]
    return Section("The runs", [*blocks, Table(["Data", "Column", "Run"], rows)])


def _cautions(group: Group) -> list[str]:
    texts = []
    if group.differences:
        texts.append(
            f"{group.name}: the runs differ in more than the retriever: {', '.join(group.differences)}."
        )
    for column, run in group.runs.items():
        if not run.manifest.get("finished") or len(run.records) < run.questions:
            texts.append(
                f"{group.name}, {column}: not finished, {len(run.records)} of {run.questions} questions."
            )
        if run.judge and not run.comparable:
            texts.append(
                f"{group.name}, {column}: {run.judge} judge, not comparable with scores of an LLM judge."
            )
    return texts
