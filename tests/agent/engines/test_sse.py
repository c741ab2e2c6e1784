"""Server-sent events, split in every way that a network can split them."""

import itertools

import pytest

from agent.engines.sse import EVENT_CHARACTERS, EventDecoder

STREAM = (
    "\ufeff: a comment\ndata: a\u2028🦊\n\n"
    "event: x\rid: 1\rdata:b\r\r"
    "data: c\r\ndata\r\ndata:  d\r\n\r\n"
    "\n\nretry: 1"
).encode()
EVENTS = ["a\u2028🦊", "b", "c\n\n d"]


def test_events_do_not_depend_on_where_the_bytes_were_cut() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = EventDecoder()
        assert decoder.decode(STREAM[:cut]) + decoder.decode(STREAM[cut:]) == EVENTS


def test_events_may_come_byte_by_byte() -> None:
    decoder = EventDecoder()
    pieces = (decoder.decode(bytes([byte])) for byte in STREAM)
    assert list(itertools.chain.from_iterable(pieces)) == EVENTS


def test_an_event_is_given_out_as_soon_as_it_is_complete() -> None:
    assert EventDecoder().decode(b"data: x\r\n\r") == ["x"]


def test_a_torn_last_event_is_never_given_out() -> None:
    assert EventDecoder().decode(b"data: whole\n\ndata: torn\n") == ["whole"]


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        EventDecoder().decode(b"data: \xff\n\n")


@pytest.mark.parametrize("piece", [b"x" * 2**16, b"data:\n" * 2**14], ids=["one line", "many lines"])
def test_an_event_without_end_is_refused_before_it_fills_the_memory(piece: bytes) -> None:
    decoder = EventDecoder()
    pieces = (decoder.decode(piece) for _ in range(2 * EVENT_CHARACTERS // len(piece)))
    with pytest.raises(ValueError, match="too long"):
        list(pieces)


def test_events_have_the_name_that_was_given_to_them() -> None:
    named = [("message", EVENTS[0]), ("x", EVENTS[1]), ("message", EVENTS[2])]
    for cut in range(len(STREAM) + 1):
        decoder = EventDecoder()
        assert decoder.decode_named(STREAM[:cut]) + decoder.decode_named(STREAM[cut:]) == named


def test_without_a_limit_an_event_may_be_as_long_as_it_likes() -> None:
    data = "x" * (EVENT_CHARACTERS + 1)
    assert EventDecoder(limit=None).decode(f"data: {data}\n\n".encode()) == [data]
