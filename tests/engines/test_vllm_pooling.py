"""Vectors and scores by vLLM's own /v1/embeddings and /rerank, compared with transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, LlamaForSequenceClassification, LlamaModel

from agent.rerankers import RerankerOptions, load_reranker
from index.documents import Document
from index.encoding.encoders import load_encoder
from index.encoding.options import EncoderOptions
from index.profiles import Profiles
from index.ranking.reranking import Counts, Reranking
from index.searching import AsyncSearch
from index.storage.store import Store
from tests.engines import model
from tests.engines.conftest import serving

TEXTS = ["I love ripe pears.", "The dentist moved my appointment.", "We walked along the river.", "Tea."]
QUERY = "When is the dentist?"
PATIENT = RerankerOptions("tiny", limit_ms=120_000)


@pytest.fixture(scope="module")
def vectors_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("vectors"), LlamaForCausalLM)


@pytest.fixture(scope="module")
def scores_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("scores"), LlamaForSequenceClassification)


def written(folder: Path, kind: type[LlamaForCausalLM] | type[LlamaForSequenceClassification]) -> Path:
    """A tiny random model of this kind, with its tokenizer."""
    torch.manual_seed(0)
    tokenizer = model.make_tokenizer()
    config = model.make_model(tokenizer, model.CONTEXT).config
    config.num_labels, config.initializer_range, config.pad_token_id = 1, 0.5, tokenizer.eos_token_id
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


async def test_a_profile_is_encoded_and_reranked_by_vllm(
    vectors_dir: Path, scores_dir: Path, tmp_path: Path
) -> None:
    pooling = ("--runner", "pooling")
    documents = [Document(id=str(number), text=text) for number, text in enumerate(TEXTS)]
    with serving(vectors_dir, tmp_path, *pooling) as server:
        options = EncoderOptions.model_validate(
            {"base_url": f"{server.url}/v1", "model": "tiny", "query_prompt": "query: ", "timeout_s": 120}
        )
        encoder = load_encoder("openai", options=options)
        np.testing.assert_allclose(encoder.encode_documents(TEXTS), pooled(vectors_dir, TEXTS), atol=1e-3)
        np.testing.assert_allclose(
            encoder.encode_queries([QUERY]), pooled(vectors_dir, [f"query: {QUERY}"]), atol=1e-3
        )
        store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
        profiles = Profiles(store, encoder)
        profiles.put("ana", documents)
        [near] = profiles.search("ana", [QUERY], len(TEXTS), "dense")
    similar = pooled(vectors_dir, TEXTS) @ pooled(vectors_dir, [f"query: {QUERY}"])[0]
    assert [int(passage.document_id) for passage in near] == np.argsort(-similar).tolist()

    with serving(scores_dir, tmp_path, *pooling) as server:
        reranking = Reranking(load_reranker(f"cohere:{server.url}/v1", PATIENT), limit_ms=PATIENT.limit_ms)
        search = AsyncSearch(profiles, reranking=reranking)
        found = await reranking.rerank("ana", [QUERY], [near], len(TEXTS))
        expected = scored(scores_dir, QUERY, [passage.text for passage in near])
        order = np.argsort(-expected, kind="stable")
        assert [passage.document_id for passage in found[0]] == [near[i].document_id for i in order]
        assert reranking.counts == Counts(reranked=1)
        # The server of vectors is away: words need none.
        [by_words] = await search.search("ana", ["dentist river"], 2, "bm25")
        assert {passage.document_id for passage in by_words} == {"1", "2"}
        assert reranking.counts == Counts(reranked=2)
    store.close()


def pooled(folder: Path, texts: list[str]) -> np.ndarray:
    """The last token's state, normalized, which is vLLM's default for decoders."""
    tokenizer, plain = AutoTokenizer.from_pretrained(folder), LlamaModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = [
            plain(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)) for text in texts
        ]
    vectors = torch.stack([state.last_hidden_state[0, -1] for state in states])
    return np.asarray(torch.nn.functional.normalize(vectors, dim=1).numpy())


def scored(folder: Path, query: str, texts: list[str]) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = LlamaForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = [
            plain(**tokenizer(query, text, return_tensors="pt", return_token_type_ids=False)).logits[0, 0]
            for text in texts
        ]
    return np.asarray(torch.stack(logits).numpy())
