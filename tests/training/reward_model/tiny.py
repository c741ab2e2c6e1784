"""An untrained reward model, for tests of how one is loaded and served."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification

from agent.checkpoints import STAMP
from tests.agent import tiny_selector
from training.reward_model.model import RewardModelManifest, weights_hash

WORDS = ("tea", "strong", "black", "which", "rain", "north")


def make(folder: Path, *, reads_history: bool = True, **changes: Any) -> Path:
    """Write the model to `folder`, with these changes of its manifest."""
    tiny_selector.make(folder, None, words=WORDS)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.save_pretrained(folder)
    manifest = RewardModelManifest(
        base="minilm",
        base_hash=None,
        reads_history=reads_history,
        negatives="plain",
        max_tokens=24,
        weights=weights_hash(model),
    )
    (folder / STAMP).write_text(manifest.model_copy(update=changes).model_dump_json(), "utf-8")
    return folder
