"""Adapts the commands' backends to what an evaluation gets its answers from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from agent.auto import Chooser
from agent.methods import METHODS
from agent.selecting import read_manifest
from agent.trajectory import AUTO, Trajectory
from index.documents import Document
from index.errors import InvalidDocument, UnknownDocument
from index.values import ANY_TIME, Passage, Period
from server.answers import record_of
from server.cli.backend import Backend, LocalBackend
from server.cli.printable import one_line
from server.client import ApiError, AskOptions
from server.service import InvalidQuestion
from training.evaluation.answers import AnswerOptions, Unanswered, UnfitMethod, UnfitQuestion
from training.evaluation.profiles import ProfileUnavailable

ENGINE = {"engine", "model", "protocol", "temperature", "context_tokens", "engine_args"}
"""The settings of an engine that answers depend on."""
_SHOWN = 60
"""Characters of a refused question that are shown."""


class BackendAnswers:
    """Implements training.evaluation.answers.Answers with a backend, and translates its errors."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._service = backend.service if isinstance(backend, LocalBackend) else None

    @property
    def most_at_once(self) -> int | None:
        """See Answers. A question waiting in the service's queue uses up its deadline."""
        if self._service is None:
            return None
        return max(self._service.settings.limits.concurrency // self._service.most_trajectories, 1)

    @property
    def chooser(self) -> Chooser | None:
        """Chooses for the retriever `auto`, if the local service has a selector. A server chooses itself."""
        return self._service.chooser(AUTO) if self._service and self._service.settings.selector else None

    def check(self, method: str, *, has_plan: bool) -> None:
        """See Answers. A server refuses each question itself."""
        if self._service:
            try:
                self._service.check(METHODS[method], "the rubric" if has_plan else "")
            except InvalidQuestion as error:
                raise UnfitMethod(str(error)) from None

    def check_question(self, question: str) -> None:
        """See Answers. A server refuses each question itself."""
        if self._service:
            try:
                self._service.check_question(question)
            except InvalidQuestion as error:
                raise UnfitQuestion(str(error)) from None

    def describe(self, retriever: str | None, limits: Mapping[str, int]) -> dict[str, Any]:
        """See Answers. Of a server, only the address is known.

        Raises UnknownRetriever and SelectorUnavailable, but not for a server.
        """
        if self._service is None:
            return {
                "server": getattr(self._backend, "url", ""),
                "retriever": retriever or "the server's own",
                "limits": limits,
            }
        settings = self._service.settings
        name = retriever or settings.retriever
        self._service.chooser(name)
        chosen = {"selector": _selector(settings.selector)} if name == AUTO and settings.selector else {}
        return {
            "limits": asdict(settings.limits.limits(limits)),
            "policy": settings.policy.model_dump(mode="json", include=ENGINE),
            "planner": settings.planning.model_dump(mode="json", include=ENGINE),
            "encoder": self._service.profiles.encoders,
            "retriever": name,
            **chosen,
        }

    async def document(self, user: str, document_id: str, /) -> Document:
        """See ProfileStore."""
        try:
            return await self._backend.document(user, document_id)
        except ApiError as error:
            if error.status == 404:
                raise UnknownDocument(str(error)) from None
            raise ProfileUnavailable(str(error)) from None

    async def put(self, user: str, documents: Sequence[Document], /) -> None:
        """See ProfileStore."""
        try:
            await self._backend.put(user, documents)
        except ApiError as error:
            if error.status == 422:
                raise InvalidDocument(str(error), error.line) from None
            raise ProfileUnavailable(str(error)) from None

    async def search(
        self, user: str, query: str, k: int, retriever: str | None, as_of: date | None = None
    ) -> Sequence[Passage]:
        """The best `k` documents for the query, each by its best passage, as of a day or else of today.

        Raises Unanswered.
        """
        if self._service:
            # Not left to the service, whose own `auto` does not hold for searches.
            retriever = retriever or self._service.settings.retriever
        try:
            return (await self._backend.search(user, [query], k, retriever, _as_of(as_of)))[0]
        except ApiError as error:
            raise Unanswered(str(error)) from None

    async def answer(self, user: str, question: str, options: AnswerOptions) -> Trajectory:
        """See Answers."""
        asked: AskOptions = {
            "method": options.method,
            "retriever": options.retriever,
            "limits": dict(options.limits),
            "remember": False,
            "period": _as_of(options.as_of),
        }
        if options.plan is not None:
            asked["plan"] = options.plan
        try:
            return (await record_of(self._backend.answer(user, question, **asked))).trajectory
        except (ApiError, InvalidQuestion) as error:
            if isinstance(error, InvalidQuestion) or error.status == 422:
                raise UnfitQuestion(f"{error} ({one_line(question)[:_SHOWN]})") from None
            raise Unanswered(str(error)) from None


def _as_of(day: date | None) -> Period:
    """The whole history on a day of a data set, which has no time zones, see agent.trajectory.Today."""
    return Period(as_of=day, time_zone="UTC") if day else ANY_TIME


def _selector(folder: Path) -> dict[str, Any]:
    """JSON values that a selector's choices depend on. Raises SelectorUnavailable."""
    manifest = read_manifest(folder).model_dump(mode="json", include={"mode", "members", "max_tokens"})
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return {**manifest, "weights": digest.hexdigest()}
