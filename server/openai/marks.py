"""The marks of an answer: which are shown while it grows, and the lines that they cite."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from agent.citations import MARK, PARTIAL_MARK, resolve
from agent.trajectory import Information, Read
from server.answers import AnswerRecord


class Marks:
    """Removes the marks that cite nothing from a growing answer, as `citations.resolve` does at its end.

    The output so far is always a prefix of the final text. Only text that may still become a mark is held
    back, and white space that may turn out to be trailing.
    """

    def __init__(self) -> None:
        self._reads: dict[int, tuple[Read, int]] = {}
        self._undecided = ""
        self._space = ""
        self._begun = False

    def know(self, passages: Iterable[Read]) -> None:
        """Register passages that can be cited from now on."""
        self._reads |= {read.number: (read, 0) for read in passages}

    def feed(self, text: str) -> str:
        """Take the next piece of the raw answer. Returns the next piece of the final one."""
        self._undecided += text
        end = PARTIAL_MARK.search(self._undecided)
        cut = end.start() if end else 0
        # Between two bars, because resolve() trims both ends, and these are not the answer's.
        text = resolve(f"|{self._undecided[:cut]}|", self._reads)[0][1:-1]
        self._undecided = self._undecided[cut:]
        text = self._space + text if self._begun else text.lstrip()
        shown = text.rstrip()
        self._space = text[len(shown) :]
        self._begun = self._begun or bool(shown)
        return shown


def url_citations(record: AnswerRecord, base_url: str) -> list[dict[str, Any]]:
    """One citation for each number in each mark of the answer: the mark's position and the cited line."""
    answer, steps = record.trajectory.answer, record.trajectory.steps
    known = {read.number: read for step in steps if isinstance(step, Information) for read in step.passages}
    places: list[tuple[int, int]] = []
    reads: dict[int, tuple[Read, int]] = {}

    def renumber(mark: re.Match[str]) -> str:
        first = len(places)
        for number in map(int, mark[1].split(",")):
            if number in known:
                reads[len(places)] = (known[number], 0)
            places.append((mark.start(1) - 1, mark.end()))
        return f"{mark[0].partition('[')[0]}[{','.join(map(str, range(first, len(places))))}]"

    # The answer's own citations list a line once, however often it is cited. Resolving again with a unique
    # number for each mark gives every mark its line.
    cited = resolve(MARK.sub(renumber, answer.text), reads)[1] if answer else ()
    documents = f"{base_url.rstrip('/')}/v1/users/{quote(record.user, safe='')}/documents/"
    return [
        {
            "start_index": places[citation.number][0],
            "end_index": places[citation.number][1],
            "title": reads[citation.number][0].passage.title or citation.document_id,
            "url": documents + quote(citation.document_id, safe=""),
            "document_id": citation.document_id,
            "quote": citation.quote,
        }
        for citation in cited
    ]
