"""What is expected to go wrong in training and measuring."""


class TrainingError(Exception):
    """Something that people can mend; the message says what, in words."""
