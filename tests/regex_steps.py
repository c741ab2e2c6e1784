"""Counts the steps of a backtracking regular expression, which `re` itself does not tell.

Follows the strategy of CPython's engine without its shortcuts, so its counts are upper bounds that grow as
the engine's time does.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_PARSER: Any = importlib.import_module("re._parser")
_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_WORD": lambda character: character.isalnum() or character == "_",
    "CATEGORY_DIGIT": str.isdecimal,
}
_SINGLE = {"LITERAL", "NOT_LITERAL", "ANY", "IN"}

Then = Callable[[int], int | None]
"""Matches the rest of the pattern from a position. Returns the end of the match, or None."""


class StepCounter:
    """Counts the steps in which `pattern` searches a whole text."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._tree = list(_PARSER.parse(pattern.pattern, pattern.flags))
        self._flags = pattern.flags
        self._text = ""
        self._groups: dict[int | None, str] = {}
        self.steps = 0

    def search_all(self, text: str) -> list[tuple[int, int]]:
        """Return the spans of all matches, as `finditer` finds them."""
        self._text, self.steps = text, 0
        found, at = [], 0
        while at <= len(text):
            end = self._run(self._tree, 0, at, lambda position: position)
            if end is not None:
                found.append((at, end))
            at = end if end is not None and end > at else at + 1
        return found

    def match(self, text: str) -> int | None:
        """Return the end of the match at the beginning of `text`."""
        self._text, self.steps = text, 0
        return self._run(self._tree, 0, 0, lambda position: position)

    @contextmanager
    def _flagged(self, flags: int) -> Iterator[None]:
        """Use other flags, those of a group such as `(?-i:…)`, or those around it again."""
        before, self._flags = self._flags, flags
        yield
        self._flags = before

    def _run(self, nodes: Any, index: int, at: int, then: Then) -> int | None:
        if index == len(nodes):
            return then(at)
        self.steps += 1
        code, argument = str(nodes[index][0]), nodes[index][1]
        flags = self._flags

        def rest(position: int) -> int | None:
            return self._run(nodes, index + 1, position, then)

        def closed(position: int) -> int | None:
            self._groups[argument[0]] = self._text[at:position]
            with self._flagged(flags):
                return rest(position)

        if code in _SINGLE:
            return rest(at + 1) if self._one(nodes[index], at) else None
        match code:
            case "BRANCH":
                ends = (self._run(list(branch), 0, at, rest) for branch in argument[1])
                return next((end for end in ends if end is not None), None)
            case "SUBPATTERN":
                _, added, removed, inner = argument
                with self._flagged((flags | added) & ~removed):
                    return self._run(list(inner), 0, at, closed)
            case "GROUPREF":
                repeated = self._groups.get(argument, "")
                return rest(at + len(repeated)) if self._text.startswith(repeated, at) else None
            case "ATOMIC_GROUP":
                end = self._run(list(argument), 0, at, lambda position: position)
                return None if end is None else rest(end)
            case "ASSERT" | "ASSERT_NOT":
                direction, inner = argument
                start = at if direction > 0 else at - inner.getwidth()[0]
                held = start >= 0 and self._run(list(inner), 0, start, lambda position: position) is not None
                return rest(at) if held == (code == "ASSERT") else None
            case "AT":
                return rest(at) if self._at(str(argument), at) else None
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = argument
                if code == "MAX_REPEAT" and len(inner) == 1 and str(inner[0][0]) in _SINGLE:
                    return self._repeat_one(inner[0], least, most, at, rest)
                return self._repeat(list(inner), least, most, at, rest, greedy=code == "MAX_REPEAT")
        raise NotImplementedError(f"counting the steps of {code}")

    def _repeat_one(self, node: Any, least: int, most: int, at: int, rest: Then) -> int | None:
        end = at
        while end - at < most and self._one(node, end):
            end += 1
            self.steps += 1
        for position in range(end, at + least - 1, -1):
            self.steps += 1
            if (found := rest(position)) is not None:
                return found
        return None

    def _repeat(self, inner: Any, least: int, most: int, at: int, rest: Then, *, greedy: bool) -> int | None:
        def again(position: int) -> int | None:
            if most == 0 or (position == at and least <= 0):
                return None
            return self._repeat(inner, least - 1, most - 1, position, rest, greedy=greedy)

        def more() -> int | None:
            return self._run(inner, 0, at, again) if most > 0 else None

        if least > 0:
            return more()
        end = more() if greedy else rest(at)
        if end is not None:
            return end
        return rest(at) if greedy else more()

    def _one(self, node: Any, at: int) -> bool:
        if at >= len(self._text):
            return False
        code, argument = str(node[0]), node[1]
        character = self._text[at]
        if code == "ANY":
            return character != "\n" or bool(self._flags & re.DOTALL)
        if code != "IN":
            return self._is(character, argument) == (code == "LITERAL")
        negated = any(str(kind) == "NEGATE" for kind, _ in argument)
        return negated != any(self._among(character, str(kind), value) for kind, value in argument)

    def _among(self, character: str, kind: str, value: Any) -> bool:
        match kind:
            case "LITERAL":
                return self._is(character, value)
            case "RANGE":
                cases = {character, *((character.lower(), character.upper()) if self._folds else ())}
                return any(value[0] <= ord(case) <= value[1] for case in cases if len(case) == 1)
            case "CATEGORY":
                name = str(value).replace("_NOT", "")
                return _CATEGORIES[name](character) == (name == str(value))
        return False

    @property
    def _folds(self) -> bool:
        return bool(self._flags & re.IGNORECASE)

    def _is(self, character: str, code: int) -> bool:
        return ord(character) == code or (self._folds and character.lower() == chr(code).lower())

    def _at(self, kind: str, at: int) -> bool:
        text = self._text
        match kind:
            case "AT_BEGINNING" if self._flags & re.MULTILINE:
                return at == 0 or text[at - 1] == "\n"
            case "AT_BEGINNING" | "AT_BEGINNING_STRING":
                return at == 0
            case "AT_END" if self._flags & re.MULTILINE:
                return at == len(text) or text[at] == "\n"
            case "AT_END":
                return at == len(text) or (at == len(text) - 1 and text[at] == "\n")
            case "AT_END_STRING":
                return at == len(text)
        word = _CATEGORIES["CATEGORY_WORD"]
        boundary = (at > 0 and word(text[at - 1])) != (at < len(text) and word(text[at]))
        return boundary == (kind == "AT_BOUNDARY")
