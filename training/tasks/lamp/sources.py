"""Finds LaMP's files: in a local folder of the published layout, or at their published address."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import httpx

from training.tasks.errors import DataError, DatasetUnavailable
from training.tasks.lamp.schemas import name_of

Separation = Literal["time", "user"]
"""How the published data are divided: by time within each person, or by person."""
SPLITS = ("train", "dev", "test")
PUBLISHED = "https://ciir.cs.umass.edu/downloads/LaMP"
NEWER = 2
"""Task 2 tags movies only below `new`. Without it, it is an older task of another schema."""
_TIMEOUT_S = 60.0
_PIECE = 2**20
_LOCAL = "To work offline, pass a folder with the published files, as in --dataset lamp/time"


class UnknownSplit(DataError, ValueError):
    """LaMP has no split of this name."""


@dataclass(frozen=True)
class Files:
    questions: Path
    outputs: Path | None
    """None if there are none, as for the published test splits."""


class Downloads(Protocol):
    """Where published files come from."""

    def fetch(self, path: str) -> Path:
        """The local copy of a file, by its published path. Raises DatasetUnavailable."""
        ...


def split_named(text: str) -> str:
    """Resolve a split's name; `validation` is dev. Raises UnknownSplit."""
    name = "dev" if text == "validation" else text
    if name not in SPLITS:
        raise UnknownSplit(f"no split is called {text!r}; there are: {', '.join(SPLITS)}")
    return name


def local_files(path: Path, number: int, split: str, separation: Separation | None = None) -> Files:
    """The files of a task below a folder, or a file of questions with its outputs beside it.

    The layout is the published one (`time/LaMP_4/dev/dev_questions.json`), or any of its inner folders.
    Raises DatasetUnavailable if there are none, or those of both separations and none is chosen.
    """
    if path.is_file():
        return _with_outputs(path)
    split = split_named(split)
    name = f"{split}_questions.json"
    tried = [folder / name for folder in _folders(path, number, split, separation)]
    found = list(dict.fromkeys(file for file in tried if file.is_file()))
    if not found:
        raise DatasetUnavailable(f"{path}: holds none of {', '.join(_relative(tried, path))}")
    if len(found) > 1:
        these = " and ".join(_relative(found, path))
        raise DatasetUnavailable(f"{path}: holds {these}: choose one by --separation, or name the file")
    return _with_outputs(found[0])


def published_files(number: int, split: str, separation: Separation, downloads: Downloads) -> Files:
    """Fetch the published files of a task. Raises DatasetUnavailable."""
    split = split_named(split)
    folder = "/".join(
        [*(["time"] if separation == "time" else []), name_of(number), *(["new"] if number == NEWER else [])]
    )
    questions = downloads.fetch(f"{folder}/{split}/{split}_questions.json")
    if split == "test":
        return Files(questions, None)
    return Files(questions, downloads.fetch(f"{folder}/{split}/{split}_outputs.json"))


class PublishedFiles:
    """The files at PUBLISHED, each fetched once into a folder.

    The addresses are those that public repositories use; they could not be tried where this was written. An
    address that does not exist may be answered by a page with status 200, so the content is looked at.
    """

    def __init__(self, cache: Path | None = None, transport: httpx.BaseTransport | None = None) -> None:
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._cache = cache or default / "pr2" / "lamp"
        self._transport = transport

    def fetch(self, path: str) -> Path:
        """See Downloads."""
        file = self._cache / path
        if file.exists():
            return file
        address = f"{PUBLISHED}/{path}"
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            with (
                httpx.Client(transport=self._transport, timeout=_TIMEOUT_S, follow_redirects=True) as client,
                client.stream("GET", address) as response,
                draft.open("wb") as content,
            ):
                response.raise_for_status()
                for piece in response.iter_bytes(_PIECE):
                    content.write(piece)
            with draft.open("rb") as content:
                if content.read(_PIECE).lstrip()[:1] not in (b"[", b"{"):
                    raise DatasetUnavailable(f"{address} is answered, but not with JSON. {_LOCAL}")
            draft.replace(file)
        except httpx.HTTPError as error:
            why = str(error).partition("\n")[0]
            raise DatasetUnavailable(f"{address} cannot be fetched ({why}). {_LOCAL}") from None
        finally:
            draft.unlink(missing_ok=True)
        return file


def _folders(path: Path, number: int, split: str, separation: Separation | None) -> Iterator[Path]:
    name = name_of(number)
    yield path
    yield path / split
    for inner in ("time", "") if separation is None else ("time",) if separation == "time" else ("",):
        task = path / inner / name
        yield from (task / split, task, *([task / "new" / split] if number == NEWER else []))


def outputs_beside(questions: Path) -> Path | None:
    """The file of outputs for a file of questions; None if its name does not say that it holds questions."""
    outputs = questions.with_name(questions.name.replace("questions", "outputs"))
    return outputs if outputs != questions else None


def _with_outputs(questions: Path) -> Files:
    outputs = outputs_beside(questions)
    return Files(questions, outputs if outputs and outputs.is_file() else None)


def _relative(files: Sequence[Path], folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in files]
