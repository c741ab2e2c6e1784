"""Processes that train one model together, as Accelerate starts them: `accelerate launch -m …`.

Each has the whole model and computes the gradients of its share of the questions; they are summed before
every step. One process is the usual case, in which nothing is exchanged.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


class Processes:
    """This process among all of them. `cpu` keeps to the CPU even if there is a GPU."""

    def __init__(self, *, cpu: bool = False) -> None:
        from accelerate import PartialState

        self._state = PartialState(cpu=cpu)
        self.device: torch.device = self._state.device
        self.main: bool = self._state.is_main_process

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items of this process; they may be fewer than those of others, or none."""
        return items[self._state.process_index :: self._state.num_processes]

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        from accelerate.utils import reduce

        summed: Tensor = reduce(value, reduction="sum")
        return summed

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace the gradients by their sums; a process without questions adds nothing."""
        if self._state.num_processes == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients: list[Any] = [parameter.grad for parameter in parameters]
        flat = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._state.wait_for_everyone()
