import functools
import json
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document
from index.encoding.encoders import Encoder, load_encoder
from index.encoding.openai import CONNECTIONS, TEXTS, OpenAIEncoder
from index.encoding.options import EncoderOptions
from index.errors import EncoderMismatch, EncoderUnavailable
from index.profiles import Profiles
from index.remote import Remote
from index.storage.store import Store
from tests.engine import HANG_BEFORE_HEADERS, Engine, Reply, Request, Script, fails
from tests.model_server import WIDTH, ModelServer, embeds, says, vector

NOWHERE = {"base_url": "http://127.0.0.1:1/v1", "model": "tiny"}


def options(server: Engine, **others: Any) -> EncoderOptions:
    return EncoderOptions.model_validate({"base_url": server.base_url, "model": "tiny", **others})


def encoder_at(server: Engine, **others: Any) -> OpenAIEncoder:
    """An encoder that does not wait between its attempts."""
    return OpenAIEncoder(options(server, **others), remote=partial(Remote, sleep=lambda seconds: None))


def then(script: Script) -> Script:
    """Encodes the probe, and leaves all other requests to the script."""
    probed: list[Request] = []

    def reply(request: Request) -> Reply:
        if not probed:
            probed.append(request)
            return embeds(request)
        return script(request)

    return reply


def test_vectors_come_in_the_order_of_the_texts_with_the_prompts_and_the_key() -> None:
    with ModelServer(embeds) as server:
        encoder = load_encoder(
            "openai:tiny", options=options(server, query_prompt="q: ", model="", api_key="secret")
        )
        texts = [f"tea {number}" for number in range(TEXTS * 2 + 1)]
        np.testing.assert_allclose(
            encoder.encode_documents(texts), [vector(text) for text in texts], atol=1e-6
        )
        np.testing.assert_allclose(encoder.encode_queries(["tea"]), [vector("q: tea")], atol=1e-6)
        assert encoder.encode_documents([]).shape == (0, WIDTH)
        assert encoder.encode_documents([""]).shape == (1, WIDTH)
        assert all(len(request.json["input"]) <= TEXTS for request in server.requests)
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}
        assert {request.path for request in server.requests} == {"/v1/embeddings"}
        assert {request.json["model"] for request in server.requests} == {"tiny"}
    manifest = encoder.manifest
    assert (manifest.name, manifest.dimension, manifest.normalized) == ("tiny", WIDTH, True)
    assert (manifest.query_prompt, manifest.document_prompt) == ("q: ", "")
    assert "at a server" in str(manifest)
    assert "127.0.0.1" not in json.dumps(manifest.to_dict())


def test_the_dimension_that_is_asked_for_has_to_come() -> None:
    def shortened(request: Request) -> Reply:
        return embeds(request, width=request.json["dimensions"])

    with ModelServer(shortened) as server:
        assert encoder_at(server, dimensions=4).manifest.dimension == 4
    with ModelServer(embeds) as server, pytest.raises(EncoderUnavailable, match="8 dimensions, not 4"):
        encoder_at(server, dimensions=4)


def test_a_store_is_opened_through_another_address_but_not_with_another_model(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pr2.db'}"

    def other_model(request: Request) -> Reply:
        data = [{"index": i, "embedding": vector(f"other {t}")} for i, t in enumerate(request.json["input"])]
        return says({"data": data})

    def other_precision(request: Request) -> Reply:
        data = [
            {"index": i, "embedding": [round(value, 2) for value in vector(text)]}
            for i, text in enumerate(request.json["input"])
        ]
        return says({"data": data})

    with ModelServer(embeds) as server:
        Store(url, encoder_at(server).manifest).open()
        other_prompt = encoder_at(server, document_prompt="passage: ").manifest
    with ModelServer(other_precision) as server:
        Store(url, encoder_at(server).manifest).open()
    with ModelServer(other_model) as server:
        same_name = encoder_at(server).manifest
    for refused in (same_name, other_prompt):
        with pytest.raises(EncoderMismatch, match="pr2 profile reembed"):
            Store(url, refused).open()


BAD: dict[str, tuple[Callable[[Request], Reply], str]] = {
    "no list": (lambda request: says({"data": "none"}), "no list of embeddings"),
    "no JSON": (lambda request: Reply((b"<html>",)), "did not reply with JSON"),
    "too few": (lambda request: says({"data": [{"embedding": [1.0] * WIDTH}]}), "1 vectors for 2 texts"),
    "one index twice": (
        lambda request: says({"data": [{"index": 0, "embedding": [1.0] * WIDTH}] * 2}),
        "indices are wrong",
    ),
    "another dimension": (partial(embeds, width=4), "4 dimensions, not 8"),
    "two dimensions": (
        lambda request: says({"data": [{"embedding": [1.0] * WIDTH}, {"embedding": [1.0]}]}),
        "several dimensions",
    ),
    "zero": (lambda request: says({"data": [{"embedding": [0.0] * WIDTH}] * 2}), "zero or not finite"),
    "NaN": (
        lambda request: Reply((json.dumps({"data": [{"embedding": [float("nan")] * WIDTH}] * 2}).encode(),)),
        "zero or not finite",
    ),
    "a wrong key": (lambda request: fails(401, "green tea"), "status 401: set the key"),
    "too long": (lambda request: fails(413, "green tea"), "status 413"),
    "overloaded": (lambda request: fails(503), "status 503"),
    "broken off": (lambda request: Reply((b'{"data": [', "cut")), "cannot be reached, or broke off"),
    "silent": (lambda request: HANG_BEFORE_HEADERS, "did not answer /embeddings within 0.5 s"),
    "dripping": (lambda request: Reply((b'{"data": [', *((0.2, b" ") * 20))), "within 0.5 s"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_reply_that_cannot_be_used_is_an_error_and_nothing_is_stored(tmp_path: Path, kind: str) -> None:
    script, expected = BAD[kind]
    with ModelServer(then(script)) as server:
        encoder = encoder_at(server, retries=1, timeout_s=0.5, api_key="secret")
        store = Store(f"sqlite:///{tmp_path / 'pr2.db'}", encoder.manifest)
        profiles = Profiles(store, encoder)
        with pytest.raises(EncoderUnavailable, match=expected) as failure:
            profiles.put("ana", [Document(id="a", text="green tea"), Document(id="b", text="black tea")])
        assert store.users() == []
        store.close()
    assert "tea" not in str(failure.value)
    assert "secret" not in str(failure.value)


def test_a_server_that_is_busy_is_asked_again_when_it_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    waits: list[float] = []
    left = [fails(429, headers=(("Retry-After", "7"),)), fails(503), Reply(("cut",))]

    def busy(request: Request) -> Reply:
        return left.pop(0) if left else embeds(request)

    with ModelServer(then(busy)) as server:
        encoder = OpenAIEncoder(options(server, api_key="secret"), remote=partial(Remote, sleep=waits.append))
        np.testing.assert_allclose(encoder.encode_queries(["tea"]), [vector("tea")], atol=1e-6)
        assert len(server.requests) == 5
    assert waits[0] == 7
    assert len(waits) == 3
    assert "secret" not in caplog.text


def test_a_refusal_is_not_sent_again() -> None:
    with ModelServer(then(lambda request: fails(400))) as server:
        encoder = encoder_at(server)
        with pytest.raises(EncoderUnavailable, match="status 400: the input may be too long"):
            encoder.encode_queries(["tea"])
        assert len(server.requests) == 2


def test_few_requests_are_in_progress_at_once() -> None:
    lock, arrived, most = threading.Lock(), [0, 0], CONNECTIONS
    together = threading.Barrier(most, timeout=60)

    class Counting(Remote):
        def post(self, path: str, body: dict[str, Any]) -> Any:
            if len(body["input"]) == 1:
                return super().post(path, body)
            with lock:
                arrived[0] += 1
                arrived[1] = max(arrived)
            together.wait()
            with lock:
                arrived[0] -= 1
            return super().post(path, body)

    with ModelServer(embeds) as server:
        encoder = OpenAIEncoder(options(server), remote=Counting)
        encoder.encode_documents(["tea"] * TEXTS * most * 2)
    assert arrived == [0, most]


def test_no_server_no_model_and_a_bad_key_are_errors_at_the_start() -> None:
    with pytest.raises(EncoderUnavailable, match=r"set encoding\.base_url and encoding\.model"):
        load_encoder("openai")
    nowhere = EncoderOptions.model_validate(NOWHERE | {"retries": 0})
    with pytest.raises(EncoderUnavailable, match=r"http://127\.0\.0\.1:1/v1 cannot be reached"):
        load_encoder("openai", options=nowhere)
    with pytest.raises(EncoderUnavailable, match=r"encoding\.api_key"):
        load_encoder("openai", options=EncoderOptions.model_validate(NOWHERE | {"api_key": "schlüssel"}))
    with pytest.raises(EncoderUnavailable, match="no tokenizer can be loaded"):
        load_encoder("openai", options=EncoderOptions.model_validate(NOWHERE | {"tokenizer": "/nowhere"}))


@given(st.lists(st.text(max_size=400), min_size=1, max_size=5))
def test_without_a_tokenizer_nothing_longer_than_the_window_in_bytes_is_sent(texts: list[str]) -> None:
    encoder = made_without_a_server(
        EncoderOptions.model_validate(NOWHERE | {"window": 64, "query_prompt": "q: "})
    )
    sent = [text.encode() for text in encoder._cut(texts)]
    assert all(len(text) + len("q: ") + 2 <= 64 for text in sent)
    for text, cut in zip(texts, sent, strict=True):
        assert text.encode().startswith(cut)
        if encoder.count_tokens([text])[0] <= encoder.manifest.window:
            assert text.encode() == cut


def test_a_tokenizer_on_disk_counts_and_cuts(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "tea": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = made_without_a_server(
        EncoderOptions.model_validate(
            NOWHERE | {"window": 16, "tokenizer": str(tmp_path), "document_prompt": "tea : "}
        )
    )
    assert encoder.manifest.window == 16 - 2 - 2
    assert encoder.count_tokens(["green  tea", "", "tea " * 30]) == [2, 0, 30]
    assert encoder._cut(["tea  " * 30, "tea "]) == [("tea  " * 12).rstrip(), "tea "]


class Nowhere(Remote):
    """Encodes without a server."""

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return {"data": [{"embedding": vector(text)} for text in body["input"]]}


@functools.cache
def made_without_a_server(given: EncoderOptions) -> OpenAIEncoder:
    return OpenAIEncoder(given, remote=Nowhere)


def test_long_documents_are_split_before_they_are_sent(tmp_path: Path) -> None:
    with ModelServer(embeds) as server:
        encoder: Encoder = encoder_at(server, window=64)
        store = Store(f"sqlite:///{tmp_path / 'pr2.db'}", encoder.manifest)
        profiles = Profiles(store, encoder)
        text = " ".join(f"word{number}" for number in range(200)) + " 茶" * 100
        profiles.put("ana", [Document(id="a", text=text)])
        [[passage]] = profiles.search("ana", ["word7"], 1, "dense")
        assert passage.document_id == "a"
        longest = max(len(sent.encode()) for one in server.requests[1:] for sent in one.json["input"])
        assert longest <= 64
        store.close()
