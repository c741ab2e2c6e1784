"""Measures what times in questions gain, and what they cost where a question only seems to name one.

`data/times.json` was written before the parser: for each of three languages, twenty kinds of expression and
twenty false friends ("May I", a league on Sundays), in made histories where the same things happen again and
again. The evidence is to be among the first five documents. With `--data` (see evidence.py), the windows in
other questions are counted: one is wrong where the question names no time, as far as a wide net of words and
digits tells. Recall is compared with that of the same ranking without times, question by question.

    python -m benchmarks.times [--data FILE...] [--encoder NAME|DIR]
"""

import argparse
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import recall
from benchmarks.evidence import History, UnusableData, profiles_of, read_histories
from index.encoding.encoders import Encoder, load_encoder
from index.errors import ProfileError
from index.profiles import Profiles
from index.ranking.profile import Profile
from index.ranking.retrievers import BUILT_IN, DEFAULT, BuiltIn, Query, Ranking, Retrievers, hybrid
from index.ranking.times import named_times
from training.evaluation.statistics import paired_bootstrap

FILE = Path(__file__).with_name("data") / "times.json"
READ = 5
FALSE_FRIEND = "none"
"""Type of the questions that name no time."""
NET = re.compile(
    r"\d|\b(?:January|February|March|April|May|June|July|August|September|October|November|December|"
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|summer|winter|spring|fall|autumn|Christmas|Easter|"
    r"Thanksgiving|Halloween|last|next|ago|yesterday|today|tonight|tomorrow|since)\b"
)
"""A question without any of these names no time. English, whose other readings of March or fall are rare
enough to be read by hand."""
TIMELESS = "hybrid-timeless"
SEED = 0


def timeless(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank as `hybrid` does without reading times."""
    return hybrid(profile, [Query(query.text, query.vector) for query in queries], depth)


def stored(histories: Sequence[History], encoder: Encoder) -> AbstractContextManager[Profiles]:
    """Profiles of the histories, with `hybrid-timeless` beside the built-in retrievers."""
    retrievers = Retrievers([*BUILT_IN, BuiltIn(TIMELESS, timeless, needs_vectors=True)])
    return profiles_of(histories, encoder, retrievers)


def made(profiles: Profiles, histories: Sequence[History], console: Console) -> None:
    """Print, for each person of the made histories, how much was found and the windows that should not be."""
    table = Table(title=f"{len(histories)} made histories, evidence among the first {READ} documents")
    for column in (
        "person",
        "times",
        "with a window",
        "found",
        "timeless",
        "false friends",
        "no window",
        "found",
    ):
        table.add_column(column, justify="left" if column == "person" else "right")
    totals = [0] * 7
    for history in histories:
        by_ranking = [recall.search(profiles, [history], name) for name in (DEFAULT, TIMELESS)]
        counts = [0] * 7
        for found, plain in zip(*by_ranking, strict=True):
            asked = found.question
            windows = named_times(profiles.get(history.user), asked.text, asked.today).windows
            shown = found.shares[READ] == 1
            if asked.type == FALSE_FRIEND:
                counts[4:] = (counts[4] + 1, counts[5] + (not windows), counts[6] + shown)
            else:
                both = counts[0] + 1, counts[1] + bool(windows)
                counts[:4] = (*both, counts[2] + shown, counts[3] + (plain.shares[READ] == 1))
        table.add_row(history.user, *map(str, counts))
        totals = [one + other for one, other in zip(totals, counts, strict=True)]
    table.add_row("all", *map(str, totals))
    console.print(table)


def real(file: Path, profiles: Profiles, histories: Sequence[History], console: Console) -> None:
    """Print the windows found in a file's questions, and recall with and without them."""
    found, plain = (recall.search(profiles, histories, name) for name in (DEFAULT, TIMELESS))
    windows = [
        named_times(profiles.get(each.user), each.question.text, each.question.today).windows
        for each in found
    ]
    table = Table(title=f"{file.stem}: {len(found)} questions")
    for column in ("questions", "number", "with a window", "recall@10", "timeless", "difference, 95 %"):
        table.add_column(column, justify="left" if column == "questions" else "right")
    named = [bool(NET.search(each.question.text)) for each in found]
    for title, kept in (
        ("all", [True] * len(found)),
        ("that may name a time", named),
        ("without a time", [not each for each in named]),
    ):
        rows = [number for number, keep in enumerate(kept) if keep]
        if not rows:
            continue
        ours, theirs = ([each[number].shares[10] for number in rows] for each in (found, plain))
        means = [sum(shares) / len(shares) for shares in (ours, theirs)]
        interval = paired_bootstrap([ours], [theirs], seed=SEED)
        bounds = f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
        table.add_row(
            title,
            str(len(rows)),
            str(sum(bool(windows[number]) for number in rows)),
            *(f"{mean:.3f}" for mean in means),
            f"{means[0] - means[1]:+.3f}{bounds}",
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What times in questions gain and cost.")
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help="other histories")
    parser.add_argument("--encoder", default="minilm", help="minilm, contriever or a folder")
    given = parser.parse_args(arguments)
    console = Console(width=140)
    try:
        encoder = load_encoder(given.encoder)
        for file in (FILE, *given.data):
            histories = read_histories(file)
            with stored(histories, encoder) as profiles:
                if file == FILE:
                    made(profiles, histories, console)
                else:
                    real(file, profiles, histories, console)
    except (UnusableData, ProfileError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
