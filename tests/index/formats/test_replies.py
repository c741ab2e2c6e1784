import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.formats.replies import own_text


@pytest.mark.parametrize(
    ("mail", "own"),
    [
        ("Sure.\n\nOn Tue, 5 Mar 2024 at 10:15, Ana <\na@example.org> wrote:\n\n> Can we meet?", "Sure."),
        ("Ja.\n\nAm 05.03.24 um 10:15 schrieb Ana:\n> Hallo\n> du", "Ja."),
        ("D'accord.\n\nLe mar. 5 mars 2024 à 10:15, Ana <a@b.c> a\nécrit :\n\nBonjour", "D'accord."),
        ("OK\n\n2024年3月5日(火) 10:15 山田 <y@example.jp>:\n\n> これ", "OK"),
        ("Thanks!\r\n\r\nSent from my iPhone\r\n\r\n> On Mar 5, Ana wrote:\r\n> hi", "Thanks!"),
        ("Siehe da.\n\n______________\nVon: Ana\nGesendet: Dienstag\nAn: Bob\n\nHallo", "Siehe da."),
        ("Look\n\n-----Original Message-----\nFrom: Ana\nhello", "Look"),
        ("Look\n\n---------- Forwarded message ---------\nFrom: Ana\nhello", "Look"),
        ("Look\n\nBegin forwarded message:\n\nhello", "Look"),
        ("Text.\n-- \nBob\nTel. 1", "Text."),
        ("> first?\nyes\n\n> second?\nno", "yes\n\nno"),
        ("I have two questions:\n> you said\nyes?", "I have two questions:\n\nyes?"),
        ("We met in 2023. It was nice:\nwe walked.", "We met in 2023. It was nice:\nwe walked."),
        ("From: now on we walk\nand run.", "From: now on we walk\nand run."),
        # Nothing else is in it.
        ("Begin forwarded message:\nFrom: Ana", "Begin forwarded message:\nFrom: Ana"),
        ("> only\n> quoted", "> only\n> quoted"),
        ("-- \nBob", "--\nBob"),
        ("", ""),
    ],
)  # fmt: skip
def test_quotations_and_signatures_are_taken_off(mail: str, own: str) -> None:
    assert own_text(mail) == own


@given(
    st.lists(st.sampled_from(["a", "", "> b", "On 5 March 2024 Ana wrote:", "--", "From: a", "To: b", "x"]))
)
def test_the_own_text_is_made_of_lines_of_the_mail(lines: list[str]) -> None:
    own = own_text("\n".join(lines))
    assert set(own.split("\n")) <= {*lines, ""}
    assert bool(own) == any(lines)


@given(st.text())
def test_any_text_is_read_and_a_text_of_something_never_becomes_nothing(mail: str) -> None:
    assert bool(own_text(mail)) == bool(mail.strip())
