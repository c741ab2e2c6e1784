"""The report of runs over one data set: a page to look at and Markdown to paste, made from the run folders.

The same folders give the same bytes: there is no date in it, and every bootstrap has its seed.
"""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation.loading import load_runs
from training.evaluation.report.effort import breakdown_sections, effort_section
from training.evaluation.report.examples import answers_sections, differences_section
from training.evaluation.report.formatting import plural
from training.evaluation.report.html import page
from training.evaluation.report.markdown import markdown
from training.evaluation.report.published import published_section
from training.evaluation.report.scores import (
    comparisons_section,
    lift_section,
    runs_section,
    scores_section,
)

PAGE, MARKDOWN = "report.html", "report.md"


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Write `report.html` and `report.md` into `out`, which is made where it is missing.

    Raises ValueError, naming folder, file or line: for a folder that holds no run or is given twice, for a
    line that is no record, and for runs over different data.
    """
    runs = load_runs(folders)
    categories = sorted({record.category for run in runs for record in run.records})
    sections = [
        scores_section(runs, categories),
        comparisons_section(runs),
        lift_section(runs),
        *breakdown_sections(runs),
        effort_section(runs),
        published_section(runs, categories),
        *answers_sections(runs, categories),
        differences_section(runs),
        runs_section(runs),
    ]
    shown = [section for section in sections if section is not None]
    title = f"Personalized answers on {runs[0].dataset}"
    about = f"{plural(len(runs), 'run')}: {', '.join(run.name for run in runs)}."
    out.mkdir(parents=True, exist_ok=True)
    for name, text in ((PAGE, page(title, about, shown)), (MARKDOWN, markdown(title, about, shown))):
        (out / name).write_text(text, "utf-8", newline="\n")
