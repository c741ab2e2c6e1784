"""Stop sequences over growing texts."""

from hypothesis import given
from hypothesis import strategies as st

from server.openai.stops import Stops, cut
from tests.agent import texts

letters = st.text("ab\n", max_size=12)
sequences = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=4)


def first_complete(text: str, stops: list[str]) -> str | None:
    """`cut` by its definition: write a character at a time until a stop sequence is complete."""
    for end in range(len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[: end - max(map(len, ended))]
    return None


@given(letters, sequences)
def test_the_text_is_cut_where_a_writer_would_have_stopped(text: str, stops: list[str]) -> None:
    assert cut(text, stops) == first_complete(text, stops)


@given(letters, sequences, texts.cuts)
def test_what_is_shown_is_always_a_beginning_and_lags_only_behind_stop_sequences(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    whole = cut(text, stops)
    final = text if whole is None else whole
    for pieces in (texts.pieces(text, cuts), texts.one_by_one(text)):
        growing, shown = Stops(stops), ""
        for piece in pieces:
            shown += growing.feed(piece)
            assert final.startswith(shown)
        held = final[len(shown) :]
        assert not held or any(len(held) < len(stop) and stop.startswith(held) for stop in stops)
