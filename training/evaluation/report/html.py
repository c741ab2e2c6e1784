"""The report as one HTML page that needs nothing else: no script, no font, no request."""

from collections.abc import Sequence

from training.evaluation.report.answer import example
from training.evaluation.report.blocks import Block, Chart, Collapsed, Example, Section, Table, Warned, Words
from training.evaluation.report.charts import PATTERNS, mark
from training.evaluation.report.elements import Html, element, joined, lines
from training.evaluation.report.style import STYLE

# Should anything ever slip through, the browser still loads and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, about: str, sections: Sequence[Section]) -> Html:
    """The whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    links = [
        element("li", element("a", section.title, href=f"#part-{number}"))
        for number, section in enumerate(sections, 1)
    ]
    parts = [_section(number, section) for number, section in enumerate(sections, 1)]
    body = element(
        "body",
        PATTERNS,
        element("header", element("h1", title), element("p", about, class_="soft")),
        element("nav", element("ul", *links)),
        element("main", *parts),
    )
    return joined([Html("<!doctype html>\n"), element("html", head, body, lang="en"), "\n"])


def _section(number: int, section: Section) -> Html:
    return element("section", element("h2", section.title), *map(_block, section.blocks), id=f"part-{number}")


def _block(block: Block) -> Html:
    match block:
        case Words(text):
            return element("p", text)
        case Warned(text):
            return element("p", f"⚠ {text}", class_="warned")
        case Table():
            return _table(block)
        case Chart(drawing, caption):
            return element("figure", drawing, element("figcaption", caption))
        case Example():
            return example(block)
        case Collapsed(summary, blocks):
            return element("details", element("summary", summary), *map(_block, blocks))


def _table(table: Table) -> Html:
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in table.head)))
    rows = []
    for place, row in enumerate(table.rows):
        series = table.marks[place] if table.marks else None
        key = Html("") if series is None else mark(series)
        name = element("th", key, _cell(row[0]), scope="row")
        rows.append(element("tr", name, *(element("td", _cell(cell)) for cell in row[1:])))
    return element("div", element("table", head, element("tbody", *rows)), class_="scroll")


def _cell(text: str) -> Html:
    first, _, rest = text.partition("\n")
    return joined([first, element("small", lines(rest)) if rest else ""])
