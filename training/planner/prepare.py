"""Turns a data set into the examples that a planner is trained on."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.prompts import PROMPT_VERSION
from agent.trajectory import Limits
from index.documents import Passage
from index.errors import InvalidDocument
from training.folder import pin_configuration
from training.planner.data import PlannerExample, Recorded, Tokenizer, Unusable, make_example, write_examples
from training.tasks.datasets import Part
from training.tasks.lampqa.data import Question
from training.tasks.survey import Survey

EXAMPLES = "examples.jsonl"
_MANIFEST = "examples.json"


@dataclass(frozen=True)
class Preparation:
    """A data set, its split, and the settings of its examples."""

    dataset: str
    split: str
    """A description, see parts_of."""
    parts: Mapping[Part, Survey]
    model: str
    """The model to adapt; its tokenizer encodes the examples."""
    max_length: int
    """Maximum number of tokens in an example."""
    limits: Limits
    retriever: str
    encoder: str
    """A description, see EncoderManifest."""

    def pin(self, out: Path) -> None:
        """Bind the folder to this preparation. Raises ChangedConfiguration if it holds another one."""
        pin_configuration(
            out / _MANIFEST,
            {
                "dataset": self.dataset,
                "split": self.split,
                **{name: part.digest for name, part in self.parts.items()},
                "model": self.model,
                "max_length": self.max_length,
                "top_k": self.limits.top_k,
                "max_documents": self.limits.max_documents,
                "retriever": self.retriever,
                "encoder": self.encoder,
                "prompt_version": PROMPT_VERSION,
            },
        )

    async def write(
        self,
        out: Path,
        tokenizer: Tokenizer,
        keep: Callable[[Question], Awaitable[str]],
        search: Callable[[str, str, int], Awaitable[Sequence[Passage]]],
        finished: Callable[[int], None],
    ) -> Recorded:
        """Append the missing examples to `out`, see write_examples.

        `keep` stores the profile of a question and returns its user; `search` takes user, query and k.
        """

        async def passages(question: Question, k: int) -> Sequence[Passage]:
            try:
                user = await keep(question)
            except InvalidDocument as error:
                raise Unusable(f"its profile cannot be stored: {error}") from None
            return await search(user, question.question, k)

        def make(part: Part, question: Question) -> Awaitable[PlannerExample]:
            return make_example(question, part, passages, tokenizer, self.limits, self.max_length)

        questions = ((name, one) for name, part in self.parts.items() for one in part.questions())
        return await write_examples(out / EXAMPLES, questions, make, finished)
