"""Expands questions by a language model that continues a prompt: what it writes is only data."""

import re
from collections.abc import Sequence

from agent.engines.errors import EngineError
from agent.engines.text import TextModel
from index.ranking.expanding import LONGEST, SENTENCES, ExpanderFailure

TOKENS = 160
"""The most tokens that are written."""
QUESTION = 1_000
"""The most characters of a question that are shown."""
PROMPT = """\
Somebody searches their own notes and messages for the answer to a question. Write {count} short sentences, \
one a line, as they may stand there in the person's own words and in the language of the question, each with \
another possible answer. Write nothing else.

Question: {question}
Sentences:
"""
_BULLET = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+")


class ModelExpander:
    """Asks a model for sentences. `name` is shown where the service says what it runs."""

    def __init__(self, model: TextModel, name: str) -> None:
        self.name = name
        self._model = model

    async def expand(self, question: str) -> Sequence[str]:
        """See Expander."""
        shown = " ".join(question[:QUESTION].split())
        try:
            written = await self._model.generate(PROMPT.format(count=SENTENCES, question=shown))
        except EngineError as error:
            raise ExpanderFailure(f"{self.name}: {error.fault}") from None
        lines = written[: 2 * SENTENCES * LONGEST].strip().splitlines()
        if not lines:
            raise ExpanderFailure(f"{self.name} wrote nothing")
        return [line[match.end() :] if (match := _BULLET.match(line)) else line for line in lines]

    async def aclose(self) -> None:
        """Close the model."""
        await self._model.aclose()
