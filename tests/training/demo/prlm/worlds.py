"""A scripted policy, and a few people who ask."""

import random
from collections.abc import AsyncGenerator, Callable

from agent.episode import Episode
from agent.policy import Chunk
from index.ranking.retrievers import Retrievers
from training.demo.prlm.people import Person, people
from training.demo.prlm.rollout import Searching, vocabulary

PEOPLE = people(random.Random(3), "train", 12)
VOCABULARY = vocabulary()


def searching(retriever: str = "bm25", among: list[Person] = PEOPLE) -> Searching:
    return Searching(Retrievers().get(retriever), {one.name: one.profile() for one in among}, {})


class Writer:
    """An agent.policy.Policy, which writes one turn."""

    name = "writer"

    def __init__(self, write: Callable[[Episode], str]) -> None:
        self._write = write

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        for index, segment in enumerate(episode.segments):
            if segment.token_ids is None:
                episode.encode(index, VOCABULARY.encode(segment.text))
        text = self._write(episode)
        ids = tuple(VOCABULARY.encode(text))
        yield Chunk(text, tokens=len(ids), finish="stop", token_ids=ids)

    async def check(self) -> str:
        return self.name

    async def aclose(self) -> None:
        """Do nothing: the policy holds no resources."""


def turn(answer: str, thought: str = "it is not known.") -> str:
    return f"<think> {thought}</think><answer> {answer}</answer>"
