"""Finds the encoding of text files that do not state it."""

import codecs

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OLD = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "mac_roman"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"),
)
_MARKS_OF_TEXT = "€–—„“”‘’‚…«»°§º\xa0"
_ALPHABETS = (
    ("cp1252", frozenset("äöüÄÖÜßéèêëàâáãçîïíìôóòûùúñÉÈÀÇÑÁÍÓÚåÅæÆøØœŒ¿¡ª" + _MARKS_OF_TEXT)),
    ("cp1254", frozenset("çÇöÖüÜþðýÞÐÝâîû" + _MARKS_OF_TEXT)),  # As Windows-1252 reads ş ğ ı Ş Ğ İ.
)
"""Letters outside ASCII, as Windows-1252 reads them, of languages that are otherwise taken for Eastern ones.
Letters are left out that stand for those of other languages in its neighbours."""
SAMPLE_BYTES = 2**18
"""Bytes of a file by which its encoding is found."""


def encoding_of(sample: bytes) -> str:
    """Return the encoding of a text by its beginning: by its mark, UTF-8 if it can be, or else the likeliest.

    Raises UnicodeError if it is not text in a known encoding.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if sample[1:2] == b"\0" and sample[:1] != b"\0":
        return "utf-16-le"
    if sample[:1] == b"\0" and sample[1:2] != b"\0":
        return "utf-16-be"
    try:
        # A character may be cut off at the end of the sample.
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=len(sample) < SAMPLE_BYTES)
    except UnicodeDecodeError:
        return _likeliest(sample)
    return "utf-8"


def text_of(data: bytes) -> str:
    """Decode a whole text. Raises UnicodeError if it is not text in a known encoding."""
    return data.decode(encoding_of(data[:SAMPLE_BYTES]))


def _likeliest(sample: bytes) -> str:
    letters = set(sample.decode("cp1252", "replace").replace("õe", "")) - set(map(chr, range(128)))
    for encoding, alphabet in _ALPHABETS:
        if letters <= alphabet:
            return encoding
    from charset_normalizer import from_bytes

    # Cut at a line end, so that no character of several bytes is cut.
    cut = sample[: sample.rfind(b"\n") + 1] if len(sample) == SAMPLE_BYTES else sample
    found = from_bytes(cut or sample, cp_isolation=list(_OLD), enable_fallback=False).best()
    if found is None:
        raise UnicodeError("not text in a known encoding: save the file as UTF-8")
    return found.encoding
