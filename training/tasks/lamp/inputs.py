"""Takes the published inputs of LaMP apart: what is asked about, and the query that it makes."""

from training.tasks.errors import DataError
from training.tasks.lamp.schemas import SCHEMAS

TITLE = "title"
"""Task 1: the word after which its entries are inserted, before the author's own title."""
_SECOND = "[2]:"


class InvalidInput(DataError, ValueError):
    """An input lacks what every input of its task has."""


def query_of(number: int, input_: str) -> str:
    """The part of an input that is not the same for all inputs: the query for the profile.

    In task 1 this is both candidates' titles. Empty if nothing follows the marker. Raises InvalidInput.
    """
    if number == 1:
        return " ".join(candidates(input_))
    return divided(number, input_)[1].strip()


def divided(number: int, input_: str) -> tuple[str, str]:
    """An input as its instruction, up to and with the task's first marker, and the text after it.

    Raises InvalidInput if the marker is missing.
    """
    marker = SCHEMAS[number].marker
    instruction, found, own = input_.partition(marker)
    if not found:
        raise InvalidInput(f"{marker!r} is missing")
    return instruction + found, own


def candidates(input_: str) -> tuple[str, str]:
    """The titles of task 1's two candidates. Titles may have quotation marks, also the author's own.

    Raises InvalidInput.
    """
    asked, found, rest = input_.rpartition(SCHEMAS[1].marker)
    first, separator, second = rest.partition(_SECOND)
    if not found or not separator:
        raise InvalidInput(f"{SCHEMAS[1].marker!r} and {_SECOND!r} are not both there")
    if TITLE not in asked:
        raise InvalidInput(f"the word {TITLE!r} is missing")
    return _unquoted(first), _unquoted(second)


def own_text(number: int, input_: str) -> str:
    """The text that the person's output is wanted for; in task 1, the title of the author's paper.

    Empty if there is none, or if the title is not quoted. Raises InvalidInput.
    """
    if number != 1:
        return query_of(number, input_)
    asked, _, _ = input_.rpartition(SCHEMAS[1].marker)
    _, _, after = asked.partition(TITLE)
    return after[after.find('"') + 1 : max(after.rfind('"'), 0)]


def _unquoted(title: str) -> str:
    title = title.strip()
    if len(title) < 3 or title[0] != '"' or title[-1] != '"':
        raise InvalidInput(f"a candidate's title must be quoted: {title[:60]!r}")
    return title[1:-1]
