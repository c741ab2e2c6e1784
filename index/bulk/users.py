"""The files of many users, what an import of each has come to, and where it goes.

A user's documents are stored all together or, if one of them cannot be read, not at all; other users are
imported all the same.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from index.documents import DOCUMENT_BYTES, Document
from index.encoding.encoders import Encoder
from index.errors import InvalidDocument, InvalidName, UnreadableImport
from index.formats import FORMATS, Options, Skipped, opened_members, read, recognize
from index.profiles import Profiles
from index.storage.store import Store
from index.values import PutReport

OF_THE_USER = (InvalidDocument, InvalidName, UnreadableImport, OSError)
"""Errors that concern one user's files. Any other ends the whole import."""


@dataclass(frozen=True)
class UserFiles:
    """A file, folder or archive with the history of one user."""

    user: str
    path: Path


@dataclass(frozen=True)
class Reading:
    """How files are read, for all users alike."""

    options: Options
    form: str | None = None
    """Name of the format; None recognizes it."""
    on_error: str | None = None
    """`fail` or `skip`; None leaves out what is broken in an app's export, and fails for other files."""


@dataclass(frozen=True)
class Outcome:
    """Counts of documents of one user. With an `error`, nothing was stored."""

    user: str
    put: int = 0
    added: int = 0
    unchanged: int = 0
    replaced: int = 0
    left_out: int = 0
    """Items that were invalid, or that the format leaves out."""
    error: str = ""


@dataclass(frozen=True)
class Target:
    """A store and its encoders, described so that other processes can open them."""

    url: str
    encoder: Callable[[], Encoder]
    spaces: Mapping[str, Callable[[], Encoder]] = field(default_factory=dict)
    """Encoders of further spaces, by the space's name."""
    document_bytes: int = DOCUMENT_BYTES

    def open(self) -> Profiles:
        """Load the encoders and connect them with the store. Raises EncoderUnavailable, StoreUnavailable."""
        encoder = self.encoder()
        spaces = {name: make() for name, make in self.spaces.items()}
        manifests = {name: other.manifest for name, other in spaces.items()}
        store = Store(self.url, encoder.manifest, manifests)
        return Profiles(store, encoder, document_bytes=self.document_bytes, spaces=spaces)


class UserItems:
    """The items of one user's files, to be read once. Skipped ones are counted in `left_out`."""

    def __init__(self, files: UserFiles, reading: Reading) -> None:
        self._files = files
        self._reading = reading
        self.left_out = 0

    def __iter__(self) -> Iterator[Document | InvalidDocument]:
        """Yield documents, and invalid ones that are to be left out. Raises one of OF_THE_USER."""
        user, path = self._files.user, self._files.path
        if path.is_symlink():
            raise UnreadableImport("it is a symbolic link, and those are not followed")
        with opened_members(path) as members:
            recognition = recognize(members, FORMATS, self._reading.form)
            self.left_out += len(recognition.left_out)
            for form, source in read(recognition, members, replace(self._reading.options, user=user)):
                if source.user != user:
                    raise UnreadableImport(f"it holds the history of {source.user!r}")
                skips = (self._reading.on_error or ("skip" if form.exported else "fail")) == "skip"
                for item in source.documents:
                    if isinstance(item, Skipped):
                        self.left_out += 1
                    elif isinstance(item, InvalidDocument) and not skips:
                        raise item
                    else:
                        yield item


def users_in(folder: Path) -> list[UserFiles]:
    """Return the entries of a folder, each named after its user; a file's suffix does not count.

    Hidden entries are passed over. Raises OSError, and UnreadableImport if two have the name of one user.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    found = [UserFiles(entry.name if entry.is_dir() else entry.stem, entry) for entry in entries]
    counts = Counter(each.user for each in found)
    for user, count in counts.items():
        if count > 1:
            raise UnreadableImport(f"{folder} has {count} entries for {user!r}: put them into one folder")
    return found


def failed(files: UserFiles, error: BaseException) -> Outcome:
    """The outcome for a user whose files cannot be read."""
    where = f"line {error.line}: " if isinstance(error, InvalidDocument) and error.line else ""
    message = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return Outcome(files.user, error=f"{files.path.name}: {where}{message}")


def stored(user: str, report: PutReport, left_out: int) -> Outcome:
    """The outcome of a put."""
    changes = report.changes
    return Outcome(
        user,
        report.put,
        changes.added.count,
        changes.unchanged.count,
        changes.replaced.count,
        left_out + report.skipped_count,
    )


def total(outcomes: Sequence[Outcome]) -> Outcome:
    """Sum the counts of all users. The `user` and `error` of the sum are empty."""
    names = ("put", "added", "unchanged", "replaced", "left_out")
    return Outcome("", *(sum(getattr(outcome, name) for outcome in outcomes) for name in names))
