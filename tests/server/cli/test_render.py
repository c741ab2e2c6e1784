import io

from rich.console import Console

from index.values import Passage
from server.cli.render import passage_row


def shown(passage: Passage) -> str:
    out = io.StringIO()
    Console(file=out, width=120, highlight=False, markup=False).print(passage_row(1, passage))
    return out.getvalue().rstrip()


def test_a_text_that_stands_several_times_is_shown_with_how_often() -> None:
    passage = Passage("a1", "Happy birthday!", created_at="2024-03-05T10:15:00Z", score=0.5)
    assert shown(passage) == "  [1] 2024-03-05 0.50 a1  Happy birthday!"
    assert shown(Passage("a1", "Happy birthday!", score=0.5, copies=3)) == (
        "  [1] 0.50 a1  Happy birthday! (3 times)"
    )
