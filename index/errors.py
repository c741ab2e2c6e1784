"""Exceptions of index/.

ProfileError
├── InvalidName          a user or document id that breaks the rule for names, or a name that is taken
├── InvalidPeriod        days that a search cannot be limited to
├── InvalidDocument      a document that does not fit the schema
├── UnreadableImport     a file or archive that cannot be imported
├── Abandoned            an import that was stopped
├── WorkerLost           a process of a bulk import that was killed, or a cluster that is not there
├── WouldReplace         stored documents that a put may not replace
├── NotFound
│   ├── UnknownUser
│   ├── UnknownDocument
│   └── UnknownSpace
├── EncoderMismatch      a store, or a space of it, made with another encoder
├── SpaceUnavailable     a space that the store has no vectors of yet
├── SchemaMismatch       a store whose schema this program does not support
├── EncoderUnavailable   weights that are missing or not the expected ones
├── UnknownRetriever
├── UnusableRanker       a ranker file that does not fit the ranking's signals
├── StoreDamaged         acknowledged writes that would be lost by opening the store
├── NotCopied            a copy of the store was not made, or is not what was written
└── StoreUnavailable     the database cannot be read or written now
    ├── StoreFull        the disk is full
    └── StoreCorrupted   the database finds its own files damaged
"""


class ProfileError(Exception):
    """Base class of everything that this package refuses or cannot do."""


class InvalidName(ProfileError, ValueError):
    """A user or document id breaks the rule for names, or the name of a retriever is taken."""


class InvalidPeriod(ProfileError, ValueError):
    """The days that a search is to be limited to do not exist, or the time zone does not."""


class InvalidDocument(ProfileError, ValueError):
    """A document does not fit the schema. `line` counts from 1 in the input."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class UnreadableImport(ProfileError, ValueError):
    """A file, folder or archive cannot be imported; the message says why and how it can be."""


class Abandoned(ProfileError):
    """An import was stopped before its end. Nothing was stored."""


class WorkerLost(ProfileError):
    """A process of a bulk import was killed, or its cluster cannot be reached. Users are stored whole or not
    at all."""


class WouldReplace(ProfileError):
    """Documents with other contents are stored under the same ids, and were not to be replaced."""


class NotFound(ProfileError):
    """Something requested by name does not exist."""


class UnknownUser(NotFound):
    """Nothing is stored for this user."""


class UnknownDocument(NotFound):
    """The user has no such document."""


class UnknownSpace(NotFound):
    """The store has no embedding space of this name; the message lists those it has."""


class EncoderMismatch(ProfileError):
    """The store's vectors were made by another encoder."""


class SpaceUnavailable(ProfileError):
    """The store has no vectors of this embedding space yet; the message names the command that makes them."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the store has no vectors of the space {name!r} yet; make them with: "
            f"pr2 profile reembed --space {name}=ENCODER"
        )


class SchemaMismatch(ProfileError):
    """The store's schema is newer than this program, or unknown to it."""


class EncoderUnavailable(ProfileError):
    """An encoder's weights cannot be loaded, or are not the expected ones."""


class UnknownRetriever(ProfileError, ValueError):
    """No retriever has this name."""


class UnusableRanker(ProfileError, ValueError):
    """A ranker file cannot be read, or its weights are not those of the ranking's signals."""


class StoreUnavailable(ProfileError):
    """The database cannot be read or written now. A failed write has changed nothing."""


class StoreFull(StoreUnavailable):
    """The disk is full. The write has changed nothing; deletions may still be possible."""


class StoreDamaged(ProfileError):
    """The store's log is damaged: SQLite would drop writes that were acknowledged. Nothing was opened."""


class StoreCorrupted(StoreUnavailable):
    """The database finds its own files damaged. The message names them."""


class NotCopied(ProfileError):
    """A store was not copied: the other place has one already, or the copy differs from what was written."""
