"""Documents, their validation, and the wording of validation errors."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
)

from index.dates import iso as iso
from index.dates import read_date
from index.errors import InvalidDocument
from index.values import NAME_RULE as NAME_RULE
from index.values import Passage as Passage
from index.values import check_name as check_name

TEXT_CHARACTERS = 1_000_000
LABEL_CHARACTERS = 2_000


def check_storable(text: str) -> str:
    """Return `text` if every database and wire format can carry it. Raises ValueError."""
    if any("\ud800" <= character <= "\udfff" for character in text) or "\0" in text:
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


Name = Annotated[str, BeforeValidator(number_as_text), AfterValidator(check_name)]
"""A user or document id. A whole number is converted to its digits."""
Text = Annotated[str, AfterValidator(check_storable)]
Label = Annotated[str, Field(max_length=LABEL_CHARACTERS), AfterValidator(check_storable)]
Moment = Annotated[datetime, BeforeValidator(read_date), PlainSerializer(iso, when_used="json")]
"""A point in time with its offset; see `read_date` for what is accepted."""


class Document(BaseModel):
    """One item of a user's history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    text: Annotated[
        str, Field(max_length=TEXT_CHARACTERS), AfterValidator(check_storable), AfterValidator(not_blank)
    ]
    created_at: Moment | None = None
    title: Label | None = None
    source: Label | None = None
    """Origin of the document. Consecutive documents of one source serve as each other's context."""
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_check_json)] = Field(default_factory=dict)

    @property
    def author(self) -> str | None:
        """The author or speaker, if the metadata name one."""
        for key in ("author", "speaker", "from", "sender"):
            value = self.metadata.get(key)
            if isinstance(value, str) and value.strip():
                return value
        return None

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values, leaving out fields that are not set."""
        return self.model_dump(mode="json", exclude_defaults=True)


def parse_document(data: Any, line: int | None = None) -> Document:
    """Validate one item of input. Raises InvalidDocument with all faults and the line."""
    if not isinstance(data, Mapping):
        raise InvalidDocument(f"a document is a JSON object, not {type(data).__name__}", line)
    try:
        return Document.model_validate(data)
    except ValidationError as error:
        raise InvalidDocument(all_faults(error, "document"), line) from None


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
    """Format all faults on one line, each after its field, or after `whole` if no single field is wrong."""
    return "; ".join(_in_words(*fault, whole) for fault in faults(error))


def first_fault(error: Faulty, whole: str = "") -> str:
    """Format the first fault after its field, or after `whole` if no single field is wrong."""
    return _in_words(*faults(error)[0], whole)


def _in_words(field: str, message: str, whole: str) -> str:
    return f"{field or whole}: {message}" if field or whole else message
