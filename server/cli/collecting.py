"""Opens what `pr2 train feedback` needs, shows its progress, and prints its outcome."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress, TaskID

from agent.engines.factory import make_policy
from agent.engines.weights import fingerprint
from index.documents import Passage
from index.searching import AsyncSearch
from server.cli.answers import ENGINE
from server.cli.backend import open_local
from server.cli.errors import BadInput
from server.cli.lamp import LampOptions
from server.cli.options import settings_of
from server.cli.printable import one_line
from server.cli.progress import bar
from training.evaluation.profiles import KeptProfiles, person_of
from training.evaluation.task import Task, dataset_hash
from training.feedback.collect import Collected, Source, collect
from training.feedback.lamp import LampUtility
from training.feedback.outputs import Outputs, Spent
from training.feedback.ranking import first_documents, query
from training.feedback.rubric import RubricUtility
from training.feedback.trajectories import feedback_from_run
from training.feedback.utility import Utility
from training.judging.factory import JudgeConfiguration, open_judge
from training.tasks import task_named
from training.tasks.lamp.prompts import TOKENS

OUTPUTS, VERDICTS = "outputs.db", "verdicts.db"
"""Files beside the folders of feedback, which all of them use."""

Opening = Callable[[Outputs], AbstractAsyncContextManager[Utility[Any]]]
"""Opens a utility whose outputs are kept."""


@dataclass(frozen=True)
class Asked:
    """The options of a collection."""

    task: Task[Any]
    split: str
    most: int | None
    retriever: str
    documents: int | None
    """None is the whole profile."""
    dates: bool
    concurrency: int
    prices: tuple[float, float] | None

    def questions(self) -> Iterator[Any]:
        """Read the questions from the first. Raises DataError."""
        return islice(self.task.read([], self.split), self.most)


def lamp_utility(
    of_lamp: LampOptions, flags: dict[str, Any], limits: Mapping[str, int], measure: str
) -> Opening:
    """The utility for a task of LaMP. Takes the policy out of `flags`, as LampOptions.text_model does."""
    number = of_lamp.number
    assert number is not None
    model = of_lamp.text_model(flags, limits, local=True)

    @asynccontextmanager
    async def opened(outputs: Outputs) -> AsyncIterator[Utility[Any]]:
        async with aclosing(model):
            yield LampUtility(number, model, outputs, measure, of_lamp.prompt_tokens or TOKENS)

    return opened


def rubric_utility(
    flags: dict[str, Any], limits: Mapping[str, int], judge: JudgeConfiguration, folder: Path
) -> Opening:
    """The utility for questions with rubrics. Takes the policy out of `flags`."""
    settings = settings_of(flags)
    chosen = settings.limits.limits(limits)
    policy = make_policy(settings.policy)
    flags["policy"] = {"engine": "extractive", "protocol": "tags"}

    @asynccontextmanager
    async def opened(outputs: Outputs) -> AsyncIterator[Utility[Any]]:
        async with (
            aclosing(policy),
            aclosing(await open_judge(judge, folder / VERDICTS)) as judging,
        ):
            described = {
                **settings.policy.model_dump(mode="json", include=ENGINE),
                "weights": fingerprint(settings.policy.model) if settings.policy.model else None,
            }
            yield RubricUtility(policy, described, judging, outputs, chosen, settings.policy.protocol)

    return opened


async def collected(out: Path, asked: Asked, flags: Mapping[str, Any], opening: Opening) -> int:
    """Collect the feedback, print its outcome, and return the number of failed calls."""
    # Read one question first: a wrong name is reported before models are loaded.
    next(asked.questions(), None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with Outputs(out.parent / OUTPUTS) as outputs:
        async with open_local(flags) as backend, opening(outputs) as utility:
            profiles = backend.service.profiles
            search = AsyncSearch(profiles)

            async def found(user: str, text: str, k: int) -> Sequence[Passage]:
                return (await search.search(user, [text], k, asked.retriever))[0]

            shared = profiles.query_encoder(asked.retriever)
            manifest = None if shared is None else shared.encoder.manifest
            alone = asked.retriever in ("dense", *profiles.spaces)
            source = Source(
                asked.task.name,
                asked.questions,
                query,
                person_of,
                first_documents(KeptProfiles(backend).keep, found, asked.documents),
                manifest.to_dict() if manifest and alone else None,
            )
            configuration = {
                "dataset": {
                    "split": asked.task.split(asked.split),
                    "hash": await asyncio.to_thread(dataset_hash, asked.questions()),
                },
                "dates": asked.dates,
                "retriever": asked.retriever,
                "ranked_with": str(manifest) if manifest else None,
                "documents": asked.documents,
            }
            with bar(out.name, 1) as (progress, task):
                watcher = _Watcher(progress, task, outputs.spent, asked.prices)
                counts = await collect(
                    out, source, utility, configuration, concurrency=asked.concurrency, watcher=watcher
                )
    _print(out, counts, outputs.spent, asked.prices)
    return counts.failed


def from_run(out: Path, run: Path) -> None:
    """Write the feedback of a run's trajectories, and print its counts."""
    from training.evaluation.loading import load_runs

    try:
        (loaded,) = load_runs([run])
        dataset = loaded.manifest["dataset"]
        questions = task_named(loaded.dataset).read([], dataset.get("split") or "")
        people = {question.id: person_of(question) for question in questions}
        counts = feedback_from_run(out, run, people.get)
    except ValueError as error:
        raise BadInput(str(error)) from None
    left_out = counts.unanswered + counts.unjudged + counts.without_passages
    typer.echo(
        f"{out}: feedback on {counts.kept} questions; left out {left_out}: {counts.unanswered} unanswered, "
        f"{counts.unjudged} not judged, {counts.without_passages} answered without reading"
    )


class _Watcher:
    """Shows calls, failures and cost in the progress bar, and names each failure once."""

    def __init__(
        self, progress: Progress, task: TaskID, spent: Spent, prices: tuple[float, float] | None
    ) -> None:
        self._progress = progress
        self._task = task
        self._spent = spent
        self._prices = prices
        self._failed = 0
        self._questions = self._owed = 0
        self._reasons = set[str]()

    def started(self, questions: int, finished: int) -> None:
        self._owed = questions - finished
        self._progress.update(self._task, total=questions, completed=finished)

    def called(self) -> None:
        self._show()

    def finished(self, question_id: str) -> None:
        self._questions += 1
        self._progress.advance(self._task)

    def failed(self, question_id: str, document_id: str, why: str) -> None:
        self._failed += 1
        if why not in self._reasons:
            self._reasons.add(why)
            line = one_line(f"{question_id}, document {document_id}: {why}")
            self._progress.console.print(line, style="red", highlight=False, markup=False)

    def _show(self) -> None:
        parts = [f"{self._spent.calls} calls, {self._spent.kept} kept"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._prices is not None:
            so_far = cost(self._spent, self._prices)
            parts.append(f"cost {so_far:.2f}")
            if self._questions:
                parts[-1] += f" of about {so_far * self._owed / self._questions:.2f}"
        self._progress.update(self._task, description=", ".join(parts))


def cost(spent: Spent, prices: tuple[float, float]) -> float:
    """The cost of the calls so far, at prices per million prompt and completion tokens."""
    return (spent.prompt_tokens * prices[0] + spent.written_tokens * prices[1]) / 1e6


def _print(out: Path, counts: Collected, spent: Spent, prices: tuple[float, float] | None) -> None:
    priced = "" if prices is None else f", cost at most about {cost(spent, prices):.2f}"
    typer.echo(
        f"{out}: {counts.utilities} utilities of documents for {counts.questions} questions "
        f"({spent.calls} calls, {spent.kept} kept from before{priced})"
    )
    if counts.without_documents:
        typer.echo(f"{counts.without_documents} questions left out: the ranking found no document", err=True)
    if counts.failed:
        typer.echo(
            f"still owed: {counts.failed} documents whose call failed; run the same command again", err=True
        )
