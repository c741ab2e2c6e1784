"""Errors that training and measuring are expected to raise."""


class TrainingError(Exception):
    """Something that the user can fix; the message says how."""


class TrainingUnavailable(TrainingError):
    """Training cannot begin here; the message says what it needs."""
