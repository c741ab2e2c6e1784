"""Chooses a retriever for one input with a trained selector (RSPG; Salemi et al. 2024, arXiv 2404.05970).

A selector is an encoder with one output. It scores each member of a pool of retrievers by the prompt that
the member leads to (`pre`), or by that prompt and the LLM's output (`post`), and the best score decides.
Prompts are rendered and encoded here for training and for use, so that a selector sees the same tokens.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from agent.checkpoints import read_stamp
from agent.crossencoder import CrossEncoderUnavailable, inputs_of, load_crossencoder, scored
from agent.information import passage_line, unread
from agent.prompts import NOTHING_FOUND, asked
from agent.trajectory import Information, Trajectory
from index.documents import Passage

Mode = Literal["pre", "post"]

RENDERING = "passages-1"
"""Names the format of `render`. Changing any word of it requires a new name."""


class SelectorUnavailable(CrossEncoderUnavailable):
    """A folder holds no selector that can be used here; the message says why."""


class Selector(Protocol):
    """Scores the members of a pool for one input."""

    @property
    def mode(self) -> Mode: ...

    @property
    def members(self) -> Sequence[str]:
        """Names of the retrievers that the selector was trained to choose from."""
        ...

    def scores(self, prompts: Sequence[str], outputs: Sequence[str] | None) -> list[float]:
        """Score members by their prompts and, in the mode `post`, their outputs: one score for each prompt.

        Members are scored independently, so those that have no output may be left out. Blocks while the
        encoder runs. Raises ValueError if outputs are given in the mode `pre`, or missing in `post`.
        """
        ...


def choose(members: Sequence[str], scores: Sequence[float]) -> str:
    """The member with the highest score; among equals, the first.

    Raises ValueError if there is none, if the lengths differ, or if a score is not a number.
    """
    if not members or any(math.isnan(score) for score in scores):
        raise ValueError("there is nothing to choose from" if not members else "a score is not a number")
    best, _ = max(zip(members, scores, strict=True), key=lambda pair: pair[1])
    return best


def render(question: str, passages: Sequence[Passage]) -> str:
    """The question, then the passages as the method `rag` shows them."""
    lines = [passage_line(read) for read in unread(passages, (), len(passages))]
    return "\n".join([f"Question: {asked(question)}", "", *(lines or [NOTHING_FOUND])])


def render_trajectory(trajectory: Trajectory) -> str:
    """Render the question and the passages of the first search, see `render`."""
    first = next((step for step in trajectory.steps if isinstance(step, Information)), Information(()))
    return render(trajectory.question, [read.passage for read in first.passages])


def _pool(members: tuple[str, ...]) -> tuple[str, ...]:
    if len(members) < 2 or len(set(members)) < len(members):
        raise ValueError("a pool has at least two members, and none of them twice")
    return members


class SelectorManifest(BaseModel):
    """Describes a selector, in the file pr2.json beside its weights."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["selector"] = "selector"
    mode: Mode
    members: Annotated[tuple[str, ...], AfterValidator(_pool)]
    max_tokens: int = Field(ge=8)
    """Longest input, special tokens included; a longer prompt is cut."""
    rendering: str
    """How its prompts were made: RENDERING, or a task's own name for its prompts."""
    trained_on: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Encoder, data, and settings."""


class TrainedSelector:
    """A selector with the weights of a folder."""

    def __init__(self, manifest: SelectorManifest, model: Any, tokenizer: Any) -> None:
        """Take a sequence classifier of transformers with one output. Raises SelectorUnavailable."""
        self.manifest = manifest
        self.mode: Mode = manifest.mode
        self.members: Sequence[str] = manifest.members
        self._model = model.eval()
        self._inputs = inputs_of(model, tokenizer, manifest.max_tokens)

    def scores(self, prompts: Sequence[str], outputs: Sequence[str] | None) -> list[float]:
        """See Selector."""
        if (outputs is None) != (self.mode == "pre"):
            wrong = "needs" if outputs is None else "takes no"
            raise ValueError(f"a selector of the mode {self.mode} {wrong} outputs")
        written = [None] * len(prompts) if outputs is None else outputs
        rows = [self._inputs.encode(*pair) for pair in zip(prompts, written, strict=True)]
        return scored(self._model, self._inputs, rows)


def load_selector(
    folder: Path,
    *,
    known: Collection[str] | None = None,
    rendering: str = RENDERING,
    device: str | None = None,
) -> TrainedSelector:
    """Load the selector that `pr2 train selector` wrote to the folder.

    Raises SelectorUnavailable if there is none, if a member is not among the `known` retrievers, or if it
    was trained on prompts of another rendering.
    """
    manifest = read_manifest(folder)
    if manifest.rendering != rendering:
        raise SelectorUnavailable(
            f"the selector in {folder} was trained on prompts of the rendering {manifest.rendering}, and "
            f"these are {rendering}: retrain it"
        )
    if known is not None and (missing := [name for name in manifest.members if name not in known]):
        raise SelectorUnavailable(
            f"the selector in {folder} chooses among {', '.join(manifest.members)}, but there is no "
            f"retriever {' or '.join(missing)}; there are {', '.join(known)}"
        )
    try:
        return TrainedSelector(manifest, *load_crossencoder(folder, device))
    except CrossEncoderUnavailable as error:
        raise SelectorUnavailable(str(error)) from None


def read_manifest(folder: Path) -> SelectorManifest:
    """Read what a selector was trained for. Raises SelectorUnavailable."""
    return read_stamp(folder, SelectorManifest, "selector", "pr2 train selector", SelectorUnavailable)


def check_pool(members: Collection[str], pool: Collection[str]) -> None:
    """Raises SelectorUnavailable if a selector of these members is used for another pool."""
    if set(members) != set(pool):
        raise SelectorUnavailable(
            f"the selector was trained to choose among {', '.join(members)}, and this pool is "
            f"{', '.join(pool)}"
        )
