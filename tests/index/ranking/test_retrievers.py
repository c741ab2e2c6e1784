from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document, encoded_text, parse_document
from index.errors import UnknownRetriever
from index.profiles import Profiles
from index.ranking.profile import Profile
from index.ranking.retrievers import BUILT_IN, Query, Ranking, Retrievers, _best
from index.ranking.vectors import VectorIndex
from index.storage.store import Store
from index.text.words import terms
from tests.index.fakes import HashEncoder

NAMES = sorted(retriever.name for retriever in BUILT_IN)
TEXTS = [
    "I drink green tea in the morning",
    "Rex the dog chewed the sofa",
    "The cabin in Otta has no oven",
    "Green tea again, and a walk with the dog",
    "Anna loves mushrooms",
    "Rex the dog chewed the sofa",
]


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture
def people(tmp_path: Path, encoder: HashEncoder) -> Profiles:
    profiles = Profiles(Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest), encoder)
    moments = [3, None, 5, 1, None, 5]
    documents = [
        Document(id=f"d{i}", text=text, created_at=datetime(2024, 1, day, tzinfo=UTC) if day else None)
        for i, (text, day) in enumerate(zip(TEXTS, moments, strict=True))
    ]
    profiles.put("ana", documents)
    return profiles


def ids(people: Profiles, query: str, name: str, k: int = 10, user: str = "ana") -> list[str]:
    return [passage.document_id for passage in people.search(user, [query], k, name)[0]]


def test_dense_is_by_dot_product_with_ties_in_document_order(people: Profiles, encoder: HashEncoder) -> None:
    stored = encoder.encode_documents(TEXTS).astype(np.float16).astype(np.float32)
    products = np.einsum("ij,j->i", stored, encoder.encode_queries(["sofa dog"])[0], optimize=False)
    found = people.search("ana", ["sofa dog"], 10, "dense")[0]
    assert [passage.document_id for passage in found] == [
        f"d{i}" for i in np.argsort(-products, kind="stable")
    ]
    assert [passage.score for passage in found] == sorted(products.tolist(), reverse=True)
    assert [passage.rank for passage in found] == list(range(1, 7))
    assert (
        abs(ids(people, "sofa dog", "dense").index("d1") - ids(people, "sofa dog", "dense").index("d5")) == 1
    )


def test_bm25_finds_only_documents_with_a_word_of_the_query(people: Profiles) -> None:
    assert ids(people, "green teas", "bm25") == ["d0", "d3"]
    # The text of d5 is that of d1.
    [found] = people.search("ana", ["sofa"], 10, "bm25")[0]
    assert (found.document_id, found.copies) == ("d1", 2)
    assert ids(people, "zebra", "bm25") == []
    assert ids(people, "", "bm25") == []


def test_recency_is_the_latest_first_and_the_undated_last(people: Profiles) -> None:
    assert ids(people, "anything", "recency") == ["d2", "d5", "d0", "d3", "d1", "d4"]
    scores = [passage.score for passage in people.search("ana", ["x"], 3, "recency")[0]]
    assert scores == [1, 1 / 2, 1 / 3]


def test_time_is_ordered_by_the_instant_and_shown_as_the_writers_day(people: Profiles) -> None:
    late, early = "2024-03-05T23:30:00-08:00", "2024-03-06T00:30:00+01:00"
    people.put("bo", [parse_document({"id": at, "text": "tea", "created_at": at}) for at in (early, late)])
    found = people.search("bo", ["tea"], 2, "recency")[0]
    assert [passage.created_at for passage in found] == [late, early]
    assert [(passage.created_at or "")[:10] for passage in found] == ["2024-03-05", "2024-03-06"]


def test_random_is_without_replacement_and_seeded_by_user_and_query(people: Profiles) -> None:
    people.put("bo", [Document(id=f"d{i}", text=text) for i, text in enumerate(TEXTS)])
    order = ids(people, "tea", "random")
    assert sorted(order) == [f"d{i}" for i in range(6)]
    assert ids(people, "tea", "random") == order
    assert ids(people, "tea", "random", 2) == order[:2]
    assert ids(people, "dog", "random") != order
    assert ids(people, "tea", "random", user="bo") != order


def test_none_finds_nothing(people: Profiles) -> None:
    assert people.search("ana", ["tea", "dog"], 5, "none") == [[], []]


@pytest.mark.parametrize("query", ["green tea", "the dog", "zebra", "Otta cabin oven"])
def test_rrf_adds_the_reciprocal_ranks_of_both(people: Profiles, query: str) -> None:
    people.put("ana", [Document(id="d5", text="A sofa that nobody chewed")])
    expected = dict.fromkeys((f"d{i}" for i in range(6)), 0.0)
    for name in ("dense", "bm25"):
        for rank, document_id in enumerate(ids(people, query, name), 1):
            expected[document_id] += 1 / (60 + rank)
    found = people.search("ana", [query], 10, "rrf")[0]
    assert [passage.document_id for passage in found] == sorted(expected, key=lambda i: -expected[i])
    assert [passage.score for passage in found] == pytest.approx(sorted(expected.values(), reverse=True))


def test_okapi_ranks_everything_with_ties_in_document_order(people: Profiles) -> None:
    assert ids(people, "sofa mushrooms", "okapi") == ["d4", "d1", "d5", "d0", "d2", "d3"]
    assert ids(people, "unknown", "okapi") == [f"d{i}" for i in range(6)]
    people.put("ana", [Document(id="t", title="Zebras", text="were seen")])
    assert ids(people, "Zebras", "okapi")[0] == "t"
    fresh = Profile(people.store.load("ana")).nbytes
    assert people.get("ana").nbytes > fresh


@pytest.mark.parametrize("query", ["green tea", "the dog", "zebra"])
def test_lamps_rrf_adds_the_reciprocal_ranks_of_its_three(people: Profiles, query: str) -> None:
    expected = dict.fromkeys((f"d{i}" for i in range(6)), 0.0)
    for name in ("okapi", "recency", "dense"):
        for rank, document_id in enumerate(ids(people, query, name), 1):
            expected[document_id] += 1 / (60 + rank)
    found = people.search("ana", [query], 10, "rrf-lamp")[0]
    assert [passage.document_id for passage in found] == sorted(expected, key=lambda i: -expected[i])
    assert [passage.score for passage in found] == pytest.approx(sorted(expected.values(), reverse=True))


@pytest.mark.parametrize("name", NAMES)
def test_every_retriever_keeps_to_the_rules(people: Profiles, name: str) -> None:
    queries = ["green tea", "the dog", ""]
    for k in (0, 1, 3, 100):
        results = people.search("ana", queries, k, name)
        assert len(results) == len(queries)
        for result in results:
            assert len(result) <= min(k, len(TEXTS))
            assert [passage.rank for passage in result] == list(range(1, len(result) + 1))
            assert len({passage.key for passage in result}) == len(result)
            scores = [passage.score for passage in result]
            assert scores == sorted(scores, reverse=True)
    assert people.search("ana", [], 5, name) == []
    alone = [people.search("ana", [query], 3, name)[0] for query in queries]
    together = people.search("ana", queries, 3, name)
    assert [[p.key for p in result] for result in together] == [[p.key for p in result] for result in alone]


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_that_is_empty_again_has_no_hits(people: Profiles, name: str) -> None:
    people.search("ana", ["tea"], 3, name)
    for i in range(6):
        people.store.delete_document("ana", f"d{i}")
    assert people.search("ana", ["tea", "dog"], 3, name) == [[], []]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_excluded_passages_make_room_for_the_next_ones(people: Profiles, name: str) -> None:
    every = people.search("ana", ["the dog"], 10, name)[0]
    exclude = {every[0].key, every[2].key, ("gone", 0)}
    left = people.search("ana", ["the dog"], 2, name, exclude)[0]
    assert [passage.key for passage in left] == [p.key for p in every if p.key not in exclude][:2]


def test_an_unknown_retriever_is_refused_with_the_names_there_are(people: Profiles) -> None:
    with pytest.raises(UnknownRetriever, match="no retriever 'colbert'; there are dense, bm25, recency, rrf"):
        people.search("ana", ["tea"], 3, "colbert")


def test_all_queries_of_a_request_are_encoded_in_one_call(people: Profiles, encoder: HashEncoder) -> None:
    encoder.calls.clear()
    people.search("ana", ["tea", "dog", "sofa"], 3, "dense")
    people.search("ana", ["tea", "dog"], 3, "bm25")
    assert encoder.calls == [["sofa", "tea", "dog"]]  # The longest first.


def test_bm25_ranks_the_title_too(people: Profiles) -> None:
    people.put("ana", [Document(id="t", title="Zebras", text="were seen at the zoo")])
    assert ids(people, "zebra", "bm25") == ["t"]


def test_a_retriever_can_be_used_on_a_profile_without_a_store(people: Profiles) -> None:
    profile: Profile = people.get("ana")
    ((first, *_),) = Retrievers().get("bm25").rank(profile, [Query("mushrooms")], 3)
    assert first[0] == 4
    assert first[1] == pytest.approx(float(profile.lexical.scores(terms("mushrooms"))[4]))


class OwnSpace:
    """A retriever with its own model and embedding space, as a trained one has."""

    name = "own"
    needs_vectors = False

    def __init__(self) -> None:
        self.model = HashEncoder("another", dimension=64)

    def rank(self, profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
        space = profile.derived(self.name, lambda: self._space(profile))
        found = space.search(self.model.encode_queries([query.text for query in queries]), depth)
        return [list(zip(positions.tolist(), scores.tolist(), strict=True)) for positions, scores in found]

    def _space(self, profile: Profile) -> VectorIndex:
        texts = [
            encoded_text(profile.document(position), profile.text(position))
            for position in range(len(profile))
        ]
        return VectorIndex(self.model.encode_documents(texts).astype(np.float16))


def test_a_retriever_with_a_model_of_its_own_is_one_class_and_one_registration(
    people: Profiles, encoder: HashEncoder
) -> None:
    own = OwnSpace()
    people.retrievers.register(own)
    encoder.calls.clear()
    assert ids(people, "Anna loves mushrooms", "own", 1) == ["d4"]
    assert ids(people, "cabin in Otta", "own", 1) == ["d2"]
    assert encoder.calls == []
    # The profile was embedded once, and again when it changed.
    assert [len(call) for call in own.model.calls] == [len(TEXTS), 1, 1]
    people.put("ana", [Document(id="new", text="Pears from the market")])
    assert ids(people, "market pears", "own", 1) == ["new"]
    assert [len(call) for call in own.model.calls] == [len(TEXTS), 1, 1, len(TEXTS) + 1, 1]


def test_what_a_retriever_derives_is_counted_and_evicted_with_the_profile(
    encoder: HashEncoder, tmp_path: Path
) -> None:
    own = OwnSpace()
    store = Store(f"sqlite:///{tmp_path / 'small.db'}", encoder.manifest)
    people = Profiles(store, encoder, cache_bytes=6_400, retrievers=Retrievers([own]))
    for user in ("ana", "bo"):
        people.put(user, [Document(id="a", text="tea"), Document(id="b", text="dog")])
    people.search("ana", ["tea"], 1, "own")
    plain = people.get("bo").nbytes
    assert people.get("ana").nbytes == plain + 2 * 64 * 4
    assert people._cached == 2 * plain + 2 * 64 * 4
    # Room for what was derived of one of them.
    people._cache_bytes = people._cached
    people.search("bo", ["tea"], 1, "own")
    assert people._cached <= people._cache_bytes
    assert list(people._cache) == ["bo"]
    people.search("ana", ["tea"], 1, "own")
    assert len(own.model.calls) == 6
    store.close()


def test_a_name_is_given_to_one_retriever_only() -> None:
    own, names = OwnSpace(), Retrievers()
    names.register(own)
    assert names.get("own") is own
    assert names.names[-1] == "own"
    with pytest.raises(ValueError, match="already a retriever 'own'"):
        names.register(own)


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), max_size=30), st.integers(1, 40))
def test_the_best_are_those_of_the_whole_order(scores: list[float], depth: int) -> None:
    order = sorted(range(len(scores)), key=lambda position: -scores[position])
    expected = [(position, scores[position]) for position in order[:depth] if scores[position] > 0]
    assert _best(np.array(scores, np.float32), depth) == expected
