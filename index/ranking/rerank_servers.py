"""Rerankers at a server: one class for each form of a /rerank endpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from index.ranking.reranking import RerankerFailure
from index.remote import Remote, RemoteFailure

TEXTS = 32
"""Texts of one request, the most that TEI takes by default."""
CALLS = 8


class _Result(BaseModel, extra="ignore"):
    index: int
    relevance_score: float


class _Results(BaseModel, extra="ignore"):
    results: list[_Result]


class _Rank(BaseModel, extra="ignore"):
    index: int
    score: float


_RANKS = TypeAdapter(list[_Rank])


class CohereReranker:
    """Cohere's form, which vLLM and Jina have, too."""

    calls = CALLS

    def __init__(self, remote: Remote, model: str = "") -> None:
        self.name = remote.address
        self._remote = remote
        self._model = {"model": model} if model else {}

    def scores(self, query: str, texts: Sequence[str], deadline: float) -> list[float]:
        """See Reranker. Documents are sent in parts, so that none is too large for the server."""
        parts = [texts[start : start + TEXTS] for start in range(0, len(texts), TEXTS)]
        return [score for part in parts for score in self._part(query, part)]

    def _part(self, query: str, texts: Sequence[str]) -> list[float]:
        try:
            found = self._read(self._remote.post("/rerank", self._request(query, texts)))
        except RemoteFailure as failure:
            raise RerankerFailure(str(failure)) from None
        except ValidationError:
            raise RerankerFailure(f"{self.name} sent no list of scores") from None
        if len(found) != len(texts) or {index for index, _ in found} != set(range(len(texts))):
            raise RerankerFailure(f"{self.name} sent {len(found)} scores for {len(texts)} passages")
        return [score for _, score in sorted(found)]

    def _request(self, query: str, texts: Sequence[str]) -> dict[str, Any]:
        return {**self._model, "query": query, "documents": list(texts), "top_n": len(texts)}

    def _read(self, reply: Any) -> list[tuple[int, float]]:
        """Pairs of index and score. Raises ValidationError."""
        return [(one.index, one.relevance_score) for one in _Results.model_validate(reply).results]


class TEIReranker(CohereReranker):
    """The form of text-embeddings-inference. The server cuts off what is too long for its model."""

    def _request(self, query: str, texts: Sequence[str]) -> dict[str, Any]:
        return {"query": query, "texts": list(texts), "truncate": True, "raw_scores": False}

    def _read(self, reply: Any) -> list[tuple[int, float]]:
        return [(one.index, one.score) for one in _RANKS.validate_python(reply)]


SERVERS: Mapping[str, type[CohereReranker]] = {"cohere": CohereReranker, "tei": TEIReranker}
"""Forms by the name that a setting gives before the URL."""
