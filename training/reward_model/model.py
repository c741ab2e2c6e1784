"""A trained reward model: how well an answer fits the person who asked (PrLM; arXiv 2508.07342).

A cross-encoder reads the question and the answer; the user's own history as well, if it was trained so. Its
score has no unit: the difference of two answers to one question counts. Inputs are made here for training
and for use, so that a model sees the same tokens in both.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent.checkpoints import STAMP, read_stamp
from agent.citations import without_marks
from agent.crossencoder import CrossEncoderUnavailable, Inputs, Row, inputs_of, load_crossencoder, scored
from agent.engines.weights import fingerprint
from training.errors import TrainingError
from training.reward_model.records import Response

Negatives = Literal["plain", "others"]
"""The losing answers that a model learns from: those without a profile (as published), or also those with
another person's profile."""


class UnfitRewardModel(TrainingError, ValueError):
    """A folder holds no reward model that can be used here; the message says why."""


class RewardModelManifest(BaseModel):
    """Describes a reward model, in the file pr2.json beside its weights."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["reward-model"] = "reward-model"
    base: str
    """The encoder that it was trained from: a name or a folder."""
    base_hash: str | None
    """sha256 of the encoder's files; None for a name on the hub."""
    reads_history: bool
    negatives: Negatives
    max_tokens: int = Field(ge=8)
    """Longest input, the model's own tokens included."""
    weights: str
    """sha256 of the trained model's tensors."""
    trained_on: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Pairs and settings."""


@dataclass(frozen=True)
class Encoded:
    """One response as the model reads it."""

    row: Row
    answer: int
    """Tokens of the answer, however many were read."""
    lost: int
    """Tokens of the history that did not fit, the oldest."""


class ResponseInputs:
    """Makes inputs of responses: the history (oldest first), the question, and the answer.

    The answer is cut only if it does not fit even alone, then the question loses its end. The history gets
    the room that is left: the newest tokens are kept.
    """

    def __init__(self, inputs: Inputs, reads_history: bool) -> None:
        self.inputs = inputs
        self._reads_history = reads_history

    def encode(self, response: Response) -> Encoded:
        """Encode one response."""
        answer = self.answer(response.answer)
        room = self.inputs.room_for_two
        written = answer[:room]
        question = self.inputs.tokens(response.question)[: room - len(written)]
        history: list[int] = []
        lost = 0
        if self._reads_history:
            history, lost = self._history(response.history, room - len(written) - len(question))
        return Encoded(self.inputs.join([*history, *question], written), len(answer), lost)

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer without its citation marks, which only answers with passages have."""
        return self.inputs.tokens(without_marks(text))

    def _history(self, documents: Sequence[str], room: int) -> tuple[list[int], int]:
        """The newest tokens, with a separator after each document, and the number that did not fit."""
        separator = self.inputs.separator
        kept: deque[int] = deque(maxlen=max(room, 0))
        total = 0
        for document in documents:
            tokens = [*self.inputs.tokens(document), *separator]
            kept.extend(tokens)
            total += len(tokens)
        return list(kept), total - len(kept)


class RewardModel:
    """A reward model with the weights of a folder. `manifest` describes it."""

    def __init__(self, manifest: RewardModelManifest, model: Any, tokenizer: Any) -> None:
        """Take a sequence classifier of transformers with one output. Raises CrossEncoderUnavailable."""
        self.manifest = manifest
        self._model = model
        inputs = inputs_of(model, tokenizer, manifest.max_tokens)
        self._inputs = ResponseInputs(inputs, manifest.reads_history)

    @property
    def reads_history(self) -> bool:
        """Whether the scores depend on the users' histories."""
        return self.manifest.reads_history

    @property
    def fingerprint(self) -> str:
        """Identifies the weights."""
        return self.manifest.weights

    def scores(self, responses: Sequence[Response]) -> list[float]:
        """Score each response: s, from -∞ to ∞, the higher the better. Blocks while the model runs."""
        return scored(self._model, self._inputs.inputs, [self._inputs.encode(one).row for one in responses])

    def histories_cut(self, responses: Sequence[Response]) -> int:
        """Count the responses whose history is longer than the room that the window leaves."""
        return sum(self._inputs.encode(one).lost > 0 for one in responses)

    def length(self, answer: str) -> int:
        """Tokens of an answer."""
        return len(self._inputs.answer(answer))


def weights_hash(model: Any) -> str:
    """sha256, in hex, of a model's tensors: names, shapes and values."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_reward_model(folder: Path, *, base: str | None = None, device: str | None = None) -> RewardModel:
    """Load the reward model that `pr2 train reward-model` wrote to the folder.

    Raises UnfitRewardModel if there is none, if the weights are not those that its manifest describes, and
    if it was trained from another encoder than `base`.
    """
    manifest = read_manifest(folder)
    if base is not None:
        check_base(manifest, base, folder)
    try:
        model, tokenizer = load_crossencoder(folder, device)
        if weights_hash(model) != manifest.weights:
            raise UnfitRewardModel(f"the weights in {folder} are not those that its {STAMP} describes")
        return RewardModel(manifest, model, tokenizer)
    except CrossEncoderUnavailable as error:
        raise UnfitRewardModel(str(error)) from None


def check_base(manifest: RewardModelManifest, base: str, folder: Path) -> None:
    """Raises UnfitRewardModel if the model was trained from another encoder: another name, or other files."""
    here = fingerprint(base)
    same = manifest.base_hash == here if here and manifest.base_hash else manifest.base == base
    if not same:
        raise UnfitRewardModel(f"the reward model in {folder} was trained from {manifest.base}, not {base}")


def read_manifest(folder: Path) -> RewardModelManifest:
    """Read what a reward model was trained on. Raises UnfitRewardModel."""
    return read_stamp(folder, RewardModelManifest, "reward model", "pr2 train reward-model", UnfitRewardModel)
