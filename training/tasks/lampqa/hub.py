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
    """Where published files come from. Both raise DatasetUnavailable."""

    def files(self) -> Sequence[str]:
        """The paths of all files of the data set's repository."""
        ...

    def fetch(self, file: str) -> Path:
        """A local copy of one of them."""
        ...


def from_hub(
    category: str,
    split: str,
    hub: Hub | None = None,
    *,
    allow_empty_profile: bool = False,
    skip: Skip | None = None,
) -> Iterator[Question]:
    """The published questions of a category and split (`train`, `validation`, `test`).

    What is known of the repository: its configurations are named as CATEGORIES, its splits as SPLITS, and
    it holds JSON. How the files are laid out there could not be seen when this was written. Assumed is that
    a file's path names its category and its split (`…/Art_and_Entertainment/test.json`,
    `art_and_entertainment_test.jsonl`, several parts of one split), whatever the order and the punctuation;
    where none does, the error lists what there is.

    Nor is it known what the records' own `category` holds. LaMP-QA averages over its three categories, so
    each question here gets the name of the one that was asked for.

    Raises UnknownCategory, InvalidRecord, and DatasetUnavailable, which says how to do without a network.
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
    """The data set on the Hugging Face Hub, or what its cache holds of it when the Hub is out of reach."""

    revision: str | None = None
    """A commit, tag or branch; without one, the newest."""

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
    "To do without the Hub, download the data set elsewhere (https://huggingface.co/datasets/"
    f"{REPOSITORY}) and name its JSON or JSONL file as the data set, as in --dataset "
    f"{CATEGORIES[0]}_test.json."
)


def _unreachable(error: Exception) -> DatasetUnavailable:
    # Whatever was raised: the client passes on errors of several HTTP libraries. They can be long.
    said = " ".join(str(error).split())[:200]
    return DatasetUnavailable(
        f"{REPOSITORY} cannot be had from the Hub ({type(error).__name__}: {said}). {_LOCAL}"
    )


def _belongs(file: str, category: str, split: str) -> bool:
    path = file.lower()
    if Path(path).suffix not in _SUFFIXES:
        return False
    before, named, after = _OTHER_THAN_LETTERS.sub("_", path).partition(category.lower())
    words = {*before.split("_"), *after.split("_")}
    return bool(named) and bool(words & _SPLIT_WORDS[split])
