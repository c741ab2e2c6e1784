"""Parts of training with the Trainer of transformers: progress, and the checkpoint to resume from."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from training.folder import locked


class Watcher(Protocol):
    """Is notified of the progress of training."""

    def started(self, steps: int) -> None:
        """Training begins or continues, and will have so many steps in all."""
        ...

    def trained(self, step: int, loss: float | None) -> None:
        """A step is done. `loss` is the mean since the last report, if known."""
        ...

    def validated(self, step: int, loss: float) -> None: ...


def notifying(watcher: Watcher, metric: str = "eval_loss") -> Any:
    """A callback of the Trainer that notifies the watcher, of `metric` as the validation loss."""
    from transformers import TrainerCallback

    class Notifying(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            watcher.started(state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            watcher.trained(state.global_step, None)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            if "loss" in logs:
                watcher.trained(state.global_step, logs["loss"])
            if metric in logs:
                watcher.validated(state.global_step, logs[metric])

    return Notifying()


class Steps(Protocol):
    """The part of a recipe that says how steps are taken."""

    @property
    def batch_size(self) -> int: ...
    @property
    def gradient_accumulation(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup(self) -> float: ...
    @property
    def seed(self) -> int: ...


def step_arguments(recipe: Steps) -> dict[str, Any]:
    """Arguments of the Trainer that all trainings share.

    The learning rate falls linearly, and gradients are clipped to norm 1. We report the progress ourselves.
    """
    return {
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup,
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1.0,
        "save_total_limit": 2,
        "seed": recipe.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }


def last_checkpoint(folder: Path) -> Path | None:
    """Find the newest complete checkpoint: the trainer's state is its last file."""
    whole = folder.glob("checkpoint-*/trainer_state.json")
    return max((file.parent for file in whole), key=lambda made: int(made.name.split("-")[1]), default=None)


@contextmanager
def working(folder: Path) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Lock the folder to the processes that Accelerate started together. Raises FolderInUse.

    Yields a context manager whose block is run by one process before the others.
    """
    import torch
    from accelerate import PartialState

    processes = PartialState(cpu=not torch.cuda.is_available())
    with locked(folder) if processes.is_main_process else nullcontext():
        yield processes.main_process_first
