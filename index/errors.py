"""What can go wrong in index/.

ProfileError
├── InvalidName          a user or document id that the one rule for names refuses
├── InvalidDocument      a document that does not fit the schema
├── NotFound
│   ├── UnknownUser
│   └── UnknownDocument
├── EncoderMismatch      a store that was made with another encoder
├── SchemaMismatch       a store whose tables this program does not know
├── EncoderUnavailable   weights that are missing, or not the ones that were expected
├── UnknownRetriever
└── StoreUnavailable     the database cannot be read or written now
"""


class ProfileError(Exception):
    """Anything that this package refuses or cannot do."""


class InvalidName(ProfileError, ValueError):
    """A user or document id is not acceptable."""


class InvalidDocument(ProfileError, ValueError):
    """A document does not fit the schema. `line` counts from 1 in the input that held it."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class NotFound(ProfileError):
    """Something that was asked for by name does not exist."""


class UnknownUser(NotFound):
    """Nothing is stored for this user."""


class UnknownDocument(NotFound):
    """The user has no such document."""


class EncoderMismatch(ProfileError):
    """The store's vectors were made by another encoder."""


class SchemaMismatch(ProfileError):
    """The store's tables are of a revision that this program does not know."""


class EncoderUnavailable(ProfileError):
    """An encoder's weights cannot be loaded, or are not what they should be."""


class UnknownRetriever(ProfileError, ValueError):
    """No retriever has this name."""


class StoreUnavailable(ProfileError):
    """The database cannot be read or written now; nothing was half-written."""
