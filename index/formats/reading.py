"""Makes a format's `sources` of a reader of single files."""

from collections.abc import Callable, Iterator, Sequence

from index.documents import Document
from index.errors import InvalidDocument, UnreadableImport
from index.formats.members import Member
from index.formats.source import Items, Options, Skipped, Source, Sources

Reader = Callable[[Member, Options], Iterator[Document | InvalidDocument] | Items]


def each(read_one: Reader, counts_lines: bool = False) -> Sources:
    """Make the `sources` of a format whose files are read one by one, all for the same user.

    With `counts_lines`, the number of a file's lines is an upper bound of its documents.
    """

    def sources(members: Sequence[Member], options: Options) -> list[Source]:
        total = _line_count(members) if counts_lines else None
        return [Source(options.user, items(members, options), total)]

    def items(members: Sequence[Member], options: Options) -> Items:
        for member in members:
            try:
                yield from located(member.name if len(members) > 1 else "", read_one(member, options))
            except UnreadableImport as error:  # An extra is missing.
                if member.alone:
                    raise
                yield Skipped(str(error), member.name)

    return sources


def _line_count(members: Sequence[Member]) -> int | None:
    try:
        return sum(member.line_count() for member in members)
    except InvalidDocument:
        return None  # The reader reports the damage where it is.


def located(name: str, items: Items) -> Iterator[Document | InvalidDocument | Skipped]:
    """Yield the items, faults after the name of their file; what makes the file unreadable is a fault,
    too."""
    try:
        for item in items:
            yield _in_file(name, item) if isinstance(item, InvalidDocument) else item
    except InvalidDocument as error:
        if not name:
            raise
        yield _in_file(name, error)


def _in_file(name: str, error: InvalidDocument) -> InvalidDocument:
    return InvalidDocument(f"{name}: {error}", error.line) if name else error
