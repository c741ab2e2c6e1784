"""Small exports as the apps write them: `weeks` says how many weeks of messages an export holds."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Write = Callable[[Path, int], Path]
"""Writes an export of so many weeks into a folder and returns its path."""


@dataclass(frozen=True)
class Export:
    """An app's export and what it must become."""

    form: str
    write: Write
    times: tuple[str, ...]
    """Instants of the documents of two weeks, in their order."""
    later: int
    """How many of them are in the second week."""


def moments(weeks: int, *days: int) -> list[datetime]:
    """Noon of these days of each week, from Friday 1 March 2024 on, in UTC."""
    start = datetime(2024, 3, 1, 12, tzinfo=UTC)
    return [start + timedelta(days=7 * week + day) for week in range(weeks) for day in days]


def zipped(path: Path, files: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _whatsapp_android(folder: Path, weeks: int) -> Path:
    lines = ["2/28/24, 09:00 - Messages and calls are end-to-end encrypted. Learn more."]
    for moment in moments(weeks, 0, 1):
        local = moment + timedelta(hours=1)  # Berlin, in winter
        stamp = f"{local:%-m/%-d/%y, %H:%M} -"
        lines += [f"{stamp} Ben: tea?\nor coffee"] * 2
        lines.append(f"{stamp} Ana: \u200eIMG-20240301-WA0001.jpg (file attached)")
    path = folder / "WhatsApp Chat with Ben.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _whatsapp_ios(folder: Path, weeks: int) -> Path:
    lines = ["[01.03.24, 13:00:00] Ben: \u200eMessages and calls are end-to-end encrypted."]
    for moment in moments(weeks, 0, 1):
        local = moment + timedelta(hours=1)
        stamp = f"[{local:%d.%m.%y, %H:%M:%S}]"
        lines += [f"{stamp} Ben: tea?", f"\u200e{stamp} Ana: \u200e<attached: 1.jpg>"]
    files: dict[str, str | bytes] = {
        "_chat.txt": "".join(f"{line}\r\n" for line in lines),
        "1.jpg": b"\xff\xd8\xff",
    }
    return zipped(folder / "WhatsApp Chat - Ben.zip", files)


def _telegram_chat(weeks: int) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [
        {"id": 1, "type": "service", "date": "2024-03-01T12:00:00", "action": "create_group", "actor": "Ana"}
    ]
    for number, moment in enumerate(moments(weeks, 0, 2), 2):
        messages.append(
            {
                "id": number,
                "type": "message",
                "date": f"{moment + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}",
                "date_unixtime": str(int(moment.timestamp())),
                "from": "Ben",
                "from_id": "user7",
                "text": ["see ", {"type": "link", "text": "example.org"}, "!"],
                "text_entities": [],
            }
        )
    return {"name": "Ben", "type": "personal_chat", "id": 70, "messages": messages}


def _telegram_one(folder: Path, weeks: int) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps(_telegram_chat(weeks), indent=1))
    return path


def _telegram_all(folder: Path, weeks: int) -> Path:
    saved = {"type": "saved_messages", "id": 71, "messages": _telegram_chat(weeks)["messages"]}
    whole = {
        "about": "Here is the data you requested.",
        "personal_information": {"user_id": 1, "first_name": "Ana"},
        "contacts": {"list": [{"first_name": "Ben", "date": "2020-01-01T00:00:00"}]},
        "chats": {"about": "These are your chats.", "list": [_telegram_chat(weeks), saved]},
        "left_chats": {"about": "", "list": []},
    }
    target = folder / "DataExport"
    target.mkdir()
    (target / "result.json").write_text(json.dumps(whole))
    return target


def _signal(folder: Path, weeks: int) -> Path:
    chat = folder / "signal" / "Ben"
    chat.mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {
            "date": f"{(moment + timedelta(hours=1)).replace(tzinfo=None).isoformat()}.250000",
            "sender": "Ben",
            "body": "tea?  ",
            "quote": "",
            "sticker": None,
            "reactions": [],
            "attachments": [],
            "deleted": False,
        }
        for moment in moments(weeks, 0)
    ]
    (chat / "data.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (chat / "chat.md").write_text("[2024-03-01 13:00:00] Ben: tea?\n")
    return chat.parent


def _signal_text(folder: Path, weeks: int) -> Path:
    chat = folder / "signal" / "Ben"
    chat.mkdir(parents=True)
    lines = [
        f"[{moment + timedelta(hours=1):%Y-%m-%d %H:%M:%S}] Ben: tea?  \n\n" for moment in moments(weeks, 0)
    ]
    (chat / "chat.md").write_text("".join(lines))
    (chat / "index.html").write_text("<!doctype html><html><body>Ben: tea?</body></html>")
    return chat.parent


def _slack(folder: Path, weeks: int) -> Path:
    users = [
        {
            "id": "U1",
            "team_id": "T",
            "name": "ana",
            "tz": "Europe/Berlin",
            "profile": {"display_name": "Ana"},
        },
        {
            "id": "U2",
            "team_id": "T",
            "name": "ben",
            "tz": "America/New_York",
            "profile": {"real_name": "Ben B"},
        },
    ]
    channels = [{"id": "C1", "name": "general", "creator": "U1", "members": ["U1", "U2"]}]
    files = {
        "users.json": json.dumps(users),
        "channels.json": json.dumps(channels),
        "integration_logs.json": "[]",
    }
    files["dms.json"] = json.dumps([{"id": "D1", "created": 1, "members": ["U1", "U2"]}])
    for moment in moments(weeks, 0):
        stamp = f"{int(moment.timestamp())}.000100"
        said = {
            "type": "message",
            "user": "U1",
            "text": "hi <@U2> &amp; <#C1|general>: <https://x.org|x>",
            "ts": stamp,
        }
        joined = {"type": "message", "subtype": "channel_join", "user": "U2", "text": "joined", "ts": stamp}
        files[f"general/{moment:%Y-%m-%d}.json"] = json.dumps([joined, said], indent=4)
        reply = {"type": "message", "user": "U2", "text": "pssst", "ts": stamp}
        files[f"D1/{moment:%Y-%m-%d}.json"] = json.dumps([reply], indent=4)
    return zipped(folder / "Acme Slack export.zip", files)


def _discord(folder: Path, weeks: int) -> Path:
    author = {"id": "9", "name": "ben", "discriminator": "0000", "nickname": "Ben", "isBot": False}
    messages: list[dict[str, Any]] = [
        {
            "id": "100",
            "type": "GuildMemberJoin",
            "timestamp": "2024-03-01T11:00:00+01:00",
            "content": "Joined.",
            "author": author,
        }
    ]
    messages += [
        {
            "id": str(200 + number),
            "type": "Reply",
            "timestamp": f"{moment + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}.123+01:00",
            "timestampEdited": None,
            "content": "tea? @Ana",
            "author": author,
            "attachments": [],
        }
        for number, moment in enumerate(moments(weeks, 0))
    ]
    whole = {
        "guild": {"id": "1", "name": "Friends", "iconUrl": "x"},
        "channel": {
            "id": "2",
            "type": "GuildTextChat",
            "categoryId": "3",
            "category": "Text",
            "name": "talk",
        },
        "dateRange": {"after": None, "before": None},
        "exportedAt": "2024-03-20T00:00:00+01:00",
        "messages": messages,
        "messageCount": len(messages),
    }
    path = folder / "Friends - Text - talk [2].json"
    path.write_text(json.dumps(whole, indent=2))
    return path


def node(
    name: str, parent: str | None, role: str, text: str, time: float | None, **more: Any
) -> dict[str, Any]:
    """A node of a conversation of ChatGPT."""
    content = {"content_type": "text", "parts": [text]}
    said = {
        "id": name,
        "author": {"role": role},
        "create_time": time,
        "content": content,
        "recipient": "all",
        "metadata": {},
    }
    return {"id": name, "message": said | more, "parent": parent, "children": []}


def _chatgpt(folder: Path, weeks: int) -> Path:
    conversations = []
    for week, moment in enumerate(moments(weeks, 0)):
        at = moment.timestamp()
        nodes = [
            {"id": "root", "message": None, "parent": None, "children": ["s"]},
            node("s", "root", "system", "", None, metadata={"is_visually_hidden_from_conversation": True}),
            node(f"u{week}", "s", "user", "Tea?", at + 0.25),
            node(f"old{week}", f"u{week}", "assistant", "Coffee.", at + 1),
            node(f"new{week}", f"u{week}", "assistant", "Tea.", at + 2),
        ]
        for parent, child in (("s", f"u{week}"), (f"u{week}", f"old{week}"), (f"u{week}", f"new{week}")):
            next(item for item in nodes if item["id"] == parent)["children"].append(child)
        conversations.append(
            {
                "title": "Drinks",
                "create_time": at,
                "update_time": at,
                "mapping": {item["id"]: item for item in nodes},
                "current_node": f"new{week}",
                "conversation_id": f"c{week}",
            }
        )
    files = {
        "conversations.json": json.dumps(conversations),
        "user.json": '{"id": "u"}',
        "chat.html": "<html></html>",
    }
    return zipped(folder / "chatgpt.zip", files)


def _claude(folder: Path, weeks: int) -> Path:
    conversations = []
    for week, moment in enumerate(moments(weeks, 0)):
        at = f"{moment:%Y-%m-%dT%H:%M:%S}.500000Z"
        thinking = {"type": "thinking", "thinking": "hm"}
        messages = [
            {"uuid": f"h{week}", "text": "Tea?", "content": [], "sender": "human", "created_at": at},
            {
                "uuid": f"a{week}",
                "text": "hm Tea.",
                "content": [thinking, {"type": "text", "text": "Tea."}],
                "sender": "assistant",
                "created_at": at,
            },
        ]
        conversations.append(
            {
                "uuid": f"c{week}",
                "name": "Drinks",
                "created_at": at,
                "account": {"uuid": "x"},
                "chat_messages": messages,
            }
        )
    files = {
        "conversations.json": json.dumps(conversations),
        "users.json": '[{"uuid": "x", "full_name": "Ana"}]',
    }
    return zipped(folder / "data-2024.zip", files)


def _sms(folder: Path, weeks: int) -> Path:
    rows = []
    for moment in moments(weeks, 0):
        at = int(moment.timestamp() * 1000) + 7
        ben = f'<sms protocol="0" address="+491" date="{at}" contact_name="Ben" read="1"'
        rows += [
            ben + ' type="1" subject="null" body="tea? &#55357;&#56832;&#10;ok" />',
            ben + """ type="2" body='say "yes"' />""",
            ben + ' type="3" body="draft" />',
            f'<mms date="{at}" msg_box="1" address="+492" contact_name="(Unknown)"><parts>'
            '<part seq="-1" ct="application/smil" text="x" /><part seq="0" ct="text/plain" text="abroad" />'
            f'<part seq="1" ct="image/jpeg" data="{"A" * 999}" /></parts></mms>',
        ]
    head = (
        "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<!--File of the app's backup & more-->\n"
    )
    path = folder / "sms-20240301.xml"
    path.write_text(head + f'<smses count="{len(rows)}">\n' + "\n".join(rows) + "\n</smses>\n")
    return path


def _calls(folder: Path, weeks: int) -> Path:
    rows = [
        f'<call number="+491" contact_name="Ben" duration="{65 * kind}" type="{kind + 1}" '
        f'date="{int(moment.timestamp() * 1000)}" />'
        for moment in moments(weeks, 0)
        for kind in (0, 1)
    ]
    path = folder / "calls-20240301.xml"
    path.write_text(f'<?xml version="1.0"?><calls count="{len(rows)}">{"".join(rows)}</calls>')
    return path


def _lifebench(folder: Path, weeks: int) -> Path:
    documents = [
        {
            "id": f"sms-{number}",
            "text": "Tea?",
            "created_at": f"{moment + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
            "source": "sms Ben",
            "title": "to Ben",
        }
        for number, moment in enumerate(moments(weeks, 0))
    ]
    path = folder / "lifebench.json"
    path.write_text(
        json.dumps([{"user": "ana", "documents": documents, "questions": []}], ensure_ascii=False)
    )
    return path


def _longmemeval(folder: Path, weeks: int) -> Path:
    days = moments(weeks, 0)
    said = ("user", "Tea?"), ("assistant", "Tea.")
    session = [{"role": role, "content": text} for role, text in said]
    item = {
        "question_id": "q1",
        "question_type": "single-session-user",
        "question": "What?",
        "answer": "Tea",
        "question_date": "2024/03/30 (Sat) 02:21",
        "haystack_session_ids": [f"s{number}" for number in range(weeks)],
        "haystack_dates": [f"{day:%Y/%m/%d (%a) %H:%M}" for day in days],
        "haystack_sessions": [session] * len(days),
        "answer_session_ids": ["s0"],
    }
    path = folder / "longmemeval_s.json"
    path.write_text(json.dumps([item]))
    return path


WEEKS = ("2024-03-01T13:00:00+01:00", "2024-03-08T13:00:00+01:00")
EXPORTS = (
    Export(
        "whatsapp",
        _whatsapp_android,
        tuple(f"2024-03-{day:02}T13:00:00+01:00" for day in (1, 1, 2, 2, 8, 8, 9, 9)),
        4,
    ),
    Export("whatsapp", _whatsapp_ios, tuple(f"2024-03-{day:02}T13:00:00+01:00" for day in (1, 2, 8, 9)), 2),
    Export("telegram", _telegram_one, tuple(f"2024-03-{day:02}T13:00:00+01:00" for day in (1, 3, 8, 10)), 2),
    Export(
        "telegram", _telegram_all, tuple(f"2024-03-{day:02}T13:00:00+01:00" for day in (1, 3, 8, 10) * 2), 4
    ),
    Export("signal-markdown", _signal_text, ("2024-03-01T13:00:00+01:00", "2024-03-08T13:00:00+01:00"), 1),
    Export("signal", _signal, ("2024-03-01T13:00:00.250000+01:00", "2024-03-08T13:00:00.250000+01:00"), 1),
    Export(
        "slack",
        _slack,
        (
            "2024-03-01T07:00:00.000100-05:00",
            "2024-03-08T07:00:00.000100-05:00",
            "2024-03-01T13:00:00.000100+01:00",
            "2024-03-08T13:00:00.000100+01:00",
        ),
        2,
    ),
    Export("discord", _discord, ("2024-03-01T13:00:00.123000+01:00", "2024-03-08T13:00:00.123000+01:00"), 1),
    Export(
        "chatgpt",
        _chatgpt,
        tuple(f"2024-03-{day}T13:00:0{second}+01:00" for day in ("01", "08") for second in ("0.250000", "2")),
        2,
    ),
    Export(
        "claude", _claude, tuple(f"2024-03-{day}T12:00:00.500000Z" for day in ("01", "01", "08", "08")), 2
    ),
    Export(
        "sms", _sms, tuple(f"2024-03-{day}T13:00:00.007000+01:00" for day in ("01",) * 3 + ("08",) * 3), 3
    ),
    Export("sms", _calls, (WEEKS[0], WEEKS[0], WEEKS[1], WEEKS[1]), 2),
    Export("lifebench", _lifebench, WEEKS, 1),
    Export("longmemeval", _longmemeval, ("2024-03-01T12:00:00Z",) * 2 + ("2024-03-08T12:00:00Z",) * 2, 2),
)
