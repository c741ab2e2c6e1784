import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.documents import Document
from index.encoding.encoders import SentenceTransformerEncoder
from index.errors import InvalidDocument, InvalidName, UnknownDocument, UnknownUser, WouldReplace
from index.formats import read_ndjson
from index.profiles import Profiles
from index.ranking.profile import Profile
from index.storage.store import Store
from index.values import Changes, PutReport, Tally
from tests.golden.cases import CASES, OPENED, RETRIEVER, Case
from tests.index.fakes import HashEncoder


def document(name: str, text: str = "green tea") -> Document:
    return Document(id=name, text=text)


def ids(profile: Profile) -> list[str]:
    return [stored.id for stored in profile.documents]


class Folder:
    """A database file that can be opened several times, each time with its own store and cache."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path / 'store.db'}"
        self.encoder = HashEncoder()
        self.stores: list[Store] = []

    def open(self, cache_bytes: int = 2**30) -> Profiles:
        self.stores.append(Store(self.url, self.encoder.manifest))
        return Profiles(self.stores[-1], self.encoder, cache_bytes)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    for store in folder.stores:
        store.close()


def test_a_replaced_document_keeps_its_position_and_new_ones_come_last(folder: Folder) -> None:
    people = folder.open()
    assert people.put("ana", [document("a"), document("b"), document("c")]).put == 3
    people.put("ana", [document("d"), document("b", "dog")])
    profile = people.get("ana")
    assert ids(profile) == ["a", "b", "c", "d"]
    assert profile.text(1) == "dog"
    people.store.delete_document("ana", "b")
    people.put("ana", [document("b")])
    assert ids(people.get("ana")) == ["a", "c", "d", "b"]


def test_of_documents_with_the_same_id_the_last_counts_and_is_reported(folder: Folder) -> None:
    people = folder.open()
    many = [document(f"m{i}") for i in range(1_100)]
    report = people.put(
        "ana", [document("a", "one"), *many, document("b"), document("a", "two"), document("a", "three")]
    )
    assert (report.put, report.duplicates, report.skipped) == (1_102, ["a"], [])
    assert people.store.document("ana", "a").text == "three"
    assert ids(people.get("ana"))[:2] == ["a", "m0"]


def test_nothing_is_put_when_one_line_is_invalid(folder: Folder) -> None:
    people = folder.open()
    people.put("ana", [document("a")])
    version = people.store.version("ana")
    lines: list[Document | InvalidDocument] = [
        *(document(f"m{i}") for i in range(1_100)),
        InvalidDocument("text: must not be empty", 1_101),
    ]
    with pytest.raises(InvalidDocument, match="must not be empty") as raised:
        people.put("ana", lines)
    assert raised.value.line == 1_101
    assert ids(people.get("ana")) == ["a"]
    assert people.store.version("ana") == version
    with pytest.raises(InvalidDocument):
        people.put("bo", lines)
    assert people.store.users() == ["ana"]


def test_invalid_lines_can_be_skipped_and_each_is_reported(folder: Folder) -> None:
    people = folder.open()
    bad = [InvalidDocument("one", 2), InvalidDocument("two", 4)]
    lines: list[Document | InvalidDocument] = [document("a"), bad[0], document("b"), bad[1]]
    report = people.put("ana", lines, on_error="skip")
    assert (report.put, report.skipped) == (2, bad)
    assert [error.line for error in report.skipped] == [2, 4]


def test_a_put_reports_what_it_changed(folder: Folder) -> None:
    people = folder.open()
    first = people.put("ana", [document(f"m{i}") for i in range(1_500)])
    assert (first.changes.added.count, first.changes.added.first) == (1_500, [f"m{i}" for i in range(100)])
    again = people.put(
        "ana",
        [document("new"), *(document(f"m{i}") for i in range(1_400)), document("m7", "dog"), document("new")],
    )
    assert again.changes == Changes(
        Tally(1, ["new"]), Tally(1_399, [f"m{i}" for i in range(101) if i != 7]), Tally(1, ["m7"])
    )
    assert (again.put, again.duplicate_count) == (1_401, 2)
    assert PutReport.from_dict(json.loads(json.dumps(again.to_dict()))) == again


fields = st.fixed_dictionaries({"id": st.sampled_from("abc"), "text": st.sampled_from(["tea", "dog"])})


@given(st.lists(st.lists(fields, max_size=6), max_size=4))
@settings(max_examples=10, deadline=None)
def test_a_report_is_the_difference_that_a_put_makes(uploads: list[list[dict[str, str]]]) -> None:
    with TemporaryDirectory() as name:
        folder = Folder(Path(name))
        people, stored = folder.open(), dict[str, str]()
        for upload in uploads:
            changes = people.put("ana", [Document(**fields) for fields in upload]).changes
            last = {fields["id"]: fields["text"] for fields in upload}
            assert changes.added.first == [key for key in last if key not in stored]
            assert changes.unchanged.first == [key for key in last if stored.get(key) == last[key]]
            assert changes.replaced.first == [key for key in last if stored.get(key, last[key]) != last[key]]
            stored |= last
        folder.stores[0].close()


def test_without_replace_nothing_is_lost(folder: Folder) -> None:
    people = folder.open()
    people.put("ana", [document("1", "first"), document("2", "tea")])
    version = people.store.version("ana")
    with pytest.raises(WouldReplace, match=r"nothing is replaced: '1'$"):
        people.put("ana", [document("3"), document("1", "second")], replace=False)
    assert people.store.version("ana") == version
    assert [kept.text for kept in people.get("ana").documents] == ["first", "tea"]
    assert people.put("ana", [document("1", "first"), document("3")], replace=False).changes.added.first == [
        "3"
    ]


def test_many_bad_lines_are_counted_and_the_first_are_named(folder: Folder) -> None:
    people = folder.open()
    lines = [f'{{"id": "x{n}", "{"y" * 2_000}": 1}}' if n % 2 else "x" * 2_000 for n in range(3_000)]
    report = people.put("ana", read_ndjson(['{"id": "a", "text": "tea"}', *lines]), on_error="skip")
    assert (report.put, report.skipped_count, len(report.skipped)) == (1, 3_000, 100)
    assert [error.line for error in report.skipped] == list(range(2, 102))
    assert all(error.__context__ is None and error.__traceback__ is None for error in report.skipped)
    assert len(json.dumps(report.to_dict())) < 40_000


def test_putting_nothing_makes_no_user(folder: Folder) -> None:
    people = folder.open()
    assert people.put("ana", []).put == 0
    with pytest.raises(UnknownUser):
        people.get("ana")


def test_a_user_needs_a_name_within_the_rule(folder: Folder) -> None:
    with pytest.raises(InvalidName):
        folder.open().put("a\nb", [document("a")])


def test_nothing_of_another_user_is_ever_found(folder: Folder) -> None:
    people = folder.open()
    for user in ("ana", "bo", "an", "ana%", "ANA"):
        people.put(user, [Document(id="same", text=f"secret of {user}"), document(f"only {user}")])
    for user in ("ana", "bo", "an", "ana%", "ANA"):
        assert ids(people.get(user)) == ["same", f"only {user}"]
        for name in ("dense", "bm25", "recency", "rrf", "hybrid", "random"):
            found = people.search(user, ["secret green"], 10, name)[0]
            assert {passage.text for passage in found} == {f"secret of {user}", "green tea"}
        assert people.similar(user, ["same"], 5)[0][0].document_id == f"only {user}"
        with pytest.raises(UnknownDocument):
            people.similar(user, ["only zoe"], 5)


def test_progress_counts_documents_and_not_their_parts(folder: Folder) -> None:
    done: list[int] = []
    long = [Document(id=f"long{i}", text="Tea for two. " * 100) for i in range(10)]
    folder.open().put("ana", [*(document(str(i)) for i in range(1_500)), *long], progress=done.append)
    assert sum(done) == 1_510


def test_similar_documents_are_the_nearest_others(folder: Folder) -> None:
    people = folder.open()
    people.put(
        "ana", [document("a", "green tea"), document("b", "green tea now"), document("c", "dog " * 200)]
    )
    (near, far) = people.similar("ana", ["a", "c"], 5)
    assert {passage.document_id for passage in near} == {"b", "c"}
    assert {passage.document_id for passage in far} == {"a", "b"}
    scores = people.get("ana").vectors.scores(people.get("ana").vectors.vector(0), np.array([1]))
    assert [passage.score for passage in near if passage.document_id == "b"] == scores.tolist()


def test_a_long_document_is_found_by_its_parts_and_every_part_is_verbatim(folder: Folder) -> None:
    people = folder.open()
    text = "\n".join(f"Line {i} tells of topic{i} and no more than that." for i in range(60))
    people.put("ana", [document("a"), Document(id="long", text=text, title="Notes"), document("z")])
    profile = people.get("ana")
    positions = profile.positions("long")
    assert positions == list(range(1, 1 + len(positions)))
    assert len(positions) > 5
    for position in positions:
        passage = profile.passage(position, 1, 0.0)
        assert text[passage.start : passage.start + len(passage.text)] == passage.text
        assert folder.encoder.count_tokens([f"Notes: {passage.text}"])[0] <= 64
    assert "".join("".join(profile.text(p) for p in positions).split()) == "".join(text.split())
    found = people.search("ana", ["topic42"], 3, "bm25")[0]
    assert [passage.document_id for passage in found] == ["long"]
    assert "topic42" in found[0].text
    # Parts of one document are each other's neighbours, other documents are not.
    groups = profile.groups[positions]
    assert len(set(groups.tolist())) == 1
    assert profile.groups[0] != groups[0] != profile.groups[-1]


def test_a_further_part_of_a_document_that_was_read_can_be_found(folder: Folder) -> None:
    people = folder.open()
    text = "\n".join(f"Line {i} tells of tea and no more than that." for i in range(60))
    people.put("ana", [Document(id="long", text=text)])
    read: set[tuple[str, int]] = set()
    for _ in people.get("ana").positions("long"):
        (passage,) = people.search("ana", ["tea"], 1, "bm25", read)[0]
        read.add(passage.key)
    assert people.search("ana", ["tea"], 1, "bm25", read) == [[]]


def test_each_document_is_found_once_by_its_best_passage(folder: Folder) -> None:
    people = folder.open()
    text = "\n".join(f"Line {i} tells of tea and no more than that." for i in range(60))
    short = [Document(id=f"d{i}", text=f"Tea {word}") for i, word in enumerate("pot time spoon leaf".split())]
    people.put("ana", [Document(id="long", text=text), *short])
    for name in ("dense", "bm25", "recency", "rrf", "hybrid", "random"):
        found = [passage.document_id for passage in people.search("ana", ["tea"], 5, name)[0]]
        assert sorted(found) == ["d0", "d1", "d2", "d3", "long"]


def test_a_profile_is_loaded_once_until_it_changes(folder: Folder) -> None:
    people = folder.open()
    people.put("ana", [document("a")])
    first = people.get("ana")
    assert people.get("ana") is first
    people.put("ana", [document("b")])
    assert people.get("ana") is not first
    assert ids(first) == ["a"]


def test_writes_of_another_process_are_seen_at_once(folder: Folder) -> None:
    ours, theirs = folder.open(), folder.open()
    ours.put("ana", [document("a")])
    assert ids(ours.get("ana")) == ids(theirs.get("ana")) == ["a"]
    theirs.put("ana", [document("b")])
    assert ids(ours.get("ana")) == ["a", "b"]
    theirs.store.delete_document("ana", "a")
    assert ids(ours.get("ana")) == ["b"]
    theirs.erase("ana")
    with pytest.raises(UnknownUser):
        ours.get("ana")


def test_a_user_who_returns_after_an_erasure_elsewhere_has_no_old_documents(folder: Folder) -> None:
    ours, theirs = folder.open(), folder.open()
    ours.put("ana", [document("old")])
    ours.get("ana")
    theirs.erase("ana")
    theirs.put("ana", [document("new")])
    assert ids(ours.get("ana")) == ["new"]


def test_the_cache_keeps_to_its_bytes_and_drops_the_least_recently_used(folder: Folder) -> None:
    people = folder.open(cache_bytes=10_000)
    users = [f"u{i}" for i in range(8)]
    for user in users:
        people.put(user, [document("a", "x" * 500)])
    size = people.get("u0").nbytes
    assert 1_500 < size < 5_000
    for user in [*users, "u6"]:
        people.get(user)
        assert people._cached == sum(profile.nbytes for profile in people._cache.values()) <= 10_000
    people.put("u6", [document("a", "y" * 500)])
    people.get("u6")
    assert people._cached == sum(profile.nbytes for profile in people._cache.values())
    kept = 10_000 // size
    assert list(people._cache) == [f"u{i}" for i in range(8 - kept, 8) if i != 6] + ["u6"]


def test_a_profile_larger_than_the_cache_is_served_all_the_same(folder: Folder) -> None:
    people = folder.open(cache_bytes=10)
    people.put("ana", [document("a")])
    people.put("bo", [document("b")])
    assert ids(people.get("ana")) == ["a"]
    assert ids(people.get("bo")) == ["b"]
    assert list(people._cache) == ["bo"]


def test_erasing_empties_the_cache_too(folder: Folder) -> None:
    people = folder.open()
    people.put("ana", [document("a")])
    people.get("ana")
    receipt = people.erase("ana")
    assert (receipt.user, receipt.documents, receipt.passages, receipt.cached) == ("ana", 1, 1, True)
    assert (people._cache, people._cached) == ({}, 0)
    with pytest.raises(UnknownUser):
        people.search("ana", ["tea"], 3, "bm25")


def test_a_user_whom_another_server_erased_leaves_the_memory_with_the_next_call(folder: Folder) -> None:
    people, others = folder.open(), folder.open()
    people.put("ana", [document("a")])
    people.get("ana")
    assert not others.erase("ana").cached
    with pytest.raises(UnknownUser):
        people.search("ana", ["tea"], 3, "bm25")
    assert (people._cache, people._cached) == ({}, 0)


def test_many_threads_may_search_and_put_at_once(folder: Folder) -> None:
    people = folder.open(cache_bytes=10_000)
    for i in range(4):
        people.put(f"u{i}", [document("first")])
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            user = f"u{number % 4}"
            for step in range(5):
                people.put(user, [document(f"{number}-{step}")])
                found = people.search(user, ["green tea"], 50, "dense")[0]
                assert f"{number}-{step}" in {passage.document_id for passage in found}
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [len(people.get(f"u{i}")) for i in range(4)] == [11] * 4


def test_the_real_encoder_finds_by_meaning(profiles: Profiles, minilm: SentenceTransformerEncoder) -> None:
    texts = ["My puppy chewed the sofa.", "I gave up coffee for green tea.", "The cabin in Otta has no oven."]
    profiles.put("ana", [document(str(i), text) for i, text in enumerate(texts)])
    found = profiles.search("ana", ["Which pet do I have?", "favourite hot drink"], 1, "dense")
    assert [passages[0].document_id for passages in found] == ["0", "1"]
    stored = minilm.encode_documents(texts).astype(np.float16).astype(np.float32)
    query = minilm.encode_queries(["Which pet do I have?"])[0]
    assert found[0][0].score == pytest.approx(float(stored[0] @ query), abs=1e-5)


@pytest.mark.parametrize("case", [*CASES, *OPENED], ids=lambda case: case.name)
def test_the_searches_of_the_golden_cases_find_what_the_cases_say(case: Case, folder: Folder) -> None:
    from index.documents import parse_document

    people = folder.open()
    people.put("ana", [parse_document(data) for data in case.documents])
    read: set[tuple[str, int]] = set()
    for query, expected in zip(case.queries, case.found, strict=True):
        found = people.search("ana", [query], case.limits.top_k, RETRIEVER, read)[0]
        assert [passage.document_id for passage in found] == list(expected)
        read |= {passage.key for passage in found}


def test_documents_over_the_size_are_left_out_one_at_a_time(folder: Folder) -> None:
    people = folder.open()

    def large() -> Iterator[Document]:
        for number in range(15):
            yield Document(id=f"m{number}", text="tea", metadata={"filler": f"{number}" * 12_000_000})

    with pytest.raises(InvalidDocument, match=r"'m0' \(item 1\) has 12,000,0\d\d bytes .* \(document_mb\)$"):
        people.put("ana", large())
    report = people.put("ana", large(), on_error="skip")
    assert (report.put, report.skipped_count) == (0, 15)
    assert people.store.users() == []


@pytest.mark.parametrize("part", ["text", "title", "source", "metadata", "id"])
def test_the_size_of_a_document_is_that_of_all_its_fields(folder: Folder, part: str) -> None:
    value: object = {"ä": "ä" * 50} if part == "metadata" else "ä" * 100
    whole = Document.model_validate({"id": "a", "text": "b"} | {part: value})
    people = Profiles(folder.open().store, folder.encoder, document_bytes=whole.size)
    assert people.put("ana", [whole]).put == 1
    small = Profiles(people.store, folder.encoder, document_bytes=whole.size - 1)
    with pytest.raises(InvalidDocument, match="document_mb"):
        small.put("ana", [whole])


def test_an_invalid_last_line_is_found_before_anything_is_encoded(folder: Folder) -> None:
    people = folder.open()
    lines: list[Document | InvalidDocument] = [document(f"m{i}") for i in range(2_000)]
    lines.append(InvalidDocument("text: must not be empty", 2_001))
    with pytest.raises(InvalidDocument):
        people.put("ana", lines)
    assert folder.encoder.calls == []


def test_the_cache_counts_metadata_as_it_is_in_memory(folder: Folder) -> None:
    people = folder.open()
    metadata = {f"key {i}": [i, {"value": i / 7}] for i in range(1_000)}
    # Text, until somebody looks at the document.
    copy = json.dumps(metadata)
    taken = sys.getsizeof(copy)
    people.put("ana", [document("a")])
    plain = people.get("ana").nbytes
    people.put("ana", [Document(id="a", text="green tea", metadata=json.loads(copy))])
    assert people.get("ana").nbytes - plain == pytest.approx(taken, rel=0.2)
