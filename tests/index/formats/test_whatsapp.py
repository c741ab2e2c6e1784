"""Dates and lines of WhatsApp, in the forms of its languages and systems."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import InvalidDocument
from tests.index.formats.reading import Import, imported

HEADS = {
    "android, German": ("29.02.24, 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, British": ("29/02/2024, 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, American": ("2/29/24, 9:05\u202fPM - ", "2024-02-29T21:05:00+01:00"),
    "android, Spanish": ("29/2/24, 9:05 p.\xa0m. - ", "2024-02-29T21:05:00+01:00"),
    "android, Swedish": ("2024-02-29 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, Finnish": ("29.2.2024 klo 21.05 - ", "2024-02-29T21:05:00+01:00"),
    "android, French": ("29/02/2024 à 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, Dutch": ("29-02-2024 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, Japanese": ("2024/02/29 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, Chinese": ("2024/2/29 下午9:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, Korean": ("2024년 2월 29일 오후 9:05, ", "2024-02-29T21:05:00+01:00"),
    "android, Hungarian": ("2024. 02. 29. 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "android, Arabic": ("\u200f29\u200f/2\u200f/2024، 9:05 م - ", "2024-02-29T21:05:00+01:00"),
    "android, Arabic digits": ("\u200f٢٩\u200f/٢\u200f/٢٠٢٤، ٩:٠٥ م - ", "2024-02-29T21:05:00+01:00"),
    "android, Thai": ("29/2/2567 21:05 - ", "2024-02-29T21:05:00+01:00"),
    "ios, German": ("[29.02.24, 21:05:07] ", "2024-02-29T21:05:07+01:00"),
    "ios, American": ("[2/29/24, 9:05:07\u202fPM] ", "2024-02-29T21:05:07+01:00"),
    "ios, Chinese": ("[2024/2/29 下午9:05:07] ", "2024-02-29T21:05:07+01:00"),
    "ios, marked": ("\u200e[29/02/2024, 21:05:07] ", "2024-02-29T21:05:07+01:00"),
    "after midnight": ("2/29/24, 12:05 AM - ", "2024-02-29T00:05:00+01:00"),
    "after noon": ("2/29/24, 12:05 PM - ", "2024-02-29T12:05:00+01:00"),
}


def read(tmp_path: Path, text: str, day_first: bool | None = None) -> Import:
    path = tmp_path / "WhatsApp Chat with Ben.txt"
    path.write_bytes(text.encode())
    return imported(path, day_first=day_first)


@pytest.mark.parametrize(("head", "time"), HEADS.values(), ids=HEADS)
def test_a_head_is_read_in_every_language(tmp_path: Path, head: str, time: str) -> None:
    found = read(tmp_path, f"{head}Ben: tea?\n{head}Ben: yes: now\nplease\n")
    assert (found.formats, found.errors) == (["whatsapp"], [])
    assert (found.texts, found.times) == (["Ben: tea?", "Ben: yes: now\nplease"], [time, time])


@pytest.mark.parametrize("day_first", [True, False])
@settings(max_examples=25)
@given(days=st.lists(st.dates(date(2010, 1, 1), date(2500, 1, 1)), min_size=1, max_size=12))
def test_the_order_of_day_and_month_is_settled_by_the_whole_file_or_refused(
    tmp_path_factory: pytest.TempPathFactory, day_first: bool, days: list[date]
) -> None:
    pattern = "%d/%m/%Y" if day_first else "%m/%d/%Y"
    days.sort()
    text = "".join(f"{day:{pattern}}, 12:00 - Ben: tea\n" for day in days)
    tmp_path = tmp_path_factory.mktemp("chat")
    refusals = []
    try:
        found = read(tmp_path, text)
    except InvalidDocument as error:
        refusals.append(str(error))
        found = read(tmp_path, text, day_first=day_first)
    assert [time and time[:10] for time in found.times] == [f"{day:%Y-%m-%d}" for day in days]
    for refusal in refusals:
        assert "--day-first or --month-first" in refusal
        # Nothing in such a file speaks against the other order.
        assert all(day.day <= 12 for day in days)


def test_an_order_that_is_given_must_fit_the_file(tmp_path: Path) -> None:
    text = "29/02/2024, 12:00 - Ben: tea\n"
    assert len(read(tmp_path, text, day_first=True).documents) == 1
    with pytest.raises(InvalidDocument, match="1 of its dates do not fit the order given"):
        read(tmp_path, text, day_first=False)


def test_a_chat_goes_forward_which_settles_the_order(tmp_path: Path) -> None:
    text = "".join(f"0{month}/0{day}/2024, 12:00 - Ben: tea\n" for month, day in ((1, 9), (2, 3), (3, 1)))
    assert read(tmp_path, text).times[0] == "2024-01-09T12:00:00+01:00"


def test_lines_of_the_app_and_attachments_are_counted(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        '29/02/2024, 12:00 - Ana changed the subject from "Tea: now" to "Rome: plans"\n'
        "29/02/2024, 12:00 - Ben added Ana\n"
        "29/02/2024, 12:01 - Ben: <Media omitted>\n"
        "29/02/2024, 12:01 - Ben: <3 <3\n"
        "29/02/2024, 12:02 - Ben: IMG-20240229-WA0007.jpg (Datei angehängt)\nour tent\n"
        "29/02/2024, 12:03 - Ben: \u200eMissed voice call\n"
        "29/02/2024, 12:04 - Ben: [29/02/2024] is a day\n[29/02/2024, 11:00:00] Ana: quoted\n",
    )
    assert found.texts == [
        "Ben: <3 <3",
        "Ben: our tent",
        "Ben: [29/02/2024] is a day\n[29/02/2024, 11:00:00] Ana: quoted",
    ]
    assert (
        sorted(found.skipped)
        == ["a line of WhatsApp itself"] * 2 + ["an attachment, or a note of WhatsApp itself"] * 2
    )


def test_an_unknown_language_is_reported_line_by_line(tmp_path: Path) -> None:
    found = read(tmp_path, "29/02/2024, 9:05 xq - Ben: tea\n29/02/2024, 9:05 am - Ben: yes\n")
    assert found.texts == ["Ben: yes"]
    assert found.errors == [
        "'xq' beside the time is not known to mean morning or afternoon: "
        "export the chat with the phone in another language"
    ]


def test_a_copy_of_the_export_is_the_same_chat(tmp_path: Path) -> None:
    ids = set()
    for name in ("WhatsApp Chat with Ben.txt", "WhatsApp Chat with Ben (1).txt", "WhatsApp-Chat mit Ben.txt"):
        (tmp_path / name).write_text("29/02/2024, 12:00 - Ben: tea\n")
        [document] = imported(tmp_path / name).documents
        ids.add((document.id, document.source))
    assert len(ids) == 1


def test_equal_messages_of_one_minute_are_as_many_documents(tmp_path: Path) -> None:
    found = read(tmp_path, "29/02/2024, 12:00 - Ben: tea\n" * 2_000)
    assert len({document.id for document in found.documents}) == 2_000
