"""Evidence recall of one search by retriever: the share of a question's evidence in the first k documents.

The query is the question as it is. Each file (see evidence.py) has a table of its own, so that data sets and
languages are not averaged. To compare encoders, as before and after training, name several: the retrievers
that use an encoder are measured with each, in a store of its own.

    python -m benchmarks.recall --data FILE... [--encoder NAME|DIR]... [--space NAME=ENCODER]...
        [--reranker FOLDER|FORM:URL] [--ranker FILE] [--as-of] [--by type|person] [--json OUT]
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agent.rerankers import RerankerOptions, RerankerUnavailable, load_reranker
from benchmarks.evidence import Asked, History, UnusableData, profiles_of, read_histories
from index.encoding.encoders import Encoder, load_encoder, load_space
from index.errors import ProfileError
from index.profiles import Profiles
from index.ranking.expanding import Expanding
from index.ranking.reranking import KEPT, Reranker, Reranking
from index.ranking.retrievers import BUILT_IN, DEFAULT, Retrievers, hybrid_by
from index.ranking.weights import BY_HAND, Weights, load_ranker
from index.searching import AsyncSearch
from index.when.scope import Scope

_PATIENCE_MS = 3_600_000
"""Longest wait for a reranker: all questions of a person are asked at once."""
READ = (5, 10, 20)
"""Numbers of documents read."""
RETRIEVERS = tuple(retriever.name for retriever in BUILT_IN if retriever.name != "none")


@dataclass(frozen=True)
class Measured:
    """One row: means over all questions of a data set."""

    retriever: str
    encoder: str
    """Empty if the ranking does not depend on one."""
    recall: dict[int, float]
    """Share of the evidence among the documents read, by their number."""
    any: dict[int, float]
    """Share of questions with at least one document of their evidence among those."""
    part: str = ""
    """Type of the questions or person that these means are over; empty for all."""
    questions: int = 0


@dataclass(frozen=True)
class Report:
    """The rows of one data set, and what they are means over."""

    dataset: str
    people: int
    documents: int
    questions: int
    evidence: int
    """Documents that hold evidence, summed over the questions."""
    without_evidence: int
    """Questions left out because they name none."""
    invalid: int
    """Documents left out because they do not fit the schema."""
    rows: list[Measured]


@dataclass(frozen=True)
class Found:
    """The share of one question's evidence among the documents read, by their number."""

    user: str
    question: Asked
    shares: dict[int, float]

    def part(self, by: str) -> str:
        return self.question.type if by == "type" else self.user


def search(
    profiles: Profiles,
    histories: Sequence[History],
    retriever: str,
    reranker: Reranker | None = None,
    *,
    as_of: bool = False,
    expanding: Expanding | None = None,
) -> list[Found]:
    """Search for every question of stored histories, from the day on which it was asked.

    With `as_of`, documents later than that day and the session of the question are not seen. Raises
    UnusableData if a query could not be reranked.
    """
    reranking = Reranking(reranker, limit_ms=_PATIENCE_MS) if reranker else None
    searching = AsyncSearch(profiles, reranking=reranking, expanding=expanding)
    found = []
    for history in histories:
        together: dict[tuple[date, str | None], list[Asked]] = {}
        for question in history.questions:
            together.setdefault((question.today, question.session if as_of else None), []).append(question)
        for (today, session), questions in together.items():
            profile = profiles.get(history.user)
            own = [profile.key(position) for position in profile.positions(session)] if session else ()
            texts = [question.text for question in questions]
            scope = Scope(today, hides_later=as_of)
            results = asyncio.run(searching.search(history.user, texts, max(READ), retriever, own, scope))
            if any(passage.unreranked for passages in results for passage in passages):
                raise UnusableData(f"{retriever}: a query was not reranked; the log says why")
            for question, passages in zip(questions, results, strict=True):
                read = {count: {passage.document_id for passage in passages[:count]} for count in READ}
                shares = {
                    count: sum(name in ids for name in question.evidence) / len(question.evidence)
                    for count, ids in read.items()
                }
                found.append(Found(history.user, question, shares))
    return found


def means(found: Sequence[Found]) -> dict[str, dict[int, float]]:
    """Mean `recall` and `any` by the number of documents read."""
    return {
        "recall": {read: statistics.fmean(each.shares[read] for each in found) for read in READ},
        "any": {read: statistics.fmean(each.shares[read] > 0 for each in found) for read in READ},
    }


def measured(retriever: str, encoder: str, found: Sequence[Found], by: str | None) -> list[Measured]:
    """Return the row over all questions and, with `by`, one for each of the parts."""
    parts: dict[str, list[Found]] = {}
    for each in found if by else ():
        parts.setdefault(each.part(by or ""), []).append(each)
    return [
        Measured(retriever, encoder, **means(several), part=part, questions=len(several))
        for part, several in (("", found), *sorted(parts.items()))
    ]


def rows(
    profiles: Profiles,
    histories: Sequence[History],
    encoder: str,
    *,
    first: bool,
    progress: Progress,
    reranker: Reranker | None = None,
    as_of: bool = False,
    by: str | None = None,
) -> list[Measured]:
    """Store the histories and measure each retriever, also reranked if there is a reranker.

    After the first encoder, only those that use one.
    """
    total = sum(len(history.documents) for history in histories)
    bar = progress.add_task(f"encoding with {encoder}", total=total)
    for history in histories:
        profiles.put(history.user, history.documents, progress=lambda done: progress.advance(bar, done))
    found: list[Measured] = []
    for name in (*RETRIEVERS, *profiles.spaces):
        uses = name not in profiles.spaces and profiles.retrievers.get(name).needs_vectors
        if first or uses:
            progress.update(bar, description=f"{name}, {encoder}")
            shown = encoder if uses else ""
            searched = search(profiles, histories, name, as_of=as_of)
            found += measured(name, shown, searched, by)
            if reranker is not None and name not in KEPT:
                searched = search(profiles, histories, name, reranker, as_of=as_of)
                found += measured(f"{name}, reranked", shown, searched, by)
    progress.remove_task(bar)
    return found


def report(
    file: Path,
    encoders: Mapping[str, Encoder],
    spaces: Mapping[str, Encoder],
    progress: Progress,
    reranker: Reranker | None = None,
    *,
    as_of: bool = False,
    by: str | None = None,
    weights: Weights = BY_HAND,
) -> Report:
    """Measure one file with every encoder, `hybrid` by these weights. Raises UnusableData, InvalidName."""
    histories = read_histories(file)
    questions = [question for history in histories for question in history.questions]
    if not questions:
        raise UnusableData(f"{file}: no question names its evidence")
    found: list[Measured] = []
    for number, (name, encoder) in enumerate(encoders.items()):
        further = {} if number else spaces
        retrievers = Retrievers(each if each.name != DEFAULT else hybrid_by(weights) for each in BUILT_IN)
        # Stored by `rows`, which shows how far that is.
        with profiles_of((), encoder, retrievers, further) as profiles:
            found += rows(
                profiles,
                histories,
                name,
                first=not number,
                progress=progress,
                reranker=reranker,
                as_of=as_of,
                by=by,
            )
    return Report(
        dataset=file.stem,
        people=len(histories),
        documents=sum(len(history.documents) for history in histories),
        questions=len(questions),
        evidence=sum(len(question.evidence) for question in questions),
        without_evidence=sum(history.without_evidence for history in histories),
        invalid=sum(history.invalid for history in histories),
        rows=found,
    )


def show(found: Report, console: Console) -> None:
    counts = {
        "people": found.people,
        "documents": found.documents,
        "questions": found.questions,
        "documents of evidence": found.evidence,
        "questions without evidence left out": found.without_evidence,
        "invalid documents left out": found.invalid,
    }
    title = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    table = Table(title=f"{found.dataset}: {title}")
    table.add_column("retriever")
    table.add_column("encoder")
    divided = any(row.part for row in found.rows)
    if divided:
        table.add_column("part")
        table.add_column("questions", justify="right")
    for kind in ("recall", "any"):
        for read in READ:
            table.add_column(f"{kind}@{read}", justify="right")
    for row in found.rows:
        figures = [*row.recall.values(), *row.any.values()]
        part = (row.part, str(row.questions)) if divided else ()
        table.add_row(row.retriever, row.encoder, *part, *(f"{value:.3f}" for value in figures))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Evidence recall of one search, by retriever.")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="histories")
    parser.add_argument(
        "--encoder",
        action="append",
        help="minilm, multilingual, contriever or a folder; repeatable; default minilm",
    )
    parser.add_argument(
        "--space", action="append", default=[], metavar="NAME=ENCODER", help="a further space; repeatable"
    )
    parser.add_argument("--reranker", metavar="FOLDER|FORM:URL", help="measure each retriever reranked, too")
    parser.add_argument("--ranker", type=Path, metavar="FILE", help="hybrid by the weights of this file")
    parser.add_argument(
        "--as-of", action="store_true", help="hide what is later than a question, and its own session"
    )
    parser.add_argument("--by", choices=("type", "person"), help="also a row for each of these")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    given = parser.parse_args(arguments)
    spaces = dict(pair.partition("=")[::2] for pair in given.space)
    if not all(spaces) or not all(spaces.values()):
        parser.error("--space takes NAME=ENCODER")
    reports = []
    try:
        options = RerankerOptions(limit_ms=_PATIENCE_MS)
        reranker = load_reranker(given.reranker, options) if given.reranker else None
        weights = load_ranker(given.ranker).weights if given.ranker else BY_HAND
        encoders = {name: load_encoder(name) for name in given.encoder or ["minilm"]}
        further = {name: load_space(spec) for name, spec in spaces.items()}
        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            for file in given.data:
                reports.append(
                    report(
                        file,
                        encoders,
                        further,
                        progress,
                        reranker,
                        as_of=given.as_of,
                        by=given.by,
                        weights=weights,
                    )
                )
                # At once: encoding the next file may take long.
                show(reports[-1], Console(width=140))
    except (UnusableData, ProfileError, RerankerUnavailable) as error:
        parser.error(str(error))
    if given.json:
        given.json.write_text(json.dumps([asdict(found) for found in reports], indent=2) + "\n")


if __name__ == "__main__":
    main()
