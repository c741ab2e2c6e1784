"""Finds the formats of an import's files by their content, and reads them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from index.documents import Document
from index.errors import InvalidDocument, UnreadableImport
from index.formats.kinds import advice, seems_to_be
from index.formats.members import Member, Members
from index.formats.source import Beginning, Format, Items, Options, Skipped, Source

BEGINNING = 2**16
"""Bytes of a file by which it is recognized."""
_TEXTS = ("text", "JSON", "XML")
"""Kinds of unknown files that a named format may read."""


@dataclass(frozen=True)
class Claim:
    """The files of an import that one format reads."""

    form: Format
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Recognition:
    """Everything that an import will read, and what it will not."""

    claims: tuple[Claim, ...]
    left_out: tuple[Skipped, ...] = ()


def recognize(members: Members, formats: Mapping[str, Format], name: str | None = None) -> Recognition:
    """Find the format of each file, or read all of them in the format `name`.

    In a folder or an archive, files that no format recognizes are left out. With `name`, a single file is
    read in that format whatever it holds; in a folder or an archive, the files that are recognized as this
    format or, if none is, all text files. Raises UnreadableImport, saying what the files seem to be, if there
    is nothing to read.
    """
    if members.single and name is not None:
        return Recognition((Claim(formats[name], members.members),))
    candidates = formats if name is None else {name: formats[name]}
    claimed: dict[str, list[Member]] = {}
    unknown: list[tuple[Member, str]] = []
    left_out = list(members.left_out)
    for member in members.members:
        try:
            beginning = Beginning(member.name, member.beginning(BEGINNING), member.size)
        except InvalidDocument as error:
            left_out.append(Skipped(str(error), member.name))
            continue
        if found := _recognized(beginning, candidates, members.single):
            claimed.setdefault(found.name, []).append(member)
        else:
            unknown.append((member, seems_to_be(beginning)))
    if name is not None and not claimed and (texts := [member for member, kind in unknown if kind in _TEXTS]):
        claimed[name] = texts
        unknown = [(member, kind) for member, kind in unknown if kind not in _TEXTS]
    left_out += [
        Skipped(_with_advice(f"not imported: {kind}", kind), member.name) for member, kind in unknown
    ]
    left_out += _without_copies(claimed, formats)
    if not claimed:
        raise UnreadableImport(_unknown(members, left_out))
    # In the order of the registry, whatever the files are called.
    claims = [Claim(form, tuple(claimed[form.name])) for form in formats.values() if form.name in claimed]
    return Recognition(tuple(claims), tuple(left_out))


def _without_copies(claimed: dict[str, list[Member]], formats: Mapping[str, Format]) -> list[Skipped]:
    """Leave out the files that repeat what a file beside them, in the app's own format, has already."""
    copied = {
        (member.name.rpartition("/")[0], copy): formats[name].title
        for name, members in claimed.items()
        for member in members
        for copy in formats[name].copies
    }
    left_out = []
    for name, members in list(claimed.items()):
        kept = []
        for member in members:
            folder, _, file = member.name.rpartition("/")
            if title := copied.get((folder, file)):
                left_out.append(Skipped(f"a copy of the {title} beside it", member.name))
            else:
                kept.append(member)
        claimed[name] = kept
        if not kept:
            del claimed[name]
    return left_out


def _recognized(beginning: Beginning, formats: Mapping[str, Format], single: bool) -> Format | None:
    for known in formats.values():
        if known.recognizes(beginning):
            return known
    if not single:
        return None
    for known in formats.values():
        if known.suffix and beginning.name.endswith(known.suffix):
            return known
    if seems_to_be(beginning) not in ("JSON", "text", "an empty file"):
        return None
    # A file without a word in it is a file without documents.
    first = beginning.text.strip()[:1] or "{"
    return next((known for known in formats.values() if known.first == first), None)


def _unknown(members: Members, left_out: Sequence[Skipped]) -> str:
    if not members.single or not left_out:
        reasons = sorted({skipped.reason for skipped in left_out})
        held = f"its files are left out: {'; '.join(reasons[:5])}" if reasons else "it is empty"
        return f"{members.name} holds nothing that can be imported: {held}"
    kind = left_out[-1].reason.removeprefix("not imported: ")
    return f"cannot tell the format of {members.name}: it seems to be {kind}"


def _with_advice(text: str, kind: str) -> str:
    return "; ".join(filter(None, (text, advice(kind))))


def read(recognition: Recognition, members: Members, options: Options) -> list[tuple[Format, Source]]:
    """Return the documents of all claims, one source for each format and user, to be read in this order.

    A file that changes on disk while it is read gives an InvalidDocument at the end. Raises InvalidDocument
    if files as a whole cannot be read, and UnreadableImport for a zip bomb.
    """
    members.check(member for claim in recognition.claims for member in claim.members)
    found = [
        (claim.form, source)
        for claim in recognition.claims
        for source in claim.form.sources(claim.members, options)
    ]
    if found:
        form, last = found[-1]
        found[-1] = form, Source(last.user, _then_compared(last.documents, members), last.total)
    return found


def _then_compared(documents: Iterable[Document | InvalidDocument | Skipped], members: Members) -> Items:
    yield from documents
    for name in members.changed():
        yield InvalidDocument(f"{name} changed while it was read: import it again for what was added")
