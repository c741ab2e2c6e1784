"""Whose texts are encoded next: counted in batches of a fake encoder, never in time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.encoding.encoders import Vectors, estimated_tokens
from index.encoding.shared import LANES, SHORT, Lane, SharedEncoder, Shares
from tests.index.fakes import Counting

WINDOW = Counting.manifest.window
LONG = "long " * 1_600
"""A query of 8,000 characters, of which the encoder sees WINDOW tokens."""
QUERY = "where did we go last summer"


@pytest.fixture
def encoder() -> Counting:
    return Counting()


@pytest.fixture
def shared(encoder: Counting) -> SharedEncoder:
    return SharedEncoder(encoder)


@contextmanager
def busy(encoder: Counting, shared: SharedEncoder) -> Iterator[None]:
    """Texts that are put in line meanwhile find the encoder at work; they are encoded afterwards."""
    encoder.door.clear()
    encoder.entered.clear()
    first = shared.encode("answers", "somebody", ["busy"])
    assert encoder.entered.wait(60)
    encoder.batches.clear()
    encoder.kinds.clear()
    yield
    encoder.door.set()
    assert first.result(10).tolist() == [[4.0]]


def ends(futures: Sequence["Future[Vectors]"]) -> list[list[float]]:
    return [future.result(10)[:, 0].tolist() for future in futures]


def where(encoder: Counting, text: str) -> int:
    """Number of the batch that holds the text; the first one that begins after the busy time is 0."""
    [number] = [number for number, batch in enumerate(encoder.batches) if text in batch]
    return number


calls = st.lists(
    st.tuples(
        st.sampled_from(LANES),
        st.sampled_from("abc"),
        st.lists(st.integers(0, 1_500).map(lambda length: "x" * length), max_size=12),
    ),
    max_size=12,
)


@given(calls)
@settings(max_examples=60, deadline=None)
def test_every_caller_gets_the_vectors_of_its_texts_and_every_text_is_encoded_once(
    made: list[tuple[Lane, str, list[str]]],
) -> None:
    encoder = Counting()
    shared = SharedEncoder(encoder)
    with busy(encoder, shared):
        futures = [shared.encode(lane, user, texts) for lane, user, texts in made]
    assert ends(futures) == [[float(len(text)) for text in texts] for _, _, texts in made]
    for kind, lanes in (("queries", ("answers", "searches")), ("documents", ("imports",))):
        given_ = Counter(text for lane, _, texts in made if lane in lanes for text in texts)
        encoded = [batch for batch, of in zip(encoder.batches, encoder.kinds, strict=True) if of == kind]
        assert Counter(text for batch in encoded for text in batch) == given_
    for batch in encoder.batches:
        sizes = [estimated_tokens(text, WINDOW) for text in batch]
        assert len(batch) == 1 or len(batch) * max(sizes) <= encoder.batch_tokens
        assert max(sizes) <= 4 * max(min(sizes), SHORT)
    assert not shared._lines


def test_anothers_search_is_next_beside_four_requests_of_64_queries_of_8000_characters(
    encoder: Counting, shared: SharedEncoder
) -> None:
    with busy(encoder, shared):
        bulk = [shared.encode("searches", "bulky", [LONG] * 64) for _ in range(4)]
        small = shared.encode("searches", "ana", [QUERY])
    assert ends([small, *bulk]) == [[len(QUERY)], *([float(len(LONG))] * 64 for _ in range(4))]
    # Both have used nothing yet, so the bulky user, who came before, has one turn.
    assert where(encoder, QUERY) <= 1
    assert encoder.batches[where(encoder, QUERY)] == [QUERY]
    assert len(encoder.batches) == 1 + 4 * 64 // 2


def test_who_comes_while_a_bulky_search_is_encoded_waits_for_the_batch_in_progress_only(
    encoder: Counting, shared: SharedEncoder
) -> None:
    encoder.door.clear()
    bulk = shared.encode("searches", "bulky", [LONG] * 64)
    assert encoder.entered.wait(60)
    small = [shared.encode("searches", f"user {number}", [f"{QUERY} {number}"]) for number in range(20)]
    encoder.door.set()
    ends([bulk, *small])
    assert sorted(encoder.batches[1]) == sorted(f"{QUERY} {number}" for number in range(20))


def test_a_third_users_document_passes_two_long_imports(encoder: Counting, shared: SharedEncoder) -> None:
    encoder.door.clear()
    long = [shared.encode("imports", user, [LONG] * 200) for user in ("ana", "ben")]
    assert encoder.entered.wait(60)
    small = shared.encode("imports", "cleo", ["tea"])
    encoder.door.set()
    ends([small, *long])
    assert where(encoder, "tea") <= 2


def test_the_search_of_an_answer_is_next_however_many_clients_search(
    encoder: Counting, shared: SharedEncoder
) -> None:
    with busy(encoder, shared):
        clients = [
            shared.encode("searches", f"user {number % 100}", [f"{QUERY} {number}"]) for number in range(400)
        ]
        answer = shared.encode("answers", "ana", ["the answer's"])
    ends([answer, *clients])
    # "busy" was for an answer, so it is the turn of the clients before it is that of answers again.
    assert where(encoder, "the answer's") <= 1
    assert ["the answer's"] in encoder.batches  # It does not wait for those that would fill the batch.
    assert len(encoder.batches) <= 10  # A batch has room for 56 of the clients.


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(LANES), st.sampled_from("abcd")),
        st.integers(300, 1_000).map(lambda length: ["x" * length] * 60),
        min_size=2,
    )
)
@settings(max_examples=25, deadline=None)
def test_lanes_and_the_users_in_them_get_equal_shares(work: dict[tuple[Lane, str], list[str]]) -> None:
    """At every moment, as long as all have texts in line, nobody is ahead by more than two batches."""
    encoder = Counting()
    shared = SharedEncoder(encoder)
    named = {line: [f"{line} {text}" for text in texts] for line, texts in work.items()}
    owner = {texts[0]: line for line, texts in named.items()}
    with busy(encoder, shared):
        futures = [shared.encode(*line, texts) for line, texts in named.items()]
    ends(futures)
    used = dict.fromkeys(named, 0)
    left = {line: len(texts) for line, texts in named.items()}
    for batch in encoder.batches:
        for text in batch:
            used[owner[text]] += estimated_tokens(text, WINDOW)
            left[owner[text]] -= 1
        if not all(left.values()):
            break
        by_lane: Counter[Lane] = Counter()
        for lane in {lane for lane, _ in used}:
            users = [tokens for (of, _), tokens in used.items() if of == lane]
            by_lane[lane] = sum(users)
            assert max(users) - min(users) <= 2 * encoder.batch_tokens
        # One batch more, because the search for the busy time was an answer's.
        assert max(by_lane.values()) - min(by_lane.values()) <= 3 * encoder.batch_tokens


def test_a_user_does_not_wait_for_ones_own_bulk(encoder: Counting, shared: SharedEncoder) -> None:
    encoder.door.clear()
    long = [shared.encode("imports", "ana", [LONG] * 100), shared.encode("searches", "ana", [LONG] * 64)]
    assert encoder.entered.wait(60)
    small = [shared.encode("imports", "ana", ["a note"]), shared.encode("searches", "ana", [QUERY])]
    encoder.door.set()
    ends([*small, *long])
    assert where(encoder, "a note") <= 3
    assert where(encoder, QUERY) <= 3
    assert len(encoder.batches) == 50 + 32 + 2


@pytest.mark.parametrize("lane", LANES)
def test_nothing_more_is_encoded_for_who_has_cancelled(
    encoder: Counting, shared: SharedEncoder, lane: Lane
) -> None:
    encoder.door.clear()
    left = shared.encode(lane, "ana", [LONG] * 64)
    other = shared.encode(lane, "ana", ["tea"])
    assert encoder.entered.wait(60)
    assert left.cancel()
    encoder.door.set()
    assert ends([other]) == [[3.0]]
    assert [len(batch) for batch in encoder.batches] == [2, 1]
    with pytest.raises(CancelledError):
        left.result(10)
    assert ends([shared.encode(lane, "ana", ["dog"])]) == [[3.0]]
    assert not shared._lines


class Panic(BaseException):
    """Raised like the panics of a tokenizer written in Rust, which are no Exceptions."""


@pytest.mark.parametrize("error", [MemoryError("no room"), Panic("out of range")], ids=type)
def test_a_batch_that_fails_fails_its_callers_and_no_others(
    encoder: Counting, shared: SharedEncoder, error: BaseException
) -> None:
    encoder.refused["bad"] = error
    with busy(encoder, shared):
        failing = [
            shared.encode("searches", "ana", ["bad", *[LONG] * 10]),
            shared.encode("searches", "ben", ["tea"]),
        ]
        fine = shared.encode("imports", "ana", ["bad example"])
    assert ends([fine]) == [[11.0]]
    # Ana's long queries come first, so Ben's tea does not meet her bad one in a batch, or it does.
    with pytest.raises(type(error), match=str(error)):
        failing[0].result(10)
    assert ends([shared.encode("searches", "ana", ["tea"])]) == [[3.0]]
    assert not shared._lines


def test_waiting_for_vectors_in_a_thread(shared: SharedEncoder) -> None:
    assert shared.encoded("searches", "ana", ["tea", "coffee", ""]).tolist() == [[3], [6], [0]]
    assert shared.encoded("imports", "ana", []).shape == (0, 1)


@given(st.lists(st.sampled_from("abcdef"), min_size=1), st.integers(1, 400))
def test_who_always_waits_has_a_turn_before_the_others_have_used_more(came: list[str], cost: int) -> None:
    """Others come and go, each for a short turn, and never leave a gap; one user has `cost` a turn."""
    shares: Shares[str] = Shares()
    used: Counter[str] = Counter()
    for user in came * 100:
        chosen = min(["bulky", user], key=shares.start)
        shares.begin(chosen)
        shares.charge(chosen, cost if chosen == "bulky" else 10)
        used[chosen] += cost if chosen == "bulky" else 10
        assert max(used[other] for other in came) <= used["bulky"] + 10
        assert len(shares._ends) <= len(set(came)) + 1
    assert used["bulky"] > 0


def test_who_was_away_has_saved_nothing_up_and_is_forgotten() -> None:
    shares: Shares[str] = Shares()
    for _ in range(100):
        shares.begin("ana")
        shares.charge("ana", 10)
    assert shares.start("ben") == 990  # where the turn in progress began
    assert shares.start("ana") == 1_000
    shares.begin("ana")
    shares.charge("ana", 10)
    shares.begin("ben")
    assert shares._ends == {"ana": 1_010}
    shares.charge("ben", 500)
    shares.begin("ana")
    assert shares._ends == {"ben": 1_500}
