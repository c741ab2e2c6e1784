"""Measures answers over the numbers of passages and the retrievers that they may come from."""

from collections.abc import Mapping, Sequence

import numpy as np

from index.encoding.encoders import Encoder
from index.ranking.retrievers import Retrievers
from training.demo.model import TinyLlama
from training.demo.prlm.experiment import measure
from training.demo.prlm.people import Task
from training.demo.prlm.rollout import Searching

RETRIEVERS = ("bm25", "recency", "dense", "random")
PASSAGES = (1, 2, 4, 8)

Grid = Mapping[str, Mapping[int, Sequence[float]]]
"""Scores of the held-out questions, in their order, by retriever and number of passages."""


def searchings(tasks: Sequence[Task], encoder: Encoder) -> dict[str, Searching]:
    """Search the histories of those who ask with each of the retrievers; `dense` uses the encoder."""
    notes = [note.text for task in tasks for note in task.person.notes]
    ends = np.cumsum([len(task.person.notes) for task in tasks])
    vectors = np.split(encoder.encode_documents(notes), ends[:-1])
    profiles = {
        task.person.name: task.person.profile(found) for task, found in zip(tasks, vectors, strict=True)
    }
    questions = list(dict.fromkeys(task.question for task in tasks))
    asked = dict(zip(questions, encoder.encode_queries(questions), strict=True))
    return {name: Searching(Retrievers().get(name), profiles, asked) for name in RETRIEVERS}


def sweep(
    systems: Mapping[str, tuple[TinyLlama, str]], tasks: Sequence[Task], encoder: Encoder, seed: int
) -> dict[str, Grid]:
    """Score sampled answers of each system, a model with its method, to the same questions."""
    found = searchings(tasks, encoder)
    return {
        name: {
            retriever: {k: measure(model, method, tasks, searching, k=k, seed=seed).score for k in PASSAGES}
            for retriever, searching in found.items()
        }
        for name, (model, method) in systems.items()
    }
