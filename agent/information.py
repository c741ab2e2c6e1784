"""Information blocks: passages as the transcript shows them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from agent.prompts import NOT_SEARCHED, NOTHING_FOUND
from agent.tags import escape
from agent.trajectory import Read
from index.documents import Passage
from index.values import Notice


@dataclass
class InformationBlock:
    """An information block of the transcript, whose lines can be removed."""

    segment: int
    """Index of the block's segment in the transcript."""
    lines: list[str]
    empty: str
    """Shown if there are no lines."""
    asks: str
    """The request to answer now; '' while the policy may search again."""
    notices: tuple[str, ...] = ()
    """Lines about the days of the search, before the passages."""

    @property
    def body(self) -> str:
        """The lines between the tags."""
        asks = [self.asks] if self.asks else []
        return "\n".join([*self.notices, *(self.lines or [self.empty]), *asks])

    @property
    def text(self) -> str:
        """The block in the transcript, with its tags."""
        return f"\n<information>\n{self.body}\n</information>\n"


def information_block(
    segment: int, reads: Iterable[Read], notices: Iterable[Notice], problem: str, asks: str
) -> InformationBlock:
    """The block for a search, or for one that was not made because of a `problem`."""
    empty = f"{NOT_SEARCHED} {escape(problem)}." if problem else NOTHING_FOUND
    lines, told = [passage_line(read) for read in reads], tuple(map(notice_line, notices))
    return InformationBlock(segment, lines, empty, asks, told)


def unread(passages: Iterable[Passage], reads: Collection[Read], max_documents: int) -> list[Read]:
    """The passages to show after `reads`, numbered: none is shown twice, and `max_documents` is kept."""
    keys = {read.passage.key for read in reads}
    documents = {read.passage.document_id for read in reads}
    new: list[Read] = []
    for passage in passages:
        affordable = len(documents) < max_documents or passage.document_id in documents
        if affordable and passage.key not in keys:
            new.append(Read(len(reads) + len(new) + 1, passage))
            keys.add(passage.key)
            documents.add(passage.document_id)
    return new


def notice_line(notice: Notice) -> str:
    """The sentence that tells the policy of days without anything, or of one that does not exist."""
    if notice.kind == "impossible":
        return f'"{escape(" ".join(notice.said.split()))}" names no day that exists.'
    first, last = notice.after, notice.last
    if first and last:
        days = f"{first}" if first == last else f"between {first} and {last}"
    else:
        days = f"{first} or later" if first else f"{last} or earlier"
    return f"Nothing in this history is dated {days}."


def passage_line(read: Read) -> str:
    """`[n] (date) title: text`, escaped, with later lines indented so that none looks like a passage.

    A passage that stands for several with its text says how many: `[n] (date) (30 times) title: text`.
    """
    passage = read.passage
    head = f"[{read.number}]"
    if passage.created_at:
        head += f" ({passage.created_at[:10]})"
    if passage.copies > 1:
        head += f" ({passage.copies} times)"
    if passage.title:
        head += f" {escape(' '.join(passage.title.split()))}:"
    return head + " " + "\n    ".join(escape(passage.text).splitlines())
