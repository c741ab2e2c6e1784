"""LaMP-QA as published on the Hugging Face Hub."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from training.tasks.errors import DatasetUnavailable, Skip
from training.tasks.lampqa.data import CATEGORIES, Question, category_named, read_files, split_named

REPOSITORY = "alireza7/LaMP-QA"

_SPLIT_WORDS = {"train": {"train"}, "validation": {"validation", "valid", "val", "dev"}, "test": {"test"}}
_SUFFIXES = {".json", ".jsonl", ".ndjson"}
_NAMED = 12
_OTHER_THAN_LETTERS = re.compile(r"[^a-z]+")


class Hub(Protocol):
    """The source of the published files. Both methods raise DatasetUnavailable."""

    def files(self) -> Sequence[str]:
        """The paths of all files in the data set's repository."""
        ...

    def fetch(self, file: str) -> Path:
        """Fetch one of them, and return the path of the local copy."""
        ...


def from_hub(
    category: str,
    split: str,
    hub: Hub | None = None,
    *,
    allow_empty_profile: bool = False,
    skip: Skip | None = None,
) -> Iterator[Question]:
    """Yield the published questions of a category and split (`train`, `validation`, `test`).

    The repository is known to hold JSON, with configurations named as CATEGORIES and splits as SPLITS; its
    file layout is not known. A file is assumed to name its category and its split in its path
    (`…/Art_and_Entertainment/test.json`, `art_and_entertainment_test.jsonl`, several parts of one split),
    in any order and with any punctuation. If no file does, the error lists the files.

    The content of the records' own `category` is not known either. LaMP-QA averages over its three
    categories, so each question gets the name of the requested one.

    Raises UnknownCategory, InvalidRecord, and DatasetUnavailable, whose message says how to work offline.
    """
    category, split = category_named(category), split_named(split)
    hub = hub or HuggingFaceHub()
    found = hub.files()
    files = sorted(file for file in found if _belongs(file, category, split))
    if not files:
        listed = ", ".join(sorted(found)[:_NAMED]) + (", …" if len(found) > _NAMED else "")
        raise DatasetUnavailable(
            f"{REPOSITORY} holds no JSON file whose path names {category} and {split}; it holds: "
            f"{listed or 'nothing'}. {_LOCAL}"
        )
    yield from read_files([hub.fetch(file) for file in files], category, allow_empty_profile, skip)


@dataclass(frozen=True)
class HuggingFaceHub:
    """The data set on the Hugging Face Hub, or in its local cache if the Hub cannot be reached."""

    revision: str | None = None
    """A commit, tag or branch; None for the newest commit."""

    def files(self) -> Sequence[str]:
        """See Hub."""
        import huggingface_hub

        more = {"repo_type": "dataset", "revision": self.revision}
        try:
            return list(huggingface_hub.list_repo_files(REPOSITORY, **more))
        except Exception as error:
            try:
                folder = Path(huggingface_hub.snapshot_download(REPOSITORY, local_files_only=True, **more))
            except Exception:
                raise _unreachable(error) from None
            return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]

    def fetch(self, file: str) -> Path:
        """See Hub."""
        import huggingface_hub

        try:
            return Path(
                huggingface_hub.hf_hub_download(REPOSITORY, file, repo_type="dataset", revision=self.revision)
            )
        except Exception as error:
            raise _unreachable(error) from None


_LOCAL = (
    "To work offline, download the data set on another machine (https://huggingface.co/datasets/"
    f"{REPOSITORY}) and pass its JSON or JSONL file, as in --dataset "
    f"{CATEGORIES[0]}_test.json."
)


def _unreachable(error: Exception) -> DatasetUnavailable:
    # The client passes on exceptions of several HTTP libraries, and their messages can be long.
    reason = " ".join(str(error).split())[:200]
    return DatasetUnavailable(
        f"{REPOSITORY} cannot be fetched from the Hub ({type(error).__name__}: {reason}). {_LOCAL}"
    )


def _belongs(file: str, category: str, split: str) -> bool:
    path = file.lower()
    if Path(path).suffix not in _SUFFIXES:
        return False
    before, named, after = _OTHER_THAN_LETTERS.sub("_", path).partition(category.lower())
    words = {*before.split("_"), *after.split("_")}
    return bool(named) and bool(words & _SPLIT_WORDS[split])
