"""Shows how the extractive policy's answers change with each of its thresholds a quarter lower and higher.

The differences are paired by question, with 95 % bootstrap intervals; the measures are those of answers.py.

    python -m benchmarks.thresholds [--data FILE...] [--every N]
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agent.policies.quoting import CHOSEN, Thresholds
from benchmarks.answers import Dataset, answers_of, differences, named_histories, parser_of, shown
from benchmarks.evidence import History, UnusableData, profiles_of
from index.encoding.encoders import Encoder, load_encoder

FACTORS = (0.75, 1.25)
SHOWN = ("precision", "recall", "first", "words", "searches")
"""Measures that are shown."""

Difference = tuple[float, tuple[float, float] | None]


def varied(chosen: Thresholds = CHOSEN) -> Iterator[tuple[str, Thresholds]]:
    """Yield the thresholds with one of them changed, and what is changed."""
    for name, value in asdict(chosen).items():
        for factor in FACTORS:
            yield f"{name} {value:g} → {value * factor:.3g}", replace(chosen, **{name: value * factor})


def sensitivity(
    name: str, histories: Sequence[History], encoder: Encoder, progress: Progress
) -> dict[str, dict[str, Difference]]:
    """Differences of each measure from those with the chosen thresholds, by what is changed."""
    settings = list(varied())
    bar = progress.add_task(name, total=1 + len(settings))
    with profiles_of(histories, encoder) as profiles:

        def answered(thresholds: Thresholds) -> Dataset:
            found = [one for history in histories for one in answers_of(profiles, history, thresholds)]
            progress.advance(bar)
            return Dataset(name, found, [])

        chosen = answered(CHOSEN)
        found = {said: differences(answered(thresholds), chosen) for said, thresholds in settings}
    progress.remove_task(bar)
    return found


def table_of(name: str, questions: int, found: Mapping[str, Mapping[str, Difference]]) -> Table:
    """A row for each change of a threshold."""
    table = Table(title=f"{name}, {questions} questions: differences from the chosen thresholds")
    for column in ("threshold", *SHOWN):
        table.add_column(column, justify="right" if table.columns else "left")
    for said, changed in found.items():
        cells = (shown(measure, *changed[measure], signed=True) for measure in SHOWN)
        table.add_row(said, *(cell.replace("\n", " ") for cell in cells))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("How answers change with the policy's thresholds.")
    given = parser.parse_args(arguments)
    try:
        named = named_histories(given)
        encoder = load_encoder(given.encoder)
        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            for name, histories in named.items():
                questions = sum(len(history.questions) for history in histories)
                found = sensitivity(name, histories, encoder, progress)
                Console(width=170).print(table_of(name, questions, found))
    except UnusableData as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
