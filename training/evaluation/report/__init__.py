"""Writes a report on runs over one data set, as an HTML page and as Markdown, from the run folders alone.

The same folders give the same bytes: the report has no date, and every bootstrap is seeded.
"""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation.loading import load_runs
from training.evaluation.report.effort import breakdown_sections, effort_section
from training.evaluation.report.examples import answers_sections, differences_section
from training.evaluation.report.formatting import plural
from training.evaluation.report.html import page
from training.evaluation.report.lamp import lamp_section
from training.evaluation.report.markdown import markdown
from training.evaluation.report.published import published_section
from training.evaluation.report.scores import (
    comparisons_section,
    lift_section,
    runs_section,
    scores_section,
)
from training.evaluation.report.searching import searching_sections

PAGE, MARKDOWN = "report.html", "report.md"


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Write `report.html` and `report.md` into `out`, which is created if missing.

    Raises ValueError, naming the folder, file or line, if a folder holds no run or is given twice, if a line
    is not a record, or if the runs are over different data.
    """
    runs = load_runs(folders)
    categories = sorted({record.category for run in runs for record in run.records})
    sections = [
        scores_section(runs, categories),
        comparisons_section(runs),
        lift_section(runs),
        *breakdown_sections(runs),
        *searching_sections(runs),
        effort_section(runs),
        published_section(runs, categories),
        lamp_section(runs),
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
