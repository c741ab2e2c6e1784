"""The fields that both of OpenAI's requests share, and what becomes of those that are not served.

A field is refused only if the answer would mean something else without it. Everything else is ignored or
clamped, which the response's headers say.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)

from index.numbers import Integer
from server.openai.conversation import CONVERSATION_CHARACTERS, Conversation
from server.openai.errors import OpenAIProblem
from server.openai.models import split_model
from server.settings import MOST_TOKENS, QuestionLimits

MOST_NAMES = 32
"""Ignored fields named in the header; further ones are counted."""
MOST_CHARACTERS = 64
"""Longest name of an ignored field in the header, encoded: proxies bound headers, too."""

AsksNothing = Callable[[Any], bool]
"""Whether a value of a refused field asks for nothing, so that it can be accepted."""


def only(*values: Any) -> AsksNothing:
    """Accepts these values, like defaults that clients spell out."""
    return lambda value: value in values


def never(value: Any) -> bool:
    """Accepts no value."""
    return False


def leaves_tools_optional(choice: Any) -> bool:
    """Accepts a choice of tools by which the model may answer without one, as it always does here."""
    match choice:
        case "auto" | "none" | {"type": "allowed_tools", "mode": "auto"}:
            return True
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}:
            return True
    return False


CONSTRAINING: Mapping[str, AsksNothing] = dict.fromkeys(
    ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar"), never
)
"""Fields by which engines' own extensions restrict the form of an answer."""


def _not_zero(tokens: int) -> int:
    if tokens == 0:
        raise ValueError("must be at least 1, or -1 for as many as allowed")
    return tokens


Tokens = Annotated[Integer, AfterValidator(_not_zero)]
"""Tokens to write at most; a negative number sets no limit, as in other servers."""


def _as_texts(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    return [text for text in texts or () if text != ""] if isinstance(texts, list | None) else texts


Stop = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=256)], ...],
    BeforeValidator(_as_texts),
    Field(max_length=16),
    WithJsonSchema(TypeAdapter(str | list[str]).json_schema()),
]
"""Stop sequences, as one text or a list."""


class AskBody(BaseModel):
    """Fields of both requests; null means omitted."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    REFUSED: ClassVar[Mapping[str, AsksNothing]]
    """Fields that are refused, unless their value asks for nothing."""
    TOKENS: ClassVar[Sequence[str]]
    """Fields that limit the tokens to write; the first that is given wins."""

    model: str
    """`pr2`, or another method: see /v1/models."""
    user: str | None = None
    """The person whose history is searched. Required, unless the server's identity settings name one."""
    safety_identifier: str | None = None
    """The newer name of `user`; so is `metadata.user_id`. All that are given must be the same."""
    metadata: Any = None
    """Only `user_id` is read."""
    stream: bool | None = None
    stop: Stop = ()
    """The answer ends before the first of these texts; the stored answer is whole."""
    retriever: str | None = None
    """Not OpenAI's: as in /v1/users/{user}/answers."""
    limits: QuestionLimits | None = None
    """Not OpenAI's: as in /v1/users/{user}/answers. A limit on tokens wins over its `max_tokens`."""

    remember: bool | None = None
    """Not OpenAI's, and not its `store`: as in /v1/users/{user}/answers."""

    def tokens(self) -> tuple[str, int] | None:
        """The limit on tokens that the request sets, with the name of its field."""
        given = ((name, getattr(self, name)) for name in self.TOKENS)
        return next(((name, tokens) for name, tokens in given if tokens is not None), None)

    def named_users(self) -> dict[str, str | None]:
        """Users by the field that names them. Raises OpenAIProblem if `metadata.user_id` is not a string."""
        user_id = self.metadata.get("user_id") if isinstance(self.metadata, Mapping) else None
        if user_id is not None and not isinstance(user_id, str):
            raise OpenAIProblem(400, "metadata.user_id must be a string", "metadata.user_id")
        return {
            "user": self.user,
            "safety_identifier": self.safety_identifier,
            "metadata.user_id": user_id,
            "model": split_model(self.model)[1],
        }

    def ignored(self) -> list[str]:
        """Names of the fields that are ignored. Raises OpenAIProblem for a field that is refused."""
        nested = ((field, getattr(self, field)) for field in type(self).model_fields)
        names = [
            f"{field}.{name}"
            for field, value in nested
            if isinstance(value, BaseModel)
            for name in value.model_extra or {}
        ]
        for name, value in (self.model_extra or {}).items():
            asks_nothing = self.REFUSED.get(name)
            if asks_nothing is None:
                if value not in (None, [], {}):
                    names.append(name)
            elif value is not None and not asks_nothing(value):
                raise OpenAIProblem(400, f"{name} is not supported with this value; leave it out", name)
        return names

    def given_limits(self) -> dict[str, int]:
        """The limits that this request sets, within their bounds."""
        given = self.limits.model_dump(exclude_unset=True) if self.limits else {}
        tokens = self.tokens()
        return given | ({"max_tokens": _clamped(tokens[1])} if tokens else {})

    def headers(self, conversation: Conversation, field: str) -> dict[str, str]:
        """Response headers that name ignored fields and clamped values. Raises OpenAIProblem."""
        clamped = {}
        tokens = self.tokens()
        if tokens and tokens[1] != _clamped(tokens[1]):
            clamped[tokens[0]] = _clamped(tokens[1])
        if conversation.is_shortened:
            clamped[field] = CONVERSATION_CHARACTERS
        headers = {
            "PR2-Ignored": _names(self.ignored()),
            "PR2-Clamped": ", ".join(f"{name}={value}" for name, value in clamped.items()),
        }
        return {name: value for name, value in headers.items() if value}


def _clamped(tokens: int) -> int:
    return tokens if 0 < tokens <= MOST_TOKENS else MOST_TOKENS


def _names(names: Sequence[str]) -> str:
    """Names of any characters as the value of a header; those over the limits are cut."""
    shown = [quote(name.encode("utf-8", "replace"))[:MOST_CHARACTERS] or '""' for name in names]
    if len(shown) > MOST_NAMES:
        shown[MOST_NAMES:] = [f"and {len(shown) - MOST_NAMES} more"]
    return ", ".join(shown)
