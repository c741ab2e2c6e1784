"""Vectors of a wrong length: refused with their shape, and nothing is stored or found with them."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from index.documents import parse_document
from index.encoding.encoders import EncoderManifest
from index.errors import EncoderUnavailable, StoreUnavailable, UnknownUser
from index.profiles import Profiles
from index.searching import AsyncSearch
from index.storage import schema
from index.storage.store import Store
from tests.index.fakes import HashEncoder

DOCUMENTS = [parse_document({"id": str(number), "text": f"note {number}"}) for number in range(3)]


class Shifted(HashEncoder):
    """Says 16 dimensions and, once `dimension` is set, gives vectors of another length."""

    dimension: int | None = None

    @property
    def manifest(self) -> EncoderManifest:
        return self._manifest

    @manifest.setter
    def manifest(self, manifest: EncoderManifest) -> None:
        self._manifest = manifest

    def encode_documents(self, texts):  # type: ignore[no-untyped-def]
        vectors = super().encode_documents(texts)
        return vectors if self.dimension is None else np.resize(vectors, (len(texts), self.dimension))


@pytest.mark.parametrize("dimension", [1, 15, 17, 32])
async def test_an_encoder_of_another_length_is_refused(tmp_path: Path, dimension: int) -> None:
    encoder = Shifted()
    profiles = Profiles(Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest), encoder)
    profiles.put("ana", DOCUMENTS)
    encoder.dimension = dimension
    with pytest.raises(
        EncoderUnavailable, match=rf"hash gave vectors of shape \(3, {dimension}\), not \(3, 16\)"
    ):
        profiles.put("ben", DOCUMENTS)
    with pytest.raises(UnknownUser):
        profiles.store.version("ben")
    with pytest.raises(EncoderUnavailable, match=r"not \(1, 16\)"):
        profiles.search("ana", ["note"], 1, "dense")
    with pytest.raises(EncoderUnavailable, match=r"not \(1, 16\)"):
        await AsyncSearch(profiles).search("ana", ["note"], 1, "dense")
    assert profiles.search("ana", ["note"], 1, "bm25")[0]
    profiles.store.close()


@pytest.mark.parametrize("vector", [b"", b"\0", bytes(30), bytes(34)])
def test_a_damaged_vector_is_named_with_its_user(tmp_path: Path, vector: bytes) -> None:
    encoder = HashEncoder()
    profiles = Profiles(Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest), encoder)
    for user in ("ana", "ben"):
        profiles.put(user, DOCUMENTS)
    with profiles.store.database.engine.begin() as connection:
        passages = schema.passages.c
        connection.execute(
            update(schema.passages)
            .where(passages.user == "ana", passages.position == 1)
            .values(vector=vector)
        )
    with pytest.raises(StoreUnavailable, match="a vector of the user 'ana' does not have 16 dimensions"):
        profiles.search("ana", ["note"], 1)
    assert profiles.search("ben", ["note"], 1)[0]
    profiles.put("ana", [document.model_copy(update={"text": "again"}) for document in DOCUMENTS])
    assert profiles.search("ana", ["note"], 1)[0]
    profiles.store.close()
