"""`pr2 evaluate`: LaMP-QA on the local service or through a server, and the report on what came out."""

import asyncio
import hashlib
import json
import os
import platform
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from server.cli import options
from server.cli.errors import BadInput, said_plainly
from server.cli.printable import one_line

if TYPE_CHECKING:
    from agent.trajectory import Trajectory
    from server.cli.backend import Backend
    from training.lampqa.data import Question
    from training.lampqa.judge import Judge
    from training.lampqa.records import Record
    from training.lampqa.runs import Outcome

evaluate = typer.Typer(help="Measure how well answers fit the person who asked, as LaMP-QA does.")

_JUDGE_TIMEOUT_S = 120.0
_JUDGE_CALLS = 256
"""At a time: all that the questions under way bring. Its server queues what it cannot do at once."""
MethodName = Literal["none", "rag", "rag-random", "pr2"]


@evaluate.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder. Started again, it goes on.")
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME|FILE", help="sample, lamp-qa, or a JSON or JSONL file.")
    ] = "sample",
    category: Annotated[
        list[str] | None, typer.Option("--category", help="art, lifestyle or society; all if not given.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of lamp-qa: train, validation or test.")] = "test",
    method: Annotated[
        MethodName, typer.Option("--method", help="rag-random gives the passages of somebody else.")
    ] = "pr2",
    most: Annotated[int | None, typer.Option("--limit", help="Only the first so many questions.")] = None,
    judge: Annotated[
        Literal["lexical", "openai"],
        typer.Option("--judge", help="lexical needs no model, and is not comparable with LaMP-QA."),
    ] = "lexical",
    judge_url: Annotated[
        str | None, typer.Option("--judge-url", metavar="URL", help="Of the judge's server, with /v1.")
    ] = None,
    judge_model: Annotated[str, typer.Option("--judge-model", help="Its name at that server.")] = "",
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Questions at a time, judging included.")
    ] = 32,
    per_second: Annotated[
        float | None, typer.Option("--per-second", min=0.001, help="Questions begun in a second, at most.")
    ] = None,
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--prices", help="Of a million tokens, read and written; for the cost in the report."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides whose passages rag-random takes.")] = 0,
    top_k: Annotated[int | None, typer.Option(help="Documents that one search brings.")] = None,
    max_searches: Annotated[int | None, typer.Option(help="The most searches.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that the policy may write.")] = None,
    retriever: options.Retriever = None,
    server: options.Server = None,
    data: options.Data = None,
    encoder: options.Encoder = None,
    policy: options.PolicyName = None,
    base_url: options.BaseUrl = None,
    model: options.Model = None,
    protocol: options.Protocol = None,
) -> None:
    """Answer and judge every question of a data set, into DIR.

    DIR gets responses and scores in LaMP-QA's own formats, trajectories, and a manifest. Killed and started
    again, it does only what is missing; another configuration is refused. The profiles lie in a store
    beside the runs (--data, if not DIR/../store), so that they are encoded once.

    Exit code 1: some questions could not be answered, and are still owed.
    """
    if context.invoked_subcommand is not None:
        return
    with said_plainly():
        if out is None:
            raise BadInput("give --out DIR, the folder of the run (see pr2 evaluate --help)")
    if server is None:
        data = data or out.parent / "store"
    flags = options.flags(
        data=data,
        encoder=encoder,
        policy=policy,
        base_url=base_url,
        model=model,
        protocol=protocol,
    )
    limits = {"top_k": top_k, "max_searches": max_searches, "max_tokens": max_tokens}
    asked = {
        "retriever": retriever,
        "limits": {name: value for name, value in limits.items() if value is not None},
    }
    with said_plainly():
        questions = _questions(dataset, category or [], split, most)
        outcome = asyncio.run(
            _run(
                out,
                dataset,
                questions,
                method,
                seed,
                asked,
                server,
                flags,
                concurrency,
                per_second,
                prices,
                partial(_judge, judge, judge_url, judge_model, out),
            )
        )
    _print(outcome)
    if outcome.failed:
        raise typer.Exit(1)


@evaluate.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs, to be compared.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to; beside the first run if not given.")
    ] = None,
) -> None:
    """Write one HTML page, and the same as Markdown, on one or several runs."""
    from training.lampqa.report import write_report

    folder = out or runs[0].parent
    with _refusals():
        write_report(runs, folder)
    typer.echo(f"{folder / 'report.html'}")


Run = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)]


@evaluate.command()
def form(
    folder: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The form; JSONL.", show_default=False)],
    dataset: Annotated[
        str,
        typer.Option("--dataset", metavar="NAME|FILE", help="What the run was on: it has the narratives."),
    ] = "sample",
    split: Annotated[str, typer.Option("--split", help="Of lamp-qa: train, validation or test.")] = "test",
    count: Annotated[int, typer.Option("--count", min=1, help="Aspects to rate.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Decides which are drawn.")] = 0,
) -> None:
    """Write a form in which people rate aspects of the run's answers, without seeing the judge's verdicts."""
    from training.lampqa.agreement import write_form

    with _refusals():
        written = write_form(folder, file, count, seed, _questions(dataset, [], split, None)())
    typer.echo(f"{file}: {written} aspects to rate")


@evaluate.command()
def agreement(
    folder: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ratings; JSONL.", show_default=False)],
) -> None:
    """Compare the judge's verdicts with people's: how often they are the same, and Cohen's kappa."""
    from training.lampqa import agreement as agreements

    with _refusals():
        typer.echo(agreements.as_text(agreements.agreement(folder, file)))


@contextmanager
def _refusals() -> Iterator[None]:
    """What is wrong with a folder or a file, as one line."""
    with said_plainly():
        try:
            yield
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from None


def _questions(
    dataset: str, categories: list[str], split: str, most: int | None
) -> "Callable[[], Iterator[Question]]":
    """What reads the data set, from its beginning, as often as it is called."""
    from itertools import islice

    from training.lampqa import data, sample

    wanted = {data.category_named(category) for category in categories} or set(data.CATEGORIES)

    def read() -> "Iterator[Question]":
        found: Iterator[Question]
        if dataset == "sample":
            found = (data.Question.model_validate(record) for record in sample.records())
        elif dataset == "lamp-qa":
            found = (question for name in sorted(wanted) for question in data.from_hub(name, split))
        else:
            # One of LaMP-QA's files may name its parts otherwise; for them, one category is what it is of.
            found = data.read(Path(dataset), category=next(iter(wanted)) if len(categories) == 1 else None)
        own = dataset not in ("sample", "lamp-qa") and not categories
        yield from islice((question for question in found if own or question.category in wanted), most)

    return read


@asynccontextmanager
async def _judge(kind: str, url: str | None, model: str, out: Path) -> "AsyncIterator[Judge]":
    from training.lampqa.judge import LexicalJudge

    if kind == "lexical":
        yield LexicalJudge()
        return
    if url is None:
        raise BadInput("--judge openai needs --judge-url, the address of the judge's server")
    from agent.openai_server import OpenAIServer
    from agent.policy import PolicyError
    from training.lampqa.llm_judge import LLMJudge
    from training.lampqa.verdicts import CachedJudge, VerdictCache

    key = os.environ.get("PR2_JUDGE_API_KEY")
    server = OpenAIServer(url, model, key, idle_timeout_s=_JUDGE_TIMEOUT_S)
    # Beside the runs, so that what one has paid for serves the others.
    with VerdictCache(out.parent / "verdicts.db") as cache:
        try:
            judge = await LLMJudge.connect(server, timeout_s=_JUDGE_TIMEOUT_S, concurrency=_JUDGE_CALLS)
        except PolicyError as error:
            await server.aclose()
            raise BadInput(f"the judge: {error}") from None
        async with aclosing(CachedJudge(judge, cache)) as cached:
            yield cached


async def _run(
    out: Path,
    dataset: str,
    questions: "Callable[[], Iterator[Question]]",
    method: MethodName,
    seed: int,
    asked: Mapping[str, Any],
    server: str | None,
    flags: Mapping[str, Any],
    concurrency: int,
    per_second: float | None,
    prices: tuple[float, float] | None,
    make_judge: "Callable[[], AbstractAsyncContextManager[Judge]]",
) -> "Outcome":
    from agent.prompts import PROMPT_VERSION
    from index.errors import InvalidDocument
    from server.cli.backend import open_backend
    from server.client import ApiError
    from training.lampqa.data import dataset_hash
    from training.lampqa.runs import Run, Unanswered

    count = sum(1 for _ in questions())
    if count == 0:
        raise BadInput("there is no question to answer")
    async with make_judge() as judge, open_backend(server, flags) as backend:
        configuration = {
            "dataset": {"name": dataset, "hash": dataset_hash(questions()), "questions": count},
            "method": method,
            "seed": seed,
            **_service_of(backend, asked),
            "judge": {"name": judge.name, "comparable": judge.comparable},
            "prompt_version": PROMPT_VERSION,
        }
        run = Run(out, configuration)
        profiles = _Profiles(backend)
        people: list[str] = []
        if method == "rag-random":
            people = sorted({await profiles.keep(question) for question in questions()})
            if len(people) == 1:
                raise BadInput("rag-random needs the profiles of at least two people")

        async def answer(question: "Question") -> "Trajectory":
            try:
                user = await profiles.keep(question)
            except (ApiError, InvalidDocument) as error:
                raise Unanswered(f"its profile cannot be stored: {error}") from None
            if people:
                # Any of the others, with the same luck: the place of the person's own name is skipped.
                place = random.Random(f"{seed} {question.id}").randrange(len(people) - 1)
                user = people[place + (place >= people.index(user))]
            name = "rag" if method == "rag-random" else method
            return await _answer(backend, user, question.question, name, asked)

        with _progress(out.name, count, len(run.done)) as watcher:
            return await run.work_off(
                questions(),
                answer,
                judge,
                concurrency=_at_once(backend, concurrency),
                per_second=per_second,
                watcher=watcher,
                facts=_facts(prices),
            )


def _facts(prices: tuple[float, float] | None) -> dict[str, Any]:
    """What the manifest says beside the configuration: with what the run was made."""
    named = ("pr2", "faiss-cpu", "numpy", "sentence-transformers", "torch", "transformers")
    facts: dict[str, Any] = {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in named}},
        "commit": _commit(),
    }
    if prices is not None:
        facts["prices"] = {"prompt_per_million": prices[0], "completion_per_million": prices[1]}
    return facts


def _commit() -> str | None:
    """Of the checkout that this runs from, if it does."""
    try:
        said = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def _at_once(backend: "Backend", concurrency: int) -> int:
    """No more than the local service answers at once: a question that waits in its queue loses time."""
    from server.cli.backend import LocalBackend

    if isinstance(backend, LocalBackend):
        return min(concurrency, backend.service.settings.limits.concurrency)
    return concurrency


def _service_of(backend: "Backend", asked: Mapping[str, Any]) -> dict[str, Any]:
    """What answers, as far as it is known from here: a server is known by its address."""
    from server.cli.backend import LocalBackend

    retriever = asked["retriever"]
    if not isinstance(backend, LocalBackend):
        return {
            "server": getattr(backend, "url", ""),
            "retriever": retriever or "the server's own",
            "limits": asked["limits"],
        }
    settings = backend.service.settings
    chosen = {"engine", "model", "protocol", "temperature", "context_tokens", "engine_args"}
    return {
        "limits": asdict(settings.limits.limits()) | asked["limits"],
        "policy": settings.policy.model_dump(mode="json", include=chosen),
        "encoder": str(backend.service.profiles.encoder.manifest),
        "retriever": retriever or settings.retriever,
    }


async def _answer(
    backend: "Backend", user: str, question: str, method: str, asked: Mapping[str, Any]
) -> "Trajectory":
    from server.client import ApiError
    from server.service import AnswerRecord, InvalidQuestion
    from training.lampqa.runs import Unanswered

    record: AnswerRecord | None = None
    try:
        async with aclosing(backend.answer(user, question, method=method, **asked)) as events:
            async for event in events:
                if isinstance(event, AnswerRecord):
                    record = event
    except (ApiError, InvalidQuestion) as error:
        raise Unanswered(str(error)) from None
    assert record is not None, "the record comes last, in every case"
    return record.trajectory


class _Profiles:
    """Puts each profile into the store once, under a name made from what it holds."""

    def __init__(self, backend: "Backend") -> None:
        self._backend = backend
        self._kept: dict[str, asyncio.Task[None]] = {}

    async def keep(self, question: "Question") -> str:
        """The user that has this question's profile, from now on."""
        user = _user(question)
        if user not in self._kept:
            self._kept[user] = asyncio.create_task(self._put(user, question))
        try:
            await self._kept[user]
        except Exception:
            self._kept.pop(user, None)
            raise
        return user

    async def _put(self, user: str, question: "Question") -> None:
        from index.documents import parse_document
        from index.errors import UnknownDocument, UnknownUser
        from server.client import ApiError

        items = question.profile
        try:
            # All of a profile is stored, or none of it.
            await self._backend.document(user, items[0].id)
        except (UnknownUser, UnknownDocument):
            pass
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            return
        documents = [parse_document({"id": item.id, "text": item.text}) for item in items]
        await self._backend.put(user, documents)


def _user(question: "Question") -> str:
    items = [[item.id, item.text] for item in question.profile]
    return f"lampqa-{hashlib.sha256(json.dumps(items).encode()).hexdigest()[:24]}"


class _Watcher:
    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, completed=done)
        self._scores: list[float] = []
        self._failed = 0

    def finished(self, record: "Record") -> None:
        if record.score is not None:
            self._scores.append(record.score)
        self._show()

    def failed(self, question_id: str, why: str) -> None:
        self._failed += 1
        self._progress.console.print(one_line(f"{question_id}: {why}"), style="red", highlight=False)
        self._show()

    def _show(self) -> None:
        mean = f"score {sum(self._scores) / len(self._scores):.3f}" if self._scores else ""
        failed = f", {self._failed} failed" if self._failed else ""
        self._progress.update(self._task, advance=1, description=mean + failed)


@contextmanager
def _progress(name: str, total: int, done: int) -> Iterator[_Watcher]:
    """A bar on stderr, and only on a terminal, with the running score of this session."""
    console = Console(stderr=True)
    columns = (
        TextColumn(one_line(name, 30)),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(
        *columns, TimeElapsedColumn(), Remaining(), console=console, disable=not console.is_terminal
    ) as progress:
        yield _Watcher(progress, total, done)


def _print(outcome: "Outcome") -> None:
    from training.lampqa.scores import as_text

    typer.echo(as_text(outcome.summary))
    for question, why in outcome.failed.items():
        typer.echo(one_line(f"still owed: {question}: {why}"), err=True)
