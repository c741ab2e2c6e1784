"""A small encoder, written once, and feedback of the made world."""

from pathlib import Path

import numpy as np
import pytest

from index.encoding.encoders import load_encoder
from training.feedback.records import write_feedback
from training.retriever.small import write_small_encoder
from training.retriever.worlds import people, ranked, vocabularies


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "small"
    write_small_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def feedback(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feedback of 12 people of the world of things, ranked by the small encoder."""
    folder = tmp_path_factory.mktemp("feedback")
    made = people("things", vocabularies(0)[0], 12, np.random.default_rng(0))
    encoder = load_encoder(str(small))
    write_feedback(folder, {"task": "made", "encoder": encoder.manifest.to_dict()}, ranked(made, encoder))
    return folder
