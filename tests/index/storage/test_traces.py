"""Nothing of a deleted document is left in any file, whatever came before and whoever reads meanwhile."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.test_store import encoded

ENCODER = HashEncoder()


def holding(folder: Path, word: str) -> list[str]:
    return [file.name for file in folder.iterdir() if word.encode() in file.read_bytes()]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "delete", "erase"]), st.integers(0, 5), st.integers(1, 2_500)
        ),
        min_size=1,
        max_size=25,
    )
)
@settings(max_examples=25, deadline=None)
def test_no_version_of_a_deleted_document_is_left(steps: list[tuple[str, int, int]]) -> None:
    """Pages are split and merged as documents of many sizes come and go; all of a document's versions go."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(f"sqlite:///{folder / 'pr2.db'}", ENCODER.manifest)
        store.put("bo", [[encoded("kept", "kept")]])
        for count, (step, number, length) in enumerate(steps):
            user, document = f"user{number % 2}", f"d{number}"
            if step == "put":
                store.put(user, [[encoded(document, f"word-{number}-{count} " * length)]])
                continue
            known = user in store.users() and document in [found.id for _, found in store.documents(user)]
            if step == "delete" and known:
                store.delete_document(user, document)
                assert holding(folder, f"word-{number}-") == []
            elif step == "erase" and user in store.users():
                assert store.erase(user).scrubbed
                for other in range(number % 2, 6, 2):
                    assert holding(folder, f"word-{other}-") == []
        store.close()


def test_a_reader_is_not_disturbed_and_the_trace_goes_with_the_next_write(store: Store, path: Path) -> None:
    store.put("ana", [[encoded("secret", "zanzibar " * 1_000), encoded("other")]])
    with store.database.read() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM documents").scalar_one()
        store.delete_document("ana", "secret")
        assert not store.database.scrubbed
        assert holding(path.parent, "zanzibar") != []
        assert connection.exec_driver_sql("SELECT count(*) FROM documents").scalar_one() == before == 2
    store.put("ana", [[encoded("new")]])
    assert store.database.scrubbed
    assert holding(path.parent, "zanzibar") == []


def test_a_process_that_was_killed_before_the_trace_was_gone_leaves_it_to_the_next_start(
    store: Store, path: Path, tmp_path: Path
) -> None:
    store.put("ana", [[encoded("secret", "zanzibar " * 1_000), encoded("other")]])
    with store.database.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM documents").scalar_one()
        store.delete_document("ana", "secret")
        copy = tmp_path / "copy"
        copy.mkdir()
        for file in (path, path.with_name(f"{path.name}-wal")):
            (copy / file.name).write_bytes(file.read_bytes())
    assert holding(copy, "zanzibar") != []
    other = Store(f"sqlite:///{copy / path.name}", ENCODER.manifest)
    assert other.count("ana") == 1
    assert holding(copy, "zanzibar") == []
    other.close()
