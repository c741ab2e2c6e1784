"""Expected errors become one line on stderr and exit code 2; any other is a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tomllib import TOMLDecodeError

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from index.documents import all_faults
from index.errors import InvalidDocument, ProfileError
from server.cli.printable import one_line


class BadInput(Exception):
    """A command's arguments or files are not usable; the message says why."""


@contextmanager
def as_cli_errors() -> Iterator[None]:
    """Print expected errors as one line. Raises typer.Exit with code 2."""
    try:
        yield
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"pr2: {one_line(message)}", file=sys.stderr)
        raise typer.Exit(2) from None


def explain(error: Exception) -> str | None:
    """The message of an expected error; None for an unexpected one."""
    # Imported here because they load much of the service, and most commands succeed.
    from agent.crossencoder import CrossEncoderUnavailable
    from agent.engines.errors import EngineError
    from agent.rerankers import RerankerUnavailable
    from server.client import ApiError
    from server.service import InvalidQuestion
    from training.errors import TrainingError

    match error:
        case InvalidDocument(line=int(line)) | ApiError(line=int(line)):
            return f"line {line}: {error}"
        case ValidationError():
            return f"settings: {all_faults(error)}"
        case TOMLDecodeError():
            return f"pr2.toml: {error}"
        case BadInput() | ProfileError() | ApiError() | InvalidQuestion() | EngineError() | SettingsError():
            return str(error)
        case TrainingError() | CrossEncoderUnavailable() | RerankerUnavailable():
            return str(error)
        case ExceptionGroup():
            # From concurrent tasks: the first error cancelled the others.
            return explain(error.exceptions[0])
    return None
