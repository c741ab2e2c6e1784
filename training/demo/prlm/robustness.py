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


def sweep(
    systems: Mapping[str, tuple[TinyLlama, str]], tasks: Sequence[Task], encoder: Encoder, seed: int
) -> dict[str, Grid]:
    """Score the answers of each system, a model with its method, to the same questions.

    `encoder` makes the vectors for `dense`: the service's own one, whose meanings of the words have nothing
    to do with the tiny model. Answers are sampled.
    """
    notes = [note.text for task in tasks for note in task.person.notes]
    vectors = np.split(encoder.encode_documents(notes), np.cumsum([len(t.person.notes) for t in tasks])[:-1])
    profiles = {
        task.person.name: task.person.profile(found) for task, found in zip(tasks, vectors, strict=True)
    }
    questions = list(dict.fromkeys(task.question for task in tasks))
    asked = dict(zip(questions, encoder.encode_queries(questions), strict=True))
    grids: dict[str, Grid] = {}
    for name, (model, method) in systems.items():
        grids[name] = {
            retriever: {k: measure(model, method, tasks, searching, k=k, seed=seed).score for k in PASSAGES}
            for retriever in RETRIEVERS
            for searching in [Searching(Retrievers().get(retriever), profiles, asked)]
        }
    return grids
