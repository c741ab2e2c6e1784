"""Trains an encoder with a loss of ROPG, step by step, and keeps the best of its weights.

A step is a function of the weights, the recipe and its number: the order of the questions, what is drawn and
the dropout are all derived from them. So training that was killed goes on from its last saved state as if
nothing had happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index.encoding.encoders import EncoderManifest
from training.feedback.records import Feedback
from training.retriever.encoding import scores
from training.retriever.losses import distillation, draw, reinforce
from training.retriever.processes import Processes
from training.retriever.questions import collate, gumbel
from training.retriever.recipe import Recipe

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Validation:
    """How the held-out questions are ranked."""

    utility: float
    """Mean utility of the documents that are ranked first."""
    unchanged: float
    """Share of the questions for which this is the first document of the initial ranking. Before the first
    step it is about 1, or the feedback does not begin with the encoder's best document."""


@dataclass(frozen=True)
class Best:
    """The weights with the highest utility on the held-out questions so far. Step 0 is before training."""

    step: int
    utility: float
    weights: Weights


def order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Numbers of all questions in the order of an epoch, the same in every process."""
    return np.random.default_rng([seed, epoch]).permutation(count)


class Trainer:
    """Holds a model, its optimizer, and how far training is."""

    def __init__(
        self,
        model: Any,
        manifest: EncoderManifest,
        questions: Sequence[Feedback],
        held_out: Sequence[Feedback],
        recipe: Recipe,
        processes: Processes,
    ) -> None:
        self._model = model.to(processes.device)
        self._manifest = manifest
        self._questions, self._held_out = questions, held_out
        self._recipe = recipe
        self._processes = processes
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._optimizer = torch.optim.Adam(self._parameters)
        self.per_epoch = recipe.steps_per_epoch(len(questions))
        self.steps = recipe.epochs * self.per_epoch
        self.step = 0
        self.best: Best | None = None

    def state(self) -> dict[str, Any]:
        """Everything that training goes on from, for `torch.save`."""
        best = None if self.best is None else vars(self.best)
        model, optimizer = self._model.state_dict(), self._optimizer.state_dict()
        return {"step": self.step, "model": model, "optimizer": optimizer, "best": best}

    def restore(self, state: dict[str, Any]) -> None:
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.best = None if state["best"] is None else Best(**state["best"])

    def keep_best(self) -> Best:
        """Put the best weights into the model. Raises ValueError if none were validated."""
        if self.best is None:
            raise ValueError("nothing was validated")
        self._model.load_state_dict(self.best.weights)
        return self.best

    def rate(self) -> float:
        """Learning rate of the step that was taken last."""
        return self._recipe.rate(self.step, self.steps)

    def train(self) -> float:
        """Take one step. Returns the mean loss of its questions, before the step."""
        self.step += 1
        epoch, place = divmod(self.step - 1, self.per_epoch)
        size = self._recipe.batch_size
        numbers = order(len(self._questions), self._recipe.seed, epoch)
        batch = numbers[place * size : (place + 1) * size].tolist()
        torch.manual_seed(self._recipe.seed * self.steps + self.step)
        self._model.train()
        self._optimizer.zero_grad()
        total = torch.zeros((), device=self._processes.device)
        share = self._processes.share(batch)
        for start in range(0, len(share), self._recipe.at_once):
            part = share[start : start + self._recipe.at_once]
            loss = self._loss(part, epoch) * len(part) / len(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._processes.sum_gradients(self._parameters)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate()
        self._optimizer.step()
        return float(self._processes.total(total))

    def _loss(self, numbers: Sequence[int], epoch: int) -> Tensor:
        recipe = self._recipe
        batch = collate([self._questions[number] for number in numbers]).to(self._processes.device)
        similar = scores(self._model, self._manifest, batch)
        if recipe.method == "ropg-kd":
            return distillation(similar, batch.utility, batch.judged, recipe.temperature)
        noise = gumbel(numbers, similar.shape[1], (recipe.seed, epoch))
        drawn = draw(
            similar.detach(), batch.judged, noise.to(similar.device), recipe.draws, recipe.temperature
        )
        return reinforce(similar, batch.utility, batch.judged, drawn, recipe.temperature)

    def validate(self) -> Validation:
        """Rank the held-out questions; keep the weights if their utility is higher than the best so far."""
        self._model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self._processes.device)
        share = self._processes.share(self._held_out)
        with torch.no_grad():
            for start in range(0, len(share), self._recipe.at_once):
                batch = collate(share[start : start + self._recipe.at_once]).to(self._processes.device)
                similar = scores(self._model, self._manifest, batch).masked_fill(~batch.judged, -torch.inf)
                first = similar.argmax(dim=1, keepdim=True)
                total[0] += batch.utility.gather(1, first).sum()
                total[1] += (first[:, 0] == batch.judged.int().argmax(dim=1)).sum()
        utility, unchanged = (self._processes.total(total) / len(self._held_out)).tolist()
        if self.best is None or utility > self.best.utility:
            weights = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
            self.best = Best(self.step, utility, weights)
        return Validation(utility, unchanged)
