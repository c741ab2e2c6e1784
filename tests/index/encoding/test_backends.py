import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.documents import Document
from index.encoding import backends
from index.encoding.backends import BACKENDS, LEAST_COSINE, cosines
from index.encoding.encoders import SentenceTransformerEncoder, load_encoder
from index.encoding.options import EncoderOptions
from index.errors import EncoderMismatch, EncoderUnavailable
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder

TEXTS = [
    "Pears.",
    "The dentist moved my appointment to Thursday.",
    "Wir sind am Fluss entlanggelaufen. " * 12,
    "我昨天在上海见了李雷。",
    "We walked along the river, and then it rained. " * 12,
]


@pytest.fixture(scope="module", params=sorted(BACKENDS))
def encoder(request: pytest.FixtureRequest) -> Any:
    return load_encoder("minilm", options=EncoderOptions(backend=request.param))


def test_a_backend_gives_the_vectors_of_the_model(encoder: Any, minilm: SentenceTransformerEncoder) -> None:
    assert encoder.manifest.backend in BACKENDS
    for method in ("encode_documents", "encode_queries"):
        found = getattr(encoder, method)(TEXTS)
        assert found.dtype == np.float32
        assert cosines(found, getattr(minilm, method)(TEXTS)).min() >= LEAST_COSINE
        one_by_one = np.concatenate([getattr(encoder, method)([text]) for text in TEXTS])
        assert cosines(found, one_by_one).min() >= LEAST_COSINE
    assert encoder.encode_documents([]).shape == (0, 384)


def test_a_store_that_one_backend_wrote_is_searched_with_another(
    encoder: Any, minilm: SentenceTransformerEncoder, tmp_path: Path
) -> None:
    documents = [Document(id=str(number), text=text) for number, text in enumerate(TEXTS)]
    for number, (writer, reader) in enumerate(((encoder, minilm), (minilm, encoder))):
        url = f"sqlite:///{tmp_path / str(number)}.db"
        store = Store(url, writer.manifest)
        Profiles(store, writer).put("ana", documents)
        store.close()
        store = Store(url, reader.manifest)
        [found] = Profiles(store, reader).search("ana", ["When is the dentist?"], 1, "dense")
        assert found[0].document_id == "1"
        store.close()


def test_the_backend_stands_in_the_manifest_of_a_store(encoder: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    Store(url, encoder.manifest).open()
    with pytest.raises(EncoderMismatch, match=f"by {encoder.manifest.backend}"):
        Store(url, HashEncoder().manifest).open()


def test_an_unknown_backend_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(EncoderUnavailable, match=r"no encoder backend 'tpu'; there are torch, .*openvino"):
        load_encoder("minilm", options=EncoderOptions(backend="tpu"))


def test_a_backend_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EncoderUnavailable, match=r"install pr2\[openvino\]"):
        load_encoder("minilm", options=EncoderOptions(backend="openvino"))


class _Model:
    """Stands for a model of sentence-transformers."""

    def __init__(self) -> None:
        self.model: Any = 1.0

    def __getitem__(self, number: int) -> Any:
        return self

    def encode(self, texts: Sequence[str], **options: Any) -> Any:
        return np.array([[1.0, self.model * len(text)] for text in texts])


@pytest.mark.parametrize("made", [-1.0, float("nan")])
def test_a_backend_with_other_vectors_is_refused(made: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "BACKENDS", {"odd": lambda transformer: made})
    with pytest.raises(EncoderUnavailable, match="the backend odd gives other vectors on this machine"):
        backends.run_by("odd", _Model())
