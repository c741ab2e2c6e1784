"""A policy without a model: it plans, searches, follows names that turn up, and answers with quotes.

It is the baseline that every language model has to beat, and the default where no model is configured. Its
trajectories say so: their policy is `extractive`.
"""

from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

from agent.episode import Episode
from agent.policies.leads import find_lead
from agent.policies.phrases import Phrases, phrases
from agent.policies.quoting import CHOSEN, Followed, Thresholds, compose, said_of, select
from agent.policies.sentences import Reading
from agent.policy import Chunk
from agent.tags import escape
from agent.trajectory import Information, Read, Search, Step
from index.text.languages import ENGLISH
from index.text.words import FUNCTION_WORDS, words


class ExtractivePolicy:
    """See the module. It searches only while words of the question are missing from what it would quote."""

    name = "extractive"

    def __init__(self, thresholds: Thresholds = CHOSEN) -> None:
        self._thresholds = thresholds

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        del max_tokens  # Without a model there are no tokens to count.
        yield Chunk(_turn(episode, self._thresholds), finish="stop")

    async def check(self) -> str:
        return "no model: it quotes the history"

    async def aclose(self) -> None:
        """Nothing to release."""


def _turn(episode: Episode, at: Thresholds) -> str:
    # Normalized as the trajectory returns it: the rest of a later query is the name that it followed.
    question = escape(" ".join(episode.question.split()))
    reading = Reading(episode.reads)
    said = phrases(reading.language_of(question))
    queries = [step.query for step in episode.steps if isinstance(step, Search)]
    if not episode.must_answer and question and not queries:
        return _block("think", _plan(question, said)) + _block("search", question)
    followed = _followed(question, episode.steps)
    chosen = select(question, reading, followed, at)
    if not episode.must_answer and reading.share(question, chosen.missing) >= at.missing:
        lead = find_lead(question, reading, chosen.newest, " ".join(queries))
        if lead:
            thought = said.lead.format(name=lead.name, number=lead.number)
            return _block("think", thought) + _block("search", f"{question} {lead.name}")
        if episode.reads and queries == [question]:
            return _block("think", said.reading_on) + _block("search", question)
    if not any(isinstance(step, Information) for step in episode.steps):
        # Nothing can be said about a history that was not searched.
        return _block("think", said.unsearched) + _block("answer", said.unread)
    told = said_of(episode.notices, said)
    answer = "\n".join([*told, compose(question, reading, chosen, said, episode.plan, at)])
    return _block("think", _conclusion(episode.reads, said)) + _block("answer", answer)


def _followed(question: str, steps: Sequence[Step]) -> list[Followed]:
    """The names that were searched for, in order, each with what was found first."""
    found = []
    for search, information in pairwise(steps):
        if isinstance(search, Search) and isinstance(information, Information):
            name = search.query.removeprefix(question).strip()
            if name:
                first = information.passages[0].number if information.passages else None
                found.append(Followed(name, first))
    return found


def _plan(question: str, said: Phrases) -> str:
    if said != phrases(ENGLISH):
        return said.plan.format(topic=question.rstrip(".?？؟ "))
    topic = [word for word in words(question) if word not in FUNCTION_WORDS]
    return said.plan.format(topic=", ".join(dict.fromkeys(topic)) or question.strip())


def _conclusion(reads: Sequence[Read], said: Phrases) -> str:
    count = len({read.passage.document_id for read in reads})
    template = said.conclusion_of_one if count == 1 else None
    return (template or said.conclusion).format(count=count)


def _block(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"
