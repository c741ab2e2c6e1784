"""Vectors are as long as the manifest says, or nothing is stored and nothing searched with them."""

from collections.abc import Sequence

from index.encoding.encoders import Encoder, EncoderManifest, Vectors
from index.errors import EncoderUnavailable


class CheckedEncoder:
    """Another encoder, with EncoderUnavailable in place of vectors of a wrong shape.

    FAISS would fail on them with an assertion, or the store would keep what cannot be read back.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def manifest(self) -> EncoderManifest:
        return self._encoder.manifest

    @property
    def batch_tokens(self) -> int:
        return self._encoder.batch_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._encoder.count_tokens(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._checked(texts, self._encoder.encode_queries(texts))

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return self._checked(texts, self._encoder.encode_documents(texts))

    def _checked(self, texts: Sequence[str], vectors: Vectors) -> Vectors:
        expected = (len(texts), self.manifest.dimension)
        if vectors.shape != expected:
            raise EncoderUnavailable(
                f"the encoder {self.manifest.name} gave vectors of shape {vectors.shape}, not {expected}"
            )
        return vectors
