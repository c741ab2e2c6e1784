"""One error for everything that an engine can do wrong, whether a policy or a judge speaks to it."""

from agent.trajectory import PolicyFault


class EngineError(Exception):
    """The engine could not write. `fault` says how; the server maps it to a status."""

    def __init__(self, fault: PolicyFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
