from pathlib import Path

from benchmarks.imports import EVERY, documents, measured, write_chat, write_mailbox


def test_every_message_of_a_made_chat_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "WhatsApp Chat with Ben.txt"
    write_chat(path, 500)
    found = list(documents(path))
    assert len({document.id for document in found}) == len(found) == 500
    assert {str(document.metadata["author"]) for document in found} == {"Ana", "Ben"}
    assert measured(path).startswith("WhatsApp Chat with Ben.txt: 0 MB, 500 documents, ")


def test_every_mail_of_a_made_mailbox_is_read_without_its_attachment(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    write_mailbox(path, 2_000_000)
    found = list(documents(path))
    assert path.stat().st_size >= 2_000_000
    written = path.read_bytes().count(b"\nMessage-ID: ")
    assert len({document.id for document in found}) == len(found) == written
    assert len(found) > EVERY
    assert max(len(document.text) for document in found) < 2_000
