"""Writes the exhibits of arXiv 2404.05970 from finished runs, as an HTML page and as Markdown.

The paper's tables compare ways to choose passages for the same LLM: no profile, retrievers, retrievers
trained on the LLM's outputs (ROPG), and a choice among them for each question (RSPG). A run that an exhibit
needs and that is not given is named; its place stays empty.
"""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation.exhibits.groups import load_groups
from training.evaluation.exhibits.pools import load_pools, pool_section, success_section, wins_section
from training.evaluation.exhibits.scores import gains_section, lengths_section, scores_section
from training.evaluation.exhibits.status import status_section
from training.evaluation.report.formatting import plural
from training.evaluation.report.html import page
from training.evaluation.report.markdown import markdown

PAGE, MARKDOWN = "exhibits.html", "exhibits.md"


def write_exhibits(folders: Sequence[Path], out: Path, pools: Sequence[Path] = ()) -> None:
    """Write `exhibits.html` and `exhibits.md` into `out`, which is created if missing.

    `pools` are files of `pr2 evaluate pool --json`. Raises ValueError, naming the folder or file, if one
    cannot be read, if two runs over the same data take the same place, or if they were judged differently.
    """
    groups = load_groups(folders)
    compared = load_pools(pools)
    sections = [
        status_section(groups, compared),
        lengths_section(groups),
        scores_section(groups),
        gains_section(groups),
        wins_section(groups),
        success_section(groups, compared),
        pool_section(groups),
    ]
    title = "Choosing passages: the exhibits of arXiv 2404.05970"
    count = sum(len(group.runs) for group in groups)
    about = f"{plural(count, 'run')} over {plural(len(groups), 'data set')}."
    out.mkdir(parents=True, exist_ok=True)
    for name, text in ((PAGE, page(title, about, sections)), (MARKDOWN, markdown(title, about, sections))):
        (out / name).write_text(text, "utf-8", newline="\n")
