"""Four questions of LaMP's task 4, a scripted model that is helped by some entries, and their feedback."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agent.engines.text import ScriptedText
from training.evaluation.profiles import person_of
from training.evaluation.task import Item
from training.feedback.collect import Collected, Source, Watcher, collect
from training.feedback.lamp import LampUtility
from training.feedback.outputs import Outputs
from training.feedback.ranking import query
from training.tasks.lamp.data import Entry, Question

HEADLINES = ("Tea in Bergen", "Rain all week", "Boats for sale")
REFERENCE = "Green tea in Bergen"
QUESTIONS = tuple(
    Question(
        id=f"4{number}",
        input=f"Generate a headline for the following article: a story about thing {number}",
        profile=tuple(
            Entry(f"p{number}{place}", f"{title} text {place}", {"title": title, "text": f"text {place}"})
            for place, title in enumerate(HEADLINES)
        ),
        output=REFERENCE,
        category="LaMP_4",
        user_id=f"user{number % 2}",
    )
    for number in range(4)
)
UTILITIES = (6 / 7, 0.0, 0.0)
"""ROUGE-1 of each headline with the reference: three of its four words and of the headline's three."""


def echo(prompt: str) -> str:
    """The headline of the one entry in the prompt, as a model that follows patterns."""
    (title,) = (title for title in HEADLINES if title in prompt)
    return title


def source(
    questions: Sequence[Question] = QUESTIONS, most: int = 3, read: Callable[[], None] = lambda: None
) -> Source[Question]:
    async def ranked(question: Question) -> Sequence[Item]:
        return question.profile[:most]

    def asked() -> Iterator[Question]:
        read()
        return iter(questions)

    return Source("lamp-4", asked, query, person_of, ranked, {"name": "hash"})


async def collected(
    folder: Path,
    model: ScriptedText,
    *,
    of: Source[Question] | None = None,
    cache: Path | None = None,
    measure: str = "metric",
    tokens: int = 512,
    most: int = 3,
    concurrency: int = 32,
    watcher: Watcher | None = None,
) -> Collected:
    """Collect feedback on QUESTIONS into `folder`, with the outputs kept in `cache`, by default beside it."""
    with Outputs(cache or folder.parent / "outputs.db") as outputs:
        utility = LampUtility(4, model, outputs, measure, tokens)
        return await collect(
            folder,
            of or source(most=most),
            utility,
            {"documents": most},
            concurrency=concurrency,
            watcher=watcher,
        )


if __name__ == "__main__":
    import asyncio
    import os
    import signal
    import sys

    left = int(sys.argv[2])

    def dies(prompt: str) -> str:
        """Echo as often as asked, and then be killed."""
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return echo(prompt)

    # By likelihood, because importing what computes ROUGE takes long.
    killed = collected(Path(sys.argv[1]), ScriptedText(dies), measure="likelihood", concurrency=1)
    asyncio.run(killed)
