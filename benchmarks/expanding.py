"""Evidence recall of `hybrid` with questions expanded by likely answers, against the same without.

By default, the likely answers come from rules: a JSON file that names sentences for words, such as "I
have red hair." for "appearance". A question is expanded by the sentences of its words; one without such a
word stays as it is. With --model, a model behind an OpenAI-compatible server writes them.

    python -m benchmarks.expanding --data FILE... [--rules FILE | --model NAME [--base-url URL]] [--as-of]
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import HttpUrl, TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agent.engines.errors import EngineError
from agent.engines.factory import text_model
from agent.engines.settings import EngineSettings
from agent.engines.text import Decoding
from agent.expanders import TOKENS, ModelExpander
from benchmarks.evidence import UnusableData, profiles_of, read_histories
from benchmarks.recall import READ, Found, search
from index.encoding.encoders import load_encoder
from index.ranking.expanding import Expander, ExpanderFailure, Expanding
from index.ranking.retrievers import DEFAULT
from index.text.words import terms
from training.evaluation.statistics import paired_bootstrap

RULES = Path(__file__).parent / "data" / "expansions.json"
_TOGETHER = 8
"""Questions that a model expands at a time."""


@dataclass(frozen=True)
class Written:
    """An expander whose sentences were written before, by question."""

    sentences: Mapping[str, Sequence[str]]
    name = "written"

    async def expand(self, question: str) -> Sequence[str]:
        """See Expander."""
        return self.sentences[question]

    async def aclose(self) -> None:
        """Nothing to release."""


def by_rules(rules: Mapping[str, Sequence[str]], questions: Iterable[str]) -> dict[str, list[str]]:
    """The sentences of each question's words, in the order of the words."""
    by_term = {term: said for word, said in rules.items() for term in terms(word)}
    return {
        question: [said for term in terms(question) for said in by_term.get(term, ())]
        for question in questions
    }


async def by_model(expander: Expander, questions: Iterable[str]) -> dict[str, Sequence[str]]:
    """The sentences that a model writes for each question; it is closed. Raises ExpanderFailure."""
    turn = asyncio.Semaphore(_TOGETHER)

    async def one(question: str) -> tuple[str, Sequence[str]]:
        async with turn:
            return question, await expander.expand(question)

    try:
        return dict(await asyncio.gather(*map(one, questions)))
    finally:
        await expander.aclose()


def read_rules(file: Path) -> dict[str, list[str]]:
    """Raises UnusableData."""
    try:
        return TypeAdapter(dict[str, list[str]]).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise UnusableData(f"{file} cannot be read: {error}") from None


def row(name: str, alone: Sequence[Found], expanded: Sequence[Found], count: int) -> list[str]:
    """Cells of a data set: for each number of documents read, both recalls and the paired difference.

    `count` of its questions were expanded.
    """
    cells = [name, f"{count} of {len(alone)}"]
    for read in READ:
        without, own = ([each.shares[read] for each in found] for found in (alone, expanded))
        gain = statistics.fmean(own) - statistics.fmean(without)
        interval = paired_bootstrap([own], [without], seed=0)
        shown = f"\n[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
        cells.append(f"{statistics.fmean(without):.3f} → {statistics.fmean(own):.3f}, {gain:+.3f}{shown}")
    return cells


def model_expander(model: str, base_url: str) -> ModelExpander:
    """Raises EngineError and ValidationError."""
    settings = EngineSettings(engine="openai", model=model, base_url=HttpUrl(base_url))
    return ModelExpander(text_model(settings, Decoding(max_tokens=TOKENS)), model)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Evidence recall with expanded questions, and without.")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="histories")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--rules", type=Path, default=RULES, metavar="FILE", help="sentences by word")
    parser.add_argument("--model", help="a model that writes the sentences")
    parser.add_argument("--base-url", default="http://127.0.0.1:8001/v1", help="the model's server")
    parser.add_argument(
        "--as-of", action="store_true", help="hide what is later than a question, and its own session"
    )
    given = parser.parse_args(arguments)
    table = Table(title="Recall of hybrid, the question alone → expanded")
    for column in ("", "expanded", *(f"recall@{read}" for read in READ)):
        table.add_column(column, justify="right" if column else "left")
    try:
        rules = read_rules(given.rules)
        encoder = load_encoder(given.encoder)
        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            bar = progress.add_task("", total=len(given.data))
            for file in given.data:
                progress.update(bar, description=file.stem)
                histories = read_histories(file)
                if not any(history.questions for history in histories):
                    raise UnusableData(f"{file}: no question names its evidence")
                questions = {question.text for history in histories for question in history.questions}
                sentences: Mapping[str, Sequence[str]] = by_rules(rules, questions)
                if given.model:
                    model = model_expander(given.model, given.base_url)
                    sentences = asyncio.run(by_model(model, questions))
                expanding = Expanding(Written(sentences))
                with profiles_of(histories, encoder) as profiles:
                    alone = search(profiles, histories, DEFAULT, as_of=given.as_of)
                    expanded = search(profiles, histories, DEFAULT, as_of=given.as_of, expanding=expanding)
                table.add_row(*row(file.stem, alone, expanded, expanding.counts.expanded))
                progress.advance(bar)
    except (UnusableData, EngineError, ExpanderFailure, ValidationError) as error:
        parser.error(str(error))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
