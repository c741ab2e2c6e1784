"""The tiny model as a policy of the service, which generates concurrent turns as one batch.

Sampled tokens are passed on unchanged and transcripts are encoded by agent.tokens, so training sees exactly
the tokens that the model wrote and read.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import torch
from torch import Tensor

from agent.episode import Episode
from agent.policy import Chunk
from agent.tokens import prompt_ids
from training.demo.model import Cache, TinyLlama
from training.demo.vocabulary import Vocabulary

_SPARSE = 0.7
"""If the fraction of unfinished rows falls below this, finished rows are removed from the cache."""


@dataclass(frozen=True)
class _Turn:
    prompt: list[int]
    max_tokens: int
    written: asyncio.Future[list[int]]


class BatchedPolicy:
    """An agent.policy.Policy. Samples at temperature 1 with a generator, else takes the likeliest token."""

    name = "tiny"

    def __init__(
        self, model: TinyLlama, vocabulary: Vocabulary, generator: torch.Generator | None = None
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._generator = generator
        self._waiting: list[_Turn] = []
        self._running: asyncio.Task[None] | None = None

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        prompt = await prompt_ids(episode, self._encode)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._running = loop.create_task(self._run_when_all_wait())
        turn = _Turn(prompt, max_tokens, loop.create_future())
        self._waiting.append(turn)
        ids = await turn.written
        stopped = ids[-1] in self._vocabulary.stops
        yield Chunk(
            self._vocabulary.decode(ids),
            tokens=len(ids),
            finish="stop" if stopped else "length",
            token_ids=tuple(ids),
            prompt_tokens=len(prompt),
        )

    async def check(self) -> str:
        return self.name

    async def aclose(self) -> None:
        """Do nothing: the policy holds no resources."""

    async def _encode(self, text: str, opening: bool) -> list[int]:
        return self._vocabulary.encode(text)

    async def _run_when_all_wait(self) -> None:
        # Searches take no time here: after a few idle turns of the event loop, all callers have arrived.
        quiet, seen = 0, 0
        while quiet < 5:
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == seen else 0
            seen = len(self._waiting)
        turns = [turn for turn in self._waiting if not turn.written.cancelled()]
        self._waiting = []
        if not turns:
            return
        try:
            written = generate(
                self._model,
                [turn.prompt for turn in turns],
                max_tokens=[turn.max_tokens for turn in turns],
                stops=self._vocabulary.stops,
                generator=self._generator,
            )
        except Exception as error:
            for turn in turns:
                turn.written.set_exception(error)
            return
        for turn, ids in zip(turns, written, strict=True):
            turn.written.set_result(ids)


@torch.inference_mode()
def generate(
    model: TinyLlama,
    prompts: list[list[int]],
    *,
    max_tokens: list[int],
    stops: tuple[int, ...],
    generator: torch.Generator | None,
) -> list[list[int]]:
    """Continue each prompt up to and including a stop token, or to its limit of tokens."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    longest = int(lengths.max())
    cache = Cache(model.shape, len(prompts), longest + max(max_tokens))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    states = model(ids, cache)[torch.arange(len(prompts)), lengths - 1]
    written: list[list[int]] = [[] for _ in prompts]
    rows, done = list(range(len(prompts))), [False] * len(prompts)
    while True:
        tokens = _choose(model.logits(states), generator)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            if not done[row]:
                written[row].append(token)
                done[row] = token in stops or len(written[row]) == max_tokens[row]
        going = [index for index, row in enumerate(rows) if not done[row]]
        if not going:
            return written
        # Removing rows copies the cache, so a few finished rows keep running unread.
        if len(going) < _SPARSE * len(rows):
            kept = torch.tensor(going)
            cache.keep(kept)
            tokens, lengths, rows = tokens[kept], lengths[kept], [rows[index] for index in going]
        states = model.step(tokens, lengths, cache)
        lengths = lengths + 1


def _choose(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return logits.argmax(-1)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
