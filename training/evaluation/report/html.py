"""The report as one HTML page without scripts, fonts or requests.

Templates escape whatever they print, so that no text of a person or a model becomes markup.
"""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from training.evaluation.report.blocks import Section
from training.evaluation.report.charts import mark
from training.evaluation.report.formatting import plural, printable, score_text, spaced

_TEMPLATES = Environment(
    loader=PackageLoader(__package__),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {"plural": plural, "score_text": score_text, "spaced": spaced}
_TEMPLATES.filters["kind"] = lambda block: type(block).__name__
_TEMPLATES.globals["mark"] = mark


def page(title: str, about: str, sections: Sequence[Section]) -> str:
    """Render the whole page."""
    template = _TEMPLATES.get_template("page.html")
    return printable(template.render(title=title, about=about, sections=sections))
