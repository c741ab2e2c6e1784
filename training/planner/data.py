"""Training examples for a planner: the planning episode as served, completed by the plan of the rubric.

Token ids come from the same function that serving uses, so that a planner sees the same tokens in training
and in use.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from agent.planning import as_plan, planning
from agent.tokenizer import text_tokenizer
from agent.tokens import prompt_ids
from agent.trajectory import Answer, Limits, Today
from index.documents import Passage
from training.evaluation.profiles import day_of
from training.folder import cut_torn_line
from training.tasks.datasets import Part
from training.tasks.errors import DataError
from training.tasks.lampqa.data import Question

Tokenizer = Any
"""A tokenizer of transformers."""
Search = Callable[[Question, int], Awaitable[Sequence[Passage]]]
"""Finds up to k passages of a person's profile for their question. May raise Unusable."""

_AT_ONCE = 16
"""Questions searched concurrently, so that their texts are encoded in one batch."""


class Unusable(Exception):
    """A question gives no example; the message is the reason."""


class PlannerExample(BaseModel):
    """A prompt and its completion, as text and as tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    part: Part
    prompt: str
    completion: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """Tokens of the completion, then the model's end token if it has one."""


@dataclass(frozen=True)
class Recorded:
    """Counts of the written examples, and the reasons why questions were left out."""

    examples: Mapping[Part, int]
    left_out: Mapping[str, str] = field(default_factory=dict)


async def make_example(
    question: Question, part: Part, search: Search, tokenizer: Tokenizer, limits: Limits, max_length: int
) -> PlannerExample:
    """Make the example of one question, of at most `max_length` tokens.

    As in use, a prompt that is too long loses its first passages. Raises Unusable.
    """
    texts = text_tokenizer(tokenizer)

    async def encode(text: str, opening: bool) -> list[int]:
        return texts.encode(text, opening)

    episode = planning(question.question, limits, today=Today(day_of(question.profile)))
    episode.provide(await search(question, min(limits.top_k, limits.max_documents)))
    completion = f"<answer>{as_plan(aspect.aspect for aspect in question.rubric_aspects)}</answer>"
    written = await encode(completion, False)
    if tokenizer.eos_token_id is not None:
        written.append(tokenizer.eos_token_id)
    while len(read := await prompt_ids(episode, encode)) + len(written) > max_length:
        if not episode.drop_oldest_passage():
            raise Unusable(f"even without passages, it has more than {max_length} tokens")
    prompt = episode.prompt
    if (
        not isinstance(episode.feed(completion), Answer)
        or episode.trajectory.transcript != prompt + completion
    ):
        raise Unusable("a tag in its rubric ends the plan early")
    return PlannerExample(
        id=question.id,
        part=part,
        prompt=prompt,
        completion=completion,
        prompt_ids=tuple(read),
        completion_ids=tuple(written),
    )


async def write_examples(
    file: Path,
    questions: Iterable[tuple[Part, Question]],
    make: Callable[[Part, Question], Awaitable[PlannerExample]],
    finished: Callable[[int], None] = lambda count: None,
) -> Recorded:
    """Append the missing examples to `file`, in the order of the questions.

    Calls `finished` with the number of further questions that are done. Rewrites a torn last line. Raises
    DataError if a part has no examples.
    """
    cut_torn_line(file)
    counts: dict[Part, int] = {"train": 0, "validation": 0}
    known = {(example.part, example.id) for example in read_examples(file)}
    left_out = {}

    async def one(part: Part, question: Question) -> PlannerExample | str:
        try:
            return await make(part, question)
        except Unusable as error:
            return str(error)

    remaining = iter(questions)
    with file.open("ab") as lines:
        while taken := list(islice(remaining, _AT_ONCE)):
            owed = [(part, question) for part, question in taken if (part, question.id) not in known]
            for part, question in taken:
                counts[part] += (part, question.id) in known
            for (part, question), made in zip(
                owed, await asyncio.gather(*(one(*each) for each in owed)), strict=True
            ):
                if isinstance(made, str):
                    left_out[question.id] = made
                else:
                    counts[part] += 1
                    lines.write(made.model_dump_json().encode() + b"\n")
            lines.flush()
            finished(len(taken))
    for part, count in counts.items():
        if not count:
            raise DataError(f"no example for {part}" + "".join(f"; {why}" for why in left_out.values()))
    return Recorded(counts, left_out)


def read_examples(file: Path) -> Iterator[PlannerExample]:
    """Read the examples that `write_examples` wrote."""
    with file.open("rb") as lines:
        for line in lines:
            yield PlannerExample.model_validate_json(line)
