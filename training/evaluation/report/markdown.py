"""The report as Markdown: every number of the page, with shortened answers and without charts."""

import re
from collections.abc import Sequence

from training.evaluation.report.blocks import (
    Answers,
    Block,
    Caution,
    Chart,
    Collapsed,
    Paragraph,
    Section,
    Table,
)
from training.evaluation.report.formatting import printable, score_text, spaced

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~$])")
_LETTERS = 280
"""Longest question or answer; the page has the full text."""


def markdown(title: str, about: str, sections: Sequence[Section]) -> str:
    """Render the whole document."""
    parts = [f"# {escaped(title)}", escaped(about)]
    for section in sections:
        parts.append(f"## {escaped(section.title)}")
        parts.extend(text for block in section.blocks if (text := _block(block)))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Put `text` on one line and escape what Markdown, or HTML within Markdown, would interpret."""
    one_line = " ".join(printable(text).split())
    whole = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    marked = _SPECIAL.sub(r"\\\1", whole)
    # Some readers turn bare URLs into links, and text that begins like a list into a list.
    return re.sub(r"^(\d*)([-+=.])(?=\s|$)", r"\1\\\2", marked.replace("://", ":&#47;&#47;"))


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return escaped(text)
        case Caution(text):
            return f"> **{escaped(text)}**"
        case Table():
            return _table(block)
        case Chart():
            return ""
        case Answers():
            return _answers(block)
        case Collapsed(summary, blocks):
            return "\n\n".join([escaped(summary), *filter(None, map(_block, blocks))])


def _table(table: Table) -> str:
    rows = [table.head, ["---"] * len(table.head), *table.rows]
    return "\n".join(
        "| " + " | ".join("<br>".join(_cell(line) for line in cell.split("\n")) for cell in row) + " |"
        for row in rows
    )


def _cell(text: str) -> str:
    # A list cannot begin in a cell, so numbers and intervals need no escaping.
    return text if re.fullmatch(r"[-+–\d.,\[\] ]*", text) else escaped(text)


def _answers(block: Answers) -> str:
    question = block.sides[0].record
    where = f"{spaced(question.category)}, {question.id}"
    lines = [f"- {escaped(_short(question.question))} ({escaped(where)})"]
    for side in block.sides:
        answer = escaped(_short(side.record.response)) or "no answer"
        lines.append(f"    - **{escaped(side.run)}, {score_text(side.record)}**: {answer}")
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
