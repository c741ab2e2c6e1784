"""A watcher of trainings that notes everything, and can kill them."""


class Notes:
    """Implements training.trainer.Watcher; raises KeyboardInterrupt at the step `killed_at`."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.validations: dict[int, float] = {}
        self.total = 0
        self._killed_at = killed_at

    def started(self, steps: int) -> None:
        self.total = steps

    def trained(self, step: int, loss: float | None) -> None:
        if loss is None:
            self.steps.append(step)
        else:
            self.losses.append(loss)
        if step == self._killed_at:
            raise KeyboardInterrupt

    def validated(self, step: int, loss: float) -> None:
        self.validations[step] = loss
