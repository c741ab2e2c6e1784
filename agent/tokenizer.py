"""Encodes text with a model's own tokenizer, so that no text becomes a control token.

Tokenizers recognize their added tokens, such as <|im_end|>, in any text, and transformers' option
`split_special_tokens` leaves those that are not marked as special. Here, none of them is recognized except
the protocol's own tags, which `agent.tags.escape` has removed from all other text, and added tokens that are
plain words or spaces. So a text without control strings has the same tokens as ever.
"""

import asyncio
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import Any, Protocol

from agent.engines.errors import EngineError
from agent.tags import TAGS, without

_PASSES = 8


class TextTokenizer(Protocol):
    """Encodes text as text."""

    def encode(self, text: str, opening: bool) -> list[int]:
        """The tokens of `text`, none of which is a control token. The opening begins with BOS, if any."""
        ...

    def broken(self, text: str) -> str:
        """`text` with control strings broken by HTML entities, for a template that is encoded as a whole.

        Raises EngineError if they cannot be broken.
        """
        ...


class TokenizerFiles:
    """The tokenizer in a folder or on the Hugging Face hub, loaded when it is first used.

    For texts that another program tokenizes; see agent/engines/controls.py.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loaded: tuple[Any, TextTokenizer] | None = None
        self._loading = threading.Lock()

    async def is_token(self, string: str) -> bool:
        """Whether the string holds a control string. Raises EngineError."""
        texts = await asyncio.to_thread(self.texts)
        return texts.broken(string) != string

    def tokenizer(self) -> Any:
        """The tokenizer, from transformers. Blocks while it is loaded. Raises EngineError."""
        return self._both()[0]

    def texts(self) -> TextTokenizer:
        """The tokenizer for texts, whose tokens are never control tokens. Blocks, and raises EngineError."""
        return self._both()[1]

    def _both(self) -> tuple[Any, TextTokenizer]:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
        return self._loaded

    def _load(self) -> tuple[Any, TextTokenizer]:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self._name)
            return tokenizer, text_tokenizer(tokenizer)
        except (ImportError, OSError, ValueError) as error:
            why = f"the tokenizer of {self._name} cannot be loaded: {error}"
            raise EngineError("refused", why) from None


@lru_cache(maxsize=4)
def text_tokenizer(tokenizer: Any) -> TextTokenizer:
    """The text tokenizer for a tokenizer of transformers; the first call may take a second."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return SlowText(tokenizer) if backend is None else FastText(backend)


class FastText:
    """A copy of a tokenizer of the library tokenizers, in which no text can spell a control token.

    There, control tokens have random names. Their ids, and those of all other tokens, are unchanged.
    """

    def __init__(self, backend: Any) -> None:
        self._copy = type(backend).from_str
        # Truncation and padding are set anew for each call of transformers.
        definition = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        added = definition["added_tokens"]
        controls = [token for token in added if _is_control(token["content"], token["special"])]
        self.controls = frozenset(token["id"] for token in controls)
        """The ids of the control tokens."""
        self._tags: dict[int, str] = {
            token["id"]: token["content"] for token in added if token["content"] in TAGS
        }
        unknown = _unknown(definition["model"])
        self._unknown = {token["id"]: unknown for token in added if token["content"] == unknown}
        self._whole = json.dumps(definition)
        self._watched = self.controls | self._tags.keys()
        secret = secrets.token_hex(8)
        names = {token["content"]: f"\ue000{secret}{token['id']}\ue000" for token in controls}
        self._plain = self._copy(json.dumps(_renamed(definition, names)))

    @cached_property
    def _full(self) -> Any:
        return self._copy(self._whole)

    def encode(self, text: str, opening: bool) -> list[int]:
        """See TextTokenizer."""
        encoding = self._plain.encode(text, add_special_tokens=opening)
        ids: list[int] = encoding.ids
        if self._places(encoding, ids, text):
            plain = self._without(self._plain, text)
            ids = self._plain.encode(plain, add_special_tokens=opening).ids
        return ids

    def broken(self, text: str) -> str:
        """See TextTokenizer."""
        return self._without(self._full, text)

    def _without(self, tokenizer: Any, text: str) -> str:
        def controls(text: str) -> set[int]:
            encoding = tokenizer.encode(text, add_special_tokens=False)
            return self._places(encoding, encoding.ids, text)

        return _broken(text, controls)

    def _places(self, encoding: Any, ids: list[int], text: str) -> set[int]:
        """Where control tokens begin in `text`, and tags that only a normalizer made."""
        if self._watched.isdisjoint(ids):
            return set()
        places = set()
        for number, (start, end) in zip(ids, encoding.offsets, strict=True):
            found = text[start:end]
            if found and number in self._watched and self._is_wrong(number, found.strip()):
                places.add(end - len(found.lstrip()))
        return places

    def _is_wrong(self, number: int, found: str) -> bool:
        if number in self._tags:
            return found != self._tags[number]
        # All unknown characters are this token.
        return number not in self._unknown or found == self._unknown[number]


class SlowText:
    """A tokenizer that is written in Python: control strings are broken before it reads a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        special = set(tokenizer.all_special_tokens)
        known = {*tokenizer.get_added_vocab(), *special}
        controls = sorted((one for one in known if _is_control(one, one in special)), key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, controls)) or r"(?!)")

    def encode(self, text: str, opening: bool) -> list[int]:
        """See TextTokenizer."""
        ids: list[int] = self._tokenizer.encode(self.broken(text), add_special_tokens=opening)
        return ids

    def broken(self, text: str) -> str:
        """See TextTokenizer."""
        return _broken(text, lambda text: {found.start() for found in self._controls.finditer(text)})


def _broken(text: str, controls: Callable[[str], set[int]]) -> str:
    """`text` broken where `controls` finds control tokens, until it finds none. Raises EngineError."""
    for _ in range(_PASSES):
        if not (places := controls(text)):
            return text
        text = without(text, places)
    raise EngineError("refused", "the text cannot be kept apart from the model's control tokens")


def _is_control(content: str, is_special: bool) -> bool:
    """Whether an added token is more than text: special, or words with punctuation."""
    letters = [character.isalnum() for character in content if not (character.isspace() or character == "▁")]
    return content not in TAGS and (is_special or (any(letters) and not all(letters)))


def _unknown(model: dict[str, Any]) -> str | None:
    """The token for unknown characters."""
    number = model.get("unk_id")
    return model.get("unk_token") if number is None else model["vocab"][number][0]


def _renamed(definition: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The definition of a tokenizer with tokens renamed wherever it could read them from text.

    Not only as added tokens: a model whose vocabulary contains <s> may merge it from its letters.
    """
    model = dict(definition["model"])
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(token, token): number for token, number in vocabulary.items()}
    elif vocabulary is not None:
        model["vocab"] = [[names.get(token, token), score] for token, score in vocabulary]
    if "merges" in model:
        prefix = model.get("continuing_subword_prefix") or ""
        model["merges"] = [
            [left, right]
            for left, right in _pairs(model["merges"])
            if names.keys().isdisjoint((left, right, left + right.removeprefix(prefix)))
        ]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    added = [
        token | {"content": names.get(token["content"], token["content"])}
        for token in definition["added_tokens"]
    ]
    return definition | {"model": model, "added_tokens": added}


def _pairs(merges: Iterable[Any]) -> Iterable[tuple[str, str]]:
    """The merges, each of which is a pair or, in older files, a pair with a space between."""
    for merge in merges:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield left, right
