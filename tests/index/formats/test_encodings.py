import pytest

from index.formats.encodings import SAMPLE_BYTES, encoding_of, text_of


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Name;Größe\r\nMüller;süß – „gut“ für 5 €", "cp1252"),
        ("id,text\n1,un café crème à l'été", "cp1252"),
        ("Amanhã as lições são às três, não é?", "cp1252"),
        ("¿Qué haces mañana?", "cp1252"),
        ("Bugün çok güzel bir gün, şimdi ağaçları görüyoruz", "cp1254"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cp1250"),
        ("Привет, как дела? Сегодня мы идём гулять", "cp1251"),
        ("Καλημέρα, τι κάνεις σήμερα;", "cp1253"),
        ("你好，今天我们去散步。", "gb18030"),
        ("こんにちは、元気ですか", "shift_jis"),
        ("안녕하세요 오늘은 날씨가 좋네요", "euc_kr"),
        ("plain", "utf-8"),
        ("Grüße 🙂", "utf-8"),
        ("\ufeffGrüße", "utf-8"),
        ("Grüße", "utf-16"),
        ("Größe;Zahl", "utf-16-le"),
        ("Größe;Zahl", "utf-16-be"),
        ("", "utf-8"),
    ],
)
def test_text_is_read_in_the_encoding_that_it_was_written_in(text: str, encoding: str) -> None:
    assert text_of(text.encode(encoding)) == text.removeprefix("\ufeff")


def test_a_character_may_be_cut_off_at_the_end_of_the_sample_but_not_of_the_file() -> None:
    cut = b"a" * (SAMPLE_BYTES - 1) + "é".encode()[:1]
    assert encoding_of(cut) == "utf-8"
    assert text_of("ein Café".encode("cp1252")) == "ein Café"


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(UnicodeError):
        text_of(b"\xff\xfe\x00")
