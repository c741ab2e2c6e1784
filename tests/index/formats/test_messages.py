"""Messages of each app: names, references, branches; and broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.errors import InvalidDocument, UnreadableImport
from index.formats.chats import Occurrences
from index.formats.objects import objects
from tests.index.formats.exports import EXPORTS, node, zipped
from tests.index.formats.reading import Import, imported

WRITE = {export.write.__name__.strip("_"): export.write for export in EXPORTS}


def exported(name: str, tmp_path: Path) -> Import:
    return imported(WRITE[name](tmp_path, 1))


def of(tmp_path: Path, name: str, data: Any) -> Import:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    return imported(path)


def test_slack_references_are_names(tmp_path: Path) -> None:
    found = exported("slack", tmp_path)
    assert found.texts == ["Ben B: pssst", "Ana: hi @Ben B & #general: x (https://x.org)"]
    assert [document.source for document in found.documents] == ["Slack/Ana, Ben B", "Slack/#general"]
    assert found.skipped == ["a message of Slack itself"]
    assert [name for _, name in found.left_out] == ["integration_logs.json"]


def test_telegram_entities_are_one_text_and_chats_are_kept_apart(tmp_path: Path) -> None:
    found = exported("telegram_all", tmp_path)
    assert found.texts == ["Ben: see example.org!"] * 4
    assert [document.source for document in found.documents] == ["Telegram/Ben"] * 2 + [
        "Telegram/Saved Messages"
    ] * 2


def test_chatgpt_follows_the_branch_that_is_shown(tmp_path: Path) -> None:
    found = exported("chatgpt", tmp_path)
    assert found.texts == ["Me: Tea?", "ChatGPT: Tea."]
    assert [document.metadata["role"] for document in found.documents] == ["user", "assistant"]
    assert {(document.title, document.source) for document in found.documents} == {
        ("Drinks", "ChatGPT/Drinks")
    }
    assert sorted(where for _, where in found.left_out) == ["chat.html", "user.json"]


def test_chatgpt_without_a_current_node_ends_at_the_latest_leaf_and_never_loops(tmp_path: Path) -> None:
    first, old, new = (
        node("a", "new", "user", "Tea?", 1.0),  # A loop, which no honest export has.
        node("old", "a", "assistant", "Coffee.", 2.0),
        node("new", "a", "assistant", "Tea.", 3.0),
    )
    first["children"] = ["old", "new"]
    conversation = {"title": None, "create_time": 1.0, "mapping": {"a": first, "old": old, "new": new}}
    assert of(tmp_path, "conversations.json", [conversation]).texts == ["Me: Tea?", "ChatGPT: Tea."]


def test_claude_leaves_out_what_is_not_said_and_follows_the_branch(tmp_path: Path) -> None:
    assert exported("claude", tmp_path).texts == ["Me: Tea?", "Claude: Tea."]
    messages = [
        {
            "uuid": name,
            "parent_message_uuid": parent,
            "sender": sender,
            "text": name,
            "created_at": "2024-03-01T12:00:00Z",
        }
        for name, parent, sender in (
            ("q", "0", "human"),
            ("old", "q", "assistant"),
            ("new", "q", "assistant"),
        )
    ]
    conversation = {"uuid": "c", "name": "n", "chat_messages": messages}
    assert of(tmp_path, "a.json", [conversation]).texts == ["Me: q", "Claude: new"]
    assert (
        of(tmp_path, "b.json", [conversation | {"current_leaf_message_uuid": "old"}]).texts[1]
        == "Claude: old"
    )


def test_sms_are_of_both_sides_and_emoji_are_whole(tmp_path: Path) -> None:
    found = exported("sms", tmp_path)
    assert found.texts == ["Ben: tea? \U0001f600\nok", 'Me: say "yes"', "+492: abroad"]
    assert found.skipped == ["a draft or a message that was not sent"]


def test_calls_say_how_long_they_were(tmp_path: Path) -> None:
    assert exported("calls", tmp_path).texts == ["Ben: incoming call", "Me: outgoing call of 0:01:05"]


@pytest.mark.parametrize("padding", range(0, 40, 3))
def test_halves_of_a_character_are_joined_wherever_the_file_is_cut(tmp_path: Path, padding: int) -> None:
    body = "x" * (2**16 - 90 + padding) + "&#55357;&#56832;"
    xml = f"""<smses><sms address="+1" date="1" type="1" body='{body}' /></smses>"""
    [text] = of(tmp_path, "sms.xml", xml).texts
    assert text.endswith("x\U0001f600")


def test_a_large_attachment_of_a_message_is_not_kept(tmp_path: Path) -> None:
    part = f'<part ct="image/png" data="{"A" * 9_000_000}" /><part ct="text/plain" text="see &gt; it" />'
    xml = f'<smses><!-- it\'s --><mms date="1" msg_box="1" address="+1"><parts>{part}</parts></mms></smses>'
    assert of(tmp_path, "sms.xml", xml).texts == ["+1: see > it"]


def test_xml_that_declares_entities_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="declares a document type"):
        of(tmp_path, "sms.xml", '<!DOCTYPE s [<!ENTITY a "aaaa">]><smses><sms body="&a;" /></smses>')


def test_a_backup_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="the file ends in the middle"):
        of(tmp_path, "sms.xml", '<smses><sms address="+1" date="1" type="1" body="tea" />')


TELEGRAM = {"name": "Ben", "type": "personal_chat", "id": 1}
GOOD = {
    "id": 1,
    "type": "message",
    "date_unixtime": "1709290800",
    "from": "Ben",
    "from_id": "u",
    "text": "tea",
}


@pytest.mark.parametrize(
    ("seconds", "time"),
    [
        ("-1", "1970-01-01T00:59:59+01:00"),
        ("-2208988800", "1900-01-01T01:00:00+01:00"),
        ("32503680000", "3000-01-01T01:00:00+01:00"),
    ],
)
def test_times_before_1970_and_in_the_future_are_kept(tmp_path: Path, seconds: str, time: str) -> None:
    messages = [GOOD | {"date_unixtime": seconds, "date": "x"} | {}]
    messages[0].pop("date")
    assert (
        of(tmp_path, "result.json", TELEGRAM | {"messages": [*messages, GOOD | {"date": "2024"}]}).times[0]
        == time
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"id": 2, "type": "message", "from": "Ben", "text": "no time"},
        {"id": 2, "type": "message", "from": "Ben", "text": "when", "date_unixtime": "soon"},
        {"id": 2, "type": "message", "from": "Ben", "text": "when", "date_unixtime": "9" * 30},
        {"type": "message", "text": "no id"},
        {"id": 2, "type": "message", "text": "x" * 1_000_001, "date": "2024-01-01T00:00:00"},
        {"id": 2, "type": "message", "text": "NUL \0", "date": "2024-01-01T00:00:00"},
        "a string",
        None,
    ],
)
def test_a_broken_message_is_reported_and_the_others_are_read(tmp_path: Path, broken: Any) -> None:
    found = of(
        tmp_path,
        "result.json",
        TELEGRAM | {"messages": [GOOD | {"date": "2024-03-01T12:00:00"}, broken, GOOD]},
    )
    assert found.texts == ["Ben: tea", "Ben: tea"]
    [fault] = found.faults
    assert fault.line == 2


def test_personamem_contexts_are_people_with_turns(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "You know Ana."}, {"role": "user", "content": "User: Tea?"}]
    path = tmp_path / "shared_contexts.jsonl"
    path.write_text("".join(json.dumps({name: turns}) + "\n" for name in ("a", "b")))
    found = imported(path, user="b")
    assert (found.formats, found.texts) == (["personamem"], ["system: You know Ana.", "user: Tea?"])
    assert len(imported(path, user="all").documents) == 4
    with pytest.raises(InvalidDocument, match=r"no person 'c'; it has a, b \(or say 'all'\)"):
        imported(path, user="c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 600, "nested too deeply"),
        ('["\\x"]', "not JSON: lexical error"),
        ("[1, ]", "not JSON: parse error"),
        ('[{"a": 1', "the file ends in the middle"),
        ('["\xff"]', "not JSON"),
    ],
)
def test_hostile_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with path.open("rb") as stream, pytest.raises(InvalidDocument, match=message):
        list(objects(stream, ("item",)))


def test_a_string_or_an_object_that_is_too_large_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    path.write_text('["' + "x" * 17 * 2**20 + '"]')
    with path.open("rb") as stream, pytest.raises(InvalidDocument, match="a text of more than 16 MB"):
        list(objects(stream, ("item",)))
    path.write_text("[[" + "0," * 1_000_000 + "0]]")
    with path.open("rb") as stream, pytest.raises(InvalidDocument, match="more than 1,000,000 values"):
        list(objects(stream, ("item",)))


def test_objects_come_in_the_order_of_the_file_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"n": "x", "l": [{"a": [1, {"b": null}]}, 2, "t", []]}')
    with path.open("rb") as stream:
        assert list(objects(stream, ("n", "l.item"))) == [
            ("n", "x"),
            ("l.item", {"a": [1, {"b": None}]}),
            ("l.item", 2),
            ("l.item", "t"),
            ("l.item", []),
        ]


def test_a_slack_archive_of_lists_alone_has_no_messages(tmp_path: Path) -> None:
    users = [{"id": "U1", "team_id": "T", "profile": {}}]
    path = zipped(tmp_path / "x.zip", {"users.json": json.dumps(users)})
    assert imported(path).documents == []
    with pytest.raises(UnreadableImport, match="it is empty"):
        imported(zipped(tmp_path / "y.zip", {}))


def test_signal_as_markdown_is_read_without_what_belongs_to_others(tmp_path: Path) -> None:
    chat = tmp_path / "Ben"
    chat.mkdir()
    (chat / "chat.md").write_text(
        "[2024-03-01 13:00:00] Ben: \n\n> when?\n> where?\n\nat: noon  \nhere  \n(- Ana: 👍 -)\n"
        "[2024-03-01 13:01:00] Me: ![a.png](./media/a.png)  \n"
        "[2024-03-01 13:02:00] Me: (This message was deleted)\n"
        "[2019-05-29, 15:04] Ana M.: see [x](https://x.org)\n"
        "[1970-01-01 01:00:00] Me: undated\n"
        "[2024-13-01 13:02:00] Me: never\n"
    )
    found = imported(tmp_path)
    assert (found.formats, found.texts) == (
        ["signal-markdown"],
        ["Ben: at: noon  \nhere", "Ana M.: see [x](https://x.org)", "Me: undated"],
    )
    assert found.times == ["2024-03-01T13:00:00+01:00", "2019-05-29T15:04:00+02:00", None]
    assert found.skipped == ["a deleted message or one without text"] * 2
    assert [(fault.line, str(fault)) for fault in found.faults] == [(13, "month must be in 1..12")]
    assert {document.source for document in found.documents} == {"Signal/Ben"}


def test_signal_as_markdown_is_a_copy_beside_the_json(tmp_path: Path) -> None:
    found = exported("signal", tmp_path)
    assert (found.formats, len(found.texts)) == (["signal"], 1)
    assert found.left_out == [("a copy of the Signal chat (signal-export) beside it", "Ben/chat.md")]


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 20))
def test_equal_messages_are_counted_unless_they_are_far_apart(messages: list[int], most: int) -> None:
    occurrences = Occurrences(most)
    for index, message in enumerate(messages):
        earlier = messages[:index]
        count = occurrences(str(message))
        since = [other for other in earlier if other == message]
        assert count <= len(since)
        if len(set(earlier)) < most:
            assert count == len(since)
