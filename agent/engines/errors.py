"""The one error that engines raise, to policies and judges alike."""

from agent.trajectory import PolicyFault


class EngineError(Exception):
    """The engine failed. `fault` is the kind of failure, which the server maps to an HTTP status."""

    def __init__(self, fault: PolicyFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
