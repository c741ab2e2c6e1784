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
    """The weights that are kept so far, and their utility on the held-out questions; step 0 is untrained."""

    step: int
    utility: float
    weights: Weights


def beyond_chance(gains: Sequence[float], confidence: float, looks: int) -> bool:
    """Whether the mean of the questions' gains is above 0, by a one-sided t-test at this confidence.

    The best of several `looks` at the same questions is above 0 by chance more often than one look is: each
    gets its share of what is allowed to chance (Bonferroni).
    """
    from scipy import stats

    if len(gains) < 2 or min(gains) == max(gains):
        return len(gains) > 1 and min(gains) > 0
    return bool(stats.ttest_1samp(gains, 0.0, alternative="greater").pvalue < (1 - confidence) / looks)


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
        self.every = recipe.validate_every or self.per_epoch
        """Steps between validations."""
        self.step = 0
        self.best: Best | None = None
        self._untrained: list[float] = []
        """Utility of each held-out question before the first step."""

    def state(self) -> dict[str, Any]:
        """Everything that training goes on from, for `torch.save`."""
        best = None if self.best is None else vars(self.best)
        model, optimizer = self._model.state_dict(), self._optimizer.state_dict()
        return {
            "step": self.step,
            "model": model,
            "optimizer": optimizer,
            "best": best,
            "untrained": self._untrained,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.best = None if state["best"] is None else Best(**state["best"])
        self._untrained = state["untrained"]

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
        """Rank the held-out questions; keep the weights if they are the best so far.

        A step only replaces step 0 if its gain is `beyond_chance`: the best of many steps that learned
        nothing often seems better than the encoder as it was.
        """
        self._model.eval()
        share = self._processes.share(range(len(self._held_out)))
        # A row for the utility of each question, and one for whether its first document is still the first.
        found = torch.zeros(2, len(self._held_out), dtype=torch.float64, device=self._processes.device)
        with torch.no_grad():
            for start in range(0, len(share), self._recipe.at_once):
                numbers = list(share[start : start + self._recipe.at_once])
                batch = collate([self._held_out[number] for number in numbers]).to(self._processes.device)
                similar = scores(self._model, self._manifest, batch).masked_fill(~batch.judged, -torch.inf)
                first = similar.argmax(dim=1, keepdim=True)
                found[0, numbers] = batch.utility.gather(1, first)[:, 0].double()
                found[1, numbers] = (first[:, 0] == batch.judged.int().argmax(dim=1)).double()
        utilities, unchanged = self._processes.total(found)
        validation = Validation(float(utilities.mean()), float(unchanged.mean()))
        if self._is_best(validation.utility, utilities.tolist()):
            weights = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
            self.best = Best(self.step, validation.utility, weights)
        return validation

    def _is_best(self, utility: float, utilities: list[float]) -> bool:
        if self.best is None:
            self._untrained = utilities
            return True
        if utility <= self.best.utility:
            return False
        if self.best.step or not self._recipe.confidence:
            return True
        gains = [after - before for after, before in zip(utilities, self._untrained, strict=True)]
        return beyond_chance(gains, self._recipe.confidence, -(-self.steps // self.every))
