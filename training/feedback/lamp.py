"""The utility of documents for a task of LaMP: the metric of an output, or the likelihood of a reference."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.engines.errors import EngineError
from agent.engines.text import NoLikelihood, TextModel
from agent.tokens import estimated
from training.feedback.outputs import Output, Outputs
from training.feedback.utility import NoReference, NoUtility
from training.tasks.lamp.data import Entry, Question
from training.tasks.lamp.metrics import reward
from training.tasks.lamp.prompts import TOKENS, Budget, OverBudget, prompt_of

Measure = Callable[[int, TextModel, str, str], Awaitable[Output]]
"""Called with the task's number, the model, a prompt and the reference output. Raises EngineError."""


async def rewarded(number: int, model: TextModel, prompt: str, reference: str) -> Output:
    """The model's output, with the task's metric of it, from 0 to 1 (EVAL of arXiv 2404.05970)."""
    text = await model.generate(prompt)
    return Output(text, reward(number, reference, text), estimated(prompt), estimated(text))


async def likelihood(number: int, model: TextModel, prompt: str, reference: str) -> Output:
    """The mean log-likelihood of the reference's tokens, at most 0 (as in PURPLE, arXiv 2601.12078).

    It tells documents apart that make no difference to an accuracy of 0 or 1.
    """
    value = await model.likelihood(prompt, reference)
    return Output("", value, estimated(prompt) + estimated(reference))


MEASURES: Mapping[str, Measure] = {"metric": rewarded, "likelihood": likelihood}
"""Ways to measure an output, by name; the first is the paper's."""


@dataclass(frozen=True)
class LampUtility:
    """The utility of entries for a task of LaMP: a measure of the model's output with them in its prompt."""

    number: int
    model: TextModel
    outputs: Outputs
    measure: str = "metric"
    """A name in MEASURES."""
    tokens: int = TOKENS
    """The budget of a prompt."""

    @property
    def configuration(self) -> Mapping[str, Any]:
        """See Utility."""
        return {
            "model": dict(self.model.description),
            "metric": {"task": self.number, "measure": self.measure},
            "prompt_tokens": self.tokens,
        }

    async def __call__(self, question: Question, documents: Sequence[Entry]) -> float:
        """See Utility. A prompt that does not fit into its budget has no utility.

        Raises NoLikelihood if the engine cannot compute the measure at all.
        """
        if not question.output:
            raise NoReference(
                f"question {question.id} has no reference output, so there is no feedback on it"
            )
        budget = Budget(self.model, self.tokens)
        try:
            # Counting tokens may load a tokenizer, or ask a server.
            prompt = await asyncio.to_thread(prompt_of, self.number, question.input, documents, budget)
            content = {**self.configuration, "prompt": prompt, "reference": question.output}
            output = await self.outputs.output(
                content, lambda: MEASURES[self.measure](self.number, self.model, prompt, question.output)
            )
        except NoLikelihood:
            raise
        except (EngineError, OverBudget) as error:
            raise NoUtility(str(error)) from None
        assert output.utility is not None
        return output.utility
