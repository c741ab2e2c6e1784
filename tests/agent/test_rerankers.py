import time
from pathlib import Path

import numpy as np
import pytest

from agent.crossencoder import CrossEncoderUnavailable
from agent.rerankers import (
    RERANKERS,
    CrossEncoderReranker,
    RerankerOptions,
    RerankerUnavailable,
    load_reranker,
    register,
)
from index.ranking.reranking import RerankerFailure
from tests.agent.tiny_selector import make

LONG = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder as sentence-transformers saves it."""
    from sentence_transformers import CrossEncoder

    base = make(tmp_path_factory.mktemp("base"), None, words=["green", "tea", "dog"])
    saved = tmp_path_factory.mktemp("cross") / "encoder"
    CrossEncoder(str(base), device="cpu").save_pretrained(str(saved), create_model_card=False)
    return saved


def test_scores_are_those_of_sentence_transformers(folder: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    texts = ["green tea", "dog", "", "tea tea dog", "[SEP] green"] * 4
    expected = CrossEncoder(str(folder), device="cpu").predict(
        [("green tea", text) for text in texts[:4]], activation_fn=torch.nn.Identity()
    )
    reranker = load_reranker(str(folder))
    found = reranker.scores("green tea", texts, time.monotonic() + LONG)
    assert len(found) == len(texts)
    np.testing.assert_allclose(found[:4], expected, atol=1e-5)
    np.testing.assert_allclose(found[:5], found[5:10], atol=1e-5)


def test_a_long_query_leaves_room_for_the_passage_which_loses_its_end(folder: Path) -> None:
    reranker = load_reranker(str(folder))
    first, other, longer = reranker.scores(
        "green " * 500, ["tea", "dog", "tea" + " dog" * 500], time.monotonic() + LONG
    )
    assert len({first, other, longer}) == 3


def test_it_stops_at_the_deadline(folder: Path) -> None:
    with pytest.raises(RerankerFailure, match="encoder was too slow"):
        load_reranker(str(folder)).scores("tea", ["green tea"], time.monotonic() - 1)


def test_an_error_of_the_model_is_a_failure(folder: Path) -> None:
    import torch

    class Broken(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.config, self.device = model.config, torch.device("cpu")

        def forward(self, **inputs: object) -> None:
            raise RuntimeError("CUDA out of memory")

    from agent.crossencoder import load_crossencoder

    model, tokenizer = load_crossencoder(folder, "cpu")
    with pytest.raises(RerankerFailure, match="broken: RuntimeError"):
        CrossEncoderReranker(Broken(model), tokenizer, "broken").scores(
            "tea", ["green tea"], time.monotonic() + LONG
        )


def test_what_cannot_be_loaded_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(RerankerUnavailable, match=r"neither a folder nor one of cohere:URL, tei:URL"):
        load_reranker(str(tmp_path / "nothing"))
    with pytest.raises(RerankerUnavailable, match="cannot be loaded"):
        load_reranker(str(tmp_path))
    with pytest.raises(RerankerUnavailable, match="tei takes tei:URL"):
        load_reranker("tei:localhost")
    with pytest.raises(RerankerUnavailable, match="rerank_api_key"):
        load_reranker("cohere:http://127.0.0.1:1/v1", RerankerOptions(api_key="schlüssel"))
    two = make(tmp_path / "two", None, num_labels=2)
    with pytest.raises(RerankerUnavailable, match="has 2 outputs, not one"):
        load_reranker(str(two))
    assert not issubclass(RerankerUnavailable, CrossEncoderUnavailable)


def test_a_reranker_is_registered_by_its_name(folder: Path) -> None:
    def toy(argument: str, options: RerankerOptions) -> CrossEncoderReranker:
        assert (argument, options.model) == ("a:b", "tiny")
        loaded = load_reranker(str(folder))
        assert isinstance(loaded, CrossEncoderReranker)
        return loaded

    register("toy", toy)
    try:
        assert load_reranker("toy:a:b", RerankerOptions(model="tiny")).name == "encoder"
        with pytest.raises(ValueError, match="already a reranker 'toy'"):
            register("toy", toy)
    finally:
        del RERANKERS["toy"]
