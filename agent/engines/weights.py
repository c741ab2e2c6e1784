"""Identifies a model by its files, so that outputs of one are never taken for those of its namesake."""

import hashlib
from pathlib import Path

_PATTERNS = ("*.safetensors", "*.bin", "*.json", "*.model", "*.txt")
_BLOCK, _BLOCKS = 2**20, 16


def fingerprint(model: str) -> str | None:
    """sha256, in hex, of a model's folder: configuration, tokenizer and weights. None for a name on the hub.

    Of a large file its size and 16 MiB, evenly spread over it, are read: to read tens of gigabytes would take
    minutes, and training changes nearly all weights.
    """
    folder = Path(model)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted({file for pattern in _PATTERNS for file in folder.glob(pattern)}):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            for block in range(_BLOCKS):
                stream.seek(max(size - _BLOCK, 0) * block // (_BLOCKS - 1))
                digest.update(stream.read(_BLOCK))
                if size <= _BLOCK:
                    break
    return digest.hexdigest()
