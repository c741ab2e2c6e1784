"""Removes the text of a deleted document from the answers that quote it.

A stored answer holds a document's text in many places: passages, quotes, the transcript, thoughts, the answer
itself, and later answers through their conversation. So the JSON values are searched, whatever their shape.
Where the document was shown, the policy may also have taken single words from it, such as a name into its
next query: there, sentences with a word that only the document can have told it go, too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from index.text.sentences import spans
from index.text.words import content_terms, terms

MARKER = "[deleted]"
"""Stands in an answer where text of a deleted document was."""
RUN = 4
"""Words in a row that make a quote. Fewer only if a whole sentence is that short."""

_BLANK: Mapping[str, Any] = {
    "text": MARKER,
    "quote": MARKER,
    "title": None,
    "source": None,
    "created_at": None,
    "start": 0,
    "end": 0,
}
"""Values of a passage or a citation of a deleted document."""
_FIXED = frozenset(
    """id user document_id created_at kind author role method retriever policy protocol prompt_version
    finish_reason fault day time_zone after before""".split()
)
"""Fields that neither people nor models write."""
_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\u0e00-\u0eff]|[^\W\u2e80-\u9fff\uac00-\ud7af\u0e00-\u0eff]+")
"""A word; in scripts that do not separate words, a character."""
_ENDS = ".!?…\"')]»”’ "
"""A mark may stand before the end of a quoted sentence."""
_SENTENCES = 200
"""Sentences of a document that are looked for in answers which do not name it."""
_MARK = re.compile(r"[\[【]\^?(\d{1,6}(?: ?, ?\d{1,6})*)")


class Deleted:
    """A deleted document, recognized by its id, its marks, and RUN of its words in a row."""

    def __init__(self, document_id: str, texts: Iterable[str] = ()) -> None:
        """`texts` are the document's; an answer's own passages of it are recognized without them."""
        self._id = document_id
        self._texts = tuple(texts)
        sentences = {
            text[start:end].rstrip(_ENDS)
            for text in self._texts
            for start, end in spans(text)
            if len(_words(text[start:end])) >= RUN
        }
        self._needles = [f'"document_id": {json.dumps(document_id)}'] + [
            json.dumps(sentence)[1:-1] for sentence in sorted(sentences, key=len)[-_SENTENCES:]
        ]

    def may_be_in(self, body: str) -> bool:
        """Whether a stored body (JSON) names the document or holds one of its longest sentences."""
        return any(needle in body for needle in self._needles)

    def removed_from(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer without the document's text and with `redacted: true`; None if it has none."""
        passages = [value for value in _objects(body) if value.get("document_id") == self._id]
        shown = [value.get("text") or value.get("quote") for value in passages]
        redactor = _Redactor(
            self._id,
            _runs([*self._texts, *(text for text in shown if text and text != MARKER)]),
            _numbers(body, self._id),
            _told(body, self._id, self._texts) if passages else frozenset(),
        )
        redacted: dict[str, Any] = redactor.value(body)
        return redacted | {"redacted": True} if redacted != body else None


class _Redactor:
    def __init__(
        self,
        document_id: str,
        runs: Mapping[int, set[tuple[str, ...]]],
        numbers: set[int],
        told: frozenset[str],
    ) -> None:
        self._id = document_id
        self._runs = runs
        self._numbers = numbers
        self._told = told

    def value(self, value: Any) -> Any:
        match value:
            case str():
                return self._text(value)
            case list():
                return [self.value(item) for item in value]
            case dict():
                return self._object(value)
        return value

    def _object(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if value.get("document_id") == self._id:
            return {name: _BLANK.get(name, item) for name, item in value.items()}
        changed = {name: item if name in _FIXED else self.value(item) for name, item in value.items()}
        if "token_ids" in value and changed.get("text") != value.get("text"):
            changed["token_ids"] = None  # They spell the text.
        return changed

    def _text(self, text: str) -> str:
        """Replace each sentence that has a mark of the document, one of its runs, or a word that it told."""
        cut = [*self._quoted(text), *self._marked(text), *self._telling(text)]
        if not cut:
            return text
        cut.sort()
        pieces: list[str] = []
        at, end = 0, 0
        for start, stop in spans(text):
            while at < len(cut) and cut[at][1] <= start:
                at += 1
            # A run may reach over several sentences, so it is not passed when one of them is done.
            if at == len(cut) or cut[at][0] >= stop:
                continue
            gap = text[end:start]
            pieces += [gap, MARKER] if gap.strip() or not end else []
            end = stop
        return "".join([*pieces, text[end:]])

    def _quoted(self, text: str) -> Iterator[tuple[int, int]]:
        found = list(_WORD.finditer(text))
        words = [match.group().casefold() for match in found]
        for length, runs in self._runs.items():
            for i in range(len(words) - length + 1):
                if tuple(words[i : i + length]) in runs:
                    yield found[i].start(), found[i + length - 1].end()

    def _telling(self, text: str) -> Iterator[tuple[int, int]]:
        if self._told:
            for start, end in spans(text):
                if not self._told.isdisjoint(terms(text[start:end])):
                    yield start, end

    def _marked(self, text: str) -> Iterator[tuple[int, int]]:
        for match in _MARK.finditer(text):
            if self._numbers.intersection(map(int, match.group(1).split(","))):
                # A mark behind the end of a sentence belongs to it.
                start = match.start()
                while start and text[start - 1] in " \t":
                    start -= 1
                yield max(start - 1, 0) if text[start - 1 : start] != "\n" else match.start(), match.end()


def document_ids(body: Any) -> set[str]:
    """Return the ids of the documents that an answer shows or cites."""
    return {value["document_id"] for value in _objects(body) if isinstance(value.get("document_id"), str)}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    match value:
        case list():
            for item in value:
                yield from _objects(item)
        case dict():
            yield value
            for item in value.values():
                yield from _objects(item)


def _numbers(body: Mapping[str, Any], document_id: str) -> set[int]:
    """Numbers by which the answer cites the document: of its citations, and of the passages shown."""
    found = set()
    for value in _objects(body):
        passage = value.get("passage")
        named = passage if isinstance(passage, dict) else value
        if isinstance(value.get("number"), int) and named.get("document_id") == document_id:
            found.add(value["number"])
    return found


def _told(body: Mapping[str, Any], document_id: str, texts: Iterable[str]) -> frozenset[str]:
    """Terms of the document that neither the prompt, the question nor another passage has."""
    own: set[str | None] = set(texts)
    others: set[str | None] = {body.get("question")}
    for value in _objects(body):
        of = own if value.get("document_id") == document_id else others if "document_id" in value else None
        if of is not None:
            of.update((value.get("text"), value.get("quote"), value.get("title")))
        for segment in (value.get("segments") or ())[:1]:
            others.add(segment.get("text"))
    known = {term for text in others if text for term in terms(text)}
    return frozenset(term for text in own if text and text != MARKER for term in content_terms(text)) - known


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _runs(texts: Iterable[str]) -> dict[int, set[tuple[str, ...]]]:
    """All runs of RUN words, and shorter sentences as a whole, by length. One word only if it is all."""
    runs: dict[int, set[tuple[str, ...]]] = {}
    for text in texts:
        words = _words(text)
        length = min(RUN, len(words))
        found = {tuple(words[i : i + length]) for i in range(len(words) - length + 1)} if length else set()
        runs.setdefault(length, set()).update(found)
        for start, end in spans(text):
            sentence = tuple(_words(text[start:end]))
            if 1 < len(sentence) < RUN:
                runs.setdefault(len(sentence), set()).add(sentence)
    return {length: found for length, found in runs.items() if found}
