"""Documents, their validation, and the wording of validation errors."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from index.dates import iso as iso
from index.dates import read_date
from index.errors import InvalidDocument
from index.values import NAME_RULE as NAME_RULE
from index.values import NAME_SCHEMA, PutItems
from index.values import Passage as Passage
from index.values import check_name as check_name

DOCUMENT_BYTES = 4 * 2**20
"""Default of the largest size of a document."""
TEXT_CHARACTERS = 1_000_000
LABEL_CHARACTERS = 2_000
NAMED_FAULTS = 10
"""Faults of one document that an error names."""
_SHOWN = 100
"""Characters of a field's name that an error shows."""


def check_storable(text: str) -> str:
    """Return `text` if every database and wire format can carry it. Raises ValueError."""
    try:
        # Finds halves of surrogate pairs far faster than a loop over the characters.
        text.encode()
    except UnicodeEncodeError:
        storable = False
    else:
        storable = "\0" not in text
    if not storable:
        raise ValueError("holds a character that is not text (NUL or half of a surrogate pair)")
    return text


def not_blank(text: str) -> str:
    """Return `text` unless it is only white space. Raises ValueError."""
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def number_as_text(value: Any) -> Any:
    """Convert a whole number to its digits; return any other value unchanged."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_json(value: JsonValue) -> JsonValue:
    match value:
        case str():
            check_storable(value)
        case float() if not math.isfinite(value):
            raise ValueError("holds a number that JSON cannot represent (NaN or infinity)")
        case list():
            for item in value:
                _check_json(item)
        case dict():
            for key, item in value.items():
                check_storable(key)
                _check_json(item)
    return value


Name = Annotated[
    str,
    BeforeValidator(number_as_text),
    AfterValidator(check_name),
    WithJsonSchema({**NAME_SCHEMA, "description": f"An id: {NAME_RULE}."}),
]
"""A user or document id. A whole number is converted to its digits."""
Text = Annotated[str, AfterValidator(check_storable)]
Label = Annotated[str, Field(max_length=LABEL_CHARACTERS), AfterValidator(check_storable)]
Moment = Annotated[datetime, BeforeValidator(read_date), PlainSerializer(iso, when_used="json")]
"""A point in time with its offset; see `read_date` for what is accepted."""


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]  # An empty id, which the rule refuses.


class Document(BaseModel):
    """One item of a user's history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[Name, Field(json_schema_extra=_without_default)] = ""
    """Made from the contents if it is not given; see `made_id`."""
    text: Annotated[
        str, Field(max_length=TEXT_CHARACTERS), AfterValidator(check_storable), AfterValidator(not_blank)
    ]
    created_at: Moment | None = None
    title: Label | None = None
    source: Label | None = None
    """Origin of the document. Consecutive documents of one source serve as each other's context."""
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_check_json)] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _without_null_id(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("id", "") is None:
            return {name: value for name, value in data.items() if name != "id"}
        return data

    @model_validator(mode="after")
    def _with_id(self) -> Self:
        if not self.id:
            # The model is frozen for its users only.
            self.__dict__["id"] = made_id(self)
        return self

    @property
    def author(self) -> str | None:
        """The author or speaker, if the metadata name one."""
        return self._named(("author", "speaker", "from", "sender"))

    @property
    def thread(self) -> str | None:
        """The conversation that the document belongs to, if the metadata name one."""
        return self._named(("thread", "thread_id", "conversation", "conversation_id"))

    def _named(self, keys: Sequence[str]) -> str | None:
        for key in keys:
            value = self.metadata.get(key)
            if isinstance(value, str) and value.strip():
                return value
        return None

    @property
    def size(self) -> int:
        """Bytes of UTF-8 of all fields together, the metadata as JSON."""
        metadata = json.dumps(self.metadata, ensure_ascii=False) if self.metadata else ""
        return sum(
            len((part or "").encode()) for part in (self.id, self.text, self.title, self.source, metadata)
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values, leaving out fields that are not set."""
        return self.model_dump(mode="json", exclude_defaults=True)


def made_id(document: Document) -> str:
    """Return an id of 24 hexadecimal digits made from source, thread or title, author, instant and text.

    The same item gets the same id again, so importing it twice stores it once; the same text at another time
    is another document.
    """
    created_at = document.created_at
    parts = (
        document.source,
        document.thread or document.title,
        document.author,
        iso(created_at.astimezone(UTC)) if created_at else None,
        document.text,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def parse_document(data: Any, line: int | None = None) -> Document:
    """Validate one item of input. Raises InvalidDocument with all faults and the line."""
    if not isinstance(data, Mapping):
        raise InvalidDocument(f"a document is a JSON object, not {type(data).__name__}", line)
    try:
        return Document.model_validate(data)
    except ValidationError as error:
        raise InvalidDocument(all_faults(error, "document"), line) from None


def within_size(items: PutItems, most: int) -> Iterator[Document | InvalidDocument]:
    """Yield the items, with an error in place of each document of more than `most` bytes."""
    for number, item in enumerate(items, 1):
        if isinstance(item, Document) and (size := item.size) > most:
            yield InvalidDocument(
                f"{item.id!r} (item {number}) has {size:,} bytes with its metadata; a document may have "
                f"{most:,} (document_mb)"
            )
        else:
            yield item


class Faulty(Protocol):
    """A pydantic ValidationError or one like it: its faults have `loc` and `msg`."""

    def errors(self) -> Sequence[Any]: ...


def faults(error: Faulty) -> list[tuple[str, str]]:
    """Return (field, message) of each fault. A field is a path like `metadata.0`, '' for the whole value."""
    return [
        (
            ".".join(map(str, fault["loc"])),
            fault["msg"].removeprefix("Value error, ").replace("Extra inputs are", "field is"),
        )
        for fault in error.errors()
    ]


def all_faults(error: Faulty, whole: str = "") -> str:
    """Format all faults on one line, each after its field, or after `whole` if no single field is wrong.

    Names the first NAMED_FAULTS and counts the others, so that the line is short whatever the input was.
    """
    found = faults(error)
    named = [_in_words(field[:_SHOWN], message, whole) for field, message in found[:NAMED_FAULTS]]
    more = [f"and {len(found) - NAMED_FAULTS} more"] if len(found) > NAMED_FAULTS else []
    return "; ".join(named + more)


def first_fault(error: Faulty, whole: str = "") -> str:
    """Format the first fault after its field, or after `whole` if no single field is wrong."""
    return _in_words(*faults(error)[0], whole)


def _in_words(field: str, message: str, whole: str) -> str:
    return f"{field or whole}: {message}" if field or whole else message


def encoded_text(document: Document | Passage, text: str) -> str:
    """Return the text that encoders and the lexical index see for a passage: its title, then its text."""
    return f"{document.title}: {text}" if document.title else text
