"""Processor time of the functions that read people's text, for a text ten times as long.

    python -m benchmarks.linear [--rounds 5]

Each function reads a hostile text of 20,000 characters and one of 200,000; the ratio of the times is 10 for
a linear function and 100 for a quadratic one.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from agent.citations import MARK
from agent.policies.leads import find_lead
from agent.policies.sentences import Reading
from agent.tags import TagParser, escape, missing_close
from agent.trajectory import Read
from benchmarks.speed import Figure, table_of
from index.documents import Passage
from index.text.passages import split
from index.text.sentences import SPEAKER, spans
from index.text.words import words

SHORT, GROWN = 20_000, 10
BAR = 20.0


def _count(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def _parse(text: str) -> object:
    parser = TagParser()
    for start in range(0, len(text), 4):
        parser.feed(text[start : start + 4])
    return parser.close()


def _read(text: str) -> Reading:
    return Reading([Read(1, Passage("1", text, score=1.0))])


CASES: Sequence[tuple[str, Callable[[str], object], str]] = (
    ("sentences of initials", spans, "A. "),
    ("sentences with closing quotes", spans, 'Go."" '),
    ("sentences of blank lines", spans, ". \n\n \n"),
    ("passages", lambda text: split(text, 128, _count), "A. "),
    ("speakers", lambda text: SPEAKER.sub("", text), "Aa Bb "),
    ("words with accents", words, "\u0316\u0301"),
    ("words with apostrophes", words, "a'"),
    ("escape", escape, "< /"),
    ("missing close tag", missing_close, "<think>"),
    ("tag parser", _parse, "< think"),
    ("citation marks", lambda text: MARK.sub("", text), "[1, 1"),
    ("extractive: ranking", lambda text: _read(text).rank("Who is Ines?"), "A. Ines's "),
    (
        "extractive: names",
        lambda text: find_lead("who has tea?", _read(text), {1}, ""),
        "Her Ines had tea. ",
    ),
)


def seconds(function: Callable[[str], object], text: str, rounds: int) -> float:
    """The least processor time that `function` takes for `text`."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        function(text)
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time ratios for a text ten times as long.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    figures = []
    for name, function, unit in CASES:
        short, long = ((unit * size)[:size] for size in (SHORT, SHORT * GROWN))
        few, many = seconds(function, short, rounds), seconds(function, long, rounds)
        detail = f"{many * 1e3:.1f} ms / {few * 1e3:.1f} ms, {len(long):,} characters of {unit!r}"
        figures.append(Figure(name, many / few, BAR, True, detail))
    Console(width=130).print(table_of(f"Time for an input {GROWN} times as long", figures))
    sys.exit(0 if all(figure.met for figure in figures) else 1)


if __name__ == "__main__":
    main()
